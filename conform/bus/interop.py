"""Every kind of message that the interop application's contract names, exchanged with it by a peer in Python.

usage: interop.py INTEROP_BINARY AMQP_URL

Judges what comes back: topology, envelope, faults, moves, raw JSON, CloudEvents.
"""
import json
import sys
import time
import uuid

import pika

from peer import ENVELOPE, HOST, PATIENCE, new_id, of_order, run, well_formed

NS = "Shop.Contracts"
CASES = []


def urn(name):
    return f"urn:message:{NS}:{name}"


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
    end = time.monotonic() + PATIENCE
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


if __name__ == "__main__":
    program, url = sys.argv[1:3]
    sys.exit(run(CASES, NS, [program, "serve", url]))
