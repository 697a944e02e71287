"""A peer that speaks MassTransit's envelope by the book, with nothing but pika, against the interop application.

usage: peer.py INTEROP_BINARY AMQP_URL

Starts the application, exchanges every kind of message with it, and judges what comes back: topology, envelope, faults, moves,
raw JSON, CloudEvents. Prints one line per case; exits 1 if one failed. It shares no code with the library it judges.
"""
import json
import os
import signal
import subprocess
import sys
import time
import uuid

import pika

ENVELOPE = "application/vnd.masstransit+json"
NS = "Shop.Contracts"
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


def urn(name):
    return f"urn:message:{NS}:{name}"


class Peer:
    def __init__(self, url):
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

    def take(self, queue, wanted=lambda properties, body: True, patience=15.0):
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
            "messageType": [urn(name)],
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


CASES = []


def case(function):
    CASES.append(function)
    return function


@case
def a_published_order_is_taken_through_the_topology_and_announced(peer):
    order, tap = new_id(), peer.tap(f"{NS}:OrderSubmitted")
    sent = peer.send(
        f"{NS}:SubmitOrder", "SubmitOrder", {"orderId": order, "customer": "Ada", "amount": "12.50"},
        correlationId=order, headers={"tenant": "t7", "MT-Secret": "stays"},
    )
    envelope = well_formed(*peer.take(tap, of_order(order)), urn("OrderSubmitted"))
    assert envelope["message"] == {"orderId": order, "customer": "Ada", "amount": "12.50"}, envelope["message"]
    assert envelope["conversationId"] == sent["conversationId"]
    assert envelope["initiatorId"] == order and envelope["correlationId"] == order
    assert envelope["headers"].get("tenant") == "t7" and "MT-Secret" not in envelope["headers"]
    assert envelope["sourceAddress"].endswith("/submit-order")
    assert envelope["destinationAddress"].endswith(f"/{NS}:OrderSubmitted")


@case
def a_sent_order_arrives_through_the_endpoints_exchange_and_a_number_is_an_amount(peer):
    order, tap = new_id(), peer.tap(f"{NS}:OrderSubmitted")
    peer.send("submit-order", "SubmitOrder", {"orderId": order, "customer": "Bob", "amount": 7.25})
    envelope = well_formed(*peer.take(tap, of_order(order)), urn("OrderSubmitted"))
    assert float(envelope["message"]["amount"]) == 7.25
    assert envelope["initiatorId"] is None


@case
def any_letter_case_unknown_fields_and_any_place_in_the_types_are_read(peer):
    order, tap = new_id(), peer.tap(f"{NS}:OrderSubmitted")
    body = {
        "MessageId": new_id().upper(), "CONVERSATIONID": new_id(), "future": {"x": [1]},
        "MessageType": [urn("PriorityOrder"), urn("SubmitOrder"), urn("IAnything")],
        "Message": {"ORDERID": order.upper(), "Customer": "Cy", "AMOUNT": "1", "extra": None, "Behavior": "ok"},
    }
    peer.channel.basic_publish("submit-order", "", json.dumps(body).encode(), pika.BasicProperties(content_type=ENVELOPE))
    envelope = well_formed(*peer.take(tap, of_order(order)), urn("OrderSubmitted"))
    assert envelope["message"]["orderId"] == order and envelope["message"]["customer"] == "Cy"


@case
def raw_json_is_taken_by_its_header(peer):
    order, tap, message_id = new_id(), peer.tap(f"{NS}:OrderSubmitted"), new_id()
    correlation = new_id()
    headers = {"MT-MessageType": urn("SubmitOrder"), "MessageId": message_id, "CorrelationId": correlation}
    body = json.dumps({"orderId": order, "customer": "Di", "amount": 3}).encode()
    for _ in range(2):  # the second is a copy, and has no effect
        peer.channel.basic_publish("submit-order", "", body, pika.BasicProperties(content_type="application/json", headers=headers))
    envelope = well_formed(*peer.take(tap, of_order(order)), urn("OrderSubmitted"))
    assert envelope["initiatorId"] == correlation
    peer.nothing(tap, of_order(order))


