// The conformance cases that the Java client can express. Prints one line of JSON per case; `cargo xtask conform amqp091` reads them.
// The same rules as in ../pika/rig.py, so that the same case gives the same answer. Run as one source file: java -cp 'jars/*' Conform.java

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.rabbitmq.client.*;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.*;
import java.util.concurrent.*;
import java.util.function.BooleanSupplier;
import javax.net.ssl.*;

public final class Conform {
  /** How long an event may take that must come. */
  static final long PATIENCE_MS = 15_000;

  static final Gson JSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

  interface Case {
    Object run(Rig rig) throws Exception;
  }

  interface Action {
    void on(Channel channel) throws Exception;
  }

  public static void main(String[] arguments) throws Exception {
    var options = new HashMap<String, String>();
    for (int at = 0; at + 1 < arguments.length; at += 2) options.put(arguments[at].substring(2), arguments[at + 1]);
    var only = options.containsKey("only") ? List.of(options.get("only").split(",")) : List.copyOf(cases().keySet());
    for (var entry : cases().entrySet()) {
      var name = entry.getKey();
      if (!only.contains(name) || (name.startsWith("tls_") && !options.containsKey("tls-url"))) continue;
      var rig = new Rig(name, options);
      Object answer;
      try {
        answer = entry.getValue().run(rig);
      } catch (Exception error) {
        error.printStackTrace();
        answer = Map.of("broken", error.toString()); // an answer that differs
      }
      rig.close();
      System.out.println(JSON.toJson(object("case", name, "answer", answer)));
    }
    System.exit(0);
  }

  static Map<String, Case> cases() {
    var cases = new LinkedHashMap<String, Case>();
    cases.put("wrong_password", Conform::wrongPassword);
    cases.put("many_channels", Conform::manyChannels);
    cases.put("tls_connect", Conform::tlsConnect);
    cases.put("unknown_exchange_404", Conform::unknownExchange);
    cases.put("direct_and_fanout", Conform::directAndFanout);
    cases.put("e2e_binding", Conform::exchangeToExchange);
    cases.put("declare_counts", Conform::declareCounts);
    cases.put("passive_404", Conform::passive);
    cases.put("exclusive_405", Conform::exclusive);
    cases.put("publish_confirm", Conform::publishConfirm);
    cases.put("mandatory_return_before_confirm", Conform::mandatoryReturn);
    cases.put("immediate_540", Conform::immediate);
    cases.put("user_id", Conform::userId);
    cases.put("large_body", Conform::largeBody);
    cases.put("basic_get", Conform::basicGet);
    cases.put("consume_and_ack", Conform::consumeAndAck);
    cases.put("nack_multiple", Conform::nackMultiple);
    cases.put("requeue_keeps_place", Conform::requeueKeepsPlace);
    cases.put("qos_per_consumer", Conform::qosPerConsumer);
    cases.put("single_active_consumer", Conform::singleActiveConsumer);
    cases.put("cancel_notify", Conform::cancelNotify);
    cases.put("ttl_queue", Conform::ttlQueue);
    cases.put("maxlen_drop_head", Conform::maxlenDropHead);
    cases.put("dead_letter_rejected_x_death", Conform::deadLetterRejected);
    cases.put("dead_letter_count_grows", Conform::deadLetterCount);
    cases.put("priority_queue", Conform::priorityQueue);
    return cases;
  }

  // What every case needs.

  /** One case's view of the broker. */
  static final class Rig {
    final String name;
    final Map<String, String> options;
    final List<Connection> open = new ArrayList<>();
    final List<String> queues = new ArrayList<>();
    final List<String> exchanges = new ArrayList<>();

    Rig(String name, Map<String, String> options) {
      this.name = name;
      this.options = options;
    }

    ConnectionFactory factory(String url) throws Exception {
      var factory = new ConnectionFactory();
      factory.setUri(url);
      factory.setVirtualHost("/");
      factory.setAutomaticRecoveryEnabled(false);
      return factory;
    }

    Connection connect() throws Exception {
      return keep(factory(options.get("url")).newConnection());
    }

