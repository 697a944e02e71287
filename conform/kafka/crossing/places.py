"""Who sees what: the first table of crossing.md, and what it says of names and partitions."""

import pika

from rig import SUBJECTS, row, same

TEXTS = [{"value": f"{number}".encode()} for number in range(5)]


def bodies(messages):
    return [body for _, _, body in messages]


def values(records):
    return [record.value() for record in records]


@row
def a_produced_record_reaches_queues_bound_to_its_topic(rig):
    topic, other = rig.topic(), rig.topic()
    exact, pattern, nobody = rig.queue(topic), rig.queue("crossing.#"), rig.queue(other)
    rig.produce(topic, *TEXTS)
    same(bodies(rig.take(exact, 5)), [text["value"] for text in TEXTS])
    same(bodies(rig.take(pattern, 5)), [text["value"] for text in TEXTS])
    rig.produce(other, {"value": b"next"})
    same(bodies(rig.take(nobody, 1)), [b"next"])


@row
def a_produced_record_reaches_a_stream_bound_to_its_topic(rig):
    topic, other = rig.topic(), rig.topic()
    rig.channel.queue_bind(other, SUBJECTS, topic)
    rig.produce(topic, *TEXTS)
    same(values(rig.fetch(other, 5)), [text["value"] for text in TEXTS])
    same(bodies(rig.read(other, 5)), [text["value"] for text in TEXTS])


@row
def a_queue_that_refuses_does_not_refuse_the_produce(rig):
    topic = rig.topic()
    queue = rig.queue(topic, x_max_length=1, x_overflow="reject-publish")
    same(rig.produce(topic, {"value": b"1"}), [0])
    same(rig.produce(topic, {"value": b"2"}), [1])
    same(bodies(rig.take(queue, 1)), [b"1"])
    same(rig.end(topic), 2)


@row
def a_consumer_of_the_stream_queue_reads_each_record_with_its_offset(rig):
    topic = rig.topic()
    rig.produce(topic, *TEXTS)  # one batch
    for offset, first in (("first", 0), (3, 3), ("last", 0)):
        messages = rig.read(topic, 5 - first, offset)
        offsets = [properties.headers["x-stream-offset"] for _, properties, _ in messages]
        same((offsets, bodies(messages)), (list(range(first, 5)), [text["value"] for text in TEXTS[first:]]))
        same({method.routing_key for method, _, _ in messages}, {topic})


@row
def every_codec_is_opened_for_amqp(rig):
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = rig.topic()
        queue = rig.queue(topic)
        packed = [{"value": bytes([number]) * 2000} for number in range(5)]
        rig.produce(topic, *packed, **{"compression.type": codec})
        wanted = [record["value"] for record in packed]
        same(bodies(rig.take(queue, 5)), wanted)
        same(bodies(rig.read(topic, 5)), wanted)


@row
def a_publish_to_a_subject_is_captured_where_the_topic_asks_for_it(rig):
    deaf, capturing = rig.topic(), rig.topic(stele_capture="true")
    for topic in (deaf, capturing):
        rig.publish(SUBJECTS, topic)
    same(values(rig.fetch(capturing, 1)), [b"body"])
    same((rig.end(deaf), rig.end(capturing)), (0, 1))


@row
def a_publish_to_a_stream_queue_is_fetched_by_kafka(rig):
    topic, exchange = rig.topic(), rig.name()
    rig.publish("", topic, b"through the default exchange")
    rig.channel.exchange_declare(exchange, "fanout", auto_delete=True)
    rig.channel.queue_bind(topic, exchange, "")
    rig.publish(exchange, "any", b"by a binding")
    records = rig.fetch(topic, 2)
    same([(record.offset(), record.value()) for record in records], [(0, b"through the default exchange"), (1, b"by a binding")])


@row
def a_publish_to_another_exchange_crosses_nowhere(rig):
    topic = rig.topic(stele_capture="true")
    rig.publish("amq.direct", topic, b"not seen")
    rig.publish(SUBJECTS, topic, b"seen")
    same(values(rig.fetch(topic, 1)), [b"seen"])
    same(rig.end(topic), 1)


@row
def a_topic_gets_its_own_records_once(rig):
    topic = rig.topic(stele_capture="true")
    rig.channel.queue_bind(topic, SUBJECTS, topic)
    same(rig.produce(topic, {"value": b"once"}), [0])
    same(rig.produce(topic, {"value": b"and no more"}), [1])
    same(rig.end(topic), 2)


@row
def a_stream_that_amqp_declares_is_a_topic(rig):
    stream = rig.name()
    rig.channel.queue_declare(stream, durable=True, arguments={"x-queue-type": "stream", "x-max-age": "1h"})
    assert stream in rig.admin.list_topics(timeout=20).topics
    rig.publish("", stream, b"from AMQP")
    same(rig.produce(stream, {"value": b"from Kafka"}), [1])
    wanted = [b"from AMQP", b"from Kafka"]
    same((values(rig.fetch(stream, 2)), bodies(rig.read(stream, 2))), (wanted, wanted))


@row
def partitions_have_names_of_their_own_and_bindings_stay(rig):
    topic = rig.topic()
    rig.channel.queue_bind(topic, "amq.direct", topic)
    rig.grow(topic, 3)
    try:
        channel = rig.connection.channel()
        channel.queue_declare(topic, passive=True)
        raise AssertionError("a stream of several partitions is no queue")
    except pika.exceptions.ChannelClosedByBroker as closed:
        same(closed.reply_code, 404)
    rig.publish("", f"{topic}-2", b"into the third")
    same(values(rig.fetch(topic, 1, partition=2)), [b"into the third"])
    rig.publish("amq.direct", topic, b"by the old binding")
    same(values(rig.fetch(topic, 1, partition=0)), [b"by the old binding"])
    rig.produce(topic, {"value": b"into the second"}, partition=1)
    same(bodies(rig.read(f"{topic}-1", 1)), [b"into the second"])


@row
def what_is_captured_goes_to_the_partition_of_kafkas_hash(rig):
    captured, hashed = rig.topic(5, stele_capture="true"), rig.topic(5)
    for number in range(3):
        rig.publish(SUBJECTS, captured, f"{number}".encode())
    rig.produce(hashed, {"value": b"x", "key": captured.encode(), "partition": -1}, **{"partitioner": "murmur2"})
    (partition,) = [partition for partition in range(5) if rig.end(hashed, partition)]
    same(values(rig.fetch(captured, 3, partition)), [b"0", b"1", b"2"])
