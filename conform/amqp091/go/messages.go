package main

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Publishing, consuming, limits: what happens to messages.
var messages = []entry{
	{"publish_confirm", publishConfirm},
	{"mandatory_return_before_confirm", mandatoryReturn},
	{"immediate_540", immediate},
	{"tx", transaction},
	{"reject_publish", rejectPublish},
	{"large_body", largeBody},
	{"user_id", userID},
	{"basic_get", basicGet},
	{"consume_and_ack", consumeAndAck},
	{"nack_multiple", nackMultiple},
	{"requeue_keeps_place", requeueKeepsPlace},
	{"qos_per_consumer", qosPerConsumer},
	{"consumer_priority", consumerPriority},
	{"single_active_consumer", singleActiveConsumer},
	{"cancel_notify", cancelNotify},
	{"ttl_queue", ttlQueue},
	{"maxlen_drop_head", maxlenDropHead},
	{"dead_letter_rejected_x_death", deadLetterRejected},
	{"dead_letter_count_grows", deadLetterCount},
	{"priority_queue", priorityQueue},
	{"delivery_limit_quorum", deliveryLimit},
}

func deadLetters(target string, more amqp.Table) amqp.Table {
	table := amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target}
	for name, value := range more {
		table[name] = value
	}
	return table
}

func publishConfirm(r *rig) any {
	channel := r.channel()
	queue := r.queue(channel, "", how{durable: true})
	var open []*amqp.DeferredConfirmation
	for number := range 200 {
		message := amqp.Publishing{Body: []byte(strconv.Itoa(number)), DeliveryMode: uint8(2 - number%2)}
		open = append(open, have(channel.PublishWithDeferredConfirm("", queue, false, false, message)))
	}
	confirmed, refused := 0, 0
	for _, confirm := range open {
		if confirm.Wait() {
			confirmed++
		} else {
			refused++
		}
	}
	inOrder := true
	for number, body := range drain(channel, queue) {
		inOrder = inOrder && body == strconv.Itoa(number)
	}
	return object{"confirmed": confirmed, "refused": refused, "in_order": inOrder}
}

func mandatoryReturn(r *rig) any {
	channel := r.channel()
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	message := amqp.Publishing{Body: []byte("back to sender"), MessageId: "m1", Headers: amqp.Table{"a": int32(1)}}
	confirm := have(channel.PublishWithDeferredConfirm("amq.direct", "nowhere", true, false, message))
	then := list{"Basic.Nack", confirm.DeliveryTag}
	if confirm.Wait() {
		then[0] = "Basic.Ack"
	}
	back := <-returns // it is there already, for it came before the confirm
	return object{
		"return":     list{back.ReplyCode, back.ReplyText, back.Exchange, back.RoutingKey},
		"properties": list{back.MessageId, headers(back.Headers)},
		"body":       string(back.Body),
		"then":       then,
	}
}

func immediate(r *rig) any {
	connection := r.connect()
	channel := have(connection.Channel())
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	must(channel.Publish("amq.direct", "nowhere", false, true, amqp.Publishing{}))
	refusal := wait(closed)
	return list{"connection", refusal.Code, refusal.Reason}
}

func transaction(r *rig) any {
	connection := r.connect()
	queue := r.queue(r.channel(connection), "", how{})
	channel := have(connection.Channel())
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	if err := channel.Tx(); err != nil {
		return object{"select": list{"Connection.Close", wait(closed).Code}}
	}
	must(channel.Publish("", queue, false, false, amqp.Publishing{Body: []byte("rolled back")}))
	must(channel.TxRollback())
	must(channel.Publish("", queue, false, false, amqp.Publishing{Body: []byte("committed")}))
	must(channel.TxCommit())
	bodies := drain(r.channel(connection), queue)
	mixed := attempt(connection, func(channel *amqp.Channel) error {
		must(channel.Tx())
		return channel.Confirm(false)
	})
	return object{"select": "Tx.SelectOk", "bodies": bodies, "then_confirm": mixed}
}

func rejectPublish(r *rig) any {
	channel := r.channel()
	queue := r.queue(channel, "", how{arguments: amqp.Table{"x-max-length": 2, "x-overflow": "reject-publish"}})
	var refused []string
	for _, body := range []string{"1", "2", "3"} {
		if !publish(channel, "", queue, body) {
			refused = append(refused, body)
		}
	}
	kept := drain(channel, queue)
	publish(channel, "", queue, "4")
	return object{"refused": strings.Join(refused, ","), "kept": kept, "room_again": drain(channel, queue)}
}

func largeBody(r *rig) any {
	channel := r.channel()
	queue := r.queue(channel, "", how{})
	body := make([]byte, 8<<20)
	for at := range body {
		body[at] = byte(at)
	}
	publish(channel, "", queue, string(body))
	publish(channel, "", queue, "")
	first, second := take(channel, queue), take(channel, queue)
	return object{"bytes": len(first.Body), "intact": bytes.Equal(first.Body, body), "empty": len(second.Body)}
}

