"""Streams: made, changed, listed, emptied, deleted; their defaults, and what is refused."""

import json

from rig import case, verdict

DAY = 86_400_000_000_000


def create(rig, suffix="", **config):
    name = config.pop("name", rig.name(suffix))
    rig.streams.append(name)
    return rig.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"], "storage": "memory", **config})


@case
def requests_are_heard_by_who_listens_to_them(rig):
    stream, wire = rig.stream(), rig.wire()
    wire.subscribe(f"$JS.API.*.INFO.{stream}.>")
    wire.listen(f"$JS.API.STREAM.INFO.{stream}")
    rig.consumer(stream)
    rig.api(f"STREAM.INFO.{stream}", {"deleted_details": True})
    rig.api(f"CONSUMER.INFO.{stream}.c")
    return [[message.subject, message.body] for message in wire.messages(2)]


@case
def requests_are_counted_once_they_are_answered(rig):
    wire = rig.wire(rig.server('jetstream { store_dir: "STORE" }').address)
    wire.subscribe("_INBOX.x", "1")
    for subject in ("INFO", "STREAM.INFO.S", "INFO"):
        wire.publish("$JS.API." + subject, "", "_INBOX.x")
    first, _, last = wire.messages(3)
    return [json.loads(message.body)["api"] for message in (first, last)]


@case
def account_info(rig):
    found = rig.api("INFO")
    return {"type": found["type"], "limits": found["limits"], "level": found["api"]["level"], "names": sorted(found)}


@case
def account_info_counts(rig):
    before = rig.api("INFO")
    stream = rig.stream()
    rig.consumer(stream)
    rig.put(f"{stream}.a", "x" * 100)
    after = rig.api("INFO")
    return {"streams": after["streams"] - before["streams"], "consumers": after["consumers"] - before["consumers"], "memory": after["memory"] > before["memory"]}


@case
def stream_defaults(rig):
    return create(rig, storage="file")


@case
def stream_of_one_subject_by_default(rig):
    rig.streams.append(rig.name())
    return rig.api(f"STREAM.CREATE.{rig.name()}", {"name": rig.name()})["config"]["subjects"]


@case
def stream_with_everything(rig):
    everything = {
        "description": "all of it", "retention": "limits", "max_consumers": 7, "max_msgs": 1000, "max_bytes": 100_000, "max_age": DAY, "max_msgs_per_subject": 10, "max_msg_size": 500,
        "discard": "new", "discard_new_per_subject": True, "storage": "memory", "num_replicas": 1, "duplicate_window": 5_000_000_000, "allow_direct": True, "deny_delete": True, "deny_purge": True,
        "allow_rollup_hdrs": False, "first_seq": 100, "no_ack": False, "metadata": {"owner": "me"}, "consumer_limits": {"inactive_threshold": 60_000_000_000, "max_ack_pending": 20}, "allow_msg_ttl": True, "subject_delete_marker_ttl": 2_000_000_000,
    }  # fmt: skip
    everything["allow_rollup_hdrs"], everything["deny_purge"] = True, False
    return create(rig, **everything)


@case
def stream_again(rig):
    first = create(rig, max_msgs=5)
    return {"first": first.get("did_create"), "same": create(rig, max_msgs=5).get("did_create"), "other": verdict(create(rig, max_msgs=6))}


@case
def stream_names_that_are_none(rig):
    def said(name):
        return rig.refused(f"STREAM.CREATE.{name}", {"name": name, "subjects": [rig.name(".x")]})

    return {"star": said("a*"), "long": said("x" * 256), "slash": said("a/b"), "none": rig.refused("STREAM.CREATE.x", {"subjects": ["x"]}), "other": rig.refused("STREAM.CREATE.x", {"name": "y"})}


@case
def stream_requests_that_are_none(rig):
    return {"rubbish": rig.refused("STREAM.CREATE.x", "{"), "empty": rig.refused("STREAM.CREATE.x", ""), "list": rig.refused("STREAM.CREATE.x", "[]"), "enum": rig.refused("STREAM.CREATE.x", {"name": "x", "retention": "forever"}), "type": rig.refused("STREAM.CREATE.x", {"name": "x", "max_msgs": "many"})}