    Connection keep(Connection connection) {
      open.add(connection);
      return connection;
    }

    /** A channel in confirm mode. */
    Channel channel(Connection connection) throws Exception {
      var channel = connection.createChannel();
      channel.confirmSelect();
      return channel;
    }

    String queue(Channel channel, String suffix, Map<String, Object> arguments) throws Exception {
      var queue = name + suffix;
      channel.queueDelete(queue);
      queues.add(queue);
      channel.queueDeclare(queue, false, false, false, arguments);
      return queue;
    }

    String exchange(Channel channel, String kind, String suffix) throws Exception {
      var exchange = name + suffix;
      channel.exchangeDelete(exchange);
      exchanges.add(exchange);
      channel.exchangeDeclare(exchange, kind);
      return exchange;
    }

    String bound(Channel channel, String exchange, String suffix, String key) throws Exception {
      var queue = queue(channel, suffix, null);
      channel.queueBind(queue, exchange, key);
      return queue;
    }

    void close() throws Exception {
      for (var connection : open) connection.abort(); // some cases end with a closed one
      try (var connection = factory(options.get("url")).newConnection(); var channel = connection.createChannel()) {
        for (var queue : queues) channel.queueDelete(queue);
        for (var exchange : exchanges) channel.exchangeDelete(exchange);
      }
    }
  }

  /** A consumer that keeps what it was given, in order. */
  static final class Reader extends DefaultConsumer {
    final List<GetResponse> got = new CopyOnWriteArrayList<>();
    final String tag;
    volatile boolean cancelled;

    Reader(Channel channel, String queue, int prefetch) throws Exception {
      super(channel);
      channel.basicQos(prefetch);
      tag = channel.basicConsume(queue, false, this);
    }

    @Override
    public void handleDelivery(String consumerTag, Envelope envelope, AMQP.BasicProperties properties, byte[] body) {
      got.add(new GetResponse(envelope, properties, body, 0));
    }

    @Override
    public void handleCancel(String consumerTag) {
      cancelled = true;
    }

    Reader await(int count) throws Exception {
      until(() -> got.size() >= count);
      return this;
    }

    List<Object> bodies() {
      return got.stream().<Object>map(Conform::body).toList();
    }

    List<Object> redelivered() {
      return got.stream().<Object>map(message -> message.getEnvelope().isRedeliver()).toList();
    }

    long tag(int at) {
      return got.get(at).getEnvelope().getDeliveryTag();
    }
  }

  static void until(BooleanSupplier happened) throws Exception {
    for (long deadline = System.currentTimeMillis() + PATIENCE_MS; !happened.getAsBoolean(); Thread.sleep(5)) {
      if (System.currentTimeMillis() > deadline) throw new TimeoutException("late");
    }
  }

  static Map<String, Object> object(Object... pairs) {
    var object = new LinkedHashMap<String, Object>();
    for (int at = 0; at < pairs.length; at += 2) object.put((String) pairs[at], pairs[at + 1]);
    return object;
  }

