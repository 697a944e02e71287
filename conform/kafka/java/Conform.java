// The conformance cases that Kafka's own Java client can express, of the 4.x and of the 3.x line. Prints one line of JSON per case;
// `cargo xtask conform kafka` reads them. The same rules as in ../python/rig.py, so that the same case gives the same answer.

import com.google.gson.*;
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.function.Supplier;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.serialization.*;

@SuppressWarnings({"deprecation", "removal"}) // what both lines have
public final class Conform {
  static final Duration PATIENCE = Duration.ofSeconds(20);
  static final Gson JSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

  interface Case {
    Object run(Rig rig) throws Exception;
  }

  interface Action {
    Object run() throws Exception;
  }

  public static void main(String[] arguments) throws Exception {
    var options = new HashMap<String, String>();
    for (int at = 0; at + 1 < arguments.length; at += 2) options.put(arguments[at].substring(2), arguments[at + 1]);
    var only = options.containsKey("only") ? List.of(options.get("only").split(",")) : List.copyOf(cases().keySet());
    for (var entry : cases().entrySet()) {
      var name = entry.getKey();
      var needs = name.split("_")[0];
      if (!only.contains(name) || (List.of("sasl", "tls").contains(needs) && !options.containsKey(needs))) continue;
      var seen = object("case", name);
      try (var rig = new Rig(name, options)) {
        try {
          seen.put("answer", entry.getValue().run(rig));
        } catch (Exception error) {
          var why = new StringWriter();
          error.printStackTrace(new PrintWriter(why, true));
          seen.putAll(object("answer", Map.of("broken", error.toString()), "why", why.toString())); // an answer that differs
        }
      }
      System.out.println(JSON.toJson(seen));
    }
    System.exit(0);
  }

  static Map<String, Case> cases() {
    var cases = new LinkedHashMap<String, Case>();
    cases.put("create_topic", Conform::createTopic);
    cases.put("create_default_partitions", Conform::createDefaultPartitions);
    cases.put("create_bad_configs", Conform::createBadConfigs);
    cases.put("create_three_replicas", Conform::createThreeReplicas);
    cases.put("create_validate_only", Conform::createValidateOnly);
    cases.put("delete_topic", Conform::deleteTopic);
    cases.put("create_partitions", Conform::createPartitions);
    cases.put("topic_ids", Conform::topicIds);
    cases.put("cluster", Conform::cluster);
    cases.put("log_dirs", Conform::logDirs);
    for (var codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) cases.put("codec_" + codec, rig -> codec(rig, codec));
    cases.put("order_and_offsets", Conform::orderAndOffsets);
    cases.put("idempotent_producer", Conform::idempotentProducer);
    cases.put("record_too_large", Conform::recordTooLarge);
    cases.put("compacted_needs_keys", Conform::compactedNeedsKeys);
    cases.put("append_time", Conform::appendTime);
    cases.put("time_too_far_off", Conform::timeTooFarOff);
    cases.put("list_offsets", Conform::listOffsets);
    cases.put("list_offsets_max_timestamp", Conform::listOffsetsMaxTimestamp);
    cases.put("delete_records", Conform::deleteRecords);
    cases.put("compaction", Conform::compaction);
    cases.put("retention_by_size", Conform::retentionBySize);
    cases.put("retention_by_time", Conform::retentionByTime);
    cases.put("group_reads_all", Conform::groupReadsAll);
    cases.put("group_goes_on_where_it_committed", Conform::groupGoesOn);
    cases.put("group_range", rig -> twoMembers(rig, RangeAssignor.class));
    cases.put("group_roundrobin", rig -> twoMembers(rig, RoundRobinAssignor.class));
    cases.put("group_sticky", rig -> twoMembers(rig, StickyAssignor.class));
    cases.put("group_cooperative", rig -> twoMembers(rig, CooperativeStickyAssignor.class));
    cases.put("static_member", Conform::staticMember);
    cases.put("delete_group", Conform::deleteGroup);
    cases.put("committed_set_by_admin", Conform::committedSetByAdmin);
    cases.put("delete_offsets", Conform::deleteOffsets);
    cases.put("alter_configs", Conform::alterConfigs);
    cases.put("created_with_configs", Conform::createdWithConfigs);
    cases.put("sasl_plain", rig -> login(rig, "PLAIN"));
    cases.put("sasl_scram_sha_256", rig -> login(rig, "SCRAM-SHA-256"));
    cases.put("sasl_scram_sha_512", rig -> login(rig, "SCRAM-SHA-512"));
    cases.put("sasl_new_user", Conform::newUser);
    cases.put("sasl_rights", Conform::rights);
    cases.put("sasl_group_rights", Conform::groupRights);
    cases.put("tls_roundtrip", Conform::tlsRoundtrip);
    cases.put("tls_unknown_authority", Conform::tlsUnknownAuthority);
    cases.put("tls_logins", Conform::tlsLogins);
    return cases;
  }

