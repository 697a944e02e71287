package main

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// sar puts the verbs of the cases on sarama.
type sar struct {
	seeds []string
	trust *tls.Config
	admin sarama.ClusterAdmin
}

func saramaConfig(trust *tls.Config) *sarama.Config {
	config := sarama.NewConfig()
	config.Net.TLS.Enable, config.Net.TLS.Config = trust != nil, trust
	config.Version = sarama.V4_1_0_0
	config.Metadata.AllowAutoTopicCreation = false
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Return.Errors = true
	config.Consumer.Group.Session.Timeout = 10 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.RequiredAcks = sarama.WaitForAll
	return config
}

func newSarama(bootstrap string, trust *tls.Config) client {
	sarama.Logger = log.New(io.Discard, "", 0)
	seeds := []string{bootstrap}
	return &sar{seeds, trust, have(sarama.NewClusterAdmin(seeds, saramaConfig(trust)))}
}

func saramaCode(err error) int {
	var code sarama.KError
	if errors.As(err, &code) {
		return int(code)
	}
	must(err)
	return 0
}

func (*sar) name() string { return "sarama" }

func (s *sar) create(topic string, partitions int32, configs map[string]string) int {
	given := map[string]*string{}
	for name, value := range configs {
		given[name] = &value
	}
	return saramaCode(s.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: given}, false))
}

func (s *sar) remove(topic string) int { return saramaCode(s.admin.DeleteTopic(topic)) }

func (s *sar) grow(topic string, total int32) int {
	return saramaCode(s.admin.CreatePartitions(topic, total, nil, false))
}

func (s *sar) partitions(topic string) int {
	found := have(s.admin.DescribeTopics([]string{topic}))
	count := 0
	for _, partition := range found[0].Partitions {
		if partition.Leader >= 0 && partition.Err == sarama.ErrNoError {
			count++
		}
	}
	return count
}

func (s *sar) topics() []string { return slices.Collect(maps.Keys(have(s.admin.ListTopics()))) }

func (s *sar) produce(topic string, records []record, settings settings) list {
	config := saramaConfig(s.trust)
	config.Producer.Compression = map[string]sarama.CompressionCodec{"gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}[settings.codec]
	if settings.idempotent {
		config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
	}
	producer := have(sarama.NewSyncProducer(s.seeds, config))
	defer producer.Close()
	var sent []*sarama.ProducerMessage
	for _, record := range records {
		one := &sarama.ProducerMessage{Topic: topic, Partition: settings.partition, Key: sarama.StringEncoder(record.key), Value: sarama.StringEncoder(record.value)}
		if record.millis != 0 {
			one.Timestamp = time.UnixMilli(record.millis)
		}
		sent = append(sent, one)
	}
	failed := map[*sarama.ProducerMessage]error{}
	var refused sarama.ProducerErrors
	if errors.As(producer.SendMessages(sent), &refused) {
		for _, one := range refused {
			failed[one.Msg] = one.Err
		}
	}
	placed := list{}
	for _, one := range sent {
		if err := failed[one]; err != nil {
			placed = append(placed, object{"code": saramaCode(err)})
		} else {
			placed = append(placed, one.Offset)
		}
	}
	return placed
}

func saramaRecord(one *sarama.ConsumerMessage) record {
	return record{string(one.Key), string(one.Value), one.Partition, one.Offset, one.Timestamp.UnixMilli()}
}

func (s *sar) read(topic string, partition int32, start int64, count int) []record {
	reader := have(sarama.NewConsumer(s.seeds, saramaConfig(s.trust)))
	defer reader.Close()
	part := have(reader.ConsumePartition(topic, partition, start)) // -2 is the oldest
	defer part.AsyncClose()
	var got []record
	for late := time.After(patience); len(got) < count; {
		select {
		case one := <-part.Messages():
			got = append(got, saramaRecord(one))
		case err := <-part.Errors():
			panic(err)
		case <-late:
			panic("late")
		}
	}
	return got
}

func (s *sar) at(topic string, time int64) int64 {
	client := have(sarama.NewClient(s.seeds, saramaConfig(s.trust)))
	defer client.Close()
	return have(client.GetOffset(topic, 0, time))
}

func (s *sar) ends(topic string) list {
	return list{s.at(topic, sarama.OffsetOldest), s.at(topic, sarama.OffsetNewest)}
}

func (s *sar) atTime(topic string, millis int64) int64 { return s.at(topic, millis) }

func (*sar) strategies() []string { return []string{"range", "roundrobin", "sticky"} }

var saramaBalancers = map[string]func() sarama.BalanceStrategy{"range": sarama.NewBalanceStrategyRange, "roundrobin": sarama.NewBalanceStrategyRoundRobin, "sticky": sarama.NewBalanceStrategySticky}

// saramaMember runs a session after the other; what it holds is told by them.
type saramaMember struct {
	group sarama.ConsumerGroup
	topic string
	stop  context.CancelFunc
	ended chan struct{}
	once  sync.Once

	lock    sync.Mutex
	session sarama.ConsumerGroupSession
	got     []record
}

func (s *sar) join(group, topic, strategy string) member {
	config := saramaConfig(s.trust)
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{saramaBalancers[strategy]()}
	running, stop := context.WithCancel(context.Background())
	joined := &saramaMember{group: have(sarama.NewConsumerGroup(s.seeds, group, config)), topic: topic, stop: stop, ended: make(chan struct{})}
	go func() {
		for range joined.group.Errors() { // what goes wrong shows in what does not come
		}
	}()
	go func() {
		defer close(joined.ended)
		for running.Err() == nil {
			_ = joined.group.Consume(running, []string{topic}, joined)
		}
	}()
	return joined
}

func (m *saramaMember) Setup(session sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.session = session
	return nil
}

func (m *saramaMember) Cleanup(sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.session = nil
	return nil
}

func (m *saramaMember) ConsumeClaim(_ sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for one := range claim.Messages() {
		m.lock.Lock()
		m.got = append(m.got, saramaRecord(one))
		m.lock.Unlock()
	}
	return nil
}

func (m *saramaMember) take() []record {
	time.Sleep(20 * time.Millisecond)
	m.lock.Lock()
	defer m.lock.Unlock()
	got := m.got
	m.got = nil
	return got
}

func (m *saramaMember) assignment() []int32 {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.session == nil {
		return nil
	}
	return m.session.Claims()[m.topic]
}

func (m *saramaMember) commit(topic string, partition int32, offset int64) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.session == nil {
		return errors.New("no session to commit in")
	}
	m.session.ResetOffset(topic, partition, offset, "")
	m.session.MarkOffset(topic, partition, offset, "")
	m.session.Commit()
	return nil
}

