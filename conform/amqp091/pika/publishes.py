"""Publishing: confirms, returns, refusals, properties."""

import decimal
import hashlib

import pika
from pika import spec
from pika.exceptions import NackError

from rig import attempt, case, count, drain, plain, publish, publish_as, take, wait
from wire import Wire


def session(rig):
    wire = Wire(rig.parameters())
    wire.open()
    wire.channel()
    wire.confirm()
    return wire


def verdicts(wire, number):
    """Read confirms until so many tags are answered: [confirmed, refused]."""
    answered, kinds = 0, {"Basic.Ack": 0, "Basic.Nack": 0}
    open_tags = set(range(1, number + 1))
    while answered < number:
        method = wire.receive()
        covered = {tag for tag in open_tags if tag == method.delivery_tag or (method.multiple and tag <= method.delivery_tag)}
        assert covered, f"{method} answers nothing that is open"
        open_tags -= covered
        answered += len(covered)
        kinds[method.NAME] += len(covered)
    return list(kinds.values())


@case
def publish_confirm(rig):
    queue = rig.queue(rig.channel(), durable=True)
    wire = session(rig)
    for number in range(200):
        wire.publish(1, str(number).encode(), key=queue, properties=pika.BasicProperties(delivery_mode=2 - number % 2))
    confirmed, refused = verdicts(wire, 200)
    channel = rig.channel()
    return {"confirmed": confirmed, "refused": refused, "in_order": drain(channel, queue) == [str(number) for number in range(200)]}


@case
def mandatory_return_before_confirm(rig):
    wire = session(rig)
    wire.publish(1, b"back to sender", "amq.direct", "nowhere", pika.BasicProperties(message_id="m1", headers={"a": 1}), mandatory=True)
    back = wire.expect(spec.Basic.Return)
    header, body = wire.frame(), wire.frame()
    ack = wire.expect(spec.Basic.Ack)
    return {
        "return": [back.reply_code, back.reply_text, back.exchange, back.routing_key],
        "properties": [header.properties.message_id, header.properties.headers],
        "body": body.fragment.decode(),
        "then": [ack.NAME, ack.delivery_tag],
    }


@case
def unroutable_is_confirmed(rig):
    wire = session(rig)
    wire.publish(1, b"x", "amq.direct", "nowhere")
    return wire.receive().NAME


@case
def mandatory_and_routed(rig):
    queue = rig.queue(rig.channel())
    wire = session(rig)
    wire.publish(1, b"x", key=queue, mandatory=True)
    return wire.receive().NAME


@case
def immediate_540(rig):
    wire = session(rig)
    wire.publish(1, b"x", "amq.direct", "nowhere", immediate=True)
    return wire.end(with_text=True)


@case
def confirm_select_twice(rig):
    wire = session(rig)
    wire.publish(1, b"x", "amq.direct")
    first = wire.receive().delivery_tag
    wire.confirm()
    wire.publish(1, b"x", "amq.direct")
    return {"first": first, "goes_on": wire.receive().delivery_tag}


@case
def tx(rig):
    queue = rig.queue(rig.channel())
    wire = Wire(rig.parameters())
    wire.open()
    wire.channel()
    wire.send(1, spec.Tx.Select())
    first = wire.receive()
    if not isinstance(first, spec.Tx.SelectOk):
        return {"select": [first.NAME, first.reply_code]}
    wire.publish(1, b"rolled back", key=queue)
    wire.send(1, spec.Tx.Rollback())
    wire.expect(spec.Tx.RollbackOk)
    wire.publish(1, b"committed", key=queue)
    wire.send(1, spec.Tx.Commit())
    wire.expect(spec.Tx.CommitOk)
    bodies = drain(rig.channel(), queue)
    wire.send(1, spec.Confirm.Select())
    return {"select": first.NAME, "bodies": bodies, "then_confirm": wire.end(with_text=True)}


