"""Key-value buckets and object stores."""

import asyncio

import nats.js.api as api
from nats.js.errors import BucketNotFoundError, KeyDeletedError, KeyNotFoundError, NoKeysError
from rig import PATIENCE, case, code, until


async def bucket(rig, **config):
    name = rig.name().replace("-", "_")
    rig.streams.append(f"KV_{name}")
    return await rig.js.create_key_value(bucket=name, storage=api.StorageType.MEMORY, **config)


async def value(kv, key):
    try:
        entry = await kv.get(key)
        return [entry.value.decode(), entry.revision]
    except KeyDeletedError:
        return "deleted"
    except KeyNotFoundError:
        return "unknown"


@case
async def kv_values(rig):
    kv = await bucket(rig)
    revisions = [await kv.put("a", b"1"), await kv.put("b", b"2"), await kv.put("a", b"3")]
    return [revisions, await value(kv, "a"), await value(kv, "b"), await value(kv, "z")]


@case
async def kv_conditions(rig):
    kv = await bucket(rig, history=5)
    first = await kv.create("a", b"1")
    again = await code(kv.create("a", b"2"))
    updated = await kv.update("a", b"3", last=first)
    stale = await code(kv.update("a", b"4", last=first))
    await kv.delete("a")
    return [first, again, updated, stale, await kv.create("a", b"5"), await value(kv, "a")]


@case
async def kv_deleted_and_purged(rig):
    kv = await bucket(rig, history=5)
    for body in (b"1", b"2"):
        await kv.put("a", body)
        await kv.put("b", body)
    await kv.delete("a")
    await kv.purge("b")
    status = await kv.status()
    # Libraries differ in whether a deleted key is "deleted" or "unknown".
    return [[await value(kv, key) in ("deleted", "unknown") for key in ("a", "b")], status.values]


@case
async def kv_history(rig):
    kv = await bucket(rig, history=3)
    for body in (b"1", b"2", b"3", b"4"):
        await kv.put("a", body)
    return [[entry.value.decode(), entry.revision] for entry in await kv.history("a")]


@case
async def kv_keys(rig):
    kv = await bucket(rig)
    try:
        none = await kv.keys()
    except NoKeysError:
        none = []
    for key in ("b", "a", "c.d"):
        await kv.put(key, b"")
    await kv.delete("b")
    return [none, sorted(await kv.keys())]


@case
async def kv_watched(rig):
    kv = await bucket(rig)
    await kv.put("a", b"1")
    watcher = await kv.watchall()
    seen = [await watcher.updates(timeout=PATIENCE)]
    marker = await watcher.updates(timeout=PATIENCE)
    await kv.put("b", b"2")
    await kv.delete("a")
    seen += [await watcher.updates(timeout=PATIENCE) for _ in range(2)]
    await watcher.stop()
    return [[[entry.key, (entry.value or b"").decode(), entry.operation or "PUT"] for entry in seen], marker is None]


@case
async def kv_status(rig):
    kv = await bucket(rig, history=7, ttl=60)
    await kv.put("a", b"1")
    status = await kv.status()
    return [status.values, status.history, int(status.ttl)]


@case
async def kv_unknown_bucket(rig):
    try:
        await rig.js.key_value("no_such_bucket")
        return "there"
    except BucketNotFoundError:
        return "unknown"


async def store(rig):
    name = rig.name().replace("-", "_")
    rig.streams.append(f"OBJ_{name}")
    return await rig.js.create_object_store(name, config=api.ObjectStoreConfig(bucket=name, storage=api.StorageType.MEMORY))


@case
async def object_stored(rig):
    objects = await store(rig)
    body = bytes(range(256)) * 2000
    info = await objects.put("thing", body)
    found = await objects.get("thing")
    return {"same": found.data == body, "size": info.size, "chunks": info.chunks, "digest": info.digest}


@case
async def object_replaced_and_deleted(rig):
    objects = await store(rig)
    await objects.put("thing", b"first")
    await objects.put("thing", b"second")
    second = (await objects.get("thing")).data.decode()
    await objects.put("other", b"x")
    names = sorted(info.name for info in await objects.list())
    await objects.delete("thing")
    return [second, names, sorted(info.name for info in await objects.list(ignore_deletes=True))]