func (m *saramaMember) close() {
	m.once.Do(func() {
		m.stop()
		<-m.ended
		must(m.group.Close())
	})
}

func (s *sar) group(group string) (string, int) {
	found := have(s.admin.DescribeConsumerGroups([]string{group}))[0]
	return found.State, len(found.Members)
}

func (s *sar) removeGroup(group string) int { return saramaCode(s.admin.DeleteConsumerGroup(group)) }

func (s *sar) committed(group, topic string) object {
	found := object{}
	for partition, block := range have(s.admin.ListConsumerGroupOffsets(group, nil)).Blocks[topic] {
		found[fmt.Sprint(partition)] = block.Offset
	}
	return found
}

// saramaScram puts the conversation that sarama leaves to others on a library.
type saramaScram struct {
	hash scram.HashGeneratorFcn
	*scram.ClientConversation
}

func (s *saramaScram) Begin(user, password, identity string) error {
	client, err := s.hash.NewClient(user, password, identity)
	if err == nil {
		s.ClientConversation = client.NewConversation()
	}
	return err
}

func (*sar) login(address, mechanism, user, password string, trust *tls.Config) int {
	config := saramaConfig(trust)
	config.Net.SASL.Enable, config.Net.SASL.User, config.Net.SASL.Password = mechanism != "", user, password
	config.Net.SASL.Mechanism = sarama.SASLMechanism(mechanism)
	config.Metadata.Retry.Max = 0
	config.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient {
		if mechanism == sarama.SASLTypeSCRAMSHA256 {
			return &saramaScram{hash: sha256.New}
		}
		return &saramaScram{hash: sha512.New}
	}
	broker := sarama.NewBroker(address)
	must(broker.Open(config))
	_, err := broker.Connected()
	if err == nil {
		_, err = broker.ApiVersions(&sarama.ApiVersionsRequest{}) // or nothing is encrypted yet
		must(broker.Close())
	}
	if err == nil {
		return 0
	}
	if strings.HasPrefix(err.Error(), sarama.ErrSASLAuthenticationFailed.Error()) {
		return int(sarama.ErrSASLAuthenticationFailed) // the broker's words stand behind it, and hide the number
	}
	return saramaCode(err)
}