@case
def stream_configs_that_are_refused(rig):
    cases = {
        "subject": {"subjects": ["a..b"]}, "subject twice": {"subjects": [rig.name(".a"), rig.name(".a")]}, "overlap inside": {"subjects": [rig.name(".a"), rig.name(".*")]}, "api": {"subjects": ["$JS.API.>"]}, "everything": {"subjects": [">"]}, "system": {"subjects": ["$SYS.>"]}, "events": {"subjects": ["$JS.EVENT.>"], "max_msgs": 1}, "replicas": {"num_replicas": 3}, "replicas 2": {"num_replicas": 2}, "too many replicas": {"num_replicas": 6}, "negative replicas": {"num_replicas": -1},
        "age": {"max_age": 1}, "negative age": {"max_age": -1}, "window": {"duplicate_window": 1}, "window over age": {"max_age": 1_000_000_000, "duplicate_window": 2_000_000_000}, "negative window": {"duplicate_window": -1},
        "per subject": {"discard": "old", "discard_new_per_subject": True}, "per subject without": {"discard": "new", "discard_new_per_subject": True}, "sealed": {"sealed": True}, "rollup": {"allow_rollup_hdrs": True, "deny_purge": True},
        "ttl": {"subject_delete_marker_ttl": 1_000_000_000, "allow_msg_ttl": False}, "marker short": {"subject_delete_marker_ttl": 1000, "allow_msg_ttl": True}, "size": {"max_msg_size": -5}, "mirror subjects": {"mirror": {"name": "other"}},
        "description": {"description": "x" * 5000}, "metadata": {"metadata": {"k": "v" * 140_000}}, "metadata name": {"metadata": {"_nats.mine": "x"}}, "mirror direct": {"mirror_direct": True}, "first with msgs": {"first_seq": 0}, "max consumers": {"max_consumers": -5},
    }  # fmt: skip
    answers = {}
    for what, config in cases.items():
        name = rig.name(f"-{what.replace(' ', '_')}")
        answer = rig.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"], "storage": "memory", **config})
        answers[what] = verdict(answer)
        if "error" not in answer:
            rig.api(f"STREAM.DELETE.{name}")
    return answers


@case
def stream_limits_that_mean_none(rig):
    found = create(rig, max_msgs=0, max_bytes=0, max_msg_size=0, max_msgs_per_subject=0, max_consumers=0)["config"]
    return {name: found.get(name) for name in ("max_msgs", "max_bytes", "max_msg_size", "max_msgs_per_subject", "max_consumers")}


@case
def stream_subjects_overlap(rig):
    create(rig, ".one".replace(".", "-"), subjects=[rig.name(".a.*")])
    return {"same": verdict(create(rig, "-two", subjects=[rig.name(".a.*")])), "wider": verdict(create(rig, "-two", subjects=[rig.name(".>")])), "narrower": verdict(create(rig, "-two", subjects=[rig.name(".a.b")])), "beside": verdict(create(rig, "-two", subjects=[rig.name(".b.*")]))}


@case
def stream_window_follows_age(rig):
    return create(rig, max_age=10_000_000_000)["config"]["duplicate_window"]


@case
def stream_update(rig):
    name = rig.stream(max_msgs=10)
    base = {"name": name, "subjects": [f"{name}.>"], "storage": "memory"}
    update = lambda **config: rig.api(f"STREAM.UPDATE.{name}", {**base, **config})
    grown = update(max_msgs=20, description="new")
    refused = {what: verdict(update(**config)) for what, config in {
        "storage": {"storage": "file"}, "retention": {"retention": "workqueue"}, "interest": {"retention": "interest"}, "max consumers": {"max_consumers": 3}, "no deny": {"deny_delete": False}, "sealed": {"sealed": True}, "after sealed": {"sealed": False}, "after": {"max_msgs": 5},
    }.items()}  # fmt: skip
    return {"grown": grown["config"], "refused": refused, "unknown": rig.refused(f"STREAM.UPDATE.{rig.name('-no')}", {"name": rig.name("-no")}), "mismatch": rig.refused(f"STREAM.UPDATE.{name}", {"name": "other"})}


