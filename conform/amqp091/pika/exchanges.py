"""Exchanges, bindings and where a message goes."""

import pika
from pika import spec

from rig import attempt, case, drain, publish
from wire import Wire


@case
def exchange_types(rig):
    connection = rig.connect()
    answers = {}
    for kind in ("direct", "topic", "fanout", "headers"):
        channel = rig.channel(connection)
        name = rig.exchange(channel, kind, "." + kind, durable=True)
        answers[kind] = attempt(lambda: channel.exchange_declare(name, kind, durable=True, passive=True))
    return answers


@case
def predeclared_exchanges(rig):
    connection = rig.connect()
    kinds = {"amq.direct": "direct", "amq.topic": "topic", "amq.fanout": "fanout", "amq.headers": "headers", "amq.match": "headers"}
    return {name: attempt(lambda: rig.channel(connection).exchange_declare(name, kind, durable=True)) for name, kind in kinds.items()}


@case
def unknown_exchange_404(rig):
    connection = rig.connect()

    def publish_to_it():
        channel = connection.channel()
        channel.basic_publish("no.such.exchange", "key", b"lost")
        channel.queue_declare("", exclusive=True)  # the close comes before this reply

    queue = rig.queue(rig.channel(connection))
    return {
        "passive": attempt(lambda: connection.channel().exchange_declare("no.such.exchange", passive=True)),
        "publish": attempt(publish_to_it),
        "bind": attempt(lambda: connection.channel().queue_bind(queue, "no.such.exchange", "key")),
        "exchange_bind": attempt(lambda: connection.channel().exchange_bind("no.such.exchange", "amq.direct", "key")),
        "delete": attempt(lambda: connection.channel().exchange_delete("no.such.exchange")),
    }


@case
def unknown_exchange_type(rig):
    return attempt(lambda: rig.channel().exchange_declare("unknown_exchange_type", "no-such-type"))


@case
def inequivalent_exchange_406(rig):
    connection = rig.connect()
    name = rig.exchange(rig.channel(connection), "direct", durable=False)

    def again(kind="direct", **options):
        return attempt(lambda: connection.channel().exchange_declare(name, kind, **options))

    return {
        "same": again(),
        "type": again("fanout"),
        "durable": again(durable=True),
        "auto_delete": again(auto_delete=True),
        "internal": again(internal=True),
        "alternate": again(arguments={"alternate-exchange": "amq.fanout"}),
    }


@case
def amq_prefix_403(rig):
    connection = rig.connect()
    return {
        "exchange": attempt(lambda: connection.channel().exchange_declare("amq.mine", "direct")),
        "queue": attempt(lambda: connection.channel().queue_declare("amq.mine")),
        "delete": attempt(lambda: connection.channel().exchange_delete("amq.direct")),
    }


@case
def default_exchange_403(rig):
    connection = rig.connect()
    queue = rig.queue(rig.channel(connection))
    return {
        "declare": attempt(lambda: connection.channel().exchange_declare("", "direct")),
        "delete": attempt(lambda: connection.channel().exchange_delete("")),
        "bind": attempt(lambda: connection.channel().queue_bind(queue, "", "key")),
        "unbind": attempt(lambda: connection.channel().queue_unbind(queue, "", "key")),
        "exchange_bind": attempt(lambda: connection.channel().exchange_bind("", "amq.direct", "key")),
    }


