"""The program `nats`: what it prints and how it ends, without what differs between two runs.

    python conform/nats/cli --nats PROGRAM --url nats://127.0.0.1:4222 [--only case,case]
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).parent.parent))

from cases import CASES, case, main

PATIENCE = 30  # seconds


class Rig:
    """One case's view of the program."""

    def __init__(self, arguments):
        self.arguments, self.streams = arguments, []
        self.stem = f"C{time.time_ns() // 1000 % 36**8:x}"
        self.folder = tempfile.TemporaryDirectory(prefix="conform-nats-cli-")

    def name(self, suffix=""):
        return self.stem + suffix

    def run(self, *words, text=""):
        """Exit code and output."""
        command = [self.arguments.nats, "--server", self.arguments.url, "--timeout", "10s", *words]
        environment = {"HOME": self.folder.name, "PATH": "/usr/bin:/bin", "NO_COLOR": "1"}
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE, env=environment)
        return done.returncode, (done.stdout + done.stderr).replace(self.stem, "NAME")

    def ok(self, *words, text=""):
        code, output = self.run(*words, text=text)
        if code:
            said = f"nats {' '.join(words)} ended with {code}: {output[-400:]}"
            raise RuntimeError(said.replace(self.stem, "NAME").replace(self.folder.name, "FOLDER"))
        return output

    def json(self, *words):
        return json.loads(self.ok(*words))

    def stream(self, suffix="", *words):
        name = self.name(suffix)
        self.streams.append(name)
        self.ok("stream", "add", name, "--subjects", f"{name}.>", "--defaults", *(words if "--storage" in words else ("--storage", "memory", *words)))
        return name

    def close(self):
        for name in self.streams:
            self.run("stream", "rm", name, "--force")
        self.folder.cleanup()


def last_line(output):
    return re.sub(r"^\d\d:\d\d:\d\d ", "", output.strip().splitlines()[-1])


