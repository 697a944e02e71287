"""kcat, which is librdkafka as Debian ships it: years old, and in daily use."""

import json

from rig import case, lines


def kcat(rig, *words, text=""):
    return rig.run(["kcat", "-b", rig.arguments.bootstrap, "-q", *words], text)


@case
def kcat_roundtrip(rig):
    topic = rig.name()
    kcat(rig, "-P", "-t", topic, "-p", "0", "-K:", "-H", "from=kcat", text="a:1\nb:2\nc:3\n")
    kcat(rig, "-P", "-t", topic, "-p", "0", "-K:", "-z", "lz4", text="d:4\n")
    read = lines(kcat(rig, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-f", "%o %k %s %h\n"))
    last = lines(kcat(rig, "-C", "-t", topic, "-p", "0", "-o", "-1", "-e"))
    return {"read": read, "last": last, "from_2": lines(kcat(rig, "-C", "-t", topic, "-p", "0", "-o", "2", "-e"))}


@case
def kcat_list_and_query(rig):
    topic = rig.name()
    kcat(rig, "-P", "-t", topic, "-p", "0", text="x\ny\n")
    found = json.loads(kcat(rig, "-L", "-J", "-t", topic))
    partitions = [partition["partition"] for partition in found["topics"][0]["partitions"]]
    return {"brokers": len(found["brokers"]), "partitions": len(partitions), "query": lines(kcat(rig, "-Q", "-t", f"{topic}:0:1000"))}


@case
def kcat_group(rig):
    topic = rig.name()
    kcat(rig, "-P", "-t", topic, "-p", "0", text="1\n2\n3\n")
    group = ["-G", rig.name(), topic, "-X", "auto.offset.reset=earliest", "-c"]
    return {"first": lines(kcat(rig, *group, "2")), "then": lines(kcat(rig, *group, "1"))}
