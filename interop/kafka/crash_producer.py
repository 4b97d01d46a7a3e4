"""crash_producer.py TOPIC NAME [plain]: produces numbered records of one key until its input closes, and prints
each one with its partition and offset once it is acknowledged. A plain producer is not idempotent and asks for acks=1. The broker may die at any time; the client retries as it does by default."""

import sys
import threading

from clients import KAFKA
from confluent_kafka import Producer

topic, name = sys.argv[1], sys.argv[2]
plain = sys.argv[3:] == ["plain"]
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()


def delivered(error, message):
    if error is None:
        sys.stdout.write(f"{message.value().decode()}\t{message.partition()}\t{message.offset()}\n")


producer = Producer(
    {
        "bootstrap.servers": KAFKA,
        "acks": 1 if plain else "all",
        "enable.idempotence": not plain,
        # One at a time, or a batch that is sent again comes behind its successor.
        "max.in.flight.requests.per.connection": 1 if plain else 5,
        "linger.ms": 1,
        "reconnect.backoff.max.ms": 200,
        "queue.buffering.max.messages": 500,
        "message.timeout.ms": 60_000,
    }
)
number = 0
while not stop.is_set():
    try:
        producer.produce(topic, key=name, value=f"{name}:{number}", on_delivery=delivered)
        number += 1
        producer.poll(0.001)
    except BufferError:
        producer.poll(0.05)
    sys.stdout.flush()
left = producer.flush(30)
sys.stdout.flush()
if left:
    sys.exit(f"{left} records were never acknowledged")
