package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// pull makes a consumer with explicit acks.
func (r *rig) pull(stream jetstream.Stream, change func(*jetstream.ConsumerConfig)) jetstream.Consumer {
	config := jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy}
	if change != nil {
		change(&config)
	}
	return have(stream.CreateOrUpdateConsumer(r.ctx, config))
}

// take so many messages, in as many fetches as it takes.
func take(consumer jetstream.Consumer, count int) []jetstream.Msg {
	var found []jetstream.Msg
	for len(found) < count {
		batch := have(consumer.Fetch(count-len(found), jetstream.FetchMaxWait(patience)))
		before := len(found)
		for message := range batch.Messages() {
			found = append(found, message)
		}
		must(batch.Error())
		if len(found) == before {
			panic("late")
		}
	}
	return found
}

// publishMany without waiting for each.
func (r *rig) publishMany(count int) []uint64 {
	var acks []jetstream.PubAckFuture
	for number := range count {
		acks = append(acks, have(r.js.PublishAsync(r.stem+".a", fmt.Append(nil, number))))
	}
	var places []uint64
	for _, ack := range acks {
		select {
		case ok := <-ack.Ok():
			places = append(places, ok.Sequence)
		case err := <-ack.Err():
			panic(err)
		}
	}
	return places
}

func counted(count int) list {
	found := list{}
	for number := range count {
		found = append(found, fmt.Sprint(number))
	}
	return found
}