@case
def reject_publish(rig):
    channel = rig.channel()
    queue = rig.queue(channel, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    wire = session(rig)
    for body in (b"1", b"2", b"3"):
        wire.publish(1, body, key=queue)
        wire.expect(spec.Basic.Ack if body != b"3" else spec.Basic.Nack)
    first = drain(channel, queue)
    publish(channel, queue, "4")
    return {"refused": "3", "kept": first, "room_again": drain(channel, queue)}


@case
def reject_publish_dlx(rig):
    channel = rig.channel()
    target = rig.queue(channel, ".target")
    limits = {"x-max-length": 1, "x-overflow": "reject-publish-dlx", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": target}
    queue = rig.queue(channel, arguments=limits)
    publish(channel, queue, "1")
    try:
        publish(channel, queue, "2")
        refused = False
    except NackError:
        refused = True
    _, properties, body = take(channel, target)[0]
    return {"refused": refused, "dead": body.decode(), "reason": properties.headers["x-death"][0]["reason"], "kept": drain(channel, queue)}


@case
def one_queue_of_two_refuses(rig):
    channel = rig.channel()
    exchange = rig.exchange(channel, "fanout")
    full = rig.bound(channel, exchange, ".full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    publish(channel, full, "fills it")
    open_queue = rig.bound(channel, exchange, ".open")
    try:
        publish(channel, "", "x", exchange=exchange)
        refused = False
    except NackError:
        refused = True
    return {"refused": refused, "full": count(channel, full), "open": count(channel, open_queue)}


@case
def large_body(rig):
    channel = rig.channel()
    queue = rig.queue(channel)
    body = bytes(range(256)) * (8 * 4096)  # 8 MiB
    publish(channel, queue, body, b"")
    (_, _, first), (_, _, second) = take(channel, queue, 2)
    return {"bytes": len(first), "intact": hashlib.sha256(first).digest() == hashlib.sha256(body).digest(), "empty": len(second)}


@case
def too_large_body_406(rig):
    connection = rig.connect()

    def publish_it():
        channel = connection.channel()
        channel.basic_publish("", "nowhere", b"x" * ((16 << 20) + 1))
        channel.queue_declare("", exclusive=True)

    return attempt(publish_it)


@case
def properties_roundtrip(rig):
    channel = rig.channel()
    queue = rig.queue(channel)
    sent = {
        "content_type": "text/plain",
        "content_encoding": "identity",
        "delivery_mode": 2,
        "priority": 3,
        "correlation_id": "c1",
        "reply_to": "answers",
        "expiration": "60000",
        "message_id": "m1",
        "timestamp": 1700000000,
        "type": "greeting",
        "user_id": "guest",
        "app_id": "conform",
        "cluster_id": "old",
    }
    table = {"text": "ä", "int": 7, "long": 2**40, "negative": -5, "decimal": decimal.Decimal("1.5"), "yes": True, "void": None, "list": [1, "a", [2]], "table": {"in": {"deep": 1}}, "bytes": b"\x00\xff"}
    publish(channel, queue, "x", headers=table, **sent)
    publish(channel, queue, "bare")
    (method, full, _), (_, bare, _) = take(channel, queue, 2)
    names = list(sent) + ["headers"]
    return {
        "properties": {name: plain(getattr(full, name)) for name in sent},
        "headers": plain(full.headers),
        "bare": [name for name in names if getattr(bare, name) is not None],
        "envelope": [method.exchange, method.routing_key, method.redelivered],
    }


@case
def user_id(rig):
    connection = rig.connect()
    queue = rig.queue(rig.channel(connection))
    return {
        "own": publish_as(connection, queue, "guest"),
        "of_another": publish_as(connection, queue, "somebody"),
    }


@case
def bad_expiration_406(rig):
    connection = rig.connect()
    queue = rig.queue(rig.channel(connection))

    def publish_with(expiration):
        def action():
            channel = connection.channel()
            channel.basic_publish("", queue, b"x", pika.BasicProperties(expiration=expiration))
            channel.queue_declare(queue, passive=True)

        return attempt(action)

    return {value or "<empty>": publish_with(value) for value in ("soon", "-1", "1.5", "")}


@case
def direct_reply_to(rig):
    connection = rig.connect()
    server_channel = rig.channel(connection)
    queue = rig.queue(server_channel)
    client = connection.channel()
    answers = []
    client.basic_consume("amq.rabbitmq.reply-to", lambda _channel, method, properties, body: answers.append([method.exchange, properties.correlation_id, body.decode()]), auto_ack=True)
    client.basic_publish("", queue, b"question", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="7"))
    _, properties, body = take(server_channel, queue)[0]
    address = properties.reply_to
    server_channel.basic_publish("", address, b"answer to " + body, pika.BasicProperties(correlation_id=properties.correlation_id), mandatory=True)
    wait(connection, lambda: bool(answers))

    def manual_ack():
        connection.channel().basic_consume("amq.rabbitmq.reply-to", lambda *_: None)

    def without_consumer():
        other = connection.channel()
        other.basic_publish("", queue, b"x", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
        other.queue_declare(queue, passive=True)

    return {
        "address": address.startswith("amq.rabbitmq.reply-to."),
        "answers": answers,
        "manual_ack": attempt(manual_ack),
        "without_consumer": attempt(without_consumer),
    }