@case
def stream_update_cannot_take_back(rig):
    name = rig.stream(deny_delete=True, deny_purge=True, allow_msg_ttl=True)
    base = {"name": name, "subjects": [f"{name}.>"], "storage": "memory", "deny_delete": True, "deny_purge": True, "allow_msg_ttl": True}
    return {field: rig.refused(f"STREAM.UPDATE.{name}", {**base, field: False}) for field in ("deny_delete", "deny_purge", "allow_msg_ttl")}


@case
def stream_update_trims(rig):
    name = rig.stream()
    for number in range(10):
        rig.put(f"{name}.a", str(number))
    rig.api(f"STREAM.UPDATE.{name}", {"name": name, "subjects": [f"{name}.>"], "storage": "memory", "max_msgs": 3})
    return rig.state(name)


@case
def stream_info(rig):
    name = rig.stream(storage="file")
    for subject in ("a", "b", "a"):
        rig.put(f"{name}.{subject}", "0123456789", A="1")
    rig.consumer(name)
    found = rig.info(name)
    found["state"]["bytes"] = found["state"]["bytes"] > 3 * len("0123456789")  # how much more is each server's own affair
    return {"state": found["state"], "type": found["type"], "names": sorted(found)}


@case
def stream_info_empty(rig):
    return rig.info(rig.stream())["state"]


@case
def stream_info_asked_for_more(rig):
    name = rig.stream()
    for number in range(6):
        rig.put(f"{name}.{number % 2}.x", str(number))
    for seq in (2, 3, 5):
        rig.api(f"STREAM.MSG.DELETE.{name}", {"seq": seq})
    ask = lambda **more: rig.api(f"STREAM.INFO.{name}", more)
    state = lambda **more: {field: ask(**more)["state"].get(field) for field in ("num_subjects", "subjects", "num_deleted", "deleted")}
    return {"nothing": state(), "deleted": state(deleted_details=True), "all": state(subjects_filter=">"), "some": state(subjects_filter=f"{name}.0.>"), "none": state(subjects_filter="other"), "page": {field: ask(subjects_filter=">", offset=1).get(field) for field in ("total", "offset", "limit")}}


@case
def stream_unknown(rig):
    return {verb: rig.refused(f"STREAM.{verb}.{rig.name('-no')}", body) for verb, body in {"INFO": "", "DELETE": "", "PURGE": "", "MSG.GET": {"seq": 1}, "MSG.DELETE": {"seq": 1}}.items()}


@case
def stream_names(rig):
    for suffix in ("-a", "-b"):
        create(rig, suffix)
    rig.put(rig.name("-a.x"))
    by = lambda subject, **more: rig.api("STREAM.NAMES", {"subject": subject, **more})
    return {"one": by(rig.name("-a.x")), "other": by(rig.name("-b.>")), "none": by(rig.name("-z")), "beyond": by(rig.name("-a.x"), offset=7), "limit": rig.api("STREAM.NAMES")["limit"], "listed": {rig.name("-a"), rig.name("-b")} <= set(rig.api("STREAM.NAMES")["streams"])}


@case
def stream_list(rig):
    create(rig, "-a")
    found = rig.api("STREAM.LIST", {"subject": rig.name("-a.x")})
    return {"names": sorted(found), "total": found["total"], "limit": found["limit"], "streams": [[stream["config"]["name"], sorted(stream)] for stream in found["streams"]], "all": rig.api("STREAM.LIST")["total"] > 0}


@case
def stream_delete(rig):
    name = rig.stream()
    rig.put(f"{name}.a")
    first = rig.api(f"STREAM.DELETE.{name}")
    create(rig)
    return {"first": first, "anew": rig.state(name), "again": rig.api(f"STREAM.DELETE.{name}"), "gone": rig.refused(f"STREAM.DELETE.{name}")}