@case
def internal_exchange_403(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    inner = rig.exchange(channel, "fanout", internal=True)
    outer = rig.exchange(channel, "fanout", ".outer")
    channel.exchange_bind(inner, outer)
    queue = rig.bound(channel, inner, ".queue")
    publish(channel, "", "through the outer", exchange=outer)

    def publish_to_it():
        other = connection.channel()
        other.basic_publish(inner, "key", b"x")
        other.queue_declare(queue, passive=True)

    return {"direct": attempt(publish_to_it), "bound": drain(channel, queue)}


@case
def exchange_delete(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    name = rig.exchange(channel, "fanout")
    rig.bound(channel, name, ".queue")
    return {
        "used": attempt(lambda: connection.channel().exchange_delete(name, if_unused=True)),
        "delete": attempt(lambda: connection.channel().exchange_delete(name)),
        "again": attempt(lambda: connection.channel().exchange_delete(name)),
        "passive": attempt(lambda: connection.channel().exchange_declare(name, passive=True)),
    }


@case
def exchange_auto_delete(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    name = rig.exchange(channel, "fanout", auto_delete=True)
    before = attempt(lambda: connection.channel().exchange_declare(name, passive=True))
    queue = rig.bound(channel, name, ".queue")
    channel.queue_unbind(queue, name, "")
    return {"before_a_binding": before, "after_the_last": attempt(lambda: connection.channel().exchange_declare(name, passive=True))}


@case
def no_wait(rig):
    """Nothing is answered, everything is done."""
    channel = rig.channel()
    for name in ("no_wait.exchange",):
        channel.exchange_delete(name)
    channel.queue_delete("no_wait.queue")
    wire = Wire(rig.parameters())
    wire.open()
    wire.channel()
    wire.send(1, spec.Exchange.Declare(exchange="no_wait.exchange", type="fanout", nowait=True, arguments={}))
    wire.send(1, spec.Queue.Declare(queue="no_wait.queue", nowait=True, arguments={}))
    wire.send(1, spec.Queue.Bind(queue="no_wait.queue", exchange="no_wait.exchange", routing_key="", nowait=True, arguments={}))
    wire.confirm()
    wire.publish(1, b"x", "no_wait.exchange")
    first = wire.receive().NAME
    wire.send(1, spec.Queue.Purge(queue="no_wait.queue", nowait=True))
    wire.send(1, spec.Queue.Delete(queue="no_wait.queue", nowait=True))
    wire.send(1, spec.Exchange.Delete(exchange="no_wait.exchange", nowait=True))
    wire.send(1, spec.Basic.Qos())
    return {"after_publish": first, "after_delete": wire.receive().NAME, "queue": attempt(lambda: channel.queue_declare("no_wait.queue", passive=True))}


@case
def direct_and_fanout(rig):
    channel = rig.channel()
    direct = rig.exchange(channel, "direct", ".direct")
    fanout = rig.exchange(channel, "fanout", ".fanout")
    one = rig.bound(channel, direct, ".one", "a")
    channel.queue_bind(one, direct, "b")
    channel.queue_bind(one, fanout, "ignored")
    two = rig.bound(channel, direct, ".two", "a")
    for key in ("a", "b", "c"):
        publish(channel, key, "direct " + key, exchange=direct)
    publish(channel, "whatever", "fanout", exchange=fanout)
    return {"one": drain(channel, one), "two": drain(channel, two)}


@case
def bindings(rig):
    """A binding made twice is one; removing one that is not there is fine; two that match give one copy."""
    connection = rig.connect()
    channel = rig.channel(connection)
    exchange = rig.exchange(channel, "topic")
    queue = rig.bound(channel, exchange, ".queue", "a.*")
    channel.queue_bind(queue, exchange, "a.*")
    channel.queue_bind(queue, exchange, "#")
    publish(channel, "a.b", "one copy", exchange=exchange)
    once = drain(channel, queue)
    channel.queue_unbind(queue, exchange, "#")
    channel.queue_unbind(queue, exchange, "a.*")
    publish(channel, "a.b", "unbound", exchange=exchange)
    return {
        "once": once,
        "unbound": drain(channel, queue),
        "unknown_binding": attempt(lambda: connection.channel().queue_unbind(queue, exchange, "never")),
        "unknown_queue": attempt(lambda: connection.channel().queue_bind("bindings.missing", exchange, "x")),
    }


@case
def topic_wildcards(rig):
    channel = rig.channel()
    exchange = rig.exchange(channel, "topic")
    patterns = ["#", "*", "a", "a.b", "a.*", "*.b", "a.#", "#.b", "a.#.c", "*.*", "#.#", "a.*.#", "*.#.*", "", ".", "a..b", "a.*.b"]
    keys = ["", "a", "b", "a.b", "a.b.c", "a.x.y.c", "b.b", "a.", ".", "..", "a..b", "a.c"]
    queues = {pattern: rig.bound(channel, exchange, f".{number}", pattern) for number, pattern in enumerate(patterns)}
    for key in keys:
        publish(channel, key, key or "<empty>", exchange=exchange)
    return {pattern: drain(channel, queue) for pattern, queue in queues.items()}


def headers(rig, match, bindings, messages):
    channel = rig.channel()
    exchange = rig.exchange(channel, "headers")
    answers = {}
    for name, arguments in bindings.items():
        arguments = dict(arguments) | ({"x-match": match} if match else {})
        answers[name] = rig.bound(channel, exchange, "." + name, "", arguments)
    for body, table in messages.items():
        publish(channel, "", body, exchange=exchange, headers=table)
    return {name: drain(channel, queue) for name, queue in answers.items()}


PLAIN_BINDINGS = {"one": {"a": 1}, "two": {"a": 1, "b": "x"}, "with_x": {"a": 1, "x-b": "x"}, "only_x": {"x-b": "x"}, "nothing": {}}
PLAIN_MESSAGES = {
    "a": {"a": 1},
    "b": {"b": "x"},
    "ab": {"a": 1, "b": "x"},
    "abc": {"a": 1, "b": "x", "c": 3},
    "other a": {"a": 2},
    "a as text": {"a": "1"},
    "x-b": {"x-b": "x"},
    "a x-b": {"a": 1, "x-b": "x"},
    "empty": {},
    "none": None,
}


@case
def headers_exchange_all(rig):
    return headers(rig, "all", PLAIN_BINDINGS, PLAIN_MESSAGES)


@case
def headers_exchange_any(rig):
    return headers(rig, "any", PLAIN_BINDINGS, PLAIN_MESSAGES)


@case
def headers_exchange_all_with_x(rig):
    return headers(rig, "all-with-x", PLAIN_BINDINGS, PLAIN_MESSAGES)


@case
def headers_exchange_any_with_x(rig):
    return headers(rig, "any-with-x", PLAIN_BINDINGS, PLAIN_MESSAGES)


@case
def headers_exchange_default_match(rig):
    return headers(rig, None, PLAIN_BINDINGS, PLAIN_MESSAGES)


@case
def headers_exchange_void(rig):
    messages = {"a": {"a": 1}, "a void": {"a": None}, "b": {"b": 1}, "ab": {"a": [1], "b": 2}}
    return headers(rig, "all", {"present": {"a": None}, "both": {"a": None, "b": 2}}, messages)


@case
def headers_exchange_bad_match(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    exchange = rig.exchange(channel, "headers")
    queue = rig.queue(channel, ".queue")
    return {
        "unknown": attempt(lambda: connection.channel().queue_bind(queue, exchange, "", {"x-match": "some"})),
        "number": attempt(lambda: connection.channel().queue_bind(queue, exchange, "", {"x-match": 1})),
    }


@case
def e2e_binding(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    first = rig.exchange(channel, "topic", ".first")
    second = rig.exchange(channel, "direct", ".second")
    queue = rig.bound(channel, second, ".queue", "a.b")
    channel.exchange_bind(second, first, "a.#")
    channel.exchange_bind(first, second, "a.b")  # a cycle
    publish(channel, "a.b", "through two", exchange=first)
    publish(channel, "a.c", "matches only the first", exchange=first)
    through = drain(channel, queue)
    channel.exchange_unbind(second, first, "a.#")
    publish(channel, "a.b", "unbound", exchange=first)
    return {
        "through": through,
        "unbound": drain(channel, queue),
        "unknown_binding": attempt(lambda: connection.channel().exchange_unbind(second, first, "never")),
    }


@case
def alternate_exchange(rig):
    channel = rig.channel()
    last = rig.exchange(channel, "fanout", ".last")
    middle = rig.exchange(channel, "direct", ".middle", arguments={"alternate-exchange": last})
    first = rig.exchange(channel, "direct", ".first", arguments={"alternate-exchange": middle})
    routed = rig.bound(channel, first, ".routed", "a")
    fallen = rig.bound(channel, middle, ".fallen", "b")
    caught = rig.bound(channel, last, ".caught")
    for key in ("a", "b", "c"):
        publish(channel, key, key, exchange=first)
    lost = rig.exchange(channel, "direct", ".lost", arguments={"alternate-exchange": "no.such.exchange"})
    channel.basic_publish(first, "mandatory", b"mandatory", mandatory=True)
    missing = attempt(lambda: publish(channel, "x", "x", exchange=lost))
    return {"routed": drain(channel, routed), "fallen": drain(channel, fallen), "caught": drain(channel, caught), "missing": missing}


@case
def cc_bcc(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queues = [rig.queue(channel, "." + name) for name in ("to", "cc", "bcc")]
    publish(channel, queues[0], "letter", headers={"CC": [queues[1], queues[0]], "BCC": [queues[2]], "other": 1})
    got = {}
    for queue in queues:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        again = channel.basic_get(queue, auto_ack=True)[0]
        got[queue] = {"key": method.routing_key, "headers": properties.headers, "copies": 1 if again is None else 2}

    def wrong(headers):
        def action():
            other = connection.channel()
            other.basic_publish("", queues[0], b"x", pika.BasicProperties(headers=headers))
            other.queue_declare(queues[0], passive=True)

        return attempt(action)

    return {"got": got, "not_a_list": wrong({"CC": "text"}), "not_text": wrong({"BCC": [1]})}
