// Writes golden.txt: random messages of every API and version of ours, as Apache Kafka's own classes write them.
//
//   java -cp kafka-clients-4.3.0.jar:slf4j-api.jar Golden.java > golden.txt
//
// Each line: API, side, version, the bytes in hex, and the fields as Rust's Debug shows them, without `Some(…)`.

import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.protocol.types.*;
import org.apache.kafka.common.record.internal.MemoryRecords;

public class Golden {
    static final Set<String> APIS = Set.of("Produce", "Fetch", "ListOffsets", "Metadata", "OffsetCommit", "OffsetFetch",
        "FindCoordinator", "JoinGroup", "Heartbeat", "LeaveGroup", "SyncGroup", "DescribeGroups", "ListGroups",
        "SaslHandshake", "ApiVersions", "CreateTopics", "DeleteTopics", "DeleteRecords", "InitProducerId",
        "OffsetForLeaderEpoch", "DescribeConfigs", "CreatePartitions", "DeleteGroups", "IncrementalAlterConfigs",
        "DescribeCluster", "AddPartitionsToTxn", "AddOffsetsToTxn", "EndTxn", "WriteTxnMarkers", "TxnOffsetCommit",
        "AlterConfigs", "DescribeLogDirs", "ElectLeaders", "ListPartitionReassignments", "OffsetDelete",
        "DescribeQuorum", "UpdateFeatures", "DescribeProducers", "DescribeTransactions", "ListTransactions",
        "ConsumerGroupHeartbeat", "ConsumerGroupDescribe", "ListConfigResources", "DescribeTopicPartitions",
        "DescribeAcls", "CreateAcls", "DeleteAcls", "SaslAuthenticate", "DescribeClientQuotas", "AlterClientQuotas",
        "DescribeUserScramCredentials", "AlterUserScramCredentials");
    // Links between elements of a collection, unknown tags, and fields of an unstable version.
    static final Set<String> HIDDEN = Set.of("prev", "next", "_unknownTaggedFields", "enable2Pc", "keepPreparedTxn",
        "ongoingTxnProducerId", "ongoingTxnProducerEpoch");
    static final int SAMPLES = 2;
    static final Random random = new Random(43);

    public static void main(String[] args) throws Exception {
        for (ApiMessageType api : ApiMessageType.values()) {
            if (!APIS.contains(api.name.replace("_", ""))) continue;
            for (short v = api.lowestSupportedVersion(); v <= api.highestSupportedVersion(false); v++) {
                for (int i = 0; i < SAMPLES; i++) {
                    print(api.name, "request", v, api.requestSchemas()[v], api.newRequest());
                    print(api.name, "response", v, api.responseSchemas()[v], api.newResponse());
                }
            }
        }
    }

    static void print(String api, String side, short version, Schema schema, ApiMessage message) throws Exception {
        Struct struct = struct(schema);
        ByteBuffer raw = ByteBuffer.allocate(struct.sizeOf());
        struct.writeTo(raw);
        raw.flip();
        message.read(new ByteBufferAccessor(raw), version);
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer out = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(out), cache, version);
        String hex = HexFormat.of().formatHex(out.array());
        System.out.println(String.join(" ", api, side, "" + version, hex.isEmpty() ? "-" : hex, debug(message)));
    }

    static Struct struct(Schema schema) {
        Struct struct = new Struct(schema);
        for (BoundField field : schema.fields()) struct.set(field, value(field.def.type));
        return struct;
    }

    static Object value(Type type) {
        if (type instanceof TaggedFields tagged) {
            NavigableMap<Integer, Object> fields = new TreeMap<>();
            tagged.fields().forEach((tag, field) -> {
                if (random.nextBoolean()) fields.put(tag, value(field.type));
            });
            return fields;
        }
        if (type.isNullable() && random.nextInt(4) == 0) return null;
        if (type instanceof Schema schema) return struct(schema);
        if (type.isArray()) {
            Object[] elements = new Object[random.nextInt(3)];
            for (int i = 0; i < elements.length; i++) elements[i] = value(type.arrayElementType().get());
            return elements;
        }
        String name = type.toString();
        if (name.endsWith("STRING")) return text();
        if (name.endsWith("RECORDS")) return MemoryRecords.readableRecords(ByteBuffer.wrap(text().getBytes()));
        if (name.endsWith("BYTES")) return ByteBuffer.wrap(text().getBytes());
        return switch (name) {
            case "BOOLEAN" -> random.nextBoolean();
            case "INT8" -> (byte) number();
            case "INT16" -> (short) number();
            case "UINT16" -> (int) (number() & 0xffff);
            case "INT32" -> (int) number();
            case "UINT32" -> number() & 0xffffffffL;
            case "INT64" -> number();
            case "FLOAT64" -> (double) (int) number();
            case "UUID" -> new Uuid(random.nextLong(), random.nextLong());
            default -> throw new IllegalStateException(name);
        };
    }

    static long number() {
        return random.nextInt(4) == 0 ? -1 : random.nextLong() >> random.nextInt(64);
    }

    static String text() {
        int length = random.nextInt(20) == 0 ? 130 : random.nextInt(6);
        return random.ints(length, 'a', 'z' + 1).collect(StringBuilder::new, StringBuilder::appendCodePoint,
            StringBuilder::append).toString();
    }

    static String debug(Object value) throws Exception {
        if (value == null) return "None";
        if (value instanceof String) return "\"" + value + "\"";
        if (value instanceof Double whole) return whole.longValue() + ".0";
        if (value instanceof Number || value instanceof Boolean) return value.toString();
        if (value instanceof Uuid uuid) return "%016x%016x".formatted(uuid.getMostSignificantBits(), uuid.getLeastSignificantBits());
        if (value instanceof byte[] bytes) return "b\"" + new String(bytes) + "\"";
        if (value instanceof ByteBuffer buffer) return "b\"" + new String(Utils.bytes(buffer)) + "\"";
        if (value instanceof MemoryRecords records) return debug(records.buffer());
        if (value instanceof Iterable<?> elements) {
            StringJoiner list = new StringJoiner(", ", "[", "]");
            for (Object element : elements) list.add(debug(element));
            return list.toString();
        }
        StringJoiner fields = new StringJoiner(", ", " { ", " }");
        for (Field field : value.getClass().getDeclaredFields()) {
            if (Modifier.isStatic(field.getModifiers()) || HIDDEN.contains(field.getName())) continue;
            field.setAccessible(true);
            fields.add(snake(field.getName()) + ": " + debug(field.get(value)));
        }
        return value.getClass().getSimpleName().replaceFirst("(Request|Response)Data$", "$1") + fields;
    }

    static String snake(String name) {
        return name.replaceAll("([A-Z])", "_$1").toLowerCase();
    }

    static class Utils {
        static byte[] bytes(ByteBuffer buffer) {
            byte[] bytes = new byte[buffer.remaining()];
            buffer.duplicate().get(bytes);
            return bytes;
        }
    }
}
