"""Declaring, counting, purging and deleting queues."""

import uuid

from rig import Reader, attempt, case, count, drain, publish, settle, take, text, wait


@case
def declare_counts(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel, durable=True)
    publish(channel, queue, "1", "2", "3")
    first = channel.queue_declare(queue, durable=True).method
    reader_channel = connection.channel()
    reader_channel.basic_qos(prefetch_count=1)
    Reader(reader_channel, queue).wait(1)
    second = channel.queue_declare(queue, durable=True).method
    return [[method.queue, method.message_count, method.consumer_count] for method in (first, second)]


@case
def server_named_queue(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    name = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind("", "amq.fanout")  # the last queue declared on this channel
    publish(channel, "", "to the last", exchange="amq.fanout")
    method, _, body = channel.basic_get("", auto_ack=True)
    other = channel.queue_declare("", exclusive=True).method.queue
    return {
        "name": text(name),
        "fresh": name != other,
        "got": body.decode(),
        "none_declared": attempt(lambda: connection.channel().queue_declare("", passive=True)),
        "purge_none": attempt(lambda: connection.channel().queue_purge("")),
    }


@case
def passive_404(rig):
    connection = rig.connect()
    missing = "passive_404.missing"
    return {
        "declare": attempt(lambda: connection.channel().queue_declare(missing, passive=True)),
        "consume": attempt(lambda: connection.channel().basic_consume(missing, lambda *_: None)),
        "get": attempt(lambda: connection.channel().basic_get(missing)),
        "purge": attempt(lambda: connection.channel().queue_purge(missing)),
        "bind": attempt(lambda: connection.channel().queue_bind(missing, "amq.direct", "x")),
        "unbind": attempt(lambda: connection.channel().queue_unbind(missing, "amq.direct", "x")),
        "delete": attempt(lambda: connection.channel().queue_delete(missing)),
    }


@case
def inequivalent_arg_406(rig):
    connection = rig.connect()
    arguments = {"x-message-ttl": 60000, "x-max-length": 10, "x-dead-letter-exchange": "amq.direct"}
    name = rig.queue(rig.channel(connection), durable=True, arguments=arguments)

    def again(durable=True, **options):
        options.setdefault("arguments", arguments)
        return attempt(lambda: connection.channel().queue_declare(name, durable=durable, **options))

    return {
        "same": again(),
        "number_of_another_width": again(arguments=arguments | {"x-max-length": 2**40 // 2**40 * 10}),
        "durable": again(durable=False),
        "auto_delete": again(auto_delete=True),
        "exclusive": again(exclusive=True),
        "other_value": again(arguments=arguments | {"x-message-ttl": 60001}),
        "missing": again(arguments={"x-message-ttl": 60000, "x-max-length": 10}),
        "one_more": again(arguments=arguments | {"x-expires": 60000}),
        "unknown_argument": again(arguments=arguments | {"x-unheard-of": 1}),
        "passive_ignores_all": attempt(lambda: connection.channel().queue_declare(name, passive=True)),
    }


@case
def bad_queue_arguments(rig):
    connection = rig.connect()
    tried = {
        "ttl_negative": {"x-message-ttl": -1},
        "ttl_text": {"x-message-ttl": "1000"},
        "expires_zero": {"x-expires": 0},
        "max_length_negative": {"x-max-length": -1},
        "max_priority_256": {"x-max-priority": 256},
        "max_priority_negative": {"x-max-priority": -1},
        "overflow_unknown": {"x-overflow": "explode"},
        "type_unknown": {"x-queue-type": "no-such-type"},
        "dlx_not_text": {"x-dead-letter-exchange": 1},
        "key_without_dlx": {"x-dead-letter-routing-key": "key"},
        "sac_text": {"x-single-active-consumer": "yes"},
    }
    answers = {}
    for name, arguments in tried.items():
        answers[name] = attempt(lambda: connection.channel().queue_declare("bad_queue_arguments." + name, arguments=arguments, exclusive=True))
    return answers


@case
def exclusive_405(rig):
    owner, other = rig.connect(), rig.connect()
    name = "exclusive_405"
    owner.channel().queue_declare(name, exclusive=True)
    refused = {
        "declare": attempt(lambda: other.channel().queue_declare(name, exclusive=True)),
        "passive": attempt(lambda: other.channel().queue_declare(name, passive=True)),
        "consume": attempt(lambda: other.channel().basic_consume(name, lambda *_: None)),
        "get": attempt(lambda: other.channel().basic_get(name)),
        "bind": attempt(lambda: other.channel().queue_bind(name, "amq.direct", "x")),
        "purge": attempt(lambda: other.channel().queue_purge(name)),
        "delete": attempt(lambda: other.channel().queue_delete(name)),
    }
    anyone = rig.channel(other)
    publish(anyone, name, "anyone may publish")
    got = drain(owner.channel(), name)
    owner.close()
    wait(other, lambda: attempt(lambda: other.channel().queue_declare(name, passive=True))[1] == 404)
    return {"refused": refused, "owner_got": got, "after_close": attempt(lambda: other.channel().queue_declare(name, passive=True))}


@case
def transient_queue(rig):
    channel = rig.channel()
    queue = rig.queue(channel, durable=False, exclusive=False, auto_delete=False)
    publish(channel, queue, "kept while it runs")
    return drain(channel, queue)


@case
def auto_delete(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel, auto_delete=True)
    before = attempt(lambda: connection.channel().queue_declare(queue, passive=True))
    one, two = connection.channel(), connection.channel()
    first = Reader(one, queue)
    Reader(two, queue)
    one.basic_cancel(first.tag)
    after_first = attempt(lambda: connection.channel().queue_declare(queue, passive=True))
    two.close()  # the channel's end is the consumer's end
    return {"before": before, "one_left": after_first, "none_left": attempt(lambda: connection.channel().queue_declare(queue, passive=True))}


@case
def x_expires(rig):
    """A lease that a look at the queue renews, so the look is a mandatory publish."""
    connection = rig.connect()
    channel = connection.channel()
    queue = rig.queue(channel, arguments={"x-expires": 3000})
    returned = []
    channel.add_on_return_callback(lambda _channel, method, _properties, _body: returned.append([method.reply_code, method.reply_text]))

    def gone():
        channel.basic_publish("", queue, b"x", mandatory=True)
        return bool(returned)

    present = attempt(lambda: connection.channel().queue_declare(queue, passive=True))
    wait(connection, gone)
    return {"at_first": present, "then": returned[0], "passive": attempt(lambda: connection.channel().queue_declare(queue, passive=True))}


@case
def queue_delete(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    publish(channel, queue, "1", "2")
    not_empty = attempt(lambda: connection.channel().queue_delete(queue, if_empty=True))
    reader_channel = connection.channel()
    reader = Reader(reader_channel, queue)
    used = attempt(lambda: connection.channel().queue_delete(queue, if_unused=True))
    reader.wait(2)
    reader_channel.close()
    wait(connection, lambda: count(channel, queue) == 2)
    deleted = channel.queue_delete(queue).method.message_count
    again = channel.queue_delete(queue).method.message_count
    return {"not_empty": not_empty, "used": used, "deleted": deleted, "again": again}


@case
def purge_ready_only(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel)
    publish(channel, queue, "1", "2", "3")
    holder = connection.channel()
    held = holder.basic_get(queue)[0]
    purged = channel.queue_purge(queue).method.message_count
    holder.basic_reject(held.delivery_tag, requeue=True)
    settle(holder)
    return {"purged": purged, "left": [body.decode() for _, _, body in take(channel, queue)]}


@case
def quorum_queue(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    quorum = {"x-queue-type": "quorum"}
    queue = rig.queue(channel, durable=True, arguments=quorum | {"x-quorum-initial-group-size": 1})
    publish(channel, queue, "1", "2")

    def bad(**options):
        return attempt(lambda: rig.queue(connection.channel(), ".bad", **options))

    return {
        "got": [body.decode() for _, _, body in take(channel, queue, 2)],
        "not_durable": bad(arguments=quorum),
        "exclusive": bad(durable=True, exclusive=True, arguments=quorum),
        "max_priority": bad(durable=True, arguments=quorum | {"x-max-priority": 5}),
        "classic_instead": attempt(lambda: connection.channel().queue_declare(queue, durable=True, arguments={"x-queue-type": "classic"})),
    }


@case
def classic_type_is_the_default(rig):
    connection = rig.connect()
    queue = rig.queue(rig.channel(connection), durable=True)
    return attempt(lambda: connection.channel().queue_declare(queue, durable=True, arguments={"x-queue-type": "classic"}))


@case
def durable_survives_restart(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    exchange = rig.exchange(channel, "topic", ".exchange", durable=True)
    kept = rig.bound(channel, exchange, ".kept", "a.*", durable=True, arguments={"x-max-length": 100})
    fleeting = rig.queue(channel, ".fleeting", durable=False)
    publish(channel, "a.b", "1", "2", "3", exchange=exchange, delivery_mode=2, headers={"mark": str(uuid.UUID(int=0))})
    assert channel.basic_get(kept)[2] == b"1"  # held, not acknowledged, over the restart
    if not rig.restart():
        return "not restarted"
    connection = rig.connect()
    channel = rig.channel(connection)
    publish(channel, "a.c", "4", exchange=exchange, delivery_mode=2)
    return {
        "exchange": attempt(lambda: connection.channel().exchange_declare(exchange, "topic", durable=True)),
        "queue": attempt(lambda: connection.channel().queue_declare(kept, durable=True, arguments={"x-max-length": 100})),
        "messages": [[body.decode(), properties.headers] for _, properties, body in take(channel, kept, 4)],
        "transient_queue": attempt(lambda: connection.channel().queue_declare(fleeting, passive=True)),
    }
