"""Requests in one fixed version each, and what of their answers the cases look at."""

import time

from wire import ALTER, BEAT, COMMIT, COMMITTED, CONFIGS, CREATE, DELETE, DELETE_RECORDS, DESCRIBE, EPOCH, FETCH, FIND, GROW, INIT, JOIN, LEAVE, LIST_OFFSETS, METADATA, PATIENCE, PRODUCE, SCRAM, SYNC, array, compact_array, compact_data, compact_text, data, i16, i32, i64, i8, text


def produce(wire, topic, content, partition=0, acks=-1, version=8):
    """[code, offset] of one partition, and the first record that was refused."""
    body = text(None) + i16(acks) + i32(10_000) + array([text(topic) + array([i32(partition) + data(content)])])
    if acks == 0:
        return wire.send(PRODUCE, version, body)
    answer = wire.ask(PRODUCE, version, body)
    (((code, offset),),) = answer.array(lambda: (answer.text(), answer.array(lambda: produced(answer, version)))[1])
    return [code, offset]


def produced(answer, version):
    answer.i32()
    code, offset, _, _ = answer.i16(), answer.i64(), answer.i64(), answer.i64()
    if version >= 8:
        answer.array(lambda: (answer.i32(), answer.text()))
        answer.text()
    return code, offset


def fetch(wire, *parts, wait_ms=0, bytes_min=1, bytes_max=1 << 20, isolation=0, session=(0, -1), answered=True):
    """Parts are (topic, partition, offset[, bytes_max[, leader_epoch]]); version 11. Answers [code, high, start, bytes] of each."""
    topics = []
    for topic, partition, offset, *rest in parts:
        part_max, epoch = [*rest, *(1 << 20, -1)[len(rest) :]]
        topics.append(text(topic) + array([i32(partition) + i32(epoch) + i64(offset) + i64(-1) + i32(part_max)]))
    body = i32(-1) + i32(wait_ms) + i32(bytes_min) + i32(bytes_max) + i8(isolation) + i32(session[0]) + i32(session[1]) + array(topics) + array([]) + text("")
    wire.send(FETCH, 11, body)
    return fetched(wire.receive()) if answered else None


def fetched(answer):
    answer.i32()
    code, session = answer.i16(), answer.i32()

    def partition():
        answer.i32()
        code, high, _, start = answer.i16(), answer.i64(), answer.i64(), answer.i64()
        answer.array(lambda: (answer.i64(), answer.i64()))
        answer.i32()
        return [code, high, start, answer.data() or b""]

    parts = [part for topic in answer.array(lambda: (answer.text(), answer.array(partition))[1]) for part in topic]
    return {"code": code, "session": session, "parts": parts}


def list_offsets(wire, topic, when, version=5, partition=0, epoch=-1):
    """[code, offset]"""
    body = i32(-1) + i8(0) + array([text(topic) + array([i32(partition) + i32(epoch) + i64(when)])])
    answer = wire.ask(LIST_OFFSETS, version, body)
    answer.i32()
    ((found,),) = answer.array(lambda: (answer.text(), answer.array(lambda: (answer.i32(), answer.i16(), answer.i64(), answer.i64(), answer.i32())))[1])
    return [found[1], found[3]]


def metadata(wire, topics, create=False, version=8):
    """Codes and sizes by topic."""
    body = array(None if topics is None else [text(topic) for topic in topics]) + i8(create) + i8(0) + i8(0)
    answer = wire.ask(METADATA, version, body)
    answer.i32()
    answer.array(lambda: (answer.i32(), answer.text(), answer.i32(), answer.text()))
    answer.text(), answer.i32()

    def partition():
        code = answer.i16()
        answer.i32(), answer.i32(), answer.i32()
        answer.array(answer.i32), answer.array(answer.i32), answer.array(answer.i32)
        return code

    def topic():
        code, name, _ = answer.i16(), answer.text(), answer.i8()
        partitions = answer.array(partition)
        answer.i32()
        return name, [code, len(partitions)]

    return dict(answer.array(topic))


def create(wire, topic, partitions=1, replication=1, configs=(), version=4, check_only=False):
    body = array([text(topic) + i32(partitions) + i16(replication) + array([]) + array([text(name) + text(value) for name, value in configs])]) + i32(10_000) + i8(check_only)
    answer = wire.ask(CREATE, version, body)
    answer.i32()
    return answer.array(lambda: (answer.text(), answer.i16(), answer.text()))[0][1]


