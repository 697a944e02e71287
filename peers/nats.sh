#!/usr/bin/env bash
# The real nats-server and the nats CLI (built from the Go module proxy), to compare with or to test clients against.
#   nats.sh start [PORT] | restart [PORT] | stop [PORT] | bin     (restart keeps the node's data, start throws it away; bin builds both and prints their folder)
#   PORT client port (default 4322); monitoring on PORT+4000; JetStream on files
#   SYNC when JetStream syncs what it stored: always (default) or a duration such as 2m, nats-server's own default
#   NATS_EXTRA file of further configuration lines   PEER_HOME state directory (default ${TMPDIR:-/tmp}/stele-peers)
set -euo pipefail
cmd=${1:-start}; port=${2:-4322}; root=${PEER_HOME:-${TMPDIR:-/tmp}/stele-peers}; home=$root/nats-$port; bin=$root/bin
build() {
  mkdir -p "$bin"
  [ -x "$bin/nats-server" ] || GOBIN=$bin GOFLAGS=-p=2 go install github.com/nats-io/nats-server/v2@v2.15.2
  [ -x "$bin/nats" ] || (cd "$(mktemp -d)" && go mod init peer.local/cli 2> /dev/null && go get github.com/nats-io/natscli@v0.3.0 &&
    go build -mod=mod -p 2 -o "$bin/nats" github.com/nats-io/natscli/nats)
}
stop() {
  [ -s "$home/pid" ] || return 0
  local pid; pid=$(cat "$home/pid"); kill "$pid" 2> /dev/null || true
  for _ in $(seq 100); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done
  kill -9 "$pid" 2> /dev/null || true; rm -f "$home/pid"
}
case $cmd in
bin) build >&2; echo "$bin" ;;
stop) stop ;;
start|restart)
  build >&2
  if [ "$cmd" = restart ]; then [ -s "$home/conf" ] || { echo "no node to restart" >&2; exit 1; }; stop; else
    stop; rm -rf "$home"; mkdir -p "$home"
    printf 'host: 127.0.0.1\nport: %s\nhttp: 127.0.0.1:%s\njetstream { store_dir: "%s", sync_interval: %s }\n' \
      "$port" $((port + 4000)) "$home/js" "${SYNC:-always}" > "$home/conf"
    [ -z "${NATS_EXTRA:-}" ] || cat "$NATS_EXTRA" >> "$home/conf"
  fi
  setsid nohup "$bin/nats-server" -c "$home/conf" > "$home/out" 2>&1 < /dev/null & echo $! > "$home/pid"
  for _ in $(seq 240); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2> /dev/null && { echo "nats up: nats://127.0.0.1:$port"; exit 0; }
    kill -0 "$(cat "$home/pid")" 2> /dev/null || break; sleep 0.1
  done
  echo "nats-server did not start" >&2; cat "$home/out" >&2; exit 1 ;;
*) echo "usage: nats.sh start|restart|stop|bin [PORT]" >&2; exit 2 ;;
esac
