"""Messages that are published later: `Nats-Schedule: @at …` (ADR-51)."""

import base64
import datetime

from rig import case, verdict
from wire import until


def at(seconds):
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return "@at " + when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def schedule(rig, subject, when, target, body="body", **headers):
    return rig.put(subject, body, Nats_Schedule=when, Nats_Schedule_Target=target, **headers)


def shown(rig, stream, seq):
    """A message's subject, headers and body."""
    found = rig.api(f"STREAM.MSG.GET.{stream}", {"seq": seq})
    if "error" in found:
        return verdict(found)
    block = base64.b64decode(found["message"].get("hdrs", "")).decode()
    names = sorted(line.strip() for line in block.split("\r\n")[1:] if line.strip() and not line.startswith(("Nats-Schedule: ", "Nats-Rollup: ")))
    return [found["message"]["subject"], names, base64.b64decode(found["message"].get("data", "")).decode()]


def last(rig, stream):
    return rig.state(stream)[2]


@case
def delay_of_one_message(rig):
    stream, wire = rig.stream(allow_msg_schedules=True), rig.wire()
    wire.subscribe(f"{stream}.now", "1")
    wire.until_pong()
    stored = schedule(rig, f"{stream}.later", at(1), f"{stream}.now", Other="kept", Nats_Msg_Id="7")
    before = shown(rig, stream, 1)
    until(lambda: last(rig, stream) >= 2)
    after = shown(rig, stream, 2)
    until(lambda: rig.state(stream)[0] == 1)
    kept = rig.state(stream)
    wire.publish(f"{stream}.now", "mark")
    return {"stored": stored.get("seq"), "before": before, "after": after, "kept": kept, "heard": wire.message().body}


@case
def delay_that_is_past(rig):
    stream = rig.stream(allow_msg_schedules=True)
    schedule(rig, f"{stream}.later", "@at 2009-11-10T23:00:00Z", f"{stream}.now")
    until(lambda: last(rig, stream) >= 2)
    until(lambda: rig.state(stream)[0] == 1)
    return shown(rig, stream, 2)


@case
def delay_is_replaced_and_ended(rig):
    stream = rig.stream(allow_msg_schedules=True)
    first = schedule(rig, f"{stream}.later", at(3600), f"{stream}.now", "first")
    second = schedule(rig, f"{stream}.later", at(3600), f"{stream}.now", "second")
    there = rig.state(stream)
    rig.api(f"STREAM.PURGE.{stream}", {"filter": f"{stream}.later"})
    return [first.get("seq"), second.get("seq"), there, rig.state(stream)]


@case
def delays_that_cannot_be(rig):
    stream, plain = rig.stream("s", allow_msg_schedules=True), rig.stream("p")

    def asked(when, target, to=stream, **headers):
        answer = schedule(rig, f"{to}.later", when, target, **headers)
        return verdict(answer) if "error" in answer else "taken"

    return {
        "not allowed": asked(at(3600), f"{plain}.now", plain),
        "no time": asked("@at soon", f"{stream}.now"),
        "nothing known": asked("@sometimes", f"{stream}.now"),
        "elsewhere": asked(at(3600), "other.now"),
        "to itself": asked(at(3600), f"{stream}.later"),
        "to a pattern": asked(at(3600), f"{stream}.*"),
        "nowhere": asked(at(3600), ""),
        "in a zone": asked(at(3600), f"{stream}.now", Nats_Schedule_Time_Zone="Europe/Berlin"),
        "over all": asked(at(3600), f"{stream}.now", Nats_Rollup="all"),
        "by hand": verdict(rig.put(f"{stream}.a", "", Nats_Scheduler=f"{stream}.later")),
    }


@case
def delays_that_are_ours_to_refuse(rig):
    stream = rig.stream(allow_msg_schedules=True, allow_msg_ttl=True)

    def asked(when, **headers):
        answer = schedule(rig, f"{stream}.later", when, f"{stream}.now", **headers)
        return verdict(answer) if "error" in answer else "taken"

    return {
        "every": asked("@every 1h"),
        "cron": asked("0 0 5 * * *"),
        "yearly": asked("@yearly"),
        "with a time to live": asked(at(3600), Nats_Schedule_TTL="5m"),
        "its own time to live": asked(at(7200), Nats_TTL="1h"),
        "sampling": asked(at(3600), Nats_Schedule_Source=f"{stream}.other"),
        "rolling up": asked(at(3600), Nats_Schedule_Rollup="sub"),
    }


@case
def delays_and_streams(rig):
    def made(**config):
        name = rig.name("-m")
        answer = rig.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"], "storage": "memory", "allow_msg_schedules": True, **config})
        rig.api(f"STREAM.DELETE.{name}")
        if "error" in answer:
            return verdict(answer)
        kept = answer["config"]
        return [kept.get("allow_msg_schedules"), kept.get("allow_rollup_hdrs"), kept.get("deny_purge"), kept["metadata"].get("_nats.req.level")]

    return {"plain": made(), "discard new": made(discard="new"), "denied": made(deny_purge=True)}
