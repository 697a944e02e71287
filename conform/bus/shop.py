"""Every message that the services of `examples/shop` say or understand, exchanged with them by a peer in Python.

usage: shop.py SHOP_BINARY AMQP_URL

The peer is in turn customer, inventory, bank and listener. Requests, responses of both kinds, commands, events, a scheduled message,
compensation, a fault, moves. The last case looks that no type of the shop was left out.
"""
import json
import sys
import time

import pika

from peer import ENVELOPE, PATIENCE, new_id, of_order, run, well_formed

NS = "Shop.Demo"
CASES = []
PAYMENT_PATIENCE = 5.0  # seconds; how long the shop lets a customer pay
# What was exchanged: said by the shop, or said to it with an effect that was seen.
HEARD, UNDERSTOOD = set(), set()


def case(function):
    CASES.append(function)
    return function


def urn(name):
    return f"urn:message:{NS}:{name}"


def hear(peer, queue, order, name, patience=PATIENCE):
    """The next message about this order, of this type, well formed."""
    wanted = lambda properties, body: of_order(order)(properties, body) and urn(name) in json.loads(body)["messageType"]
    envelope = well_formed(*peer.take(queue, wanted, patience), urn(name))
    HEARD.add(name)
    return envelope


def taps(peer, *names):
    """Queues that see what is published, or sent to an endpoint."""
    return [peer.tap(name if name.startswith("shop-") else f"{NS}:{name}") for name in names]


def place(peer, customer, product, order=None, **fields):
    order = order or new_id()
    message = {"orderId": order, "customer": customer, "product": product}
    return order, peer.send("shop-order", "PlaceOrder", message, correlationId=order, **fields)


def reply_address(queue):
    return f"rabbitmq://localhost/{queue}?temporary=true"


@case
def an_order_is_accepted_and_goes_through_all_services(peer):
    inbox, request = peer.endpoint(f"peer-{new_id()}"), new_id()
    placed, reserved, paid, done = taps(peer, "OrderPlaced", "StockReserved", "PaymentTaken", "OrderCompleted")
    inventory, payment = taps(peer, "shop-inventory", "shop-payment")
    order, sent = place(peer, "ada", "lamp", requestId=request, responseAddress=reply_address(inbox))
    answer = hear(peer, inbox, order, "OrderAccepted")
    assert answer["requestId"] == request and answer["message"] == {"orderId": order}
    UNDERSTOOD.add("PlaceOrder")
    for queue, name, message in (
        (placed, "OrderPlaced", {"orderId": order, "customer": "ada", "product": "lamp"}),
        (inventory, "ReserveStock", {"orderId": order, "product": "lamp"}),
        (reserved, "StockReserved", {"orderId": order}),
        (payment, "TakePayment", {"orderId": order, "customer": "ada"}),
        (paid, "PaymentTaken", {"orderId": order}),
        (done, "OrderCompleted", {"orderId": order, "product": "lamp"}),
    ):
        envelope = hear(peer, queue, order, name)
        assert envelope["message"] == message, envelope["message"]
        assert envelope["conversationId"] == sent["conversationId"], f"{name}: one conversation from end to end"
        assert envelope["correlationId"] == order


@case
def an_order_for_nothing_is_refused_by_direct_reply_to(peer):
    channel, answers, request, order = peer.connection.channel(), [], new_id(), new_id()
    channel.basic_consume("amq.rabbitmq.reply-to", lambda _c, _m, properties, body: answers.append((properties, body)), auto_ack=True)
    envelope = {"messageId": new_id(), "requestId": request, "messageType": [urn("PlaceOrder")],
                "message": {"orderId": order, "customer": "ada", "product": ""},
                "responseAddress": "rabbitmq://localhost/amq.rabbitmq.reply-to"}
    properties = pika.BasicProperties(content_type=ENVELOPE, reply_to="amq.rabbitmq.reply-to")
    channel.basic_publish("shop-order", "", json.dumps(envelope).encode(), properties)
    end = time.monotonic() + PATIENCE
    while not answers and time.monotonic() < end:
        peer.connection.process_data_events(0.05)
    assert answers, "no direct reply"
    answer = well_formed(*answers[0], urn("OrderRefused"))
    assert answer["requestId"] == request and answer["message"] == {"orderId": order, "why": "no product was named"}
    HEARD.add("OrderRefused")
    channel.close()


