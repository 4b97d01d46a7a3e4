// Truncation.java BOOTSTRAP TOPIC: as truncation.py, with Apache Kafka's own clients.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.LogTruncationException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

class Truncation {
    static final int KEPT = 50, LOST = 50, NEW = 120;
    static final long LIMIT_MS = 40_000;
    static final BufferedReader INPUT = new BufferedReader(new InputStreamReader(System.in));
    static String bootstrap;
    static TopicPartition partition;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        partition = new TopicPartition(args[1], 0);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(partition.topic(), 1, (short) 1))).all().get();
        }
        produce("kept", KEPT);
        turn("early");
        produce("lost", LOST);
        try (var told = consumer("none"); var resetting = consumer("earliest")) {
            for (var consumer : List.of(told, resetting)) {
                List<String> values = new ArrayList<>();
                poll(consumer, values, () -> values.size() == KEPT + LOST);
            }
            turn("read");
            produce("new", NEW);

            String last = "new-" + (NEW - 1);
            List<String> missed = new ArrayList<>();
            try {
                poll(told, missed, () -> missed.contains(last));
                fail("went on at " + missed.get(0) + " as if nothing had happened");
            } catch (LogTruncationException truncated) {
                long divergent = truncated.divergentOffsets().get(partition).offset();
                expect(divergent == KEPT, "told that the logs part at " + divergent);
                expect(missed.isEmpty(), "got records before it was told");
            }

            List<String> values = new ArrayList<>();
            poll(resetting, values, () -> values.contains(last));
            for (int number = 0; number < NEW; number++) {
                expect(values.contains("new-" + number), "missed new-" + number);
            }
        }
        System.out.printf(
            "%d records lost after they were read: one consumer was told where, one got all %d that followed%n",
            LOST, NEW);
    }

    interface Done {
        boolean isDone();
    }

    static void poll(KafkaConsumer<String, String> consumer, List<String> values, Done done) {
        long deadline = System.currentTimeMillis() + LIMIT_MS;
        while (!done.isDone()) {
            expect(System.currentTimeMillis() < deadline, "too slow: " + values.size() + " records");
            consumer.poll(Duration.ofMillis(100)).forEach(record -> values.add(record.value()));
        }
    }

    static void produce(String word, int count) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "acks", "all");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            List<Future<?>> sent = new ArrayList<>();
            for (int number = 0; number < count; number++) {
                sent.add(producer.send(new ProducerRecord<>(partition.topic(), 0, null, word + "-" + number)));
            }
            for (Future<?> one : sent) {
                one.get();
            }
        }
    }

    static KafkaConsumer<String, String> consumer(String reset) {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", bootstrap, "auto.offset.reset", reset, "enable.auto.commit", false,
            "reconnect.backoff.max.ms", 200);
        var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        consumer.assign(List.of(partition));
        consumer.seek(partition, 0);
        return consumer;
    }

    static void turn(String word) throws Exception {
        System.out.println(word);
        expect(INPUT.readLine() != null, "nobody is there any more");
    }

    static void expect(boolean holds, String reason) {
        if (!holds) {
            fail(reason);
        }
    }

    static void fail(String reason) {
        System.err.println(reason);
        System.exit(1);
    }
}
