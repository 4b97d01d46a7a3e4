// ProducerDocument.java BROKER PROXY CONTROL: the Kafka producer's document row by row, with Apache Kafka's own client.
//
// | row of the document | test |
// |---|---|
// | key.serializer, value.serializer: no default | serializers |
// | acks 0, 1, all | acks |
// | retries | retries |
// | max.block.ms, of a send and of a metadata request | maxBlock |
// | max.in.flight.requests.per.connection | maxInFlight |
// | request.timeout.ms: retried, or failed | requestTimeout |
// | explicit partition | explicitPartition |
// | Producer.partitionsFor | partitionsFor |
// | no key: round-robin | roundRobin |
// | key: its hash, the same partition for the same key | keyHash |
// | custom partitioner | customPartitioner |
// | neither duplicate nor reordering with the idempotent producer | idempotent |
// | one request in flight: duplicates perhaps, no reordering | oneInFlight |
// | batches | batching |
// | compression | compression |
// | the buffer fills up: send is delayed, then fails | bufferFull |
// | the future | future |
// | the callback: order, and errors | callback |
// | headers | headers |
// | close: sends what is left, or gives it up | close |

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Partitioner;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.clients.producer.RoundRobinPartitioner;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Utils;

class ProducerDocument {
    interface Row {
        void run(String topic) throws Exception;
    }

    static final int PARTITIONS = 3;
    static final long LIMIT_MS = 30_000;
    /** Enough for several cuts, each of which costs a reconnection. */
    static final int RECORDS_THROUGH_CUTS = 3_000;
    static String broker, proxy;
    static BufferedReader answers;
    static PrintWriter orders;

