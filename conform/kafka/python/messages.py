"""Records: as they are sent, stored, and read from every place that can be named."""

import threading
import time

from rig import PATIENCE, Record, case, offsets, records, values

DAY_MS = 86_400_000


def numbers(count):
    return records(*(str(number) for number in range(count)))


@case
def produce_acks(rig):
    topic = rig.topic()
    for acks in ("0", "1", "all"):
        rig.client.produce(topic, records(acks), acks=acks)
    read = rig.client.read(topic, 3)
    return {"values": values(read), "offsets": offsets(read)}


def codec(name):
    def run(rig):
        topic = rig.topic()
        sent = [Record(f"value {number} ".encode() * 20, f"key {number}".encode(), [("codec", name.encode())]) for number in range(50)]
        placed = rig.client.produce(topic, sent, codec=name)
        read = rig.client.read(topic, 50)
        same = [record.plain() for record in read] == [record.plain() for record in sent]
        return {"in_order": placed == list(range(50)) == offsets(read), "same": same}

    run.__name__ = f"codec_{name}"
    case(run)


for one in ("none", "gzip", "snappy", "lz4", "zstd"):
    codec(one)


@case
def codecs_in_one_partition(rig):
    topic = rig.topic()
    for name in ("none", "gzip", "snappy", "lz4"):
        rig.client.produce(topic, records(name, name), codec=name)
    return values(rig.client.read(topic, 8))


@case
def record_shapes(rig):
    topic = rig.topic()
    sent = [
        Record(b"value"), Record(b"value", b"key"), Record(None, b"tombstone"), Record(b"", b""),
        Record(b"v", b"k", [("a", b"1"), ("a", b"2"), ("empty", b"")]), Record(bytes(range(256)), bytes(range(255, -1, -1))),
    ]  # fmt: skip
    rig.client.produce(topic, sent)
    return [record.plain() for record in rig.client.read(topic, len(sent))]


@case
def record_of_nothing(rig):
    topic = rig.topic()
    rig.client.produce(topic, [Record(None, None)])
    return rig.client.read(topic, 1)[0].plain()


@case
def order_and_offsets(rig):
    topic = rig.topic()
    placed = rig.client.produce(topic, numbers(2000))
    read = rig.client.read(topic, 2000)
    return {"placed": placed == list(range(2000)), "read": values(read) == [str(number) for number in range(2000)], "offsets": offsets(read) == placed}


@case
def idempotent_producer(rig):
    topic = rig.topic()
    placed = rig.client.produce(topic, numbers(500), idempotent=True) + rig.client.produce(topic, numbers(500), idempotent=True)
    return {"placed": placed == list(range(1000)), "end": rig.client.offset(topic, "latest")}


@case
def large_record(rig):
    topic = rig.topic()
    body = bytes(range(256)) * 3600  # 0.9 MB
    rig.client.produce(topic, [Record(body)])
    return rig.client.read(topic, 1)[0].value == body


@case
def record_too_large(rig):
    topic = rig.topic(max_message_bytes=1000)
    placed = rig.client.produce(topic, [Record(b"x" * 100)]) + rig.client.produce(topic, [Record(b"x" * 2000)])
    return placed + rig.client.produce(topic, [Record(b"x" * 100)])


@case
def compacted_needs_keys(rig):
    topic = rig.topic(cleanup_policy="compact")
    return rig.client.produce(topic, [Record(b"v", b"k")]) + rig.client.produce(topic, records("no key"))


@case
def create_time(rig):
    now = int(time.time() * 1000)
    topic = rig.topic()
    rig.client.produce(topic, records("x", time_ms=now - 5000))
    read = rig.client.read(topic, 1)[0]
    return {"kind": read.kind, "kept": read.time_ms == now - 5000}


@case
def append_time(rig):
    before = int(time.time() * 1000)
    topic = rig.topic(message_timestamp_type="LogAppendTime")
    rig.client.produce(topic, records("x", time_ms=before - DAY_MS))
    read = rig.client.read(topic, 1)[0]
    return {"kind": read.kind, "now": before - 1000 <= read.time_ms <= int(time.time() * 1000) + 1000}


