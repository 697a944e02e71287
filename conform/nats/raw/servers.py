"""Servers with a configuration or a command line of the case's own: limits, pings, TLS, signals, monitoring, the configuration language."""

import json
import pathlib
import shlex
import signal
import socket
import subprocess
import tempfile

from rig import case
from started import Unable
from wire import PATIENCE, Closed, Wire, until


@case
def too_many_connections(rig):
    server = rig.server("max_connections: 2")
    # Who looked whether it listens was let in, and has left.
    until(lambda: (of := server.get("/varz"))["total_connections"] == 1 and of["connections"] == 0)
    first, second = rig.wire(server.address), rig.wire(server.address)
    for wire in (first, second):
        wire.until_pong()
    third = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    said = b""
    while part := third.recv(4096):
        said += part
    third.close()
    return [line for line in said.decode().splitlines() if not line.startswith("INFO")]


@case
def too_many_subscriptions(rig):
    server = rig.server("max_subscriptions: 2")
    wire = rig.wire(server.address)
    wire.send("SUB a 1", "SUB b 2", "SUB c 3")
    return wire.error()


@case
def smaller_payloads(rig):
    server = rig.server("max_payload: 100")
    wire = rig.wire(server.address)
    wire.send("PUB a 101")
    return [wire.info["max_payload"], wire.error()]


@case
def shorter_control_lines(rig):
    server = rig.server("max_control_line: 512")
    wire = rig.wire(server.address)
    wire.send("SUB " + "a" * 600 + " 1")
    return wire.error()


@case
def pings_come_first_from_the_server(rig):
    server = rig.server('ping_interval: "100ms"')
    wire = rig.wire(server.address, answers_pings=False)
    return [wire.op(), wire.op() if not wire.send("PONG") else None]


@case
def silent_clients_are_dropped(rig):
    server = rig.server('ping_interval: "100ms"\nping_max: 2')
    return rig.wire(server.address, answers_pings=False).rest()


@case
def slow_readers_are_cut(rig):
    """One who does not read, one who does: the second gets all, the first is gone."""
    server = rig.server('max_pending: 1MB\nwrite_deadline: "500ms"')
    slow, reader, writer = rig.wire(server.address), rig.wire(server.address), rig.wire(server.address)
    for wire in (slow, reader):
        wire.listen("flood")
    body, count = b"x" * 100_000, 200
    for number in range(count):
        writer.publish("flood", body)
        reader.message()
    return {"all": True, "counted": until(lambda: server.get("/varz")["slow_consumers"] > 0), "connections": until(lambda: server.get("/connz")["num_connections"] == 2)}


@case
def lame_duck(rig):
    """Connections are told at once; that they end within lame_duck_duration, half a minute at least, is not waited for."""
    server = rig.server('lame_duck_grace_period: "20s"')
    wire = rig.wire(server.address)
    wire.until_pong()
    wire.until_pong()
    wire.later.clear()
    server.signal(signal.SIGUSR2)
    told = until(lambda: wire.until_pong() or wire.later)
    refused = until(lambda: comes_not_in(server))
    return {"told": [said.get("ldm") for said in told], "others": refused}


def comes_not_in(server):
    try:
        Wire(server.address).close()
        return False
    except OSError:
        return True


@case
def ends_when_told(rig):
    server = rig.server("")
    wire = rig.wire(server.address)
    wire.until_pong()
    server.signal(signal.SIGTERM)
    return {"connection": wire.ends(), "code": server.process.wait(PATIENCE)}


@case
def tls_is_wanted(rig):
    server = rig.server("tls { CERTIFICATE }")
    plain = rig.wire(server.address, connect=None)
    info = plain.info
    plain.send("CONNECT {}")
    try:
        said = plain.error()
    except Closed:
        said = "closed"
    secure = rig.wire(server.address, secure="after")
    secure.subscribe("a", "1")
    secure.publish("a", "x")
    return {"asked": [info.get("tls_required"), info.get("tls_available"), info.get("tls_verify")], "plain": said[1], "secure": secure.message().body}


@case
def tls_is_offered(rig):
    server = rig.server("tls { CERTIFICATE }\nallow_non_tls: true")
    plain, secure = rig.wire(server.address), rig.wire(server.address, secure="after")
    return [plain.info.get("tls_required"), plain.info.get("tls_available"), plain.error(), secure.error()]


@case
def tls_before_anything(rig):
    server = rig.server("tls { CERTIFICATE, handshake_first: true }")
    return rig.wire(server.address, secure="first").error()


@case
def tls_before_or_after(rig):
    server = rig.server('tls { CERTIFICATE, handshake_first: "200ms" }')
    return [rig.wire(server.address, secure="first").error(), rig.wire(server.address, secure="after").error()]


