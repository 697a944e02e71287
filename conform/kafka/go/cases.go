package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

type entry struct {
	name string
	run  func(*rig) any
}

var cases = []entry{
	{"create_topic", createTopic},
	{"create_bad_configs", createBadConfigs},
	{"create_no_partitions", func(r *rig) any { return r.create(r.stem, 0, nil) }},
	{"delete_topic", deleteTopic},
	{"create_partitions", createPartitions},
	{"log_dirs", logDirs},
	{"codec_none", codec("none")},
	{"codec_gzip", codec("gzip")},
	{"codec_snappy", codec("snappy")},
	{"codec_lz4", codec("lz4")},
	{"codec_zstd", codec("zstd")},
	{"order_and_offsets", orderAndOffsets},
	{"idempotent_producer", idempotentProducer},
	{"record_too_large", recordTooLarge},
	{"read_from_offset", readFromOffset},
	{"read_from_inside_a_batch", readFromInsideABatch},
	{"list_offsets", listOffsets},
	{"group_reads_all", groupReadsAll},
	{"group_range", twoMembers("range")},
	{"group_roundrobin", twoMembers("roundrobin")},
	{"group_sticky", twoMembers("sticky")},
	{"group_cooperative", twoMembers("cooperative")},
	{"more_members_than_partitions", moreMembersThanPartitions},
	{"delete_group", deleteGroup},
	{"committed_seen_by_admin", committedSeenByAdmin},
	{"sasl_plain", login("PLAIN")},
	{"sasl_scram_sha_256", login("SCRAM-SHA-256")},
	{"sasl_scram_sha_512", login("SCRAM-SHA-512")},
	{"sasl_rights", rights},
	{"tls_roundtrip", tlsRoundtrip},
	{"tls_unknown_authority", tlsUnknownAuthority},
	{"tls_logins", tlsLogins},
}

func numbers(count int) []record {
	var records []record
	for number := range count {
		records = append(records, record{value: fmt.Sprint(number)})
	}
	return records
}

func values(read []record) list {
	found := list{}
	for _, record := range read {
		found = append(found, record.value)
	}
	return found
}

func offsets(read []record) list {
	found := list{}
	for _, record := range read {
		found = append(found, record.offset)
	}
	return found
}

// counted says whether these are 0, 1, 2 and so on, as many as wanted.
func counted(found list, count int) bool {
	for index, value := range found {
		if fmt.Sprint(value) != fmt.Sprint(index) {
			return false
		}
	}
	return len(found) == count
}

func createTopic(r *rig) any {
	topic := r.topic(3, nil)
	return object{"partitions": r.partitions(topic), "listed": slices.Contains(r.topics(), topic), "again": r.create(topic, 1, nil)}
}

func createBadConfigs(r *rig) any {
	refused := func(name, value string) int { return r.create(r.stem, 1, map[string]string{name: value}) }
	return object{"unknown": refused("no.such.thing", "1"), "word": refused("retention.ms", "soon"), "policy": refused("cleanup.policy", "shred"), "negative": refused("max.message.bytes", "-1")}
}

func deleteTopic(r *rig) any {
	topic := r.topic(1, nil)
	first := r.remove(topic)
	until(func() bool { return !slices.Contains(r.topics(), topic) })
	return object{"code": first, "again": r.remove(topic), "never_there": r.remove(r.stem + ".never")}
}

func createPartitions(r *rig) any {
	topic := r.topic(2, nil)
	r.produce(topic, []record{{value: "kept"}}, settings{})
	more := r.grow(topic, 4)
	until(func() bool { return r.partitions(topic) == 4 })
	answer := object{"more": more, "same": r.grow(topic, 4), "fewer": r.grow(topic, 1), "unknown": r.grow(r.stem+".never", 2)}
	answer["in_new"] = r.produce(topic, []record{{value: "in the new one"}}, settings{partition: 3})
	answer["kept"] = values(r.read(topic, 0, 0, 1))
	return answer
}

func logDirs(r *rig) any {
	measures, can := r.client.(interface{ logDirs(topic string) any })
	if !can {
		panic(unable{})
	}
	topic := r.topic(2, nil)
	r.produce(topic, []record{{value: strings.Repeat("x", 100)}}, settings{})
	return measures.logDirs(topic)
}

func codec(name string) func(*rig) any {
	return func(r *rig) any {
		topic := r.topic(1, nil)
		var sent []record
		for number := range 50 {
			sent = append(sent, record{key: fmt.Sprint("key ", number), value: strings.Repeat(fmt.Sprint("value ", number, " "), 20)})
		}
		placed := r.produce(topic, sent, settings{codec: name})
		read := r.read(topic, 0, 0, 50)
		same := slices.EqualFunc(read, sent, func(a, b record) bool { return a.key == b.key && a.value == b.value })
		return object{"in_order": counted(placed, 50) && counted(offsets(read), 50), "same": same}
	}
}

func orderAndOffsets(r *rig) any {
	topic := r.topic(1, nil)
	placed := r.produce(topic, numbers(2000), settings{})
	read := r.read(topic, 0, 0, 2000)
	return object{"placed": counted(placed, 2000), "read": counted(values(read), 2000), "offsets": counted(offsets(read), 2000)}
}

