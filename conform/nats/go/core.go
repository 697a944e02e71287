package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

var core = []entry{
	{"publish_and_subscribe", func(r *rig) any {
		subscription := have(r.nc.SubscribeSync(r.stem))
		must(r.nc.Publish(r.stem, []byte("one")))
		must(r.nc.Publish(r.stem, nil))
		return bodies(subscription, 2)
	}},
	{"subscribe_by_wildcards", func(r *rig) any {
		var subscriptions []*nats.Subscription
		for _, pattern := range []string{".*", ".>", ".a.*"} {
			subscriptions = append(subscriptions, have(r.nc.SubscribeSync(r.stem+pattern)))
		}
		for _, subject := range []string{"x", "a.b", "a.b.c"} {
			must(r.nc.Publish(r.stem+"."+subject, []byte(subject)))
		}
		return list{bodies(subscriptions[0], 1), bodies(subscriptions[1], 3), bodies(subscriptions[2], 1)}
	}},
	{"headers_of_a_message", func(r *rig) any {
		subscription := have(r.nc.SubscribeSync(r.stem))
		must(r.nc.PublishMsg(&nats.Msg{Subject: r.stem, Data: []byte("x"), Header: nats.Header{"A": {"1"}, "b-C": {"two words"}}}))
		found := have(subscription.NextMsg(patience))
		return list{object{"A": found.Header.Get("A"), "b-C": found.Header.Get("b-C")}, string(found.Data)}
	}},
	{"headers_of_several_values", func(r *rig) any {
		subscription := have(r.nc.SubscribeSync(r.stem))
		must(r.nc.PublishMsg(&nats.Msg{Subject: r.stem, Header: nats.Header{"A": {"1", "2", ""}}}))
		return have(subscription.NextMsg(patience)).Header["A"]
	}},
	{"large_messages", func(r *rig) any {
		subscription := have(r.nc.SubscribeSync(r.stem))
		body := make([]byte, 256*4000)
		for at := range body {
			body[at] = byte(at)
		}
		must(r.nc.Publish(r.stem, body))
		return list{slices.Equal(have(subscription.NextMsg(patience)).Data, body), r.nc.MaxPayload()}
	}},
	{"queue_group_takes_each_once", func(r *rig) any {
		var lock sync.Mutex
		got, all := make([]int, 3), map[string]int{}
		for index := range got {
			nc := r.connect()
			have(nc.QueueSubscribe(r.stem, "workers", func(message *nats.Msg) {
				lock.Lock()
				defer lock.Unlock()
				got[index]++
				all[string(message.Data)]++
			}))
			must(nc.Flush())
		}
		for number := range 300 {
			must(r.nc.Publish(r.stem, fmt.Append(nil, number)))
		}
		until(func() bool {
			lock.Lock()
			defer lock.Unlock()
			return got[0]+got[1]+got[2] >= 300
		})
		lock.Lock()
		defer lock.Unlock()
		return object{"once": len(all) == 300, "all work": slices.Min(got) > 20}
	}},
	{"unsubscribe_after", func(r *rig) any {
		subscription := have(r.nc.SubscribeSync(r.stem))
		must(subscription.AutoUnsubscribe(2))
		for number := range 4 {
			must(r.nc.Publish(r.stem, fmt.Append(nil, number)))
		}
		return bodies(subscription, 2)
	}},
	{"request_is_answered", func(r *rig) any {
		have(r.nc.Subscribe(r.stem, func(message *nats.Msg) { must(message.Respond(append([]byte("got "), message.Data...))) }))
		must(r.nc.Flush())
		return string(have(r.connect().Request(r.stem, []byte("this"), patience)).Data)
	}},
	{"request_to_nobody", func(r *rig) any {
		_, err := r.nc.Request(r.stem, nil, patience)
		return code(err)
	}},
	{"request_without_an_answer", func(r *rig) any {
		have(r.nc.SubscribeSync(r.stem))
		_, err := r.nc.Request(r.stem, nil, 200*time.Millisecond)
		return code(err)
	}},
	{"many_requests_at_once", func(r *rig) any {
		have(r.nc.Subscribe(r.stem, func(message *nats.Msg) { must(message.Respond(message.Data)) }))
		must(r.nc.Flush())
		asker, right := r.connect(), make([]bool, 200)
		var group sync.WaitGroup
		for number := range right {
			group.Go(func() {
				answer, err := asker.Request(r.stem, fmt.Append(nil, number), patience)
				right[number] = err == nil && string(answer.Data) == fmt.Sprint(number)
			})
		}
		group.Wait()
		return !slices.Contains(right, false)
	}},
	{"drain_takes_what_is_there", func(r *rig) any {
		closed, count := make(chan bool), 0
		nc := r.connect(nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
		have(nc.Subscribe(r.stem, func(*nats.Msg) { count++ }))
		must(nc.Flush())
		for range 100 {
			must(r.nc.Publish(r.stem, []byte("x")))
		}
		must(r.nc.Flush())
		must(nc.Flush())
		must(nc.Drain())
		<-closed
		return list{count, nc.IsClosed()}
	}},
	{"no_echo", func(r *rig) any {
		quiet := r.connect(nats.NoEcho())
		subscription := have(quiet.SubscribeSync(r.stem))
		must(quiet.Publish(r.stem, []byte("own")))
		must(quiet.Flush())
		must(r.nc.Publish(r.stem, []byte("other")))
		return bodies(subscription, 1)
	}},
	{"reconnects_and_goes_on", func(r *rig) any {
		subscription := have(r.nc.SubscribeSync(r.stem))
		must(r.nc.Flush())
		if !r.restart() {
			return nil
		}
		until(func() bool { return r.nc.IsConnected() && r.nc.Stats().Reconnects > 0 })
		must(r.nc.FlushTimeout(patience))
		must(r.nc.Publish(r.stem, []byte("after")))
		return bodies(subscription, 1)
	}},
	{"service_requests", func(r *rig) any {
		service := have(micro.AddService(r.nc, micro.Config{Name: "adder", Version: "1.2.3", Description: "adds"}))
		must(service.AddEndpoint("add", micro.HandlerFunc(func(request micro.Request) {
			if string(request.Data()) == "bad" {
				_ = request.Error("400", "cannot add", nil)
				return
			}
			sum := 0
			for _, word := range strings.Fields(string(request.Data())) {
				var number int
				have(fmt.Sscan(word, &number))
				sum += number
			}
			_ = request.Respond(fmt.Append(nil, sum))
		}), micro.WithEndpointSubject(r.stem)))
		must(r.nc.Flush())
		asker := r.connect()
		good, bad := have(asker.Request(r.stem, []byte("1 2 3"), patience)), have(asker.Request(r.stem, []byte("bad"), patience))
		must(service.Stop())
		return list{string(good.Data), bad.Header.Get("Nats-Service-Error-Code"), bad.Header.Get("Nats-Service-Error")}
	}},
	{"service_discovery", func(r *rig) any {
		name := strings.ReplaceAll(r.stem, "_", "-")
		service := have(micro.AddService(r.nc, micro.Config{Name: name, Version: "1.2.3"}))
		must(service.AddEndpoint("do", micro.HandlerFunc(func(request micro.Request) { _ = request.Respond(nil) }), micro.WithEndpointSubject(r.stem)))
		must(r.nc.Flush())
		asker := r.connect()
		have(asker.Request(r.stem, nil, patience))
		var ping micro.Ping
		var info micro.Info
		var stats micro.Stats
		for verb, into := range map[string]any{"PING": &ping, "INFO": &info, "STATS": &stats} {
			must(json.Unmarshal(have(asker.Request("$SRV."+verb+"."+name, nil, patience)).Data, into))
		}
		must(service.Stop())
		return object{"ping": ping.Version, "info": list{info.Endpoints[0].Name}, "stats": list{stats.Endpoints[0].NumRequests}, "group": info.Endpoints[0].QueueGroup}
	}},
	{"payload_is_bounded_by_the_client", func(r *rig) any {
		return errors.Is(r.nc.Publish(r.stem, make([]byte, r.nc.MaxPayload()+1)), nats.ErrMaxPayload)
	}},
	{"server_is_described", func(r *rig) any {
		return object{"headers": r.nc.HeadersSupported(), "max_payload": r.nc.MaxPayload(), "id": len(r.nc.ConnectedServerId()), "version": r.nc.ConnectedServerVersion() != "", "rtt": have(r.nc.RTT()) > 0}
	}},
}

func bodies(subscription *nats.Subscription, count int) list {
	found := list{}
	for range count {
		found = append(found, string(have(subscription.NextMsg(patience)).Data))
	}
	return found
}
