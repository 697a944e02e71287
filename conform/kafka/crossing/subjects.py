"""Who sees what, and what crosses, where one of the two speaks NATS."""

import datetime
import decimal
import time

from places import bodies, values
from rig import SUBJECTS, row, same

TIME_S = 1_700_000_000
NAMED = {"Content-Type": "text/plain", "Content-Encoding": "utf-8", "Correlation-Id": "c-1", "Nats-Msg-Id": "m-1", "Type": "order.created", "App-Id": "shop"}
PROPERTIES = {"content_type": "text/plain", "content_encoding": "utf-8", "correlation_id": "c-1", "message_id": "m-1", "type": "order.created", "app_id": "shop"}


def data(messages):
    return [message.data for message in messages]


def crossed(rig, body=b"body", **properties):
    """A message of AMQP's as NATS hears it."""
    subject = rig.name()
    heard = rig.nats.listen(subject)
    rig.publish(SUBJECTS, subject, body, **properties)
    (message,) = heard.take(1)
    return message


@row
def a_publish_to_a_subject_is_heard_in_nats(rig):
    subject = rig.name()
    stem, last = subject.rsplit(".", 1)
    exact, star, rest, other = (rig.nats.listen(pattern) for pattern in (subject, f"{stem.rsplit('.', 1)[0]}.*.{last}", f"{stem}.>", rig.name()))
    rig.publish(SUBJECTS, subject, b"heard")
    for heard in (exact, star, rest):
        (message,) = heard.take(1)
        same((message.subject, message.data, message.headers), (subject, b"heard", None))
    assert other.messages.empty(), "nobody asked for that one"


@row
def keys_that_are_no_subjects_are_not_heard(rig):
    stem = rig.name()
    heard = rig.nats.listen(f"{stem}.>")
    for last in ("", "a b", "*", ">", "a..b", "a.*"):
        rig.publish(SUBJECTS, f"{stem}.{last}", b"unheard")
    rig.publish("amq.direct", f"{stem}.elsewhere", b"unheard")
    rig.publish(SUBJECTS, f"{stem}.end", b"heard")
    same(data(heard.take(1)), [b"heard"])


@row
def a_key_that_is_no_queue_is_a_subject_for_the_default_exchange(rig):
    subject = rig.name()
    heard = rig.nats.listen(subject)
    rig.publish("", subject, b"heard")  # mandatory: it would come back
    same(data(heard.take(1)), [b"heard"])


@row
def nats_reaches_queues_and_streams_bound_to_its_subject(rig):
    subject, stream = rig.name(), rig.topic()
    exact, pattern, nobody = rig.queue(subject), rig.queue(f"{subject.split('.')[0]}.#"), rig.queue(rig.name())
    rig.channel.queue_bind(stream, SUBJECTS, subject)
    rig.nats.publish(subject, b"1")
    rig.nats.publish(subject, b"2")
    for queue in (exact, pattern):
        messages = rig.take(queue, 2)
        same(bodies(messages), [b"1", b"2"])
        same({(method.exchange, method.routing_key) for method, _, _ in messages}, {(SUBJECTS, subject)})
    same((bodies(rig.read(stream, 2)), values(rig.fetch(stream, 2))), ([b"1", b"2"], [b"1", b"2"]))
    same(rig.channel.basic_get(nobody)[0], None)


@row
def nats_is_captured_where_the_topic_asks_for_it(rig):
    deaf, capturing = rig.topic(), rig.topic(stele_capture="true")
    for topic in (deaf, capturing):
        rig.nats.publish(topic, b"from NATS")
    (record,) = rig.fetch(capturing, 1)
    same((record.key(), record.value(), record.headers()), (capturing.encode(), b"from NATS", None))
    same((rig.end(deaf), rig.end(capturing)), (0, 1))


@row
def headers_of_nats_reach_kafka_by_way_of_amqp(rig):
    topic = rig.topic(stele_capture="true")
    before = time.time() * 1000 - 1000
    rig.nats.publish(topic, b"v", "_INBOX.somebody", {"Tag": "ä", "kafka.key": "k-1"} | NAMED)
    (record,) = rig.fetch(topic, 1)
    wanted = {name.replace("_", "-"): value.encode() for name, value in PROPERTIES.items()}
    same(dict(record.headers()), wanted | {"Tag": "ä".encode(), "reply-to": b"_INBOX.somebody"})
    same((record.key(), record.value()), (b"k-1", b"v"))
    assert before <= record.timestamp()[1] <= time.time() * 1000 + 1000, "it is the time of the publish"


@row
def a_produced_record_is_heard_in_nats(rig):
    for codec in ("none", "zstd"):
        topic = rig.topic()
        heard, other = rig.nats.listen(topic), rig.nats.listen(rig.name())
        rig.produce(topic, {"value": b"1", "key": b"k"}, {"value": b"2"}, {"value": None, "key": b"k"}, **{"compression.type": codec})
        messages = heard.take(3)
        same(data(messages), [b"1", b"2", b""])
        same([message.headers for message in messages], [{"kafka.key": "k"}, None, {"kafka.key": "k", "kafka.tombstone": "true"}])
        same({message.subject for message in messages}, {topic})
        assert other.messages.empty(), "nobody asked for that one"