@case
def cloud_events_are_taken_in_both_modes(peer):
    tap = peer.tap(f"{NS}:OrderSubmitted")
    order = new_id()
    event = {"specversion": "1.0", "id": new_id(), "source": "/python", "type": f"{NS}:SubmitOrder",
             "datacontenttype": "application/json", "data": {"orderId": order, "customer": "Eve", "amount": "2"}}
    properties = pika.BasicProperties(content_type="application/cloudevents+json; charset=utf-8")
    peer.channel.basic_publish("submit-order", "", json.dumps(event).encode(), properties)
    well_formed(*peer.take(tap, of_order(order)), urn("OrderSubmitted"))
    for prefix in ("cloudEvents:", "cloudEvents_"):
        order = new_id()
        headers = {f"{prefix}{name}": event[name] for name in ("specversion", "source", "type")}
        headers[f"{prefix}id"] = new_id()
        body = json.dumps({"orderId": order, "customer": "Eve", "amount": "2"}).encode()
        peer.channel.basic_publish("submit-order", "", body, pika.BasicProperties(content_type="application/json", headers=headers))
        well_formed(*peer.take(tap, of_order(order)), urn("OrderSubmitted"))


@case
def one_message_id_has_one_effect(peer):
    order, tap, message_id = new_id(), peer.tap(f"{NS}:OrderSubmitted"), new_id()
    for _ in range(3):
        peer.send("submit-order", "SubmitOrder", {"orderId": order, "customer": "F", "amount": 1}, messageId=message_id)
    peer.take(tap, of_order(order))
    peer.nothing(tap, of_order(order))


@case
def a_request_is_answered_at_a_temporary_queue(peer):
    inbox, order, request = peer.endpoint(f"peer-{new_id()}"), new_id(), new_id()
    sent = peer.send(
        "submit-order", "SubmitOrder", {"orderId": order, "customer": "G", "amount": 1}, requestId=request,
        responseAddress=f"rabbitmq://localhost/{inbox}?temporary=true",
    )
    envelope = well_formed(*peer.take(inbox), urn("OrderAccepted"))
    assert envelope["requestId"] == request and envelope["message"] == {"orderId": order}
    assert envelope["initiatorId"] == request, "no correlation id was consumed, so it is the request's"
    assert envelope["conversationId"] == sent["conversationId"]
    for asked, answer in ((order, "OrderStatusResult"), (new_id(), "OrderNotFound")):
        request = new_id()
        peer.send("check-order-status", "CheckOrderStatus", {"orderId": asked}, requestId=request,
                  responseAddress=f"rabbitmq://localhost/{inbox}?temporary=true")
        envelope = well_formed(*peer.take(inbox), urn(answer))
        assert envelope["requestId"] == request and envelope["message"]["orderId"] == asked
        if answer == "OrderStatusResult":
            assert envelope["message"]["status"] == "Submitted"


@case
def a_request_is_answered_by_direct_reply_to(peer):
    channel = peer.connection.channel()
    answers, request = [], new_id()
    channel.basic_consume("amq.rabbitmq.reply-to", lambda _c, _m, properties, body: answers.append((properties, body)), auto_ack=True)
    envelope = {"messageId": new_id(), "requestId": request, "messageType": [urn("CheckOrderStatus")],
                "message": {"orderId": new_id()}, "responseAddress": "rabbitmq://localhost/amq.rabbitmq.reply-to"}
    properties = pika.BasicProperties(content_type=ENVELOPE, reply_to="amq.rabbitmq.reply-to")
    channel.basic_publish("check-order-status", "", json.dumps(envelope).encode(), properties)
    end = time.monotonic() + 15
    while not answers and time.monotonic() < end:
        peer.connection.process_data_events(0.05)
    assert answers, "no direct reply"
    assert well_formed(*answers[0], urn("OrderNotFound"))["requestId"] == request
    channel.close()


def error_move(peer, order, behavior, **fields):
    peer.channel.queue_declare("submit-order_error", durable=True)
    sent = peer.send("submit-order", "SubmitOrder", {"orderId": order, "customer": "H", "amount": 1, "behavior": behavior},
                     properties={"headers": {"own": "kept"}, "priority": 4, "app_id": "python"}, **fields)
    properties, body = peer.take("submit-order_error", of_order(order))
    assert json.loads(body) == sent, "the original bytes"
    assert properties.content_type == ENVELOPE and properties.message_id == sent["messageId"]
    assert properties.priority == 4 and properties.app_id == "python" and properties.headers["own"] == "kept"
    return sent, properties.headers


