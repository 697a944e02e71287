"""Deliveries: pull requests and their statuses, push, filters, where a consumer starts."""

import json
import time

from rig import bodies, case, verdict
from wire import NUMBERS, until


def fill(rig, stream, count=5, subjects="a"):
    for number in range(count):
        rig.put(f"{stream}.{subjects[number % len(subjects)]}", str(number))


def next_millisecond():
    now = time.time_ns() // 10**6
    while time.time_ns() // 10**6 == now:
        pass


def shown(message):
    return [message.status, {name: value.strip() for name, value in message.headers.items()}, message.body]


@case
def pull_one(rig):
    stream = rig.stream()
    rig.put(f"{stream}.a", "body", A="1")
    rig.consumer(stream)
    found = rig.next(stream)
    tokens = found.reply.split(".")
    return {"subject": found.subject, "body": found.body, "head": found.head, "reply": tokens[:7] + ["time", tokens[-1]], "tokens": len(tokens), "nanoseconds": len(tokens[7])}


@case
def pull_by_number(rig):
    stream = rig.stream()
    fill(rig, stream)
    rig.consumer(stream)
    wire = rig.wire()
    wire.subscribe("_INBOX.n", "1")
    wire.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.c", "2", "_INBOX.n")
    first = bodies(wire.messages(2))
    wire.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.c", "", "_INBOX.n")
    return [first, wire.message().body]


@case
def pull_batch(rig):
    stream = rig.stream()
    fill(rig, stream)
    rig.consumer(stream)
    wire = rig.pull(stream, batch=3, expires=5_000_000_000)
    found = wire.messages(3)
    return [bodies(found), [message.reply.split(".")[4:7] + [message.reply.split(".")[-1]] for message in found], rig.place(stream)]


@case
def pull_waits(rig):
    stream = rig.stream()
    rig.consumer(stream)
    wire = rig.pull(stream, batch=2, expires=8_000_000_000)
    wire.until_pong()
    until(lambda: rig.consumer_info(stream)["num_waiting"] == 1)
    rig.put(f"{stream}.a", "later")
    return [wire.message().body, rig.place(stream)]


@case
def pull_expires(rig):
    stream = rig.stream()
    rig.consumer(stream)
    fill(rig, stream, 1)
    wire = rig.pull(stream, batch=3, expires=100_000_000)
    first = wire.message().body
    return [first, shown(wire.message()), rig.place(stream)]


@case
def pull_no_wait(rig):
    stream = rig.stream()
    rig.consumer(stream)
    nothing = shown(rig.pull(stream, batch=3, no_wait=True).message())
    fill(rig, stream, 2)
    wire = rig.pull(stream, batch=3, no_wait=True)
    return [nothing, [shown(message) for message in wire.messages(3)]]


@case
def pull_no_wait_with_expires(rig):
    stream = rig.stream()
    rig.consumer(stream)
    fill(rig, stream, 1)
    wire = rig.pull(stream, batch=2, no_wait=True, expires=100_000_000)
    return [wire.message().body, shown(wire.message())]


@case
def pull_max_bytes(rig):
    stream = rig.stream()
    rig.consumer(stream)
    for size in (100, 100, 5000):
        rig.put(f"{stream}.a", "x" * size)
    wire = rig.pull(stream, batch=10, max_bytes=1000, expires=1_000_000_000)
    found = wire.messages(3)
    small = rig.pull(stream, batch=1, max_bytes=10, expires=1_000_000_000).message()
    return {"sizes": [len(message.body) for message in found], "status": found[-1].status, "names": sorted(found[-1].headers), "too small": small.status}


@case
def pull_bytes_that_are_left(rig):
    """With those of the messages as a client counts them they are what it asked for."""
    stream = rig.stream()
    fill(rig, stream, 20)
    rig.consumer(stream)
    wire = rig.pull(stream, batch=100, max_bytes=700, expires=2_000_000_000)
    left = 700
    while not (found := wire.message()).status:
        left -= len(found.subject) + len(found.reply) + len(found.body)
    return int(found.headers["Nats-Pending-Bytes"].strip()) - left


