"""produce_keyed.py TOPIC KEYS PER_KEY: values KEY:0, KEY:1 .. in turn over the keys, acks=all, with a header."""

import sys

from clients import KAFKA, expect
from confluent_kafka import Producer

topic, keys, per_key = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
problems = []
producer = Producer({"bootstrap.servers": KAFKA, "acks": "all"})
for number in range(per_key):
    for key in range(keys):
        producer.produce(
            topic,
            key=f"key-{key}",
            value=f"key-{key}:{number}",
            headers={"number": str(number)},
            on_delivery=lambda error, _message: problems.append(error) if error else None,
        )
        producer.poll(0)
left = producer.flush(30)
expect(left == 0 and not problems, f"{left} unanswered, errors: {problems[:3]}")
print(f"{keys * per_key} records of {keys} keys acknowledged")
