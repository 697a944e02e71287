"""Messages that are published later, once or again and again (ADR-51)."""

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
    wire.listen(f"{stream}.now")
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


def shown_next(header):
    """When a schedule comes next, as far as every run agrees on it: whether it lies ahead, by whole seconds, and by whose clocks."""
    name, value = header.split(": ", 1)
    if name != "Nats-Schedule-Next" or value == "purge":
        return header
    when = datetime.datetime.fromisoformat(value)
    ahead = (when - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
    return [name, -5 < ahead < 5, when.microsecond, value[19:]]


def fired(rig, stream, seq):
    subject, headers, body = shown(rig, stream, seq)
    return [subject, [shown_next(header) for header in headers], body]


@case
def schedules_that_are_taken(rig):
    stream = rig.stream(allow_msg_schedules=True, allow_msg_ttl=True)

    def asked(when, **headers):
        answer = schedule(rig, f"{stream}.later", when, f"{stream}.now", **headers)
        return verdict(answer) if "error" in answer else "taken"

    patterns = ["@every 1h", "@every 1.5s", "@every 1h30m", "0 0 5 * * *", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"]
    patterns += ["0 0 0 29 2 ?", "*/5 0-30/10 1,2 * JAN-mar mon", "5/20 * * * * *", "0 0 0 1,,2 * *", "*-5 0 0 1 * *"]
    zones = ["UTC", "Europe/Berlin", "America/New_York"]
    return {
        "patterns": {pattern: asked(pattern) for pattern in patterns},
        "zones": {zone: asked("@daily", Nats_Schedule_Time_Zone=zone) for zone in zones},
        "a zone of nothing": rig.put(f"{stream}.a", "", Nats_Schedule_Time_Zone="UTC").get("seq"),
        "with a time to live": asked(at(3600), Nats_Schedule_TTL="5m"),
        "for ever": asked(at(3600), Nats_Schedule_TTL="never"),
        "its own time to live": asked(at(7200), Nats_TTL="1h"),
        "sampling": asked(at(3600), Nats_Schedule_Source=f"{stream}.other"),
        "rolling up": asked(at(3600), Nats_Schedule_Rollup="sub"),
    }


@case
def schedules_that_cannot_be(rig):
    stream, plain = rig.stream("s", allow_msg_schedules=True), rig.stream("p")

    def asked(when, to=stream, **headers):
        answer = schedule(rig, f"{to}.later", when, f"{to}.now", **headers)
        return verdict(answer) if "error" in answer else "taken"

    def purged(scheduler, next_="purge", to=stream):
        answer = rig.put(f"{to}.end", "", Nats_Schedule_Next=next_, Nats_Scheduler=scheduler)
        return verdict(answer) if "error" in answer else "taken"

    patterns = ["@every 999ms", "@every", "@every soon", "@minutely", "0 0 5 * *", "0 0 5 * * * *", "60 * * * * *", "0 0 24 * * *", "0 0 0 0 * *", "0 0 0 * 13 *", "0 0 0 * * 7"]
    patterns += ["0 0 0 30 2 *", "5-1 * * * * *", "1-2-3 * * * * *", "1/0 * * * * *", "1/2/3 * * * * *", ", * * * * *", "a * * * * *", "-1 * * * * *", "1.5 * * * * *"]
    rig.put(f"{stream}.plain", "")
    return {
        "patterns": {pattern: asked(pattern) for pattern in patterns},
        "not allowed": asked("@hourly", plain),
        "nonsense where it is not allowed": asked("@minutely", plain),
        "every in a zone": asked("@every 1h", Nats_Schedule_Time_Zone="UTC"),
        "zones": {zone: asked("@daily", Nats_Schedule_Time_Zone=zone) for zone in ["", "Mars/Olympus", "+02:00", "../etc/passwd"]},
        "a zone of nothing": verdict(rig.put(f"{stream}.a", "", Nats_Schedule_Time_Zone="Mars/Olympus")),
        "no time to live": asked("@hourly", Nats_Schedule_TTL="soon"),
        "a time to live": asked("@hourly", Nats_Schedule_TTL="5m"),
        "its own time to live": asked("@hourly", Nats_TTL="5m"),
        "rolling up all": asked("@hourly", Nats_Schedule_Rollup="all"),
        "over all": asked("@hourly", Nats_Rollup="all"),
        "sampling elsewhere": asked("@hourly", Nats_Schedule_Source="other"),
        "sampling itself": asked("@hourly", Nats_Schedule_Source=f"{stream}.later"),
        "sampling its target": asked("@hourly", Nats_Schedule_Source=f"{stream}.now"),
        "sampling a pattern": asked("@hourly", Nats_Schedule_Source=f"{stream}.*"),
        "an end of nothing": purged(f"{stream}.nothing"),
        "an end of a message": purged(f"{stream}.plain"),
        "an end of itself": purged(f"{stream}.end"),
        "an end of a pattern": purged(f"{stream}.*"),
        "an end without a subject": purged(""),
        "another next": purged(f"{stream}.later", "2030-01-01T00:00:00Z"),
        "an end where it is not allowed": purged(f"{plain}.later", to=plain),
    }


@case
def schedules_come_again(rig):
    stream = rig.stream(allow_msg_schedules=True, allow_msg_ttl=True)
    rig.put(f"{stream}.sensor", "warm", Kind="sample", Nats_Msg_Id="7")
    schedule(rig, f"{stream}.every", "@every 1s", f"{stream}.a", Other="kept")
    schedule(rig, f"{stream}.cron", "* * * * * *", f"{stream}.b", Nats_Schedule_Time_Zone="Asia/Kathmandu", Nats_Schedule_TTL="1h")
    schedule(rig, f"{stream}.sampling", "@every 1s", f"{stream}.c", "cold", Nats_Schedule_Source=f"{stream}.sensor", Nats_Schedule_Rollup="sub")
    schedule(rig, f"{stream}.in-vain", "@every 1s", f"{stream}.d", "cold", Nats_Schedule_Source=f"{stream}.nothing")

    def of(target):
        answer = rig.api(f"STREAM.INFO.{stream}", {"subjects_filter": f"{stream}.>"})
        return answer["state"]["subjects"].get(f"{stream}.{target}", 0)

    def last_of(target):
        return fired(rig, stream, rig.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": f"{stream}.{target}"})["message"]["seq"])

    until(lambda: of("a") >= 2 and of("b") >= 2 and of("d") >= 2 and of("c") >= 1)
    there = {target: last_of(target) for target in "abcd"}
    rolled_up = of("c")
    waiting = [of("every"), of("cron"), of("sampling"), of("in-vain")]
    return [there, rolled_up, waiting]


@case
def schedules_end(rig):
    stream = rig.stream(allow_msg_schedules=True, allow_msg_ttl=True)
    schedule(rig, f"{stream}.first", "@every 1h", f"{stream}.now")
    schedule(rig, f"{stream}.second", at(3600), f"{stream}.now")
    schedule(rig, f"{stream}.third", "@every 1h", f"{stream}.now", Nats_TTL="1s")

    def end(scheduler, **headers):
        answer = rig.put(f"{stream}.ended", "", Nats_Schedule_Next="purge", Nats_Scheduler=f"{stream}.{scheduler}", **headers)
        return verdict(answer) if "error" in answer else answer["seq"]

    late = {"Nats_Expected_Last_Subject_Sequence": "9", "Nats_Expected_Last_Subject_Sequence_Subject": f"{stream}.first"}
    ended = [end("first", **late), end("first"), end("second"), end("second")]
    shown_end = shown(rig, stream, 4)
    until(lambda: rig.state(stream)[0] == 3)
    return [ended, shown_end, rig.state(stream)]


@case
def schedule_whose_subject_got_a_message(rig):
    stream = rig.stream(allow_msg_schedules=True)
    schedule(rig, f"{stream}.later", "@every 1s", f"{stream}.now")
    rig.put(f"{stream}.later", "plain")
    schedule(rig, f"{stream}.other", "@every 2s", f"{stream}.then")
    until(lambda: last(rig, stream) >= 4)
    found = rig.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"})["state"]["subjects"]
    return found.get(f"{stream}.now", 0)