func userID(r *rig) any {
	connection := r.connect()
	queue := r.queue(r.channel(connection), "", how{})
	as := func(user string) any {
		return attempt(connection, func(channel *amqp.Channel) error {
			must(channel.Publish("", queue, false, false, amqp.Publishing{UserId: user}))
			return look(queue)(channel)
		})
	}
	return object{"own": as("guest"), "of_another": as("somebody")}
}

func basicGet(r *rig) any {
	channel := r.channel()
	queue := r.queue(channel, "", how{})
	get := func(autoAck bool) (amqp.Delivery, bool) {
		message, ok, err := channel.Get(queue, autoAck)
		must(err)
		return message, ok
	}
	_, any := get(false)
	publishAll(channel, queue, "1", "2", "3")
	first, _ := get(false)
	second, _ := get(true)
	must(first.Reject(true))
	again, _ := get(false)
	shown := func(message amqp.Delivery) list {
		return list{message.DeliveryTag, message.Redelivered, message.MessageCount}
	}
	return object{
		"empty":  !any,
		"first":  append(shown(first), string(first.Body)),
		"second": shown(second),
		"again":  append(shown(again), string(again.Body)),
	}
}

func consumeAndAck(r *rig) any {
	connection := r.connect()
	channel := r.channel(connection)
	queue := r.queue(channel, "", how{})
	publishAll(channel, queue, "1", "2", "3", "4", "5")
	reader := read(r.channel(connection), queue, 0, nil).wait(5)
	must(reader.got[1].Ack(true))
	must(reader.got[3].Ack(false))
	must(reader.channel.Close())
	until(func() bool { return count(channel, queue) == 2 })
	tags := each(reader.got, func(message amqp.Delivery) any { return message.DeliveryTag })
	return object{"bodies": reader.bodies(), "tags": tags, "left": drain(channel, queue)}
}

func nackMultiple(r *rig) any {
	connection := r.connect()
	channel := r.channel(connection)
	queue := r.queue(channel, "", how{})
	publishAll(channel, queue, "1", "2", "3", "4")
	reader := read(r.channel(connection), queue, 0, nil).wait(4)
	must(reader.got[1].Nack(true, true))
	reader.wait(6)
	must(reader.channel.Nack(0, true, false))
	must(reader.channel.Qos(0, 0, false)) // a round trip
	return object{"bodies": reader.bodies(), "redelivered": reader.redelivered(), "left": count(channel, queue)}
}

func requeueKeepsPlace(r *rig) any {
	channel := r.channel()
	queue := r.queue(channel, "", how{})
	publishAll(channel, queue, "1", "2", "3", "4", "5")
	var held []amqp.Delivery
	for range 4 {
		message, _, err := channel.Get(queue, false)
		must(err)
		held = append(held, message)
	}
	for _, at := range []int{2, 0, 3, 1} {
		must(held[at].Nack(false, true))
	}
	answer := list{}
	for range 5 {
		got := take(channel, queue)
		answer = append(answer, list{string(got.Body), got.Redelivered})
	}
	return answer
}

func qosPerConsumer(r *rig) any {
	connection := r.connect()
	channel := r.channel(connection)
	queue := r.queue(channel, "", how{})
	publishAll(channel, queue, "1", "2", "3", "4", "5", "6", "7", "8", "9")
	reading := r.channel(connection)
	two := read(reading, queue, 2, nil).wait(2)
	three := read(reading, queue, 3, nil).wait(3) // for consumers that start from now on
	ready := count(channel, queue)
	first := list{two.bodies(), three.bodies()}
	must(two.got[0].Ack(false))
	two.wait(3)
	return object{"first": first, "ready": ready, "after_an_ack": two.bodies()}
}

func consumerPriority(r *rig) any {
	connection := r.connect()
	channel := r.channel(connection)
	queue := r.queue(channel, "", how{})
	low := read(r.channel(connection), queue, 2, amqp.Table{"x-priority": -1})
	middle := read(r.channel(connection), queue, 2, nil)
	high := read(r.channel(connection), queue, 2, amqp.Table{"x-priority": 5})
	publishAll(channel, queue, "1", "2", "3", "4", "5")
	got := object{"high": high.wait(2).bodies(), "default": middle.wait(2).bodies(), "low": low.wait(1).bodies()}
	bad := attempt(connection, func(channel *amqp.Channel) error {
		_, err := channel.Consume(queue, "", false, false, false, false, amqp.Table{"x-priority": "high"})
		return err
	})
	return object{"got": got, "bad": bad}
}