@row
def headers_of_kafka_reach_nats_by_way_of_amqp(rig):
    topic = rig.topic()
    heard = rig.nats.listen(topic)
    headers = [(name.replace("_", "-"), value.encode()) for name, value in PROPERTIES.items()]
    rig.produce(topic, {"value": b"v", "headers": [*headers, ("tag", "ä".encode()), ("reply-to", b"answers")]})
    (message,) = heard.take(1)
    same((message.headers, message.reply), (NAMED | {"tag": "ä"}, "amq.default.answers"))


@row
def a_subject_and_a_payload_become_key_and_body(rig):
    subject = rig.name()
    queue = rig.queue(subject)
    for body in (b"text", bytes(range(256)), b"", b"x" * 500_000):
        rig.nats.publish(subject, body)
        ((method, properties, found),) = rig.take(queue, 1)
        same((method.routing_key, found, properties.delivery_mode), (subject, body, 2))
        same(crossed(rig, body).data, body)


@row
def a_reply_subject_becomes_reply_to_and_comes_back(rig):
    subject = rig.name()
    queue = rig.queue(subject)
    for reply, shown in (("_INBOX.x", "_INBOX.x"), ("amq.default.answers", "answers"), ("", None)):
        rig.nats.publish(subject, reply=reply)
        same(rig.take(queue, 1)[0][1].reply_to, shown)
    for address, shown in (("answers", "amq.default.answers"), ("amq.rabbitmq.reply-to.x+/=", "amq.rabbitmq.reply-to.x+/="), ("no subject", "")):
        same(crossed(rig, reply_to=address).reply, shown)


@row
def named_headers_of_nats_become_properties_and_come_back(rig):
    subject = rig.name()
    queue = rig.queue(subject)
    for case in (str, str.upper, str.lower):
        rig.nats.publish(subject, headers={case(name): value for name, value in NAMED.items()})
        properties = rig.take(queue, 1)[0][1]
        same(({name: getattr(properties, name) for name in PROPERTIES}, properties.headers), (PROPERTIES, None))
    same(crossed(rig, **PROPERTIES).headers, NAMED)


@row
def other_headers_of_nats_become_headers(rig):
    subject, bare = rig.name(), rig.bare()
    queue = rig.queue(subject)
    bare.publish(subject, b"NATS/1.0\r\nText: \xc3\xa4\r\nOctets: \xff\r\nTag: a\r\nTag: b\r\n\r\n", b"v")
    ((_, properties, body),) = rig.take(queue, 1)
    same((properties.headers, body), ({"Text": "ä", "Octets": b"\xff", "Tag": ["a", "b"]}, b"v"))
    bare.listen(subject)
    rig.publish(SUBJECTS, subject, b"v", headers=properties.headers)
    same(bare.block(), b"NATS/1.0\r\nText: \xc3\xa4\r\nOctets: \xff\r\nTag: a\r\nTag: b\r\n\r\n")


@row
def other_headers_reach_nats_as_text_or_not_at_all(rig):
    when = datetime.datetime.fromtimestamp(TIME_S, datetime.timezone.utc)
    kept = {"text": "ä", "number": 7, "large": -(1 << 40), "truth": True, "time": when}
    left = {"table": {"a": 1}, "decimal": decimal.Decimal("1.5"), "line": "a\r\nb", "na\nme": "x"}
    message = crossed(rig, headers=kept | left)
    same(message.headers, {"text": "ä", "number": "7", "large": "-1099511627776", "truth": "true", "time": str(TIME_S)})


@row
def what_only_amqp_knows_does_not_reach_nats(rig):
    message = crossed(rig, expiration="60000", priority=5, user_id="guest", timestamp=TIME_S)
    same((message.headers, message.reply, message.data), (None, "", b"body"))


@row
def an_amqp_responder_answers_a_nats_requester(rig):
    subject = rig.name()
    queue = rig.queue(subject)
    asked = rig.beside(lambda: rig.nats.request(subject, b"question", {"Correlation-Id": "7"}))
    ((_, properties, body),) = rig.take(queue, 1)
    same((body, properties.correlation_id), (b"question", "7"))
    rig.publish("", properties.reply_to, b"answer", correlation_id=properties.correlation_id)  # mandatory: it would come back
    answer = asked.result()
    same((answer.data, answer.headers), (b"answer", {"Correlation-Id": "7"}))


@row
def a_nats_responder_answers_an_amqp_requester_directly(rig):
    subject, answers = rig.name(), []
    heard = rig.nats.listen(subject, answer=b"answer")
    rig.channel.basic_consume("amq.rabbitmq.reply-to", lambda *message: answers.append(message), auto_ack=True)
    rig.publish(SUBJECTS, subject, b"question", reply_to="amq.rabbitmq.reply-to", correlation_id="7")
    (message,) = heard.take(1)
    assert message.reply.startswith("amq.rabbitmq.reply-to."), message.reply
    same((message.data, message.headers), (b"question", {"Correlation-Id": "7"}))
    rig.until(lambda: answers)
    same([body for *_, body in answers], [b"answer"])


@row
def a_nats_responder_answers_into_a_queue(rig):
    subject, answers = rig.name(), rig.queue()
    heard = rig.nats.listen(subject, answer=b"answer")
    rig.publish(SUBJECTS, subject, b"question", reply_to=answers)
    same(heard.take(1)[0].reply, f"amq.default.{answers}")
    same(bodies(rig.take(answers, 1)), [b"answer"])
    rig.nats.publish(f"amq.default.{answers}", b"by its name")
    same(bodies(rig.take(answers, 1)), [b"by its name"])
