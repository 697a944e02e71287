"""Topics: made, seen, grown, deleted, and made by the first producer."""

from rig import case, records, until, values


@case
def create_topic(rig):
    topic = rig.topic(partitions=3)
    return {"partitions": rig.client.partitions(topic), "listed": topic in rig.client.topics(), "again": rig.client.create(topic)}


@case
def create_default_partitions(rig):
    topic = rig.expect(rig.name())
    code = rig.client.create(topic, -1, replication=-1)
    return {"code": code, "partitions": until(lambda: rig.client.partitions(topic))}


@case
def create_bad_names(rig):
    names = {"empty": "", "dot": ".", "dots": "..", "space": "a b", "slash": "a/b", "umlaut": "ä", "long": "x" * 250}
    return {what: rig.client.create(name) for what, name in names.items()}


@case
def create_longest_name(rig):
    topic = rig.expect((rig.name() + "x" * 249)[:249])
    return rig.client.create(topic)


@case
def create_colliding_name(rig):
    stem = rig.topic(".a")
    return rig.client.create(stem.replace(".a", "_a"))


@case
def create_no_partitions(rig):
    return rig.client.create(rig.name(), 0)


@case
def create_three_replicas(rig):
    topic = rig.expect(rig.name())
    return rig.client.create(topic, 1, replication=3)


@case
def create_bad_configs(rig):
    configs = {"unknown": {"no.such.thing": 1}, "word": {"retention.ms": "soon"}, "policy": {"cleanup.policy": "shred"}, "negative": {"max.message.bytes": -1}}
    return {what: rig.client.create(rig.name(), 1, config) for what, config in configs.items()}


@case
def create_validate_only(rig):
    topic = rig.expect(rig.name())
    good, bad = rig.client.create(topic, validate_only=True), rig.client.create("a b", validate_only=True)
    return {"good": good, "bad": bad, "created": topic in rig.client.topics()}


@case
def delete_topic(rig):
    topic = rig.topic()
    code = rig.client.delete(topic)
    until(lambda: topic not in rig.client.topics())
    return {"code": code, "again": rig.client.delete(topic), "never_there": rig.client.delete(rig.name(".never"))}


@case
def recreate_topic(rig):
    topic = rig.topic()
    rig.client.produce(topic, records("old", "old"))
    rig.client.delete(topic)
    until(lambda: topic not in rig.client.topics())
    until(lambda: rig.client.create(topic) == 0)
    until(lambda: rig.client.partitions(topic) == 1)
    ends = [rig.client.offset(topic, "earliest"), rig.client.offset(topic, "latest")]
    return {"ends": ends, "offsets": rig.client.produce(topic, records("new")), "read": values(rig.client.read(topic, 1, "earliest"))}


@case
def create_partitions(rig):
    topic = rig.topic(partitions=2)
    rig.client.produce(topic, records("kept"))
    codes = {"more": rig.client.create_partitions(topic, 4)}
    until(lambda: rig.client.partitions(topic) == 4)
    codes |= {"same": rig.client.create_partitions(topic, 4), "fewer": rig.client.create_partitions(topic, 1), "unknown": rig.client.create_partitions(rig.name(".never"), 2)}
    last = rig.client.produce(topic, records("in the new one"), partition=3)
    return codes | {"kept": values(rig.client.read(topic, 1)), "in_new": last}


@case
def auto_create(rig):
    topic = rig.expect(rig.name())
    first = rig.client.produce(topic, records("a", "b"))
    return {"offsets": first, "partitions": rig.client.partitions(topic), "read": values(rig.client.read(topic, 2))}


@case
def cluster(rig):
    return rig.client.cluster()


@case
def internal_topic_is_listed(rig):
    topic = rig.topic()
    member = rig.member(rig.name(), [topic])
    until(lambda: member.poll() is not None and member.assignment())
    return until(lambda: "__consumer_offsets" in rig.client.topics())


@case
def many_partitions(rig):
    topic = rig.topic(partitions=100)
    placed = rig.client.produce(topic, records("x"), partition=99)
    return {"placed": placed, "read": values(rig.client.read(topic, 1, partition=99))}
