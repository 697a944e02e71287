"""Configurations as an administrator sees them, logins, and rights."""

from rig import case, records, until

USER, PASSWORD = "alice", "alice-secret"
SHOWN = """cleanup.policy compression.type delete.retention.ms file.delete.delay.ms flush.messages flush.ms index.interval.bytes
max.compaction.lag.ms max.message.bytes message.timestamp.after.max.ms message.timestamp.before.max.ms message.timestamp.type
min.cleanable.dirty.ratio min.compaction.lag.ms min.insync.replicas preallocate retention.bytes retention.ms segment.bytes segment.index.bytes
segment.jitter.ms segment.ms unclean.leader.election.enable""".split()


@case
def default_configs(rig):
    found = rig.client.configs(rig.topic())
    return {name: found[name][0] if name in found else "missing" for name in SHOWN}


@case
def created_with_configs(rig):
    found = rig.client.configs(rig.topic(retention_ms=60_000, cleanup_policy="compact,delete", max_message_bytes=2000))
    return {name: found[name] for name in ("retention.ms", "cleanup.policy", "max.message.bytes", "segment.bytes")}


@case
def alter_configs(rig):
    topic = rig.topic(retention_ms=60_000)
    kept = lambda name: rig.client.configs(topic)[name][0]
    codes = {"set": rig.client.alter(topic, max_message_bytes=5000)}
    until(lambda: kept("max.message.bytes") == "5000")
    codes |= {"others_stay": kept("retention.ms"), "taken_away": rig.client.alter(topic, retention_ms=None)}
    until(lambda: kept("retention.ms") == "604800000")
    return codes | {"unknown": rig.client.alter(topic, no_such_thing=1), "bad": rig.client.alter(topic, retention_ms="soon"), "topic": rig.client.alter(rig.name(".never"), retention_ms=1)}


@case
def configs_of_unknown_topic(rig):
    return rig.client.configs(rig.name(".never"))


@case
def altered_limit_holds(rig):
    topic = rig.topic()
    rig.client.alter(topic, max_message_bytes=500)
    until(lambda: rig.client.configs(topic)["max.message.bytes"][0] == "500")
    return until(lambda: rig.client.produce(topic, records("x" * 1000)) == [{"code": 10}])


def login(mechanism):
    def run(rig):
        verdict = lambda user, password: rig.client.login(rig.arguments.sasl, mechanism, user, password)
        return {"right": verdict(USER, PASSWORD), "wrong": verdict(USER, "guess"), "unknown": verdict("nobody", PASSWORD)}

    run.__name__ = "sasl_" + mechanism.lower().replace("-", "_")
    case(run)


for one in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
    login(one)


@case
def sasl_rights(rig):
    """A topic that has a list is closed to all who are not on it."""
    topic = rig.topic()
    as_alice = lambda action: rig.client.login(rig.arguments.sasl, "PLAIN", USER, PASSWORD, action)
    write = lambda: as_alice(lambda client: client.produce(topic, records("x")))
    before = write()
    codes = [rig.client.allow("User:bob", "WRITE", topic), rig.client.allow("User:alice", "DESCRIBE", topic)]
    until(lambda: len(rig.client.allowed(topic)) == 2)
    denied = until(lambda: (found := write()) != [0] and found)
    rig.client.allow("User:alice", "WRITE", topic)
    allowed = until(lambda: isinstance((found := write())[0], int) and found)
    listed = rig.client.allowed(topic)
    return {"before": before, "codes": codes, "denied": denied, "allowed": allowed, "listed": listed, "removed": rig.client.disallow(topic)}


@case
def sasl_group_rights(rig):
    """Who may read a topic needs the group as well."""
    topic, group = rig.topic(), rig.name()
    rig.client.produce(topic, records("x"))
    read = lambda: rig.client.login(rig.arguments.sasl, "PLAIN", USER, PASSWORD, lambda client: client.first_in_group(group, topic))
    for user, kind, name in (("bob", "group", group), ("bob", "topic", topic), ("alice", "topic", topic)):
        rig.client.allow(f"User:{user}", "READ", name, kind)
    denied = until(lambda: (found := read()) != "x" and found)
    rig.client.allow("User:alice", "READ", group, "group")
    allowed = until(lambda: (found := read()) == "x" and found)
    return {"denied": denied, "allowed": allowed, "removed": [rig.client.disallow(group, "group"), rig.client.disallow(topic)]}