@case
def stream_purge(rig):
    name = rig.stream()

    def filled():
        rig.api(f"STREAM.DELETE.{name}")
        create(rig)
        for number in range(10):
            rig.put(f"{name}.{'ab'[number % 2]}", str(number))

    found = {}
    for what, request in {"all": "", "empty": {}, "filter": {"filter": f"{name}.a"}, "wildcard": {"filter": f"{name}.*"}, "keep": {"keep": 3}, "seq": {"seq": 5}, "filter keep": {"filter": f"{name}.a", "keep": 2}, "filter seq": {"filter": f"{name}.b", "seq": 7}, "keep more": {"keep": 50}, "seq beyond": {"seq": 500}, "other": {"filter": "other"}, "both": {"seq": 5, "keep": 2}, "bad": "{"}.items():
        filled()
        found[what] = [rig.api(f"STREAM.PURGE.{name}", request), rig.state(name)]
    return found


@case
def stream_purge_then_go_on(rig):
    name = rig.stream()
    for _ in range(3):
        rig.put(f"{name}.a")
    rig.api(f"STREAM.PURGE.{name}")
    return [rig.state(name), rig.put(f"{name}.a"), rig.state(name)]


@case
def stream_denials(rig):
    name = rig.stream(deny_delete=True, deny_purge=True)
    rig.put(f"{name}.a")
    return {"delete": rig.refused(f"STREAM.MSG.DELETE.{name}", {"seq": 1}), "purge": rig.refused(f"STREAM.PURGE.{name}")}


@case
def stream_sealed(rig):
    name = rig.stream()
    rig.put(f"{name}.a")
    rig.api(f"STREAM.UPDATE.{name}", {"name": name, "subjects": [f"{name}.>"], "storage": "memory", "sealed": True})
    config = rig.info(name)["config"]
    return {"put": rig.put(f"{name}.a"), "delete": rig.refused(f"STREAM.MSG.DELETE.{name}", {"seq": 1}), "purge": rig.refused(f"STREAM.PURGE.{name}"), "config": {field: config[field] for field in ("sealed", "discard", "deny_delete", "deny_purge", "max_age")}}


@case
def message_get(rig):
    name = rig.stream()
    rig.put(f"{name}.a", "plain")
    rig.put(f"{name}.b", "headed", A="1")
    rig.put(f"{name}.a", "later")
    get = lambda **asked: rig.api(f"STREAM.MSG.GET.{name}", asked)
    answers = {"seq": get(seq=1), "headers": get(seq=2), "last": get(last_by_subj=f"{name}.a"), "last wildcard": get(last_by_subj=f"{name}.*"), "next": get(next_by_subj=f"{name}.a", seq=2), "next wildcard": get(next_by_subj=f"{name}.>", seq=1), "next without": get(next_by_subj=f"{name}.a")}
    refused = {"beyond": get(seq=9), "zero": get(seq=0), "nothing": get(), "both": get(seq=1, last_by_subj=f"{name}.a"), "unknown": get(last_by_subj=f"{name}.z"), "next none": get(next_by_subj=f"{name}.b", seq=3), "bad": rig.api(f"STREAM.MSG.GET.{name}", "{")}
    return {**answers, **{what: verdict(answer) for what, answer in refused.items()}}


@case
def message_get_keeps_time(rig):
    name = rig.stream()
    rig.put(f"{name}.a")
    stamp = rig.api(f"STREAM.MSG.GET.{name}", {"seq": 1})["message"]["time"]
    state = rig.info(name)["state"]
    return {"zulu": stamp.endswith("Z"), "fraction": "." in stamp, "first": state["first_ts"] == stamp, "last": state["last_ts"] == stamp}


@case
def message_delete(rig):
    name = rig.stream()
    for number in range(4):
        rig.put(f"{name}.a", str(number))
    drop = lambda **asked: rig.api(f"STREAM.MSG.DELETE.{name}", asked)
    return {"middle": [drop(seq=2), rig.state(name)], "erase": [drop(seq=3, no_erase=True), rig.state(name)], "first": [drop(seq=1), rig.state(name)], "again": verdict(drop(seq=1)), "beyond": verdict(drop(seq=99)), "zero": verdict(drop(seq=0)), "get": rig.refused(f"STREAM.MSG.GET.{name}", {"seq": 2}), "last": [drop(seq=4), rig.state(name)]}


DIRECT = ("Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Last-Sequence", "Nats-Num-Pending")


def direct(rig, subject, payload=""):
    answer = rig.request("$JS.API.DIRECT.GET." + subject, payload)
    return [answer.status, {name: value.strip() for name, value in answer.headers.items() if name in DIRECT or not name.startswith("Nats-")}, answer.body]


