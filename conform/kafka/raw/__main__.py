"""What no client library would do, by hand: broken requests, old versions, and the rules of fetch and groups to the byte.

    python conform/kafka/raw --bootstrap 127.0.0.1:9092 [--sasl 127.0.0.1:9093] [--only case,case]
"""

import argparse
import json
import struct
import threading
import time
import traceback

import verbs
from verbs import Group, until
from wire import CREATE, DELETE, FETCH, HANDSHAKE, METADATA, PRODUCE, VERSIONS, Closed, Reader, Wire, array, batch, i16, i32, record, text

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


class Rig:
    def __init__(self, name, arguments):
        self.stem, self.arguments = f"{name}-raw-{time.time_ns() // 1000000:x}", arguments
        self.open, self.topics = [], []

    def wire(self, address=None):
        wire = Wire(address or self.arguments.bootstrap)
        self.open.append(wire)
        return wire

    def topic(self, wire, suffix="", partitions=1, **configs):
        topic = self.stem + suffix
        code = verbs.create(wire, topic, partitions, configs=[(name.replace("_", "."), str(value)) for name, value in configs.items()])
        if code:
            raise RuntimeError(f"{topic} could not be created: {code}")
        self.topics.append(topic)
        until(lambda: verbs.metadata(wire, [topic])[topic] == [0, partitions])
        until(lambda: verbs.list_offsets(wire, topic, -2) == [0, 0])
        return topic

    def close(self):
        for wire in self.open:
            wire.close()
        wire = Wire(self.arguments.bootstrap)
        for topic in self.topics:
            verbs.delete(wire, topic)
        wire.close()


# The connection and its versions.

# Kafka's numbers of what every client needs.
NEEDED = (0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 29, 30, 31, 32, 33, 36, 37, 42, 44, 47, 50, 51, 60)


def versions(answer):
    code = answer.i16()
    return code, {key: [low, high] for key, low, high in answer.array(lambda: (answer.i16(), answer.i16(), answer.i16()))}


@case
def api_versions(rig):
    code, found = versions(rig.wire().ask(VERSIONS, 0, b""))
    return {"code": code, "needed": {str(key): found.get(key) for key in NEEDED}}


@case
def api_versions_of_the_future(rig):
    wire = rig.wire()
    code, found = versions(wire.ask(VERSIONS, 99, b"\x01\x01\x00", tags=b"\x00"))
    again, _ = versions(wire.ask(VERSIONS, 0, b""))
    return {"code": code, "of_itself": found.get(18), "goes_on": again}


@case
def api_versions_flexible(rig):
    answer = rig.wire().ask(VERSIONS, 3, b"\x04raw\x041.0\x00", tags=b"\x00")
    code, count = answer.i16(), answer.i8() - 1
    found = {}
    for _ in range(count):
        key, low, high, _ = answer.i16(), answer.i16(), answer.i16(), answer.i8()
        found[key] = [low, high]
    return {"code": code, "produce": found[0]}


@case
def api_versions_bad_name(rig):
    code = rig.wire().ask(VERSIONS, 3, b"\x02 \x021\x00", tags=b"\x00").i16()
    return code


@case
def unknown_tags_are_skipped(rig):
    wire = rig.wire()
    tags = b"\x02\x63\x03abc\x64\x00"  # two of them: 99 with three bytes, 100 with none
    answer = wire.ask(METADATA, 9, b"\x01\x00\x00\x00" + tags, tags=tags)
    answer.raw(1)  # of the header
    answer.i32()
    return answer.i8() - 1


@case
def unknown_api(rig):
    wire = rig.wire()
    wire.send(999, 0, b"")
    return wire.ends()


@case
def unsupported_versions(rig):
    def ends(key, version):
        wire = rig.wire()
        wire.send(key, version, b"\0" * 20)
        return wire.ends()

    return {"produce_2": ends(PRODUCE, 2), "fetch_3": ends(FETCH, 3), "fetch_99": ends(FETCH, 99), "negative": ends(METADATA, -1)}


@case
def hostile_lengths(rig):
    def ends(content):
        wire = rig.wire()
        wire.bytes(content)
        return wire.ends()

    claim = i16(METADATA) + i16(4) + i32(1) + text("raw") + i32(0x7FFFFFFF)
    return {
        "negative": ends(i32(-5)),
        "two_gigabytes": ends(i32(0x7FFFFFFF)),
        "empty": ends(i32(0)),
        "short": ends(i32(3) + b"abc"),
        "array_of_2_billion": ends(i32(len(claim)) + claim),
        "http": ends(b"GET / HTTP/1.1\r\n\r\n"),
    }


