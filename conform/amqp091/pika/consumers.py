"""Consuming: acknowledgement, prefetch, requeue, cancellation, priorities among consumers."""

from pika import spec

from rig import Reader, attempt, case, count, drain, publish, settle, take, text, wait
from wire import Wire


@case
def basic_get(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    empty = channel.basic_get(queue)[0] is None
    publish(channel, queue, "1", "2", "3")
    first, _, body = channel.basic_get(queue)
    second, _, _ = channel.basic_get(queue, auto_ack=True)
    channel.basic_reject(first.delivery_tag, requeue=True)
    again, _, body_again = channel.basic_get(queue)
    return {
        "empty": empty,
        "first": [first.delivery_tag, first.redelivered, first.message_count, body.decode()],
        "second": [second.delivery_tag, second.redelivered, second.message_count],
        "again": [again.delivery_tag, again.redelivered, again.message_count, body_again.decode()],
    }


@case
def consume_and_ack(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    publish(channel, queue, *"12345")
    reader = Reader(connection.channel(), queue).wait(5)
    reader.channel.basic_ack(reader.tags[1], multiple=True)
    reader.channel.basic_ack(reader.tags[3])
    reader.channel.close()
    wait(connection, lambda: count(channel, queue) == 2)
    return {"bodies": reader.bodies, "tags": reader.tags, "left": drain(channel, queue)}


@case
def ack_zero_multiple(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    publish(channel, queue, *"123")
    reader = Reader(connection.channel(), queue).wait(3)
    reader.channel.basic_ack(0, multiple=True)
    settle(reader.channel)
    reader.channel.close()
    return {"left": drain(channel, queue), "single_zero": attempt(lambda: ack_zero(connection))}


def ack_zero(connection):
    channel = connection.channel()
    channel.basic_ack(0)
    channel.queue_declare("", exclusive=True)


@case
def nack_multiple(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    publish(channel, queue, *"1234")
    reader = Reader(connection.channel(), queue).wait(4)
    reader.channel.basic_nack(reader.tags[1], multiple=True, requeue=True)
    reader.wait(6)
    reader.channel.basic_nack(0, multiple=True, requeue=False)
    settle(reader.channel)
    return {"bodies": reader.bodies, "redelivered": reader.redelivered, "left": count(channel, queue)}


@case
def requeue_keeps_place(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    publish(channel, queue, *"12345")
    held = [channel.basic_get(queue)[0].delivery_tag for _ in range(4)]
    for tag in (held[2], held[0], held[3], held[1]):
        channel.basic_nack(tag, requeue=True)
    settle(channel)
    got = [channel.basic_get(queue, auto_ack=True) for _ in range(5)]
    return [[body.decode(), method.redelivered] for method, _, body in got]


@case
def channel_close_requeues_in_order(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    publish(channel, queue, *"12345")
    reader_channel = connection.channel()
    reader_channel.basic_qos(prefetch_count=3)
    reader = Reader(reader_channel, queue).wait(3)
    reader_channel.close()
    wait(connection, lambda: count(channel, queue) == 5)
    got = [channel.basic_get(queue, auto_ack=True) for _ in range(5)]
    return {"held": reader.bodies, "then": [[body.decode(), method.redelivered] for method, _, body in got]}


@case
def cancel_keeps_unacknowledged(rig):
    """What was delivered before the cancel may be acknowledged after it. (pika's own cancel would reject it, so: frame by frame.)"""
    channel = rig.channel()
    queue = rig.queue(channel)
    publish(channel, queue, *"123")
    wire = Wire(rig.parameters())
    wire.open()
    wire.channel()
    wire.send(1, spec.Basic.Qos(prefetch_count=2))
    wire.expect(spec.Basic.QosOk)
    wire.send(1, spec.Basic.Consume(queue=queue, consumer_tag="t"))
    wire.expect(spec.Basic.ConsumeOk)
    tags = [wire.expect(spec.Basic.Deliver).delivery_tag for _ in range(2)]
    wire.send(1, spec.Basic.Cancel("t"))
    wire.expect(spec.Basic.CancelOk)
    after_cancel = count(channel, queue)
    for tag in tags:
        wire.send(1, spec.Basic.Ack(tag))
    wire.send(1, spec.Channel.Close(200, "done", 0, 0))
    wire.expect(spec.Channel.CloseOk)
    return {"ready_after_cancel": after_cancel, "left": drain(channel, queue)}


@case
def unknown_delivery_tag_406(rig):
    connection = rig.connect()
    queue = rig.queue(rig.channel(connection))

    def settle_with(method, tag, **options):
        def action():
            channel = connection.channel()
            getattr(channel, method)(tag, **options)
            channel.queue_declare(queue, passive=True)

        return attempt(action)

    def twice():
        channel = rig.channel(connection)
        publish(channel, queue, "x")
        tag = channel.basic_get(queue)[0].delivery_tag
        channel.basic_ack(tag)
        channel.basic_ack(tag)
        channel.queue_declare(queue, passive=True)

    return {
        "ack": settle_with("basic_ack", 5),
        "ack_multiple": settle_with("basic_ack", 5, multiple=True),
        "nack": settle_with("basic_nack", 5),
        "reject": settle_with("basic_reject", 5),
        "twice": attempt(twice),
    }


@case
def ack_on_another_channel_406(rig):
    connection = rig.connect()
    channel, other = rig.channel(connection), connection.channel()
    queue = rig.queue(channel)
    publish(channel, queue, "x")
    tag = channel.basic_get(queue)[0].delivery_tag

    def action():
        other.basic_ack(tag)
        other.queue_declare(queue, passive=True)

    return attempt(action)


@case
def recover(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    publish(channel, queue, *"123")
    reader = Reader(connection.channel(), queue).wait(3)
    reader.channel.basic_ack(reader.tags[1])
    reader.channel.basic_recover(requeue=True)
    reader.wait(5)

    def in_place():
        connection.channel().basic_recover(requeue=False)

    return {"bodies": reader.bodies, "redelivered": reader.redelivered, "tags": reader.tags, "without_requeue": attempt(in_place)}


@case
def no_ack(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    publish(channel, queue, *"123")
    reader_channel = connection.channel()
    reader_channel.basic_qos(prefetch_count=1)  # does not concern it
    reader = Reader(reader_channel, queue, auto_ack=True).wait(3)
    tag = reader.tags[0]

    def ack():
        reader_channel.basic_ack(tag)
        reader_channel.queue_declare(queue, passive=True)

    return {"bodies": reader.bodies, "ack": attempt(ack), "left": count(channel, queue)}


@case
def no_local_is_ignored(rig):
    queue = rig.queue(rig.channel())
    wire = Wire(rig.parameters())
    wire.open()
    wire.channel()
    wire.send(1, spec.Basic.Consume(queue=queue, consumer_tag="me", no_local=True, no_ack=True))
    wire.expect(spec.Basic.ConsumeOk)
    wire.publish(1, b"own", key=queue)
    return wire.receive().NAME


@case
def qos_per_consumer(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    publish(channel, queue, *"123456789")
    reader_channel = connection.channel()
    reader_channel.basic_qos(prefetch_count=2)
    two = Reader(reader_channel, queue).wait(2)
    reader_channel.basic_qos(prefetch_count=3)  # for consumers that start from now on
    three = Reader(reader_channel, queue).wait(3)
    settle_count = count(channel, queue)
    first = [two.bodies[:], three.bodies[:]]
    reader_channel.basic_ack(two.tags[0])
    two.wait(3)
    return {"first": first, "ready": settle_count, "after_an_ack": two.bodies}


@case
def qos_global(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    publish(channel, queue, *"123456")
    reader_channel = connection.channel()
    reader_channel.basic_qos(prefetch_count=3, global_qos=True)
    one, two = Reader(reader_channel, queue), Reader(reader_channel, queue)
    wait(connection, lambda: len(one.got) + len(two.got) >= 3)
    shared = len(one.got) + len(two.got), count(channel, queue)
    reader_channel.basic_ack(0, multiple=True)
    wait(connection, lambda: len(one.got) + len(two.got) >= 6)
    return {"in_flight_and_ready": list(shared), "all": sorted(one.bodies + two.bodies)}


@case
def qos_size_540(rig):
    connection = rig.connect()
    return attempt(lambda: connection.channel().basic_qos(prefetch_size=10))


@case
def prefetch_one_round_robin(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    readers = []
    for _ in range(3):
        reader_channel = connection.channel()
        reader_channel.basic_qos(prefetch_count=1)
        readers.append(Reader(reader_channel, queue))
    publish(channel, queue, *"123")
    for reader in readers:
        reader.wait(1)
    return [reader.bodies for reader in readers]


@case
def consumer_tags(rig):
    connection = rig.connect()
    queue = rig.queue(rig.channel(connection))
    channel = connection.channel()

    def consume(number, tag):
        wire.send(number, spec.Basic.Consume(queue=queue, consumer_tag=tag))

    wire = Wire(rig.parameters())
    wire.open()
    wire.channel(1)
    wire.channel(2)
    consume(1, "")
    generated = text(wire.expect(spec.Basic.ConsumeOk).consumer_tag)
    consume(1, "mine")
    named = wire.expect(spec.Basic.ConsumeOk).consumer_tag
    consume(2, "mine")
    on_another_channel = wire.receive().NAME
    wire.send(1, spec.Basic.Cancel("unheard-of"))
    unknown = wire.expect(spec.Basic.CancelOk).consumer_tag
    consume(1, "mine")
    return {"generated": generated, "named": named, "other_channel": on_another_channel, "unknown_cancel": unknown, "again": wire.end(with_text=True), "unharmed": channel.is_open}


@case
def exclusive_consumer_403(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    first = Reader(connection.channel(), queue, exclusive=True)
    second = attempt(lambda: connection.channel().basic_consume(queue, lambda *_: None))
    first.channel.basic_cancel(first.tag)
    normal = Reader(connection.channel(), queue)
    late = attempt(lambda: connection.channel().basic_consume(queue, lambda *_: None, exclusive=True))
    return {"second": second, "exclusive_beside_another": late, "normal": normal.tag is not None}


@case
def consumer_priority(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    readers = {}
    for name, priority in (("low", -1), ("default", None), ("high", 5)):
        reader_channel = connection.channel()
        reader_channel.basic_qos(prefetch_count=2)
        readers[name] = Reader(reader_channel, queue, arguments={} if priority is None else {"x-priority": priority})
    publish(channel, queue, *"12345")
    for name, number in (("high", 2), ("default", 2), ("low", 1)):
        readers[name].wait(number)
    bad = attempt(lambda: connection.channel().basic_consume(queue, lambda *_: None, arguments={"x-priority": "high"}))
    return {"got": {name: reader.bodies for name, reader in readers.items()}, "bad": bad}


@case
def single_active_consumer(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel, arguments={"x-single-active-consumer": True})
    readers = [Reader(connection.channel(), queue, auto_ack=False) for _ in range(3)]
    publish(channel, queue, *"123")
    readers[0].wait(3)
    for tag in readers[0].tags:
        readers[0].channel.basic_ack(tag)
    readers[0].channel.basic_cancel(readers[0].tag)
    publish(channel, queue, *"45")
    readers[1].wait(2)
    readers[1].channel.close()  # unacknowledged: the next in line gets them
    readers[2].wait(2)
    exclusive = attempt(lambda: connection.channel().basic_consume(queue, lambda *_: None, exclusive=True))
    return {"got": [reader.bodies for reader in readers], "redelivered": readers[2].redelivered, "exclusive": exclusive}


@case
def cancel_notify(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    reader = Reader(connection.channel(), queue)
    channel.queue_delete(queue)
    wait(connection, lambda: reader.cancelled)
    return {"cancelled": reader.cancelled, "channel": reader.channel.is_open}


@case
def cancel_notify_own_delete(rig):
    """The consumer of a queue deleted on the very same channel is told as well."""
    wire = Wire(rig.parameters())
    wire.open()
    wire.channel()
    wire.send(1, spec.Queue.Declare(queue="", exclusive=True, arguments={}))
    queue = wire.expect(spec.Queue.DeclareOk).queue
    wire.send(1, spec.Basic.Consume(queue=queue, consumer_tag="t"))
    wire.expect(spec.Basic.ConsumeOk)
    wire.send(1, spec.Queue.Delete(queue=queue))
    return sorted(wire.receive().NAME for _ in range(2))


@case
def redelivered_only_if_delivered(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    publish(channel, queue, *"123")
    held = channel.basic_get(queue)[0]
    channel.basic_nack(held.delivery_tag, requeue=True)
    got = take(channel, queue, 3)
    return [[body.decode(), method.redelivered] for method, _, body in got]
