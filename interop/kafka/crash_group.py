"""crash_group.py TOPIC GROUP: a member of a consumer group until its input closes. Prints "seen PARTITION OFFSET VALUE"
for every record and "committed PARTITION OFFSET" for every commit that was answered. The broker may die at any time."""

import sys
import threading
import time

from clients import KAFKA
from confluent_kafka import Consumer, KafkaException, TopicPartition

topic, group = sys.argv[1], sys.argv[2]
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()

consumer = Consumer(
    {
        "bootstrap.servers": KAFKA,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "reconnect.backoff.max.ms": 200,
        "fetch.wait.max.ms": 50,
        "session.timeout.ms": 6_000,
    }
)
reached = {}


def commit():
    """Commits what was seen; what is not answered is committed again with the next."""
    if not reached:
        return
    offsets = [TopicPartition(topic, partition, offset) for partition, offset in reached.items()]
    sys.stdout.flush()
    try:
        answered = consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException:
        return
    for one in answered:
        if one.error is None:
            sys.stdout.write(f"committed {one.partition} {one.offset}\n")
            reached.pop(one.partition, None)


def forget(_, partitions):
    """What another member has now is not ours to commit."""
    for one in partitions:
        reached.pop(one.partition, None)


consumer.subscribe([topic], on_revoke=lambda *args: (commit(), forget(*args)), on_lost=forget)
committed_at = time.monotonic()
while not stop.is_set():
    for message in consumer.consume(500, timeout=0.05):
        if message.error() is None:
            sys.stdout.write(f"seen {message.partition()} {message.offset()} {message.value().decode()}\n")
            reached[message.partition()] = message.offset() + 1
    if time.monotonic() - committed_at > 0.1:
        commit()
        committed_at = time.monotonic()
    sys.stdout.flush()
commit()
sys.stdout.flush()
consumer.close()