@case
def pull_heartbeats(rig):
    stream = rig.stream()
    rig.consumer(stream)
    wire = rig.pull(stream, batch=1, expires=1_000_000_000, idle_heartbeat=100_000_000)
    found = wire.messages(2)
    rig.put(f"{stream}.a", "x")
    while (message := wire.message()).status:
        pass
    return [[shown(status) for status in found], message.body]


@case
def pull_requests_that_are_refused(rig):
    stream = rig.stream()
    rig.consumer(stream, max_batch=5, max_expires=1_000_000_000, max_bytes=100, max_waiting=2)
    ask = lambda **asked: rig.pull(stream, **asked).message().status

    def raw(payload):
        wire = rig.wire()
        wire.subscribe("_INBOX.r", "1")
        wire.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.c", payload, "_INBOX.r")
        return wire.message().status

    refused = {"batch": ask(batch=6), "expires": ask(batch=1, expires=5_000_000_000), "bytes": ask(batch=1, max_bytes=200, expires=500_000_000), "rubbish": raw("{"), "heartbeat": ask(batch=1, expires=500_000_000, idle_heartbeat=400_000_000), "heartbeat alone": ask(batch=1, no_wait=True, idle_heartbeat=100_000_000)}
    for _ in range(2):
        rig.pull(stream, batch=1, expires=900_000_000).until_pong()
    until(lambda: rig.consumer_info(stream)["num_waiting"] == 2)
    return {**refused, "waiting": ask(batch=1, expires=500_000_000)}


@case
def pull_served_in_order_of_arrival(rig):
    stream = rig.stream()
    rig.consumer(stream)
    first, second = rig.pull(stream, batch=1, expires=8_000_000_000), None
    until(lambda: rig.consumer_info(stream)["num_waiting"] == 1)
    second = rig.pull(stream, batch=1, expires=8_000_000_000)
    until(lambda: rig.consumer_info(stream)["num_waiting"] == 2)
    fill(rig, stream, 2)
    return [first.message().body, second.message().body]


@case
def pull_ends_with_the_consumer(rig):
    stream = rig.stream()
    rig.consumer(stream)
    wire = rig.pull(stream, batch=1, expires=8_000_000_000)
    until(lambda: rig.consumer_info(stream)["num_waiting"] == 1)
    rig.api(f"CONSUMER.DELETE.{stream}.c")
    return shown(wire.message())


@case
def pull_of_who_is_gone(rig):
    stream = rig.stream()
    rig.consumer(stream)
    wire = rig.pull(stream, batch=1, expires=8_000_000_000)
    until(lambda: rig.consumer_info(stream)["num_waiting"] == 1)
    wire.close()
    until(lambda: rig.consumer_info(stream)["num_waiting"] == 0)
    rig.put(f"{stream}.a", "x")
    return [rig.next(stream).body, rig.place(stream)]


@case
def pull_that_nobody_would_hear(rig):
    """Its messages are there for the next one."""
    stream = rig.stream()
    fill(rig, stream, 2)
    rig.consumer(stream)
    rig.asking.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.c", json.dumps({"batch": 2, "expires": 8_000_000_000}), f"_NOBODY.{rig.stem}")
    return [rig.next(stream).body, rig.next(stream).body, rig.place(stream)]


@case
def pull_that_another_hears(rig):
    stream = rig.stream()
    fill(rig, stream, 1)
    rig.consumer(stream)
    inbox = f"_INBOX.{rig.stem}o.1"
    other = rig.wire()
    other.subscribe(inbox)
    other.until_pong()
    rig.asking.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.c", "1", inbox)
    return other.message().body


@case
def max_ack_pending(rig):
    stream = rig.stream()
    fill(rig, stream)
    rig.consumer(stream, max_ack_pending=2)
    wire = rig.pull(stream, batch=5, expires=8_000_000_000)
    first = wire.messages(2)
    place = rig.place(stream)
    rig.ack(first[0])
    return [bodies(first), place, wire.message().body]


