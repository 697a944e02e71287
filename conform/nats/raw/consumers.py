"""Consumers: made, changed, listed, deleted; their defaults, and what is refused."""

import json

from rig import case, verdict
from wire import until


def create(rig, stream, name="", action="", tail="", **config):
    if name:
        config["durable_name"] = name
    subject = f"CONSUMER.CREATE.{stream}" + (f".{name}" if name else "") + (f".{tail}" if tail else "")
    return rig.api(subject, {"stream_name": stream, "config": config, **({"action": action} if action else {})})


def fixed(info):
    """Without the name of an ephemeral one."""
    if "error" in info:
        return verdict(info)
    return {field: value for field, value in info.items() if field != "name"}


@case
def consumer_updated_without_its_durable_name(rig):
    stream = rig.stream()
    rig.consumer(stream, max_deliver=10)
    config = {"name": "c", "ack_policy": "explicit", "max_deliver": 20}
    found = rig.api(f"CONSUMER.CREATE.{stream}.c", {"stream_name": stream, "config": config, "action": "update"})
    return [verdict(found), found.get("config", {}).get("max_deliver"), "inactive_threshold" in found.get("config", {})]


@case
def consumer_defaults(rig):
    stream = rig.stream()
    return create(rig, stream, "c", ack_policy="explicit")


@case
def consumer_defaults_of_each_kind(rig):
    stream = rig.stream()
    kinds = {"none": {"ack_policy": "none"}, "all": {"ack_policy": "all"}, "push": {"deliver_subject": "to.me"}, "push explicit": {"deliver_subject": "to.me", "ack_policy": "explicit"}, "nothing said": {}}
    return {kind: create(rig, stream, f"c{number}", **config).get("config") for number, (kind, config) in enumerate(kinds.items())}


@case
def consumer_ephemeral(rig):
    stream = rig.stream()
    info = create(rig, stream, ack_policy="explicit")
    return {"name": len(info["name"]), "config": {field: value for field, value in info["config"].items() if field != "name"}, "durable": info["config"].get("durable_name")}


@case
def consumer_named_ephemeral(rig):
    stream = rig.stream()
    answer = rig.api(f"CONSUMER.CREATE.{stream}.mine", {"stream_name": stream, "config": {"name": "mine", "ack_policy": "explicit", "inactive_threshold": 3_600_000_000_000}})
    return answer


@case
def consumer_with_everything(rig):
    stream = rig.stream()
    return create(
        rig, stream, "c", description="all of it", deliver_policy="by_start_sequence", opt_start_seq=7, ack_policy="explicit", ack_wait=5_000_000_000, max_deliver=4, backoff=[1_000_000_000, 2_000_000_000, 3_000_000_000],
        filter_subjects=[f"{stream}.a", f"{stream}.b"], replay_policy="original", sample_freq="50%", max_waiting=10, max_ack_pending=20, headers_only=True, max_batch=5, max_expires=30_000_000_000, max_bytes=1000, inactive_threshold=3_600_000_000_000, num_replicas=1, mem_storage=True, metadata={"a": "b"},
    )  # fmt: skip


@case
def consumer_the_old_way(rig):
    stream = rig.stream()
    durable = rig.api(f"CONSUMER.DURABLE.CREATE.{stream}.c", {"stream_name": stream, "config": {"durable_name": "c", "ack_policy": "explicit"}})
    wrong = rig.refused(f"CONSUMER.DURABLE.CREATE.{stream}.d", {"stream_name": stream, "config": {"durable_name": "other", "ack_policy": "explicit"}})
    without = rig.refused(f"CONSUMER.DURABLE.CREATE.{stream}.d", {"stream_name": stream, "config": {"ack_policy": "explicit"}})
    return {"durable": durable["name"], "wrong": wrong, "without": without}


@case
def consumer_filter_in_the_subject(rig):
    stream = rig.stream()
    ask = lambda name, tail, **config: fixed(create(rig, stream, name, tail=tail, ack_policy="explicit", **config))
    good = ask("c", f"{stream}.a", filter_subject=f"{stream}.a")
    return {"good": good["config"]["filter_subject"], "other": ask("d", f"{stream}.a", filter_subject=f"{stream}.b"), "none": ask("e", f"{stream}.a"), "many": ask("f", f"{stream}.a", filter_subjects=[f"{stream}.a"])}