@case
def time_too_far_off(rig):
    topic = rig.topic(message_timestamp_before_max_ms=60_000, message_timestamp_after_max_ms=60_000)
    now = int(time.time() * 1000)
    return rig.client.produce(topic, records("old", time_ms=now - 600_000)) + rig.client.produce(topic, records("new", time_ms=now + 600_000)) + rig.client.produce(topic, records("now", time_ms=now))


@case
def read_from_offset(rig):
    topic = rig.topic()
    rig.client.produce(topic, numbers(10))
    return {str(start): values(rig.client.read(topic, 2, start)) for start in (0, 3, 7, "earliest")}


@case
def read_from_inside_a_batch(rig):
    topic = rig.topic()
    rig.client.produce(topic, numbers(20), codec="gzip")
    read = rig.client.read(topic, 3, 13)
    return {"values": values(read), "offsets": offsets(read)}


@case
def read_latest(rig):
    topic = rig.topic()
    rig.client.produce(topic, records("before"))
    got = []
    reader = threading.Thread(target=lambda: got.extend(rig.client.read(topic, 1, "latest")))
    reader.start()
    deadline = time.monotonic() + PATIENCE
    while reader.is_alive() and time.monotonic() < deadline:  # until the reader has found its place
        rig.client.produce(topic, records("after"))
        reader.join(0.3)
    reader.join()
    return values(got)


@case
def read_out_of_range(rig):
    topic = rig.topic()
    rig.client.produce(topic, numbers(3))
    return rig.client.read(topic, 1, 100)


@case
def waiting_read_is_woken(rig):
    topic = rig.topic()
    rig.client.produce(topic, records("first"))
    times = {}

    def read():
        rig.client.read(topic, 2, **rig.client.patient_fetch)
        times["read"] = time.monotonic()

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(1.5)  # by now it waits, for up to ten seconds
    times["sent"] = time.monotonic()
    rig.client.produce(topic, records("second"))
    reader.join()
    return times["read"] - times["sent"] < 9


@case
def list_offsets(rig):
    topic = rig.topic()
    empty = [rig.client.offset(topic, "earliest"), rig.client.offset(topic, "latest")]
    base = int(time.time() * 1000) - 100_000
    for step in range(4):
        rig.client.produce(topic, records("x", time_ms=base + step * 1000))
    asked = {"exact": base + 1000, "between": base + 1500, "before": 1000, "after": base + 50_000}
    found = {what: rig.client.offset(topic, when) for what, when in asked.items()}
    return {"empty": empty, "ends": [rig.client.offset(topic, "earliest"), rig.client.offset(topic, "latest")]} | found


@case
def list_offsets_max_timestamp(rig):
    topic = rig.topic()
    empty = rig.client.offset(topic, "max_timestamp")
    base = int(time.time() * 1000) - 100_000
    for late in (1, 9, 5):
        rig.client.produce(topic, records("x", time_ms=base + late))
    return {"empty": empty, "found": rig.client.offset(topic, "max_timestamp")}


@case
def delete_records(rig):
    topic = rig.topic()
    rig.client.produce(topic, numbers(10))
    low = rig.client.delete_records(topic, 4)
    first = {"low": low, "earliest": rig.client.offset(topic, "earliest"), "read": values(rig.client.read(topic, 2, "earliest")), "gone": rig.client.read(topic, 1, 2)}
    beyond = rig.client.delete_records(topic, 50)
    back = rig.client.delete_records(topic, 1)
    everything = rig.client.delete_records(topic, -1)
    ends = [rig.client.offset(topic, "earliest"), rig.client.offset(topic, "latest")]
    return first | {"beyond": beyond, "back": back, "everything": everything, "ends": ends, "goes_on": rig.client.produce(topic, records("next"))}


@case
def records_after_restart(rig):
    topic = rig.topic(partitions=2)
    rig.client.produce(topic, numbers(100))
    rig.client.produce(topic, numbers(5), partition=1, idempotent=True)
    if not rig.restart():
        return None
    read = rig.client.read(topic, 100)
    return {
        "values": values(read) == [str(number) for number in range(100)],
        "offsets": offsets(read) == list(range(100)),
        "goes_on": rig.client.produce(topic, records("next")) + rig.client.produce(topic, records("next"), partition=1),
        "partitions": rig.client.partitions(topic),
    }
