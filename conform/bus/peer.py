"""A peer that speaks MassTransit's envelope by the book, with nothing but pika, and what runs its cases.

Used by interop.py and shop.py. It starts the application, runs one case after the other, each on a connection of its own, and prints a
line for each; the exit code is 1 if one failed. It shares no code with the library that is judged.
"""
import json
import os
import signal
import subprocess
import sys
import time
import uuid

import pika

PATIENCE = 60.0  # seconds; how long an event may take that must come
ENVELOPE = "application/vnd.masstransit+json"
FIELDS = {
    "messageId", "requestId", "correlationId", "conversationId", "initiatorId", "sourceAddress", "destinationAddress",
    "responseAddress", "faultAddress", "messageType", "message", "expirationTime", "sentTime", "headers", "host",
}
HOST = {
    "machineName", "processName", "processId", "assembly", "assemblyVersion", "frameworkVersion", "massTransitVersion",
    "operatingSystemVersion",
}


def new_id():
    return str(uuid.uuid4())


class Peer:
    def __init__(self, url, namespace):
        self.namespace = namespace
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.taps = {}

    def tap(self, exchange):
        """A queue that sees all that is published to an exchange."""
        if exchange not in self.taps:
            self.channel.exchange_declare(exchange, "fanout", durable=True)
            name = self.channel.queue_declare("", exclusive=True).method.queue
            self.channel.queue_bind(name, exchange)
            self.taps[exchange] = name
        return self.taps[exchange]

    def endpoint(self, name):
        """An endpoint of our own, as MassTransit makes it: exchange and queue of one name."""
        self.channel.exchange_declare(name, "fanout", durable=False, auto_delete=True)
        self.channel.queue_declare(name, exclusive=True, auto_delete=True)
        self.channel.queue_bind(name, name)
        return name

    def take(self, queue, wanted=lambda properties, body: True, patience=PATIENCE):
        """The next message that is wanted; others are dropped."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            method, properties, body = self.channel.basic_get(queue, auto_ack=True)
            if method is None:
                self.connection.process_data_events(0.01)
            elif wanted(properties, body):
                return properties, body
        raise AssertionError(f"nothing came to {queue}")

    def nothing(self, queue, wanted, span=0.5):
        end = time.monotonic() + span
        while time.monotonic() < end:
            method, properties, body = self.channel.basic_get(queue, auto_ack=True)
            if method is not None and wanted(properties, body):
                raise AssertionError(f"unexpected message in {queue}: {body!r}")
            self.connection.process_data_events(0.01)

    def send(self, exchange, name, message, key="", properties=None, **fields):
        envelope = {
            "messageId": new_id(),
            "conversationId": new_id(),
            "sourceAddress": "rabbitmq://peer/python",
            "destinationAddress": f"rabbitmq://peer/{exchange}",
            "messageType": [f"urn:message:{self.namespace}:{name}"],
            "message": message,
            "sentTime": "2026-11-21T06:00:00.0000000Z",
            "headers": {},
            "host": {"machineName": "peer", "processId": 1},
        }
        envelope.update(fields)
        extra = dict(properties or {})
        extra.setdefault("message_id", envelope.get("messageId"))
        self.channel.basic_publish(
            exchange, key, json.dumps(envelope).encode(), pika.BasicProperties(content_type=ENVELOPE, delivery_mode=2, **extra)
        )
        return envelope


def of_order(order):
    """Envelopes (or bare payloads) about this order."""
    return lambda properties, body: order.lower() in body.decode("utf-8", "replace").lower()


def well_formed(properties, body, name):
    assert properties.content_type == ENVELOPE, properties.content_type
    assert properties.delivery_mode == 2
    envelope = json.loads(body)
    assert set(envelope) <= FIELDS, set(envelope) - FIELDS
    assert properties.message_id == envelope["messageId"]
    for field in ("messageId", "conversationId"):
        assert str(uuid.UUID(envelope[field])) == envelope[field], "GUIDs in lower case"
    assert envelope["messageType"][0] == name, envelope["messageType"]
    assert set(envelope["host"]) == HOST
    assert envelope["sentTime"].endswith("Z")
    assert "://" in envelope["sourceAddress"] and "://" in envelope["destinationAddress"]
    return envelope


def run(cases, namespace, arguments):
    """Start `arguments` with the broker's address, wait for READY, run the cases, stop it. The exit code."""
    *arguments, url = arguments
    environment = {**os.environ, "AMQP_URL": url, "BROKER_URL": url}
    service = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True)
    failed = 0
    try:
        assert service.stdout.readline().strip() == "READY", "the application did not start"
        for function in cases:
            name = function.__name__.replace("_", " ")
            peer = Peer(url, namespace)
            try:
                function(peer)
                print(f"ok      {name}", flush=True)
            except Exception as error:  # one failed case must not hide the others
                failed += 1
                print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
            finally:
                peer.connection.close()
        start = time.monotonic()
        service.send_signal(signal.SIGTERM)
        code = service.wait(PATIENCE)
        if code != 0:
            failed += 1
            print(f"FAILED  it stops on SIGTERM: exit code {code}")
        else:
            print(f"ok      it stops on SIGTERM in {time.monotonic() - start:.1f} s")
    finally:
        if service.poll() is None:
            service.kill()
    print(f"{len(cases) + 1 - failed} passed, {failed} failed")
    return 1 if failed else 0