@case
def cli_publish_and_subscribe(rig):
    words = [rig.arguments.nats, "--server", rig.arguments.url, "sub", rig.name(), "--count", "2", "--raw"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as subscriber:
        deadline = time.monotonic() + PATIENCE
        while subscriber.poll() is None:
            rig.ok("pub", rig.name(), "hello")
            if time.monotonic() > deadline:
                subscriber.kill()
        return subscriber.stdout.read().split()[:2]


@case
def cli_request_and_reply(rig):
    words = [rig.arguments.nats, "--server", rig.arguments.url, "reply", rig.name(), "it is {{.Request}}", "--count", "1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as responder:
        deadline = time.monotonic() + PATIENCE
        while "it is" not in (answer := rig.run("request", rig.name(), "this", "--raw")[1]):
            if time.monotonic() > deadline:
                break
        responder.kill()
        return answer.strip()


@case
def cli_request_to_nobody(rig):
    return "no responders" in rig.run("request", rig.name(), "x")[1].lower()


@case
def cli_round_trip_time(rig):
    return "ms" in rig.ok("rtt", "1") or "s" in rig.ok("rtt", "1")


@case
def cli_account(rig):
    output = rig.ok("account", "info")
    return [word in output for word in ("Account Information", "JetStream Account Information", "Storage", "API Level")]


@case
def cli_account_reports(rig):
    connections, sums = rig.ok("account", "report", "connections"), rig.ok("account", "report", "statistics")
    told = rig.json("server", "request", "connections")
    mine = [one for one in told["data"]["connections"] if one["name"].startswith("NATS CLI")]
    return ["Connections out of" in connections, "Connections per server" in connections, "127.0.0.1" in connections, "Server Statistics" in sums, len(mine) > 0, mine[0]["lang"]]


@case
def cli_stream_add_and_info(rig):
    stream = rig.stream("", "--max-msgs", "5", "--retention", "limits")
    for number in range(7):
        rig.ok("pub", f"{stream}.a", str(number), "-J")
    info = rig.json("stream", "info", stream, "--json")
    return [info["config"]["max_msgs"], info["state"]["messages"], info["state"]["first_seq"], info["state"]["last_seq"]]


@case
def cli_stream_names(rig):
    rig.stream()
    return "NAME" in rig.json("stream", "ls", "--json")


@case
def cli_stream_get_and_remove_message(rig):
    stream = rig.stream()
    rig.ok("pub", f"{stream}.a", "first", "-J", "-H", "A:1")
    rig.ok("pub", f"{stream}.a", "second", "-J")
    found = rig.json("stream", "get", stream, "1", "--json")
    rig.ok("stream", "rmm", stream, "1", "--force")
    code, output = rig.run("stream", "get", stream, "1")
    return [found["seq"], found["subject"].replace(rig.stem, "NAME"), code, "no message found" in output]


@case
def cli_stream_purge_edit_remove(rig):
    stream = rig.stream()
    rig.ok("pub", f"{stream}.a", "x", "-J", "--count", "3")
    rig.ok("stream", "purge", stream, "--force")
    purged = rig.json("stream", "info", stream, "--json")["state"]["messages"]
    rig.ok("stream", "edit", stream, "--max-msgs", "9", "--force")
    edited = rig.json("stream", "info", stream, "--json")["config"]["max_msgs"]
    rig.ok("stream", "rm", stream, "--force")
    return [purged, edited, rig.run("stream", "info", stream, "--json")[0]]


@case
def cli_stream_view_and_subjects(rig):
    stream = rig.stream()
    for subject in ("a", "b", "a"):
        rig.ok("pub", f"{stream}.{subject}", "x", "-J")
    return dict(sorted((name.replace(rig.stem, "NAME"), count) for name, count in rig.json("stream", "subjects", stream, "--json").items()))


@case
def cli_consumer_next(rig):
    stream = rig.stream()
    rig.ok("pub", f"{stream}.a", "body {{.Count}}", "-J", "--count", "3")
    rig.ok("consumer", "add", stream, "c", "--pull", "--defaults")
    output = rig.ok("consumer", "next", stream, "c", "--count", "2", "--ack", "--raw")
    info = rig.json("consumer", "info", stream, "c", "--json")
    return [output.split("\n")[:2], info["num_pending"], info["delivered"]["stream_seq"]]


@case
def cli_consumer_pause_and_remove(rig):
    stream = rig.stream()
    rig.ok("consumer", "add", stream, "c", "--pull", "--defaults")
    rig.ok("consumer", "pause", stream, "c", "1h", "--force")
    paused = rig.json("consumer", "info", stream, "c", "--json").get("paused")
    rig.ok("consumer", "resume", stream, "c", "--force")
    resumed = rig.json("consumer", "info", stream, "c", "--json").get("paused", False)
    rig.ok("consumer", "rm", stream, "c", "--force")
    return [paused, resumed, rig.run("consumer", "info", stream, "c", "--json")[0]]


@case
def cli_kv(rig):
    bucket = rig.name("b")
    rig.streams.append(f"KV_{bucket}")
    rig.ok("kv", "add", bucket, "--history", "3", "--storage", "memory")
    rig.ok("kv", "put", bucket, "a", "1")
    again = rig.run("kv", "create", bucket, "a", "2")[0]
    rig.ok("kv", "put", bucket, "a", "3")
    value = rig.ok("kv", "get", bucket, "a", "--raw").strip()
    keys = rig.ok("kv", "ls", bucket).split()
    rig.ok("kv", "del", bucket, "a", "--force")
    return [again, value, keys, rig.run("kv", "get", bucket, "a", "--raw")[0]]


@case
def cli_object(rig):
    bucket = rig.name("o")
    rig.streams.append(f"OBJ_{bucket}")
    path = pathlib.Path(rig.folder.name, "thing")
    path.write_bytes(b"0123456789" * 50_000)
    rig.ok("object", "add", bucket, "--storage", "memory")
    rig.ok("object", "put", bucket, str(path), "--name", "thing", "--no-progress", "--force")
    back = pathlib.Path(rig.folder.name, "back")
    rig.ok("object", "get", bucket, "thing", "--output", str(back), "--no-progress", "--force")
    return back.read_bytes() == path.read_bytes()


@case
def cli_check_jetstream(rig):
    code, output = rig.run("server", "check", "jetstream")
    return [code, output.split(" ")[0:2]]


@case
def cli_check_connection(rig):
    code, output = rig.run("server", "check", "connection", "--connect-warn", "30s", "--connect-critical", "60s", "--rtt-warn", "30s", "--rtt-critical", "60s", "--req-warn", "30s", "--req-critical", "60s")
    return [code, output.split(" ")[0:2]]


@case
def cli_backup_and_restore(rig):
    stream = rig.stream("", "--storage", "file")
    rig.ok("pub", f"{stream}.a", "x", "-J", "--count", "5")
    folder = str(pathlib.Path(rig.folder.name, "backup"))
    rig.ok("stream", "backup", stream, folder, "--no-progress")
    rig.ok("stream", "rm", stream, "--force")
    rig.ok("stream", "restore", folder, "--no-progress")
    return rig.json("stream", "info", stream, "--json")["state"]["messages"]


@case
def cli_bench(rig):
    """A few messages of each kind: that the tool comes to its end."""
    stream, bucket = rig.name("-bench"), rig.name("k")
    rig.streams += [stream, f"KV_{bucket}"]
    rig.ok("kv", "add", bucket, "--storage", "memory")
    runs = {
        "publish": ["pub", rig.name(".b"), "--msgs", "1000"],
        "into a stream": ["js", "pub", "sync", f"{stream}.x", "--create", "--stream", stream, "--msgs", "100", "--storage", "memory"],
        "ordered": ["js", "ordered", "--stream", stream, "--msgs", "100"],
        "kv put": ["kv", "put", "--bucket", bucket, "--msgs", "100"],
        "kv get": ["kv", "get", "--bucket", bucket, "--msgs", "100"],
    }
    return {what: rig.run("bench", *words, "--no-progress")[0] for what, words in runs.items()}


def answer(name, arguments):
    rig = Rig(arguments)
    try:
        return CASES[name](rig)
    finally:
        rig.close()


main(answer, program=True)
