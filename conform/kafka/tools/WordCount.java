// Kafka Streams, at least once: counts words of one topic into another. WordCount BOOTSTRAP APPLICATION FROM TO STATE

import java.util.*;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;

public final class WordCount {
  public static void main(String[] words) throws Exception {
    var settings = new Properties();
    settings.putAll(Map.of("bootstrap.servers", words[0], "application.id", words[1], "state.dir", words[4], "commit.interval.ms", 200, "statestore.cache.max.bytes", 0L));
    settings.put("consumer.auto.offset.reset", "earliest");
    settings.put("default.key.serde", Serdes.StringSerde.class);
    settings.put("default.value.serde", Serdes.StringSerde.class);
    var builder = new StreamsBuilder();
    builder.<String, String>stream(words[2])
        .flatMapValues(line -> Arrays.asList(line.toLowerCase().split("\\W+")))
        .groupBy((key, word) -> word)
        .count()
        .toStream()
        .mapValues(String::valueOf)
        .to(words[3]);
    var streams = new KafkaStreams(builder.build(), settings);
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
    new CountDownLatch(1).await();
  }
}
