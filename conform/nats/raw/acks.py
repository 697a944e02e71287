"""Settlements: the kinds of acks, redelivery, and what is told of those that are given up."""

import json
import select

from deliveries import fill
from rig import bodies, case
from wire import until

MOMENT = 300_000_000  # nanoseconds; an ack wait that passes soon


@case
def ack_moves_the_floor(rig):
    stream = rig.stream()
    fill(rig, stream)
    rig.consumer(stream)
    found = rig.pull(stream, batch=5, expires=5_000_000_000).messages(5)
    places = []
    for index in (1, 2, 0, 4, 3):
        rig.ack(found[index])
        places.append(rig.place(stream)[1:3])
    return places


@case
def ack_kinds_are_answered(rig):
    stream = rig.stream()
    fill(rig, stream)
    rig.consumer(stream)
    found = rig.pull(stream, batch=5, expires=5_000_000_000).messages(5)
    kinds = ["", "+ACK", "+NAK", "+WPI", "+TERM"]
    answers = [rig.ack(message, kind) for message, kind in zip(found, kinds)]
    return [answers, rig.place(stream)[0:3]]


@case
def ack_rubbish(rig):
    stream = rig.stream()
    fill(rig, stream, 1)
    rig.consumer(stream)
    found = rig.next(stream)
    return [rig.ack(found, "rubbish"), rig.place(stream), rig.ack(found), rig.request("$JS.ACK.a.b.1.1.1.1.1", "+ACK").status]


@case
def ack_counts_once(rig):
    stream = rig.stream()
    fill(rig, stream, 2)
    rig.consumer(stream)
    found = rig.next(stream)
    rig.ack(found)
    rig.ack(found, "+NAK")
    return [rig.place(stream), rig.next(stream).body]


@case
def ack_all_takes_those_before(rig):
    stream = rig.stream()
    fill(rig, stream)
    rig.consumer(stream, ack_policy="all")
    found = rig.pull(stream, batch=5, expires=5_000_000_000).messages(5)
    rig.ack(found[2])
    return rig.place(stream)


@case
def ack_none(rig):
    stream = rig.stream()
    fill(rig, stream, 2)
    rig.consumer(stream, ack_policy="none")
    found = rig.next(stream)
    return [found.reply.split(".")[:7], rig.place(stream)]


@case
def nak_brings_it_back(rig):
    stream = rig.stream()
    fill(rig, stream, 2)
    rig.consumer(stream)
    first = rig.next(stream)
    rig.ack(first, "-NAK")
    again = rig.next(stream)
    return [again.body, again.reply.split(".")[4:7], rig.place(stream)]


@case
def nak_with_a_delay(rig):
    stream = rig.stream()
    fill(rig, stream, 2)
    rig.consumer(stream)
    rig.ack(rig.next(stream), '-NAK {"delay": %d}' % MOMENT)
    other = rig.next(stream)
    rig.ack(other)
    again = rig.next(stream)
    return [other.body, again.body, again.reply.split(".")[4]]


