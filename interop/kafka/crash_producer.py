"""crash_producer.py TOPIC NAME: produces numbered records of one key until its input closes, and prints
each number once it is acknowledged. The broker may die at any time; the client retries as it does by default."""

import sys
import threading

from clients import KAFKA
from confluent_kafka import Producer

topic, name = sys.argv[1], sys.argv[2]
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()


def delivered(error, message):
    if error is None:
        sys.stdout.write(message.value().decode() + "\n")


producer = Producer(
    {
        "bootstrap.servers": KAFKA,
        "acks": "all",
        "enable.idempotence": True,
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
