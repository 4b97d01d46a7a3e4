// TokenClients.java SASL_SSL CA FOLDER: clients that log in by tokens, with Apache Kafka's own client.
//
// FOLDER has the tokens, one a file, and `good` is the only one that the broker may take. It takes it for two seconds, so a
// client that goes on for longer has to log in again, on the connection that it has.

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.SaslAuthenticationException;

class TokenClients {
    static final long RUN_NS = 6_000_000_000L;

    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[2]);
        List<Path> tokens;
        try (Stream<Path> files = Files.list(folder)) {
            tokens = files.sorted().collect(Collectors.toList());
        }
        // The client reads tokens from nowhere else.
        System.setProperty("org.apache.kafka.sasl.oauthbearer.allowed.urls",
            tokens.stream().map(TokenClients::url).collect(Collectors.joining(",")));
        int refused = 0;
        for (Path token : tokens) {
            if (!token.endsWith("good")) {
                refused(login(args[0], args[1], token), token.getFileName().toString());
                refused++;
            }
        }
        long sent = 0;
        long again = 0;
        try (Producer<String, String> producer = new KafkaProducer<>(login(args[0], args[1], folder.resolve("good")))) {
            for (long end = System.nanoTime() + RUN_NS; System.nanoTime() < end; sent++) {
                producer.send(new ProducerRecord<>("tokens", "java", "value")).get();
                Thread.sleep(10);
            }
            again = metric(producer, "successful-reauthentication-total");
            long failed = metric(producer, "failed-reauthentication-total");
            expect(failed == 0, failed + " further logins failed");
            expect(again >= 2, "logged in again " + again + " times only");
        }
        System.out.println("Java: " + sent + " records, logged in again " + again + " times, " + refused + " tokens refused");
    }

    static String url(Path path) {
        return "file://" + path;
    }

    static Properties login(String servers, String ca, Path token) {
        Properties props = new Properties();
        props.put("bootstrap.servers", servers);
        props.put("security.protocol", "SASL_SSL");
        props.put("ssl.truststore.type", "PEM");
        props.put("ssl.truststore.location", ca);
        props.put("sasl.mechanism", "OAUTHBEARER");
        props.put("sasl.jaas.config", "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;");
        props.put("sasl.login.callback.handler.class",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler");
        props.put("sasl.oauthbearer.token.endpoint.url", url(token));
        props.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        props.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        props.put("max.block.ms", "5000");
        return props;
    }

    static void refused(Properties props, String name) throws Exception {
        try (Producer<String, String> producer = new KafkaProducer<>(props)) {
            producer.send(new ProducerRecord<>("tokens", "java", "refused")).get();
        } catch (ExecutionException e) {
            expect(e.getCause() instanceof SaslAuthenticationException, name + " is refused by " + e.getCause());
            expect(e.getCause().getMessage().contains("invalid_token"), name + " is refused by " + e.getCause());
            return;
        }
        throw new AssertionError("taken: the token " + name);
    }

    static long metric(Producer<String, String> producer, String name) {
        return producer.metrics().entrySet().stream()
            .filter(entry -> entry.getKey().name().equals(name) && entry.getKey().group().equals("producer-metrics"))
            .mapToLong(entry -> ((Double) entry.getValue().metricValue()).longValue()).sum();
    }

    static void expect(boolean good, String otherwise) {
        if (!good) {
            throw new AssertionError(otherwise);
        }
    }
}