@case
def the_peer_is_the_bank_and_its_word_ends_an_order(peer):
    payment, done, cancelled = taps(peer, "shop-payment", "OrderCompleted", "OrderCancelled")
    inventory, = taps(peer, "shop-inventory")
    # This customer never answers, so what the peer says is the only answer.
    for said, queue, name, why in (
        ("PaymentTaken", done, "OrderCompleted", None),
        ("PaymentRefused", cancelled, "OrderCancelled", "payment refused"),
    ):
        order, _ = place(peer, "absent-minded", "lamp")
        hear(peer, payment, order, "TakePayment")
        peer.send(f"{NS}:{said}", said, {"orderId": order}, correlationId=order)
        assert hear(peer, queue, order, name)["message"].get("why") == why
        UNDERSTOOD.add(said)
        if why:
            released = hear(peer, inventory, order, "ReleaseStock")
            assert released["message"] == {"orderId": order, "product": "lamp"}, "compensation"


@case
def what_was_scheduled_comes_in_its_time_and_what_the_peer_says_earlier_counts(peer):
    saga, payment, cancelled = taps(peer, "shop-order-saga", "shop-payment", "OrderCancelled")
    start = time.monotonic()
    order, _ = place(peer, "absent-minded", "lamp")
    hear(peer, payment, order, "TakePayment")
    late = hear(peer, saga, order, "PaymentLate")
    assert time.monotonic() - start > PAYMENT_PATIENCE - 0.5, "scheduled so far ahead"
    assert late["message"] == {"orderId": order}
    assert hear(peer, cancelled, order, "OrderCancelled")["message"]["why"] == "payment late"
    for _ in range(10):
        start = time.monotonic()
        order, _ = place(peer, "absent-minded", "lamp")
        hear(peer, payment, order, "TakePayment")
        peer.send("shop-order-saga", "PaymentLate", {"orderId": order}, correlationId=order)
        assert hear(peer, cancelled, order, "OrderCancelled")["message"]["why"] == "payment late"
        if time.monotonic() - start < PAYMENT_PATIENCE:
            break  # Nothing that was scheduled has come yet. On a machine that was too slow for that it tells nothing.
    else:
        raise AssertionError("it is never said by the peer, only by the schedule")
    UNDERSTOOD.add("PaymentLate")


@case
def the_peer_orders_from_inventory_and_bank_without_an_order(peer):
    reserved, missing, paid, refused = taps(peer, "StockReserved", "StockMissing", "PaymentTaken", "PaymentRefused")
    product = f"peer-{new_id()}"
    first, second = new_id(), new_id()
    peer.send("shop-inventory", "ReserveStock", {"orderId": first, "product": product})
    hear(peer, missing, first, "StockMissing")
    peer.send("shop-inventory", "ReleaseStock", {"orderId": second, "product": product})
    peer.send("shop-inventory", "ReserveStock", {"orderId": second, "product": product})
    hear(peer, reserved, second, "StockReserved")
    peer.send("shop-payment", "TakePayment", {"orderId": first, "customer": "ada"})
    hear(peer, paid, first, "PaymentTaken")
    peer.send("shop-payment", "TakePayment", {"orderId": second, "customer": "poor"})
    hear(peer, refused, second, "PaymentRefused")
    UNDERSTOOD.update(("ReserveStock", "ReleaseStock", "TakePayment"))


@case
def the_peer_is_the_order_service_and_the_inventory_for_the_saga(peer):
    inventory, payment, cancelled = taps(peer, "shop-inventory", "shop-payment", "OrderCancelled")
    order, product = new_id(), f"peer-{new_id()}"
    peer.send(f"{NS}:OrderPlaced", "OrderPlaced", {"orderId": order, "customer": "ada", "product": product}, correlationId=order)
    hear(peer, inventory, order, "ReserveStock")
    assert hear(peer, cancelled, order, "OrderCancelled")["message"]["why"] == "out of stock"
    # An event that comes before its instance waits for it, by the broker; by then the peer's word about the stock is there already.
    order = new_id()
    peer.send(f"{NS}:StockReserved", "StockReserved", {"orderId": order}, correlationId=order)
    peer.send(f"{NS}:OrderPlaced", "OrderPlaced", {"orderId": order, "customer": "poor", "product": "lamp"}, correlationId=order)
    hear(peer, payment, order, "TakePayment")
    assert hear(peer, cancelled, order, "OrderCancelled")["message"]["why"] == "payment refused"
    order = new_id()
    peer.send(f"{NS}:OrderPlaced", "OrderPlaced", {"orderId": order, "customer": "absent-minded", "product": "lamp"}, correlationId=order)
    hear(peer, payment, order, "TakePayment")
    peer.send(f"{NS}:StockMissing", "StockMissing", {"orderId": order}, correlationId=order)  # too late, and ignored
    assert hear(peer, cancelled, order, "OrderCancelled")["message"]["why"] == "payment late"
    UNDERSTOOD.update(("OrderPlaced", "StockReserved", "StockMissing"))