  // Topics.

  static Object createTopic(Rig rig) throws Exception {
    var topic = rig.topic("", 3, Map.of());
    return object("partitions", rig.partitions(topic), "listed", rig.admin.listTopics().names().get().contains(topic), "again", rig.create(topic, 1, Map.of()));
  }

  static Object createDefaultPartitions(Rig rig) throws Exception {
    var topic = rig.expect(rig.name(""));
    var code = code(() -> rig.admin.createTopics(List.of(new NewTopic(topic, Optional.empty(), Optional.empty()))).all().get());
    return object("code", code, "partitions", until(() -> rig.partitions(topic)));
  }

  static Object createBadConfigs(Rig rig) {
    return object(
        "unknown", rig.create(rig.name(""), 1, Map.of("no.such.thing", "1")),
        "word", rig.create(rig.name(""), 1, Map.of("retention.ms", "soon")),
        "policy", rig.create(rig.name(""), 1, Map.of("cleanup.policy", "shred")),
        "negative", rig.create(rig.name(""), 1, Map.of("max.message.bytes", "-1")));
  }

  static Object createThreeReplicas(Rig rig) {
    var topic = rig.expect(rig.name(""));
    return code(() -> rig.admin.createTopics(List.of(new NewTopic(topic, 1, (short) 3))).all().get());
  }

