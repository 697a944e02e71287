"""Publishes ten orders with confirms and reads them back, with pika."""

import os

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")
EXCHANGE, QUEUE, COUNT = "example.shop", "example.orders.python", 10


def main() -> None:
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
    channel.queue_declare(QUEUE, durable=True)
    channel.queue_purge(QUEUE)
    channel.queue_bind(QUEUE, EXCHANGE, routing_key="order.python")

    channel.confirm_delivery()  # from here on, basic_publish returns when the message is durable, and raises when it is refused
    for number in range(1, COUNT + 1):
        channel.basic_publish(
            EXCHANGE,
            "order.python",
            f"order {number}".encode(),
            pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
            mandatory=True,
        )
    print(f"{COUNT} orders are safe")

    channel.basic_qos(prefetch_count=COUNT)
    for method, _properties, body in channel.consume(QUEUE, inactivity_timeout=10):
        if method is None:
            raise SystemExit("no order for ten seconds")
        print(body.decode())
        channel.basic_ack(method.delivery_tag)
        if body == f"order {COUNT}".encode():
            break
    connection.close()


if __name__ == "__main__":
    main()
