// SecureClients.java PLAINTEXT SASL_SSL SSL CA CLIENT STRANGER: clients that log in, with Apache Kafka's own client.
//
// The first is the connection block of the producer's document as it stands, with TLS 1.2 and PLAIN; CA, CLIENT and STRANGER
// are PEM files. Users are made through the listener PLAINTEXT.

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialDeletion;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ResourceNotFoundException;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.errors.UnsupportedSaslMechanismException;

class SecureClients {
    static final String PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule";
    static final String SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule";
    static String saslSsl, ssl, ca;
    static int sent = 0;

    public static void main(String[] args) throws Exception {
        saslSsl = args[1];
        ssl = args[2];
        ca = args[3];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", (Object) args[0]))) {
            admin.createTopics(List.of(new NewTopic("T1", 1, (short) 1))).all().get();
            users(admin);
        }
        document();
        for (String mechanism : List.of("SCRAM-SHA-256", "SCRAM-SHA-512")) {
            roundTrip(login(mechanism, SCRAM, "alice", "alice=secret,"));
        }
        refused(login("PLAIN", PLAIN, "USER", "WRONG"), SaslAuthenticationException.class, "Invalid username or password");
        refused(login("PLAIN", PLAIN, "NOBODY", "PASSWORD"), SaslAuthenticationException.class, "Invalid username or password");
        refused(login("SCRAM-SHA-512", SCRAM, "alice", "WRONG"), SaslAuthenticationException.class, "invalid credentials");
        refused(login("SCRAM-SHA-256", SCRAM, "NOBODY", "x"), SaslAuthenticationException.class, "invalid credentials");
        refused(login("OAUTHBEARER", "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule", null, null),
            UnsupportedSaslMechanismException.class, "OAUTHBEARER");
        roundTrip(certificate(args[4]));
        refused(certificate(args[5]), Exception.class, "");
        refused(certificate(null), Exception.class, "");
        System.out.println("the document's block over TLSv1.2, SCRAM-SHA-256 and -512, a client certificate: " + sent
            + " records; 5 logins and 2 certificates refused");
    }

    /** Users by the administration: made, told of, and gone. */
    static void users(Admin admin) throws Exception {
        for (ScramMechanism mechanism : List.of(ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)) {
            ScramCredentialInfo info = new ScramCredentialInfo(mechanism, 4096);
            for (String user : List.of("alice", "gone")) {
                admin.alterUserScramCredentials(
                    List.of(new UserScramCredentialUpsertion(user, info, "alice=secret,"))).all().get();
            }
        }
        for (ScramMechanism mechanism : List.of(ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)) {
            admin.alterUserScramCredentials(List.of(new UserScramCredentialDeletion("gone", mechanism))).all().get();
        }
        var described = admin.describeUserScramCredentials().all().get();
        expect(described.keySet().equals(java.util.Set.of("alice")), "the users are " + described.keySet());
        expect(described.get("alice").credentialInfos().size() == 2, "alice has " + described.get("alice"));
        try {
            admin.describeUserScramCredentials(List.of("gone")).description("gone").get();
            throw new AssertionError("a removed user is described");
        } catch (ExecutionException e) {
            expect(e.getCause() instanceof ResourceNotFoundException, "a removed user is " + e.getCause());
        }
    }

    /** The document's own lines, to the letter but for the host, the user and who signed the broker's certificate. */
    static void document() throws Exception {
        String KAFKA_BROKERS_SASL = saslSsl;
        Properties props = new Properties();
        props.put("bootstrap.servers", KAFKA_BROKERS_SASL);
        props.put("sasl.jaas.config", "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"USER\" password=\"PASSWORD\";");
        props.put("security.protocol", "SASL_SSL");
        props.put("sasl.mechanism", "PLAIN");
        props.put("ssl.protocol", "TLSv1.2");
        props.put("ssl.enabled.protocols", "TLSv1.2");
        props.put("ssl.endpoint.identification.algorithm", "HTTPS");
        props.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        props.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        props.put("ssl.truststore.type", "PEM");
        props.put("ssl.truststore.location", ca);
        Producer<String, String> producer = new KafkaProducer<>(props);
        producer.send(new ProducerRecord<>("T1", "key", "value"));
        producer.close();
        sent++;
        read(props);
    }

    static Properties secured(String servers, String protocol) {
        Properties props = new Properties();
        props.put("bootstrap.servers", servers);
        props.put("security.protocol", protocol);
        props.put("ssl.truststore.type", "PEM");
        props.put("ssl.truststore.location", ca);
        props.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        props.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        // How long a broker that cannot be reached is looked for.
        props.put("max.block.ms", "5000");
        return props;
    }

    static Properties login(String mechanism, String module, String user, String password) {
        Properties props = secured(saslSsl, "SASL_SSL");
        props.put("sasl.mechanism", mechanism);
        String options = user == null ? " unsecuredLoginStringClaim_sub=\"x\""
            : " username=\"" + user + "\" password=\"" + password + "\"";
        props.put("sasl.jaas.config", module + " required" + options + ";");
        return props;
    }

    static Properties certificate(String keystore) {
        Properties props = secured(ssl, "SSL");
        if (keystore != null) {
            props.put("ssl.keystore.type", "PEM");
            props.put("ssl.keystore.location", keystore);
        }
        return props;
    }

    static void roundTrip(Properties props) throws Exception {
        try (Producer<String, String> producer = new KafkaProducer<>(props)) {
            producer.send(new ProducerRecord<>("T1", "key", "value")).get();
        }
        sent++;
        read(props);
    }

    /** Every record that was sent, by the same connection block. */
    static void read(Properties props) {
        Properties own = new Properties();
        own.putAll(props);
        own.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        own.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        own.put("auto.offset.reset", "earliest");
        own.put("enable.auto.commit", "false");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(own)) {
            consumer.assign(List.of(new TopicPartition("T1", 0)));
            int found = 0;
            long end = System.nanoTime() + 20_000_000_000L;
            while (found < sent && System.nanoTime() < end) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    expect(record.key().equals("key") && record.value().equals("value"), "read " + record);
                    found++;
                }
            }
            expect(found == sent, found + " of " + sent + " records were read");
        }
    }

    static void refused(Properties props, Class<? extends Exception> kind, String words) throws Exception {
        try (Producer<String, String> producer = new KafkaProducer<>(props)) {
            producer.send(new ProducerRecord<>("T1", "key", "refused")).get();
        } catch (ExecutionException e) {
            expect(kind.isInstance(e.getCause()), "refused by " + e.getCause());
            expect(e.getCause().getMessage().contains(words), "refused with " + e.getCause().getMessage());
            return;
        }
        throw new AssertionError("taken: " + props);
    }

    static void expect(boolean good, String otherwise) {
        if (!good) {
            throw new AssertionError(otherwise);
        }
    }
}
