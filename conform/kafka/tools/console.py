"""Kafka's console tools, as an operator types them."""

import json
import re

from rig import case, lines

TOPICS = "org.apache.kafka.tools.TopicCommand"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
CONFIGS = "kafka.admin.ConfigCommand"
ACLS = "org.apache.kafka.tools.AclCommand"
PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"


def words(text):
    """Every line with single spaces."""
    return [" ".join(line.split()) for line in lines(text)]


def create(rig, partitions=1, *more):
    return words(rig.tool(TOPICS, "--create", "--topic", rig.name(), "--partitions", str(partitions), *more))


def produce(rig, *values):
    return rig.tool(PRODUCER, "--topic", rig.name(), "--reader-property", "parse.key=true", "--reader-property", "key.separator=:", text="\n".join(values) + "\n")


@case
def tool_topics(rig):
    created = create(rig, 2, "--config", "retention.ms=60000")
    again = create(rig, 2)[:1]
    described = [re.sub(r"TopicId: \S+", "TopicId: ID", line) for line in words(rig.tool(TOPICS, "--describe", "--topic", rig.name()))]
    grown = words(rig.tool(TOPICS, "--alter", "--topic", rig.name(), "--partitions", "3"))
    listed = "NAME" in lines(rig.tool(TOPICS, "--list"))
    deleted = words(rig.tool(TOPICS, "--delete", "--topic", rig.name()))
    plain = [re.sub(r"(Leader|Replicas|Isr|LeaderRecoveryState|LastKnownElr|Elr): ?\S*", r"\1: …", line) for line in described]
    return {"created": created, "again": again, "described": plain, "grown": grown, "listed": listed, "deleted": deleted}


@case
def tool_produce_and_consume(rig):
    create(rig)
    produce(rig, "a:1", "b:2", "c:3")
    shown = ["--formatter-property", "print.key=true", "--formatter-property", "print.offset=true"]
    read = rig.tool(CONSUMER, "--topic", rig.name(), "--from-beginning", "--max-messages", "3", "--group", rig.name(), *shown)
    rest = rig.tool(CONSUMER, "--topic", rig.name(), "--partition", "0", "--offset", "2", "--max-messages", "1")
    return {"read": words(read), "rest": words(rest)}


@case
def tool_lag(rig):
    create(rig)
    produce(rig, "a:1", "b:2", "c:3")
    rig.tool(CONSUMER, "--topic", rig.name(), "--from-beginning", "--max-messages", "3", "--group", rig.name())
    produce(rig, "d:4")
    lag = words(rig.tool(GROUPS, "--describe", "--group", rig.name()))
    state = words(rig.tool(GROUPS, "--describe", "--group", rig.name(), "--state"))
    state = [re.sub(r"\S+:\d+ \(\d+\)", "NODE", line).replace(" - ", " ") for line in state]
    back = " ".join(words(rig.tool(GROUPS, "--reset-offsets", "--group", rig.name(), "--topic", rig.name(), "--to-earliest", "--execute")))
    listed = "NAME" in lines(rig.tool(GROUPS, "--list"))
    deleted = words(rig.tool(GROUPS, "--delete", "--group", rig.name()))
    return {"lag": lag, "state": state, "reset": back, "listed": listed, "deleted": deleted}


@case
def tool_configs(rig):
    create(rig)
    entity = ["--entity-type", "topics", "--entity-name", rig.name()]
    altered = words(rig.tool(CONFIGS, "--alter", *entity, "--add-config", "retention.ms=1234567,cleanup.policy=compact"))
    described = words(rig.tool(CONFIGS, "--describe", *entity))
    removed = words(rig.tool(CONFIGS, "--alter", *entity, "--delete-config", "retention.ms"))
    bad = words(rig.tool(CONFIGS, "--alter", *entity, "--add-config", "retention.ms=soon"))[:1]
    left = words(rig.tool(CONFIGS, "--describe", *entity))
    return {"altered": altered, "described": described[:1] + sorted(described[1:]), "removed": removed, "refused": "Invalid value soon for configuration retention.ms" in bad[0], "left": left}


@case
def tool_offsets_and_deleted_records(rig):
    create(rig, 2)
    produce(rig, "a:1", "a:2", "a:3")
    offsets = lambda *more: sum(int(line.rsplit(":", 1)[1]) for line in lines(rig.tool("org.apache.kafka.tools.GetOffsetShell", "--topic", rig.name(), *more)) if line.startswith("NAME:"))
    before = [offsets("--time", "earliest"), offsets("--time", "latest")]
    plan = {"version": 1, "partitions": [{"topic": rig.name(), "partition": partition, "offset": -1} for partition in (0, 1)]}
    path = rig.file("plan.json", json.dumps(plan))
    deleted = words(rig.tool("org.apache.kafka.tools.DeleteRecordsCommand", "--offset-json-file", str(path)))
    done = sum("low_watermark" in line for line in deleted)
    return {"before": before, "partitions": done, "after": [offsets("--time", "earliest"), offsets("--time", "latest")]}


@case
def tool_log_dirs(rig):
    create(rig, 2)
    rig.tool(PRODUCER, "--topic", rig.name(), text="x" * 100 + "\n")
    told = lines(rig.tool("org.apache.kafka.tools.LogDirsCommand", "--describe", "--topic-list", rig.name()))
    (broker,) = json.loads(told[-1])["brokers"]
    (directory,) = broker["logDirs"]
    places = sorted(directory["partitions"], key=lambda place: place["partition"])
    return {"said": told[:-1], "error": directory["error"], "partitions": [[place[what] for what in ("partition", "offsetLag", "isFuture")] for place in places], "bytes": sum(place["size"] for place in places)}


@case
def tool_acls(rig):
    create(rig)
    rights = ["--allow-principal", "User:bob", "--operation", "Read", "--topic", rig.name()]
    added = words(rig.tool(ACLS, "--add", *rights))
    listed = words(rig.tool(ACLS, "--list", "--topic", rig.name()))
    removed = words(rig.tool(ACLS, "--remove", "--force", *rights))
    return {"added": added, "listed": listed, "removed": removed, "left": words(rig.tool(ACLS, "--list", "--topic", rig.name()))}


@case
def tool_cluster_and_versions(rig):
    node = lines(rig.tool("org.apache.kafka.tools.BrokerApiVersionsCommand"))
    unusable = [line for line in node if "Fetch(1)" in line and "usable" not in line]
    cluster = lines(rig.run(rig.java("org.apache.kafka.tools.ClusterTool", "cluster-id", "--bootstrap-server", rig.arguments.bootstrap)))
    return {"produce": any(line.startswith("Produce(0):") for line in node), "unusable": unusable, "cluster": cluster[-1].startswith("Cluster ID:")}


@case
def tool_perf(rig):
    """By the names that options have in every version, although the newest has other ones too."""
    create(rig, 3)
    sent = rig.run(rig.java("org.apache.kafka.tools.ProducerPerformance", "--topic", rig.name(), "--num-records", "20000", "--record-size", "200", "--throughput", "-1", "--producer-props", f"bootstrap.servers={rig.arguments.bootstrap}"))
    read = rig.tool("org.apache.kafka.tools.ConsumerPerformance", "--topic", rig.name(), "--messages", "20000", "--hide-header")
    return {"sent": "20000 records sent" in sent, "read": int(lines(read)[-1].split(", ")[4]) >= 20000}