@case
def requests_in_a_row_are_answered_in_order(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    numbers = []
    for key, version, body in ((VERSIONS, 0, b""), (METADATA, 8, array([text(topic)]) + b"\0\0\0"), (VERSIONS, 0, b"")) * 20:
        wire.send(key, version, body)
    wire_number, wire.number = wire.number, wire.number - 60
    while wire.number < wire_number:
        wire.number += 1
        wire.receive()
        numbers.append(wire.number)
    return len(numbers)


@case
def one_byte_at_a_time(rig):
    wire = rig.wire()
    request = i16(VERSIONS) + i16(0) + i32(1) + text("slow")
    for byte in i32(len(request)) + request:
        wire.bytes(bytes([byte]))
    wire.number = 1
    return versions(wire.receive())[0]


# Produce.


@case
def produce_broken_batches(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    whole = batch(b"good", b"too")
    broken = {
        "crc": batch(b"x", crc_off=1),
        "magic_0": batch(b"x", magic=0),
        "magic_1": batch(b"x", magic=1),
        "magic_3": batch(b"x", magic=3),
        "cut": whole[:-3],
        "length_too_long": batch(b"x", length_off=1),
        "length_too_short": batch(b"x", length_off=-1),
        "length_negative": whole[:8] + i32(-1) + whole[12:],
        "header_only": whole[:61],
        "half_a_header": whole[:20],
        "trailing_byte": whole + b"\0",
        "two_batches": whole + whole,
        "count_too_large": batch(b"x", count=5),
        "count_and_last_differ": batch(b"x", b"y", last_delta=7),
        "last_delta_negative": batch(b"x", last_delta=-5),
        "no_records": batch(records=b"", last_delta=-1, count=0),
        "offsets_not_in_a_row": batch(b"", b"", records=record(b"x", offset=0) + record(b"y", offset=5)),
        "codec_7": batch(b"x", attributes=7),
        "gzip_of_rubbish": batch(b"x", attributes=1),
        "control": batch(b"x", attributes=0x20),
        "transactional_without_producer": batch(b"x", attributes=0x10),
        "record_length_lies": batch(b"", records=b"\x7e" + record(b"x")[1:]),
    }
    answers = {}
    for what, content in broken.items():
        try:
            answers[what] = verbs.produce(wire, topic, content)[0]
        except (Closed, ConnectionError):
            answers[what] = "closed"
            wire = rig.wire()
    return {"answers": answers, "good": verbs.produce(wire, topic, whole)[0]}


@case
def produce_nothing(rig):
    wire = rig.wire()
    return verbs.produce(wire, rig.topic(wire), b"")


@case
def produce_base_offset_is_ignored(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    return [verbs.produce(wire, topic, batch(b"a", b"b")), verbs.produce(wire, topic, batch(b"c", base=777)), verbs.list_offsets(wire, topic, -1)]


@case
def produce_to_unknown(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    return {"topic": verbs.produce(wire, rig.stem + ".never", batch(b"x")), "partition": verbs.produce(wire, topic, batch(b"x"), partition=5), "negative": verbs.produce(wire, topic, batch(b"x"), partition=-1)}


@case
def produce_acks(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    answers = {str(acks): verbs.produce(wire, topic, batch(b"x"), acks=acks) for acks in (1, -1, 2, -2)}
    verbs.produce(wire, topic, batch(b"x"), acks=0)
    silent = wire.silent(0.5)
    return answers | {"0_is_silent": silent, "end": verbs.list_offsets(wire, topic, -1)}


@case
def produce_acks_0_with_an_error(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    verbs.produce(wire, topic, batch(b"x", crc_off=1), acks=0)
    return wire.ends()


@case
def produce_versions(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    return [verbs.produce(wire, topic, batch(b"x"), version=8), produce_3(wire, topic), produce_zstd(wire, topic, 6), produce_zstd(wire, topic, 7)]


def produce_3(wire, topic):
    body = text(None) + i16(-1) + i32(1000) + array([text(topic) + array([i32(0) + i32(len(content := batch(b"y"))) + content])])
    answer = wire.ask(PRODUCE, 3, body)
    return answer.array(lambda: (answer.text(), answer.array(lambda: [answer.i32(), answer.i16(), answer.i64(), answer.i64()]))[1])[0][0][1:3]


def produce_zstd(wire, topic, version):
    """Refused before it was invented, for what is in it otherwise."""
    body = text(None) + i16(-1) + i32(1000) + array([text(topic) + array([i32(0) + i32(len(content := batch(b"y", attributes=4))) + content])])
    try:
        answer = wire.ask(PRODUCE, version, body)
        return answer.array(lambda: (answer.text(), answer.array(lambda: [answer.i32(), answer.i16(), answer.i64(), answer.i64(), answer.i64()]))[1])[0][0][1]
    except (Closed, ConnectionError):
        return "closed"


@case
def idempotence(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    code, producer, epoch = verbs.init_producer(wire)
    put = lambda sequence, count=1, epoch=epoch: verbs.produce(wire, topic, batch(*[b"x"] * count, producer=(producer, epoch, sequence)))
    return {
        "init": [code, producer >= 0, epoch],
        "first": put(0, 2),
        "again": put(0, 2),
        "next": put(2),
        "gap": put(9),
        "again_within_five": [put(3), put(4), put(5), put(6), put(2)],
        "too_old": put(0, 2),
        "half_of_one": put(1),
        "new_epoch_not_from_0": put(4, epoch=epoch + 1),
        "new_epoch": put(0, epoch=epoch + 1),
        "old_epoch": put(7),
        "end": verbs.list_offsets(wire, topic, -1),
    }


@case
def idempotence_first_sequence(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    _, producer, epoch = verbs.init_producer(wire)
    return {"not_0": verbs.produce(wire, topic, batch(b"x", producer=(producer, epoch, 5))), "unknown_id": verbs.produce(wire, topic, batch(b"x", producer=(987654321, 0, 0)))}


@case
def producer_ids_differ(rig):
    wire = rig.wire()
    return len({verbs.init_producer(wire)[1] for _ in range(10)})


# Fetch and offsets.


@case
def fetch_bounds(rig):
    wire = rig.wire()
    topic = rig.topic(wire, partitions=2)
    sizes = []
    for partition in (0, 1):
        for _ in range(3):
            content = batch(b"x" * 1000)
            sizes.append(len(content))
            verbs.produce(wire, topic, content, partition)
    one = sizes[0]
    shown = lambda found: [len(part[3]) // one if len(part[3]) % one == 0 else "cut" for part in found["parts"]]
    both = lambda **options: shown(verbs.fetch(wire, (topic, 0, 0, options.pop("part_max", 1 << 20)), (topic, 1, 0), **options))
    return {
        "all": both(),
        "part_max_of_1": both(part_max=1),
        "part_max_of_two": both(part_max=2 * one),
        "bytes_max_of_1": both(bytes_max=1),
        "bytes_max_of_four": both(bytes_max=4 * one),
        "from_the_middle": shown(verbs.fetch(wire, (topic, 0, 2))),
        "at_the_end": shown(verbs.fetch(wire, (topic, 0, 3))),
    }


@case
def fetch_waits(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    content = batch(b"x" * 100)
    verbs.produce(wire, topic, content)

    def timed(**options):
        start = time.monotonic()
        found = verbs.fetch(wire, (topic, 0, options.pop("offset", 0)), **options)
        return found["parts"] and len(found["parts"][0][3]) // len(content), time.monotonic() - start

    nothing, slow = timed(offset=1, wait_ms=600)
    too_few, slow_too = timed(bytes_min=10_000, wait_ms=600)
    at_once, fast = timed(wait_ms=50_000)
    return {"nothing": nothing, "waited": 0.5 < slow, "too_few": too_few, "waited_too": 0.5 < slow_too, "enough": at_once, "at_once": fast < 40}


@case
def fetch_is_woken(rig):
    wire, other = rig.wire(), rig.wire()
    topic = rig.topic(wire)
    verbs.fetch(wire, (topic, 0, 0), wait_ms=50_000, answered=False)
    produced = []

    def produce():
        produced.append(time.monotonic())
        verbs.produce(other, topic, batch(b"x"))

    timer = threading.Timer(0.5, produce)
    timer.start()
    found = verbs.fetched(wire.receive())
    soon = bool(produced) and time.monotonic() - produced[0] < 40
    timer.join()
    return {"bytes": bool(found["parts"][0][3]), "soon": soon, "high": found["parts"][0][1]}


@case
def fetch_errors(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    verbs.produce(wire, topic, batch(b"x"))
    code = lambda *part: verbs.fetch(wire, part, wait_ms=100)["parts"][0][:3]
    return {
        "beyond": code(topic, 0, 7),
        "negative": code(topic, 0, -5),
        "unknown_topic": code(rig.stem + ".never", 0, 0),
        "unknown_partition": code(topic, 9, 0),
        "newer_epoch": code(topic, 0, 0, 1 << 20, 99),
        "older_epoch": code(topic, 0, 0, 1 << 20, 0),
    }


@case
def fetch_error_answers_at_once(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    start = time.monotonic()
    verbs.fetch(wire, (topic, 0, 0), (topic, 0, 99), wait_ms=50_000)
    return time.monotonic() - start < 40


@case
def fetch_session_that_never_was(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    return verbs.fetch(wire, (topic, 0, 0), session=(12345, 3))["code"]


@case
def fetch_first_batch_whole(rig):
    """A batch is never cut: what is asked for from its middle comes with its beginning."""
    wire = rig.wire()
    topic = rig.topic(wire)
    content = batch(*[b"x" * 50] * 10)
    verbs.produce(wire, topic, content)
    got = verbs.fetch(wire, (topic, 0, 6, 1), bytes_max=1)["parts"][0][3]
    return {"whole": len(got) == len(content), "base": Reader(got).i64(), "same_after_the_epoch": got[16:] == content[16:]}


@case
def fetched_batch_names_its_place(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    verbs.produce(wire, topic, batch(b"a", b"b"))
    verbs.produce(wire, topic, batch(b"c"))
    got = verbs.fetch(wire, (topic, 0, 2))["parts"][0][3]
    base, _, epoch = struct.unpack_from(">qii", got)
    return {"base": base, "epoch": epoch}


@case
def list_offsets_errors(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    return {"unknown_topic": verbs.list_offsets(wire, rig.stem + ".never", -1), "unknown_partition": verbs.list_offsets(wire, topic, -1, partition=9), "newer_epoch": verbs.list_offsets(wire, topic, -1, epoch=99), "unknown_special": verbs.list_offsets(wire, topic, -7)}


@case
def list_offsets_behind_deleted_records(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    verbs.produce(wire, topic, batch(b"a", b"b", b"c"))
    return {"deleted": verbs.delete_records(wire, topic, 2), "by_time": verbs.list_offsets(wire, topic, 500), "first": verbs.list_offsets(wire, topic, -2)}


@case
def epoch_ends(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    verbs.produce(wire, topic, batch(b"a", b"b"))
    return {"this": verbs.epoch_end(wire, topic, 0), "future": verbs.epoch_end(wire, topic, 5), "wrong_current": verbs.epoch_end(wire, topic, 0, current=99)}


@case
def metadata_of_unknown(rig):
    wire = rig.wire()
    never = rig.stem + ".never"
    answers = {"one": verbs.metadata(wire, [never])[never], "bad_name": verbs.metadata(wire, ["a b"], create=True)["a b"], "none": verbs.metadata(wire, [])}
    return answers | {"still_unknown": never not in verbs.metadata(wire, None)}


@case
def metadata_creates(rig):
    wire = rig.wire()
    topic = rig.stem
    rig.topics.append(topic)
    verbs.metadata(wire, [topic], create=True)
    return until(lambda: (found := verbs.metadata(wire, [topic])[topic])[0] == 0 and found)


@case
def create_errors(rig):
    wire = rig.wire()
    return {"no_partitions": verbs.create(wire, rig.stem, 0), "negative": verbs.create(wire, rig.stem, -2), "no_replicas": verbs.create(wire, rig.stem, 1, 0), "same_twice": create_twice(wire, rig.stem)}


def create_twice(wire, topic):
    one = text(topic) + i32(1) + i16(1) + array([]) + array([])
    answer = wire.ask(CREATE, 4, array([one, one]) + i32(10_000) + b"\0")
    answer.i32()
    return sorted({code for _, code, _ in answer.array(lambda: (answer.text(), answer.i16(), answer.text()))})


@case
def create_the_controllers_topic(rig):
    wire, topic = rig.wire(), "__cluster_metadata"
    return {"made": verbs.create(wire, topic), "by_asking": verbs.metadata(wire, [topic], create=True)[topic], "grown": verbs.grow(wire, topic, 3), "deleted": verbs.delete(wire, topic)}


@case
def describe_from_a_cursor(rig):
    wire = rig.wire()
    topics = [rig.topic(wire, suffix, partitions=2) for suffix in ("-a", "-b", "-d")]
    short = lambda name: name.removeprefix(rig.stem)

    def told(cursor=None, limit=2000, names=topics):
        begin = None if cursor is None else (rig.stem + cursor[0], cursor[1])
        found, following = verbs.describe_partitions(wire, names, limit, begin)
        return [[code, short(name), partitions] for code, name, partitions in found], following and [short(following[0]), following[1]]

    return {
        "all": told(),
        "in_pieces": [told(limit=3), told(("-b", 1), limit=1)],
        "no_limit": told(limit=0),
        "behind_the_last": told(("-b", 2)),
        "far_behind": told(("-b", 99)),
        "negative": told(("-b", -1)),
        "between": told(("-c", 0)),
        "behind_all": told(("-e", 0)),
        "before_all": told(("", 0)),
        "unknown": told(("-e", 1), names=[topics[0], rig.stem + "-e"]),
    }


@case
def asked_twice(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    name = text(rig.stem + ".never")
    deleted = wire.ask(DELETE, 3, array([name, name]) + i32(10_000))
    deleted.i32()
    return {"delete": [code for _, code in deleted.array(lambda: (deleted.text(), deleted.i16()))], "grow": verbs.grow(wire, topic, 2, times=2)}


@case
def grow_by_hand(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    counts = {"right": [[1]], "too_many": [[1], [1]], "none": [], "elsewhere": [[9]], "nowhere": [[]]}
    return {name: verbs.grow(wire, topic, 2, assignments) for name, assignments in counts.items()} | {"not_grown": verbs.grow(wire, topic, 1, [[1]])}


# Configurations of topics.

# What each may be and may not be, at its bounds.
VALUES = {
    "cleanup.policy": ["", ",", "delete, compact", " compact ", "compact,keep"],
    "compression.gzip.level": ["-1", "0", "9", "10"],
    "compression.lz4.level": ["0", "1", "17", "18"],
    "compression.type": ["ZSTD", "none", " gzip"],
    "compression.zstd.level": ["-131073", "-131072", "22", "23"],
    "delete.retention.ms": ["-1", " 5 ", "5s"],
    "leader.replication.throttled.replicas": ["*", "0:1,1:1", "1", "0:x"],
    "max.message.bytes": ["-1", "0", "2147483648"],
    "min.cleanable.dirty.ratio": ["0", "1e-1", "1.1"],
    "min.insync.replicas": ["0", "1"],
    "preallocate": ["TRUE", "no"],
    "retention.bytes": ["-3", "9223372036854775808"],
    "retention.ms": ["-2", "-1"],
    "segment.bytes": ["1048575", "1048576"],
    "segment.ms": ["0", "1"],
}


@case
def config_values(rig):
    wire = rig.wire()
    code = lambda *configs: verbs.create(wire, rig.stem, configs=configs, check_only=True)
    codes = {name: [code((name, value)) for value in values] for name, values in VALUES.items()}
    return codes | {"lags_that_exclude_each_other": code(("min.compaction.lag.ms", "100"), ("max.compaction.lag.ms", "50"))}


@case
def config_steps(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    codes = {
        "twice": verbs.alter(wire, topic, ("retention.ms", 0, "1"), ("retention.ms", 0, "2")),
        "resource_twice": verbs.alter(wire, topic, ("retention.ms", 0, "1"), resources=2),
        "null": verbs.alter(wire, topic, ("retention.ms", 0, None)),
        "take_away_unknown": verbs.alter(wire, topic, ("no.such", 1, None)),
        "set_unknown": verbs.alter(wire, topic, ("no.such", 0, "1")),
        "append_to_a_number": verbs.alter(wire, topic, ("retention.ms", 2, "1")),
        "append": verbs.alter(wire, topic, ("cleanup.policy", 2, "compact")),
        "subtract": verbs.alter(wire, topic, ("cleanup.policy", 3, "delete")),
        "bad_name": verbs.alter(wire, "a b", ("retention.ms", 0, "1")),
        "no_name": verbs.alter(wire, "", ("retention.ms", 0, "1")),
    }
    until(lambda: verbs.configs(wire, topic, "cleanup.policy")[1].get("cleanup.policy") == "compact")
    return codes | {"shown": verbs.configs(wire, topic, "cleanup.policy", "retention.ms"), "shown_of_bad_name": verbs.configs(wire, "a b")[0]}


# Groups.


@case
def loggers_of_nobody(rig):
    wire = rig.wire()
    code = lambda *steps, node="1": verbs.alter_loggers(wire, node, *steps)
    return {
        "described": {node: verbs.describe_loggers(wire, node) for node in ("1", "2", "", "x")},
        "unknown": code(("no.such.logger", 0, "INFO")),
        "deleted": code(("no.such.logger", 1, None)),
        "no_level": code(("root", 0, None)),
        "appended": code(("root", 2, "INFO")),
        "subtracted": code(("root", 3, "INFO")),
        "twice": code(("root", 0, "INFO"), ("root", 0, "WARN")),
        "nothing": code(),
        "other_node": code(("root", 0, "INFO"), node="2"),
        "no_node": code(("root", 0, "INFO"), node=""),
        "all_at_once": verbs.alter_loggers(wire, "1", ("root", 0, "INFO"), key=33),
    }


@case
def users_altered_twice(rig):
    wire, user = rig.wire(), rig.stem
    code = lambda deletions, upsertions: verbs.alter_scram(wire, [(user, *one) for one in deletions], [(user, *one) for one in upsertions])[user]

    def having(*mechanisms):
        for mechanism in (1, 2):
            code([(mechanism,)], [])
        for mechanism in mechanisms:
            code([], [(mechanism, 4096)])

    answers = {}
    for name, before, deletions, upsertions in [
        ("deleted_and_put", [1], [(1,)], [(1, 8192)]),
        ("deleted_and_put_otherwise", [1], [(1,)], [(2, 8192)]),
        ("deleted_twice", [1], [(1,), (1,)], []),
        ("both_deleted", [1, 2], [(1,), (2,)], []),
        ("put_twice", [], [], [(1, 4096), (1, 8192)]),
        ("both_put", [], [], [(1, 4096), (2, 4096)]),
        ("wrong_then_right", [], [], [(1, 1), (1, 4096)]),
        ("right_then_wrong", [], [], [(1, 4096), (1, 1)]),
        ("unknown_mechanism", [], [(9,)], [(1, 4096)]),
    ]:
        having(*before)
        asked = code(deletions, upsertions)
        # What is there afterwards can be deleted.
        answers[name] = [asked, [mechanism for mechanism in (1, 2) if code([(mechanism,)], []) == 0]]
    return answers


@case
def coordinators(rig):
    wire = rig.wire()
    until(lambda: verbs.coordinator(wire, rig.stem)[0] == 0)
    return {"group": verbs.coordinator(wire, rig.stem), "empty": verbs.coordinator(wire, ""), "unknown_kind": verbs.coordinator(wire, rig.stem, 9)[0]}


@case
def join_in_two_steps(rig):
    group = Group(rig.wire(), rig.stem)
    verbs.ready(group)
    first = group.join()["code"]
    second = group.join()
    return {"first": first, "second": second, "sync": group.sync([(group.member, b"plan")]), "beat": group.beat(), "generation": group.generation, "leave": group.leave(), "after": group.beat()}


@case
def group_refusals(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    group = Group(wire, rig.stem)
    verbs.ready(group)
    before = {"beat": group.beat(0, "nobody"), "leave": group.leave("nobody")}
    group.enter()
    group.sync([(group.member, b"plan")])
    return {
        "unknown_group": before,
        "beat": [group.beat(generation=99), group.beat(member="nobody")],
        "sync": group.sync(generation=99)[0],
        "commit": [group.commit(topic, 1, generation=99), group.commit(topic, 1, member="nobody"), group.commit(topic, 1, generation=-1, member=""), group.commit(topic, 1)],
        "committed": group.committed(topic),
        "unknown_topic": group.commit(rig.stem + ".never", 1),
        "other_protocol": Group(rig.wire(), rig.stem, (("another", b""),)).join()["code"],
        "other_kind": Group(rig.wire(), rig.stem, kind="connect").join()["code"],
        "session_too_short": Group(rig.wire(), rig.stem).join(session_ms=1)["code"],
        "no_name": Group(rig.wire(), "").join()["code"],
        "no_protocols": Group(rig.wire(), rig.stem, ()).join()["code"],
    }


@case
def commit_without_members(rig):
    wire = rig.wire()
    topic = rig.topic(wire)
    group = Group(wire, rig.stem)
    verbs.ready(group)
    return {"before": group.committed(topic), "code": group.commit(topic, 42, -1, ""), "after": group.committed(topic)}


@case
def rebalance(rig):
    first, second = Group(rig.wire(), rig.stem), Group(rig.wire(), rig.stem)
    verbs.ready(first)
    first.enter()
    first.sync([(first.member, b"all")])
    second.join()  # the first step
    second.join(answered=False)
    noticed = until(lambda: first.beat())
    rejoined, joined = first.join(), second.joined()
    second.sync(answered=False)
    plans = [(first.member, b"left"), (second.member, b"right")]
    synced = [first.sync(plans), second.synced()]
    generations = [first.generation, second.generation]
    left = second.leave()
    return {"noticed": noticed, "rejoined": rejoined, "joined": joined, "synced": synced, "generations": generations, "left": left, "then": until(lambda: first.beat()), "alone": first.join()}


@case
def protocol_is_what_all_can(rig):
    first = Group(rig.wire(), rig.stem, (("a", b""), ("b", b"")), kind="mine")
    second = Group(rig.wire(), rig.stem, (("c", b""), ("b", b"")), kind="mine")
    verbs.ready(first)
    alone = first.enter()["protocol"]
    first.sync([(first.member, b"")])
    second.join()
    second.join(answered=False)
    until(lambda: first.beat())
    return {"alone": alone, "together": first.join()["protocol"], "same": second.joined()["protocol"]}


@case
def dead_member_is_dropped(rig):
    first, second = Group(rig.wire(), rig.stem), Group(rig.wire(), rig.stem)
    verbs.ready(first)
    first.join(session_ms=6000)
    first.join(session_ms=6000)
    first.sync([(first.member, b"all")])
    second.join()
    start = time.monotonic()
    second.join(answered=False, rebalance_ms=3000)
    joined = second.joined()  # the first says nothing more
    return {"joined": joined, "in_time": time.monotonic() - start < 50, "the_dead": first.beat()}


@case
def static_member_is_fenced(rig):
    first = Group(rig.wire(), rig.stem, instance="one")
    verbs.ready(first)
    first.join()
    first.sync([(first.member, b"plan")])
    second = Group(rig.wire(), rig.stem, instance="one")
    joined = second.join()
    return {"first_step": first.generation, "joined": [joined["code"], joined["leader"]], "plan": second.sync([(second.member, b"plan")]), "fenced": first.beat()}


# Logins.


@case
def sasl_handshake(rig):
    def shaken(mechanism):
        answer = rig.wire(rig.arguments.sasl).ask(HANDSHAKE, 1, text(mechanism))
        return [answer.i16(), sorted(answer.array(answer.text))]

    return {"plain": shaken("PLAIN"), "unknown": shaken("KERBEROS")}


@case
def sasl_bad_plain(rig):
    def verdict(token):
        wire = rig.wire(rig.arguments.sasl)
        wire.ask(HANDSHAKE, 1, text("PLAIN"))
        answer = wire.ask(36, 1, i32(len(token)) + token)
        return [answer.i16(), wire.ends()]

    return {"wrong": verdict(b"\0alice\0guess"), "no_user": verdict(b"\0\0x"), "rubbish": verdict(b"rubbish"), "empty": verdict(b"")}


@case
def sasl_authenticate_first(rig):
    wire = rig.wire(rig.arguments.sasl)
    wire.send(36, 1, i32(3) + b"abc")
    try:
        return wire.receive().i16()
    except (Closed, ConnectionError):
        return "closed"


def observe(name, arguments):
    rig, case = Rig(name, arguments), name if name.startswith("sasl_") else f"raw_{name}"
    try:
        return {"case": case, "answer": CASES[name](rig)}
    except Exception as error:  # a case that breaks is an answer that differs
        return {"case": case, "answer": {"broken": f"{type(error).__name__}: {error}"}, "why": traceback.format_exc()}
    finally:
        rig.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--sasl")
    parser.add_argument("--only")
    arguments, _ = parser.parse_known_args()  # nothing here is encrypted
    only = [name.removeprefix("raw_") for name in arguments.only.split(",")] if arguments.only else list(CASES)
    for name in only:
        if name in CASES and (arguments.sasl or not name.startswith("sasl_")):
            print(json.dumps(observe(name, arguments)), flush=True)


main()
