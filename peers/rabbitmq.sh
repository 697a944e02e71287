#!/usr/bin/env bash
# The real RabbitMQ as a private node on loopback, to compare with or to test clients against.
#   rabbitmq.sh start [PORT] | restart [PORT] | stop [PORT]   (restart keeps the node's state, start throws it away)
#                                            PORT default 5772; management API on PORT+10000, Prometheus on PORT+9930, streams on PORT+1;
#                                            user guest/guest; (inner: Erlang distribution PORT+20000, epmd PORT+19000)
#   RABBITMQ   sid (default): RabbitMQ 4.3 (what Debian sid has now), in a chroot made once with debootstrap (about 500 MB); debian: the system's own package
#   RABBITMQ_EXTRA  file of extra rabbitmq.conf lines, e.g. "deprecated_features.permit.global_qos = true" (4.3 takes it for a limit of each consumer by default)
#   RABBITMQ_TLS    directory with client.pem (the authority), server.pem and server.key: the node also speaks TLS, on PORT+2,
#                   and user conform-client logs in by a certificate with that common name
#   PEER_HOME  state directory (default ${TMPDIR:-/tmp}/stele-peers); the chroot is $PEER_HOME/sid and may be removed while no node runs
# Needs root (chroot, apt). Leaves nothing mounted and starts no service; the node's state is thrown away at the next start.
set -euo pipefail
base=${PEER_HOME:-${TMPDIR:-/tmp}/stele-peers}; mkdir -p "$base"; base=$(cd "$base" && pwd -P)
cmd=${1:-start}; port=${2:-5772}; kind=${RABBITMQ:-sid}; name=rabbitmq-$port
epmd=$((port + 19000)); bin=/usr/lib/rabbitmq/bin; root=$base/sid

archive() {   # the Debian archive this machine is configured to use
  { grep -rhE '^(deb |URIs:)' /etc/apt/sources.list /etc/apt/sources.list.d/ 2>/dev/null || true; } | grep -oE '(https?|file)://[^] ]+' | grep -E '/debian/?$' | head -1
}
bootstrap() { # into a directory of another name first: $root exists only when it is complete
  local from new=$root.part; from=$(archive); [ -n "$from" ] || { echo "no Debian archive in /etc/apt" >&2; exit 1; }
  command -v debootstrap > /dev/null || apt-get install -y -qq debootstrap > /dev/null 2>&1 || { apt-get update -qq; apt-get install -y -qq debootstrap > /dev/null; }
  rm -rf --one-file-system "$new"; echo "making $root from Debian sid (once)" >&2
  { debootstrap --variant=minbase sid "$new" "$from" && cp -L /etc/resolv.conf "$new/etc/" && echo '127.0.0.1 localhost' > "$new/etc/hosts" &&
    printf '#!/bin/sh\nexit 101\n' > "$new/usr/sbin/policy-rc.d" && chmod +x "$new/usr/sbin/policy-rc.d" &&
    DEBIAN_FRONTEND=noninteractive chroot "$new" apt-get install -y --no-install-recommends rabbitmq-server && chroot "$new" apt-get clean; } \
    > "$base/sid.log" 2>&1 < /dev/null || { tail -20 "$base/sid.log" >&2; exit 1; }
  ! grep -q " $new/" /proc/mounts || { echo "debootstrap left a mount under $new" >&2; exit 1; }
  mv "$new" "$root"
}
package() {
  [ ! -x $bin/rabbitmq-server ] || return 0
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d   # no system-wide service
  apt-get install -y -qq rabbitmq-server > /dev/null 2>&1 || { apt-get update -qq; apt-get install -y -qq rabbitmq-server > /dev/null; }
  rm -f /usr/sbin/policy-rc.d
}
# $home is the node's directory as this script sees it, $in the same as the node sees it, $run what enters the node's root
case $kind in
sid) home=$root/peer/$name in=/peer/$name run="chroot $root" ;;
debian) home=$base/$name in=$base/$name run= ;;
*) echo "RABBITMQ must be sid or debian" >&2; exit 2 ;;
esac
alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