@case
def direct_get(rig):
    name = rig.stream(allow_direct=True)
    rig.put(f"{name}.a", "plain")
    rig.put(f"{name}.b", "headed", A="1")
    rig.put(f"{name}.a", "later")
    ask = lambda **asked: direct(rig, name, asked)
    return {"seq": ask(seq=1), "headers": ask(seq=2), "last": ask(last_by_subj=f"{name}.a"), "next": ask(next_by_subj=f"{name}.a", seq=2), "by subject": direct(rig, f"{name}.{name}.b"), "beyond": ask(seq=9), "unknown": ask(last_by_subj=f"{name}.z"), "subject unknown": direct(rig, f"{name}.{name}.z"), "empty": direct(rig, name), "rubbish": direct(rig, name, "{"), "nothing": ask(), "both": ask(seq=1, last_by_subj="x")}


@case
def direct_get_names(rig):
    name = rig.stream(allow_direct=True)
    rig.put(f"{name}.a", "x")
    return list(rig.request(f"$JS.API.DIRECT.GET.{name}", {"seq": 1}).headers)


@case
def direct_get_not_allowed(rig):
    name = rig.stream()
    rig.put(f"{name}.a", "plain")
    return rig.request(f"$JS.API.DIRECT.GET.{name}", {"seq": 1}).status


@case
def direct_get_batch(rig):
    name = rig.stream(allow_direct=True)
    for number in range(6):
        rig.put(f"{name}.{'ab'[number % 2]}", str(number))

    def batch(**asked):
        wire, inbox = rig.asking, f"_INBOX.{rig.stem}.batch"
        wire.publish(f"$JS.API.DIRECT.GET.{name}", json.dumps(asked), inbox)
        found = []
        while not (message := wire.message()).status:
            found.append([message.headers["Nats-Sequence"].strip(), message.body, message.headers.get("Nats-Num-Pending", "").strip()])
        return [found, message.status, {field: value.strip() for field, value in message.headers.items()}]

    return {"three": batch(seq=1, batch=3), "filter": batch(next_by_subj=f"{name}.a", seq=1, batch=10), "multi": batch(multi_last=[f"{name}.a", f"{name}.b"]), "none": batch(next_by_subj=f"{name}.z", seq=1, batch=10)}


@case
def stream_survives_a_restart(rig):
    name = rig.stream(storage="file", max_msgs=5, metadata={"a": "b"})
    for number in range(7):
        rig.put(f"{name}.a", str(number), **{"Nats-Msg-Id": f"m{number}"})
    rig.consumer(name)
    rig.ack(rig.next(name))
    before = [rig.info(name)["config"], rig.state(name), rig.place(name)]
    if not rig.restart():
        return None
    rig._asking = None
    after = [rig.info(name)["config"], rig.state(name), rig.place(name)]
    return {"same": before == after, "state": after[1], "place": after[2], "duplicate": rig.put(f"{name}.a", "", **{"Nats-Msg-Id": "m6"}), "next": rig.next(name).body}


@case
def unknown_api(rig):
    return {subject: rig.silent("$JS.API." + subject) for subject in ("NOTHING", "STREAM.NOTHING.x", "CONSUMER.NOTHING.x.y", "STREAM.CREATE.a.b")}


@case
def api_with_a_level(rig):
    answer = lambda level: rig.plain(json.loads(rig.request("$JS.API.INFO", "", {"Nats-Required-Api-Level": level}).body).get("error"))
    return {"low": answer("0"), "now": answer("5"), "high": answer("99"), "none": answer("x")}


@case
def clusters_are_refused(rig):
    name = rig.stream()
    rig.consumer(name)
    subjects = (f"STREAM.LEADER.STEPDOWN.{name}", f"STREAM.PEER.REMOVE.{name}", f"CONSUMER.LEADER.STEPDOWN.{name}.c")
    return {rig.plain(subject): rig.refused(subject) for subject in subjects}


