#!/usr/bin/env bash
# The real Apache Kafka (KRaft, one combined node on loopback, jars from Maven Central), to compare with or to test clients against.
#   kafka.sh start|restart|stop|classpath   (restart keeps the node's data, start throws it away)   `java -cp "$(kafka.sh classpath)" org.apache.kafka.tools.ProducerPerformance …` runs its tools
#   KAFKA_PORT client port (default 9192); KAFKA_SASL_PORT SASL_PLAINTEXT: PLAIN and SCRAM-256/512 (default KAFKA_PORT+1);
#   KAFKA_TLS a folder with server.pem and server.key: then KAFKA_PORT+2 speaks TLS, and KAFKA_PORT+3 TLS with those logins
#   users admin (may do everything) and alice, with passwords admin-secret and alice-secret
#   KAFKA_ADVERTISED_PORT told to clients (set it to put a proxy in front)   KAFKA_VERSION (default: kafka-pom.xml)
#   KAFKA_EXTRA file of extra server.properties lines (flush.messages=1 syncs every append)   KAFKA_HEAP (default 1g)
#   PEER_HOME state directory (default ${TMPDIR:-/tmp}/stele-peers)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
W=${PEER_HOME:-${TMPDIR:-/tmp}/stele-peers}/kafka; PORT=${KAFKA_PORT:-9192}; ADV=${KAFKA_ADVERTISED_PORT:-$PORT}
SASL=${KAFKA_SASL_PORT:-$((PORT+1))}; CTL=$((PORT+1001)); HEAP=${KAFKA_HEAP:-1g}
LISTEN=PLAINTEXT://127.0.0.1:$PORT,SASL_PLAINTEXT://127.0.0.1:$SASL; TOLD=PLAINTEXT://127.0.0.1:$ADV,SASL_PLAINTEXT://127.0.0.1:$SASL
if [ -n "${KAFKA_TLS:-}" ]; then
  TLS=,SSL://127.0.0.1:$((PORT+2)),SASL_SSL://127.0.0.1:$((PORT+3)); LISTEN=$LISTEN$TLS; TOLD=$TOLD$TLS
fi
mkdir -p "$W"
classpath() {
  local key="${KAFKA_VERSION:-pom}"
  if [ ! -s "$W/cp.$key" ]; then
    mvn -q -B -f "$here/kafka-pom.xml" ${KAFKA_VERSION:+-Dkv=$KAFKA_VERSION} dependency:build-classpath \
      -Dmdep.outputFile="$W/cp.$key" >"$W/mvn.log" 2>&1 || { tail -5 "$W/mvn.log" >&2; exit 1; }
  fi
  cat "$W/cp.$key"
}
case "${1:-start}" in
classpath) classpath;;
stop)
  [ -s "$W/pid" ] || exit 0
  pid=$(cat "$W/pid"); kill "$pid" 2>/dev/null || true
  for _ in $(seq 60); do kill -0 "$pid" 2>/dev/null || break; sleep 0.5; done
  kill -9 "$pid" 2>/dev/null || true; rm -f "$W/pid";;
start|restart)
  CP=$(classpath)
  if [ "$1" = restart ]; then [ -s "$W/server.properties" ] || { echo "no node to restart" >&2; exit 1; }; "$0" stop; else rm -rf "$W/data"; mkdir -p "$W/data"; fi
  cat > "$W/log4j2.xml" <<X
<Configuration status="ERROR"><Appenders><Console name="c" target="SYSTEM_OUT"><PatternLayout pattern="%d %p %c - %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="c"/></Root></Loggers></Configuration>
X
  cat > "$W/jaas.conf" <<X
KafkaServer {
  org.apache.kafka.common.security.plain.PlainLoginModule required user_admin="admin-secret" user_alice="alice-secret";
  org.apache.kafka.common.security.scram.ScramLoginModule required;
};
X
  cat > "$W/server.properties" <<X
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$CTL
listeners=$LISTEN,CONTROLLER://127.0.0.1:$CTL
advertised.listeners=$TOLD
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin
allow.everyone.if.no.acl.found=true
log.dirs=$W/data
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
default.replication.factor=1
min.insync.replicas=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=true
delete.topic.enable=true
log.cleaner.backoff.ms=500
log.retention.check.interval.ms=1000
X
  if [ -n "${KAFKA_TLS:-}" ]; then # Kafka reads a key in PKCS #8 only
    openssl pkcs8 -topk8 -nocrypt -in "$KAFKA_TLS/server.key" | cat - "$KAFKA_TLS/server.pem" > "$W/keystore.pem"
    printf 'ssl.keystore.type=PEM\nssl.keystore.location=%s\n' "$W/keystore.pem" >> "$W/server.properties"
  fi
  [ -n "${KAFKA_EXTRA:-}" ] && cat "$KAFKA_EXTRA" >> "$W/server.properties"
  J="java -Xms$HEAP -Xmx$HEAP -Dlog4j2.configurationFile=$W/log4j2.xml -Djava.security.auth.login.config=$W/jaas.conf -cp $CP"
  SCRAM=(); for who in admin alice; do for hash in 256 512; do SCRAM+=(--add-scram "SCRAM-SHA-$hash=[name=$who,password=$who-secret]"); done; done
  [ "$1" = restart ] || $J kafka.tools.StorageTool format -t "$($J kafka.tools.StorageTool random-uuid | tail -1)" "${SCRAM[@]}" -c "$W/server.properties" > "$W/format.log" 2>&1 || { cat "$W/format.log" >&2; exit 1; }
  nohup $J kafka.Kafka "$W/server.properties" > "$W/server.log" 2>&1 < /dev/null &
  echo $! > "$W/pid"
  for _ in $(seq 120); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then echo "kafka up: pid $(cat "$W/pid") port $PORT"; exit 0; fi
    kill -0 "$(cat "$W/pid")" 2>/dev/null || break; sleep 0.5
  done
  echo "kafka did not start" >&2; tail -30 "$W/server.log" >&2; exit 1;;
*) echo "start|restart|stop|classpath" >&2; exit 2;;
esac
