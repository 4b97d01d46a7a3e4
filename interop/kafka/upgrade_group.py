"""A running group goes from the classic to the consumer protocol, member by member, and back, while records come."""

import time

from clients import KAFKA, create_topic, expect, fail
from confluent_kafka import Consumer, ConsumerGroupType, Producer
from confluent_kafka.admin import AdminClient

TOPIC, PARTITIONS, GROUP = "moving", 4, "movers"
LIMIT_S = 60
admin = AdminClient({"bootstrap.servers": KAFKA})


def member(name, protocol):
    settings = {
        "bootstrap.servers": KAFKA,
        "group.id": GROUP,
        "client.id": name,
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    if protocol == "classic":
        settings |= {"heartbeat.interval.ms": 500, "partition.assignment.strategy": "cooperative-sticky"}
    consumer = Consumer(settings)
    consumer.subscribe([TOPIC], on_revoke=commit)
    return consumer


def commit(consumer, partitions):
    positions = [position for position in consumer.position(partitions) if position.offset >= 0]
    if positions:
        consumer.commit(offsets=positions, asynchronous=False)


def kind():
    groups = admin.list_consumer_groups().result().valid
    return next((group.type for group in groups if group.group_id == GROUP), None)


def run(consumers, until):
    """Produces and consumes until the members share all partitions evenly, and everything has come."""
    deadline = time.monotonic() + LIMIT_S
    producer = Producer({"bootstrap.servers": KAFKA})
    while True:
        done = until() and [len(c.assignment()) for c in consumers] == [PARTITIONS // len(consumers)] * len(consumers)
        if not done:
            for _ in range(20):
                producer.produce(TOPIC, value=str(len(sent)), partition=len(sent) % PARTITIONS)
                sent.append(len(sent))
            producer.flush(20)
        elif len(seen) >= len(sent):
            return
        if time.monotonic() > deadline:
            fail(f"{kind()}: {[len(c.assignment()) for c in consumers]} partitions, {len(seen)} of {len(sent)} records")
        for consumer in consumers:
            for message in consumer.consume(100, timeout=0.05):
                expect(message.error() is None, message.error())
                seen.append(int(message.value()))


create_topic(TOPIC, PARTITIONS)
sent, seen = [], []
old = [member("old-1", "classic"), member("old-2", "classic")]
run(old, lambda: kind() == ConsumerGroupType.CLASSIC)

# One new member turns the group; the old ones leave, one after the other.
new = [member("new-1", "consumer")]
old.pop().close()
run([*old, *new], lambda: kind() == ConsumerGroupType.CONSUMER)
old.pop().close()
new.append(member("new-2", "consumer"))
run(new, lambda: kind() == ConsumerGroupType.CONSUMER)

# And back.
old.append(member("old-3", "classic"))
new.pop().close()
run([*old, *new], lambda: kind() == ConsumerGroupType.CONSUMER)
new.pop().close()
run(old, lambda: kind() == ConsumerGroupType.CLASSIC)
for consumer in old:
    consumer.commit(asynchronous=False)
    consumer.close()
expect(sorted(seen) == sent, f"{len(seen)} records of {len(sent)}, {len(set(seen))} different ones")
print(f"{len(sent)} records once each from classic to consumer and back")
