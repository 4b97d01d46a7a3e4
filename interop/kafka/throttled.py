"""A producer and a consumer of librdkafka that go as fast as they may, and what they got through after the first burst.

Its arguments: the topic to write, the topic to read, and the seconds before and of the measurement.
"""

import json
import sys
import time

from clients import KAFKA, expect
from confluent_kafka import Consumer, Producer, TopicPartition

WRITTEN, READ = sys.argv[1:3]
BURST_S, MEASURED_S = float(sys.argv[3]), float(sys.argv[4])
VALUE = b"v" * 10_000
# Of a batch, and of an answer: small beside what passes in a second.
CHUNK_BYTES = 20_000


class Meter:
    """What passes within the measurement, and the longest throttling that librdkafka's own figures know of."""

    def __init__(self):
        self.bytes = 0
        self.throttle_ms = 0

    def add(self, count):
        if BURST_S <= time.monotonic() - begun < BURST_S + MEASURED_S:
            self.bytes += count

    def note(self, statistics):
        brokers = json.loads(statistics)["brokers"].values()
        self.throttle_ms = max([self.throttle_ms, *(broker["throttle"]["max"] for broker in brokers)])

    def config(self, client_id):
        return {
            "bootstrap.servers": KAFKA,
            "client.id": client_id,
            "statistics.interval.ms": 500,
            "stats_cb": self.note,
        }


def delivered(error, message):
    expect(error is None, f"not acknowledged: {error}")
    written.add(len(message.value()))


written, read = Meter(), Meter()
producer = Producer({**written.config("slow_producer"), "batch.size": CHUNK_BYTES, "linger.ms": 0})
consumer = Consumer(
    {
        **read.config("slow_consumer"),
        "group.id": "slow",
        "fetch.message.max.bytes": CHUNK_BYTES,
        "queued.min.messages": 1,
    }
)
consumer.assign([TopicPartition(READ, 0, 0)])
# The clock begins once both are connected.
producer.list_topics(timeout=10)
consumer.list_topics(timeout=10)
begun = time.monotonic()
while time.monotonic() - begun < BURST_S + MEASURED_S:
    while len(producer) < 20:
        producer.produce(WRITTEN, VALUE, on_delivery=delivered)
    producer.poll(0)
    for message in consumer.consume(100, timeout=0.01):
        expect(message.error() is None, f"{message.error()}")
        read.add(len(message.value()))
producer.purge()
consumer.close()
print(
    json.dumps(
        {
            "written_per_s": written.bytes / MEASURED_S,
            "read_per_s": read.bytes / MEASURED_S,
            "producer_throttle_ms": written.throttle_ms,
            "consumer_throttle_ms": read.throttle_ms,
        }
    )
)
