"""Stream queues: declaring, reading from every kind of offset, and what they refuse."""

import datetime
import time

from rig import Reader, attempt, case, publish, wait

STREAM = {"x-queue-type": "stream"}
DURABLE = {"durable": True, "arguments": STREAM}


class Stream(Reader):
    """Reads a stream from an offset."""

    def __init__(self, connection, queue, offset=None, prefetch=10):
        channel = connection.channel()
        channel.basic_qos(prefetch_count=prefetch)
        arguments = {} if offset is None else {"x-stream-offset": offset}
        super().__init__(channel, queue, arguments=arguments)

    @property
    def offsets(self):
        return [properties.headers["x-stream-offset"] for _, properties, _ in self.got]


@case
def stream_declare(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    settings = {"x-max-age": "1h", "x-max-length-bytes": 1_000_000, "x-stream-max-segment-size-bytes": 100_000}
    name = rig.queue(channel, durable=True, arguments=STREAM | settings)

    def declare(suffix, **options):
        options.setdefault("durable", True)
        options["arguments"] = STREAM | options.get("arguments", {})
        return attempt(lambda: rig.queue(connection.channel(), suffix, **options))

    def again(arguments, **options):
        options.setdefault("durable", True)
        return attempt(lambda: connection.channel().queue_declare(name, arguments=arguments, **options))

    return {
        "same": again(STREAM | settings),
        "other_age": again(STREAM | settings | {"x-max-age": "2h"}),
        "without_bound": again(STREAM | {"x-max-age": "1h"}),
        "classic": again({}),
        "passive": attempt(lambda: connection.channel().queue_declare(name, passive=True)),
        "not_durable": declare(".a", durable=False),
        "exclusive": declare(".b", exclusive=True),
        "auto_delete": declare(".c", auto_delete=True),
        "bad_age": declare(".d", arguments={"x-max-age": "soon"}),
        "age_of_another_type": declare(".e", arguments={"x-max-age": 5}),
        "ttl": declare(".f", arguments={"x-message-ttl": 5}),
        "length": declare(".g", arguments={"x-max-length": 5}),
        "priority": declare(".h", arguments={"x-max-priority": 5}),
        "dead_letters": declare(".i", arguments={"x-dead-letter-exchange": "amq.direct"}),
        "single_active": declare(".j", arguments={"x-single-active-consumer": True}),
        "negative_bytes": declare(".k", arguments={"x-max-length-bytes": -1}),
        "classic_becomes_stream": becomes_stream(rig, connection),
    }


def becomes_stream(rig, connection):
    name = rig.queue(connection.channel(), ".classic", durable=True)
    return attempt(lambda: connection.channel().queue_declare(name, **DURABLE))


@case
def stream_offsets(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel, **DURABLE)
    publish(channel, queue, *"0123")

    def read(offset, number):
        reader = Stream(connection, queue, offset).wait(number)
        reader.channel.close()
        return [reader.bodies[:number], reader.offsets[:number]]

    answers = {
        "first": read("first", 4),
        "number": read(2, 2),
        "time_before_all": read(datetime.datetime(2001, 1, 1), 4),
        "interval": read("1h", 4),
    }
    late = {name: Stream(connection, queue, offset) for name, offset in [("next", "next"), ("none", None), ("beyond", 6)]}
    publish(channel, queue, *"4567")
    for name, expected in [("next", 4), ("none", 4), ("beyond", 2)]:
        reader = late[name].wait(expected)
        answers[name] = [reader.bodies, reader.offsets]
    return answers


@case
def stream_bad_offset(rig):
    connection = rig.connect()
    queue = rig.queue(rig.channel(connection), **DURABLE)
    return attempt(lambda: Stream(connection, queue, "soonish"))


@case
def stream_is_not_consumed(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel, **DURABLE)
    publish(channel, queue, *"abc", headers={"mine": 1})
    first = Stream(connection, queue, "first").wait(3)
    first.channel.close()
    second = Stream(connection, queue, "first").wait(3)
    return {"first": first.bodies, "second": second.bodies, "redelivered": second.redelivered}


@case
def stream_prefetch_is_credit(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel, **DURABLE)
    publish(channel, queue, *"01234567")
    reader_channel = connection.channel()
    reader_channel.basic_qos(prefetch_count=3)
    reader = Reader(reader_channel, queue, arguments={"x-stream-offset": "first"}).wait(3)
    time.sleep(0.3)
    connection.process_data_events()
    before = list(reader.bodies)
    reader.channel.basic_nack(reader.tags[0], requeue=True)  # gives credit, and nothing comes again
    reader.wait(4)
    reader.channel.basic_ack(reader.tags[3], multiple=True)
    reader.wait(7)
    return {"before": before, "after": reader.bodies}


@case
def stream_refuses(rig):
    connection = rig.connect()
    queue = rig.queue(rig.channel(connection), **DURABLE)

    def without_prefetch():
        connection.channel().basic_consume(queue, lambda *_: None)

    def without_ack():
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue, lambda *_: None, auto_ack=True)

    def elsewhere(action):
        """On a connection of its own, which may be closed."""
        return attempt(lambda: action(rig.connect().channel()))

    return {
        "without_prefetch": attempt(without_prefetch),
        "without_ack": attempt(without_ack) if connection.is_open else "closed before",
        "get": elsewhere(lambda channel: channel.basic_get(queue)),
        "purge": elsewhere(lambda channel: channel.queue_purge(queue)),
    }


@case
def stream_delete(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel, **DURABLE)
    publish(channel, queue, *"ab")
    reader = Stream(connection, queue, "first").wait(2)
    other = connection.channel()
    answers = {
        "if_unused": attempt(lambda: connection.channel().queue_delete(queue, if_unused=True)),
        "if_empty": attempt(lambda: connection.channel().queue_delete(queue, if_empty=True)),
    }
    attempt(lambda: other.queue_delete(queue))
    answers["gone"] = attempt(lambda: connection.channel().queue_declare(queue, passive=True))
    answers["read"] = reader.bodies
    return answers


@case
def stream_routes(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    exchange = rig.exchange(channel, "topic")
    queue = rig.bound(channel, exchange, ".s", "order.*", **DURABLE)
    other = rig.bound(channel, exchange, ".q", "order.#")
    publish(channel, "order.made", "1", exchange=exchange, message_id="m", headers={"k": "v"})
    publish(channel, "else", "2", exchange=exchange)
    publish(channel, "order.paid", "3", exchange=exchange, delivery_mode=2)
    reader = Stream(connection, queue, "first").wait(2)
    return {"stream": [reader.bodies, reader.offsets], "queue": channel.queue_declare(other, passive=True).method.message_count}


@case
def stream_survives_restart(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel, **DURABLE)
    publish(channel, queue, *"abc")
    if not rig.restart():
        return None
    connection = rig.connect()
    reader = Stream(connection, queue, 1).wait(2)
    return [reader.bodies, reader.offsets]