@case
def consumer_again(rig):
    stream = rig.stream()
    first = create(rig, stream, "c", ack_policy="explicit", max_ack_pending=5)
    same = create(rig, stream, "c", ack_policy="explicit", max_ack_pending=5)
    return {"same": fixed(same) == fixed(first), "changed": create(rig, stream, "c", ack_policy="explicit", max_ack_pending=6)["config"]["max_ack_pending"], "other policy": verdict(create(rig, stream, "c", ack_policy="none"))}


@case
def consumer_actions(rig):
    stream = rig.stream()
    ask = lambda action, **config: verdict(create(rig, stream, "c", action, ack_policy="explicit", **config))
    return {"update none": ask("update"), "create": ask("create"), "create same": ask("create"), "create other": ask("create", max_ack_pending=7), "update": ask("update", max_ack_pending=8), "unknown": ask("replace")}


@case
def consumer_updates_that_are_refused(rig):
    stream = rig.stream()
    rig.consumer(stream, max_waiting=5)
    ask = lambda **config: verdict(create(rig, stream, "c", **{"ack_policy": "explicit", "max_waiting": 5, **config}))
    return {"ack policy": ask(ack_policy="all"), "deliver policy": ask(deliver_policy="new"), "start": ask(deliver_policy="by_start_sequence", opt_start_seq=3), "replay": ask(replay_policy="original"), "max waiting": ask(max_waiting=9), "to push": ask(deliver_subject="x"), "ack wait": ask(ack_wait=1_000_000_000), "filter": ask(filter_subject=f"{stream}.z"), "headers only": ask(headers_only=True), "max deliver": ask(max_deliver=3)}


@case
def consumer_configs_that_are_refused(rig):
    stream = rig.stream()
    second = 1_000_000_000
    cases = {
        "filter outside": {"filter_subject": "elsewhere"}, "filter empty": {"filter_subjects": ["", f"{stream}.a"]}, "both filters": {"filter_subject": f"{stream}.a", "filter_subjects": [f"{stream}.b"]}, "filters overlap": {"filter_subjects": [f"{stream}.a", f"{stream}.*"]}, "filter bad": {"filter_subject": "a..b"},
        "start without": {"deliver_policy": "by_start_sequence"}, "time without": {"deliver_policy": "by_start_time"}, "start with all": {"opt_start_seq": 5}, "time with all": {"opt_start_time": "2024-01-01T00:00:00Z"}, "last per subject without": {"deliver_policy": "last_per_subject"}, "last with start": {"deliver_policy": "last", "opt_start_seq": 3}, "new with start": {"deliver_policy": "new", "opt_start_seq": 3},
        "pull rate": {"rate_limit_bps": 1000}, "pull flow": {"flow_control": True}, "pull heartbeat": {"idle_heartbeat": second}, "push waiting": {"deliver_subject": "x", "max_waiting": 5}, "push wildcard": {"deliver_subject": "x.*"}, "push to itself": {"deliver_subject": f"{stream}.loop"}, "push group bad": {"deliver_subject": "x", "deliver_group": "a b"},
        "group without subject": {"deliver_group": "g"}, "flow without heartbeat": {"deliver_subject": "x", "flow_control": True}, "heartbeat short": {"deliver_subject": "x", "idle_heartbeat": 1000}, "backoff too long": {"backoff": [second, second, second], "max_deliver": 2}, "backoff without": {"backoff": [second, second]}, "backoff without acks": {"ack_policy": "none", "backoff": [second], "max_deliver": 5},
        "ack wait": {"ack_wait": -1}, "max pending without acks": {"ack_policy": "none", "max_ack_pending": 5}, "max pending": {"max_ack_pending": -5}, "sample": {"sample_freq": "often"}, "replicas": {"num_replicas": 3}, "metadata": {"metadata": {"k": "v" * 140_000}}, "description": {"description": "x" * 5000}, "name": {"durable_name": "a.b"}, "max batch": {"max_batch": -1}, "max expires": {"max_expires": 1}, "inactive": {"inactive_threshold": -1},
        "policy": {"ack_policy": "some"}, "deliver": {"deliver_policy": "random"}, "headers only push": {"deliver_subject": "x", "headers_only": True}, "max deliver": {"max_deliver": 0}, "backoff negative": {"backoff": [-1], "max_deliver": 3},
    }  # fmt: skip
    answers = {}
    for number, (what, config) in enumerate(cases.items()):
        name = config.get("durable_name", f"c{number}")
        answers[what] = verdict(rig.api(f"CONSUMER.CREATE.{stream}" + ("" if "." in name else f".{name}"), {"stream_name": stream, "config": {"durable_name": name, "ack_policy": "explicit", **config}}))
    return answers