@case
def a_failing_order_goes_to_the_error_queue_with_one_published_fault(peer):
    order, tap = new_id(), peer.tap(f"{NS}:OrderSubmitted")
    faults = peer.tap(f"MassTransit:Fault--{NS}:SubmitOrder--")
    sent, headers = error_move(peer, order, "fail")
    assert headers["MT-Reason"] == "fault" and headers["MT-Fault-RetryCount"] == 3
    assert "asked to fail" in headers["MT-Fault-Message"]
    for name in ("ExceptionType", "StackTrace", "Timestamp", "ConsumerType", "MessageType"):
        assert f"MT-Fault-{name}" in headers, name
    assert headers["MT-Fault-InputAddress"].endswith("/submit-order")
    for name in HOST:
        assert f"MT-Host-{name[0].upper()}{name[1:]}" in headers, name
    fault = well_formed(*peer.take(faults, of_order(order)), f"urn:message:MassTransit:Fault[[{NS}:SubmitOrder]]")
    assert "urn:message:MassTransit:Fault" in fault["messageType"]
    message = fault["message"]
    assert message["faultedMessageId"] == sent["messageId"] and message["faultMessageTypes"] == sent["messageType"]
    assert message["message"] == sent["message"] and uuid.UUID(message["faultId"])
    assert "asked to fail" in message["exceptions"][0]["message"] and message["exceptions"][0]["exceptionType"]
    assert set(message) == {"faultId", "faultedMessageId", "timestamp", "exceptions", "host", "faultMessageTypes", "message"}
    peer.nothing(faults, of_order(order))
    peer.nothing(tap, of_order(order))  # the publish of a failed attempt never leaks out


@case
def a_fault_goes_to_the_fault_address_else_the_response_address(peer):
    faults = peer.tap(f"MassTransit:Fault--{NS}:SubmitOrder--")
    first, second = peer.endpoint(f"peer-{new_id()}"), peer.endpoint(f"peer-{new_id()}")
    address = lambda name: f"rabbitmq://localhost/{name}?temporary=true"
    for fields, chosen, other in (
        ({"faultAddress": address(first), "responseAddress": address(second)}, first, second),
        ({"responseAddress": address(second)}, second, first),
    ):
        order, request = new_id(), new_id()
        error_move(peer, order, "fail", requestId=request, **fields)
        fault = well_formed(*peer.take(chosen, of_order(order)), f"urn:message:MassTransit:Fault[[{NS}:SubmitOrder]]")
        assert fault["requestId"] == request
        peer.nothing(other, of_order(order), 0.2)
        peer.nothing(faults, of_order(order), 0.2)


@case
def a_flaky_order_succeeds_within_its_retries_and_publishes_once(peer):
    order, tap = new_id(), peer.tap(f"{NS}:OrderSubmitted")
    peer.send("submit-order", "SubmitOrder", {"orderId": order, "customer": "I", "amount": 1, "behavior": "flaky:3"})
    peer.take(tap, of_order(order))
    peer.nothing(tap, of_order(order))


@case
def an_unknown_type_goes_to_the_skipped_queue(peer):
    peer.channel.queue_declare("submit-order_skipped", durable=True)
    marker = new_id()
    sent = peer.send("submit-order", "SubmitOrder", {"orderId": marker}, messageType=["urn:message:Other.Contracts:SubmitOrder"])
    properties, body = peer.take("submit-order_skipped", of_order(marker))
    assert json.loads(body) == sent and properties.headers["MT-Reason"] == "dead-letter"
    assert properties.message_id == sent["messageId"]


@case
def a_body_that_cannot_be_read_goes_to_the_error_queue_and_the_endpoint_goes_on(peer):
    peer.channel.queue_declare("submit-order_error", durable=True)
    bodies = [b"\xff\xfe not json", b'{"messageId":"seven","messageType":[]}', b"[]", b"",
              json.dumps({"messageId": new_id(), "messageType": [urn("SubmitOrder")], "message": {"orderId": 5}}).encode()]
    for body in bodies:
        peer.channel.basic_publish("submit-order", "", body, pika.BasicProperties(content_type=ENVELOPE))
        properties, _ = peer.take("submit-order_error", lambda _p, found, body=body: found == body)
        assert properties.headers["MT-Reason"] == "fault"
    a_published_order_is_taken_through_the_topology_and_announced(peer)


def main():
    binary, url = sys.argv[1:3]
    service = subprocess.Popen([binary, "serve"], env={**os.environ, "AMQP_URL": url}, stdout=subprocess.PIPE, text=True)
    failed = 0
    try:
        assert service.stdout.readline().strip() == "READY", "the application did not start"
        for function in CASES:
            name = function.__name__.replace("_", " ")
            peer = Peer(url)
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
        code = service.wait(15)
        if code != 0:
            failed += 1
            print(f"FAILED  it stops on SIGTERM: exit code {code}")
        else:
            print(f"ok      it stops on SIGTERM in {time.monotonic() - start:.1f} s")
    finally:
        if service.poll() is None:
            service.kill()
    print(f"{len(CASES) + 1 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
