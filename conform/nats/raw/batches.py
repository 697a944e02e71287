"""Batches that are stored whole or not at all, and what is stored and published under other subjects."""

import json

from rig import case


def batch(rig, stream, *messages, ends="1", name="b", **first):
    """Sends (subject, headers) each as one of a batch; the answers."""
    answers = []
    for number, (subject, headers) in enumerate(messages, 1):
        headers = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number), **headers}
        if number == len(messages) and ends:
            headers["Nats-Batch-Commit"] = ends
        answers.append(rig.request(f"{stream}.{subject}", str(number), headers).body)
    return answers


def last(answers):
    return json.loads(answers[-1]) if answers[-1] else ""


@case
def batch_ends_with_a_message_of_its_own(rig):
    stream = rig.stream(allow_atomic=True)
    return [last(batch(rig, stream, ("a", {}), ("b", {}), ("c", {}), ends="eob")), rig.state(stream)]


@case
def batch_conditions(rig):
    stream = rig.stream(allow_atomic=True, allow_rollup_hdrs=True)
    rig.put(f"{stream}.a", "x", **{"Nats-Msg-Id": "there"})
    sequence, of_subject = "Nats-Expected-Last-Sequence", "Nats-Expected-Last-Subject-Sequence"
    tried = {
        "wrong sequence": [("a", {sequence: "5"}), ("b", {})],
        "sequence of the second": [("a", {}), ("b", {sequence: "2"})],
        "wrong sequence of the second": [("a", {}), ("b", {sequence: "1"})],
        "wrong subject sequence": [("b", {}), ("a", {of_subject: "9"})],
        "subject of the batch": [("a", {}), ("a", {of_subject: "1"})],
        "other stream": [("a", {"Nats-Expected-Stream": "other"})],
        "last id": [("a", {"Nats-Expected-Last-Msg-Id": "there"})],
        "id that is there": [("a", {"Nats-Msg-Id": "there"})],
        "id twice": [("a", {"Nats-Msg-Id": "new"}), ("b", {"Nats-Msg-Id": "new"})],
        "time to live": [("a", {}), ("b", {"Nats-TTL": "5"})],
        "rollup of the batch": [("a", {}), ("a", {"Nats-Rollup": "sub"})],
        "rollup of all": [("a", {}), ("b", {"Nats-Rollup": "all"})],
    }
    told = {what: last(batch(rig, stream, *messages)) for what, messages in tried.items()}
    told["state"] = rig.state(stream)
    told["well"] = last(batch(rig, stream, ("b", {of_subject: "0", sequence: "1"}), ("a", {of_subject: "1", "Nats-Rollup": "sub"})))
    return [told, rig.state(stream)]


@case
def batch_ends_in_no_way_that_is_known(rig):
    stream = rig.stream(allow_atomic=True)
    return [last(batch(rig, stream, ("a", {}), ("b", {}), ends="2")), last(batch(rig, stream, ("a", {}), ends="eob")), rig.state(stream)]


@case
def batch_where_there_is_no_room(rig):
    stream = rig.stream(allow_atomic=True, max_msgs=2, discard="new")
    full = last(batch(rig, stream, ("a", {}), ("b", {}), ("c", {})))
    return [full, rig.state(stream), last(batch(rig, stream, ("a", {}), ("b", {}))), rig.state(stream)]


@case
def batch_too_many_under_way(rig):
    stream = rig.stream(allow_atomic=True)
    told = [batch(rig, stream, ("a", {}), ends="", name=str(number))[0] for number in range(51)]
    return [sum(answer == "" for answer in told), told[-1]]


@case
def batch_of_two_at_once(rig):
    stream = rig.stream(allow_atomic=True)
    put = lambda name, number, **more: rig.request(f"{stream}.a", name, {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number), **more}).body
    told = [put("x", 1), put("y", 1), put("x", 2, **{"Nats-Batch-Commit": "1"}), rig.state(stream), put("y", 2, **{"Nats-Batch-Commit": "1"})]
    return [told, rig.state(stream)]


