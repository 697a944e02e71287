"""Dead letters of a consumer: Stele's own, asked for by an entry of its metadata. nats-server keeps the entry and does nothing."""

import json

from acks import fill
from consumers import create
from rig import case, verdict
from wire import Late, until

MOMENT = 300_000_000
SUBJECT = "stele.dead_letter_subject"
MARK = "Stele-Dead-Letter-"


def told(message):
    """What a dead letter says of itself."""
    return {name.removeprefix(MARK): value.strip() for name, value in message.headers.items() if name.startswith(MARK)}


def heard(wire, count):
    try:
        return wire.messages(count)
    except (Late, TimeoutError):
        return []


def stored(rig, stream, count):
    """How many messages a stream holds, once it holds so many."""
    try:
        return until(lambda: rig.state(stream)[0] >= count and rig.state(stream)[0], patience=5)
    except Late:
        return rig.state(stream)[0]


@case
def dead_letters_of_a_consumer(rig):
    stream, grave = rig.stream("s"), rig.stream("d")
    to = f"{grave}.letters"
    wire = rig.wire()
    wire.listen(to)
    fill(rig, stream, 3)
    rig.consumer(stream, max_deliver=2, ack_wait=MOMENT, metadata={SUBJECT: to})
    rig.ack(rig.next(stream), "+TERM it is\tbroken")
    rig.ack(rig.next(stream))
    bodies = [rig.next(stream).body for _ in range(2)]
    letters = heard(wire, 2)
    return {
        "given": bodies,
        "heard": [[told(letter), letter.body] for letter in letters],
        "stored": stored(rig, grave, 2),
        "kept": rig.state(stream),
        "place": rig.place(stream),
        "asked": rig.consumer_info(stream)["config"]["metadata"][SUBJECT],
    }


@case
def dead_letters_leave_a_work_queue(rig):
    stream, grave = rig.stream("w", retention="workqueue", storage="file"), rig.stream("d", storage="file")
    rig.consumer(stream, metadata={SUBJECT: f"{grave}.letters"})
    rig.put(f"{stream}.a", "body", Nats_Msg_Id="1", Other="kept")
    rig.ack(rig.next(stream), "+TERM")
    count = stored(rig, grave, 1)
    letter = rig.api(f"STREAM.MSG.GET.{grave}", {"seq": 1})
    return {"stored": count, "subject": letter.get("message", {}).get("subject"), "left": rig.state(stream)}


@case
def dead_letters_that_nobody_stores_are_heard(rig):
    stream, wire = rig.stream(), rig.wire()
    to = rig.name("-heard.only")
    wire.listen(to)
    fill(rig, stream, 1)
    rig.consumer(stream, metadata={SUBJECT: to})
    rig.ack(rig.next(stream), "+TERM")
    return [[told(letter), letter.body] for letter in heard(wire, 1)]


@case
def dead_letters_to_nowhere(rig):
    stream = rig.stream()

    def asked(to, **config):
        answer = create(rig, stream, "c", **{"ack_policy": "explicit", "metadata": {SUBJECT: to}, **config})
        result = verdict(answer) if "error" in answer else "made"
        rig.api(f"CONSUMER.DELETE.{stream}.c")
        return result

    return {
        "wildcard": asked("dead.*"),
        "empty word": asked("dead..letters"),
        "nothing": asked(""),
        "blank": asked("dead letters"),
        "server's": asked("$JS.API.INFO"),
        "no acknowledgements": asked("dead", ack_policy="none"),
        "in a circle": asked(f"{stream}.dead"),
        "beside the filter": asked(f"{stream}.dead", filter_subject=f"{stream}.alive"),
        "elsewhere": asked("dead.letters"),
    }
