"""Publishes into streams: acknowledgements, conditions, limits, duplicates, rollups, times to live."""

import json

from rig import bodies, case, verdict
from wire import until


def numbers(rig, name, count, subject="a"):
    return [rig.put(f"{name}.{subject}", str(number)) for number in range(count)]


@case
def pub_ack(rig):
    name = rig.stream()
    return [rig.put(f"{name}.a", "one"), rig.put(f"{name}.b", ""), rig.put(f"{name}.c", "with", A="1")]


@case
def pub_ack_text(rig):
    """The very bytes, since clients of small machines look for them."""
    name = rig.stream()
    return rig.request(f"{name}.a", "x").body.replace(" ", "")


@case
def publish_without_reply(rig):
    name = rig.stream()
    rig.asking.publish(f"{name}.a", "x")
    rig.put(f"{name}.a", "y")
    return rig.state(name)


@case
def publish_without_acks(rig):
    name = rig.stream(no_ack=True)
    said = rig.silent(f"{name}.a", "x")
    return {"said": said, "there": until(lambda: rig.state(name)[0] and rig.state(name))}


@case
def publish_reaches_subscribers_too(rig):
    name, wire = rig.stream(), rig.wire()
    wire.listen(f"{name}.>")
    rig.put(f"{name}.a", "x")
    found = wire.message()
    return [found.subject, found.body, found.reply != ""]


@case
def duplicates(rig):
    name = rig.stream()
    put = lambda body, identity, subject="a": rig.put(f"{name}.{subject}", body, Nats_Msg_Id=identity)
    return {"first": put("1", "x"), "again": put("2", "x"), "elsewhere": put("3", "x", "b"), "other": put("4", "y"), "empty": [put("5", ""), put("6", "")], "state": rig.state(name)}


@case
def duplicates_within_the_window_only(rig):
    name = rig.stream(duplicate_window=100_000_000)
    first = rig.put(f"{name}.a", "1", Nats_Msg_Id="x")
    until(lambda: "duplicate" not in rig.put(f"{name}.a", "2", Nats_Msg_Id="x"))
    return {"first": first["seq"], "state": rig.state(name)}


@case
def duplicates_after_the_purge(rig):
    name = rig.stream()
    rig.put(f"{name}.a", "1", Nats_Msg_Id="x")
    rig.api(f"STREAM.PURGE.{name}")
    return rig.put(f"{name}.a", "2", Nats_Msg_Id="x")


@case
def expected_stream(rig):
    name = rig.stream()
    return [rig.put(f"{name}.a", "", Nats_Expected_Stream=name), rig.put(f"{name}.a", "", Nats_Expected_Stream="other"), rig.state(name)]


@case
def expected_last_sequence(rig):
    name = rig.stream()
    put = lambda expected: rig.put(f"{name}.a", "", Nats_Expected_Last_Sequence=expected)
    return {"first": put("0"), "second": put("1"), "behind": put("1"), "ahead": put("9"), "rubbish": put("x"), "state": rig.state(name)}


@case
def expected_last_sequence_of_the_subject(rig):
    name = rig.stream()
    put = lambda subject, expected, **more: rig.put(f"{name}.{subject}", "", Nats_Expected_Last_Subject_Sequence=expected, **more)
    return {
        "new": put("a", "0"), "again": put("a", "0"), "next": put("a", "1"), "other new": put("b", "0"), "wrong": put("b", "1"), "right": put("b", "3"), "rubbish": put("b", "x"),
        "by wildcard": put("c", "4", **{"Nats-Expected-Last-Subject-Sequence-Subject": f"{name}.*"}), "by wildcard wrong": put("c", "4", **{"Nats-Expected-Last-Subject-Sequence-Subject": f"{name}.*"}), "subject outside": put("c", "0", **{"Nats-Expected-Last-Subject-Sequence-Subject": "elsewhere"}), "state": rig.state(name),
    }  # fmt: skip


