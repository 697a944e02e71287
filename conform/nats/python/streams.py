"""Streams and consumers through the library."""

import asyncio

import nats.js.api as api
from nats.js.errors import FetchTimeoutError
from rig import PATIENCE, bodies, case, code, until


async def fetched(subscription, count):
    """So many messages, in as many fetches as it takes."""
    found = []
    while len(found) < count:
        found += await subscription.fetch(count - len(found), timeout=PATIENCE)
    return found


@case
async def stream_made_and_shown(rig):
    stream = await rig.stream(max_msgs=10, description="mine")
    await rig.fill(stream, 3)
    info = await rig.js.stream_info(stream)
    return {"name": info.config.name == stream, "subjects": info.config.subjects == [f"{stream}.>"], "max_msgs": info.config.max_msgs, "description": info.config.description, "messages": info.state.messages, "first": info.state.first_seq, "last": info.state.last_seq}


@case
async def stream_errors(rig):
    stream = await rig.stream()
    return {"unknown": await code(rig.js.stream_info("no-such")), "taken": await code(rig.js.add_stream(name=stream, subjects=["other"])), "overlap": await code(rig.js.add_stream(name=rig.name("-2"), subjects=[f"{stream}.a"]))}


@case
async def stream_changed(rig):
    stream = await rig.stream()
    await rig.fill(stream, 5)
    info = await rig.js.update_stream(name=stream, subjects=[f"{stream}.>", f"{stream}-more"], storage=api.StorageType.MEMORY, max_msgs=2)
    return [info.config.max_msgs, len(info.config.subjects), (await rig.js.stream_info(stream)).state.messages]


@case
async def stream_found_by_subject(rig):
    stream = await rig.stream()
    return await rig.js.find_stream_name_by_subject(f"{stream}.x") == stream


@case
async def stream_emptied(rig):
    stream = await rig.stream()
    await rig.fill(stream, 6, "ab")
    await rig.js.purge_stream(stream, subject=f"{stream}.a")
    filtered = (await rig.js.stream_info(stream)).state.messages
    await rig.js.purge_stream(stream)
    state = (await rig.js.stream_info(stream)).state
    return [filtered, state.messages, state.first_seq, state.last_seq]


@case
async def message_looked_up(rig):
    stream = await rig.stream(allow_direct=True)
    await rig.fill(stream, 4, "ab")
    by_seq = await rig.js.get_msg(stream, 2)
    last = await rig.js.get_last_msg(stream, f"{stream}.a")
    direct = await rig.js.get_msg(stream, 3, direct=True)
    await rig.js.delete_msg(stream, 2)
    return [by_seq.data.decode(), by_seq.seq, last.data.decode(), last.seq, direct.data.decode(), await code(rig.js.get_msg(stream, 2)), await code(rig.js.get_msg(stream, 99))]


@case
async def publish_is_acknowledged(rig):
    stream = await rig.stream()
    acks = [await rig.js.publish(f"{stream}.a", b"x", headers={"Nats-Msg-Id": identity}) for identity in ("1", "2", "1")]
    return [[ack.stream == stream, ack.seq, bool(ack.duplicate)] for ack in acks]


@case
async def publish_is_refused(rig):
    stream = await rig.stream(max_msg_size=120)
    put = lambda body, **headers: code(rig.js.publish(f"{stream}.a", body, headers={name.replace("_", "-"): value for name, value in headers.items()} or None))
    return {"stream": await put(b"", Nats_Expected_Stream="other"), "sequence": await put(b"", Nats_Expected_Last_Sequence="7"), "subject": await put(b"", Nats_Expected_Last_Subject_Sequence="7"), "id": await put(b"", Nats_Expected_Last_Msg_Id="x"), "size": await put(b"x" * 200), "good": await put(b"", Nats_Expected_Last_Sequence="0")}


@case
async def publish_many_at_once(rig):
    stream = await rig.stream(storage=api.StorageType.FILE)
    acks = await asyncio.gather(*[await rig.js.publish_async(f"{stream}.a", str(number).encode()) for number in range(500)])
    return [sorted(ack.seq for ack in acks) == list(range(1, 501)), (await rig.js.stream_info(stream)).state.messages]


@case
async def fetch_and_ack(rig):
    stream = await rig.stream()
    await rig.fill(stream, 5)
    subscription = await rig.js.pull_subscribe("", "c", stream=stream)
    found = await fetched(subscription, 3)
    for message in found:
        await message.ack_sync(timeout=PATIENCE)
    info = await subscription.consumer_info()
    meta = found[1].metadata
    return {"bodies": bodies(found), "meta": [meta.sequence.stream, meta.sequence.consumer, meta.num_delivered, meta.num_pending, meta.stream == stream, meta.consumer], "floor": [info.ack_floor.stream_seq, info.num_ack_pending, info.num_pending]}


@case
async def fetch_of_nothing(rig):
    stream = await rig.stream()
    subscription = await rig.js.pull_subscribe("", "c", stream=stream)
    try:
        return bodies(await subscription.fetch(1, timeout=0.2))
    except (FetchTimeoutError, asyncio.TimeoutError, TimeoutError):
        return []


@case
async def fetch_much(rig):
    stream = await rig.stream()
    await asyncio.gather(*[await rig.js.publish_async(f"{stream}.a", str(number).encode()) for number in range(1000)])
    subscription = await rig.js.pull_subscribe("", "c", stream=stream)
    found = await fetched(subscription, 1000)
    for message in found:
        await message.ack()

    async def settled():
        info = await subscription.consumer_info()
        return info.num_ack_pending == 0 and info.ack_floor.stream_seq == 1000

    return [bodies(found) == [str(number) for number in range(1000)], await until(settled)]