@case
def start_policies(rig):
    stream = rig.stream()
    for number in range(6):
        # Each in a millisecond of its own: nats-server tells those of one apart, and it is the only one that does.
        next_millisecond()
        rig.put(f"{stream}.{'ab'[number % 2]}", str(number))
    stamp = rig.api(f"STREAM.MSG.GET.{stream}", {"seq": 4})["message"]["time"]

    def read(name, **config):
        rig.consumer(stream, name, ack_policy="none", **config)
        wire = rig.pull(stream, name, batch=10, no_wait=True)
        found = []
        while not (message := wire.message()).status:
            found.append(message.body)
        return found

    found = {"all": read("c1"), "last": read("c2", deliver_policy="last"), "new": read("c3", deliver_policy="new"), "at a sequence": read("c4", deliver_policy="by_start_sequence", opt_start_seq=3), "at a time": read("c5", deliver_policy="by_start_time", opt_start_time=stamp), "last per subject": read("c6", deliver_policy="last_per_subject", filter_subject=f"{stream}.>"), "last filtered": read("c7", deliver_policy="last", filter_subject=f"{stream}.a"), "beyond": read("c8", deliver_policy="by_start_sequence", opt_start_seq=99)}
    rig.put(f"{stream}.a", "6")
    again = rig.pull(stream, "c3", batch=1, no_wait=True).message().body
    return {**found, "new then": again}


@case
def filters(rig):
    stream = rig.stream()
    fill(rig, stream, 9, "abc")

    def read(name, **config):
        rig.consumer(stream, name, **config)
        before = rig.place(stream, name)
        wire = rig.pull(stream, name, batch=20, no_wait=True)
        found = []
        while not (message := wire.message()).status:
            found.append(message.body)
        return [found, before, rig.place(stream, name)]

    return {"one": read("c1", filter_subject=f"{stream}.b"), "two": read("c2", filter_subjects=[f"{stream}.a", f"{stream}.c"]), "wildcard": read("c3", filter_subject=f"{stream}.*"), "nothing": read("c4", filter_subject=f"{stream}.z")}


@case
def headers_only(rig):
    stream = rig.stream()
    rig.put(f"{stream}.a", "0123456789", A="1")
    rig.put(f"{stream}.a", "")
    rig.consumer(stream, headers_only=True)
    return [[found.head, found.body] for found in rig.pull(stream, batch=2, expires=5_000_000_000).messages(2)]


@case
def pending_counts_what_is_left(rig):
    stream = rig.stream()
    fill(rig, stream, 6, "ab")
    rig.consumer(stream, filter_subject=f"{stream}.a")
    rig.ack(rig.next(stream))
    rig.api(f"STREAM.MSG.DELETE.{stream}", {"seq": 3})
    return [rig.place(stream), rig.next(stream).body]


@case
def deleted_messages_are_passed_over(rig):
    stream = rig.stream()
    fill(rig, stream, 5)
    rig.consumer(stream)
    for seq in (1, 3):
        rig.api(f"STREAM.MSG.DELETE.{stream}", {"seq": seq})
    return [bodies(rig.pull(stream, batch=3, expires=5_000_000_000).messages(3)), rig.place(stream)]


@case
def purge_moves_the_consumer(rig):
    stream = rig.stream()
    fill(rig, stream, 5)
    rig.consumer(stream)
    rig.next(stream)
    rig.api(f"STREAM.PURGE.{stream}")
    place = rig.place(stream)
    rig.put(f"{stream}.a", "new")
    return [place, rig.next(stream).body]


@case
def reads_in_replay_time(rig):
    stream = rig.stream()
    rig.put(f"{stream}.a", "0")
    rig.put(f"{stream}.a", "1")
    rig.consumer(stream, replay_policy="original")
    return bodies(rig.pull(stream, batch=2, expires=8_000_000_000).messages(2))


def push(rig, stream, name="c", wire=None, **config):
    """A push consumer with somebody who listens."""
    wire = wire or rig.wire()
    to = f"{rig.stem}-to-{next(NUMBERS)}"
    wire.subscribe(to, queue=config.get("deliver_group", ""))
    wire.until_pong()
    rig.consumer(stream, name, deliver_subject=to, **config)
    return wire


