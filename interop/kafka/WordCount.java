// WordCount.java BOOTSTRAP STATE_FOLDER: a Kafka Streams application that counts words exactly once, until it is ended.
// Every number of the topic `numbers` is split into words, which go through a repartition topic to the counter of their
// word; every new count is a record of the topic `counts`. The counters are kept in memory: what an instance has lost, it
// reads again from their changelog.

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

class WordCount {
    public static void main(String[] args) throws Exception {
        var properties = new Properties();
        properties.putAll(Map.of(
            "application.id", "word-count",
            "bootstrap.servers", args[0],
            "state.dir", args[1],
            "processing.guarantee", "exactly_once_v2",
            // Every count is written, and not only the last of a transaction.
            "statestore.cache.max.bytes", 0,
            // As often as it may be, so that something is always under way when an instance is killed.
            "repartition.purge.interval.ms", 500,
            "session.timeout.ms", 6_000,
            "heartbeat.interval.ms", 1_000));
        properties.put("main.consumer.auto.offset.reset", "earliest");

        var builder = new StreamsBuilder();
        var text = Serdes.String();
        builder.stream("numbers", Consumed.with(text, text))
            .flatMapValues(WordCount::words)
            .groupBy((key, word) -> word, Grouped.with("words", text, text))
            .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counters"))
                .withKeySerde(text).withValueSerde(Serdes.Long()))
            .toStream()
            .mapValues(count -> Long.toString(count))
            .to("counts", Produced.with(text, text));

        var streams = new KafkaStreams(builder.build(), properties);
        streams.setStateListener((now, before) -> System.out.println("{\"name\":\"" + now + "\"}"));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(30))));
        streams.start();
    }

    /** What is counted of a number; the check that runs this knows the same. */
    static List<String> words(String number) {
        long value = Long.parseLong(number);
        return List.of("all", "last-" + value % 10, "of-97-" + value % 97);
    }
}
