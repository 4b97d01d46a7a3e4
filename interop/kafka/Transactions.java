// Transactions.java BOOTSTRAP SEED: as transactions.py, with Apache Kafka's own clients, which use KIP-890.

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
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
            admin.createTopics(TOPICS.stream().map(name -> new NewTopic(name, 1, (short) 1)).toList()).all().get();
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
        fenced();
        try (var producer = producer(null)) {
            for (String topic : TOPICS) producer.send(new ProducerRecord<>(topic, "last")).get();
        }
        for (String topic : TOPICS) {
            List<String> values = read(topic);
            expect(values.size() == committed.size() && committed.containsAll(values), topic + " has " + values.size());
        }
        System.out.println(commits + " of " + TRANSACTIONS + " transactions counted, in both topics, and a producer was fenced");
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
