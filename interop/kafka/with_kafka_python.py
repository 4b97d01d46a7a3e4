"""kafka-python: keyed records out, back through a group, in order, and not again after the commit."""

from clients import KAFKA, create_topic, expect
from kafka import KafkaConsumer, KafkaProducer

create_topic("pure", 2)
producer = KafkaProducer(bootstrap_servers=KAFKA, acks="all", compression_type="gzip")
sends = [
    producer.send("pure", key=b"key-%d" % (number % 7), value=b"%d" % number, headers=[("h", b"x")])
    for number in range(200)
]
expect(all(send.get(20).offset >= 0 for send in sends), "not acknowledged")


def read(limit_ms):
    consumer = KafkaConsumer(
        "pure",
        bootstrap_servers=KAFKA,
        group_id="pure-readers",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=limit_ms,
    )
    found = []
    for record in consumer:
        found.append(record)
        if len(found) == 200:
            consumer.commit()
            break
    consumer.close()
    return found


records = read(20_000)
expect(sorted(int(record.value) for record in records) == list(range(200)), f"{len(records)} records")
for key in {record.key for record in records}:
    numbers = [int(record.value) for record in records if record.key == key]
    expect(numbers == sorted(numbers), f"{key} out of order")
expect(records[0].headers == [("h", b"x")], f"headers {records[0].headers}")
again = read(4_000)
expect(again == [], f"{len(again)} committed records came again")
producer.close()
print("200 keyed records through a group, none twice")