  static Object list(Object... values) {
    return Arrays.asList(values);
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  static String body(GetResponse message) {
    return new String(message.getBody(), StandardCharsets.UTF_8);
  }

  /** On a channel of its own: `ok`, or what was closed with which code and text. */
  static Object attempt(Connection connection, Action action) throws Exception {
    var channel = connection.createChannel();
    try {
      action.on(channel);
      return "ok";
    } catch (IOException | AlreadyClosedException error) {
      return refusal(error);
    }
  }

  static Object refusal(Exception error) throws Exception {
    var signal = (ShutdownSignalException) (error instanceof ShutdownSignalException ? error : error.getCause());
    if (signal.getReason() instanceof AMQP.Channel.Close close) return list("channel", close.getReplyCode(), close.getReplyText());
    var close = (AMQP.Connection.Close) signal.getReason();
    return list("connection", close.getReplyCode(), close.getReplyText());
  }

  static void publish(Channel channel, String exchange, String key, AMQP.BasicProperties properties, String... bodies) throws Exception {
    for (var body : bodies) channel.basicPublish(exchange, key, properties, bytes(body));
    channel.waitForConfirmsOrDie(PATIENCE_MS);
  }

  static GetResponse take(Channel channel, String queue) throws Exception {
    for (long deadline = System.currentTimeMillis() + PATIENCE_MS; ; Thread.sleep(5)) {
      var message = channel.basicGet(queue, true);
      if (message != null) return message;
      if (System.currentTimeMillis() > deadline) throw new TimeoutException("late");
    }
  }

  static List<Object> drain(Channel channel, String queue) throws Exception {
    var bodies = new ArrayList<Object>();
    for (GetResponse message; (message = channel.basicGet(queue, true)) != null; ) bodies.add(body(message));
    return bodies;
  }

  static int count(Channel channel, String queue) {
    try {
      return channel.queueDeclarePassive(queue).getMessageCount();
    } catch (IOException error) {
      throw new IllegalStateException(error);
    }
  }

  /** Headers as JSON, without times. */
  static Object plain(Object value) {
    if (value instanceof Map<?, ?> map) {
      var object = new TreeMap<String, Object>();
      map.forEach((name, inner) -> object.put((String) name, plain(inner)));
      return object;
    }
    if (value instanceof List<?> values) return values.stream().map(Conform::plain).toList();
    if (value instanceof Date) return "<time>";
    return value instanceof LongString ? value.toString() : value;
  }

  static Map<String, Object> deadLetters(String target, Object... more) {
    var arguments = object("x-dead-letter-exchange", "", "x-dead-letter-routing-key", target);
    arguments.putAll(object(more));
    return arguments;
  }

  static AMQP.BasicProperties.Builder properties() {
    return new AMQP.BasicProperties.Builder();
  }

  // Definitions.

  static Object wrongPassword(Rig rig) throws Exception {
    var factory = rig.factory(rig.options.get("url"));
    factory.setPassword("wrong");
    try {
      rig.keep(factory.newConnection());
      return "ok";
    } catch (AuthenticationFailureException error) {
      return list("connection", 403, error.getMessage());
    }
  }

  static Object manyChannels(Rig rig) throws Exception {
    var connection = rig.connect();
    var first = connection.createChannel();
    int open = 1;
    for (; open < 2046; open++) connection.createChannel();
    var last = rig.channel(connection);
    var queue = rig.queue(first, "", null);
    publish(last, "", queue, null, "from the last");
    return object("open", open + 1, "bodies", drain(first, queue));
  }

  static Object tlsConnect(Rig rig) throws Exception {
    var authority = KeyStore.getInstance(KeyStore.getDefaultType());
    authority.load(null);
    try (var file = Files.newInputStream(Path.of(rig.options.get("ca")))) {
      authority.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
    }
    var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(authority);
    var context = SSLContext.getInstance("TLS");
    context.init(null, trust.getTrustManagers(), null);
    var factory = rig.factory(rig.options.get("tls-url"));
    factory.useSslProtocol(context);
    var channel = rig.channel(rig.keep(factory.newConnection()));
    var queue = rig.queue(channel, "", null);
    publish(channel, "", queue, null, "over tls");
    return drain(channel, queue);
  }

  static Object unknownExchange(Rig rig) throws Exception {
    var missing = "no.such.exchange";
    var connection = rig.connect();
    var queue = rig.queue(connection.createChannel(), "", null);
    return object(
        "passive", attempt(connection, channel -> channel.exchangeDeclarePassive(missing)),
        "publish", attempt(connection, channel -> {
          channel.basicPublish(missing, "key", null, bytes("lost"));
          channel.queueDeclare(); // the close comes before this reply
        }),
        "bind", attempt(connection, channel -> channel.queueBind(queue, missing, "key")),
        "exchange_bind", attempt(connection, channel -> channel.exchangeBind(missing, "amq.direct", "key")),
        "delete", attempt(connection, channel -> channel.exchangeDelete(missing)));
  }

  static Object directAndFanout(Rig rig) throws Exception {
    var channel = rig.channel(rig.connect());
    var direct = rig.exchange(channel, "direct", ".direct");
    var fanout = rig.exchange(channel, "fanout", ".fanout");
    var one = rig.bound(channel, direct, ".one", "a");
    channel.queueBind(one, direct, "b");
    channel.queueBind(one, fanout, "ignored");
    var two = rig.bound(channel, direct, ".two", "a");
    for (var key : List.of("a", "b", "c")) publish(channel, direct, key, null, "direct " + key);
    publish(channel, fanout, "whatever", null, "fanout");
    return object("one", drain(channel, one), "two", drain(channel, two));
  }

  static Object exchangeToExchange(Rig rig) throws Exception {
    var connection = rig.connect();
    var channel = rig.channel(connection);
    var first = rig.exchange(channel, "topic", ".first");
    var second = rig.exchange(channel, "direct", ".second");
    var queue = rig.bound(channel, second, ".queue", "a.b");
    channel.exchangeBind(second, first, "a.#");
    channel.exchangeBind(first, second, "a.b"); // a cycle
    publish(channel, first, "a.b", null, "through two");
    publish(channel, first, "a.c", null, "matches only the first");
    var through = drain(channel, queue);
    channel.exchangeUnbind(second, first, "a.#");
    publish(channel, first, "a.b", null, "unbound");
    var unknown = attempt(connection, other -> other.exchangeUnbind(second, first, "never"));
    return object("through", through, "unbound", drain(channel, queue), "unknown_binding", unknown);
  }

  static Object declareCounts(Rig rig) throws Exception {
    var connection = rig.connect();
    var channel = rig.channel(connection);
    var queue = rig.queue(channel, "", null);
    publish(channel, "", queue, null, "1", "2", "3");
    var first = channel.queueDeclare(queue, false, false, false, null);
    new Reader(connection.createChannel(), queue, 1).await(1);
    var second = channel.queueDeclare(queue, false, false, false, null);
    var answer = new ArrayList<Object>();
    for (var ok : List.of(first, second)) answer.add(list(ok.getQueue(), ok.getMessageCount(), ok.getConsumerCount()));
    return answer;
  }

  static Map<String, Object> verbs(Connection connection, String queue) throws Exception {
    return object(
        "passive", attempt(connection, channel -> channel.queueDeclarePassive(queue)),
        "consume", attempt(connection, channel -> channel.basicConsume(queue, new DefaultConsumer(channel))),
        "get", attempt(connection, channel -> channel.basicGet(queue, false)),
        "purge", attempt(connection, channel -> channel.queuePurge(queue)),
        "bind", attempt(connection, channel -> channel.queueBind(queue, "amq.direct", "x")),
        "delete", attempt(connection, channel -> channel.queueDelete(queue)));
  }

  static Object passive(Rig rig) throws Exception {
    var connection = rig.connect();
    var missing = "passive_404.missing";
    var answers = verbs(connection, missing);
    answers.put("declare", answers.remove("passive"));
    answers.put("unbind", attempt(connection, channel -> channel.queueUnbind(missing, "amq.direct", "x")));
    return answers;
  }

  static Object exclusive(Rig rig) throws Exception {
    var owner = rig.connect();
    var other = rig.connect();
    var own = owner.createChannel();
    own.queueDeclare(rig.name, false, true, false, null);
    var refused = verbs(other, rig.name);
    refused.put("declare", attempt(other, channel -> channel.queueDeclare(rig.name, false, true, false, null)));
    publish(rig.channel(other), "", rig.name, null, "anyone may publish");
    var got = drain(own, rig.name);
    owner.close();
    Object after;
    long deadline = System.currentTimeMillis() + PATIENCE_MS;
    do {
      after = attempt(other, channel -> channel.queueDeclarePassive(rig.name));
      if (System.currentTimeMillis() > deadline) throw new TimeoutException("late");
    } while (!(after instanceof List<?> answer && answer.get(1).equals(404)));
    return object("refused", refused, "owner_got", got, "after_close", after);
  }

  // Messages.

  static Object publishConfirm(Rig rig) throws Exception {
    var channel = rig.channel(rig.connect());
    var queue = rig.queue(channel, "", null);
    var open = new ConcurrentSkipListSet<Long>();
    var refused = new ConcurrentSkipListSet<Long>();
    channel.addConfirmListener(
        (tag, multiple) -> settle(open, tag, multiple),
        (tag, multiple) -> refused.addAll(settle(open, tag, multiple)));
    for (int number = 0; number < 200; number++) {
      open.add(channel.getNextPublishSeqNo());
      channel.basicPublish("", queue, properties().deliveryMode(2 - number % 2).build(), bytes(String.valueOf(number)));
    }
    until(open::isEmpty);
    var wanted = new ArrayList<Object>();
    for (int number = 0; number < 200; number++) wanted.add(String.valueOf(number));
    return object("confirmed", 200 - refused.size(), "refused", refused.size(), "in_order", drain(channel, queue).equals(wanted));
  }

  static Set<Long> settle(ConcurrentSkipListSet<Long> open, long tag, boolean multiple) {
    var settled = multiple ? Set.copyOf(open.headSet(tag, true)) : Set.of(tag);
    open.removeAll(settled);
    return settled;
  }

  static Object mandatoryReturn(Rig rig) throws Exception {
    var channel = rig.channel(rig.connect());
    var events = new LinkedBlockingQueue<Object>();
    channel.addReturnListener(events::add);
    channel.addConfirmListener((tag, multiple) -> events.add(list("Basic.Ack", tag)), (tag, multiple) -> events.add(list("Basic.Nack", tag)));
    var sent = properties().messageId("m1").headers(Map.of("a", 1)).build();
    channel.basicPublish("amq.direct", "nowhere", true, sent, bytes("back to sender"));
    var back = (Return) events.poll(PATIENCE_MS, TimeUnit.MILLISECONDS);
    var then = events.poll(PATIENCE_MS, TimeUnit.MILLISECONDS);
    return object(
        "return", list(back.getReplyCode(), back.getReplyText(), back.getExchange(), back.getRoutingKey()),
        "properties", list(back.getProperties().getMessageId(), plain(back.getProperties().getHeaders())),
        "body", new String(back.getBody(), StandardCharsets.UTF_8),
        "then", then);
  }

  static Object immediate(Rig rig) throws Exception {
    var connection = rig.connect();
    var closed = new CompletableFuture<ShutdownSignalException>();
    connection.addShutdownListener(closed::complete);
    connection.createChannel().basicPublish("amq.direct", "nowhere", false, true, null, bytes("x"));
    return refusal(closed.get(PATIENCE_MS, TimeUnit.MILLISECONDS));
  }

  static Object userId(Rig rig) throws Exception {
    var connection = rig.connect();
    var queue = rig.queue(connection.createChannel(), "", null);
    var answers = new ArrayList<Object>();
    for (var user : List.of("guest", "somebody")) {
      answers.add(attempt(connection, channel -> {
        channel.basicPublish("", queue, properties().userId(user).build(), bytes("x"));
        channel.queueDeclarePassive(queue);
      }));
    }
    return object("own", answers.get(0), "of_another", answers.get(1));
  }

  static Object largeBody(Rig rig) throws Exception {
    var channel = rig.channel(rig.connect());
    var queue = rig.queue(channel, "", null);
    var body = new byte[8 << 20];
    for (int at = 0; at < body.length; at++) body[at] = (byte) at;
    channel.basicPublish("", queue, null, body);
    channel.basicPublish("", queue, null, new byte[0]);
    channel.waitForConfirmsOrDie(PATIENCE_MS);
    var first = take(channel, queue).getBody();
    var second = take(channel, queue).getBody();
    return object("bytes", first.length, "intact", Arrays.equals(first, body), "empty", second.length);
  }

  static Object basicGet(Rig rig) throws Exception {
    var channel = rig.channel(rig.connect());
    var queue = rig.queue(channel, "", null);
    var empty = channel.basicGet(queue, false) == null;
    publish(channel, "", queue, null, "1", "2", "3");
    var first = channel.basicGet(queue, false);
    var second = channel.basicGet(queue, true);
    channel.basicReject(first.getEnvelope().getDeliveryTag(), true);
    var again = channel.basicGet(queue, false);
    return object("empty", empty, "first", shown(first, true), "second", shown(second, false), "again", shown(again, true));
  }

  static Object shown(GetResponse message, boolean withBody) {
    var envelope = message.getEnvelope();
    var shown = new ArrayList<Object>(List.of(envelope.getDeliveryTag(), envelope.isRedeliver(), message.getMessageCount()));
    if (withBody) shown.add(body(message));
    return shown;
  }

  static Object consumeAndAck(Rig rig) throws Exception {
    var connection = rig.connect();
    var channel = rig.channel(connection);
    var queue = rig.queue(channel, "", null);
    publish(channel, "", queue, null, "1", "2", "3", "4", "5");
    var reader = new Reader(connection.createChannel(), queue, 0).await(5);
    reader.getChannel().basicAck(reader.tag(1), true);
    reader.getChannel().basicAck(reader.tag(3), false);
    reader.getChannel().close();
    until(() -> count(channel, queue) == 2);
    var tags = reader.got.stream().map(message -> message.getEnvelope().getDeliveryTag()).toList();
    return object("bodies", reader.bodies(), "tags", tags, "left", drain(channel, queue));
  }

  static Object nackMultiple(Rig rig) throws Exception {
    var connection = rig.connect();
    var channel = rig.channel(connection);
    var queue = rig.queue(channel, "", null);
    publish(channel, "", queue, null, "1", "2", "3", "4");
    var reader = new Reader(connection.createChannel(), queue, 0).await(4);
    reader.getChannel().basicNack(reader.tag(1), true, true);
    reader.await(6);
    reader.getChannel().basicNack(0, true, false);
    reader.getChannel().basicQos(0); // a round trip
    return object("bodies", reader.bodies(), "redelivered", reader.redelivered(), "left", count(channel, queue));
  }

  static Object requeueKeepsPlace(Rig rig) throws Exception {
    var channel = rig.channel(rig.connect());
    var queue = rig.queue(channel, "", null);
    publish(channel, "", queue, null, "1", "2", "3", "4", "5");
    var held = new ArrayList<Long>();
    for (int number = 0; number < 4; number++) held.add(channel.basicGet(queue, false).getEnvelope().getDeliveryTag());
    for (int at : new int[] {2, 0, 3, 1}) channel.basicNack(held.get(at), false, true);
    var answer = new ArrayList<Object>();
    for (int number = 0; number < 5; number++) {
      var got = take(channel, queue);
      answer.add(list(body(got), got.getEnvelope().isRedeliver()));
    }
    return answer;
  }

  static Object qosPerConsumer(Rig rig) throws Exception {
    var connection = rig.connect();
    var channel = rig.channel(connection);
    var queue = rig.queue(channel, "", null);
    publish(channel, "", queue, null, "1", "2", "3", "4", "5", "6", "7", "8", "9");
    var reading = connection.createChannel();
    var two = new Reader(reading, queue, 2).await(2);
    var three = new Reader(reading, queue, 3).await(3); // for consumers that start from now on
    var ready = count(channel, queue);
    var first = list(two.bodies(), three.bodies());
    reading.basicAck(two.tag(0), false);
    two.await(3);
    return object("first", first, "ready", ready, "after_an_ack", two.bodies());
  }

  static Object singleActiveConsumer(Rig rig) throws Exception {
    var connection = rig.connect();
    var channel = rig.channel(connection);
    var queue = rig.queue(channel, "", Map.of("x-single-active-consumer", true));
    var readers = new ArrayList<Reader>();
    for (int number = 0; number < 3; number++) readers.add(new Reader(connection.createChannel(), queue, 0));
    publish(channel, "", queue, null, "1", "2", "3");
    readers.get(0).await(3).getChannel().basicAck(0, true);
    readers.get(0).getChannel().basicCancel(readers.get(0).tag);
    publish(channel, "", queue, null, "4", "5");
    readers.get(1).await(2).getChannel().close(); // unacknowledged: the next in line gets them
    readers.get(2).await(2);
    var exclusive = attempt(connection, other -> other.basicConsume(queue, false, "", false, true, null, new DefaultConsumer(other)));
    var got = readers.stream().map(Reader::bodies).toList();
    return object("got", got, "redelivered", readers.get(2).redelivered(), "exclusive", exclusive);
  }

  static Object cancelNotify(Rig rig) throws Exception {
    var connection = rig.connect();
    var channel = rig.channel(connection);
    var queue = rig.queue(channel, "", null);
    var reader = new Reader(connection.createChannel(), queue, 0);
    channel.queueDelete(queue);
    until(() -> reader.cancelled);
    return object("cancelled", reader.cancelled, "channel", reader.getChannel().isOpen());
  }

  static Object ttlQueue(Rig rig) throws Exception {
    var channel = rig.channel(rig.connect());
    var target = rig.queue(channel, ".target", null);
    var queue = rig.queue(channel, "", deadLetters(target, "x-message-ttl", 100));
    publish(channel, "", queue, null, "1", "2");
    var first = take(channel, target);
    var bodies = list(body(first), body(take(channel, target)));
    return object("bodies", bodies, "headers", plain(first.getProps().getHeaders()), "expiration", first.getProps().getExpiration(), "left", count(channel, queue));
  }

  static Object maxlenDropHead(Rig rig) throws Exception {
    var channel = rig.channel(rig.connect());
    var queue = rig.queue(channel, "", Map.of("x-max-length", 2));
    publish(channel, "", queue, null, "1", "2", "3", "4", "5");
    until(() -> count(channel, queue) == 2);
    return drain(channel, queue);
  }

  static Object deadLetterRejected(Rig rig) throws Exception {
    var channel = rig.channel(rig.connect());
    var exchange = rig.exchange(channel, "topic", ".dlx");
    var target = rig.bound(channel, exchange, ".target", "#");
    var queue = rig.queue(channel, "", Map.of("x-dead-letter-exchange", exchange));
    publish(channel, "", queue, properties().headers(Map.of("mine", 1)).messageId("m1").deliveryMode(2).build(), "bad");
    channel.basicReject(channel.basicGet(queue, false).getEnvelope().getDeliveryTag(), false);
    var got = take(channel, target);
    var envelope = got.getEnvelope();
    return object(
        "key", envelope.getRoutingKey(),
        "exchange", envelope.getExchange(),
        "redelivered", envelope.isRedeliver(),
        "headers", plain(got.getProps().getHeaders()),
        "message_id", got.getProps().getMessageId(),
        "mode", got.getProps().getDeliveryMode(),
        "body", body(got));
  }

  static Object deadLetterCount(Rig rig) throws Exception {
    var channel = rig.channel(rig.connect());
    var queue = rig.queue(channel, "", deadLetters(rig.name + ".waiting"));
    rig.queue(channel, ".waiting", deadLetters(queue, "x-message-ttl", 30));
    publish(channel, "", queue, null, "again");
    for (int round = 0; round < 3; round++) {
      until(() -> count(channel, queue) == 1);
      channel.basicReject(channel.basicGet(queue, false).getEnvelope().getDeliveryTag(), false);
    }
    return plain(take(channel, queue).getProps().getHeaders());
  }

  static Object priorityQueue(Rig rig) throws Exception {
    var channel = rig.channel(rig.connect());
    var queue = rig.queue(channel, "", Map.of("x-max-priority", 5));
    var bodies = List.of("none", "one", "five", "nine", "zero", "five again", "three");
    var priorities = Arrays.asList(null, 1, 5, 9, 0, 5, 3);
    for (int at = 0; at < bodies.size(); at++) publish(channel, "", queue, properties().priority(priorities.get(at)).build(), bodies.get(at));
    return drain(channel, queue);
  }
}