@case
def expected_last_message_id(rig):
    name = rig.stream()
    put = lambda expected, **more: rig.put(f"{name}.a", "", Nats_Expected_Last_Msg_Id=expected, **more)
    return {"none": put("x"), "with one": rig.put(f"{name}.a", "", Nats_Msg_Id="m1"), "right": put("m1", Nats_Msg_Id="m2"), "wrong": put("m1", Nats_Msg_Id="m3"), "state": rig.state(name)}


@case
def limit_by_count(rig):
    name = rig.stream(max_msgs=3)
    return [[ack["seq"] for ack in numbers(rig, name, 5)], rig.state(name)]


@case
def limit_by_bytes(rig):
    name = rig.stream(max_bytes=400)
    for _ in range(20):
        rig.put(f"{name}.a", "x" * 50)
    info = rig.info(name)["state"]
    return {"within": info["bytes"] <= 400, "some": info["messages"] > 1, "last": info["last_seq"]}


@case
def limit_by_age(rig):
    name = rig.stream(max_age=100_000_000)
    numbers(rig, name, 3)
    until(lambda: rig.state(name)[0] == 0)
    return rig.state(name)


@case
def limit_by_size(rig):
    name = rig.stream(max_msg_size=10)
    return [rig.put(f"{name}.a", "x" * 10), rig.put(f"{name}.a", "x" * 11), rig.put(f"{name}.a", "x", A="1234567890"), rig.state(name)]


@case
def limit_by_subject(rig):
    name = rig.stream(max_msgs_per_subject=2)
    for number in range(4):
        rig.put(f"{name}.a", str(number))
        rig.put(f"{name}.b", str(number))
    return [rig.state(name), rig.api(f"STREAM.INFO.{name}", {"subjects_filter": ">"})["state"]["subjects"]]


@case
def limit_refuses_new(rig):
    count = rig.stream("-count", max_msgs=2, discard="new")
    by_bytes = rig.stream("-bytes", max_bytes=500, discard="new")
    subject = rig.stream("-subject", max_msgs_per_subject=1, discard="new", discard_new_per_subject=True)
    old = rig.stream("-old", max_msgs_per_subject=1, max_msgs=5, discard="new")
    return {
        "count": [numbers(rig, count, 3), rig.state(count)], "bytes": [verdict(rig.put(f"{by_bytes}.a", "x" * size)) for size in (200, 1000)],
        "subject": [rig.put(f"{subject}.a"), rig.put(f"{subject}.b"), rig.put(f"{subject}.a"), rig.state(subject)], "one per subject": [numbers(rig, old, 2), rig.state(old)],
    }  # fmt: skip


@case
def first_sequence(rig):
    name = rig.stream(first_seq=100)
    return [rig.state(name), rig.put(f"{name}.a"), rig.state(name)]


@case
def rollup_of_the_subject(rig):
    name = rig.stream(allow_rollup_hdrs=True)
    numbers(rig, name, 3)
    numbers(rig, name, 2, "b")
    return [rig.put(f"{name}.a", "sum", Nats_Rollup="sub"), rig.state(name), rig.api(f"STREAM.INFO.{name}", {"subjects_filter": ">"})["state"]["subjects"]]


@case
def rollup_of_all(rig):
    name = rig.stream(allow_rollup_hdrs=True)
    numbers(rig, name, 3)
    return [rig.put(f"{name}.b", "sum", Nats_Rollup="all"), rig.state(name)]


@case
def rollup_refused(rig):
    name, allowed = rig.stream("-no"), rig.stream("-yes", allow_rollup_hdrs=True)
    return [rig.put(f"{name}.a", "", Nats_Rollup="sub"), rig.put(f"{allowed}.a", "", Nats_Rollup="some"), rig.state(name)]


@case
def ttl_of_a_message(rig):
    name = rig.stream(allow_msg_ttl=True)
    acks = [rig.put(f"{name}.a", "short", Nats_TTL="1s"), rig.put(f"{name}.b", "number", Nats_TTL="1"), rig.put(f"{name}.c", "never", Nats_TTL="never"), rig.put(f"{name}.d", "stays")]
    until(lambda: rig.state(name)[0] == 2)
    return [acks, rig.state(name)]