@case
def what_the_peer_says_was_sold_is_recommended(peer):
    inbox, order, product, request = peer.endpoint(f"peer-{new_id()}"), new_id(), f"peer-{new_id()}", new_id()
    for _ in range(20):  # more often than anything else was
        peer.send(f"{NS}:OrderCompleted", "OrderCompleted", {"orderId": new_id(), "product": product})
    end = time.monotonic() + PATIENCE
    products = []
    while product not in products and time.monotonic() < end:
        # Published, as the shop's customer asks: to whoever knows.
        peer.send(f"{NS}:Recommend", "Recommend", {"orderId": order, "product": "lamp"}, requestId=request,
                  responseAddress=reply_address(inbox))
        answer = hear(peer, inbox, order, "Recommendation")
        assert answer["requestId"] == request
        products = answer["message"]["products"]
    assert product in products, products
    UNDERSTOOD.update(("OrderCompleted", "Recommend"))


@case
def what_cannot_be_learned_ends_in_the_error_queue_and_in_one_fault(peer):
    faults = peer.tap(f"MassTransit:Fault--{NS}:OrderCompleted--")
    peer.channel.queue_declare("shop-recommendation_error", durable=True)
    order = new_id()
    sent = peer.send("shop-recommendation", "OrderCompleted", {"orderId": order, "product": "cursed-idol"})
    fault = well_formed(*peer.take(faults, of_order(order)), f"urn:message:MassTransit:Fault[[{NS}:OrderCompleted]]")
    message = fault["message"]
    assert message["faultedMessageId"] == sent["messageId"] and message["message"] == sent["message"]
    assert "cursed-idol" in message["exceptions"][0]["message"]
    properties, body = peer.take("shop-recommendation_error", of_order(order))
    assert json.loads(body) == sent and properties.headers["MT-Reason"] == "fault"
    assert properties.headers["MT-Fault-RetryCount"] == 2
    peer.nothing(faults, of_order(order))
    HEARD.add("Fault")


@case
def raw_json_and_cloud_events_place_orders_too(peer):
    placed, = taps(peer, "OrderPlaced")
    order = new_id()
    body = json.dumps({"OrderId": order, "Customer": "ada", "Product": "lamp"}).encode()
    headers = {"MT-MessageType": urn("PlaceOrder"), "MessageId": new_id()}
    peer.channel.basic_publish("shop-order", "", body, pika.BasicProperties(content_type="application/json", headers=headers))
    hear(peer, placed, order, "OrderPlaced")
    order = new_id()
    event = {"specversion": "1.0", "id": new_id(), "source": "/python", "type": f"{NS}:PlaceOrder",
             "datacontenttype": "application/json", "data": {"orderId": order, "customer": "ada", "product": "lamp"}}
    properties = pika.BasicProperties(content_type="application/cloudevents+json")
    peer.channel.basic_publish("shop-order", "", json.dumps(event).encode(), properties)
    hear(peer, placed, order, "OrderPlaced")


@case
def an_unknown_type_goes_to_the_skipped_queue(peer):
    peer.channel.queue_declare("shop-order_skipped", durable=True)
    order, sent = place(peer, "ada", "lamp", messageType=["urn:message:Other.Shop:PlaceOrder"])
    properties, body = peer.take("shop-order_skipped", of_order(order))
    assert json.loads(body) == sent and properties.headers["MT-Reason"] == "dead-letter"


@case
def every_type_of_the_shop_was_exchanged(peer):
    heard = {"OrderAccepted", "OrderRefused", "OrderPlaced", "ReserveStock", "StockReserved", "StockMissing", "ReleaseStock",
             "TakePayment", "PaymentTaken", "PaymentRefused", "PaymentLate", "OrderCompleted", "OrderCancelled", "Recommendation", "Fault"}
    understood = {"PlaceOrder", "OrderPlaced", "ReserveStock", "StockReserved", "StockMissing", "ReleaseStock", "TakePayment",
                  "PaymentTaken", "PaymentRefused", "PaymentLate", "OrderCompleted", "Recommend"}
    assert heard == HEARD, heard ^ HEARD
    assert understood == UNDERSTOOD, understood ^ UNDERSTOOD


if __name__ == "__main__":
    program, url = sys.argv[1:3]
    sys.exit(run(CASES, NS, [program, "serve", url]))
