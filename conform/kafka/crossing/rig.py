"""What every row needs: the dialects' official clients, fresh names, and waiting with a deadline.

A row is a function marked with @row; its name is a sentence. It is given a Rig and fails by an AssertionError.
"""

import concurrent.futures
import functools
import itertools
import time

import pika
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from live import PATIENCE, Bare, Nats

ROWS = {}
SUBJECTS = "amq.topic"


def row(function):
    """Register a row under its sentence."""
    ROWS[function.__name__.replace("_", " ")] = function
    return function


class Rig:
    """All sides of one broker."""

    def __init__(self, bootstrap, url, nats):
        self.nats_address, self.open = nats, []
        self.address = {"bootstrap.servers": bootstrap}
        self.admin = AdminClient(self.address)
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.stem, self.numbers = f"crossing.{time.time_ns() // 1000000:x}", itertools.count()

    def name(self):
        return f"{self.stem}.{next(self.numbers)}"

    def beside(self, action):
        """Run it in a thread; its result when it is asked for."""
        pool = concurrent.futures.ThreadPoolExecutor(1)
        self.open.append(lambda: pool.shutdown(cancel_futures=True))
        return pool.submit(action)

    def until(self, happened):
        """Let AMQP's connection work until it has."""
        deadline = time.monotonic() + PATIENCE
        while not happened():
            self.connection.process_data_events(0.1)
            assert time.monotonic() < deadline, "it did not happen in time"

    def close(self):
        for end in self.open:
            end()
        self.connection.close()

    # NATS' side.

    @functools.cached_property
    def nats(self):
        made = Nats(self.nats_address)
        self.open.append(made.close)
        return made

    def bare(self):
        made = Bare(self.nats_address)
        self.open.append(made.close)
        return made

    # Kafka's side.

    def topic(self, partitions=1, **configs):
        name = self.name()
        configs = {config.replace("_", "."): str(value) for config, value in configs.items()} | {"retention.ms": "-1"}  # some records are old
        for future in self.admin.create_topics([NewTopic(name, partitions, 1, config=configs)]).values():
            future.result()
        return name

    def grow(self, topic, partitions):
        for future in self.admin.create_partitions([NewPartitions(topic, partitions)]).values():
            future.result()

    def produce(self, topic, *records, partition=0, **settings):
        """Records as dictionaries of Producer.produce's arguments; the offsets they got."""
        producer, placed = Producer(self.address | {"linger.ms": 50, "enable.idempotence": True} | settings), []

        def delivered(error, message):
            assert error is None, error
            placed.append(message.offset())

        for record in records:
            producer.produce(topic, **{"partition": partition} | record, on_delivery=delivered)
        assert producer.flush(PATIENCE) == 0, "not all was acknowledged"
        return placed

    def fetch(self, topic, count, partition=0):
        """The first records of a partition."""
        consumer = Consumer(self.address | {"group.id": "nobody", "enable.auto.commit": False})
        consumer.assign([TopicPartition(topic, partition, 0)])
        found, deadline = [], time.monotonic() + PATIENCE
        while len(found) < count:
            message = consumer.poll(0.2)
            if message is not None:
                assert message.error() is None, message.error()
                found.append(message)
            assert time.monotonic() < deadline, f"{len(found)} of {count} records came"
        consumer.close()
        return found

    def end(self, topic, partition=0):
        consumer = Consumer(self.address | {"group.id": "nobody"})
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=PATIENCE)
        consumer.close()
        return end

    # AMQP's side.

    def queue(self, *keys, exchange=SUBJECTS, **arguments):
        """A queue of this connection, bound with these keys."""
        arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
        queue = self.channel.queue_declare("", exclusive=True, arguments=arguments).method.queue
        for key in keys:
            self.channel.queue_bind(queue, exchange, key)
        return queue

    def publish(self, exchange, key, body=b"body", **properties):
        self.channel.basic_publish(exchange, key, body, pika.BasicProperties(delivery_mode=2, **properties), mandatory=exchange == "")

    def take(self, queue, count):
        """What a queue has, consumed."""
        found, deadline = [], time.monotonic() + PATIENCE
        while len(found) < count:
            method, properties, body = self.channel.basic_get(queue, auto_ack=True)
            if method is not None:
                found.append((method, properties, body))
            assert time.monotonic() < deadline, f"{len(found)} of {count} messages came"
        return found

    def read(self, stream, count, offset="first"):
        """The first messages of a stream from an offset on."""
        channel = self.connection.channel()
        channel.basic_qos(prefetch_count=100)
        found, deadline = [], time.monotonic() + PATIENCE

        def delivered(channel, method, properties, body):
            channel.basic_ack(method.delivery_tag)
            found.append((method, properties, body))

        channel.basic_consume(stream, delivered, arguments={"x-stream-offset": offset})
        while len(found) < count:
            self.connection.process_data_events(0.2)
            assert time.monotonic() < deadline, f"{len(found)} of {count} messages came"
        channel.close()
        return found[:count]


def same(found, wanted):
    assert found == wanted, f"\n    wanted {wanted!r}\n    found  {found!r}"