def alter(wire, topic, *steps, resources=1):
    """Steps are (name, operation, value); the codes of each resource."""
    one = i8(2) + text(topic) + array([text(name) + i8(operation) + text(value) for name, operation, value in steps])
    answer = wire.ask(ALTER, 0, array([one] * resources) + i8(0))
    answer.i32()
    return sorted({code for code, *_ in answer.array(lambda: (answer.i16(), answer.text(), answer.i8(), answer.text()))})


def configs(wire, topic, *names):
    """(code, values by name)"""
    answer = wire.ask(CONFIGS, 1, array([i8(2) + text(topic) + array([text(name) for name in names])]) + i8(0))
    answer.i32()
    value = lambda: (answer.text(), answer.text(), answer.i8(), answer.i8(), answer.i8(), answer.array(lambda: (answer.text(), answer.text(), answer.i8())))
    ((code, _, _, _, found),) = answer.array(lambda: (answer.i16(), answer.text(), answer.i8(), answer.text(), answer.array(value)))
    return code, {name: value for name, value, *_ in found}


def describe_loggers(wire, node):
    """The code of DescribeConfigs for a node's loggers."""
    answer = wire.ask(CONFIGS, 1, array([i8(8) + text(node) + array(None)]) + i8(0))
    answer.i32(), answer.i32()
    return answer.i16()


def alter_loggers(wire, node, *steps, key=ALTER):
    """The code; steps are (name, operation, value)."""
    step = lambda name, operation, value: text(name) + (i8(operation) if key == ALTER else b"") + text(value)
    answer = wire.ask(key, 0, array([i8(8) + text(node) + array([step(*one) for one in steps])]) + i8(0))
    answer.i32(), answer.i32()
    return answer.i16()


def alter_scram(wire, deletions, upsertions):
    """Codes by user; deletions are (user, mechanism), upsertions have the iterations too."""
    secret = lambda mechanism: compact_data(b"salt" * 4) + compact_data(b"x" * (64 if mechanism == 2 else 32))
    gone = [compact_text(user) + i8(mechanism) + b"\x00" for user, mechanism in deletions]
    put = [compact_text(user) + i8(mechanism) + i32(rounds) + secret(mechanism) + b"\x00" for user, mechanism, rounds in upsertions]
    answer = wire.ask(SCRAM, 0, compact_array(gone) + compact_array(put) + b"\x00", tags=b"\x00")
    answer.tags(), answer.i32()
    return dict(answer.compact_array(lambda: (answer.compact_text(), answer.i16(), answer.compact_text(), answer.tags())[:2]))


def describe_partitions(wire, topics, limit=2000, cursor=None):
    """[code, name, partitions] of each topic, and the next cursor."""
    begin = i8(-1) if cursor is None else i8(1) + compact_text(cursor[0]) + i32(cursor[1]) + b"\x00"
    answer = wire.ask(DESCRIBE, 0, compact_array([compact_text(topic) + b"\x00" for topic in topics]) + i32(limit) + begin + b"\x00", tags=b"\x00")
    answer.tags(), answer.i32()

    def partition():
        answer.i16()
        index = answer.i32()
        answer.i32(), answer.i32()
        for _ in range(5):
            answer.compact_array(answer.i32)
        answer.tags()
        return index

    def topic():
        code, name = answer.i16(), answer.compact_text()
        answer.raw(16), answer.i8()
        partitions = answer.compact_array(partition)
        answer.i32(), answer.tags()
        return [code, name, partitions]

    found = answer.compact_array(topic)
    return found, None if answer.i8() < 0 else [answer.compact_text(), answer.i32()]


def grow(wire, topic, count, assignments=None, times=1):
    """The codes of CreatePartitions; assignments are lists of brokers."""
    one = text(topic) + i32(count) + array(None if assignments is None else [array([i32(broker) for broker in brokers]) for brokers in assignments])
    answer = wire.ask(GROW, 1, array([one] * times) + i32(10_000) + i8(1))
    answer.i32()
    return [code for _, code, _ in answer.array(lambda: (answer.text(), answer.i16(), answer.text()))]


def delete_records(wire, topic, offset):
    """[code, where the partition starts]"""
    answer = wire.ask(DELETE_RECORDS, 0, array([text(topic) + array([i32(0) + i64(offset)])]) + i32(10_000))
    answer.i32()
    ((_, ((_, low, code),)),) = answer.array(lambda: (answer.text(), answer.array(lambda: (answer.i32(), answer.i64(), answer.i16()))))
    return [code, low]


def delete(wire, topic):
    answer = wire.ask(DELETE, 3, array([text(topic)]) + i32(10_000))
    answer.i32()
    return answer.array(lambda: (answer.text(), answer.i16()))[0][1]