@case
def requests_in_the_forms_that_go_reads(rig):
    stream = rig.stream(allow_direct=True)
    rig.put(f"{stream}.a", "one")
    rig.api(f"CONSUMER.CREATE.{stream}.C", {"stream_name": stream, "config": {"name": "C", "durable_name": "C", "ack_policy": "explicit"}})

    def numbers(subject, payload):
        answer = rig.request("$JS.API." + subject, payload)
        said = json.loads(answer.body) if answer.body and not answer.status and answer.body.startswith("{") else {}
        return [said["error"]["code"], said["error"]["err_code"]] if "error" in said else answer.status or "ok"

    def config(**more):
        return json.dumps({"name": rig.name("x"), "subjects": [rig.name("x")], "storage": "memory", **more})

    def consumer(of="x", action="", **more):
        return json.dumps({"stream_name": stream, "config": {"name": of, "ack_policy": "explicit", **more}, "action": action})

    def made(payload):
        found = numbers(f"STREAM.CREATE.{rig.name('x')}", payload)
        rig.api(f"STREAM.DELETE.{rig.name('x')}")
        return found

    def bound(payload):
        found = numbers(f"CONSUMER.CREATE.{stream}.x", payload)
        rig.api(f"CONSUMER.DELETE.{stream}.x")
        return found

    nothing = ("STREAM.CREATE.x", f"STREAM.UPDATE.{stream}", f"CONSUMER.CREATE.{stream}", f"STREAM.MSG.GET.{stream}", f"STREAM.MSG.DELETE.{stream}", f"DIRECT.GET.{stream}", f"CONSUMER.UNPIN.{stream}.C", f"CONSUMER.INFO.{stream}.C", f"CONSUMER.DELETE.{stream}.none", "STREAM.DELETE.none", f"STREAM.INFO.{stream}", f"STREAM.PURGE.{stream}")
    return {
        "null": [numbers(subject, "null") for subject in nothing],
        "blank": [numbers(subject, " ") for subject in nothing],
        "null for a choice": [made(config(**{field: None})) for field in ("retention", "discard", "storage", "compression", "persist_mode")],
        "null for nothing": [made(config(**{field: None})) for field in ("max_msgs", "subject_transform", "metadata", "sources", "consumer_limits", "no_ack", "placement", "description")],
        "a list for an object": [made(config(**{field: ["a.>", "a.b"]})) for field in ("placement", "subject_transform", "republish", "consumer_limits", "metadata")],
        "null in a list": [made(config(subjects=[None])), bound(consumer(backoff=[None])), bound(consumer(filter_subjects=[None]))],
        "null in a map": [made(config(metadata={"a": None})), bound(consumer(metadata={"a": None}))],
        "unknown and null": [made(config(more=None)), bound(consumer(more=None)), numbers(f"STREAM.INFO.{stream}", '{"more": null}'), numbers("STREAM.NAMES", '{"more": null}')],
        "null for a consumer's choice": [bound(consumer(**{field: None})) for field in ("deliver_policy", "ack_policy", "replay_policy", "priority_policy")] + [bound(consumer(action=None))],
        "a consumer of a list": [numbers(f"CONSUMER.CREATE.{stream}", json.dumps({"stream_name": stream, "config": of})) for of in ([], ["a"], ["a", "a"])],
        "empty": made(config(persist_mode="")),
        "unknown": [numbers(f"DIRECT.GET.{stream}", '{"seq": 1, "more": [1]}'), numbers(f"STREAM.MSG.GET.{stream}", '{"seq": 1, "more": 1}'), numbers(f"CONSUMER.RESET.{stream}.C", '{"more": 1}'), numbers(f"CONSUMER.UNPIN.{stream}.C", '{"group": "a", "more": 1}'), numbers(f"CONSUMER.NAMES.{stream}", '{"subject": "a"}'), numbers(f"CONSUMER.LIST.{stream}", '{"subject": "a"}')],
        "pins": [numbers(f"CONSUMER.UNPIN.{stream}.C", payload) for payload in ("", "{}", "[]", '{"group": "a"}', '{"group": "a b"}', '{"group": 1}', '{"group": "12345678901234567"}')],
        "no patterns": numbers(f"DIRECT.GET.{stream}", '{"multi_last": [""]}'),
        "in the past": rig.request(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.C", '{"expires": -1}').status,
    }
