package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// segment puts the verbs of the cases on segmentio's kafka-go.
type segment struct {
	address net.Addr
	trust   *tls.Config
	client  *kafka.Client
}

func newSegmentio(bootstrap string, trust *tls.Config) client {
	address := kafka.TCP(bootstrap)
	return &segment{address, trust, &kafka.Client{Addr: address, Timeout: patience, Transport: &kafka.Transport{TLS: trust}}}
}

func segmentCode(err error) int {
	var code kafka.Error
	var many kafka.WriteErrors
	if errors.As(err, &many) {
		for _, one := range many {
			if one != nil {
				return segmentCode(one)
			}
		}
	}
	if errors.As(err, &code) {
		return int(code)
	}
	must(err)
	return 0
}

func (*segment) name() string { return "segmentio" }

func (s *segment) create(topic string, partitions int32, configs map[string]string) int {
	config := kafka.TopicConfig{Topic: topic, NumPartitions: int(partitions), ReplicationFactor: 1}
	for name, value := range configs {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	answer := have(s.client.CreateTopics(soon(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}}))
	return segmentCode(answer.Errors[topic])
}

func (s *segment) remove(topic string) int {
	return segmentCode(have(s.client.DeleteTopics(soon(), &kafka.DeleteTopicsRequest{Topics: []string{topic}})).Errors[topic])
}

func (s *segment) grow(topic string, total int32) int {
	request := &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: total}}}
	return segmentCode(have(s.client.CreatePartitions(soon(), request)).Errors[topic])
}

func (s *segment) metadata(topics ...string) []kafka.Topic {
	return have(s.client.Metadata(soon(), &kafka.MetadataRequest{Topics: topics})).Topics
}

func (s *segment) partitions(topic string) int {
	count := 0
	for _, partition := range s.metadata(topic)[0].Partitions {
		if partition.Leader.Port != 0 && partition.Error == nil {
			count++
		}
	}
	return count
}

func (s *segment) topics() (names []string) {
	for _, topic := range s.metadata() {
		names = append(names, topic.Name)
	}
	return
}

func (s *segment) produce(topic string, records []record, settings settings) list {
	if settings.idempotent {
		panic(unable{})
	}
	codec := map[string]kafka.Compression{"gzip": compress.Gzip, "snappy": compress.Snappy, "lz4": compress.Lz4, "zstd": compress.Zstd}[settings.codec]
	var sent []kafka.Record
	for _, record := range records {
		one := kafka.Record{Key: kafka.NewBytes([]byte(record.key)), Value: kafka.NewBytes([]byte(record.value))}
		if record.millis != 0 {
			one.Time = time.UnixMilli(record.millis)
		}
		sent = append(sent, one)
	}
	request := &kafka.ProduceRequest{Topic: topic, Partition: int(settings.partition), RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(sent...), Compression: codec}
	answer := have(s.client.Produce(soon(), request))
	placed := list{}
	for index := range sent {
		if code := segmentCode(answer.Error); code != 0 {
			placed = append(placed, object{"code": code})
		} else {
			placed = append(placed, answer.BaseOffset+int64(index))
		}
	}
	return placed
}

func segmentRecord(one kafka.Message) record {
	return record{string(one.Key), string(one.Value), int32(one.Partition), one.Offset, one.Time.UnixMilli()}
}

func (s *segment) read(topic string, partition int32, start int64, count int) []record {
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{s.address.String()}, Topic: topic, Partition: int(partition), MaxWait: 200 * time.Millisecond, Dialer: &kafka.Dialer{Timeout: patience, TLS: s.trust}})
	defer reader.Close()
	must(reader.SetOffset(start)) // -2 is the first
	var got []record
	for len(got) < count {
		got = append(got, segmentRecord(have(reader.ReadMessage(soon()))))
	}
	return got
}

func (s *segment) listed(topic string, request kafka.OffsetRequest) kafka.PartitionOffsets {
	asked := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {request}}}
	found := have(s.client.ListOffsets(soon(), asked)).Topics[topic][0]
	must(found.Error)
	return found
}

func (s *segment) ends(topic string) list {
	return list{s.listed(topic, kafka.FirstOffsetOf(0)).FirstOffset, s.listed(topic, kafka.LastOffsetOf(0)).LastOffset}
}