@case
def tls_too_late(rig):
    server = rig.server("tls { CERTIFICATE, timeout: 0.3 }")
    return rig.wire(server.address, connect=None).ends()


@case
def log_lines(rig):
    server = rig.server('jetstream { store_dir: "STORE" }')
    text = until(lambda: "Server is ready" in server.output() and server.output())
    return {"listens": f"Listening for client connections on 127.0.0.1:{server.port}" in text, "monitors": f"Starting http monitor on 127.0.0.1:{server.http}" in text, "ready": "Server is ready" in text, "config": "Using configuration file" in text}


@case
def configuration_language(rig):
    server = rig.server(
        """
# a comment
// another one
NAME = "from-a-variable"
server_name: $NAME
max_payload = 64KB   # units
max_pending 10MB
ping_interval: "30s"; write_deadline = "2s"
lame_duck_duration: "30s"
"""
    )
    found = server.get("/varz")
    return {field: found.get(field) for field in ("server_name", "max_payload", "max_pending", "ping_interval", "write_deadline")}


@case
def configuration_includes(rig):
    """An include is looked for beside the file that names it."""
    with tempfile.TemporaryDirectory(prefix="conform-nats-") as folder:
        pathlib.Path(folder, "more.conf").write_text("max_payload: 1000\n")
        main = pathlib.Path(folder, "main.conf")
        main.write_text("include ./more.conf\n")
        return rig.server("", "-c", str(main)).get("/varz")["max_payload"]


@case
def configuration_from_the_environment(rig):
    return rig.server("server_name: $PWD\n").get("/varz")["server_name"] != "$PWD"


def refused(rig, config, *words):
    """How a server that does not start ends, and the last thing it says."""
    if not rig.arguments.server:
        raise Unable()
    with tempfile.TemporaryDirectory(prefix="conform-nats-") as folder:
        path = pathlib.Path(folder, "server.conf")
        path.write_text(config)
        done = subprocess.run([*shlex.split(rig.arguments.server), "-c", str(path), *words], capture_output=True, text=True, timeout=PATIENCE)
        return [done.returncode, (done.stdout + done.stderr).strip().splitlines()[-1].replace(folder, "FOLDER")]


@case
def configurations_that_are_refused(rig):
    cases = {"unknown": "no_such_directive: 1\n", "type": "port: many\n", "open": "authorization {\n", "variable": "server_name: $NO_SUCH_VARIABLE\n", "twice": "authorization { user: a, password: b, token: c }\n", "include": "include 'no-such.conf'\n", "nested": "jetstream { no_such: 1 }\n"}
    return {what: refused(rig, config) for what, config in cases.items()}


@case
def configuration_is_only_checked(rig):
    return refused(rig, "port: 4222\n", "-t")


@case
def unknown_option(rig):
    return refused(rig, "", "--no-such-option")[0]


@case
def version_option(rig):
    if not rig.arguments.server:
        raise Unable()
    done = subprocess.run([*shlex.split(rig.arguments.server), "-v"], capture_output=True, text=True, timeout=PATIENCE)
    return [done.returncode, done.stdout.startswith("nats-server: v")]


@case
def options_win_over_the_file(rig):
    server = rig.server("server_name: filed\nmax_payload: 500\n", "-n", "named")
    found = server.get("/varz")
    return [found["server_name"], found["max_payload"]]


@case
def option_of_users(rig):
    server = rig.server("", "--user", "alice", "--pass", "secret")
    return [Wire(server.address, {"user": "alice", "pass": "secret"}).error(), Wire(server.address).error()]


@case
def option_of_a_token(rig):
    server = rig.server("", "--auth", "s3cr3t")
    return [Wire(server.address, {"auth_token": "s3cr3t"}).error(), Wire(server.address).error()]


@case
def ports_file_and_pid_file(rig):
    with tempfile.TemporaryDirectory(prefix="conform-nats-") as folder:
        server = rig.server("", "--ports_file_dir", folder, "-P", f"{folder}/pid")
        (ports,) = until(lambda: list(pathlib.Path(folder).glob("*.ports")))
        found = until(lambda: ports.read_text() and json.loads(ports.read_text()))
        pid = int(pathlib.Path(folder, "pid").read_text())
        name = f"nats-server_{pid}.ports"
        return {"file": ports.name == name, "client": found["nats"] == [f"nats://127.0.0.1:{server.port}"], "monitoring": found["monitoring"] == [f"http://127.0.0.1:{server.http}"]}


def alone(page, field):
    """The page, once whoever looked whether the server is up is gone."""
    return page if page[field] == 1 else None