@case
def push_deliveries(rig):
    stream = rig.stream()
    fill(rig, stream, 3)
    wire = push(rig, stream)
    found = wire.messages(3)
    rig.put(f"{stream}.a", "later")
    return [bodies(found), found[0].subject, found[0].reply.split(".")[:7], wire.message().body, rig.place(stream)]


def overtaken(rig, stream, count):
    """How many of a new push consumer's messages its info, asked for at once, neither counts as pending nor comes behind."""
    wire, name = rig.wire(), f"c{next(NUMBERS)}"
    to, inbox = f"{rig.stem}-to-{name}", f"_INBOX.{rig.stem}i.{name}"
    pushed = wire.subscribe(to)
    wire.subscribe(f"{inbox}.*")
    wire.until_pong()
    config = {"name": name, "deliver_subject": to, "ack_policy": "none", "inactive_threshold": 5_000_000_000}
    wire.publish(f"$JS.API.CONSUMER.CREATE.{stream}.{name}", json.dumps({"stream_name": stream, "config": config}), f"{inbox}.made")
    came = 0
    for message in iter(wire.message, None):
        came += message.sid == pushed
        if message.subject == f"{inbox}.made":
            wire.publish(f"$JS.API.CONSUMER.INFO.{stream}.{name}", "", f"{inbox}.info")
        if message.subject == f"{inbox}.info":
            wire.close()
            return max(count - came - json.loads(message.body)["num_pending"], 0)


@case
def push_info_overtakes_no_message(rig):
    stream = rig.stream()
    fill(rig, stream, 20)
    return sum(overtaken(rig, stream, 20) for _ in range(40))


@case
def push_waits_for_somebody(rig):
    stream = rig.stream()
    fill(rig, stream, 2)
    to = rig.name("-to")
    rig.consumer(stream, deliver_subject=to)
    before = [rig.place(stream), rig.consumer_info(stream).get("push_bound")]
    wire = rig.wire()
    wire.subscribe(to)
    found = bodies(wire.messages(2))
    return [before, found, rig.consumer_info(stream).get("push_bound")]


@case
def push_goes_on_for_who_comes_later(rig):
    stream = rig.stream()
    to = rig.name("-to")
    rig.consumer(stream, deliver_subject=to)
    first = rig.wire()
    first.subscribe(to)
    fill(rig, stream, 1)
    rig.ack(first.message())
    first.close()
    until(lambda: not rig.consumer_info(stream).get("push_bound"))
    rig.put(f"{stream}.a", "second")
    second = rig.wire()
    second.subscribe(to)
    return second.message().body


@case
def push_stops_at_max_ack_pending(rig):
    stream = rig.stream()
    fill(rig, stream, 5)
    wire = push(rig, stream, max_ack_pending=2)
    first = wire.messages(2)
    place = rig.place(stream)
    rig.ack(first[0])
    return [bodies(first), place, wire.message().body]


@case
def push_to_a_group(rig):
    stream = rig.stream()
    to, wires = rig.name("-to"), [rig.wire() for _ in range(3)]
    for wire in wires:
        wire.subscribe(to, queue="g")
        wire.until_pong()
    rig.consumer(stream, deliver_subject=to, deliver_group="g")
    for number in range(60):
        rig.put(f"{stream}.a", str(number))
    until(lambda: rig.consumer_info(stream)["delivered"]["stream_seq"] == 60)
    got = [len(wire.until_pong()) for wire in wires]
    return {"all": sum(got), "shared": all(got), "place": rig.place(stream)}


@case
def push_idle_heartbeats(rig):
    stream = rig.stream()
    fill(rig, stream, 1)
    wire = push(rig, stream, ack_policy="none", idle_heartbeat=100_000_000)
    return [wire.message().body, shown(wire.message()), wire.message().subject == wire.message().subject]


