// Publishes ten orders with confirms and reads them back, with amqp091-go.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const exchange, queue, key, count = "example.shop", "example.orders.go", "order.go", 10

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	connection := must(amqp.Dial(cmp.Or(os.Getenv("AMQP_URL"), "amqp://guest:guest@localhost:5672/%2f")))
	defer connection.Close()
	channel := must(connection.Channel())
	check(channel.ExchangeDeclare(exchange, "topic", true, false, false, false, nil))
	must(channel.QueueDeclare(queue, true, false, false, false, nil))
	must(channel.QueuePurge(queue, false))
	check(channel.QueueBind(queue, key, exchange, false, nil))
	check(channel.Confirm(false))

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for number := 1; number <= count; number++ {
		order := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: fmt.Appendf(nil, "order %d", number)}
		confirm := must(channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, true, false, order))
		if !must(confirm.WaitContext(ctx)) {
			log.Fatalf("order %d was refused", number)
		}
	}
	fmt.Println(count, "orders are safe")

	check(channel.Qos(count, 0, false))
	deliveries := must(channel.ConsumeWithContext(ctx, queue, "", false, false, false, false, nil))
	for seen := 0; seen < count; seen++ {
		delivery, open := <-deliveries
		if !open {
			log.Fatal("the deliveries ended early")
		}
		fmt.Println(string(delivery.Body))
		check(delivery.Ack(false))
	}
}
