// Transactions.java BOOTSTRAP SEED: as transactions.py, with Apache Kafka's own clients, which use KIP-890.

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

class Transactions {
    static final List<String> TOPICS = List.of("debits", "credits");
    static final int TRANSACTIONS = 60, RECORDS = 20;
    static final long LIMIT_MS = 30_000;
    static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        Random random = new Random(Long.parseLong(args[1]));
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(Stream.concat(TOPICS.stream(), Stream.of("in", "out"))
                .map(name -> new NewTopic(name, 1, (short) 1)).toList()).all().get();
        }
        Set<String> committed = new HashSet<>();
        int commits = 0;
        try (var producer = producer("payments")) {
            producer.initTransactions();
            for (int number = 0; number < TRANSACTIONS; number++) {
                producer.beginTransaction();
                List<String> values = new ArrayList<>();
                for (int record = 0; record < RECORDS; record++) values.add(number + "-" + record);
                for (String value : values) for (String topic : TOPICS) producer.send(new ProducerRecord<>(topic, value));
                if (random.nextInt(10) < 6) {
                    producer.commitTransaction();
                    committed.addAll(values);
                    commits++;
                } else {
                    // What was not sent by then is thrown away by the client.
                    if (random.nextBoolean()) producer.flush();
                    producer.abortTransaction();
                }
            }
        }
        int moved = moveOn(random);
        fenced();
        try (var producer = producer(null)) {
            for (String topic : TOPICS) producer.send(new ProducerRecord<>(topic, "last")).get();
        }
        for (String topic : TOPICS) {
            List<String> values = read(topic);
            expect(values.size() == committed.size() && committed.containsAll(values), topic + " has " + values.size());
        }
        System.out.println(commits + " of " + TRANSACTIONS + " transactions counted, in both topics; " + moved + " records went on exactly once; a producer was fenced");
    }

    /** Reads, writes and commits the offsets in one transaction, and goes back where one was aborted: exactly once. */
    static int moveOn(Random random) throws Exception {
        int count = 500;
        try (var producer = producer(null)) {
            for (int number = 0; number < count; number++) producer.send(new ProducerRecord<>("in", 0, null, "" + number));
        }
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "group.id", "movers", "max.poll.records", 20,
            "enable.auto.commit", false, "auto.offset.reset", "earliest", "isolation.level", "read_committed");
        var part = new TopicPartition("in", 0);
        try (var producer = producer("movers");
                var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            producer.initTransactions();
            consumer.assign(List.of(part));
            long end = System.currentTimeMillis() + LIMIT_MS, next = 0;
            while (next < count) {
                expect(System.currentTimeMillis() < end, "only " + next + " records went on");
                var records = consumer.poll(Duration.ofMillis(100)).records(part);
                if (records.isEmpty()) continue;
                producer.beginTransaction();
                for (var record : records) producer.send(new ProducerRecord<>("out", 0, null, record.value()));
                long after = records.get(records.size() - 1).offset() + 1;
                producer.sendOffsetsToTransaction(Map.of(part, new OffsetAndMetadata(after)), consumer.groupMetadata());
                if (random.nextInt(3) > 0) {
                    producer.commitTransaction();
                    next = after;
                } else {
                    producer.abortTransaction();
                }
                var committed = consumer.committed(Set.of(part)).get(part);
                expect((committed == null ? 0 : committed.offset()) == next, "the group is at " + committed);
                consumer.seek(part, next);
            }
        }
        try (var producer = producer(null)) {
            producer.send(new ProducerRecord<>("out", 0, null, "last")).get();
        }
        List<String> values = read("out");
        expect(values.size() == count, values.size() + " records came out");
        for (int number = 0; number < count; number++) expect(values.get(number).equals("" + number), "not in order");
        return count;
    }

    /** The second producer of a transactional id takes over, and the first one's transaction is undone. */
    static void fenced() {
        try (var first = producer("twins"); var second = producer("twins")) {
            first.initTransactions();
            first.beginTransaction();
            first.send(new ProducerRecord<>(TOPICS.get(0), "undone"));
            first.flush();
            second.initTransactions();
            try {
                first.commitTransaction();
            } catch (KafkaException fenced) {
                return;
            }
            expect(false, "a fenced producer has committed");
        }
    }

    static List<String> read(String topic) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed");
        List<String> values = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            consumer.seekToBeginning(consumer.assignment());
            long end = System.currentTimeMillis() + LIMIT_MS;
            while (values.isEmpty() || !values.get(values.size() - 1).equals("last")) {
                expect(System.currentTimeMillis() < end, topic + ": only " + values.size() + " records came");
                consumer.poll(Duration.ofMillis(100)).forEach(record -> values.add(record.value()));
            }
        }
        values.remove(values.size() - 1);
        return values;
    }

    static KafkaProducer<String, String> producer(String transactionalId) {
        Map<String, Object> config = new java.util.HashMap<>(Map.of("bootstrap.servers", bootstrap));
        if (transactionalId != null) config.put("transactional.id", transactionalId);
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    static void expect(boolean holds, String message) {
        if (!holds) {
            System.err.println(message);
            System.exit(1);
        }
    }
}