var streams = []entry{
	{"stream_made_and_shown", func(r *rig) any {
		stream := r.stream(func(config *jetstream.StreamConfig) { config.MaxMsgs, config.Description = 10, "mine" })
		r.fill(3, "a")
		info := have(stream.Info(r.ctx))
		return object{"name": info.Config.Name == r.stem, "subjects": slices.Equal(info.Config.Subjects, []string{r.stem + ".>"}), "max_msgs": info.Config.MaxMsgs, "description": info.Config.Description, "messages": info.State.Msgs, "first": info.State.FirstSeq, "last": info.State.LastSeq}
	}},
	{"stream_errors", func(r *rig) any {
		r.stream(nil)
		_, unknown := r.js.Stream(r.ctx, "no-such")
		_, taken := r.js.CreateStream(r.ctx, jetstream.StreamConfig{Name: r.stem, Subjects: []string{"other"}})
		_, overlap := r.js.CreateStream(r.ctx, jetstream.StreamConfig{Name: r.stem + "-2", Subjects: []string{r.stem + ".a"}})
		return object{"unknown": code(unknown), "taken": code(taken), "overlap": code(overlap)}
	}},
	{"stream_changed", func(r *rig) any {
		stream := r.stream(nil)
		r.fill(5, "a")
		changed := have(r.js.UpdateStream(r.ctx, jetstream.StreamConfig{Name: r.stem, Subjects: []string{r.stem + ".>", r.stem + "-more"}, Storage: jetstream.MemoryStorage, MaxMsgs: 2}))
		config := changed.CachedInfo().Config
		return list{config.MaxMsgs, len(config.Subjects), have(stream.Info(r.ctx)).State.Msgs}
	}},
	{"stream_found_by_subject", func(r *rig) any {
		r.stream(nil)
		return have(r.js.StreamNameBySubject(r.ctx, r.stem+".x")) == r.stem
	}},
	{"stream_listed", func(r *rig) any {
		r.stream(nil)
		listed, named := false, false
		infos := r.js.ListStreams(r.ctx)
		for info := range infos.Info() {
			listed = listed || info.Config.Name == r.stem
		}
		names := r.js.StreamNames(r.ctx)
		for name := range names.Name() {
			named = named || name == r.stem
		}
		return list{listed, named, infos.Err() == nil, names.Err() == nil}
	}},
	{"stream_emptied", func(r *rig) any {
		stream := r.stream(nil)
		r.fill(6, "ab")
		must(stream.Purge(r.ctx, jetstream.WithPurgeSubject(r.stem+".a")))
		filtered := have(stream.Info(r.ctx)).State.Msgs
		must(stream.Purge(r.ctx))
		state := have(stream.Info(r.ctx)).State
		return list{filtered, state.Msgs, state.FirstSeq, state.LastSeq}
	}},
	{"message_looked_up", func(r *rig) any {
		stream := r.stream(nil)
		r.fill(4, "ab")
		bySeq, last := have(stream.GetMsg(r.ctx, 2)), have(stream.GetLastMsgForSubject(r.ctx, r.stem+".a"))
		config := have(stream.Info(r.ctx)).Config
		config.AllowDirect = true
		direct := have(have(r.js.UpdateStream(r.ctx, config)).GetMsg(r.ctx, 3))
		must(stream.DeleteMsg(r.ctx, 2))
		_, gone := stream.GetMsg(r.ctx, 2)
		_, beyond := stream.GetMsg(r.ctx, 99)
		return list{string(bySeq.Data), bySeq.Sequence, string(last.Data), last.Sequence, string(direct.Data), code(gone), code(beyond)}
	}},
	{"publish_is_acknowledged", func(r *rig) any {
		r.stream(nil)
		found := list{}
		for _, identity := range []string{"1", "2", "1"} {
			ack := have(r.js.Publish(r.ctx, r.stem+".a", []byte("x"), jetstream.WithMsgID(identity)))
			found = append(found, list{ack.Stream == r.stem, ack.Sequence, ack.Duplicate})
		}
		return found
	}},
	{"publish_is_refused", func(r *rig) any {
		r.stream(func(config *jetstream.StreamConfig) { config.MaxMsgSize = 120 })
		put := func(body string, option jetstream.PublishOpt) any {
			_, err := r.js.Publish(r.ctx, r.stem+".a", []byte(body), option)
			return code(err)
		}
		return object{"stream": put("", jetstream.WithExpectStream("other")), "sequence": put("", jetstream.WithExpectLastSequence(7)), "subject": put("", jetstream.WithExpectLastSequencePerSubject(7)), "id": put("", jetstream.WithExpectLastMsgID("x")), "size": put(strings.Repeat("x", 200), jetstream.WithRetryAttempts(0)), "good": put("", jetstream.WithExpectLastSequence(0))}
	}},
	{"publish_many_at_once", func(r *rig) any {
		stream := r.stream(func(config *jetstream.StreamConfig) { config.Storage = jetstream.FileStorage })
		places := r.publishMany(500)
		slices.Sort(places)
		return list{places[0] == 1 && places[499] == 500 && len(slices.Compact(places)) == 500, have(stream.Info(r.ctx)).State.Msgs}
	}},
	{"publish_into_nothing", func(r *rig) any {
		_, err := r.js.Publish(r.ctx, r.stem, nil, jetstream.WithRetryAttempts(0))
		return errors.Is(err, jetstream.ErrNoStreamResponse)
	}},
	{"fetch_and_ack", func(r *rig) any {
		consumer := r.pull(r.stream(nil), nil)
		r.fill(5, "a")
		found := take(consumer, 3)
		for _, message := range found {
			must(message.DoubleAck(r.ctx))
		}
		info, meta := have(consumer.Info(r.ctx)), have(found[1].Metadata())
		return object{"bodies": text(found), "meta": list{meta.Sequence.Stream, meta.Sequence.Consumer, meta.NumDelivered, meta.NumPending, meta.Stream == r.stem, meta.Consumer}, "floor": list{info.AckFloor.Stream, info.NumAckPending, info.NumPending}}
	}},
	{"fetch_of_nothing", func(r *rig) any {
		batch := have(r.pull(r.stream(nil), nil).Fetch(1, jetstream.FetchMaxWait(200*time.Millisecond)))
		found := list{}
		for message := range batch.Messages() {
			found = append(found, string(message.Data()))
		}
		return found
	}},
	{"fetch_much", func(r *rig) any {
		consumer := r.pull(r.stream(nil), nil)
		r.publishMany(1000)
		found := take(consumer, 1000)
		for _, message := range found {
			must(message.Ack())
		}
		until(func() bool {
			info := have(consumer.Info(r.ctx))
			return info.NumAckPending == 0 && info.AckFloor.Stream == 1000
		})
		return list{slices.Equal(text(found), counted(1000)), true}
	}},
	{"consume_much", func(r *rig) any {
		consumer, found := r.pull(r.stream(nil), nil), list{}
		r.publishMany(2000)
		messages := have(consumer.Messages(jetstream.PullMaxMessages(100)))
		defer messages.Stop()
		for len(found) < 2000 {
			message := have(messages.Next())
			found = append(found, string(message.Data()))
			must(message.Ack())
		}
		until(func() bool { return have(consumer.Info(r.ctx)).NumAckPending == 0 })
		return slices.Equal(found, counted(2000))
	}},
	{"nak_and_term", func(r *rig) any {
		consumer := r.pull(r.stream(nil), nil)
		r.fill(2, "a")
		must(take(consumer, 1)[0].Nak())
		found := append(take(consumer, 1), take(consumer, 1)...)
		slices.SortFunc(found, func(a, b jetstream.Msg) int { return strings.Compare(string(a.Data()), string(b.Data())) })
		must(found[0].Term())
		must(found[1].InProgress())
		must(found[1].DoubleAck(r.ctx))
		until(func() bool { return have(consumer.Info(r.ctx)).NumAckPending == 0 })
		delivered := list{have(found[0].Metadata()).NumDelivered, have(found[1].Metadata()).NumDelivered}
		return list{text(found), delivered, have(consumer.Info(r.ctx)).AckFloor.Stream}
	}},
	{"nak_for_later", func(r *rig) any {
		consumer := r.pull(r.stream(nil), nil)
		r.fill(2, "a")
		must(take(consumer, 1)[0].NakWithDelay(300 * time.Millisecond))
		order := list{}
		for range 2 {
			message := take(consumer, 1)[0]
			must(message.Ack())
			order = append(order, string(message.Data()))
		}
		return order
	}},
	{"redelivered_when_the_lease_ends", func(r *rig) any {
		consumer := r.pull(r.stream(nil), func(config *jetstream.ConsumerConfig) { config.AckWait, config.MaxDeliver = 300*time.Millisecond, 3 })
		r.fill(1, "a")
		counts := list{}
		for range 3 {
			counts = append(counts, have(take(consumer, 1)[0].Metadata()).NumDelivered)
		}
		return counts
	}},
	{"consumer_made_and_shown", func(r *rig) any {
		stream := r.stream(nil)
		info := have(r.pull(stream, func(config *jetstream.ConsumerConfig) { config.MaxAckPending, config.FilterSubject = 7, r.stem+".a" }).Info(r.ctx))
		names, listed := list{}, stream.ConsumerNames(r.ctx)
		for name := range listed.Name() {
			names = append(names, name)
		}
		must(stream.DeleteConsumer(r.ctx, "c"))
		_, gone := stream.Consumer(r.ctx, "c")
		return object{"name": info.Name, "max_ack_pending": info.Config.MaxAckPending, "ack_wait": info.Config.AckWait.Seconds(), "max_deliver": info.Config.MaxDeliver, "listed": names, "gone": code(gone)}
	}},
	{"consumer_actions_by_name", func(r *rig) any {
		stream := r.stream(nil)
		config := jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy}
		_, none := stream.UpdateConsumer(r.ctx, config)
		have(stream.CreateConsumer(r.ctx, config))
		config.MaxAckPending = 5
		_, other := stream.CreateConsumer(r.ctx, config)
		_, updated := stream.UpdateConsumer(r.ctx, config)
		return list{code(none), code(other), code(updated)}
	}},
	{"consumer_filters_many", func(r *rig) any {
		consumer := r.pull(r.stream(nil), func(config *jetstream.ConsumerConfig) { config.FilterSubjects = []string{r.stem + ".a", r.stem + ".c"} })
		r.fill(9, "abc")
		return text(take(consumer, 6))
	}},
	{"consumer_starts_where_told", func(r *rig) any {
		stream := r.stream(nil)
		r.fill(6, "ab")
		read := func(count int, change func(*jetstream.ConsumerConfig)) list {
			config := jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy}
			change(&config)
			return text(take(have(stream.CreateConsumer(r.ctx, config)), count))
		}
		return object{
			"sequence":         read(2, func(c *jetstream.ConsumerConfig) { c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, 5 }),
			"last":             read(1, func(c *jetstream.ConsumerConfig) { c.DeliverPolicy = jetstream.DeliverLastPolicy }),
			"last per subject": read(2, func(c *jetstream.ConsumerConfig) { c.DeliverPolicy, c.FilterSubject = jetstream.DeliverLastPerSubjectPolicy, r.stem+".*" }),
		}
	}},
	{"consumer_paused", func(r *rig) any {
		stream := r.stream(nil)
		r.pull(stream, nil)
		paused := have(stream.PauseConsumer(r.ctx, "c", time.Now().Add(time.Hour)))
		resumed := have(stream.ResumeConsumer(r.ctx, "c"))
		return list{paused.Paused, paused.PauseRemaining > 50*time.Minute, resumed.Paused}
	}},
	{"consumer_deleted_under_a_reader", func(r *rig) any {
		stream := r.stream(nil)
		messages := have(r.pull(stream, nil).Messages())
		defer messages.Stop()
		ended := make(chan error)
		go func() {
			_, err := messages.Next()
			ended <- err
		}()
		until(func() bool { return have(have(stream.Consumer(r.ctx, "c")).Info(r.ctx)).NumWaiting == 1 })
		must(stream.DeleteConsumer(r.ctx, "c"))
		return errors.Is(<-ended, jetstream.ErrConsumerDeleted)
	}},
	{"ordered_reading", func(r *rig) any {
		stream := r.stream(nil)
		r.publishMany(500)
		consumer, found := have(stream.OrderedConsumer(r.ctx, jetstream.OrderedConsumerConfig{})), list{}
		messages := have(consumer.Messages())
		defer messages.Stop()
		for len(found) < 500 {
			found = append(found, string(have(messages.Next()).Data()))
		}
		return slices.Equal(found, counted(500))
	}},
	{"ordered_pushing", func(r *rig) any {
		r.stream(nil)
		r.publishMany(500)
		old := have(r.nc.JetStream())
		subscription := have(old.SubscribeSync(r.stem+".a", nats.OrderedConsumer()))
		return slices.Equal(bodies(subscription, 500), counted(500))
	}},
	{"pushed_messages", func(r *rig) any {
		r.stream(nil)
		r.fill(3, "a")
		old := have(r.nc.JetStream())
		subscription, found := have(old.SubscribeSync(r.stem+".a", nats.Durable("c"), nats.ManualAck())), list{}
		for range 3 {
			message := have(subscription.NextMsg(patience))
			must(message.AckSync())
			found = append(found, string(message.Data))
		}
		info := have(subscription.ConsumerInfo())
		return list{found, info.AckFloor.Stream, info.NumAckPending}
	}},
	{"pushed_to_a_queue", func(r *rig) any {
		r.stream(nil)
		var lock sync.Mutex
		got, all := make([]int, 3), map[string]bool{}
		old := have(r.nc.JetStream())
		for index := range got {
			have(old.QueueSubscribe(r.stem+".a", "workers", func(message *nats.Msg) {
				lock.Lock()
				defer lock.Unlock()
				got[index]++
				all[string(message.Data)] = true
			}))
		}
		r.fill(60, "a")
		until(func() bool {
			lock.Lock()
			defer lock.Unlock()
			return len(all) >= 60
		})
		return list{len(all) == 60, slices.Min(got) > 0}
	}},
	{"account_is_shown", func(r *rig) any {
		r.stream(nil)
		info := have(r.js.AccountInfo(r.ctx))
		return list{info.Streams > 0, info.API.Level, info.Limits.MaxStreams}
	}},
	{"state_survives_a_restart", func(r *rig) any {
		stream := r.stream(func(config *jetstream.StreamConfig) { config.Storage = jetstream.FileStorage })
		r.fill(4, "a")
		consumer := r.pull(stream, nil)
		for _, message := range take(consumer, 2) {
			must(message.DoubleAck(r.ctx))
		}
		if !r.restart() {
			return nil
		}
		until(func() bool { return r.nc.IsConnected() && r.nc.Stats().Reconnects > 0 })
		must(r.nc.FlushTimeout(patience))
		return list{have(stream.Info(r.ctx)).State.Msgs, text(take(consumer, 2))}
	}},
}