@case
def ttl_never_outlives_the_age(rig):
    name = rig.stream(allow_msg_ttl=True, max_age=1_000_000_000, duplicate_window=1_000_000_000)
    rig.put(f"{name}.a", "goes")
    rig.put(f"{name}.b", "never", Nats_TTL="never")
    until(lambda: rig.state(name)[0] == 1)
    return rig.api(f"STREAM.MSG.GET.{name}", {"last_by_subj": f"{name}.b"})["message"]["seq"]


@case
def ttl_refused(rig):
    name, allowed = rig.stream("-no"), rig.stream("-yes", allow_msg_ttl=True)
    put = lambda ttl: rig.put(f"{allowed}.a", "", Nats_TTL=ttl)
    return {"not allowed": rig.put(f"{name}.a", "", Nats_TTL="1s"), "short": put("10ms"), "rubbish": put("soon"), "negative": put("-1"), "zero": put("0")}


@case
def ttl_unreadable_where_nobody_stores(rig):
    """What no stream captures is heard, whatever its headers ask for."""
    wire = rig.wire()
    wire.subscribe(f"{rig.stem}.x", "1")
    wire.publish_with(f"{rig.stem}.x", {"Nats-TTL": "soon", "Nats-Rollup": "some"}, "heard")
    return wire.message().body


@case
def ttl_leaves_a_marker(rig):
    name = rig.stream(allow_msg_ttl=True, subject_delete_marker_ttl=60_000_000_000, max_age=1_000_000_000, duplicate_window=1_000_000_000, allow_rollup_hdrs=True)
    rig.put(f"{name}.a", "goes")
    wire = rig.wire()
    wire.listen("_INBOX.markers")
    rig.api(f"CONSUMER.CREATE.{name}", {"stream_name": name, "config": {"deliver_subject": "_INBOX.markers", "ack_policy": "none", "deliver_policy": "new"}})
    found = wire.message()
    return [found.subject.replace(rig.stem, "NAME"), found.head, found.body]


@case
def many_under_way(rig):
    name, wire = rig.stream(storage="file"), rig.wire()
    inbox = f"_INBOX.{rig.stem}.many"
    wire.subscribe(f"{inbox}.*", "1")
    wire.send(*[line for number in range(1000) for line in (f"PUB {name}.{number % 9} {inbox}.{number} 1", "x")])
    answers = wire.messages(1000)
    return {"each": len({message.subject for message in answers}), "sequences": sorted(int(json.loads(body)["seq"]) for body in bodies(answers)) == list(range(1, 1001)), "state": rig.state(name)}


@case
def interest_keeps_nothing_without_consumers(rig):
    name = rig.stream(retention="interest")
    first = rig.put(f"{name}.a", "x")
    return [first, rig.state(name)]


@case
def interest_keeps_until_all_have_settled(rig):
    name = rig.stream(retention="interest")
    for consumer in ("c", "d"):
        rig.consumer(name, consumer)
    numbers(rig, name, 2)
    states = [rig.state(name)]
    rig.ack(rig.next(name, "c"))
    states.append(rig.state(name))
    rig.ack(rig.next(name, "d"))
    until(lambda: rig.state(name)[0] == 1)
    return [*states, rig.state(name)]


@case
def interest_of_a_filter(rig):
    name = rig.stream(retention="interest")
    rig.consumer(name, filter_subject=f"{name}.a")
    numbers(rig, name, 1, "b")
    numbers(rig, name, 1, "a")
    return rig.state(name)


@case
def interest_ends_with_the_consumer(rig):
    name = rig.stream(retention="interest")
    rig.consumer(name)
    numbers(rig, name, 3)
    before = rig.state(name)
    rig.api(f"CONSUMER.DELETE.{name}.c")
    until(lambda: rig.state(name)[0] == 0)
    return [before, rig.state(name)]