func singleActiveConsumer(r *rig) any {
	connection := r.connect()
	channel := r.channel(connection)
	queue := r.queue(channel, "", how{arguments: amqp.Table{"x-single-active-consumer": true}})
	var readers []*reader
	for range 3 {
		readers = append(readers, read(r.channel(connection), queue, 0, nil))
	}
	publishAll(channel, queue, "1", "2", "3")
	readers[0].wait(3)
	must(readers[0].channel.Ack(0, true))
	must(readers[0].channel.Cancel(readers[0].tag, false))
	publishAll(channel, queue, "4", "5")
	readers[1].wait(2)
	must(readers[1].channel.Close()) // unacknowledged: the next in line gets them
	readers[2].wait(2)
	exclusive := attempt(connection, func(channel *amqp.Channel) error {
		_, err := channel.Consume(queue, "", false, true, false, false, nil)
		return err
	})
	got := each(readers, func(reader *reader) any { return reader.bodies() })
	return object{"got": got, "redelivered": readers[2].redelivered(), "exclusive": exclusive}
}

func cancelNotify(r *rig) any {
	connection := r.connect()
	channel := r.channel(connection)
	queue := r.queue(channel, "", how{})
	reading := r.channel(connection)
	cancelled := reading.NotifyCancel(make(chan string, 1))
	reader := read(reading, queue, 0, nil)
	have(channel.QueueDelete(queue, false, false, false))
	return object{"cancelled": wait(cancelled) == reader.tag, "channel": !reading.IsClosed()}
}

func ttlQueue(r *rig) any {
	channel := r.channel()
	target := r.queue(channel, ".target", how{})
	queue := r.queue(channel, "", how{arguments: deadLetters(target, amqp.Table{"x-message-ttl": 100})})
	publishAll(channel, queue, "1", "2")
	first, second := take(channel, target), take(channel, target)
	var expiration any
	if first.Expiration != "" {
		expiration = first.Expiration
	}
	bodies := list{string(first.Body), string(second.Body)}
	return object{"bodies": bodies, "headers": headers(first.Headers), "expiration": expiration, "left": count(channel, queue)}
}

func maxlenDropHead(r *rig) any {
	channel := r.channel()
	queue := r.queue(channel, "", how{arguments: amqp.Table{"x-max-length": 2}})
	publishAll(channel, queue, "1", "2", "3", "4", "5")
	until(func() bool { return count(channel, queue) == 2 })
	return drain(channel, queue)
}

func deadLetterRejected(r *rig) any {
	channel := r.channel()
	exchange := r.exchange(channel, "topic", ".dlx", nil)
	target := r.bound(channel, exchange, ".target", "#", nil)
	queue := r.queue(channel, "", how{arguments: amqp.Table{"x-dead-letter-exchange": exchange}})
	publish(channel, "", queue, "bad", amqp.Publishing{Headers: amqp.Table{"mine": int32(1)}, MessageId: "m1", DeliveryMode: 2})
	held, _, err := channel.Get(queue, false)
	must(err)
	must(held.Reject(false))
	got := take(channel, target)
	return object{
		"key": got.RoutingKey, "exchange": got.Exchange, "redelivered": got.Redelivered, "headers": headers(got.Headers),
		"message_id": got.MessageId, "mode": got.DeliveryMode, "body": string(got.Body),
	}
}

func deadLetterCount(r *rig) any {
	channel := r.channel()
	waiting := r.name + ".waiting"
	queue := r.queue(channel, "", how{arguments: deadLetters(waiting, nil)})
	r.queue(channel, ".waiting", how{arguments: deadLetters(queue, amqp.Table{"x-message-ttl": 30})})
	publish(channel, "", queue, "again")
	for range 3 {
		until(func() bool { return count(channel, queue) == 1 })
		held, _, err := channel.Get(queue, false)
		must(err)
		must(held.Reject(false))
	}
	return headers(take(channel, queue).Headers)
}

func priorityQueue(r *rig) any {
	channel := r.channel()
	queue := r.queue(channel, "", how{arguments: amqp.Table{"x-max-priority": 5}})
	bodies := []string{"none", "one", "five", "nine", "zero", "five again", "three"}
	priorities := []uint8{0, 1, 5, 9, 0, 5, 3}
	for at, body := range bodies {
		publish(channel, "", queue, body, amqp.Publishing{Priority: priorities[at]})
	}
	return slices.Clone(drain(channel, queue))
}

func deliveryLimit(r *rig) any {
	channel := r.channel()
	target := r.queue(channel, ".target", how{durable: true})
	arguments := deadLetters(target, amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": 2})
	queue := r.queue(channel, "", how{durable: true, arguments: arguments})
	publish(channel, "", queue, "x")
	seen := list{}
	until(func() bool {
		if got, ok, err := channel.Get(queue, false); err != nil {
			panic(err)
		} else if ok {
			seen = append(seen, list{got.Redelivered, got.Headers["x-delivery-count"], got.Headers["x-acquired-count"]})
			must(got.Reject(true))
		}
		return count(channel, target) > 0
	})
	dead := headers(take(channel, target).Headers)
	return object{"seen": seen, "x-death": dead["x-death"], "reason": dead["x-first-death-reason"], "x-delivery-count": dead["x-delivery-count"]}
}
