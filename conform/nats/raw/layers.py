"""What client libraries build of streams: key-value buckets, by the requests they send."""

import json

from rig import case, verdict

MINUTE = 60_000_000_000


def bucket(rig, **more):
    """As ADR-8 says."""
    name = f"KV_{rig.stem}"
    return rig.stream(
        name=name, subjects=[f"$KV.{rig.stem}.>"], max_msgs_per_subject=more.pop("history", 1), discard="new", deny_delete=True, allow_rollup_hdrs=True, allow_direct=True, num_replicas=1, max_consumers=-1, duplicate_window=2 * MINUTE, **more,
    )  # fmt: skip


def put(rig, key, value="", **headers):
    return rig.put(f"$KV.{rig.stem}.{key}", value, **headers)


def last(rig, key):
    answer = rig.request(f"$JS.API.DIRECT.GET.KV_{rig.stem}.$KV.{rig.stem}.{key}")
    return [answer.status, answer.headers.get("KV-Operation", "").strip(), answer.body]


@case
def kv_put_get_delete(rig):
    bucket(rig)
    return {"put": put(rig, "a", "1"), "get": last(rig, "a"), "overwritten": [put(rig, "a", "2"), last(rig, "a")], "deleted": [put(rig, "a", "", KV_Operation="DEL"), last(rig, "a")], "unknown": last(rig, "z")}


@case
def kv_create_and_update(rig):
    bucket(rig, history=5)
    create = lambda key: put(rig, key, "new", Nats_Expected_Last_Subject_Sequence="0")
    update = lambda revision: put(rig, "a", "upd", Nats_Expected_Last_Subject_Sequence=revision)
    return {"create": create("a"), "again": verdict(create("a")), "update": update("1"), "stale": verdict(update("1")), "after delete": [put(rig, "a", "", KV_Operation="DEL"), verdict(create("a")), update("3")]}


@case
def kv_purge(rig):
    name = bucket(rig, history=5)
    for value in "123":
        put(rig, "a", value)
    purged = put(rig, "a", "", KV_Operation="PURGE", Nats_Rollup="sub")
    return [purged, rig.state(name), last(rig, "a")]


@case
def kv_keys_and_history(rig):
    name = bucket(rig, history=3)
    for key in ("a", "b", "a", "a", "a"):
        put(rig, key, key)
    wire = rig.wire()
    wire.listen("_INBOX.kv")
    rig.api(f"CONSUMER.CREATE.{name}", {"stream_name": name, "config": {"deliver_subject": "_INBOX.kv", "deliver_policy": "last_per_subject", "filter_subject": f"$KV.{rig.stem}.>", "ack_policy": "none", "max_deliver": 1, "mem_storage": True, "headers_only": True}})
    keys = wire.messages(2)
    return {"keys": sorted(message.subject.rsplit(".", 1)[1] for message in keys), "left": [message.reply.split(".")[-1] for message in keys], "history": rig.api(f"STREAM.INFO.{name}", {"subjects_filter": ">"})["state"]["subjects"]}


@case
def kv_delete_of_a_message_is_denied(rig):
    name = bucket(rig)
    put(rig, "a", "1")
    return rig.refused(f"STREAM.MSG.DELETE.{name}", {"seq": 1})


@case
def kv_with_a_ttl_per_key(rig):
    name = bucket(rig, allow_msg_ttl=True, subject_delete_marker_ttl=MINUTE)
    wire = rig.wire()
    wire.listen("_INBOX.kv")
    rig.api(f"CONSUMER.CREATE.{name}", {"stream_name": name, "config": {"deliver_subject": "_INBOX.kv", "ack_policy": "none", "deliver_policy": "new"}})
    put(rig, "a", "soon gone", Nats_TTL="1s")
    found = wire.messages(2)
    return [[message.headers.get("Nats-Marker-Reason", "").strip(), message.headers.get("Nats-TTL", "").strip(), message.body] for message in found]


@case
def object_layout(rig):
    """Chunks, then a description that replaces the one before (ADR-20)."""
    name = rig.stream(name=f"OBJ_{rig.stem}", subjects=[f"$O.{rig.stem}.C.>", f"$O.{rig.stem}.M.>"], discard="new", allow_rollup_hdrs=True, allow_direct=True)
    for part in range(3):
        rig.put(f"$O.{rig.stem}.C.one", "x" * 1000)
    meta = lambda text: rig.put(f"$O.{rig.stem}.M.bmFtZQ==", json.dumps({"name": text}), Nats_Rollup="sub")
    acks = [meta("first"), meta("second")]
    purged = rig.api(f"STREAM.PURGE.{name}", {"filter": f"$O.{rig.stem}.C.one"})
    return [acks, purged["purged"], rig.state(name)]
