package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	where []kgo.Opt
	admin *kadm.Client
}

func newFranz(bootstrap string, trust *tls.Config) client {
	return &franz{franzWhere(bootstrap, trust), kadm.NewClient(have(kgo.NewClient(franzWhere(bootstrap, trust)...)))}
}

func franzWhere(address string, trust *tls.Config) []kgo.Opt {
	where := []kgo.Opt{kgo.SeedBrokers(address)}
	if trust != nil {
		where = append(where, kgo.DialTLSConfig(trust))
	}
	return where
}

// with further options.
func (f *franz) with(more ...kgo.Opt) *kgo.Client {
	return have(kgo.NewClient(append(slices.Clone(f.where), more...)...))
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
	options := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecs[settings.codec])}
	if !settings.idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	producer := f.with(options...)
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
	reader := f.with(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: from}}))
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
	options := []kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit()}
	options = append(options, kgo.Balancers(balancers[strategy]), kgo.HeartbeatInterval(300*time.Millisecond), kgo.SessionTimeout(10*time.Second))
	options = append(options, kgo.OnPartitionsAssigned(note(true)), kgo.OnPartitionsRevoked(note(false)), kgo.OnPartitionsLost(note(false)))
	joined.Client = f.with(options...)
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

// logDirs tells how large a topic's partitions are.
func (f *franz) logDirs(topic string) any {
	sizes, directories := object{}, 0
	for _, broker := range have(f.admin.DescribeAllLogDirs(soon(), nil)) {
		for _, directory := range broker {
			directories++
			for partition, found := range directory.Topics[topic] {
				sizes[fmt.Sprint(partition)] = list{found.Size, found.OffsetLag, found.IsFuture}
			}
		}
	}
	return object{"directories": directories, "partitions": sizes}
}

func franzLogin(mechanism, user, password string) kgo.Opt {
	mechanisms := map[string]sasl.Mechanism{
		"PLAIN":         plain.Auth{User: user, Pass: password}.AsMechanism(),
		"SCRAM-SHA-256": scram.Auth{User: user, Pass: password}.AsSha256Mechanism(),
		"SCRAM-SHA-512": scram.Auth{User: user, Pass: password}.AsSha512Mechanism(),
	}
	return kgo.SASL(mechanisms[mechanism])
}

func (*franz) login(address, mechanism, user, password string, trust *tls.Config) int {
	options := append(franzWhere(address, trust), kgo.RequestRetries(0))
	if mechanism != "" {
		options = append(options, franzLogin(mechanism, user, password))
	}
	client := have(kgo.NewClient(options...))
	defer client.Close()
	return franzCode(client.Ping(soon()))
}

func (*franz) writer(address, user, password string) func(topic, value string) any {
	where := append(franzWhere(address, nil), franzLogin("PLAIN", user, password))
	return func(topic, value string) any {
		writer := &franz{where: where}
		return writer.produce(topic, []record{{value: value}}, settings{})[0]
	}
}

func franzRule(topic string) *kadm.ACLBuilder {
	return kadm.NewACLs().Topics(topic).ResourcePatternType(kadm.ACLPatternLiteral)
}

func (f *franz) allow(principal, operation, topic string) int {
	operations := map[string]kadm.ACLOperation{"WRITE": kadm.OpWrite, "DESCRIBE": kadm.OpDescribe}
	rule := franzRule(topic).Allow(principal).AllowHosts().Operations(operations[operation])
	return franzCode(have(f.admin.CreateACLs(soon(), rule))[0].Err)
}

func franzEvery(topic string) *kadm.ACLBuilder {
	return franzRule(topic).Allow().AllowHosts().Deny().DenyHosts().Operations()
}

func (f *franz) allowed(topic string) list {
	var found [][]string
	for _, one := range have(f.admin.DescribeACLs(soon(), franzEvery(topic))) {
		for _, rule := range one.Described {
			found = append(found, []string{rule.Principal, strings.ToUpper(rule.Operation.String()), rule.Permission.String(), rule.Host})
		}
	}
	slices.SortFunc(found, func(a, b []string) int { return slices.Compare(a, b) })
	listed := list{}
	for _, rule := range found {
		listed = append(listed, rule)
	}
	return listed
}

func (f *franz) disallow(topic string) int {
	removed := 0
	for _, one := range have(f.admin.DeleteACLs(soon(), franzEvery(topic))) {
		removed += len(one.Deleted)
	}
	return removed
}
