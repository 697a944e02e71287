"""Kafka Connect: a file into a topic and the topic into a file, with one worker that keeps its state in a file and with one that keeps it in topics."""

import json
import socket
import urllib.request

from console import TOPICS
from rig import case, lines, until

CONVERTERS = "key.converter=org.apache.kafka.connect.storage.StringConverter\nvalue.converter=org.apache.kafka.connect.storage.StringConverter\n"


def connectors(rig):
    source = rig.file("source.txt", "one\ntwo\n")
    sink = rig.folder / "sink.txt"
    return source, sink, {
        "from": {"name": "from", "connector.class": "FileStreamSource", "tasks.max": "1", "file": str(source), "topic": rig.name()},
        "into": {"name": "into", "connector.class": "FileStreamSink", "tasks.max": "1", "file": str(sink), "topics": rig.name()},
    }  # fmt: skip


def properties(settings):
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def written(sink, wanted):
    return until(lambda: sink.exists() and lines(sink.read_text()) == wanted and wanted, patience=90)


def more(source):
    with source.open("a") as file:
        file.write("three\n")


@case
def connect_standalone(rig):
    source, sink, both = connectors(rig)
    worker = properties({"bootstrap.servers": rig.arguments.bootstrap, "offset.storage.file.filename": rig.folder / "offsets", "offset.flush.interval.ms": 500, "listeners": f"http://127.0.0.1:{free_port()}"}) + CONVERTERS
    files = [str(rig.file("worker.properties", worker)), *(str(rig.file(f"{name}.properties", properties(settings))) for name, settings in both.items())]
    rig.start(rig.java("org.apache.kafka.connect.cli.ConnectStandalone", *files, heap="256m"))
    first = written(sink, ["one", "two"])
    more(source)
    return {"first": first, "then": written(sink, ["one", "two", "three"])}


@case
def connect_distributed(rig):
    source, sink, both = connectors(rig)
    port = free_port()
    topics = {f"{kind}.storage.topic": rig.name(f".{kind}") for kind in ("config", "offset", "status")}
    replication = {f"{kind}.storage.replication.factor": 1 for kind in ("config", "offset", "status")}
    settings = {"bootstrap.servers": rig.arguments.bootstrap, "group.id": rig.name(), "offset.flush.interval.ms": 500, "listeners": f"http://127.0.0.1:{port}", "offset.storage.partitions": 3, "status.storage.partitions": 3}
    worker = rig.file("worker.properties", properties(settings | topics | replication) + CONVERTERS)

    def put(name, settings):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/connectors/{name}/config", json.dumps(settings).encode(), {"Content-Type": "application/json"}, method="PUT")
        try:
            return urllib.request.urlopen(request, timeout=30).status in (200, 201)
        except OSError:
            return False  # not ready yet

    def start():
        return rig.start(rig.java("org.apache.kafka.connect.cli.ConnectDistributed", str(worker), heap="256m"))

    first = start()
    for name, settings in both.items():
        until(lambda: put(name, settings), patience=90)
    before = written(sink, ["one", "two"])
    first.terminate()
    first.wait(30)
    more(source)
    start()  # it finds connectors and offsets in its topics
    after = written(sink, ["one", "two", "three"])
    internal = [line for line in lines(rig.tool(TOPICS, "--describe", "--topic", f"{rig.stem}.*")) if "PartitionCount" in line]
    compacted = sum("cleanup.policy=compact" in line for line in internal)
    return {"before": before, "after": after, "compacted_topics": compacted}