func (s *segment) atTime(topic string, millis int64) int64 {
	for offset := range s.listed(topic, kafka.TimeOffsetOf(0, time.UnixMilli(millis))).Offsets {
		return offset
	}
	return -1
}

// flaky names cases that this library does not pass each time against the real Kafka either: a member of several partitions may miss some.
func (*segment) flaky() []string { return []string{"group_reads_all", "committed_seen_by_admin"} }

func (*segment) strategies() []string { return []string{"range", "roundrobin"} }

var segmentBalancers = map[string]kafka.GroupBalancer{"range": kafka.RangeGroupBalancer{}, "roundrobin": kafka.RoundRobinGroupBalancer{}}

// segmentMember reads in the background; this library does not tell what a member holds, so the group is asked.
type segmentMember struct {
	client *segment
	group  string
	reader *kafka.Reader
	got    chan record
	id     string
}

func (s *segment) join(group, topic, strategy string) member {
	id := fmt.Sprintf("member-%d", time.Now().UnixNano())
	dialer := &kafka.Dialer{ClientID: id, Timeout: patience, TLS: s.trust}
	joined := &segmentMember{client: s, group: group, got: make(chan record, 10_000), id: id}
	joined.reader = kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{s.address.String()}, GroupID: group, Topic: topic, Dialer: dialer, GroupBalancers: []kafka.GroupBalancer{segmentBalancers[strategy]},
		HeartbeatInterval: 300 * time.Millisecond, SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second,
		MaxWait: 200 * time.Millisecond, StartOffset: kafka.FirstOffset,
	})
	go func() {
		for {
			one, err := joined.reader.FetchMessage(context.Background())
			if err != nil {
				return // it was closed
			}
			joined.got <- segmentRecord(one)
		}
	}()
	return joined
}

func (m *segmentMember) take() (got []record) {
	time.Sleep(20 * time.Millisecond)
	for {
		select {
		case one := <-m.got:
			got = append(got, one)
		default:
			return
		}
	}
}

func (m *segmentMember) assignment() (held []int32) {
	for _, member := range m.client.described(m.group).Members {
		if member.ClientID != m.id {
			continue
		}
		for _, topic := range member.MemberAssignments.Topics {
			for _, partition := range topic.Partitions {
				held = append(held, int32(partition))
			}
		}
	}
	return
}

func (m *segmentMember) commit(topic string, partition int32, offset int64) error {
	return m.reader.CommitMessages(soon(), kafka.Message{Topic: topic, Partition: int(partition), Offset: offset - 1})
}

func (m *segmentMember) close() { _ = m.reader.Close() }

func (s *segment) described(group string) kafka.DescribeGroupsResponseGroup {
	return have(s.client.DescribeGroups(soon(), &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})).Groups[0]
}

func (s *segment) group(group string) (string, int) {
	found := s.described(group)
	return found.GroupState, len(found.Members)
}

func (s *segment) removeGroup(group string) int {
	return segmentCode(have(s.client.DeleteGroups(soon(), &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})).Errors[group])
}

func (s *segment) committed(group, topic string) object {
	wanted := []int{}
	for partition := range s.partitions(topic) {
		wanted = append(wanted, partition)
	}
	answer := have(s.client.OffsetFetch(soon(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: wanted}}))
	found := object{}
	for _, partition := range answer.Topics[topic] {
		if partition.CommittedOffset >= 0 {
			found[fmt.Sprint(partition.Partition)] = partition.CommittedOffset
		}
	}
	return found
}

func (*segment) login(address, mechanism, user, password string, trust *tls.Config) int {
	var how sasl.Mechanism
	if mechanism == "PLAIN" {
		how = plain.Mechanism{Username: user, Password: password}
	}
	if name, isScram := strings.CutPrefix(mechanism, "SCRAM-"); isScram {
		hash := map[string]scram.Algorithm{"SHA-256": scram.SHA256, "SHA-512": scram.SHA512}[name]
		how = have(scram.Mechanism(hash, user, password))
	}
	dialer := &kafka.Dialer{SASLMechanism: how, Timeout: patience, TLS: trust}
	connection, err := dialer.DialContext(soon(), "tcp", address)
	if err == nil {
		err = connection.Close()
	}
	return segmentCode(err)
}
