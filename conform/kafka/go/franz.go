package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// franz puts the verbs of the cases on franz-go.
type franz struct {
	seed  kgo.Opt
	admin *kadm.Client
}

func newFranz(bootstrap string) client {
	seed := kgo.SeedBrokers(bootstrap)
	return &franz{seed, kadm.NewClient(have(kgo.NewClient(seed)))}
}

func soon() context.Context {
	limited, cancel := context.WithTimeout(context.Background(), patience)
	time.AfterFunc(2*patience, cancel)
	return limited
}

func franzCode(err error) int {
	var refused *kerr.Error
	if errors.As(err, &refused) {
		return int(refused.Code)
	}
	must(err)
	return 0
}

func (*franz) name() string { return "franz-go" }

func (f *franz) create(topic string, partitions int32, configs map[string]string) int {
	given := map[string]*string{}
	for name, value := range configs {
		given[name] = &value
	}
	answer := have(f.admin.CreateTopics(soon(), partitions, 1, given, topic))
	return franzCode(answer[topic].Err)
}

func (f *franz) remove(topic string) int {
	return franzCode(have(f.admin.DeleteTopics(soon(), topic))[topic].Err)
}

func (f *franz) grow(topic string, total int32) int {
	return franzCode(have(f.admin.UpdatePartitions(soon(), int(total), topic))[topic].Err)
}

func (f *franz) partitions(topic string) int {
	found := have(f.admin.ListTopics(soon(), topic))[topic]
	count := 0
	for _, partition := range found.Partitions {
		if partition.Leader >= 0 && partition.Err == nil {
			count++
		}
	}
	return count
}

func (f *franz) topics() []string { return have(f.admin.ListTopics(soon())).Names() }

func (f *franz) produce(topic string, records []record, settings settings) list {
	codecs := map[string]kgo.CompressionCodec{"": kgo.NoCompression(), "none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	options := []kgo.Opt{f.seed, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecs[settings.codec])}
	if !settings.idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	producer := have(kgo.NewClient(options...))
	defer producer.Close()
	var sent []*kgo.Record
	for _, record := range records {
		one := &kgo.Record{Topic: topic, Partition: settings.partition, Key: []byte(record.key), Value: []byte(record.value)}
		if record.millis != 0 {
			one.Timestamp = time.UnixMilli(record.millis)
		}
		sent = append(sent, one)
	}
	placed := list{}
	for _, result := range producer.ProduceSync(soon(), sent...) {
		if code := franzCode(result.Err); code != 0 {
			placed = append(placed, object{"code": code})
		} else {
			placed = append(placed, result.Record.Offset)
		}
	}
	return placed
}

func (f *franz) read(topic string, partition int32, start int64, count int) []record {
	from := kgo.NewOffset().At(start)
	if start == -2 {
		from = kgo.NewOffset().AtStart()
	}
	reader := have(kgo.NewClient(f.seed, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: from}})))
	defer reader.Close()
	var got []record
	until(func() bool {
		got = append(got, franzRecords(reader.PollFetches(soon()))...)
		return len(got) >= count
	})
	return got[:count]
}

func franzRecords(fetches kgo.Fetches) []record {
	var got []record
	fetches.EachRecord(func(one *kgo.Record) {
		got = append(got, record{string(one.Key), string(one.Value), one.Partition, one.Offset, one.Timestamp.UnixMilli()})
	})
	return got
}

func (f *franz) ends(topic string) list {
	first, _ := have(f.admin.ListStartOffsets(soon(), topic)).Lookup(topic, 0)
	next, _ := have(f.admin.ListEndOffsets(soon(), topic)).Lookup(topic, 0)
	return list{first.Offset, next.Offset}
}

func (f *franz) atTime(topic string, millis int64) int64 {
	found, _ := have(f.admin.ListOffsetsAfterMilli(soon(), millis, topic)).Lookup(topic, 0)
	if found.Timestamp == -1 {
		return -1 // franz-go puts the end where there is none
	}
	return found.Offset
}

var balancers = map[string]kgo.GroupBalancer{"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "sticky": kgo.StickyBalancer(), "cooperative": kgo.CooperativeStickyBalancer()}

func (*franz) strategies() []string { return []string{"range", "roundrobin", "sticky", "cooperative"} }

// franzMember is a client in a group; what it holds is told by its callbacks.
type franzMember struct {
	*kgo.Client
	lock sync.Mutex
	held map[int32]bool
}

func (f *franz) join(group, topic, strategy string) member {
	joined := &franzMember{held: map[int32]bool{}}
	note := func(holds bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, places map[string][]int32) {
			joined.lock.Lock()
			defer joined.lock.Unlock()
			for _, partition := range places[topic] {
				if holds {
					joined.held[partition] = true
				} else {
					delete(joined.held, partition)
				}
			}
		}
	}
	options := []kgo.Opt{f.seed, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit()}
	options = append(options, kgo.Balancers(balancers[strategy]), kgo.HeartbeatInterval(300*time.Millisecond), kgo.SessionTimeout(10*time.Second))
	options = append(options, kgo.OnPartitionsAssigned(note(true)), kgo.OnPartitionsRevoked(note(false)), kgo.OnPartitionsLost(note(false)))
	joined.Client = have(kgo.NewClient(options...))
	return joined
}

func (m *franzMember) take() []record {
	limited, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	return franzRecords(m.PollFetches(limited))
}

func (m *franzMember) assignment() []int32 {
	m.lock.Lock()
	defer m.lock.Unlock()
	return slices.Collect(maps.Keys(m.held))
}

func (m *franzMember) commit(topic string, partition int32, offset int64) error {
	var failed error
	offsets := map[string]map[int32]kgo.EpochOffset{topic: {partition: {Epoch: -1, Offset: offset}}}
	m.CommitOffsetsSync(soon(), offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		failed = err
		if err == nil {
			failed = kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
		}
	})
	return failed
}

func (m *franzMember) close() { m.Close() }

func (f *franz) group(group string) (string, int) {
	found := have(f.admin.DescribeGroups(soon(), group))[group]
	return found.State, len(found.Members)
}

func (f *franz) removeGroup(group string) int {
	return franzCode(have(f.admin.DeleteGroups(soon(), group))[group].Err)
}

func (f *franz) committed(group, topic string) object {
	found := object{}
	for partition, offset := range have(f.admin.FetchOffsets(soon(), group))[topic] {
		found[fmt.Sprint(partition)] = offset.At
	}
	return found
}

func (*franz) login(address, mechanism, user, password string) int {
	mechanisms := map[string]sasl.Mechanism{
		"PLAIN":         plain.Auth{User: user, Pass: password}.AsMechanism(),
		"SCRAM-SHA-256": scram.Auth{User: user, Pass: password}.AsSha256Mechanism(),
		"SCRAM-SHA-512": scram.Auth{User: user, Pass: password}.AsSha512Mechanism(),
	}
	client := have(kgo.NewClient(kgo.SeedBrokers(address), kgo.SASL(mechanisms[mechanism])))
	defer client.Close()
	return franzCode(client.Ping(soon()))
}