@case
def consumer_requests_that_are_none(rig):
    stream = rig.stream()
    return {"rubbish": rig.refused(f"CONSUMER.CREATE.{stream}.c", "{"), "empty": rig.refused(f"CONSUMER.CREATE.{stream}.c"), "other stream": rig.refused(f"CONSUMER.CREATE.{stream}.c", {"stream_name": "other", "config": {"durable_name": "c"}}), "other name": rig.refused(f"CONSUMER.CREATE.{stream}.c", {"stream_name": stream, "config": {"durable_name": "d"}}), "names differ": rig.refused(f"CONSUMER.CREATE.{stream}.c", {"stream_name": stream, "config": {"durable_name": "c", "name": "d"}}), "no stream": rig.refused(f"CONSUMER.CREATE.{rig.name('-no')}.c", {"stream_name": rig.name("-no"), "config": {"durable_name": "c"}})}


@case
def consumer_limits_of_the_stream(rig):
    stream = rig.stream(max_consumers=1, consumer_limits={"max_ack_pending": 10, "inactive_threshold": 60_000_000_000})
    ask = lambda name, **config: create(rig, stream, name, ack_policy="explicit", **config)
    refused = [verdict(ask("c", max_ack_pending=11)), verdict(ask("c", inactive_threshold=120_000_000_000))]
    made = ask("c")["config"]
    return {"refused": refused, "defaults": [made["max_ack_pending"], made.get("inactive_threshold")], "second": verdict(ask("d"))}


@case
def consumer_limits_of_a_changed_stream(rig):
    """It may not allow its consumers less than one of them has."""
    stream = rig.stream()
    create(rig, stream, "c", ack_policy="explicit", max_ack_pending=10)
    update = lambda **limits: rig.refused(f"STREAM.UPDATE.{stream}", {"name": stream, "subjects": [f"{stream}.>"], "storage": "memory", "consumer_limits": limits})
    found = [update(max_ack_pending=9), update(max_ack_pending=10), update(inactive_threshold=1_000_000_000), update()]
    create(rig, stream, "d", inactive_threshold=60_000_000_000, ack_policy="explicit")
    return found + [update(inactive_threshold=59_000_000_000), update(max_ack_pending=999, inactive_threshold=61_000_000_000)]


@case
def consumer_info(rig):
    stream = rig.stream()
    for number in range(3):
        rig.put(f"{stream}.a", str(number))
    rig.consumer(stream)
    rig.ack(rig.next(stream))
    rig.next(stream)
    info = rig.consumer_info(stream)
    return {"place": rig.place(stream), "names": sorted(info), "type": info["type"], "stream": info["stream_name"], "active": ["last_active" in info["delivered"], "last_active" in info["ack_floor"]]}


@case
def consumer_names_and_list(rig):
    stream = rig.stream()
    for name in ("b", "a", "c"):
        rig.consumer(stream, name)
    names = rig.api(f"CONSUMER.NAMES.{stream}")
    listed = rig.api(f"CONSUMER.LIST.{stream}")
    names["consumers"].sort()
    return {"names": names, "list": [sorted(info["name"] for info in listed["consumers"]), {field: listed[field] for field in ("type", "total", "offset", "limit")}], "beyond": rig.api(f"CONSUMER.NAMES.{stream}", {"offset": 3}), "empty": rig.api(f"CONSUMER.NAMES.{rig.stream('-empty')}")}


