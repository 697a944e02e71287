// The conformance cases that NATS' Java client can express. Prints one line of JSON per case; `cargo xtask conform nats` reads them.
// The same rules as in ../python/rig.py, so that the same case gives the same answer.

import com.google.gson.*;
import io.nats.client.*;
import io.nats.client.api.*;
import io.nats.client.impl.*;
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

public final class Conform {
  static final Duration PATIENCE = Duration.ofSeconds(10);
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
      if (!only.contains(entry.getKey())) continue;
      Object answer;
      try (var rig = new Rig(entry.getKey(), options.get("url"))) {
        try {
          answer = entry.getValue().run(rig);
        } catch (Exception error) {
          error.printStackTrace();
          answer = Map.of("broken", error.toString()); // an answer that differs
        }
      }
      System.out.println(JSON.toJson(object("case", entry.getKey(), "answer", answer)));
    }
    System.exit(0);
  }

  static Map<String, Case> cases() {
    var cases = new LinkedHashMap<String, Case>();
    cases.put("publish_and_subscribe", Conform::publishAndSubscribe);
    cases.put("subscribe_by_wildcards", Conform::subscribeByWildcards);
    cases.put("headers_of_several_values", Conform::headersOfSeveralValues);
    cases.put("queue_group_takes_each_once", Conform::queueGroup);
    cases.put("unsubscribe_after", Conform::unsubscribeAfter);
    cases.put("request_is_answered", Conform::requestIsAnswered);
    cases.put("request_to_nobody", Conform::requestToNobody);
    cases.put("no_echo", Conform::noEcho);
    cases.put("stream_made_and_shown", Conform::streamMade);
    cases.put("stream_errors", Conform::streamErrors);
    cases.put("stream_emptied", Conform::streamEmptied);
    cases.put("message_looked_up", Conform::messageLookedUp);
    cases.put("publish_is_acknowledged", Conform::publishIsAcknowledged);
    cases.put("publish_is_refused", Conform::publishIsRefused);
    cases.put("publish_many_at_once", Conform::publishMany);
    cases.put("fetch_and_ack", Conform::fetchAndAck);
    cases.put("fetch_much", Conform::fetchMuch);
    cases.put("nak_for_later", Conform::nakForLater);
    cases.put("redelivered_when_the_lease_ends", Conform::leaseEnds);
    cases.put("consumer_made_and_shown", Conform::consumerMade);
    cases.put("consumer_filters_many", Conform::consumerFilters);
    cases.put("consumer_paused", Conform::consumerPaused);
    cases.put("ordered_reading", Conform::orderedReading);
    cases.put("pushed_messages", Conform::pushed);
    cases.put("kv_values", Conform::kvValues);
    cases.put("kv_conditions", Conform::kvConditions);
    cases.put("kv_history", Conform::kvHistory);
    cases.put("kv_keys", Conform::kvKeys);
    cases.put("kv_status", Conform::kvStatus);
    cases.put("object_stored", Conform::objectStored);
    cases.put("object_replaced_and_deleted", Conform::objectReplaced);
    return cases;
  }

  // Messages and requests.

  static Object publishAndSubscribe(Rig rig) throws Exception {
    var subscription = rig.nc.subscribe(rig.stem);
    rig.nc.publish(rig.stem, bytes("one"));
    rig.nc.publish(rig.stem, bytes(""));
    return take(subscription, 2);
  }

  static Object subscribeByWildcards(Rig rig) throws Exception {
    var subscriptions = Stream.of(".*", ".>", ".a.*").map(pattern -> rig.nc.subscribe(rig.stem + pattern)).toList();
    for (var subject : List.of("x", "a.b", "a.b.c")) rig.nc.publish(rig.stem + "." + subject, bytes(subject));
    return List.of(take(subscriptions.get(0), 1), take(subscriptions.get(1), 3), take(subscriptions.get(2), 1));
  }

  static Object headersOfSeveralValues(Rig rig) throws Exception {
    var subscription = rig.nc.subscribe(rig.stem);
    rig.nc.publish(NatsMessage.builder().subject(rig.stem).headers(new Headers().add("A", "1", "2", "")).build());
    return next(subscription).getHeaders().get("A");
  }

  static Object queueGroup(Rig rig) throws Exception {
    var all = ConcurrentHashMap.<String>newKeySet();
    var got = new ConcurrentHashMap<Integer, Integer>();
    for (int index = 0; index < 3; index++) {
      var member = index;
      var nc = rig.connect(options -> options);
      nc.createDispatcher(message -> {
        all.add(text(message));
        got.merge(member, 1, Integer::sum);
      }).subscribe(rig.stem, "workers");
      nc.flush(PATIENCE);
    }
    for (int number = 0; number < 300; number++) rig.nc.publish(rig.stem, bytes("" + number));
    until(() -> got.values().stream().mapToInt(Integer::intValue).sum() >= 300);
    return object("once", all.size() == 300, "all work", got.size() == 3 && Collections.min(got.values()) > 20);
  }

  static Object unsubscribeAfter(Rig rig) throws Exception {
    var subscription = rig.nc.subscribe(rig.stem);
    subscription.unsubscribe(2);
    for (int number = 0; number < 4; number++) rig.nc.publish(rig.stem, bytes("" + number));
    return take(subscription, 2);
  }

  static Object requestIsAnswered(Rig rig) throws Exception {
    rig.nc.createDispatcher(message -> rig.nc.publish(message.getReplyTo(), bytes("got " + text(message)))).subscribe(rig.stem);
    rig.nc.flush(PATIENCE);
    return text(rig.connect(options -> options).request(rig.stem, bytes("this"), PATIENCE));
  }

  static Object requestToNobody(Rig rig) throws Exception {
    try {
      rig.nc.request(rig.stem, bytes("")).get(10, TimeUnit.SECONDS);
      return "answered";
    } catch (CancellationException error) {
      return "no responders"; // the library cancels what nobody will answer
    }
  }

  static Object noEcho(Rig rig) throws Exception {
    var quiet = rig.connect(Options.Builder::noEcho);
    var subscription = quiet.subscribe(rig.stem);
    quiet.publish(rig.stem, bytes("own"));
    quiet.flush(PATIENCE);
    rig.nc.publish(rig.stem, bytes("other"));
    return take(subscription, 1);
  }

  // Streams and consumers.

  static Object streamMade(Rig rig) throws Exception {
    rig.stream(config -> config.maxMessages(10).description("mine"));
    rig.fill(3, "a");
    var info = rig.jsm.getStreamInfo(rig.stem);
    var config = info.getConfiguration();
    var state = info.getStreamState();
    return object("name", config.getName().equals(rig.stem), "subjects", config.getSubjects().equals(List.of(rig.stem + ".>")), "max_msgs", config.getMaxMsgs(), "description", config.getDescription(), "messages", state.getMsgCount(), "first", state.getFirstSequence(), "last", state.getLastSequence());
  }

  static Object streamErrors(Rig rig) throws Exception {
    rig.stream(config -> config);
    return object(
        "unknown", code(() -> rig.jsm.getStreamInfo("no-such")),
        "taken", code(() -> rig.jsm.addStream(StreamConfiguration.builder().name(rig.stem).subjects("other").build())),
        "overlap", code(() -> rig.jsm.addStream(StreamConfiguration.builder().name(rig.stem + "-2").subjects(rig.stem + ".a").build())));
  }

  static Object streamEmptied(Rig rig) throws Exception {
    rig.stream(config -> config);
    rig.fill(6, "ab");
    rig.jsm.purgeStream(rig.stem, PurgeOptions.subject(rig.stem + ".a"));
    var filtered = rig.jsm.getStreamInfo(rig.stem).getStreamState().getMsgCount();
    rig.jsm.purgeStream(rig.stem);
    var state = rig.jsm.getStreamInfo(rig.stem).getStreamState();
    return List.of(filtered, state.getMsgCount(), state.getFirstSequence(), state.getLastSequence());
  }

  static Object messageLookedUp(Rig rig) throws Exception {
    rig.stream(config -> config);
    rig.fill(4, "ab");
    var bySeq = rig.jsm.getMessage(rig.stem, 2);
    var last = rig.jsm.getLastMessage(rig.stem, rig.stem + ".a");
    rig.jsm.updateStream(StreamConfiguration.builder(rig.jsm.getStreamInfo(rig.stem).getConfiguration()).allowDirect(true).build());
    var direct = rig.jsm.getMessage(rig.stem, 3);
    rig.jsm.deleteMessage(rig.stem, 2);
    return List.of(body(bySeq), bySeq.getSeq(), body(last), last.getSeq(), body(direct), code(() -> rig.jsm.getMessage(rig.stem, 2)), code(() -> rig.jsm.getMessage(rig.stem, 99)));
  }

  static Object publishIsAcknowledged(Rig rig) throws Exception {
    rig.stream(config -> config);
    var found = new ArrayList<Object>();
    for (var id : List.of("1", "2", "1")) {
      var ack = rig.js.publish(rig.stem + ".a", bytes("x"), PublishOptions.builder().messageId(id).build());
      found.add(List.of(ack.getStream().equals(rig.stem), ack.getSeqno(), ack.isDuplicate()));
    }
    return found;
  }

  static Object publishIsRefused(Rig rig) throws Exception {
    rig.stream(config -> config.maximumMessageSize(120));
    var put = (java.util.function.BiFunction<String, PublishOptions.Builder, Object>) (body, expected) -> code(() -> rig.js.publish(rig.stem + ".a", bytes(body), expected.build()));
    return object(
        "stream", put.apply("", PublishOptions.builder().expectedStream("other")),
        "sequence", put.apply("", PublishOptions.builder().expectedLastSequence(7)),
        "subject", put.apply("", PublishOptions.builder().expectedLastSubjectSequence(7)),
        "id", put.apply("", PublishOptions.builder().expectedLastMsgId("x")),
        "size", put.apply("x".repeat(200), PublishOptions.builder()),
        "good", put.apply("", PublishOptions.builder().expectedLastSequence(0)));
  }

  static Object publishMany(Rig rig) throws Exception {
    rig.stream(config -> config.storageType(StorageType.File));
    var places = rig.publishMany(500);
    return List.of(new TreeSet<>(places).equals(LongStream.rangeClosed(1, 500).boxed().collect(Collectors.toCollection(TreeSet::new))), rig.jsm.getStreamInfo(rig.stem).getStreamState().getMsgCount());
  }

  static Object fetchAndAck(Rig rig) throws Exception {
    rig.stream(config -> config);
    rig.fill(5, "a");
    var consumer = rig.pull(config -> config);
    var found = fetched(consumer, 3);
    for (var message : found) message.ackSync(PATIENCE);
    var info = consumer.getConsumerInfo();
    var meta = found.get(1).metaData();
    return object(
        "bodies", texts(found),
        "meta", List.of(meta.streamSequence(), meta.consumerSequence(), meta.deliveredCount(), meta.pendingCount(), meta.getStream().equals(rig.stem), meta.getConsumer()),
        "floor", List.of(info.getAckFloor().getStreamSequence(), info.getNumAckPending(), info.getNumPending()));
  }

  static Object fetchMuch(Rig rig) throws Exception {
    rig.stream(config -> config);
    rig.publishMany(1000);
    var consumer = rig.pull(config -> config);
    var found = fetched(consumer, 1000);
    for (var message : found) message.ack();
    until(() -> consumer.getConsumerInfo().getNumAckPending() == 0 && consumer.getConsumerInfo().getAckFloor().getStreamSequence() == 1000);
    return List.of(texts(found).equals(counted(1000)), true);
  }

  static Object nakForLater(Rig rig) throws Exception {
    rig.stream(config -> config);
    rig.fill(2, "a");
    var consumer = rig.pull(config -> config);
    fetched(consumer, 1).get(0).nakWithDelay(Duration.ofMillis(300));
    var order = new ArrayList<String>();
    while (order.size() < 2) {
      var message = fetched(consumer, 1).get(0);
      message.ack();
      order.add(text(message));
    }
    return order;
  }

  static Object leaseEnds(Rig rig) throws Exception {
    rig.stream(config -> config);
    rig.fill(1, "a");
    var consumer = rig.pull(config -> config.ackWait(Duration.ofMillis(300)).maxDeliver(3));
    var counts = new ArrayList<Long>();
    while (counts.size() < 3) counts.add(fetched(consumer, 1).get(0).metaData().deliveredCount());
    return counts;
  }

  static Object consumerMade(Rig rig) throws Exception {
    rig.stream(config -> config);
    var info = rig.pull(config -> config.maxAckPending(7).filterSubject(rig.stem + ".a")).getConsumerInfo();
    var listed = rig.jsm.getConsumerNames(rig.stem);
    rig.jsm.deleteConsumer(rig.stem, "c");
    var config = info.getConsumerConfiguration();
    return object("name", info.getName(), "max_ack_pending", config.getMaxAckPending(), "ack_wait", config.getAckWait().toSeconds(), "max_deliver", config.getMaxDeliver(), "listed", listed, "gone", code(() -> rig.jsm.getConsumerInfo(rig.stem, "c")));
  }

  static Object consumerFilters(Rig rig) throws Exception {
    rig.stream(config -> config);
    rig.fill(9, "abc");
    return texts(fetched(rig.pull(config -> config.filterSubjects(rig.stem + ".a", rig.stem + ".c")), 6));
  }

  static Object consumerPaused(Rig rig) throws Exception {
    rig.stream(config -> config);
    rig.pull(config -> config);
    var paused = rig.jsm.pauseConsumer(rig.stem, "c", java.time.ZonedDateTime.now().plusHours(1));
    rig.jsm.resumeConsumer(rig.stem, "c");
    return List.of(paused.isPaused(), paused.getPauseRemaining().toMinutes() > 50, Boolean.TRUE.equals(rig.jsm.getConsumerInfo(rig.stem, "c").getPaused()));
  }

  static Object orderedReading(Rig rig) throws Exception {
    rig.stream(config -> config);
    rig.publishMany(500);
    var found = new ArrayList<String>();
    try (var messages = rig.nc.getStreamContext(rig.stem).createOrderedConsumer(new OrderedConsumerConfiguration()).iterate()) {
      while (found.size() < 500) found.add(text(Objects.requireNonNull(messages.nextMessage(PATIENCE), "late")));
    }
    return found.equals(counted(500));
  }

  static Object pushed(Rig rig) throws Exception {
    rig.stream(config -> config);
    rig.fill(3, "a");
    var subscription = rig.js.subscribe(rig.stem + ".a", PushSubscribeOptions.builder().durable("c").build());
    var found = new ArrayList<String>();
    while (found.size() < 3) {
      var message = next(subscription);
      message.ackSync(PATIENCE);
      found.add(text(message));
    }
    var info = subscription.getConsumerInfo();
    return List.of(found, info.getAckFloor().getStreamSequence(), info.getNumAckPending());
  }

  // Buckets.

  static Object kvValues(Rig rig) throws Exception {
    var kv = rig.bucket(config -> config);
    var revisions = List.of(kv.put("a", bytes("1")), kv.put("b", bytes("2")), kv.put("a", bytes("3")));
    return List.of(revisions, value(kv, "a"), value(kv, "b"), value(kv, "z"));
  }

  static Object kvConditions(Rig rig) throws Exception {
    var kv = rig.bucket(config -> config.maxHistoryPerKey(5));
    var first = kv.create("a", bytes("1"));
    var again = code(() -> kv.create("a", bytes("2")));
    var updated = kv.update("a", bytes("3"), first);
    var stale = code(() -> kv.update("a", bytes("4"), first));
    kv.delete("a");
    return List.of(first, again, updated, stale, kv.create("a", bytes("5")), value(kv, "a"));
  }

  static Object kvHistory(Rig rig) throws Exception {
    var kv = rig.bucket(config -> config.maxHistoryPerKey(3));
    for (var body : List.of("1", "2", "3", "4")) kv.put("a", bytes(body));
    return kv.history("a").stream().map(entry -> List.of(entry.getValueAsString(), entry.getRevision())).toList();
  }

  static Object kvKeys(Rig rig) throws Exception {
    var kv = rig.bucket(config -> config);
    var none = kv.keys();
    for (var key : List.of("b", "a", "c.d")) kv.put(key, bytes(""));
    kv.delete("b");
    return List.of(none, kv.keys().stream().sorted().toList());
  }

  static Object kvStatus(Rig rig) throws Exception {
    var kv = rig.bucket(config -> config.maxHistoryPerKey(7).ttl(Duration.ofMinutes(1)));
    kv.put("a", bytes("1"));
    var status = kv.getStatus();
    return List.of(status.getEntryCount(), status.getMaxHistoryPerKey(), status.getTtl().toSeconds());
  }

  static Object objectStored(Rig rig) throws Exception {
    var objects = rig.store();
    var body = new byte[256 * 2000];
    for (int at = 0; at < body.length; at++) body[at] = (byte) at;
    var info = objects.put("thing", body);
    var back = new ByteArrayOutputStream();
    objects.get("thing", back);
    return object("same", Arrays.equals(body, back.toByteArray()), "size", info.getSize(), "chunks", info.getChunks(), "digest", info.getDigest());
  }

  static Object objectReplaced(Rig rig) throws Exception {
    var objects = rig.store();
    objects.put("thing", bytes("first"));
    objects.put("thing", bytes("second"));
    var second = new ByteArrayOutputStream();
    objects.get("thing", second);
    objects.put("other", bytes("x"));
    var before = names(objects);
    objects.delete("thing");
    return List.of(second.toString(StandardCharsets.UTF_8), before, names(objects));
  }

  static List<String> names(ObjectStore objects) throws Exception {
    return objects.getList().stream().filter(info -> !info.isDeleted()).map(ObjectInfo::getObjectName).sorted().toList();
  }

  static Object value(KeyValue kv, String key) throws Exception {
    var entry = kv.get(key);
    return entry == null ? "unknown" : List.of(entry.getValueAsString(), entry.getRevision());
  }

  // What every case needs.

  static final class Rig implements AutoCloseable {
    final String url;
    final String stem;
    final Connection nc;
    final JetStream js;
    final JetStreamManagement jsm;
    final List<Connection> open = new ArrayList<>();
    final List<String> made = new ArrayList<>();

    Rig(String name, String url) throws Exception {
      this.url = url;
      stem = name + "-java-" + Long.toHexString(System.nanoTime());
      nc = connect(options -> options);
      var options = JetStreamOptions.builder().requestTimeout(PATIENCE).build();
      js = nc.jetStream(options);
      jsm = nc.jetStreamManagement(options);
    }

    Connection connect(java.util.function.UnaryOperator<Options.Builder> change) throws Exception {
      var connection = Nats.connect(change.apply(new Options.Builder().server(url).connectionTimeout(PATIENCE)).build());
      open.add(connection);
      return connection;
    }

    void stream(java.util.function.UnaryOperator<StreamConfiguration.Builder> change) throws Exception {
      made.add(stem);
      jsm.addStream(change.apply(StreamConfiguration.builder().name(stem).subjects(stem + ".>").storageType(StorageType.Memory)).build());
    }

    void fill(int count, String subjects) throws Exception {
      for (int number = 0; number < count; number++) js.publish(stem + "." + subjects.charAt(number % subjects.length()), bytes("" + number));
    }

    List<Long> publishMany(int count) throws Exception {
      var acks = new ArrayList<CompletableFuture<PublishAck>>();
      for (int number = 0; number < count; number++) acks.add(js.publishAsync(stem + ".a", bytes("" + number)));
      var places = new ArrayList<Long>();
      for (var ack : acks) places.add(ack.get(10, TimeUnit.SECONDS).getSeqno());
      return places;
    }

    ConsumerContext pull(java.util.function.UnaryOperator<ConsumerConfiguration.Builder> change) throws Exception {
      jsm.addOrUpdateConsumer(stem, change.apply(ConsumerConfiguration.builder().durable("c").ackPolicy(AckPolicy.Explicit)).build());
      return nc.getStreamContext(stem).getConsumerContext("c");
    }

    KeyValue bucket(java.util.function.UnaryOperator<KeyValueConfiguration.Builder> change) throws Exception {
      var name = stem.replace('-', '_');
      made.add("KV_" + name);
      nc.keyValueManagement().create(change.apply(KeyValueConfiguration.builder(name).storageType(StorageType.Memory)).build());
      return nc.keyValue(name);
    }

    ObjectStore store() throws Exception {
      var name = stem.replace('-', '_');
      made.add("OBJ_" + name);
      nc.objectStoreManagement().create(ObjectStoreConfiguration.builder(name).storageType(StorageType.Memory).build());
      return nc.objectStore(name);
    }

    @Override
    public void close() throws Exception {
      for (var name : made) {
        try {
          jsm.deleteStream(name);
        } catch (JetStreamApiException | IOException error) {
          // it was never made, or is gone already
        }
      }
      for (var connection : open) connection.close();
    }
  }

  static List<Message> fetched(ConsumerContext consumer, int count) throws Exception {
    var found = new ArrayList<Message>();
    while (found.size() < count) {
      int before = found.size();
      try (var messages = consumer.fetch(FetchConsumeOptions.builder().maxMessages(count - before).expiresIn(PATIENCE.toMillis()).build())) {
        for (Message message; (message = messages.nextMessage()) != null; ) found.add(message);
      }
      if (found.size() == before) throw new TimeoutException("late");
    }
    return found;
  }

  static Message next(Subscription subscription) throws Exception {
    return Objects.requireNonNull(subscription.nextMessage(PATIENCE), "late");
  }

  static List<String> take(Subscription subscription, int count) throws Exception {
    var found = new ArrayList<String>();
    while (found.size() < count) found.add(text(next(subscription)));
    return found;
  }

  /** The number of a JetStream error, or "ok". */
  static Object code(Action action) {
    try {
      action.run();
      return "ok";
    } catch (JetStreamApiException error) {
      return error.getApiErrorCode();
    } catch (Exception error) {
      return error.toString();
    }
  }

  interface Condition {
    boolean holds() throws Exception;
  }

  static void until(Condition condition) throws Exception {
    for (long deadline = System.nanoTime() + PATIENCE.toNanos(); !condition.holds(); Thread.sleep(20)) {
      if (System.nanoTime() > deadline) throw new TimeoutException("late");
    }
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  static String text(Message message) {
    return new String(message.getData(), StandardCharsets.UTF_8);
  }

  static String body(MessageInfo message) {
    return new String(message.getData(), StandardCharsets.UTF_8);
  }

  static List<String> texts(List<Message> messages) {
    return messages.stream().map(Conform::text).toList();
  }

  static List<String> counted(int count) {
    return IntStream.range(0, count).mapToObj(String::valueOf).toList();
  }

  static Map<String, Object> object(Object... pairs) {
    var object = new LinkedHashMap<String, Object>();
    for (int at = 0; at < pairs.length; at += 2) object.put((String) pairs[at], pairs[at + 1]);
    return object;
  }
}