def init_producer(wire, transactional=None):
    """(code, id, epoch); a broker that was just started may need a moment for the first."""

    def ask():
        answer = wire.ask(INIT, 1, text(transactional) + i32(60_000))
        answer.i32()
        code = answer.i16()
        return code not in (14, 15) and (code, answer.i64(), answer.i16())

    return until(ask)


def epoch_end(wire, topic, epoch, current=-1):
    """[code, epoch, end offset]"""
    answer = wire.ask(EPOCH, 3, i32(-1) + array([text(topic) + array([i32(0) + i32(current) + i32(epoch)])]))
    answer.i32()
    ((found,),) = answer.array(lambda: (answer.text(), answer.array(lambda: [answer.i16(), answer.i32(), answer.i32(), answer.i64()]))[1])
    return [found[0], *found[2:]]


def coordinator(wire, key, kind=0):
    answer = wire.ask(FIND, 2, text(key) + i8(kind))
    answer.i32()
    code = answer.i16()
    answer.text()
    return [code, answer.i32() >= 0]


class Group:
    """One member's requests. A refused join or sync leaves it as it was."""

    def __init__(self, wire, group, protocols=(("range", b"wishes"),), kind="mine", instance=None):
        self.wire, self.group, self.protocols, self.kind, self.instance = wire, group, protocols, kind, instance
        self.member, self.generation, self.leader, self.others = "", -1, None, []

    def join(self, answered=True, session_ms=10_000, rebalance_ms=5_000):
        protocols = array([text(name) + data(wishes) for name, wishes in self.protocols])
        self.wire.send(JOIN, 5, text(self.group) + i32(session_ms) + i32(rebalance_ms) + text(self.member) + text(self.instance) + text(self.kind) + protocols)
        return self.joined() if answered else None

    def joined(self):
        answer = self.wire.receive()
        answer.i32()
        code, generation, protocol, leader, member = answer.i16(), answer.i32(), answer.text(), answer.text(), answer.text()
        others = answer.array(lambda: (answer.text(), answer.text(), answer.data()))
        if code in (0, 79):
            self.member = member
        if code == 0:
            self.generation, self.leader, self.others = generation, leader == member, others
        return {"code": code, "protocol": protocol, "leader": leader == member, "others": len(others)}

    def enter(self):
        """The two steps of a new member."""
        first = self.join()
        return self.join() if first["code"] == 79 else first

    def sync(self, assignments=(), answered=True, generation=None):
        plan = array([text(member) + data(plan) for member, plan in assignments])
        self.wire.send(SYNC, 3, text(self.group) + i32(self.generation if generation is None else generation) + text(self.member) + text(self.instance) + plan)
        return self.synced() if answered else None

    def synced(self):
        answer = self.wire.receive()
        answer.i32()
        return [answer.i16(), (answer.data() or b"").decode("latin-1")]

    def beat(self, generation=None, member=None):
        answer = self.wire.ask(BEAT, 3, text(self.group) + i32(self.generation if generation is None else generation) + text(self.member if member is None else member) + text(self.instance))
        answer.i32()
        return answer.i16()

    def leave(self, member=None):
        answer = self.wire.ask(LEAVE, 1, text(self.group) + text(self.member if member is None else member))
        answer.i32()
        return answer.i16()

    def commit(self, topic, offset, generation=None, member=None, partition=0):
        place = i32(partition) + i64(offset) + i32(-1) + text("note")
        head = text(self.group) + i32(self.generation if generation is None else generation) + text(self.member if member is None else member) + text(self.instance)
        answer = self.wire.ask(COMMIT, 7, head + array([text(topic) + array([place])]))
        answer.i32()
        return answer.array(lambda: (answer.text(), answer.array(lambda: (answer.i32(), answer.i16())))[1])[0][0][1]

    def committed(self, topic):
        """[offset, metadata, code] and the code of all."""
        answer = self.wire.ask(COMMITTED, 5, text(self.group) + array([text(topic) + array([i32(0)])]))
        answer.i32()
        found = answer.array(lambda: (answer.text(), answer.array(lambda: (answer.i32(), answer.i64(), answer.i32(), answer.text(), answer.i16())))[1])[0][0]
        return [found[1], found[3], found[4], answer.i16()]


def ready(group):
    """A broker that was just started may still be loading its groups; then all answers would be about that."""
    until(lambda: coordinator(group.wire, group.group)[0] == 0)
    until(lambda: group.beat(0, "nobody") == 25)


def until(happened, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while not (found := happened()):
        if time.monotonic() > deadline:
            raise RuntimeError("late")
        time.sleep(0.05)
    return found