configure() { # a new, empty node
  rm -rf --one-file-system "$home"
  mkdir -p "$home/data" "$home/log"; touch "$home/env"
  cat > "$home/rabbitmq.conf" <<C
loopback_users.guest = true
log.console = false
management.tcp.ip = 127.0.0.1
management.tcp.port = $((port + 10000))
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = $((port + 9930))
stream.listeners.tcp.1 = 127.0.0.1:$((port + 1))
C
  [ -z "${RABBITMQ_EXTRA:-}" ] || cat "$RABBITMQ_EXTRA" >> "$home/rabbitmq.conf"
  if [ -n "${RABBITMQ_TLS:-}" ]; then
    mkdir -p "$home/tls"; cp "$RABBITMQ_TLS"/{client.pem,server.pem,server.key} "$home/tls/"
    cat >> "$home/rabbitmq.conf" <<C
listeners.ssl.1 = 127.0.0.1:$((port + 2))
ssl_options.cacertfile = $in/tls/client.pem
ssl_options.certfile = $in/tls/server.pem
ssl_options.keyfile = $in/tls/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
C
  fi
  [ "$kind" = debian ] || cat >> "$home/rabbitmq.conf" <<C
# the chroot has no /proc: the node cannot read its own or the machine's memory
vm_memory_calculation_strategy = allocated
total_memory_available_override_value = $(awk '/^MemTotal/ {print $2 "KB"}' /proc/meminfo)
C
  # nor the free disk space, without a table of mounts
  [ "$kind" = debian ] || { rm -f "$root/etc/mtab"; echo '/dev/root / ext4 rw 0 0' > "$root/etc/mtab"; }
  echo '[rabbitmq_management,rabbitmq_prometheus,rabbitmq_stream,rabbitmq_consistent_hash_exchange,rabbitmq_random_exchange,rabbitmq_recent_history_exchange,rabbitmq_event_exchange,rabbitmq_tracing,rabbitmq_shovel,rabbitmq_shovel_management,rabbitmq_federation,rabbitmq_auth_mechanism_ssl].' > "$home/plugins"
}

certify() { # a user without a password
  local put=(curl -sSf -u guest:guest -X PUT -H 'Content-Type: application/json') api=http://127.0.0.1:$((port + 10000))/api
  "${put[@]}" "$api/users/conform-client" -d '{"password_hash": "", "tags": ""}'
  "${put[@]}" "$api/permissions/%2F/conform-client" -d '{"configure": ".*", "write": ".*", "read": ".*"}'
}

case $cmd in
start | restart)
  [ "$cmd" = start ] || { [ -d "$home" ] || { echo "no node to restart at port $port" >&2; exit 1; }; "$0" stop "$port"; }
  [ "$port" -le 45500 ] || { echo "PORT must be at most 45500" >&2; exit 2; }
  for p in $port $((port + 1)) $((port + 9930)) $((port + 10000)); do ! (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || { echo "port $p is in use" >&2; exit 1; }; done
  if [ "$kind" = sid ]; then [ -d "$root" ] || bootstrap; else package; fi
  [ "$cmd" = restart ] || configure
  ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME="$in" ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$epmd RABBITMQ_NODENAME="peer$port@localhost" \
    RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$port" RABBITMQ_DIST_PORT=$((port + 20000)) \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
    RABBITMQ_MNESIA_BASE="$in/data" RABBITMQ_LOG_BASE="$in/log" RABBITMQ_PID_FILE="$in/pid" RABBITMQ_CONF_ENV_FILE="$in/env" \
    RABBITMQ_CONFIG_FILE="$in/rabbitmq.conf" RABBITMQ_ADVANCED_CONFIG_FILE="$in/none" RABBITMQ_ENABLED_PLUGINS_FILE="$in/plugins" \
    setsid nohup $run $bin/rabbitmq-server > "$home/out" 2>&1 < /dev/null & server=$!
  for _ in $(seq 240); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port" 4<>"/dev/tcp/127.0.0.1/$((port + 10000))" 5<>"/dev/tcp/127.0.0.1/$((port + 9930))") 2>/dev/null; then
      [ "$cmd" = restart ] || [ -z "${RABBITMQ_TLS:-}" ] || certify
      echo "rabbitmq ($kind) up: amqp://guest:guest@127.0.0.1:$port/ management http://127.0.0.1:$((port + 10000)) prometheus http://127.0.0.1:$((port + 9930))/metrics"; exit 0; fi
    kill -0 $server 2>/dev/null || break
    sleep 0.5
  done
  echo "rabbitmq did not start" >&2; tail -20 "$home/out" >&2; "$0" stop "$port"; exit 1 ;;
stop)
  for home in "$root/peer/$name" "$base/$name"; do
    alive "$home/pid" || continue
    pid=$(cat "$home/pid"); kill "$pid"
    for i in $(seq 180); do   # 60 s for an orderly end, then 30 s for the end
      kill -0 "$pid" 2>/dev/null || break
      [ "$i" != 120 ] || kill -9 "$pid" 2>/dev/null || true
      sleep 0.5
    done
    rm -f "$home/pid"
  done
  # the node's own epmd, on a port of its own; it refuses while a node is registered
  for run in "chroot $root" ""; do
    (exec 3<>"/dev/tcp/127.0.0.1/$epmd") 2>/dev/null || break
    ERL_EPMD_PORT=$epmd $run epmd -kill > /dev/null 2>&1 || true; sleep 0.2
  done ;;
*) echo "usage: rabbitmq.sh start|restart|stop [PORT]" >&2; exit 2 ;;
esac
