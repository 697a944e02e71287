"""Where consumers are when messages go: purged by subject, pushed out by limits, rolled up, deleted."""

import json

from rig import bodies, case
from wire import NUMBERS

FILTERS = {"all": [], "a": ["a"], "b": ["b"], "any": ["*"], "both": ["a", "b"]}
PURGES = {"subject": {"filter": "a"}, "keep": {"filter": "a", "keep": 1}, "seq": {"filter": "a", "seq": 4}, "wildcard": {"filter": "*"}, "keep all": {"keep": 2}, "wildcard keep": {"filter": ">", "keep": 3}, "nothing": {"filter": "c"}, "beyond": {"filter": "a", "seq": 99}}


def stream_of(rig, count=8, **config):
    """A stream of messages 1, 2, … with subjects a, b, a, b, …"""
    stream = rig.stream(f"-{next(NUMBERS)}", **config)
    for number in range(1, count + 1):
        rig.put(f"{stream}.{'ba'[number % 2]}", str(number))
    return stream


def take(rig, stream, name, count):
    return rig.pull(stream, name, batch=count, expires=5_000_000_000).messages(count) if count else []


def consumers_of(rig, stream, taken, acked=(), **config):
    """Consumers of each width, which have taken so many and acknowledged those, by their places among them."""
    for name, filters in FILTERS.items():
        rig.consumer(stream, name, filter_subjects=[f"{stream}.{end}" for end in filters], **config)
        found = take(rig, stream, name, taken)
        for index in acked:
            rig.ack(found[index])


def places(rig, stream):
    return {name: rig.place(stream, name) for name in FILTERS}


def purged(rig, request, taken, acked=(), **config):
    """How many go, where consumers are then, and what they get later."""
    stream = stream_of(rig)
    consumers_of(rig, stream, taken, acked, **config)
    if "filter" in request:
        request = {**request, "filter": f"{stream}.{request['filter']}"}
    count = rig.api(f"STREAM.PURGE.{stream}", request)["purged"]
    after = places(rig, stream)
    rig.put(f"{stream}.a", "later")
    return [count, after, {name: bodies(take(rig, stream, name, rig.place(stream, name)[5])) for name in FILTERS}]


@case
def purge_of_what_nobody_has(rig):
    return {what: purged(rig, request, 0) for what, request in PURGES.items()}


@case
def purge_of_what_is_pending(rig):
    return {what: purged(rig, request, 2) for what, request in PURGES.items()}


@case
def purge_of_what_needs_no_acks(rig):
    return {what: purged(rig, request, 3, ack_policy="none") for what, request in PURGES.items()}


@case
def purge_beside_what_stays_pending(rig):
    """Of what nothing else is pending below; of what something is; of what all below is acknowledged."""
    request = PURGES["subject"]
    return [purged(rig, request, 3, (0,))[1], purged(rig, PURGES["seq"], 3, (1,))[1], purged(rig, request, 3, (1,), ack_policy="all")[1]]


def pushed_out(rig, published, told, taken=3, acked=(), **config):
    """Where consumers are before and after some messages, and what they are told of those that had to go."""
    stream, wire = stream_of(rig, 6, **config), rig.wire()
    wire.listen(f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{stream}.>")
    consumers_of(rig, stream, taken, acked)
    before = places(rig, stream)
    for subject, headers in published:
        rig.put(f"{stream}.{subject}", "more", **headers)
    heard = [json.loads(message.body) for message in wire.messages(told)]
    after = places(rig, stream)
    assert wire.until_pong() == []
    fields = ("consumer", "stream_seq", "consumer_seq", "deliveries", "reason")
    return [before, after, sorted([advisory[field] for field in fields] for advisory in heard)]


@case
def limits_push_out_what_is_pending(rig):
    a, b = ("a", {}), ("b", {})
    return {
        "one": pushed_out(rig, [a], 4, max_msgs_per_subject=3),
        "some": pushed_out(rig, [a, a, b], 12, max_msgs_per_subject=3),
        "some acknowledged": pushed_out(rig, [a, a], 7, acked=(1,), max_msgs_per_subject=3),
        "count": pushed_out(rig, [a, b], 8, max_msgs=6),
    }


@case
def rollups_of_what_is_pending(rig):
    rollup = lambda kind: pushed_out(rig, [("a", {"Nats_Rollup": kind})], 0, taken=2, allow_rollup_hdrs=True)
    return [rollup("sub"), rollup("all")]


@case
def floor_over_what_is_filtered_out(rig):
    found = {}
    for policy in ("explicit", "all"):
        stream = stream_of(rig)
        rig.consumer(stream, filter_subject=f"{stream}.b", ack_policy=policy)
        steps = [rig.place(stream)]

        def then(what):
            steps.append(rig.place(stream))
            return what

        first = then(rig.next(stream))
        then(rig.ack(then(rig.next(stream))))
        then(rig.ack(first))
        third, fourth = then(take(rig, stream, "c", 2))
        then(rig.ack(third, "+TERM"))
        then(rig.ack(fourth))
        for subject in "aaab":
            rig.put(f"{stream}.{subject}", "later")
        then(rig.ack(then(rig.next(stream)), "-NAK"))
        then(rig.next(stream))
        found[policy] = steps
    return found


@case
def floor_over_what_was_deleted(rig):
    stream = stream_of(rig)
    for sequence in (1, 2, 5):
        rig.api(f"STREAM.MSG.DELETE.{stream}", {"seq": sequence})
    rig.consumer(stream)
    steps = [rig.place(stream)]
    for message in take(rig, stream, "c", 3):
        steps.append(rig.place(stream))
        rig.ack(message)
    return [*steps, rig.place(stream)]


@case
def places_of_every_start(rig):
    stream = stream_of(rig)
    rig.api(f"STREAM.MSG.DELETE.{stream}", {"seq": 8})
    starts = {"all": {}, "new": {"deliver_policy": "new"}, "last": {"deliver_policy": "last"}, "there": {"deliver_policy": "by_start_sequence", "opt_start_seq": 3}, "beyond": {"deliver_policy": "by_start_sequence", "opt_start_seq": 30}, "each": {"deliver_policy": "last_per_subject"}}
    found = {}
    for start, config in starts.items():
        for name, end in (("every", ">"), ("a", "a"), ("b", "b")):
            consumer = rig.consumer(stream, f"{start}-{name}", filter_subject=f"{stream}.{end}", **config)
            found[consumer] = steps = [rig.place(stream, consumer)]
            for message in take(rig, stream, consumer, min(steps[0][5], 1)):
                steps += [message.body, rig.place(stream, consumer)]
                rig.ack(message)
                steps.append(rig.place(stream, consumer))
    return found