@case
def consumer_unknown(rig):
    stream = rig.stream()
    no = rig.name("-no")
    return {"info": rig.refused(f"CONSUMER.INFO.{stream}.x"), "delete": rig.refused(f"CONSUMER.DELETE.{stream}.x"), "info stream": rig.refused(f"CONSUMER.INFO.{no}.x"), "names": rig.refused(f"CONSUMER.NAMES.{no}"), "list": rig.refused(f"CONSUMER.LIST.{no}"), "pause": rig.refused(f"CONSUMER.PAUSE.{stream}.x", {}), "next": rig.request(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.x").status, "next stream": rig.request(f"$JS.API.CONSUMER.MSG.NEXT.{no}.x").status}


@case
def consumer_delete(rig):
    stream = rig.stream()
    rig.consumer(stream)
    return [rig.api(f"CONSUMER.DELETE.{stream}.c"), rig.info(stream)["state"]["consumer_count"], rig.refused(f"CONSUMER.INFO.{stream}.c")]


@case
def consumer_of_nobody_goes(rig):
    stream = rig.stream()
    create(rig, stream, ack_policy="explicit", inactive_threshold=100_000_000)
    rig.consumer(stream, "durable")
    until(lambda: rig.info(stream)["state"]["consumer_count"] == 1)
    return rig.api(f"CONSUMER.NAMES.{stream}")["consumers"]


@case
def consumer_pause(rig):
    stream = rig.stream()
    rig.put(f"{stream}.a", "x")
    rig.consumer(stream)
    paused = rig.api(f"CONSUMER.PAUSE.{stream}.c", {"pause_until": "2099-01-01T00:00:00Z"})
    info = rig.consumer_info(stream)
    nothing = rig.pull(stream, batch=1, expires=200_000_000).message().status
    resumed = rig.api(f"CONSUMER.PAUSE.{stream}.c", {})
    return {"paused": [paused["type"], paused["paused"], paused["pause_until"], paused["pause_remaining"] > 0], "info": [info["paused"], "pause_remaining" in info, info["config"]["pause_until"]], "nothing": nothing, "resumed": {field: resumed.get(field) for field in ("paused", "pause_until")}, "then": rig.next(stream).body, "past": rig.api(f"CONSUMER.PAUSE.{stream}.c", {"pause_until": "2001-01-01T00:00:00Z"})["paused"]}


@case
def consumer_pause_needs_a_level(rig):
    stream = rig.stream()
    rig.consumer(stream)
    level = lambda: rig.consumer_info(stream)["config"]["metadata"]["_nats.req.level"]
    levels = [level()]
    for until in ({"pause_until": "2099-01-01T00:00:00Z"}, {}, {"pause_until": "2001-01-01T00:00:00Z"}):
        rig.api(f"CONSUMER.PAUSE.{stream}.c", until)
        levels.append(level())
    return levels


@case
def consumer_is_unfit_for_pulls(rig):
    stream = rig.stream()
    create(rig, stream, "push", deliver_subject=rig.name(".to"))
    return rig.pull(stream, "push", batch=1).message().status


@case
def advisories_of_definitions(rig):
    wire = rig.wire()
    wire.listen("$JS.EVENT.ADVISORY.>")
    stream = rig.stream()
    rig.consumer(stream)
    rig.api(f"STREAM.UPDATE.{stream}", {"name": stream, "subjects": [f"{stream}.>"], "storage": "memory", "max_msgs": 5})
    rig.api(f"CONSUMER.DELETE.{stream}.c")
    rig.api(f"STREAM.DELETE.{stream}")
    wanted = [f"$JS.EVENT.ADVISORY.{kind}.{stream}{rest}" for kind, rest in (("STREAM.CREATED", ""), ("CONSUMER.CREATED", ".c"), ("STREAM.UPDATED", ""), ("CONSUMER.DELETED", ".c"), ("STREAM.DELETED", ""))]
    found = {}
    while set(wanted) - set(found):
        message = wire.message()
        found[message.subject] = json.loads(message.body)
    return {subject: {field: value for field, value in rig.plain(found[subject]).items() if field != "timestamp"} for subject in wanted}


@case
def api_is_audited(rig):
    wire, stream = rig.wire(), rig.name()
    wire.listen("$JS.EVENT.ADVISORY.API")
    rig.stream()
    rig.info(stream)
    rig.api(f"STREAM.INFO.{stream}x")
    rig.api("STREAM.NAMES", {"subject": f"{stream}.a"})
    rig.api(f"STREAM.CREATE.{stream}", "{")
    rig.put(f"{stream}.a", "body")
    rig.consumer(stream)
    rig.next(stream)
    rig.api(f"STREAM.MSG.GET.{stream}", {"seq": 1})
    rig.api(f"STREAM.MSG.GET.{stream}", {"seq": 9})
    rig.request(f"$JS.API.DIRECT.GET.{stream}", '{"seq":1}')
    rig.api(f"CONSUMER.RESET.{stream}.c")
    rig.api(f"CONSUMER.INFO.{stream}.c")
    rig.api(f"CONSUMER.DELETE.{stream}.c")
    rig.api(f"STREAM.PURGE.{stream}")
    found = [json.loads(message.body) for message in wire.messages(10)]
    told = [[audit["subject"].removeprefix("$JS.API."), audit.get("request"), json.loads(audit["response"])["type"].removeprefix("io.nats.jetstream.api.v1."), verdict(json.loads(audit["response"]))[:2]] for audit in found]
    return {"told": told, "names": sorted(found[0]), "type": found[0]["type"], "who": [found[0]["client"][name] for name in ("host", "acc", "kind", "client_type")], "one server": found[0]["server"] == found[0]["client"]["server"]}