func idempotentProducer(r *rig) any {
	topic := r.topic(1, nil)
	placed := append(r.produce(topic, numbers(500), settings{idempotent: true}), r.produce(topic, numbers(500), settings{idempotent: true})...)
	return object{"placed": counted(placed, 1000), "end": r.ends(topic)[1]}
}

func recordTooLarge(r *rig) any {
	topic := r.topic(1, map[string]string{"max.message.bytes": "1000"})
	placed := list{}
	for _, size := range []int{100, 2000, 100} {
		placed = append(placed, r.produce(topic, []record{{value: strings.Repeat("x", size)}}, settings{})...)
	}
	return placed
}

func readFromOffset(r *rig) any {
	topic := r.topic(1, nil)
	r.produce(topic, numbers(10), settings{})
	answer := object{"earliest": values(r.read(topic, 0, -2, 2))}
	for _, start := range []int64{0, 3, 7} {
		answer[fmt.Sprint(start)] = values(r.read(topic, 0, start, 2))
	}
	return answer
}

func readFromInsideABatch(r *rig) any {
	topic := r.topic(1, nil)
	r.produce(topic, numbers(20), settings{codec: "gzip"})
	read := r.read(topic, 0, 13, 3)
	return object{"values": values(read), "offsets": offsets(read)}
}

func listOffsets(r *rig) any {
	topic := r.topic(1, nil)
	empty := r.ends(topic)
	base := time.Now().UnixMilli() - 100_000
	for step := range int64(4) {
		r.produce(topic, []record{{value: "x", millis: base + step*1000}}, settings{})
	}
	at := func(millis int64) int64 { return r.atTime(topic, millis) }
	return object{"empty": empty, "ends": r.ends(topic), "exact": at(base + 1000), "between": at(base + 1500), "before": at(1000), "after": at(base + 50_000)}
}

func (r *rig) fill(topic string, partitions int32) {
	for partition := range partitions {
		var sent []record
		for number := range 10 {
			sent = append(sent, record{value: fmt.Sprintf("%d.%d", partition, number)})
		}
		r.produce(topic, sent, settings{partition: partition})
	}
}

func collect(member member, count int) []record {
	var got []record
	until(func() bool {
		got = append(got, member.take()...)
		return len(got) >= count
	})
	return got
}

// settle until the members have so many partitions each, in any order, and none is held twice.
func settle(members []member, sizes ...int) {
	slices.Sort(sizes)
	until(func() bool {
		var every []int32
		var found []int
		for _, member := range members {
			member.take()
			held := member.assignment()
			every, found = append(every, held...), append(found, len(held))
		}
		slices.Sort(found)
		slices.Sort(every)
		return slices.Equal(found, sizes) && len(slices.Compact(every)) == sum(sizes)
	})
}

func sum(numbers []int) (total int) {
	for _, number := range numbers {
		total += number
	}
	return
}

func groupReadsAll(r *rig) any {
	topic := r.topic(3, nil)
	r.fill(topic, 3)
	member := r.member(r.stem, topic, r.strategies()[0])
	got := collect(member, 30)
	inOrder := true
	for partition := range int32(3) {
		mine := slices.DeleteFunc(slices.Clone(got), func(record record) bool { return record.partition != partition })
		inOrder = inOrder && counted(offsets(mine), 10)
	}
	return object{"count": len(got), "in_order": inOrder, "assignment": slices.Sorted(slices.Values(member.assignment()))}
}

func twoMembers(strategy string) func(*rig) any {
	return func(r *rig) any {
		if !slices.Contains(r.strategies(), strategy) {
			panic(unable{})
		}
		topic := r.topic(4, nil)
		first := r.member(r.stem, topic, strategy)
		settle([]member{first}, 4)
		second := r.member(r.stem, topic, strategy)
		settle([]member{first, second}, 2, 2)
		state, count := r.group(r.stem)
		second.close()
		settle([]member{first}, 4)
		return object{"state": strings.ToLower(state), "assignor": strategy, "members": count}
	}
}

func moreMembersThanPartitions(r *rig) any {
	topic := r.topic(1, nil)
	var members []member
	for range 3 {
		members = append(members, r.member(r.stem, topic, r.strategies()[0]))
	}
	settle(slices.Clone(members), 1, 0, 0)
	holder := slices.IndexFunc(members, func(member member) bool { return len(member.assignment()) > 0 })
	members[holder].close()
	settle(slices.Delete(members, holder, holder+1), 1, 0)
	return "the next one takes over"
}

func deleteGroup(r *rig) any {
	topic := r.topic(1, nil)
	r.fill(topic, 1)
	member := r.member(r.stem, topic, r.strategies()[0])
	collect(member, 10)
	must(member.commit(topic, 0, 1))
	busy := r.removeGroup(r.stem)
	member.close()
	until(func() bool {
		_, count := r.group(r.stem)
		return count == 0
	})
	answer := object{"busy": busy, "empty": r.removeGroup(r.stem), "again": r.removeGroup(r.stem)}
	state, _ := r.group(r.stem)
	answer["listed"] = state != "Dead"
	return answer
}

func committedSeenByAdmin(r *rig) any {
	topic := r.topic(2, nil)
	r.fill(topic, 2)
	member := r.member(r.stem, topic, r.strategies()[0])
	collect(member, 20)
	must(member.commit(topic, 1, 5))
	member.close()
	return r.committed(r.stem, topic)
}