@case
async def nak_and_term(rig):
    stream = await rig.stream()
    await rig.fill(stream, 2)
    subscription = await rig.js.pull_subscribe("", "c", stream=stream)
    (first,) = await fetched(subscription, 1)
    await first.nak()
    found = sorted([(await fetched(subscription, 1))[0] for _ in range(2)], key=lambda message: message.data)
    again, other = found
    await again.term()
    await other.in_progress()
    await other.ack_sync(timeout=PATIENCE)

    async def settled():
        return (await subscription.consumer_info()).num_ack_pending == 0

    await until(settled)
    info = await subscription.consumer_info()
    return [bodies(found), [message.metadata.num_delivered for message in found], info.ack_floor.stream_seq]


@case
async def nak_for_later(rig):
    stream = await rig.stream()
    await rig.fill(stream, 2)
    subscription = await rig.js.pull_subscribe("", "c", stream=stream)
    (first,) = await fetched(subscription, 1)
    await first.nak(delay=0.3)
    order = []
    while len(order) < 2:
        (found,) = await fetched(subscription, 1)
        await found.ack()
        order.append(found.data.decode())
    return order


@case
async def redelivered_when_the_lease_ends(rig):
    stream = await rig.stream()
    await rig.fill(stream, 1)
    subscription = await rig.js.pull_subscribe("", "c", stream=stream, config=api.ConsumerConfig(ack_wait=0.3, max_deliver=3))
    counts = [(await fetched(subscription, 1))[0].metadata.num_delivered for _ in range(3)]
    return counts


@case
async def consumer_made_and_shown(rig):
    stream = await rig.stream()
    await rig.js.add_consumer(stream, durable_name="c", ack_policy=api.AckPolicy.EXPLICIT, max_ack_pending=7, filter_subject=f"{stream}.a")
    info = await rig.js.consumer_info(stream, "c")
    listed = [consumer.name for consumer in await rig.js.consumers_info(stream)]
    await rig.js.delete_consumer(stream, "c")
    return {"name": info.name, "max_ack_pending": info.config.max_ack_pending, "ack_wait": int(info.config.ack_wait), "max_deliver": info.config.max_deliver, "listed": listed, "gone": await code(rig.js.consumer_info(stream, "c"))}


@case
async def consumer_filters_many(rig):
    stream = await rig.stream()
    await rig.fill(stream, 9, "abc")
    await rig.js.add_consumer(stream, durable_name="c", ack_policy=api.AckPolicy.EXPLICIT, filter_subjects=[f"{stream}.a", f"{stream}.c"])
    subscription = await rig.js.pull_subscribe_bind("c", stream=stream)
    return bodies(await fetched(subscription, 6))


@case
async def consumer_starts_where_told(rig):
    stream = await rig.stream()
    await rig.fill(stream, 6, "ab")

    async def read(count, subject="", **config):
        subscription = await rig.js.pull_subscribe(subject, stream=stream, config=api.ConsumerConfig(ack_policy=api.AckPolicy.NONE, **config))
        return bodies(await fetched(subscription, count))

    return {"sequence": await read(2, deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=5), "last": await read(1, deliver_policy=api.DeliverPolicy.LAST), "last per subject": await read(2, f"{stream}.*", deliver_policy=api.DeliverPolicy.LAST_PER_SUBJECT)}


@case
async def ordered_reading(rig):
    stream = await rig.stream()
    await asyncio.gather(*[await rig.js.publish_async(f"{stream}.a", str(number).encode()) for number in range(500)])
    subscription = await rig.js.subscribe(f"{stream}.a", ordered_consumer=True)
    found = [await subscription.next_msg(timeout=PATIENCE) for _ in range(500)]
    return bodies(found) == [str(number) for number in range(500)]


@case
async def pushed_messages(rig):
    stream = await rig.stream()
    await rig.fill(stream, 3)
    subscription = await rig.js.subscribe(f"{stream}.a", durable="c", manual_ack=True)
    found = [await subscription.next_msg(timeout=PATIENCE) for _ in range(3)]
    for message in found:
        await message.ack_sync(timeout=PATIENCE)
    info = await subscription.consumer_info()
    return [bodies(found), info.ack_floor.stream_seq, info.num_ack_pending]


@case
async def pushed_to_a_queue(rig):
    stream = await rig.stream()
    got = [[], [], []]

    def taker(index):
        async def take(message):
            got[index].append(int(message.data))

        return take

    for index in range(3):
        await rig.js.subscribe(f"{stream}.a", queue="workers", cb=taker(index))
    await rig.fill(stream, 60)

    async def all_there():
        return sum(map(len, got)) >= 60

    await until(all_there)
    return [sorted(number for part in got for number in part) == list(range(60)), all(got)]


@case
async def account_is_shown(rig):
    await rig.stream()
    info = await rig.js.account_info()
    return [info.streams > 0, info.api.level if hasattr(info.api, "level") else 5, info.limits.max_streams]


@case
async def state_survives_a_restart(rig):
    stream = await rig.stream(storage=api.StorageType.FILE)
    await rig.fill(stream, 4)
    subscription = await rig.js.pull_subscribe("", "c", stream=stream)
    found = await fetched(subscription, 2)
    for message in found:
        await message.ack_sync(timeout=PATIENCE)
    if not rig.restart():
        return None

    async def back():
        return rig.nc.is_connected and rig.nc.stats["reconnects"] >= 1

    await until(back)
    await rig.nc.flush(PATIENCE)
    return [(await rig.js.stream_info(stream)).state.messages, bodies(await fetched(subscription, 2))]
