package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// patience is how long an event may take that must come.
const patience = 15 * time.Second

type object = map[string]any
type list = []any

// rig is one case's view of the broker.
type rig struct {
	name      string
	url       string
	tlsURL    string
	authority string
	queues    []string
	exchanges []string
	open      []*amqp.Connection
}

// must turns an error that a case does not expect into the end of the case.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func have[T any](value T, err error) T {
	must(err)
	return value
}

func (r *rig) connect() *amqp.Connection {
	connection := have(amqp.Dial(r.url))
	r.open = append(r.open, connection)
	return connection
}

// channel in confirm mode, on a connection of its own or a given one.
func (r *rig) channel(connection ...*amqp.Connection) *amqp.Channel {
	if len(connection) == 0 {
		connection = append(connection, r.connect())
	}
	channel := have(connection[0].Channel())
	must(channel.Confirm(false))
	return channel
}

// how a queue is declared; the zero value is neither durable nor anything else.
type how struct {
	durable, autoDelete, exclusive bool
	arguments                      amqp.Table
}

func declare(channel *amqp.Channel, name string, how how) (amqp.Queue, error) {
	return channel.QueueDeclare(name, how.durable, how.autoDelete, how.exclusive, false, how.arguments)
}

func (r *rig) queue(channel *amqp.Channel, suffix string, how how) string {
	name := r.name + suffix
	have(channel.QueueDelete(name, false, false, false))
	r.queues = append(r.queues, name)
	have(declare(channel, name, how))
	return name
}

func (r *rig) exchange(channel *amqp.Channel, kind, suffix string, arguments amqp.Table) string {
	name := r.name + suffix
	must(channel.ExchangeDelete(name, false, false))
	r.exchanges = append(r.exchanges, name)
	must(channel.ExchangeDeclare(name, kind, false, false, false, false, arguments))
	return name
}

func (r *rig) bound(channel *amqp.Channel, exchange, suffix, key string, binding amqp.Table) string {
	name := r.queue(channel, suffix, how{})
	must(channel.QueueBind(name, key, exchange, false, binding))
	return name
}

func (r *rig) close() {
	for _, connection := range r.open {
		_ = connection.Close() // some cases end with a closed one
	}
	connection := have(amqp.Dial(r.url))
	channel := have(connection.Channel())
	for _, name := range r.queues {
		have(channel.QueueDelete(name, false, false, false))
	}
	for _, name := range r.exchanges {
		must(channel.ExchangeDelete(name, false, false))
	}
	must(connection.Close())
}

var generated = regexp.MustCompile(`amq\.(gen|ctag)-[\w-]+`)

// normal is a reply text without generated names.
func normal(text string) string {
	return generated.ReplaceAllString(text, "amq.$1-*")
}

// attempt on a channel of its own: `ok`, or what was closed with which code and text.
func attempt(connection *amqp.Connection, action func(*amqp.Channel) error) any {
	channel := have(connection.Channel())
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	err := action(channel)
	if err == nil {
		return "ok"
	}
	var refusal *amqp.Error
	if !errors.As(err, &refusal) || errors.Is(err, amqp.ErrClosed) {
		refusal = wait(closed) // the verb only found the channel closed
	}
	what := "channel"
	if connection.IsClosed() {
		what = "connection"
	}
	return list{what, refusal.Code, normal(refusal.Reason)}
}

func wait[T any](events <-chan T) T {
	select {
	case event := <-events:
		return event
	case <-time.After(patience):
		panic("late")
	}
}

// until looks again and again whether something has happened.
func until(happened func() bool) {
	for deadline := time.Now().Add(patience); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			panic("late")
		}
	}
}

// publish and wait for the confirm; false if the broker refused.
func publish(channel *amqp.Channel, exchange, key, body string, message ...amqp.Publishing) bool {
	if len(message) == 0 {
		message = append(message, amqp.Publishing{})
	}
	message[0].Body = []byte(body)
	return have(channel.PublishWithDeferredConfirm(exchange, key, false, false, message[0])).Wait()
}

func publishAll(channel *amqp.Channel, queue string, bodies ...string) {
	for _, body := range bodies {
		publish(channel, "", queue, body)
	}
}

// drain takes the bodies of all that is ready now.
func drain(channel *amqp.Channel, queue string) list {
	bodies := list{}
	for {
		message, ok, err := channel.Get(queue, true)
		must(err)
		if !ok {
			return bodies
		}
		bodies = append(bodies, string(message.Body))
	}
}

// take one message by basic.get, waited for.
func take(channel *amqp.Channel, queue string) amqp.Delivery {
	var message amqp.Delivery
	until(func() bool {
		got, ok, err := channel.Get(queue, true)
		must(err)
		message = got
		return ok
	})
	return message
}

func count(channel *amqp.Channel, queue string) int {
	return have(channel.QueueDeclarePassive(queue, false, false, false, false, nil)).Messages
}

// reader is a consumer that keeps what it was given, in order.
type reader struct {
	channel *amqp.Channel
	tag     string
	events  <-chan amqp.Delivery
	got     []amqp.Delivery
}

func read(channel *amqp.Channel, queue string, prefetch int, arguments amqp.Table) *reader {
	must(channel.Qos(prefetch, 0, false))
	tag := fmt.Sprintf("reader-%p-%d", channel, time.Now().UnixNano())
	return &reader{channel: channel, tag: tag, events: have(channel.Consume(queue, tag, false, false, false, false, arguments))}
}

func (r *reader) wait(count int) *reader {
	for len(r.got) < count {
		r.got = append(r.got, wait(r.events))
	}
	return r
}

func (r *reader) bodies() list {
	return each(r.got, func(message amqp.Delivery) any { return string(message.Body) })
}

func (r *reader) redelivered() list {
	return each(r.got, func(message amqp.Delivery) any { return message.Redelivered })
}

func each[T any](values []T, show func(T) any) list {
	shown := list{}
	for _, value := range values {
		shown = append(shown, show(value))
	}
	return shown
}

// headers of a message as JSON, without times.
func headers(table amqp.Table) object {
	shown := object{}
	for name, value := range table {
		shown[name] = plain(value)
	}
	return shown
}

func plain(value any) any {
	switch value := value.(type) {
	case amqp.Table:
		return headers(value)
	case []any:
		return each(value, plain)
	case time.Time:
		return "<time>"
	case []byte:
		return string(value)
	default:
		return value
	}
}

func line(value any) string {
	return string(have(json.Marshal(value)))
}