@case
def batch_under_other_subjects(rig):
    stream = rig.stream(allow_atomic=True, subject_transform={"src": f"{rig.stem}.*", "dest": f"{rig.stem}.done.{{{{wildcard(1)}}}}"})
    told = last(batch(rig, stream, ("a", {}), ("b", {"Nats-Expected-Last-Subject-Sequence": "0"})))
    return [told, [rig.api(f"STREAM.MSG.GET.{stream}", {"seq": seq})["message"]["subject"] for seq in (1, 2)]]


@case
def batch_that_needs_another_level(rig):
    stream, wire = rig.stream(allow_atomic=True), rig.wire()
    wire.listen(f"$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.{stream}")
    needs = lambda level: {"Nats-Required-Api-Level": level}
    tried = {
        "first": [("a", needs("99")), ("b", {})],
        "last": [("a", {}), ("b", needs("99"))],
        "no number": [("a", needs("x")), ("b", {})],
        "ends in no way": [("a", {}), ("b", {**needs("99"), "Nats-Batch-Commit": "2"})],
        "offered": [("a", needs("1")), ("b", needs("0"))],
        "alone": [("a", needs("99"))],
    }
    told = {}
    for what, messages in tried.items():
        ends = "" if what == "ends in no way" else "1"
        told[what] = [answer and json.loads(answer) for answer in batch(rig, stream, *messages, ends=ends, name=what.replace(" ", "-"))]
    told["no batch"] = rig.put(f"{stream}.a", "", Nats_Required_Api_Level="99")
    told["no batch is known"] = json.loads(rig.request(f"{stream}.a", "", {"Nats-Batch-Id": "new", "Nats-Batch-Sequence": "2", **needs("99")}).body)
    heard = [json.loads(message.body) for message in wire.messages(4)]
    return [told, [[advisory["batch"], advisory["reason"]] for advisory in heard], rig.state(stream)]


@case
def republished_without_payload(rig):
    wire = rig.wire()
    wire.listen(f"{rig.stem}-out.>")
    stream = rig.stream(republish={"dest": f"{rig.stem}-out.>", "headers_only": True}, max_msgs_per_subject=1)
    for body in ("one", "three"):
        rig.request(f"{stream}.a", body, {"Own": "1"})
    found = wire.messages(2)
    return [[message.subject, {field: value.strip() for field, value in message.headers.items() if field != "Nats-Time-Stamp"}, message.body] for message in found]


@case
def republished_under_the_stored_subject(rig):
    wire = rig.wire()
    wire.listen(f"{rig.stem}-kept.>")
    stream = rig.stream(subject_transform={"src": f"{rig.stem}.>", "dest": f"{rig.stem}-kept.>"}, republish={"src": ">", "dest": ">"})
    rig.put(f"{stream}.a.b", "x")
    found = wire.messages(1)[0]
    return [found.subject, found.headers["Nats-Subject"].strip(), found.body]


@case
def abandoned_batches_are_told(rig):
    stream, wire = rig.stream(allow_atomic=True), rig.wire()
    wire.listen(f"$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.{stream}")

    def part(name, sequence, **headers):
        headers = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(sequence), **{f"Nats-Batch-{key}": value for key, value in headers.items()}}
        return rig.request(f"{stream}.a", "", headers).body

    part("unknown", 2)
    part("gap", 1)
    part("gap", 3)
    part("nothing", 1, Commit="eob")
    part("bad", 1)
    part("bad", 2, Commit="bad")
    part("refused", 1)
    rig.request(f"{stream}.a", "", {"Nats-Batch-Id": "refused", "Nats-Batch-Sequence": "2", "Nats-Batch-Commit": "1", "Nats-Expected-Last-Sequence": "9"})
    for number in range(1, 1002):
        part("large", number)
    return [json.loads(message.body) for message in wire.messages(3)]