    public static void main(String[] args) throws Exception {
        broker = args[0];
        proxy = args[1];
        String[] control = args[2].split(":");
        Socket socket = new Socket(control[0], Integer.parseInt(control[1]));
        answers = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
        orders = new PrintWriter(socket.getOutputStream(), true);
        Map<String, Row> rows = new LinkedHashMap<>();
        rows.put("serializers", ProducerDocument::serializers);
        rows.put("acks", ProducerDocument::acks);
        rows.put("retries", ProducerDocument::retries);
        rows.put("maxBlock", ProducerDocument::maxBlock);
        rows.put("maxInFlight", ProducerDocument::maxInFlight);
        rows.put("requestTimeout", ProducerDocument::requestTimeout);
        rows.put("explicitPartition", ProducerDocument::explicitPartition);
        rows.put("partitionsFor", ProducerDocument::partitionsFor);
        rows.put("roundRobin", ProducerDocument::roundRobin);
        rows.put("keyHash", ProducerDocument::keyHash);
        rows.put("customPartitioner", ProducerDocument::customPartitioner);
        rows.put("idempotent", ProducerDocument::idempotent);
        rows.put("oneInFlight", ProducerDocument::oneInFlight);
        rows.put("batching", ProducerDocument::batching);
        rows.put("compression", ProducerDocument::compression);
        rows.put("bufferFull", ProducerDocument::bufferFull);
        rows.put("future", ProducerDocument::future);
        rows.put("callback", ProducerDocument::callback);
        rows.put("headers", ProducerDocument::headers);
        rows.put("close", ProducerDocument::close);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
            admin.createTopics(rows.keySet().stream().map(name -> new NewTopic(name, PARTITIONS, (short) 1)).toList())
                .all().get();
        }
        for (var row : rows.entrySet()) {
            order("calm");
            order("counts");
            long started = System.nanoTime();
            try {
                row.getValue().run(row.getKey());
            } catch (Throwable error) {
                error.printStackTrace();
                System.err.println(row.getKey() + " does not hold: " + error);
                System.exit(1);
            }
            System.out.println(row.getKey() + " holds, " + (System.nanoTime() - started) / 1_000_000 + " ms");
        }
        System.out.println(rows.size() + " rows hold");
        System.exit(0);
    }

    static void serializers(String topic) {
        try {
            new KafkaProducer<String, String>(Map.of("bootstrap.servers", proxy)).close();
            throw new AssertionError("a producer without serializers");
        } catch (ConfigException expected) {
            expect(expected.getMessage().contains("serializer"), expected.getMessage());
        }
    }

    static void acks(String topic) throws Exception {
        for (String acks : List.of("0", "1", "all", "-1")) {
            counts();
            try (var producer = producer(Map.of("acks", acks, "enable.idempotence", false))) {
                RecordMetadata sent = producer.send(new ProducerRecord<>(topic, 0, null, "acks " + acks)).get();
                expect(sent.hasOffset() != acks.equals("0"), "acks=" + acks + " answers " + sent);
            }
            String number = acks.equals("all") ? "-1" : acks;
            expect(counts().contains("\"acks\":[" + number + "]"), "acks=" + acks + " is not what was sent");
        }
        expect(values(read(topic, 4)).equals(List.of("acks 0", "acks 1", "acks all", "acks -1")), "what was sent is not there");
    }

    /** The answer is lost: who may not try again fails, who may sends again. */
    static void retries(String topic) throws Exception {
        for (int retries : List.of(0, 1_000_000)) {
            Map<String, Object> settings = Map.of("retries", retries, "enable.idempotence", false, "acks", "1",
                "request.timeout.ms", 1_000, "delivery.timeout.ms", 20_000);
            try (var producer = producer(settings)) {
                producer.partitionsFor(topic);
                order("drop");
                counts();
                Future<RecordMetadata> sent = producer.send(new ProducerRecord<>(topic, 0, null, "retries " + retries));
                if (retries == 0) {
                    expectFailure(sent, TimeoutException.class);
                    expect(number(counts(), "requests") == 1, "retries=0 has sent again");
                } else {
                    waitUntil(() -> number(peek(), "requests") >= 1, "no request at all");
                    order("calm");
                    expect(sent.get().hasOffset(), "no offset after a retry");
                    expect(number(peek(), "requests") >= 1, "it was not sent again");
                }
                order("calm");
                seen = 0;
            }
        }
        // Without idempotence what was sent again is there twice.
        List<String> values = values(readAll(topic));
        expect(values.stream().filter("retries 0"::equals).count() == 1, "one try left " + values);
        expect(values.stream().filter("retries 1000000"::equals).count() == 2, "two tries left " + values);
    }

    static void maxBlock(String topic) throws Exception {
        try (var nobody = new java.net.ServerSocket(0)) {
            // It accepts connections and says nothing.
            Map<String, Object> settings = new HashMap<>(Map.of("max.block.ms", 700));
            settings.put("bootstrap.servers", "127.0.0.1:" + nobody.getLocalPort());
            var producer = producerOf(settings);
            long started = System.nanoTime();
            expectFailure(producer.send(new ProducerRecord<>(topic, "never")), TimeoutException.class);
            long sendMs = (System.nanoTime() - started) / 1_000_000;
            started = System.nanoTime();
            try {
                producer.partitionsFor(topic);
                throw new AssertionError("partitions of nobody");
            } catch (TimeoutException expected) { }
            long metadataMs = (System.nanoTime() - started) / 1_000_000;
            for (long ms : List.of(sendMs, metadataMs)) expect(ms >= 650 && ms < 5_000, "blocked for " + ms + " ms");
            // It would wait for an answer of the one that says nothing.
            producer.close(Duration.ZERO);
        }
    }

    static void maxInFlight(String topic) throws Exception {
        for (int limit : List.of(1, 5)) {
            counts();
            order("delay 30");
            Map<String, Object> settings = Map.of("max.in.flight.requests.per.connection", limit, "linger.ms", 0, "batch.size", 1);
            try (var producer = producer(settings)) {
                for (int number = 0; number < 40; number++) producer.send(new ProducerRecord<>(topic, 0, null, "" + number));
            }
            order("calm");
            long most = number(counts(), "in_flight_max");
            expect(most == limit, "with a limit of " + limit + " there were " + most + " in flight");
        }
    }

    static void requestTimeout(String topic) throws Exception {
        Map<String, Object> settings = Map.of("request.timeout.ms", 500, "delivery.timeout.ms", 2_000, "linger.ms", 0);
        try (var producer = producer(settings)) {
            producer.partitionsFor(topic);
            order("drop");
            long started = System.nanoTime();
            expectFailure(producer.send(new ProducerRecord<>(topic, 0, null, "in vain")), TimeoutException.class);
            long ms = (System.nanoTime() - started) / 1_000_000;
            expect(ms >= 1_500 && ms < 10_000, "given up after " + ms + " ms");
            expect(number(counts(), "requests") >= 2, "it was not sent again within its time");
            order("calm");
        }
        expect(values(readAll(topic)).equals(List.of("in vain")), "sent again and again, it is there once");
    }

    static void explicitPartition(String topic) throws Exception {
        try (var producer = producer(Map.of())) {
            for (int partition = 0; partition < PARTITIONS; partition++) {
                // The key would say otherwise.
                var sent = producer.send(new ProducerRecord<>(topic, partition, "key", "to " + partition)).get();
                expect(sent.partition() == partition, sent + " instead of partition " + partition);
            }
        }
        for (var record : read(topic, PARTITIONS)) {
            expect(record.value().equals("to " + record.partition()), record.value() + " in " + record.partition());
        }
        try (var producer = producer(Map.of("max.block.ms", 500))) {
            expectFailure(producer.send(new ProducerRecord<>(topic, 99, "key", "nowhere")), TimeoutException.class);
        }
    }

    static void partitionsFor(String topic) {
        try (var producer = producer(Map.of())) {
            var partitions = producer.partitionsFor(topic);
            Set<Integer> numbers = new HashSet<>();
            for (var partition : partitions) {
                numbers.add(partition.partition());
                expect(partition.topic().equals(topic) && partition.leader() != null, "no leader: " + partition);
                expect(partition.replicas().length == 1 && partition.inSyncReplicas().length == 1, "" + partition);
            }
            expect(numbers.equals(Set.of(0, 1, 2)), "partitions " + numbers);
        }
    }

    static void roundRobin(String topic) throws Exception {
        try (var producer = producer(Map.of("partitioner.class", RoundRobinPartitioner.class.getName()))) {
            List<Integer> partitions = new ArrayList<>();
            for (int number = 0; number < 9; number++) {
                partitions.add(producer.send(new ProducerRecord<>(topic, "" + number)).get().partition());
            }
            for (int place = PARTITIONS; place < partitions.size(); place++) {
                expect(partitions.get(place).equals(partitions.get(place - PARTITIONS)), "not in turn: " + partitions);
            }
            expect(new HashSet<>(partitions).size() == PARTITIONS, "not all: " + partitions);
        }
        // Today's default stays with a partition for a batch, and uses all of them over time.
        try (var producer = producer(Map.of("batch.size", 200, "linger.ms", 0))) {
            Set<Integer> partitions = new HashSet<>();
            long until = System.currentTimeMillis() + LIMIT_MS;
            while (partitions.size() < PARTITIONS && System.currentTimeMillis() < until) {
                partitions.add(producer.send(new ProducerRecord<>(topic, "v".repeat(150))).get().partition());
            }
            expect(partitions.size() == PARTITIONS, "without keys only " + partitions);
        }
    }

    static void keyHash(String topic) throws Exception {
        Map<String, Integer> vectors = Map.of("21", -973932308, "foobar", -790332482, "a-little-bit-long-string", -985981536,
            "a-little-bit-longer-string", -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971, "abc", 479470107);
        try (var producer = producer(Map.of())) {
            for (var vector : vectors.entrySet()) {
                int hash = Utils.murmur2(vector.getKey().getBytes(StandardCharsets.UTF_8));
                expect(hash == vector.getValue(), "murmur2 of " + vector.getKey() + " is " + hash);
                for (int again = 0; again < 2; again++) {
                    int partition = producer.send(new ProducerRecord<>(topic, vector.getKey(), "v")).get().partition();
                    expect(partition == (vector.getValue() & 0x7fffffff) % PARTITIONS, vector.getKey() + " is in " + partition);
                }
            }
        }
        for (var record : read(topic, 2 * vectors.size())) {
            expect((vectors.get(record.key()) & 0x7fffffff) % PARTITIONS == record.partition(), "read elsewhere: " + record.key());
        }
    }

    /** The number behind a dash is the partition. */
    public static class ByNumber implements Partitioner {
        public int partition(String topic, Object key, byte[] keyBytes, Object value, byte[] valueBytes, Cluster cluster) {
            return Integer.parseInt(((String) key).split("-")[1]) % cluster.partitionCountForTopic(topic);
        }

        public void close() { }

        public void configure(Map<String, ?> settings) { }
    }

    static void customPartitioner(String topic) throws Exception {
        try (var producer = producer(Map.of("partitioner.class", ByNumber.class))) {
            for (int number = 0; number < 9; number++) {
                var sent = producer.send(new ProducerRecord<>(topic, "order-" + number, "v")).get();
                expect(sent.partition() == number % PARTITIONS, "order-" + number + " is in " + sent.partition());
            }
        }
    }

    /** Connections end in the midst of requests and answers; every record is there once, in the order of its partition. */
    static void idempotent(String topic) throws Exception {
        long cuts = sendThroughCuts(topic, Map.of("enable.idempotence", true));
        Map<Integer, Integer> last = new HashMap<>();
        int count = 0;
        for (var record : readAll(topic)) {
            int number = Integer.parseInt(record.value());
            int before = last.getOrDefault(record.partition(), -1);
            expect(number > before, "in partition " + record.partition() + " " + number + " comes after " + before);
            last.put(record.partition(), number);
            count++;
        }
        expect(count == RECORDS_THROUGH_CUTS, count + " records of " + RECORDS_THROUGH_CUTS);
        expect(cuts >= 5, "only " + cuts + " connections were cut");
        System.out.println(count + " records through " + cuts + " cuts");
    }

    /** What was repeated may be there twice; nothing comes after what follows it. */
    static void oneInFlight(String topic) throws Exception {
        long cuts = sendThroughCuts(topic, Map.of("enable.idempotence", false, "max.in.flight.requests.per.connection", 1));
        Map<Integer, Set<Integer>> seen = new HashMap<>();
        for (var record : readAll(topic)) {
            Set<Integer> before = seen.computeIfAbsent(record.partition(), partition -> new HashSet<>());
            int number = Integer.parseInt(record.value());
            // The first time that a number is seen, it is the highest so far.
            if (!before.contains(number)) {
                expect(before.stream().allMatch(other -> other < number), number + " comes for the first time after a later one");
                before.add(number);
            }
        }
        int count = seen.values().stream().mapToInt(Set::size).sum();
        expect(count == RECORDS_THROUGH_CUTS, count + " different records of " + RECORDS_THROUGH_CUTS);
        expect(cuts >= 5, "only " + cuts + " connections were cut");
    }

    static long sendThroughCuts(String topic, Map<String, Object> change) throws Exception {
        Map<String, Object> settings = new HashMap<>(Map.of("linger.ms", 1, "batch.size", 500, "reconnect.backoff.ms", 5,
            "reconnect.backoff.max.ms", 20, "retry.backoff.ms", 5, "retry.backoff.max.ms", 20, "request.timeout.ms", 2_000));
        settings.putAll(change);
        ConcurrentLinkedQueue<Exception> errors = new ConcurrentLinkedQueue<>();
        try (var producer = producer(settings)) {
            producer.partitionsFor(topic);
            counts();
            order("cut 8000");
            for (int number = 0; number < RECORDS_THROUGH_CUTS; number++) {
                producer.send(new ProducerRecord<>(topic, "key-" + number % 50, "" + number), (sent, error) -> {
                    if (error != null) errors.add(error);
                });
            }
            producer.flush();
            order("calm");
        }
        expect(errors.isEmpty(), errors.size() + " sends failed, first " + errors.peek());
        return number(counts(), "cuts");
    }

    static void batching(String topic) throws Exception {
        counts();
        try (var producer = producer(Map.of("linger.ms", 300, "batch.size", 100_000))) {
            for (int number = 0; number < 1_000; number++) producer.send(new ProducerRecord<>(topic, 0, null, "" + number));
        }
        long together = number(counts(), "requests");
        expect(together >= 1 && together <= 3, "1000 records took " + together + " requests");
        try (var producer = producer(Map.of("linger.ms", 0))) {
            for (int number = 0; number < 20; number++) producer.send(new ProducerRecord<>(topic, 1, null, "" + number)).get();
        }
        expect(number(counts(), "requests") == 20, "20 records that waited for each other took not 20 requests");
        try (var producer = producer(Map.of("linger.ms", 300, "batch.size", 1_000, "max.in.flight.requests.per.connection", 1))) {
            for (int number = 0; number < 100; number++) producer.send(new ProducerRecord<>(topic, 2, null, "v".repeat(300)));
        }
        long small = number(counts(), "requests");
        expect(small >= 30, "batches of 1000 bytes took " + small + " requests for 30 kB");
    }

    static void compression(String topic) throws Exception {
        Map<String, Long> bytes = new HashMap<>();
        List<String> codecs = List.of("none", "gzip", "snappy", "lz4", "zstd");
        for (String codec : codecs) {
            counts();
            try (var producer = producer(Map.of("compression.type", codec, "linger.ms", 200, "batch.size", 200_000))) {
                for (int number = 0; number < 200; number++) {
                    producer.send(new ProducerRecord<>(topic, 0, codec, codec + " " + number + " the same words ".repeat(20)));
                }
            }
            bytes.put(codec, number(counts(), "bytes"));
        }
        for (String codec : codecs.subList(1, 5)) {
            expect(bytes.get(codec) * 4 < bytes.get("none"), codec + " takes " + bytes.get(codec) + " of " + bytes.get("none") + " bytes");
        }
        var records = read(topic, 1_000);
        for (int place = 0; place < 1_000; place++) {
            String value = codecs.get(place / 200) + " " + place % 200 + " the same words ".repeat(20);
            expect(records.get(place).value().equals(value), "record " + place + " is " + records.get(place).value());
        }
    }

    static void bufferFull(String topic) throws Exception {
        Map<String, Object> settings = Map.of("buffer.memory", 100_000, "batch.size", 10_000, "max.block.ms", 1_000, "linger.ms", 0);
        try (var producer = producer(settings)) {
            producer.partitionsFor(topic);
            order("stall");
            int accepted = 0;
            long started = 0;
            AtomicReference<Exception> failure = new AtomicReference<>();
            while (failure.get() == null && accepted < 1_000) {
                started = System.nanoTime();
                Future<RecordMetadata> sent = producer.send(new ProducerRecord<>(topic, 0, null, "v".repeat(5_000)),
                    (metadata, error) -> { if (error != null) failure.set(error); });
                if (sent.isDone()) break;
                accepted++;
            }
            long ms = (System.nanoTime() - started) / 1_000_000;
            expect(failure.get() instanceof TimeoutException, "the buffer took " + accepted + " records: " + failure.get());
            expect(accepted >= 8 && accepted <= 40, "a buffer of 100 kB took " + accepted + " records of 5 kB");
            expect(ms >= 900 && ms < 10_000, "the send that failed waited " + ms + " ms");
            order("calm");
            // Once there is room the next is taken.
            producer.send(new ProducerRecord<>(topic, 0, null, "last")).get();
            expect(readAll(topic).size() == accepted + 1, "what the buffer took is not all there");
        }
    }

    static void future(String topic) throws Exception {
        try (var producer = producer(Map.of())) {
            for (int number = 0; number < 3; number++) {
                long before = System.currentTimeMillis();
                RecordMetadata sent = producer.send(new ProducerRecord<>(topic, 1, "key", "value")).get(10, TimeUnit.SECONDS);
                expect(sent.topic().equals(topic) && sent.partition() == 1 && sent.offset() == number, "" + sent);
                expect(sent.timestamp() >= before && sent.timestamp() <= System.currentTimeMillis(), "sent at " + sent.timestamp());
                expect(sent.serializedKeySize() == 3 && sent.serializedValueSize() == 5, "sizes of " + sent);
            }
            Future<RecordMetadata> large = producer.send(new ProducerRecord<>(topic, 1, "key", "v".repeat(2_000_000)));
            expectFailure(large, RecordTooLargeException.class);
            Future<RecordMetadata> bad = producer.send(new ProducerRecord<>("no such/topic", "value"));
            expectFailure(bad, org.apache.kafka.common.errors.InvalidTopicException.class);
        }
    }

    static void callback(String topic) throws Exception {
        ConcurrentLinkedQueue<Long> offsets = new ConcurrentLinkedQueue<>();
        ConcurrentLinkedQueue<Exception> errors = new ConcurrentLinkedQueue<>();
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker)); var producer = producer(Map.of("linger.ms", 5))) {
            for (int number = 0; number < 500; number++) {
                producer.send(new ProducerRecord<>(topic, 0, null, "" + number), (sent, error) -> {
                    if (error == null) offsets.add(sent.offset()); else errors.add(error);
                });
            }
            producer.flush();
            expect(errors.isEmpty() && offsets.size() == 500, offsets.size() + " callbacks, errors " + errors);
            long expected = 0;
            for (long offset : offsets) expect(offset == expected++, "a callback of offset " + offset + " too early");
            // The broker's refusal reaches the callback too.
            admin.createTopics(List.of(new NewTopic("callback-small", 1, (short) 1).configs(Map.of("max.message.bytes", "200")))).all().get();
            producer.send(new ProducerRecord<>("callback-small", "v".repeat(1_000)), (sent, error) -> errors.add(error));
            producer.flush();
            expect(errors.peek() instanceof RecordTooLargeException, "refused with " + errors.peek());
        }
    }

    static void headers(String topic) throws Exception {
        try (var producer = producer(Map.of())) {
            var record = new ProducerRecord<>(topic, 0, 1_700_000_000_000L, "key", "value");
            record.headers().add("twice", "one".getBytes()).add("twice", "two".getBytes()).add("null", null);
            producer.send(record).get();
            producer.send(new ProducerRecord<>(topic, 0, null, (String) null)).get();
        }
        var records = read(topic, 2);
        var headers = records.get(0).headers().toArray();
        expect(headers.length == 3 && headers[0].key().equals("twice") && new String(headers[1].value()).equals("two")
            && headers[2].value() == null, "headers " + records.get(0).headers());
        expect(records.get(0).timestamp() == 1_700_000_000_000L, "the timestamp is " + records.get(0).timestamp());
        expect(records.get(1).key() == null && records.get(1).value() == null, "null is " + records.get(1));
    }

    static void close(String topic) throws Exception {
        var patient = producer(Map.of("linger.ms", 20_000, "delivery.timeout.ms", 60_000));
        long started = System.nanoTime();
        for (int number = 0; number < 10; number++) patient.send(new ProducerRecord<>(topic, 0, null, "kept " + number));
        patient.close();
        expect((System.nanoTime() - started) / 1_000_000 < 10_000, "close waited for linger.ms");
        expect(readAll(topic).size() == 10, "close did not send what was left");
        try {
            patient.send(new ProducerRecord<>(topic, "late"));
            throw new AssertionError("a closed producer sends");
        } catch (IllegalStateException expected) { }
        var hasty = producer(Map.of("linger.ms", 20_000, "delivery.timeout.ms", 60_000));
        hasty.partitionsFor(topic);
        order("stall");
        Future<RecordMetadata> given = hasty.send(new ProducerRecord<>(topic, 0, null, "given up"));
        hasty.close(Duration.ZERO);
        expectFailure(given, Exception.class);
        order("calm");
        var slow = producer(Map.of("linger.ms", 0));
        slow.partitionsFor(topic);
        order("stall");
        slow.send(new ProducerRecord<>(topic, 0, null, "perhaps"));
        started = System.nanoTime();
        slow.close(Duration.ofMillis(500));
        long ms = (System.nanoTime() - started) / 1_000_000;
        expect(ms >= 450 && ms < 10_000, "close with a limit of 500 ms took " + ms + " ms");
        order("calm");
    }

    static KafkaProducer<String, String> producer(Map<String, Object> change) {
        Map<String, Object> settings = new HashMap<>(change);
        settings.put("bootstrap.servers", proxy);
        return producerOf(settings);
    }

    static KafkaProducer<String, String> producerOf(Map<String, Object> settings) {
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    static List<ConsumerRecord<String, String>> read(String topic, int count) {
        var records = readAll(topic);
        expect(records.size() == count, topic + " has " + records.size() + " records instead of " + count);
        return records;
    }

    /** All partitions to their ends as they are now. */
    static List<ConsumerRecord<String, String>> readAll(String topic) {
        Map<String, Object> settings = Map.of("bootstrap.servers", broker, "enable.auto.commit", false);
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (int partition = 0; partition < PARTITIONS; partition++) partitions.add(new TopicPartition(topic, partition));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            long until = System.currentTimeMillis() + LIMIT_MS;
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                expect(System.currentTimeMillis() < until, topic + " cannot be read to its end");
                consumer.poll(Duration.ofMillis(100)).forEach(records::add);
            }
        }
        return records;
    }

    static List<String> values(List<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::value).toList();
    }

    static void expectFailure(Future<RecordMetadata> sent, Class<? extends Exception> kind) throws Exception {
        try {
            RecordMetadata metadata = sent.get(LIMIT_MS, TimeUnit.MILLISECONDS);
            throw new AssertionError("sent as " + metadata + " instead of a " + kind.getSimpleName());
        } catch (ExecutionException failed) {
            expect(kind.isInstance(failed.getCause()), "failed with " + failed.getCause() + " instead of a " + kind.getSimpleName());
        }
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    static void waitUntil(Condition condition, String otherwise) throws Exception {
        long until = System.currentTimeMillis() + LIMIT_MS;
        while (!condition.holds()) {
            expect(System.currentTimeMillis() < until, otherwise);
            Thread.sleep(10);
        }
    }

    /** Produce requests since the last `counts`, over all looks of `peek`. */
    static long seen;

    static String peek() throws Exception {
        seen += number(order("counts"), "requests");
        return "{\"requests\":" + seen + "}";
    }

    static String counts() throws Exception {
        seen = 0;
        return order("counts");
    }

    static long number(String counts, String name) {
        String behind = counts.substring(counts.indexOf("\"" + name + "\":") + name.length() + 3);
        return Long.parseLong(behind.split("[,}]")[0]);
    }

    static String order(String line) throws Exception {
        orders.println(line);
        String answer = answers.readLine();
        expect(answer != null && !answer.startsWith("error"), line + ": " + answer);
        return answer;
    }

    static void expect(boolean condition, String reason) {
        if (!condition) throw new AssertionError(reason);
    }
}