@case
def monitoring_of_the_server(rig):
    server = rig.server('jetstream { store_dir: "STORE" }')
    wire = rig.wire(server.address, name="me", lang="raw", version="1.2.3")
    wire.subscribe("a", "1")
    wire.publish("a", "12345")
    wire.message()
    varz = until(lambda: alone(server.get("/varz"), "connections"))
    counts = {field: varz[field] for field in ("connections", "total_connections", "in_msgs", "out_msgs", "in_bytes", "out_bytes", "slow_consumers")}
    return {"counts": counts, "fixed": {field: varz[field] for field in ("proto", "max_connections", "max_payload", "max_control_line", "max_pending", "ping_max")}, "port": varz["port"] == server.port, "id": len(varz["server_id"]), "times": sorted(field for field in ("start", "now", "uptime", "mem", "cores", "cpu") if field in varz), "jetstream": sorted(varz["jetstream"])}


@case
def monitoring_of_connections(rig):
    server = rig.server("")
    wire = rig.wire(server.address, name="me", lang="raw", version="1.2.3")
    wire.subscribe("a", "1")
    wire.publish("a", "12345")
    wire.message()
    found = until(lambda: alone(server.get("/connz?subs=1"), "num_connections"))
    (one,) = found["connections"]
    return {"count": [found["num_connections"], found["total"], found["limit"], found["offset"]], "one": {field: one.get(field) for field in ("kind", "type", "ip", "name", "lang", "version", "subscriptions", "subscriptions_list", "in_msgs", "out_msgs", "in_bytes", "out_bytes", "pending_bytes")}, "times": sorted(field for field in ("start", "last_activity", "rtt", "uptime", "idle") if field in one)}


@case
def monitoring_of_health(rig):
    server = rig.server('jetstream { store_dir: "STORE" }')
    return [server.get("/healthz"), server.get("/healthz?js-enabled-only=true")]


@case
def monitoring_of_jetstream(rig):
    server = rig.server('jetstream { store_dir: "STORE" }')
    wire = rig.wire(server.address)
    wire.subscribe("_INBOX.x", "1")
    wire.publish("$JS.API.STREAM.CREATE.S", json.dumps({"name": "S", "subjects": ["s"]}), "_INBOX.x")
    wire.message()
    wire.publish("s", "hello", "_INBOX.x")
    wire.message()
    plain, more = server.get("/jsz"), server.get("/jsz?streams=true&consumers=true&config=true")
    stream = more["account_details"][0]["stream_detail"][0]
    return {"counts": {field: plain[field] for field in ("streams", "consumers", "messages", "memory")}, "stream": [stream["name"], stream["state"]["messages"], stream["config"]["subjects"]], "names": sorted(plain)}


@case
def monitoring_of_subscriptions(rig):
    server = rig.server("")
    rig.wire(server.address).until_pong()
    found = server.get("/subsz")
    return sorted(field for field in found if field.startswith("num_"))


@case
def credentials_that_nobody_asked_for(rig):
    server = rig.server("")
    rig.wire(server.address, user="somebody", **{"pass": "secret"}).until_pong()
    rig.wire(server.address, auth_token="secret").until_pong()
    return "let in"


@case
def braces_around_a_configuration(rig):
    server = rig.server('{\n  "max_payload": 100,\n  "max_subscriptions": 7\n}')
    return rig.wire(server.address).info["max_payload"]


@case
def a_log_file_that_was_moved(rig):
    """It is opened again at a signal, and nobody has noticed."""
    server = rig.server('log_file: "n.log"')
    log = server.home / "n.log"
    wire = rig.wire(server.address)
    wire.until_pong()
    log.rename(server.home / "n.old")
    server.signal(signal.SIGUSR1)
    until(lambda: log.exists() and "File log re-opened" in log.read_text())
    wire.until_pong()
    return "still there"


@case
def a_pull_when_the_server_stops(rig):
    server = rig.server('jetstream { store_dir: "STORE" }')
    wire = rig.wire(server.address)
    wire.subscribe("_INBOX.x", "1")

    def ask(subject, request):
        wire.publish("$JS.API." + subject, json.dumps(request) if request else "", "_INBOX.x")

    ask("STREAM.CREATE.S", {"name": "S", "subjects": ["s"]})
    wire.message()
    ask("CONSUMER.CREATE.S.c", {"stream_name": "S", "config": {"durable_name": "c", "name": "c", "ack_policy": "explicit"}})
    wire.message()
    ask("CONSUMER.MSG.NEXT.S.c", {"batch": 3, "expires": 60_000_000_000})
    ask("CONSUMER.INFO.S.c", "")
    wire.message()
    server.signal(signal.SIGTERM)
    told = wire.message()
    return [told.status, {name: value.strip() for name, value in told.headers.items()}]
