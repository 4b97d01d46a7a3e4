"""Every codec of librdkafka there and back, in one topic, read by one consumer."""

import hashlib

from clients import KAFKA, create_topic, expect, read_all
from confluent_kafka import Producer

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
PER_CODEC = 500

create_topic("compressed", 2)
wanted = {}
for codec in CODECS:
    # A linger makes batches of many records, which is what a codec is for.
    producer = Producer({"bootstrap.servers": KAFKA, "compression.type": codec, "linger.ms": 50})
    for number in range(PER_CODEC):
        key = f"{codec}-{number}"
        wanted[key] = hashlib.sha256(key.encode()).hexdigest() * (1 + number % 40)
        producer.produce("compressed", key=key, value=wanted[key])
    expect(producer.flush(30) == 0, f"{codec}: not acknowledged")

found = {record.key().decode(): record.value().decode() for record in read_all("compressed", len(wanted))}
expect(found == wanted, f"{sum(found.get(key) != value for key, value in wanted.items())} records differ")
print(f"{len(found)} records in {', '.join(CODECS)}")
