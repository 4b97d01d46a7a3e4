"""What the programs share: where the broker is, topics, reading a topic to its end, one way to fail."""

import os
import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

KAFKA = os.environ["KAFKA"]


def fail(reason):
    """Ends the program; the harness shows the reason."""
    sys.exit(f"{reason}")


def expect(condition, reason):
    if not condition:
        fail(reason)


def create_topic(name, partitions=1):
    # The client must outlive its future.
    admin = AdminClient({"bootstrap.servers": KAFKA})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(timeout=10)


def count_all(topic):
    """How many records a topic has, from the offsets of its ends."""
    consumer = Consumer({"bootstrap.servers": KAFKA, "group.id": "counter"})
    count = 0
    for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        count += high - low
    consumer.close()
    return count


def read_all(topic, count, limit_s=30.0):
    """The first `count` records of a topic over all its partitions, without a group; fewer if the limit passes."""
    consumer = Consumer({"bootstrap.servers": KAFKA, "group.id": "reader", "enable.auto.commit": False})
    metadata = consumer.list_topics(topic, timeout=10).topics[topic]
    if metadata.error is not None:
        raise KafkaException(metadata.error)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in metadata.partitions])
    records, deadline = [], time.monotonic() + limit_s
    while len(records) < count and time.monotonic() < deadline:
        for message in consumer.consume(min(count - len(records), 10_000), timeout=0.2):
            if message.error():
                raise KafkaException(message.error())
            records.append(message)
    consumer.close()
    return records