@case
def push_flow_control(rig):
    stream = rig.stream()
    writer, body, count = rig.wire(), "x" * 50_000, 100
    writer.send(*[line for _ in range(count) for line in (f"PUB {stream}.a {len(body)}", body)])
    until(lambda: rig.state(stream)[0] == count)
    wire = push(rig, stream, ack_policy="none", idle_heartbeat=1_000_000_000, flow_control=True)
    seen, asked, heads = 0, 0, set()
    while seen < count:
        message = wire.message()
        if message.status.startswith("100"):
            heads.add(message.status)
            if message.reply:
                asked += 1
                wire.publish(message.reply)
            elif stalled := message.headers.get("Nats-Consumer-Stalled"):
                wire.publish(stalled.strip())
        else:
            seen += 1
    return {"all": seen, "asked": asked > 0, "heads": sorted(heads)}


@case
def ordered_consumer(rig):
    stream = rig.stream()
    fill(rig, stream, 50, "ab")
    wire = push(rig, stream, ack_policy="none", max_deliver=1, mem_storage=True, idle_heartbeat=5_000_000_000, flow_control=True)
    found = wire.messages(50)
    tokens = [message.reply.split(".") for message in found]
    return {"in order": bodies(found) == [str(number) for number in range(50)], "consumer": [token[6] for token in tokens] == [str(number + 1) for number in range(50)], "pending": [tokens[0][-1], tokens[-1][-1]]}


@case
def reset_and_unpin(rig):
    stream = rig.stream()
    fill(rig, stream, 3)
    rig.consumer(stream)
    rig.next(stream)
    return {"reset": rig.refused(f"CONSUMER.RESET.{stream}.c", {"seq": 1}), "unpin": rig.refused(f"CONSUMER.UNPIN.{stream}.c", {"group": "x"})}


@case
def reset_to_the_floor(rig):
    stream = rig.stream()
    fill(rig, stream, 6)
    rig.consumer(stream)
    found = rig.pull(stream, batch=4, expires=5_000_000_000).messages(4)
    rig.ack(found[0])
    rig.ack(found[2])
    answer = rig.api(f"CONSUMER.RESET.{stream}.c")
    place = rig.place(stream)
    again = rig.pull(stream, batch=9, expires=5_000_000_000).messages(5)
    rig.ack(found[1])
    return {"names": sorted(answer), "type": answer["type"], "sequence": answer["reset_seq"], "place": place, "again": [message.reply.split(".")[4:7] + [message.reply.split(".")[-1]] for message in again], "an old ack": rig.place(stream)}


@case
def reset_to_a_sequence(rig):
    stream = rig.stream()
    fill(rig, stream, 6)
    stamp = rig.api(f"STREAM.MSG.GET.{stream}", {"seq": 1})["message"]["time"]
    configs = {"all": {}, "none": {"ack_policy": "none"}, "sequence": {"deliver_policy": "by_start_sequence", "opt_start_seq": 3}, "time": {"deliver_policy": "by_start_time", "opt_start_time": stamp}, "last": {"deliver_policy": "last"}, "new": {"deliver_policy": "new"}}
    told = {}
    for name, config in configs.items():
        rig.consumer(stream, name, **config)
        for sequence in (2, 5, 0, 100):
            answer = rig.api(f"CONSUMER.RESET.{stream}.{name}", {"seq": sequence})
            told[f"{name} {sequence}"] = [answer.get("reset_seq"), rig.place(stream, name)] if "error" not in answer else verdict(answer)
    rig.put(f"{stream}.a", "7")
    return {**told, "beyond": rig.pull(stream, "all", batch=1, no_wait=True).message().status}


@case
def reset_requests_that_are_none(rig):
    stream = rig.stream()
    rig.consumer(stream)
    tried = {"rubbish": "{", "text": '{"seq":"x"}', "negative": '{"seq":-1}', "list": "[]", "other": '{"other":1}'}
    told = {what: rig.refused(f"CONSUMER.RESET.{stream}.c", body)[:2] for what, body in tried.items()}
    told["level"] = verdict(json.loads(rig.request(f"$JS.API.CONSUMER.RESET.{stream}.c", "", {"Nats-Required-Api-Level": "99"}).body))
    return {**told, "no consumer": rig.silent(f"CONSUMER.RESET.{stream}.x"), "no stream": rig.silent(f"CONSUMER.RESET.{rig.name('x')}.c")}
