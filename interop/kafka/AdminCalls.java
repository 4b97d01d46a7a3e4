// AdminCalls.java BOOTSTRAP: every call of the Java Admin client that a broker without an authorizer answers, share and
// streams groups apart, and what each of them has changed.

import java.time.Duration;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

@SuppressWarnings("removal")
class AdminCalls {
    static final long LIMIT_MS = 20_000;
    static final TopicPartition ZERO = new TopicPartition("orders", 0), ONE = new TopicPartition("orders", 1);
    static String bootstrap;
    static Admin admin;
    static final Set<String> called = new HashSet<>();

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        // What is called is counted as it is called.
        try (Admin real = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin = (Admin) java.lang.reflect.Proxy.newProxyInstance(Admin.class.getClassLoader(),
                new Class<?>[] {Admin.class}, (proxy, method, given) -> {
                    called.add(method.getName());
                    try {
                        return method.invoke(real, given);
                    } catch (java.lang.reflect.InvocationTargetException failure) {
                        throw failure.getCause();
                    }
                });
            cluster();
            topics();
            configs();
            records();
            groups();
            transactions();
            end();
        }
        System.out.println(called.size() + " calls of the Java Admin client, answers and errors");
        System.exit(0);
    }

    static void cluster() throws Exception {
        var cluster = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
        expect(cluster.nodes().get().size() == 1 && cluster.controller().get().id() == 1, "the cluster has one node, 1");
        expect(!cluster.clusterId().get().isEmpty(), "the cluster has an id");
        expect(cluster.authorizedOperations().get().contains(AclOperation.ALTER), "everybody may do everything");
        var features = admin.describeFeatures().featureMetadata().get();
        expect(features.finalizedFeatures().get("transaction.version").maxVersionLevel() == 2, "transactions by KIP-890");
        refused(InvalidUpdateVersionException.class, () -> admin.updateFeatures(Map.of("transaction.version",
            new FeatureUpdate((short) 9, FeatureUpdate.UpgradeType.UPGRADE)), new UpdateFeaturesOptions()).all().get());
        var quorum = admin.describeMetadataQuorum().quorumInfo().get();
        expect(quorum.leaderId() == 1 && quorum.voters().size() == 1, "the node is its own quorum: " + quorum);
        expect(admin.listPartitionReassignments().reassignments().get().isEmpty(), "nothing is moved");
    }


    static void topics() throws Exception {
        var orders = new NewTopic("orders", 2, (short) 1).configs(Map.of("retention.ms", "3600000"));
        var placed = new NewTopic("placed", Map.of(0, List.of(1)));
        var dry = admin.createTopics(List.of(orders), new CreateTopicsOptions().validateOnly(true));
        expect(dry.numPartitions("orders").get() == 2, "validated only");
        expect(!admin.listTopics().names().get().contains("orders"), "nothing was created by validation");
        var created = admin.createTopics(List.of(orders, placed));
        created.all().get();
        expect(created.config("orders").get().get("retention.ms").value().equals("3600000"), "the answer has the configs");
        expect(created.replicationFactor("orders").get() == 1, "one replica");
        refused(TopicExistsException.class, () -> admin.createTopics(List.of(orders)).all().get());
        refused(InvalidConfigurationException.class, () -> admin.createTopics(
            List.of(new NewTopic("bad", 1, (short) 1).configs(Map.of("nonsense", "1")))).all().get());
        refused(InvalidTopicException.class, () -> admin.createTopics(List.of(new NewTopic("a/b", 1, (short) 1))).all().get());
        refused(InvalidPartitionsException.class, () -> admin.createTopics(List.of(new NewTopic("bad", 0, (short) 1))).all().get());

        soon("topics are listed", () -> admin.listTopics().names().get().containsAll(Set.of("orders", "placed")));
        var described = admin.describeTopics(List.of("orders"),
            new DescribeTopicsOptions().includeAuthorizedOperations(true)).allTopicNames().get().get("orders");
        expect(described.partitions().size() == 2 && described.partitions().get(1).leader().id() == 1, "" + described);
        expect(described.authorizedOperations().contains(AclOperation.WRITE), "" + described);
        var byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(described.topicId()))).allTopicIds().get();
        expect(byId.get(described.topicId()).name().equals("orders"), "" + byId);
        refused(UnknownTopicOrPartitionException.class, () -> admin.describeTopics(List.of("nothere")).allTopicNames().get());
        refused(UnknownTopicIdException.class, () -> admin.describeTopics(
            TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds().get());

        admin.createPartitions(Map.of("orders", NewPartitions.increaseTo(5)), new CreatePartitionsOptions().validateOnly(true)).all().get();
        admin.createPartitions(Map.of("orders", NewPartitions.increaseTo(3))).all().get();
        soon("three partitions", () -> admin.describeTopics(List.of("orders")).allTopicNames().get()
            .get("orders").partitions().size() == 3);
        refused(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of("orders", NewPartitions.increaseTo(3))).all().get());
        refused(UnknownTopicOrPartitionException.class, () -> admin.createPartitions(Map.of("nothere", NewPartitions.increaseTo(3))).all().get());
        refused(ElectionNotNeededException.class, () -> {
            var elected = admin.electLeaders(ElectionType.PREFERRED, Set.of(ZERO)).partitions().get();
            throw (Exception) elected.get(ZERO).orElseThrow();
        });
    }

    static void configs() throws Exception {
        var topic = new ConfigResource(ConfigResource.Type.TOPIC, "orders");
        var broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
        alter(topic, new AlterConfigOp(new ConfigEntry("segment.ms", "60000"), AlterConfigOp.OpType.SET),
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND),
            new AlterConfigOp(new ConfigEntry("retention.ms", null), AlterConfigOp.OpType.DELETE));
        soon("the configs have changed", () -> {
            Config config = admin.describeConfigs(List.of(topic), new DescribeConfigsOptions().includeSynonyms(true))
                .all().get().get(topic);
            ConfigEntry policy = config.get("cleanup.policy"), segment = config.get("segment.ms");
            return policy.value().equals("delete,compact") && config.get("retention.ms").isDefault()
                && segment.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG
                && segment.type() == ConfigEntry.ConfigType.LONG && segment.synonyms().size() >= 1;
        });
        alter(topic, new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.SUBTRACT));
        refused(InvalidConfigurationException.class, () -> {
            alter(topic, new AlterConfigOp(new ConfigEntry("segment.ms", "soon"), AlterConfigOp.OpType.SET));
            return null;
        });
        var unknown = new ConfigResource(ConfigResource.Type.TOPIC, "nothere");
        refused(UnknownTopicOrPartitionException.class, () -> admin.describeConfigs(List.of(unknown)).all().get());
        Config config = admin.describeConfigs(List.of(broker)).all().get().get(broker);
        expect(config.get("num.partitions").value().equals("1") && config.get("node.id").isReadOnly(), "" + config);
        Collection<ConfigResource> resources = admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC),
            new ListConfigResourcesOptions()).all().get();
        expect(resources.contains(topic), "" + resources);
        var logs = admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1);
        expect(logs.values().stream().anyMatch(log -> log.replicaInfos().containsKey(ZERO)), "" + logs);
        var replica = new TopicPartitionReplica("orders", 0, 1);
        var info = admin.describeReplicaLogDirs(List.of(replica)).all().get().get(replica);
        expect(info.getCurrentReplicaOffsetLag() == 0 && info.getFutureReplicaLogDir() == null, "" + info);
    }

    static void alter(ConfigResource resource, AlterConfigOp... ops) throws Exception {
        admin.incrementalAlterConfigs(Map.of(resource, List.of(ops))).all().get();
    }

    static void records() throws Exception {
        try (var producer = producer(null)) {
            for (int number = 0; number < 100; number++) {
                producer.send(new ProducerRecord<>("orders", 0, 1_000L + number, "key", "" + number)).get();
            }
        }
        Map<OffsetSpec, Long> offsets = Map.of(OffsetSpec.earliest(), 0L, OffsetSpec.latest(), 100L,
            OffsetSpec.maxTimestamp(), 99L, OffsetSpec.forTimestamp(1_050), 50L, OffsetSpec.forTimestamp(5_000), -1L,
            OffsetSpec.earliestLocal(), 0L, OffsetSpec.latestTiered(), -1L);
        for (var wanted : offsets.entrySet()) {
            long offset = admin.listOffsets(Map.of(ZERO, wanted.getKey())).partitionResult(ZERO).get().offset();
            expect(offset == wanted.getValue(), wanted.getKey().getClass().getSimpleName() + " is " + offset);
        }
        var deleted = admin.deleteRecords(Map.of(ZERO, RecordsToDelete.beforeOffset(30))).lowWatermarks().get(ZERO).get();
        expect(deleted.lowWatermark() == 30, "the log begins at " + deleted.lowWatermark());
        refused(OffsetOutOfRangeException.class, () -> admin.deleteRecords(Map.of(ZERO, RecordsToDelete.beforeOffset(101))).all().get());
        var producers = admin.describeProducers(Set.of(ZERO)).partitionResult(ZERO).get().activeProducers();
        expect(producers.size() == 1 && producers.get(0).lastSequence() == 99, "" + producers);
    }

    static void groups() throws Exception {
        for (String protocol : List.of("classic", "consumer")) {
            String group = protocol + "-readers";
            try (var consumer = consumer(group, protocol)) {
                consumer.subscribe(List.of("orders"));
                long end = System.currentTimeMillis() + LIMIT_MS;
                while (consumer.poll(Duration.ofMillis(100)).isEmpty()) {
                    expect(System.currentTimeMillis() < end, group + " gets nothing");
                }
                consumer.commitSync(Map.of(ZERO, new OffsetAndMetadata(40, "noted"), ONE, new OffsetAndMetadata(0)));
                var described = admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
                expect(described.groupState() == GroupState.STABLE && described.members().size() == 1, "" + described);
                expect(described.members().iterator().next().assignment().topicPartitions().size() == 3, "" + described);
                expect(described.type().toString().equalsIgnoreCase(protocol), "" + described);
                refused(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
                refused(GroupSubscribedToTopicException.class, () -> admin.deleteConsumerGroupOffsets(group, Set.of(ZERO)).all().get());
                refused(UnknownMemberIdException.class, () -> admin.alterConsumerGroupOffsets(group,
                    Map.of(ZERO, new OffsetAndMetadata(1))).all().get());
            }
            soon(group + " is empty", () -> admin.describeConsumerGroups(List.of(group)).describedGroups().get(group)
                .get().groupState() == GroupState.EMPTY);
            Map<TopicPartition, OffsetAndMetadata> offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            expect(offsets.get(ZERO).offset() == 40 && offsets.get(ZERO).metadata().equals("noted"), "" + offsets);
            admin.alterConsumerGroupOffsets(group, Map.of(ZERO, new OffsetAndMetadata(50))).all().get();
            admin.deleteConsumerGroupOffsets(group, Set.of(ONE)).all().get();
            offsets = admin.listConsumerGroupOffsets(Map.of(group, new ListConsumerGroupOffsetsSpec()))
                .partitionsToOffsetAndMetadata(group).get();
            expect(offsets.get(ZERO).offset() == 50 && !offsets.containsKey(ONE), "" + offsets);
        }
        var listed = admin.listGroups(new ListGroupsOptions().withTypes(Set.of(GroupType.CONSUMER))).all().get();
        expect(listed.stream().map(GroupListing::groupId).toList().equals(List.of("consumer-readers")), "" + listed);
        var consumers = admin.listConsumerGroups().all().get();
        expect(consumers.size() == 2, "" + consumers);
        var classic = admin.describeClassicGroups(List.of("classic-readers")).all().get().get("classic-readers");
        expect(classic.protocol().equals("consumer"), "" + classic);
        refused(GroupIdNotFoundException.class, () -> admin.describeConsumerGroups(List.of("nobody")).all().get());
        refused(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of("nobody")).all().get());

        try (var one = consumer("leavers", "classic")) {
            one.subscribe(List.of("orders"));
            soon("a member joins", () -> {
                one.poll(Duration.ofMillis(100));
                return !one.assignment().isEmpty();
            });
            admin.removeMembersFromConsumerGroup("leavers", new RemoveMembersFromConsumerGroupOptions()).all().get();
            expect(admin.describeConsumerGroups(List.of("leavers")).describedGroups().get("leavers").get()
                .members().isEmpty(), "the member was removed");
        }
    }

    static void transactions() throws Exception {
        var producer = producer("payments");
        producer.initTransactions();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>("orders", 1, "key", "undone")).get();
        var listing = admin.listTransactions(new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING))).all().get();
        expect(listing.size() == 1 && listing.iterator().next().transactionalId().equals("payments"), "" + listing);
        var described = admin.describeTransactions(Set.of("payments")).description("payments").get();
        expect(described.state() == TransactionState.ONGOING && described.topicPartitions().equals(Set.of(ONE)), "" + described);
        expect(described.transactionStartTimeMs().isPresent(), "" + described);
        var open = admin.describeProducers(Set.of(ONE)).partitionResult(ONE).get().activeProducers().get(0);
        expect(open.currentTransactionStartOffset().getAsLong() == 0, "" + open);
        long stable = admin.listOffsets(Map.of(ONE, OffsetSpec.latest()),
            new ListOffsetsOptions(IsolationLevel.READ_COMMITTED)).partitionResult(ONE).get().offset();
        expect(stable == 0, "the last stable offset is " + stable);

        admin.fenceProducers(Set.of("payments")).all().get();
        soon("the transaction is undone", () -> admin.describeProducers(Set.of(ONE)).partitionResult(ONE).get()
            .activeProducers().stream().allMatch(state -> state.currentTransactionStartOffset().isEmpty()));
        refused(KafkaException.class, () -> {
            producer.send(new ProducerRecord<>("orders", 1, "key", "too late")).get();
            producer.commitTransaction();
            return null;
        });
        producer.close(Duration.ZERO);
        refused(TransactionalIdNotFoundException.class, () -> admin.describeTransactions(Set.of("nobody")).all().get());

        try (var another = producer("refunds")) {
            another.initTransactions();
            another.beginTransaction();
            another.send(new ProducerRecord<>("orders", 1, "key", "undone")).get();
            admin.forceTerminateTransaction("refunds").result().get();
            refused(KafkaException.class, () -> {
                another.commitTransaction();
                return null;
            });
        }
    }

    static void end() throws Exception {
        admin.deleteConsumerGroups(List.of("classic-readers", "consumer-readers", "leavers")).all().get();
        expect(admin.listGroups().all().get().isEmpty(), "groups are left");
        var id = admin.describeTopics(List.of("placed")).allTopicNames().get().get("placed").topicId();
        admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
        admin.deleteTopics(List.of("orders")).all().get();
        refused(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of("orders")).all().get());
        refused(UnknownTopicIdException.class, () -> admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get());
        soon("topics are gone", () -> admin.listTopics().names().get().isEmpty());
    }

    static KafkaProducer<String, String> producer(String transactionalId) {
        Map<String, Object> config = new java.util.HashMap<>(Map.of("bootstrap.servers", bootstrap));
        if (transactionalId != null) config.put("transactional.id", transactionalId);
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(String group, String protocol) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "group.id", group, "group.protocol", protocol,
            "enable.auto.commit", false, "auto.offset.reset", "earliest");
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    /** Kafka answers some requests before its broker knows. */
    static void soon(String what, Callable<Boolean> holds) throws Exception {
        long end = System.currentTimeMillis() + LIMIT_MS;
        Exception last = null;
        while (System.currentTimeMillis() < end) {
            try {
                if (holds.call()) return;
            } catch (ExecutionException failure) {
                last = failure;
            }
            Thread.sleep(20);
        }
        expect(false, "not after " + LIMIT_MS / 1000 + " s: " + what + (last == null ? "" : ", " + last));
    }

    static void refused(Class<? extends Exception> reason, Callable<?> call) {
        try {
            call.call();
        } catch (Exception refusal) {
            Throwable told = refusal instanceof ExecutionException ? refusal.getCause() : refusal;
            expect(reason.isInstance(told), reason.getSimpleName() + " expected, " + told + " came");
            return;
        }
        expect(false, "accepted, and not refused with " + reason.getSimpleName());
    }

    static void expect(boolean holds, String message) {
        if (!holds) {
            var where = StackWalker.getInstance().walk(frames -> frames.map(frame -> frame.getMethodName() + ":" + frame.getLineNumber())
                .filter(frame -> !frame.startsWith("expect") && !frame.startsWith("refused")).findFirst());
            System.err.println(where.orElse("") + " " + message);
            System.exit(1);
        }
    }
}
