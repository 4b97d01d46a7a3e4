"""A consumer group of two: all partitions, a rebalance, committed offsets, and a third consumer that resumes there."""

import time

from clients import KAFKA, create_topic, expect, fail
from confluent_kafka import Consumer, Producer, TopicPartition

TOPIC, PARTITIONS, GROUP = "grouped", 4, "workers"
LIMIT_S = 30


def member(name):
    consumer = Consumer(
        {
            "bootstrap.servers": KAFKA,
            "group.id": GROUP,
            "client.id": name,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "heartbeat.interval.ms": 500,
        }
    )
    consumer.subscribe([TOPIC])
    return consumer


def produce(first, last):
    producer = Producer({"bootstrap.servers": KAFKA})
    for number in range(first, last):
        producer.produce(TOPIC, value=str(number), partition=number % PARTITIONS)
    expect(producer.flush(20) == 0, "not acknowledged")


def poll(consumers, into, until):
    deadline = time.monotonic() + LIMIT_S
    while not until():
        if time.monotonic() > deadline:
            fail(f"after {LIMIT_S} s: {[len(c.assignment()) for c in consumers]} partitions, {len(into)} records")
        for consumer in consumers:
            for message in consumer.consume(100, timeout=0.05):
                expect(message.error() is None, message.error())
                into.append((message.partition(), int(message.value())))


def in_order(records):
    for partition in range(PARTITIONS):
        numbers = [number for where, number in records if where == partition]
        expect(numbers == sorted(numbers), f"partition {partition} out of order: {numbers}")


create_topic(TOPIC, PARTITIONS)
produce(0, 100)
first, seen = member("first"), []
poll([first], seen, lambda: len(seen) == 100)
expect(len(first.assignment()) == PARTITIONS, f"the only member has {first.assignment()}")
first.commit(asynchronous=False)
in_order(seen)

second, again = member("second"), []
started = time.monotonic()
poll([first, second], again, lambda: len(first.assignment()) == 2 and len(second.assignment()) == 2)
rebalance_s = time.monotonic() - started
shared = {p.partition for p in first.assignment()} | {p.partition for p in second.assignment()}
expect(shared == set(range(PARTITIONS)), f"partitions {shared}")
expect(again == [], f"committed records came again: {again[:5]}")
produce(100, 200)
poll([first, second], again, lambda: len(again) == 100)
in_order(again)
expect(sorted(number for _, number in again) == list(range(100, 200)), "not the second hundred")
for consumer in (first, second):
    consumer.commit(asynchronous=False)
    consumer.close()

produce(200, 250)
third, rest = member("third"), []
poll([third], rest, lambda: len(rest) >= 50)
expect(sorted(number for _, number in rest) == list(range(200, 250)), f"resumed at {min(rest)[1]}")
third.commit(asynchronous=False)
committed = third.committed([TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)], timeout=10)
expect(sum(position.offset for position in committed) == 250, f"committed {committed}")
third.close()
print(f"250 records over two members and a successor, rebalanced in {rebalance_s:.1f} s")
