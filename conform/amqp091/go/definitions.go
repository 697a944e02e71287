package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Connections, exchanges, queues: what is declared and what is refused.
var definitions = []entry{
	{"unknown_vhost", unknownVhost},
	{"channel_after_error", channelAfterError},
	{"many_channels", manyChannels},
	{"tls_connect", tlsConnect},
	{"unknown_exchange_404", unknownExchange},
	{"direct_and_fanout", directAndFanout},
	{"e2e_binding", exchangeToExchange},
	{"alternate_exchange", alternateExchange},
	{"declare_counts", declareCounts},
	{"passive_404", passive},
	{"exclusive_405", exclusive},
	{"inequivalent_arg_406", inequivalent},
	{"queue_delete", queueDelete},
}

func dialled(connection *amqp.Connection, err error) any {
	if err == nil {
		must(connection.Close())
		return "ok"
	}
	var refusal *amqp.Error
	if !errors.As(err, &refusal) {
		panic(err)
	}
	return list{"connection", refusal.Code, refusal.Reason}
}

func unknownVhost(r *rig) any {
	return dialled(amqp.Dial(r.url + "no-such-vhost"))
}

func channelAfterError(r *rig) any {
	connection := r.connect()
	closed := attempt(connection, look("channel_after_error.missing"))
	again := have(connection.Channel())
	return object{"closed": closed, "reopened": !again.IsClosed(), "connection": !connection.IsClosed()}
}

func manyChannels(r *rig) any {
	connection := r.connect()
	first := have(connection.Channel())
	open := 1
	last := first
	for ; open < 2047; open++ {
		last = have(connection.Channel())
	}
	queue := r.queue(first, "", how{})
	must(last.Confirm(false))
	publish(last, "", queue, "from the last")
	return object{"open": open, "bodies": drain(first, queue)}
}

func tlsConnect(r *rig) any {
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(have(os.ReadFile(r.authority)))
	connection := have(amqp.DialTLS(r.tlsURL, &tls.Config{RootCAs: authorities, ServerName: "localhost"}))
	r.open = append(r.open, connection)
	channel := r.channel(connection)
	queue := r.queue(channel, "", how{})
	publish(channel, "", queue, "over tls")
	return drain(channel, queue)
}

// look at a queue without changing it.
func look(queue string) func(*amqp.Channel) error {
	return func(channel *amqp.Channel) error {
		_, err := channel.QueueDeclarePassive(queue, false, false, false, false, nil)
		return err
	}
}

func unknownExchange(r *rig) any {
	const missing = "no.such.exchange"
	connection := r.connect()
	queue := r.queue(r.channel(connection), "", how{})
	return object{
		"passive": attempt(connection, func(channel *amqp.Channel) error {
			return channel.ExchangeDeclarePassive(missing, "direct", false, false, false, false, nil)
		}),
		"publish": attempt(connection, func(channel *amqp.Channel) error {
			must(channel.Publish(missing, "key", false, false, amqp.Publishing{}))
			_, err := declare(channel, "", how{exclusive: true}) // the close comes before this reply
			return err
		}),
		"bind": attempt(connection, func(channel *amqp.Channel) error { return channel.QueueBind(queue, "key", missing, false, nil) }),
		"exchange_bind": attempt(connection, func(channel *amqp.Channel) error {
			return channel.ExchangeBind(missing, "key", "amq.direct", false, nil)
		}),
		"delete": attempt(connection, func(channel *amqp.Channel) error { return channel.ExchangeDelete(missing, false, false) }),
	}
}

func directAndFanout(r *rig) any {
	channel := r.channel()
	direct, fanout := r.exchange(channel, "direct", ".direct", nil), r.exchange(channel, "fanout", ".fanout", nil)
	one := r.bound(channel, direct, ".one", "a", nil)
	must(channel.QueueBind(one, "b", direct, false, nil))
	must(channel.QueueBind(one, "ignored", fanout, false, nil))
	two := r.bound(channel, direct, ".two", "a", nil)
	for _, key := range []string{"a", "b", "c"} {
		publish(channel, direct, key, "direct "+key)
	}
	publish(channel, fanout, "whatever", "fanout")
	return object{"one": drain(channel, one), "two": drain(channel, two)}
}

func exchangeToExchange(r *rig) any {
	connection := r.connect()
	channel := r.channel(connection)
	first, second := r.exchange(channel, "topic", ".first", nil), r.exchange(channel, "direct", ".second", nil)
	queue := r.bound(channel, second, ".queue", "a.b", nil)
	must(channel.ExchangeBind(second, "a.#", first, false, nil))
	must(channel.ExchangeBind(first, "a.b", second, false, nil)) // a cycle
	publish(channel, first, "a.b", "through two")
	publish(channel, first, "a.c", "matches only the first")
	through := drain(channel, queue)
	must(channel.ExchangeUnbind(second, "a.#", first, false, nil))
	publish(channel, first, "a.b", "unbound")
	unknown := attempt(connection, func(channel *amqp.Channel) error { return channel.ExchangeUnbind(second, "never", first, false, nil) })
	return object{"through": through, "unbound": drain(channel, queue), "unknown_binding": unknown}
}

