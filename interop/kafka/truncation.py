"""truncation.py TOPIC: two consumers read to the end of a log whose end is then lost in a power cut, and go on.

Prints "early" once the first records are there and "read" once the consumers are past what will be left; waits for a
line of input each time. The records that follow take the log beyond the consumers' positions, so that nothing but its
epochs tells them that what lies before these is not what they read."""

import sys
import time

from clients import KAFKA, create_topic, expect, fail
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

TOPIC = sys.argv[1]
KEPT, LOST, NEW = 50, 50, 120
LIMIT_S = 40


def produce(word, count):
    producer = Producer({"bootstrap.servers": KAFKA, "reconnect.backoff.max.ms": 200})
    for number in range(count):
        producer.produce(TOPIC, value=f"{word}-{number}", partition=0)
    expect(producer.flush(20) == 0, "not acknowledged")


def consumer(reset):
    settings = {
        "bootstrap.servers": KAFKA,
        "group.id": f"reset-{reset}",
        "auto.offset.reset": reset,
        "enable.auto.commit": False,
        "reconnect.backoff.max.ms": 200,
        "fetch.wait.max.ms": 50,
    }
    created = Consumer(settings)
    created.assign([TopicPartition(TOPIC, 0, 0)])
    return created


def read(consumer, until):
    """Values by offset, and the first error that is the topic's and not the network's."""
    values, deadline = [], time.monotonic() + LIMIT_S
    while not until(values):
        if time.monotonic() > deadline:
            fail(f"after {LIMIT_S} s: {len(values)} records, the last {values[-1:]}")
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error() is None:
            values.append((message.offset(), message.value().decode()))
        elif message.error().code() not in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
            return values, message.error()
    return values, None


def turn(word):
    print(word, flush=True)
    expect(sys.stdin.readline(), "nobody is there any more")


create_topic(TOPIC)
produce("kept", KEPT)
turn("early")
produce("lost", LOST)
told, resetting = consumer("error"), consumer("earliest")
for each in (told, resetting):
    values, error = read(each, lambda values: len(values) == KEPT + LOST)
    expect(error is None, error)
turn("read")
produce("new", NEW)

last = (KEPT + NEW - 1, f"new-{NEW - 1}")
values, error = read(told, lambda values: last in values)
expect(error is not None, f"went on at {values[:1]} as if nothing had happened")
# librdkafka wraps the reason: there is no offset to go back to by itself.
expect(error.code() == KafkaError._AUTO_OFFSET_RESET and "truncation detected" in error.str(), error)
expect(values == [], f"got {values[:1]} before it was told")

values, error = read(resetting, lambda values: last in values)
expect(error is None, error)
new = [value for _, value in values if value.startswith("new")]
expect(new == [f"new-{number}" for number in range(NEW)], f"missed some: {new[:1]} first")
for each in (told, resetting):
    each.close()
print(f"{LOST} records lost after they were read: one consumer was told, one got all {NEW} that followed")
