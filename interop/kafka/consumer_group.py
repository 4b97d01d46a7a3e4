"""A group under the consumer protocol (KIP-848): joins by name and by regular expression, shares under load without
reading committed work twice, follows a topic that grows, and resumes."""

import time

from clients import KAFKA, create_topic, expect, fail
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

TOPIC, PARTITIONS, GROUP = "shared-orders", 4, "consumers"
LIMIT_S = 60


def member(name, topics):
    consumer = Consumer(
        {
            "bootstrap.servers": KAFKA,
            "group.id": GROUP,
            "client.id": name,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "topic.metadata.refresh.interval.ms": 1000,
        }
    )
    consumer.subscribe(topics, on_revoke=commit)
    return consumer


def commit(consumer, partitions):
    """What is given up is committed before, so that the next member goes on behind it."""
    positions = [position for position in consumer.position(partitions) if position.offset >= 0]
    if positions:
        consumer.commit(offsets=positions, asynchronous=False)


def produce(numbers, partitions):
    producer = Producer({"bootstrap.servers": KAFKA})
    for number in numbers:
        producer.produce(TOPIC, value=str(number), partition=number % partitions)
    expect(producer.flush(20) == 0, "not acknowledged")


def poll(consumers, into, until, produced=None):
    deadline = time.monotonic() + LIMIT_S
    while not until():
        if time.monotonic() > deadline:
            fail(f"after {LIMIT_S} s: {[len(c.assignment()) for c in consumers]} partitions, {len(into)} records")
        if produced is not None:
            first = produced[-1] + 1
            produced.extend(range(first, first + 20))
            produce(produced[-20:], PARTITIONS)
        for consumer in consumers:
            for message in consumer.consume(100, timeout=0.05):
                expect(message.error() is None, message.error())
                into.append(int(message.value()))


def balanced(*consumers):
    counts = [len(consumer.assignment()) for consumer in consumers]
    return sum(counts) == PARTITIONS and max(counts) - min(counts) <= 1


create_topic(TOPIC, PARTITIONS)
numbers, seen = list(range(100)), []
produce(numbers, PARTITIONS)
first = member("first", [TOPIC])
poll([first], seen, lambda: len(seen) == 100)

# A second member, by regular expression, while records come.
second, started = member("second", ["^shared-.*"]), time.monotonic()
poll([first, second], seen, lambda: balanced(first, second), numbers)
rebalance_s = time.monotonic() - started
poll([first, second], seen, lambda: len(seen) >= len(numbers))
expect(sorted(seen) == numbers, f"{len(seen)} records of {len(numbers)}, {len(set(seen))} different ones")

PARTITIONS = 6
# The client must outlive its futures.
admin = AdminClient({"bootstrap.servers": KAFKA})
for future in admin.create_partitions([NewPartitions(TOPIC, PARTITIONS)]).values():
    future.result(timeout=10)
poll([first, second], seen, lambda: balanced(first, second))
more = list(range(len(numbers), len(numbers) + 60))
produce(more, PARTITIONS)
poll([first, second], seen, lambda: len(seen) >= len(numbers) + 60)

# The first one leaves; what it had goes to the second, with what it committed.
first.close()
poll([second], seen, lambda: len(second.assignment()) == PARTITIONS)
second.commit(asynchronous=False)
second.close()
expect(sorted(seen) == numbers + more, "a record came twice, or not at all")
third, rest = member("third", [TOPIC]), []
last = range(len(seen), len(seen) + 30)
produce(last, PARTITIONS)
poll([third], rest, lambda: len(rest) >= 30)
expect(sorted(rest) == list(last), f"resumed at {min(rest)} instead of {len(seen)}")
committed = third.committed([TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)], timeout=10)
expect(sum(position.offset for position in committed) == len(seen), f"committed {committed}")
third.close()
print(f"{len(seen) + 30} records once each over three members and 4, then 6 partitions, rebalanced in {rebalance_s:.1f} s")