@case
def term_ends_it(rig):
    stream, wire = rig.stream(), rig.wire()
    wire.listen(f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{stream}.>")
    fill(rig, stream, 2)
    rig.consumer(stream)
    rig.ack(rig.next(stream), "+TERM because of this")
    told = wire.message()
    body = json.loads(told.body)
    return [told.subject, body, rig.next(stream).body, rig.place(stream)]


@case
def progress_keeps_the_lease(rig):
    stream = rig.stream()
    fill(rig, stream, 1)
    rig.consumer(stream, ack_wait=1_000_000_000)
    found = rig.next(stream)
    wire = rig.pull(stream, batch=1, expires=1_600_000_000)
    for _ in range(20):  # twenty beats of 60 ms are longer than the lease; whether it was kept is what the pull is told at last
        rig.ack(found, "+WPI")
        select.select([wire.socket], [], [], 0.06)
    rig.ack(found)
    return [wire.message().status, rig.place(stream)]


@case
def next_with_an_ack(rig):
    stream = rig.stream()
    fill(rig, stream, 4)
    rig.consumer(stream)
    wire = rig.wire()
    wire.subscribe("_INBOX.nxt", "1")
    first = rig.next(stream)
    wire.publish(first.reply, "+NXT", "_INBOX.nxt")
    second = wire.message()
    wire.publish(second.reply, '+NXT {"batch": 2}', "_INBOX.nxt")
    return [second.body, bodies(wire.messages(2)), rig.place(stream)]


@case
def lease_runs_out(rig):
    stream = rig.stream()
    fill(rig, stream, 1)
    rig.consumer(stream, ack_wait=MOMENT)
    first, again = rig.next(stream), rig.next(stream)
    place = rig.place(stream)
    rig.ack(first)
    return [again.body, first.reply.split(".")[4:7], again.reply.split(".")[4:7], place, rig.place(stream)]


@case
def max_deliver(rig):
    stream, wire = rig.stream(), rig.wire()
    wire.listen(f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{stream}.c")
    fill(rig, stream, 1)
    rig.consumer(stream, max_deliver=2, ack_wait=MOMENT)
    counts = [rig.next(stream).reply.split(".")[4] for _ in range(2)]
    pulling = rig.pull(stream, batch=1, expires=8_000_000_000)
    told = json.loads(wire.message().body)
    rig.put(f"{stream}.a", "next")
    return {"counts": counts, "told": told, "next": pulling.message().body, "kept": rig.state(stream)[0]}


@case
def max_deliver_by_nak(rig):
    stream, wire = rig.stream(), rig.wire()
    wire.listen(f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{stream}.c")
    fill(rig, stream, 1)
    rig.consumer(stream, max_deliver=2)
    for _ in range(2):
        rig.ack(rig.next(stream), "-NAK")
    rig.pull(stream, batch=1, expires=2_000_000_000)
    return json.loads(wire.message().body)["deliveries"]


@case
def nak_is_told(rig):
    stream, wire = rig.stream(), rig.wire()
    wire.listen(f"$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED.{stream}.c")
    fill(rig, stream, 1)
    rig.consumer(stream)
    rig.ack(rig.next(stream), "-NAK")
    return json.loads(wire.message().body)


@case
def ack_is_sampled(rig):
    stream, wire = rig.stream(), rig.wire()
    wire.listen(f"$JS.EVENT.METRIC.CONSUMER.ACK.{stream}.c")
    fill(rig, stream, 1)
    rig.consumer(stream, sample_freq="100")
    rig.ack(rig.next(stream))
    found = json.loads(wire.message().body)
    return {field: value for field, value in found.items() if field not in ("ack_time", "delay")}


@case
def backoff(rig):
    stream = rig.stream()
    fill(rig, stream, 1)
    rig.consumer(stream, backoff=[100_000_000, 200_000_000], max_deliver=3)
    found = [rig.next(stream).reply.split(".")[4] for _ in range(3)]
    return [found, rig.consumer_info(stream)["config"]["ack_wait"]]


@case
def redeliveries_come_first(rig):
    stream = rig.stream()
    fill(rig, stream, 3)
    rig.consumer(stream)
    first = rig.next(stream)
    rig.ack(first, "-NAK")
    return bodies(rig.pull(stream, batch=3, expires=5_000_000_000).messages(3))


@case
def pending_after_a_restart(rig):
    stream = rig.stream(storage="file")
    fill(rig, stream, 4)
    rig.consumer(stream, ack_wait=1_000_000_000)
    found = rig.pull(stream, batch=3, expires=5_000_000_000).messages(3)
    rig.ack(found[0])
    if not rig.restart():
        return None
    rig._asking = None
    place = rig.place(stream)
    again = rig.pull(stream, batch=3, expires=8_000_000_000).messages(3)
    return [place[0:2], sorted(bodies(again))]


@case
def redelivery_is_sampled(rig):
    stream, wire = rig.stream(), rig.wire()
    wire.listen(f"$JS.EVENT.METRIC.CONSUMER.ACK.{stream}.>")
    fill(rig, stream, 2)
    rig.consumer(stream, sample_freq="100%")
    rig.consumer(stream, "unsampled")
    rig.ack(rig.next(stream, "unsampled"))
    rig.ack(rig.next(stream), "-NAK")
    rig.ack(rig.next(stream))
    rig.ack(rig.next(stream), "+TERM")
    rig.put(f"{stream}.a", "last")
    rig.ack(rig.next(stream))
    found = [json.loads(message.body) for message in wire.messages(2)]
    return [[sample["stream_seq"], sample["deliveries"], sample["ack_time"] >= 0] for sample in found]


@case
def deliveries_of_what_is_deleted(rig):
    stream, wire = rig.stream(max_msgs=8), rig.wire()
    wire.listen(f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{stream}.c")
    fill(rig, stream, 8)
    rig.consumer(stream)
    found = rig.pull(stream, batch=6, expires=5_000_000_000).messages(6)
    rig.ack(found[0])

    def told(count):
        heard = [json.loads(message.body) for message in wire.messages(count)]
        return [[sorted(message["stream_seq"] for message in heard), heard[0]["reason"]], rig.place(stream)]

    places = []
    for sequence in (3, 2):
        rig.api(f"STREAM.MSG.DELETE.{stream}", {"seq": sequence})
        places.append(told(1))
    rig.api(f"STREAM.MSG.DELETE.{stream}", {"seq": 8})
    places.append(rig.place(stream))
    for number in range(6):
        rig.put(f"{stream}.a", "more")
    rig.place(stream)
    return [*places, told(2)]
