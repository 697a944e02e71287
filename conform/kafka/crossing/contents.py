"""What crosses: the second table of crossing.md, each row both ways."""

import datetime
import decimal
import time

from rig import SUBJECTS, row, same

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NAMED = {
    "content-type": "text/plain",
    "content-encoding": "utf-8",
    "correlation-id": "c-1",
    "message-id": "m-1",
    "reply-to": "answers",
    "type": "order.created",
    "app-id": "shop",
}
TIME_S = 1_700_000_000


def both(rig, record):
    """A produced record as a bound queue gets it, and as a reader of the stream queue does, without what only that one has."""
    topic = rig.topic()
    queue = rig.queue(topic)
    rig.produce(topic, record)
    ((routed, one, body),), ((read, two, same_body),) = rig.take(queue, 1), rig.read(topic, 1)
    same(two.headers.pop("x-stream-offset"), 0)
    two.headers = two.headers or None
    same((routed.exchange, routed.routing_key), (SUBJECTS, topic))
    same((read.exchange, read.routing_key), (SUBJECTS, topic))
    same((vars(one), body), (vars(two), same_body))
    return one, body


def crossed(rig, body=b"body", **properties):
    """A message as Kafka gets it."""
    topic = rig.topic()
    rig.publish("", topic, body, **properties)
    (record,) = rig.fetch(topic, 1)
    return topic, record


@row
def a_key_becomes_a_header_and_comes_back(rig):
    properties, _ = both(rig, {"value": b"v", "key": b"k-1"})
    same(properties.headers, {"kafka.key": "k-1"})
    properties, _ = both(rig, {"value": b"v", "key": b"\xff\x00"})
    same(properties.headers, {"kafka.key": b"\xff\x00"})
    properties, _ = both(rig, {"value": b"v"})
    same(properties.headers, None)
    for key in ("k-1", b"\xff\x00"):
        _, record = crossed(rig, headers={"kafka.key": key})
        same((record.key(), record.headers()), (key.encode() if isinstance(key, str) else key, None))


@row
def without_that_header_the_routing_key_is_the_key(rig):
    topic, record = crossed(rig)
    same(record.key(), topic.encode())


@row
def a_value_becomes_the_body_and_comes_back(rig):
    for value in (b"text", bytes(range(256)), b"", b"x" * 500_000):
        same(both(rig, {"value": value, "key": b"k"})[1], value)
        same(crossed(rig, value)[1].value(), value)


@row
def a_null_value_becomes_an_empty_body_with_a_mark_and_comes_back(rig):
    properties, body = both(rig, {"value": None, "key": b"k"})
    same((properties.headers, body), ({"kafka.key": "k", "kafka.tombstone": True}, b""))
    _, record = crossed(rig, b"", headers={"kafka.key": "k", "kafka.tombstone": True})
    same((record.key(), record.value()), (b"k", None))


@row
def a_timestamp_keeps_its_seconds_as_a_property(rig):
    properties, _ = both(rig, {"value": b"v", "timestamp": TIME_S * 1000 + 123})
    same(properties.timestamp, TIME_S)
    _, record = crossed(rig, timestamp=TIME_S)
    same(record.timestamp()[1], TIME_S * 1000)
    before = time.time() * 1000 - 1000
    _, record = crossed(rig)
    assert before <= record.timestamp()[1] <= time.time() * 1000 + 1000, "without the property it is the time of the publish"


@row
def named_headers_become_properties_and_come_back(rig):
    properties, _ = both(rig, {"value": b"v", "headers": [(name, value.encode()) for name, value in NAMED.items()]})
    same({name: getattr(properties, name.replace("-", "_")) for name in NAMED}, NAMED)
    same(properties.headers, None)
    _, record = crossed(rig, **{name.replace("-", "_"): value for name, value in NAMED.items()})
    same(dict(record.headers()), {name: value.encode() for name, value in NAMED.items()})


@row
def other_headers_become_headers(rig):
    headers = [("text", "ä".encode()), ("octets", b"\xff\x00"), ("void", None), ("empty", b"")]
    properties, _ = both(rig, {"value": b"v", "headers": headers})
    same(properties.headers, {"text": "ä", "octets": b"\xff\x00", "void": None, "empty": ""})


@row
def other_headers_reach_kafka_as_text_or_not_at_all(rig):
    when = datetime.datetime.fromtimestamp(TIME_S, datetime.timezone.utc)
    kept = {"text": "ä", "octets": b"\xff\x00", "void": None, "number": 7, "large": -(1 << 40), "truth": True, "time": when}
    left = {"table": {"a": 1}, "list": [1, 2], "decimal": decimal.Decimal("1.5")}
    _, record = crossed(rig, headers=kept | left)
    wanted = {"text": "ä".encode(), "octets": b"\xff\x00", "void": None, "number": b"7", "large": b"-1099511627776", "truth": b"true"}
    same(dict(record.headers()), wanted | {"time": str(TIME_S).encode()})


@row
def what_only_amqp_knows_does_not_reach_kafka(rig):
    _, record = crossed(rig, expiration="60000", priority=5, user_id="guest")
    same((record.headers(), record.value()), (None, b"body"))


@row
def a_trace_crosses_both_ways(rig):
    properties, _ = both(rig, {"value": b"v", "headers": [("traceparent", TRACE.encode())]})
    same(properties.headers, {"traceparent": TRACE})
    _, record = crossed(rig, headers={"traceparent": TRACE})
    same(record.headers(), [("traceparent", TRACE.encode())])


@row
def a_record_that_crosses_twice_is_what_it_was(rig):
    headers = [(name, value.encode()) for name, value in NAMED.items()] + [("text", b"x"), ("octets", b"\xff"), ("void", None)]
    topic, other = rig.topic(), rig.topic()
    sent = {"value": b"v", "key": b"k", "headers": headers, "timestamp": TIME_S * 1000}
    queue = rig.queue(topic)
    rig.produce(topic, sent)
    ((_, properties, body),) = rig.take(queue, 1)
    rig.channel.basic_publish("", other, body, properties)
    (record,) = rig.fetch(other, 1)
    same((record.key(), record.value(), record.timestamp()[1]), (b"k", b"v", TIME_S * 1000))
    same(sorted(record.headers(), key=str), sorted(headers, key=str))