  static Object createValidateOnly(Rig rig) throws Exception {
    var topic = rig.expect(rig.name(""));
    var options = new CreateTopicsOptions().validateOnly(true);
    var good = code(() -> rig.admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1)), options).all().get());
    var bad = code(() -> rig.admin.createTopics(List.of(new NewTopic("a b", 1, (short) 1)), options).all().get());
    return object("good", good, "bad", bad, "created", rig.admin.listTopics().names().get().contains(topic));
  }

  static Object deleteTopic(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    var first = rig.delete(topic);
    until(() -> !rig.admin.listTopics().names().get().contains(topic));
    return object("code", first, "again", rig.delete(topic), "never_there", rig.delete(rig.name(".never")));
  }

  static Object createPartitions(Rig rig) throws Exception {
    var topic = rig.topic("", 2, Map.of());
    rig.produce(topic, 0, List.of(bytes("kept")), Map.of());
    var answer = object("more", rig.grow(topic, 4));
    until(() -> rig.partitions(topic) == 4);
    answer.putAll(object("same", rig.grow(topic, 4), "fewer", rig.grow(topic, 1), "unknown", rig.grow(rig.name(".never"), 2)));
    var last = rig.produce(topic, 3, List.of(bytes("in the new one")), Map.of());
    answer.putAll(object("kept", values(rig.read(topic, 1, 0)), "in_new", last));
    return answer;
  }

  /** An id stays while the topic does, and another topic of the same name has another one. */
  static Object topicIds(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    var first = rig.id(topic);
    var same = first.equals(rig.id(topic));
    rig.delete(topic);
    until(() -> !rig.admin.listTopics().names().get().contains(topic));
    until(() -> rig.create(topic, 1, Map.of()) == 0);
    until(() -> rig.partitions(topic) == 1);
    var unknown = code(() -> rig.admin.describeTopics(TopicCollection.ofTopicIds(List.of(first))).allTopicIds().get());
    return object("same", same, "another", !first.equals(rig.id(topic)), "zero", first.equals(Uuid.ZERO_UUID), "old_one", unknown);
  }

  static Object cluster(Rig rig) throws Exception {
    var found = rig.admin.describeCluster();
    var nodes = found.nodes().get().stream().map(Node::id).toList();
    return object("brokers", nodes.size(), "controller", nodes.contains(found.controller().get().id()), "id", !found.clusterId().get().isEmpty());
  }

  /** How large partitions are. */
  static Object logDirs(Rig rig) throws Exception {
    var topic = rig.topic("", 2, Map.of());
    rig.produce(topic, 0, List.of(new byte[100]), Map.of());
    var node = rig.admin.describeCluster().controller().get().id();
    var found = rig.admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node).values();
    var sizes = object();
    for (var directory : found) {
      directory.replicaInfos().forEach((place, replica) -> {
        if (place.topic().equals(topic)) sizes.put(String.valueOf(place.partition()), List.of(replica.size(), replica.offsetLag(), replica.isFuture()));
      });
    }
    return object("directories", found.size(), "partitions", sizes);
  }

  // Records.

  static Object codec(Rig rig, String codec) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    var sent = IntStream.range(0, 50).mapToObj(number -> bytes(("value " + number + " ").repeat(20))).toList();
    var placed = rig.produce(topic, 0, sent, Map.of("compression.type", codec));
    var read = rig.read(topic, 50, 0);
    var order = LongStream.range(0, 50).boxed().toList();
    var offsets = read.stream().map(ConsumerRecord::offset).toList();
    return object("in_order", placed.equals(order) && offsets.equals(order), "same", values(read).equals(sent.stream().map(Conform::text).toList()));
  }

  static Object orderAndOffsets(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    var placed = rig.produce(topic, 0, numbers(2000), Map.of());
    var read = rig.read(topic, 2000, 0);
    var order = LongStream.range(0, 2000).boxed().toList();
    return object("placed", placed.equals(order), "read", values(read).equals(order.stream().map(String::valueOf).toList()), "offsets", read.stream().map(ConsumerRecord::offset).toList().equals(placed));
  }

  static Object idempotentProducer(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    var placed = new ArrayList<Object>(rig.produce(topic, 0, numbers(500), Map.of("enable.idempotence", true)));
    placed.addAll(rig.produce(topic, 0, numbers(500), Map.of("enable.idempotence", true)));
    return object("placed", placed.equals(LongStream.range(0, 1000).boxed().toList()), "end", rig.offset(topic, OffsetSpec.latest()));
  }

  static Object recordTooLarge(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of("max.message.bytes", "1000"));
    var placed = new ArrayList<Object>();
    for (int size : List.of(100, 2000, 100)) placed.addAll(rig.produce(topic, 0, List.of(new byte[size]), Map.of()));
    return placed;
  }

  static Object compactedNeedsKeys(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of("cleanup.policy", "compact"));
    var placed = new ArrayList<Object>(rig.send(List.of(new ProducerRecord<>(topic, 0, bytes("k"), bytes("v"))), Map.of()));
    placed.addAll(rig.produce(topic, 0, List.of(bytes("no key")), Map.of()));
    return placed;
  }

  static Object appendTime(Rig rig) throws Exception {
    var before = System.currentTimeMillis();
    var topic = rig.topic("", 1, Map.of("message.timestamp.type", "LogAppendTime"));
    rig.send(List.of(new ProducerRecord<>(topic, 0, before - 86_400_000, null, bytes("x"))), Map.of());
    var read = rig.read(topic, 1, 0).get(0);
    var now = before - 1000 <= read.timestamp() && read.timestamp() <= System.currentTimeMillis() + 1000;
    return object("kind", read.timestampType() == TimestampType.LOG_APPEND_TIME ? "append" : "create", "now", now);
  }

  static Object timeTooFarOff(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of("message.timestamp.before.max.ms", "60000", "message.timestamp.after.max.ms", "60000"));
    var placed = new ArrayList<Object>();
    for (long off : List.of(-600_000, 600_000, 0)) {
      placed.addAll(rig.send(List.of(new ProducerRecord<>(topic, 0, System.currentTimeMillis() + off, null, bytes("x"))), Map.of()));
    }
    return placed;
  }

  static Object listOffsets(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    var empty = rig.ends(topic);
    var base = System.currentTimeMillis() - 100_000;
    for (int step = 0; step < 4; step++) rig.send(List.of(new ProducerRecord<>(topic, 0, base + step * 1000L, null, bytes("x"))), Map.of());
    var answer = object("empty", empty, "ends", rig.ends(topic));
    for (var asked : Map.of("exact", base + 1000, "between", base + 1500, "before", 1000L, "after", base + 50_000).entrySet()) {
      answer.put(asked.getKey(), rig.offset(topic, OffsetSpec.forTimestamp(asked.getValue())));
    }
    return answer;
  }

  static Object listOffsetsMaxTimestamp(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    var empty = rig.offset(topic, OffsetSpec.maxTimestamp());
    var base = System.currentTimeMillis() - 100_000;
    for (long late : List.of(1, 9, 5)) rig.send(List.of(new ProducerRecord<>(topic, 0, base + late, null, bytes("x"))), Map.of());
    return object("empty", empty, "found", rig.offset(topic, OffsetSpec.maxTimestamp()));
  }

  static Object deleteRecords(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    rig.produce(topic, 0, numbers(10), Map.of());
    var answer = object("low", rig.cut(topic, 4), "earliest", rig.offset(topic, OffsetSpec.earliest()), "read", values(rig.read(topic, 2, 4)));
    answer.put("gone", code(() -> rig.read(topic, 1, 2)));
    answer.putAll(object("beyond", rig.cut(topic, 50), "back", rig.cut(topic, 1), "everything", rig.cut(topic, -1), "ends", rig.ends(topic)));
    answer.put("goes_on", rig.produce(topic, 0, List.of(bytes("next")), Map.of()));
    return answer;
  }

  /** What a reader finds in the end: of each key the last record, where it always was. */
  static Object compaction(Rig rig) throws Exception {
    var configs = Map.of("cleanup.policy", "compact", "segment.ms", "300", "min.cleanable.dirty.ratio", "0.01", "min.compaction.lag.ms", "0", "max.compaction.lag.ms", "500");
    var topic = rig.topic("", 1, configs);
    for (int round = 0; round < 5; round++) {
      for (var key : List.of("a", "b", "c")) rig.send(List.of(new ProducerRecord<>(topic, 0, bytes(key), bytes(key + round))), Map.of());
    }
    // What is newest is never cleaned, so something must come after it.
    return until(Duration.ofSeconds(60), () -> {
      rig.send(List.of(new ProducerRecord<>(topic, 0, bytes("last"), bytes("last"))), Map.of());
      var found = rig.everything(topic).stream().filter(record -> !text(record.key()).equals("last")).map(record -> text(record.value()) + "@" + record.offset()).toList();
      return found.size() == 3 ? object("left", found, "start", rig.offset(topic, OffsetSpec.earliest())) : null;
    });
  }

  static Object retentionBySize(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of("retention.bytes", "100000", "segment.bytes", "1048576"));
    for (int number = 0; number < 6; number++) rig.produce(topic, 0, List.of(new byte[900_000]), Map.of());
    until(Duration.ofSeconds(60), () -> rig.offset(topic, OffsetSpec.earliest()) > 0);
    return object("end", rig.offset(topic, OffsetSpec.latest()), "last_is_there", rig.read(topic, 1, 5).get(0).value().length);
  }

  static Object retentionByTime(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of("retention.ms", "1000", "segment.ms", "500"));
    rig.produce(topic, 0, numbers(10), Map.of());
    until(Duration.ofSeconds(60), () -> rig.offset(topic, OffsetSpec.earliest()) == 10);
    return object("ends", rig.ends(topic), "goes_on", rig.produce(topic, 0, List.of(bytes("next")), Map.of()));
  }

  // Groups.

  static Object groupReadsAll(Rig rig) throws Exception {
    var topic = rig.topic("", 3, Map.of());
    rig.fill(topic, 3);
    var member = rig.member(rig.name(""), topic, RangeAssignor.class, null);
    var got = collect(member, 30);
    var inOrder = IntStream.range(0, 3).allMatch(partition -> got.stream().filter(record -> record.partition() == partition).map(ConsumerRecord::offset).toList().equals(LongStream.range(0, 10).boxed().toList()));
    return object("count", got.size(), "in_order", inOrder, "assignment", member.assignment().stream().map(TopicPartition::partition).sorted().toList());
  }

  static Object groupGoesOn(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    rig.fill(topic, 1);
    var place = new TopicPartition(topic, 0);
    var member = rig.member(rig.name(""), topic, RangeAssignor.class, null);
    collect(member, 10);
    var before = member.committed(Set.of(place)).get(place);
    var code = code(() -> {
      member.commitSync(Map.of(place, new OffsetAndMetadata(7)));
      return null;
    });
    var committed = member.committed(Set.of(place)).get(place);
    member.close();
    var rest = collect(rig.member(rig.name(""), topic, RangeAssignor.class, null), 3);
    return object("before", before, "code", code, "committed", List.of(committed.offset(), committed.metadata()), "rest", values(rest));
  }

  static Object twoMembers(Rig rig, Class<?> assignor) throws Exception {
    var topic = rig.topic("", 4, Map.of());
    var first = rig.member(rig.name(""), topic, assignor, null);
    settle(List.of(first), List.of(4));
    var second = rig.member(rig.name(""), topic, assignor, null);
    settle(List.of(first, second), List.of(2, 2));
    var seen = rig.group(rig.name(""));
    second.close();
    settle(List.of(first), List.of(4));
    return object("state", seen.state().toString().toLowerCase(), "assignor", seen.partitionAssignor().replace("cooperative-sticky", "cooperative"), "members", seen.members().size());
  }

  static Object staticMember(Rig rig) throws Exception {
    var topic = rig.topic("", 2, Map.of());
    var group = rig.name("");
    var first = rig.member(group, topic, RangeAssignor.class, "instance-0");
    var second = rig.member(group, topic, RangeAssignor.class, "instance-1");
    var before = settle(List.of(first, second), List.of(1, 1));
    second.close();
    var after = settle(List.of(first, rig.member(group, topic, RangeAssignor.class, "instance-1")), List.of(1, 1));
    return object("same", before.equals(after), "members", rig.group(group).members().size());
  }

  static Object deleteGroup(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    var group = rig.name("");
    var member = rig.member(group, topic, RangeAssignor.class, null);
    settle(List.of(member), List.of(1));
    member.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(0)));
    Supplier<Integer> remove = () -> code(() -> rig.admin.deleteConsumerGroups(List.of(group)).all().get());
    var busy = remove.get();
    member.close();
    until(() -> rig.group(group).members().isEmpty());
    var answer = object("busy", busy, "empty", remove.get(), "again", remove.get());
    answer.put("listed", rig.admin.listConsumerGroups().all().get().stream().anyMatch(found -> found.groupId().equals(group)));
    return answer;
  }

  static Object committedSetByAdmin(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    rig.fill(topic, 1);
    var place = new TopicPartition(topic, 0);
    var group = rig.name("");
    java.util.function.LongFunction<Integer> set = offset -> code(() -> rig.admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(offset))).all().get());
    var code = set.apply(8);
    var got = collect(rig.member(group, topic, RangeAssignor.class, null), 2);
    return object("code", code, "read", values(got), "while_busy", set.apply(1));
  }

  static Object deleteOffsets(Rig rig) throws Exception {
    var topic = rig.topic("", 2, Map.of());
    var group = rig.name("");
    var places = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
    rig.admin.alterConsumerGroupOffsets(group, places.stream().collect(Collectors.toMap(place -> place, place -> new OffsetAndMetadata(3)))).all().get();
    var code = code(() -> rig.admin.deleteConsumerGroupOffsets(group, Set.of(places.get(0))).all().get());
    var unknown = code(() -> rig.admin.deleteConsumerGroupOffsets(rig.name(".never"), Set.of(places.get(0))).all().get());
    var member = rig.member(group, topic, RangeAssignor.class, null);
    settle(List.of(member), List.of(2));
    var busy = code(() -> rig.admin.deleteConsumerGroupOffsets(group, Set.of(places.get(1))).all().get());
    var left = rig.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().keySet().stream().map(TopicPartition::partition).toList();
    return object("code", code, "unknown", unknown, "busy", busy, "left", left);
  }

  // Configurations and logins.

  static Object createdWithConfigs(Rig rig) throws Exception {
    var found = rig.configs(rig.topic("", 1, Map.of("retention.ms", "60000", "cleanup.policy", "compact,delete", "max.message.bytes", "2000")));
    var answer = object();
    for (var name : List.of("retention.ms", "cleanup.policy", "max.message.bytes", "segment.bytes")) {
      answer.put(name, List.of(found.get(name).value(), found.get(name).source() != ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG));
    }
    return answer;
  }

  static Object alterConfigs(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of("retention.ms", "60000"));
    var answer = object("set", rig.alter(topic, "max.message.bytes", "5000"));
    until(() -> rig.configs(topic).get("max.message.bytes").value().equals("5000"));
    answer.putAll(object("others_stay", rig.configs(topic).get("retention.ms").value(), "taken_away", rig.alter(topic, "retention.ms", null)));
    until(() -> rig.configs(topic).get("retention.ms").value().equals("604800000"));
    answer.putAll(object("unknown", rig.alter(topic, "no.such.thing", "1"), "bad", rig.alter(topic, "retention.ms", "soon"), "topic", rig.alter(rig.name(".never"), "retention.ms", "1")));
    return answer;
  }

  static Object login(Rig rig, String mechanism) {
    return object("right", rig.login("sasl", mechanism, "alice", "alice-secret"), "wrong", rig.login("sasl", mechanism, "alice", "guess"), "unknown", rig.login("sasl", mechanism, "nobody", "alice-secret"));
  }

  /** A user who is made, known, and taken away again by the administrator. */
  static Object newUser(Rig rig) throws Exception {
    var user = rig.name("");
    var made = code(() -> rig.admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(user, new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), "first"))).all().get());
    until(() -> rig.login("sasl", "SCRAM-SHA-256", user, "first") == 0);
    var other = rig.login("sasl", "SCRAM-SHA-512", user, "first");
    var known = rig.admin.describeUserScramCredentials(List.of(user)).description(user).get().credentialInfos().stream().map(info -> info.mechanism().mechanismName() + " " + info.iterations()).toList();
    var few = code(() -> rig.admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(user, new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 10), "second"))).all().get());
    var gone = code(() -> rig.admin.alterUserScramCredentials(List.of(new UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_256))).all().get());
    until(() -> rig.login("sasl", "SCRAM-SHA-256", user, "first") == 58);
    return object("made", made, "other_mechanism", other, "known", known, "too_few_iterations", few, "gone", gone);
  }

  /** A topic that has a list is closed to all who are not on it. */
  static Object rights(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    var alice = rig.loggedIn("sasl", "PLAIN", "alice", "alice-secret");
    Callable<List<Object>> write = () -> rig.send(List.of(new ProducerRecord<>(topic, 0, null, bytes("x"))), alice);
    var before = write.call();
    var about = new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL);
    var codes = List.of(rig.allow(about, "User:bob", AclOperation.WRITE), rig.allow(about, "User:alice", AclOperation.DESCRIBE));
    until(() -> rig.allowed(about).size() == 2);
    var denied = until(() -> {
      var found = write.call();
      return found.get(0) instanceof Map ? found : null;
    });
    rig.allow(about, "User:alice", AclOperation.WRITE);
    var allowed = until(() -> {
      var found = write.call();
      return found.get(0) instanceof Long ? found : null;
    });
    var listed = rig.allowed(about);
    return object("before", before, "codes", codes, "denied", denied, "allowed", allowed, "listed", listed, "removed", rig.disallow(about));
  }

  /** Who may read a topic needs the group as well. */
  static Object groupRights(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    rig.produce(topic, 0, List.of(bytes("x")), Map.of());
    var group = new ResourcePattern(ResourceType.GROUP, rig.name(""), PatternType.LITERAL);
    var read = new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL);
    Callable<Object> first = () -> {
      var settings = rig.loggedIn("sasl", "PLAIN", "alice", "alice-secret");
      settings.putAll(Map.of("group.id", group.name(), "auto.offset.reset", "earliest", "session.timeout.ms", 10_000));
      try (var consumer = rig.consumer(settings)) {
        consumer.subscribe(List.of(topic));
        return text(collect(consumer, 1).get(0).value());
      } catch (KafkaException error) {
        return (int) Errors.forException(error).code();
      }
    };
    rig.allow(group, "User:bob", AclOperation.READ);
    rig.allow(read, "User:bob", AclOperation.READ);
    rig.allow(read, "User:alice", AclOperation.READ);
    var denied = until(() -> first.call() instanceof Integer found ? found : null);
    rig.allow(group, "User:alice", AclOperation.READ);
    var allowed = until(() -> first.call() instanceof String found ? found : null);
    return object("denied", denied, "allowed", allowed, "removed", List.of(rig.disallow(group), rig.disallow(read)));
  }

  static Object tlsRoundtrip(Rig rig) throws Exception {
    var topic = rig.topic("", 1, Map.of());
    var placed = rig.produce(topic, 0, List.of(bytes("a"), bytes("b"), bytes("c")), rig.encrypted("tls"));
    try (var consumer = rig.consumer(rig.encrypted("tls"))) {
      var place = new TopicPartition(topic, 0);
      consumer.assign(List.of(place));
      consumer.seekToBeginning(List.of(place));
      var read = collect(consumer, 3);
      return object("placed", placed, "read", values(read), "offsets", read.stream().map(ConsumerRecord::offset).toList());
    }
  }

  static Object tlsUnknownAuthority(Rig rig) throws Exception {
    try (var client = Admin.create(Map.<String, Object>of("bootstrap.servers", rig.options.get("tls"), "security.protocol", "SSL"))) {
      client.listTopics().names().get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
      return "connected";
    } catch (ExecutionException error) {
      if (error.getCause() instanceof org.apache.kafka.common.errors.SslAuthenticationException) return "refused";
      throw error;
    }
  }

  static Object tlsLogins(Rig rig) {
    var found = object();
    for (var mechanism : List.of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")) {
      found.put(mechanism, Stream.of("alice-secret", "guess").map(password -> rig.login("sasl-tls", mechanism, "alice", password)).toList());
    }
    return found;
  }

  // What cases share.

  /** One case's view of the broker. */
  static final class Rig implements AutoCloseable {
    final Map<String, String> options;
    final Admin admin;
    final String stem;
    final List<String> topics = new ArrayList<>();
    final List<Consumer<byte[], byte[]>> members = new ArrayList<>();

    Rig(String name, Map<String, String> options) {
      this.options = options;
      this.stem = name + "-java-" + Long.toHexString(System.currentTimeMillis());
      this.admin = Admin.create(Map.<String, Object>of("bootstrap.servers", options.get("bootstrap")));
    }

    String name(String suffix) {
      return stem + suffix;
    }

    String expect(String topic) {
      topics.add(topic);
      return topic;
    }

    int create(String topic, int partitions, Map<String, String> configs) {
      return code(() -> admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get());
    }

    int delete(String topic) {
      return code(() -> admin.deleteTopics(List.of(topic)).all().get());
    }

    int grow(String topic, int total) {
      return code(() -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(total))).all().get());
    }

    int alter(String topic, String name, String value) {
      var change = new AlterConfigOp(new ConfigEntry(name, value), value == null ? AlterConfigOp.OpType.DELETE : AlterConfigOp.OpType.SET);
      return code(() -> admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), List.of(change))).all().get());
    }

    Map<String, ConfigEntry> configs(String topic) throws Exception {
      var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
      return admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().stream().collect(Collectors.toMap(ConfigEntry::name, entry -> entry));
    }

    /** A topic that is ready to be used. */
    String topic(String suffix, int partitions, Map<String, String> configs) throws Exception {
      var topic = expect(name(suffix));
      var code = create(topic, partitions, configs);
      if (code != 0) throw new IllegalStateException(topic + " could not be created: " + code);
      until(() -> partitions(topic) == partitions);
      return topic;
    }

    TopicDescription described(String topic) throws Exception {
      return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    Uuid id(String topic) throws Exception {
      return described(topic).topicId();
    }

    /** How many have a leader; 0 without such a topic. */
    int partitions(String topic) throws Exception {
      try {
        return (int) described(topic).partitions().stream().filter(partition -> partition.leader() != null && !partition.leader().isEmpty()).count();
      } catch (ExecutionException error) {
        if (Errors.forException(error.getCause()) == Errors.UNKNOWN_TOPIC_OR_PARTITION) return 0;
        throw error;
      }
    }

    List<Object> produce(String topic, int partition, List<byte[]> values, Map<String, Object> settings) throws Exception {
      return send(values.stream().map(value -> new ProducerRecord<byte[], byte[]>(topic, partition, null, value)).toList(), settings);
    }

    /** Offsets in order; a code for a record that was refused. */
    List<Object> send(List<ProducerRecord<byte[], byte[]>> records, Map<String, Object> more) throws Exception {
      var settings = new HashMap<String, Object>(Map.of("bootstrap.servers", options.get("bootstrap"), "enable.idempotence", false, "linger.ms", 2));
      settings.putAll(more);
      var answers = new ArrayList<Object>();
      try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
        for (var sent : records.stream().map(producer::send).toList()) {
          try {
            answers.add(sent.get(PATIENCE.toSeconds(), TimeUnit.SECONDS).offset());
          } catch (ExecutionException error) {
            answers.add(object("code", (int) Errors.forException(error.getCause()).code()));
          }
        }
      }
      return answers;
    }

    Consumer<byte[], byte[]> consumer(Map<String, Object> more) {
      var settings = new HashMap<String, Object>(Map.of("bootstrap.servers", options.get("bootstrap"), "enable.auto.commit", false));
      settings.putAll(more);
      return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    List<ConsumerRecord<byte[], byte[]>> read(String topic, int count, long start) throws Exception {
      try (var consumer = consumer(Map.of("auto.offset.reset", "none"))) {
        var place = new TopicPartition(topic, 0);
        consumer.assign(List.of(place));
        consumer.seek(place, start);
        return collect(consumer, count).subList(0, count);
      }
    }

    /** All that is there now. */
    List<ConsumerRecord<byte[], byte[]>> everything(String topic) throws Exception {
      try (var consumer = consumer(Map.of("auto.offset.reset", "earliest"))) {
        var place = new TopicPartition(topic, 0);
        consumer.assign(List.of(place));
        consumer.seekToBeginning(List.of(place));
        var end = consumer.endOffsets(List.of(place)).get(place);
        var got = new ArrayList<ConsumerRecord<byte[], byte[]>>();
        while (consumer.position(place) < end) consumer.poll(Duration.ofMillis(100)).forEach(got::add);
        return got;
      }
    }

    Consumer<byte[], byte[]> member(String group, String topic, Class<?> assignor, String instance) {
      var settings = new HashMap<String, Object>(Map.of("group.id", group, "auto.offset.reset", "earliest", "partition.assignment.strategy", assignor.getName(), "session.timeout.ms", 10_000, "heartbeat.interval.ms", 300));
      if (instance != null) settings.put("group.instance.id", instance);
      var member = consumer(settings);
      members.add(member);
      member.subscribe(List.of(topic));
      return member;
    }

    void fill(String topic, int partitions) throws Exception {
      for (int partition = 0; partition < partitions; partition++) {
        int at = partition;
        produce(topic, at, IntStream.range(0, 10).mapToObj(number -> bytes(at + "." + number)).toList(), Map.of());
      }
    }

    ConsumerGroupDescription group(String group) throws Exception {
      return admin.describeConsumerGroups(List.of(group)).all().get().get(group);
    }

    long offset(String topic, OffsetSpec spec) throws Exception {
      return admin.listOffsets(Map.of(new TopicPartition(topic, 0), spec)).all().get().get(new TopicPartition(topic, 0)).offset();
    }

    List<Long> ends(String topic) throws Exception {
      return List.of(offset(topic, OffsetSpec.earliest()), offset(topic, OffsetSpec.latest()));
    }

    Object cut(String topic, long before) throws Exception {
      var place = new TopicPartition(topic, 0);
      try {
        return admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(before))).lowWatermarks().get(place).get().lowWatermark();
      } catch (ExecutionException error) {
        return object("code", (int) Errors.forException(error.getCause()).code());
      }
    }

    /** Settings of a client that trusts in the broker's authority. */
    Map<String, Object> encrypted(String where) {
      return new HashMap<>(Map.of("bootstrap.servers", options.get(where), "security.protocol", "SSL", "ssl.truststore.type", "PEM", "ssl.truststore.location", options.get("ca")));
    }

    /** Settings of a client that says who it is. */
    Map<String, Object> loggedIn(String where, String mechanism, String user, String password) {
      var module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
      var jaas = "org.apache.kafka.common.security." + module + " required username=\"" + user + "\" password=\"" + password + "\";";
      Map<String, Object> settings = where.equals("sasl-tls") ? encrypted(where) : new HashMap<>(Map.of("bootstrap.servers", options.get(where)));
      settings.putAll(Map.of("security.protocol", where.equals("sasl-tls") ? "SASL_SSL" : "SASL_PLAINTEXT", "sasl.mechanism", mechanism, "sasl.jaas.config", jaas));
      return settings;
    }

    int login(String where, String mechanism, String user, String password) {
      try (var client = Admin.create(loggedIn(where, mechanism, user, password))) {
        return code(() -> client.listTopics().names().get(PATIENCE.toSeconds(), TimeUnit.SECONDS));
      }
    }

    int allow(ResourcePattern about, String principal, AclOperation operation) {
      var rule = new AccessControlEntry(principal, "*", operation, AclPermissionType.ALLOW);
      return code(() -> admin.createAcls(List.of(new AclBinding(about, rule))).all().get());
    }

    List<List<String>> allowed(ResourcePattern about) throws Exception {
      var rules = admin.describeAcls(new AclBindingFilter(about.toFilter(), AccessControlEntryFilter.ANY)).values().get().stream().map(AclBinding::entry);
      return rules.map(rule -> List.of(rule.principal(), rule.operation().name(), rule.permissionType().name(), rule.host())).sorted(Comparator.comparing(Object::toString)).toList();
    }

    int disallow(ResourcePattern about) throws Exception {
      return admin.deleteAcls(List.of(new AclBindingFilter(about.toFilter(), AccessControlEntryFilter.ANY))).all().get().size();
    }

    @Override
    public void close() {
      members.forEach(Consumer::close); // twice does no harm
      topics.forEach(this::delete);
      admin.close(Duration.ofSeconds(2));
    }
  }

  static int code(Action action) {
    try {
      action.run();
      return 0;
    } catch (ExecutionException error) {
      return Errors.forException(error.getCause()).code();
    } catch (OffsetOutOfRangeException error) {
      return Errors.OFFSET_OUT_OF_RANGE.code();
    } catch (KafkaException error) {
      return Errors.forException(error).code();
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }

  static <T> T until(Callable<T> happened) throws Exception {
    return until(PATIENCE, happened);
  }

  /** Ask again and again until the answer is neither null, false nor 0. */
  static <T> T until(Duration patience, Callable<T> happened) throws Exception {
    for (long deadline = System.nanoTime() + patience.toNanos(); ; Thread.sleep(50)) {
      var found = happened.call();
      if (found != null && !found.equals(false) && !found.equals(0)) return found;
      if (System.nanoTime() > deadline) throw new TimeoutException("late");
    }
  }

  static List<ConsumerRecord<byte[], byte[]>> collect(Consumer<byte[], byte[]> consumer, int count) throws Exception {
    var got = new ArrayList<ConsumerRecord<byte[], byte[]>>();
    until(() -> {
      consumer.poll(Duration.ofMillis(100)).forEach(got::add);
      return got.size() >= count;
    });
    return got;
  }

  /** Poll until the members have so many partitions each, in any order, and none is held twice. */
  static List<Set<TopicPartition>> settle(List<Consumer<byte[], byte[]>> members, List<Integer> sizes) throws Exception {
    return until(() -> {
      members.forEach(member -> member.poll(Duration.ofMillis(100)));
      var held = members.stream().map(member -> Set.copyOf(member.assignment())).toList();
      var every = held.stream().flatMap(Set::stream).toList();
      var found = held.stream().map(Set::size).sorted().toList();
      return found.equals(sizes.stream().sorted().toList()) && Set.copyOf(every).size() == every.size() ? held : null;
    });
  }

  static List<byte[]> numbers(int count) {
    return IntStream.range(0, count).mapToObj(number -> bytes(String.valueOf(number))).toList();
  }

  static List<String> values(List<ConsumerRecord<byte[], byte[]>> records) {
    return records.stream().map(record -> text(record.value())).toList();
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }

  static Map<String, Object> object(Object... entries) {
    var object = new LinkedHashMap<String, Object>();
    for (int at = 0; at < entries.length; at += 2) object.put((String) entries[at], entries[at + 1]);
    return object;
  }
}