@case
def work_queue(rig):
    name = rig.stream(retention="workqueue")
    numbers(rig, name, 3)
    rig.consumer(name)
    kept = rig.state(name)
    rig.ack(rig.next(name))
    until(lambda: rig.state(name)[0] == 2)
    rig.ack(rig.next(name), "+TERM")
    until(lambda: rig.state(name)[0] == 1)
    return [kept, rig.state(name)]


@case
def work_queue_refusals(rig):
    name = rig.stream(retention="workqueue")
    rig.consumer(name, filter_subject=f"{name}.a")

    def said(consumer, **config):
        answer = rig.api(f"CONSUMER.CREATE.{name}.{consumer}", {"stream_name": name, "config": {"durable_name": consumer, "ack_policy": "explicit", **config}})
        return verdict(answer)

    return {"same": said("d", filter_subject=f"{name}.a"), "all": said("d"), "overlap": said("d", filter_subject=f"{name}.*"), "no acks": said("d", filter_subject=f"{name}.b", ack_policy="none"), "new": said("d", filter_subject=f"{name}.b", deliver_policy="new"), "beside": said("d", filter_subject=f"{name}.b")}


@case
def republish(rig):
    wire = rig.wire()
    wire.listen(f"{rig.stem}-out.>")
    name = rig.stream(republish={"src": f"{rig.stem}.*", "dest": f"{rig.stem}-out.{{{{wildcard(1)}}}}"})
    numbers(rig, name, 1)
    numbers(rig, name, 1)
    found = wire.messages(2)
    return [[message.subject, {field: value.strip() for field, value in message.headers.items() if field != "Nats-Time-Stamp"}, message.body] for message in found]


@case
def republished_into_another_stream(rig):
    """A stream that keeps what another publishes again: a bucket of last values, for one."""
    kept = rig.stream("-kept")
    name = rig.stream(republish={"src": ">", "dest": f"{rig.stem}-kept.>"})
    rig.put(f"{name}.a", "x")
    until(lambda: rig.state(kept)[0] == 1)
    found = rig.request(f"$JS.API.STREAM.MSG.GET.{kept}", {"seq": 1})
    return json.loads(found.body)["message"]["subject"]


@case
def subject_transform(rig):
    name = rig.stream(subject_transform={"src": f"{rig.stem}.*", "dest": f"{rig.stem}.{{{{wildcard(1)}}}}.done"})
    return [rig.put(f"{name}.a", "x"), rig.api(f"STREAM.MSG.GET.{name}", {"seq": 1})["message"]["subject"]]


@case
def atomic_batch(rig):
    name = rig.stream(allow_atomic=True)
    put = lambda seq, body, **more: rig.put(f"{name}.a", body, **{"Nats-Batch-Id": "b", "Nats-Batch-Sequence": str(seq), **more})
    first = rig.request(f"{name}.a", "1", {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1"})
    between = rig.state(name)
    second = rig.request(f"{name}.a", "2", {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "2"})
    last = put(3, "3", **{"Nats-Batch-Commit": "1"})
    return [first.body, between, second.body, last, rig.state(name)]


@case
def atomic_batch_refused(rig):
    name, allowed = rig.stream("-no"), rig.stream("-yes", allow_atomic=True)
    put = lambda stream, **headers: rig.put(f"{stream}.a", "x", **headers)
    gap = rig.request(f"{allowed}.a", "1", {"Nats-Batch-Id": "g", "Nats-Batch-Sequence": "1"}).body
    return {"not allowed": put(name, Nats_Batch_Id="b", Nats_Batch_Sequence="1"), "no sequence": put(allowed, Nats_Batch_Id="b"), "long": put(allowed, Nats_Batch_Id="x" * 65, Nats_Batch_Sequence="1"), "gap": [gap, put(allowed, Nats_Batch_Id="g", Nats_Batch_Sequence="3", Nats_Batch_Commit="1")], "unknown": put(allowed, Nats_Batch_Id="u", Nats_Batch_Sequence="2")}