func alternateExchange(r *rig) any {
	connection := r.connect()
	channel := r.channel(connection)
	last := r.exchange(channel, "fanout", ".last", nil)
	middle := r.exchange(channel, "direct", ".middle", amqp.Table{"alternate-exchange": last})
	first := r.exchange(channel, "direct", ".first", amqp.Table{"alternate-exchange": middle})
	routed := r.bound(channel, first, ".routed", "a", nil)
	fallen := r.bound(channel, middle, ".fallen", "b", nil)
	caught := r.bound(channel, last, ".caught", "", nil)
	for _, key := range []string{"a", "b", "c"} {
		publish(channel, first, key, key)
	}
	lost := r.exchange(channel, "direct", ".lost", amqp.Table{"alternate-exchange": "no.such.exchange"})
	mandatory := amqp.Publishing{Body: []byte("mandatory")}
	have(channel.PublishWithDeferredConfirm(first, "mandatory", true, false, mandatory)).Wait()
	missing := attempt(connection, func(other *amqp.Channel) error {
		must(other.Publish(lost, "x", false, false, amqp.Publishing{}))
		return look(routed)(other)
	})
	return object{"routed": drain(channel, routed), "fallen": drain(channel, fallen), "caught": drain(channel, caught), "missing": missing}
}

func declareCounts(r *rig) any {
	connection := r.connect()
	channel := r.channel(connection)
	queue := r.queue(channel, "", how{durable: true})
	publishAll(channel, queue, "1", "2", "3")
	first := have(declare(channel, queue, how{durable: true}))
	read(r.channel(connection), queue, 1, nil).wait(1)
	second := have(declare(channel, queue, how{durable: true}))
	return each([]amqp.Queue{first, second}, func(queue amqp.Queue) any { return list{queue.Name, queue.Messages, queue.Consumers} })
}

// verbs on a queue, each on a channel of its own.
func verbs(connection *amqp.Connection, queue string) object {
	return object{
		"passive": attempt(connection, look(queue)),
		"consume": attempt(connection, func(channel *amqp.Channel) error {
			_, err := channel.Consume(queue, "", false, false, false, false, nil)
			return err
		}),
		"get": attempt(connection, func(channel *amqp.Channel) error {
			_, _, err := channel.Get(queue, false)
			return err
		}),
		"purge": attempt(connection, func(channel *amqp.Channel) error {
			_, err := channel.QueuePurge(queue, false)
			return err
		}),
		"bind": attempt(connection, func(channel *amqp.Channel) error { return channel.QueueBind(queue, "x", "amq.direct", false, nil) }),
		"delete": attempt(connection, func(channel *amqp.Channel) error {
			_, err := channel.QueueDelete(queue, false, false, false)
			return err
		}),
	}
}

func passive(r *rig) any {
	const missing = "passive_404.missing"
	connection := r.connect()
	answers := verbs(connection, missing)
	answers["declare"] = answers["passive"]
	delete(answers, "passive")
	answers["unbind"] = attempt(connection, func(channel *amqp.Channel) error { return channel.QueueUnbind(missing, "x", "amq.direct", nil) })
	return answers
}

func exclusive(r *rig) any {
	owner, other := r.connect(), r.connect()
	own := have(owner.Channel())
	have(declare(own, r.name, how{exclusive: true}))
	refused := verbs(other, r.name)
	refused["declare"] = attempt(other, func(channel *amqp.Channel) error {
		_, err := declare(channel, r.name, how{exclusive: true})
		return err
	})
	publish(r.channel(other), "", r.name, "anyone may publish")
	got := drain(own, r.name)
	must(owner.Close())
	var after any
	until(func() bool {
		after = attempt(other, look(r.name))
		answer, refused := after.(list)
		return refused && answer[1] == 404
	})
	return object{"refused": refused, "owner_got": got, "after_close": after}
}

func inequivalent(r *rig) any {
	connection := r.connect()
	given := func(name string, value any) amqp.Table {
		table := amqp.Table{"x-message-ttl": int32(60000), "x-max-length": int32(10), "x-dead-letter-exchange": "amq.direct"}
		if name != "" {
			table[name] = value
		}
		if value == nil {
			delete(table, name)
		}
		return table
	}
	name := r.queue(r.channel(connection), "", how{durable: true, arguments: given("", nil)})
	again := func(how how) any {
		return attempt(connection, func(channel *amqp.Channel) error {
			_, err := declare(channel, name, how)
			return err
		})
	}
	with := func(name string, value any) any { return again(how{durable: true, arguments: given(name, value)}) }
	return object{
		"same":                    with("", nil),
		"number_of_another_width": with("x-max-length", int64(10)),
		"durable":                 again(how{arguments: given("", nil)}),
		"auto_delete":             again(how{durable: true, autoDelete: true, arguments: given("", nil)}),
		"exclusive":               again(how{durable: true, exclusive: true, arguments: given("", nil)}),
		"other_value":             with("x-message-ttl", int32(60001)),
		"missing":                 with("x-dead-letter-exchange", nil),
		"one_more":                with("x-expires", int32(60000)),
		"unknown_argument":        with("x-unheard-of", int32(1)),
		"passive_ignores_all":     attempt(connection, look(name)),
	}
}

func queueDelete(r *rig) any {
	connection := r.connect()
	channel := r.channel(connection)
	queue := r.queue(channel, "", how{})
	publishAll(channel, queue, "1", "2")
	remove := func(ifUnused, ifEmpty bool) any {
		return attempt(connection, func(channel *amqp.Channel) error {
			_, err := channel.QueueDelete(queue, ifUnused, ifEmpty, false)
			return err
		})
	}
	notEmpty := remove(false, true)
	reader := read(r.channel(connection), queue, 0, nil)
	used := remove(true, false)
	reader.wait(2)
	must(reader.channel.Close())
	until(func() bool { return count(channel, queue) == 2 })
	deleted := have(channel.QueueDelete(queue, false, false, false))
	again := have(channel.QueueDelete(queue, false, false, false))
	return object{"not_empty": notEmpty, "used": used, "deleted": deleted, "again": again}
}
