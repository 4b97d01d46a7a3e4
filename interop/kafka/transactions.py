"""Transactions over two topics, by confluent-kafka and kafka-python: what was committed is there in both, nothing else is."""

import random
import sys

from clients import KAFKA, create_topic, expect, fail
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from kafka import KafkaProducer

TOPICS, TRANSACTIONS, RECORDS = ["debits", "credits"], 30, 20
LIMIT_S = 30


def confluent(number, committed):
    producer = Producer({"bootstrap.servers": KAFKA, "transactional.id": "confluent", "compression.type": "lz4"})
    producer.init_transactions(20)
    while number < TRANSACTIONS:
        producer.begin_transaction()
        for record in range(RECORDS):
            for topic in TOPICS:
                producer.produce(topic, key=str(record), value=f"{number}-{record}")
        if number in committed:
            producer.commit_transaction(20)
        else:
            producer.flush(20)
            producer.abort_transaction(20)
        number += 2


def python(number, committed):
    producer = KafkaProducer(bootstrap_servers=KAFKA, transactional_id="python")
    producer.init_transactions()
    while number < TRANSACTIONS:
        producer.begin_transaction()
        for record in range(RECORDS):
            for topic in TOPICS:
                producer.send(topic, key=b"%d" % record, value=b"%d-%d" % (number, record))
        producer.flush()
        if number in committed:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
        number += 2
    producer.close()


def move_on():
    """Reads, writes and commits the offsets in one transaction, by AddOffsetsToTxn; an aborted one leaves them alone."""
    config = {"bootstrap.servers": KAFKA, "group.id": "movers", "auto.offset.reset": "earliest"}
    consumer = Consumer({**config, "enable.auto.commit": False})
    consumer.assign([TopicPartition(TOPICS[0], 0, 0)])
    producer = Producer({"bootstrap.servers": KAFKA, "transactional.id": "movers"})
    producer.init_transactions(20)
    for offset, commit in [(5, True), (9, False)]:
        producer.begin_transaction()
        producer.produce(TOPICS[1], value="moved")
        offsets = [TopicPartition(TOPICS[0], 0, offset)]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 20)
        if commit:
            producer.commit_transaction(20)
        else:
            producer.abort_transaction(20)
        found = consumer.committed([TopicPartition(TOPICS[0], 0)], 20)[0].offset
        expect(found == 5, f"the group is at {found}")
    consumer.close()


def fenced():
    """The second producer of a transactional id takes over, and the first one's transaction is undone."""
    config = {"bootstrap.servers": KAFKA, "transactional.id": "twins"}
    first, second = Producer(config), Producer(config)
    first.init_transactions(20)
    first.begin_transaction()
    first.produce(TOPICS[0], value="undone")
    first.flush(20)
    second.init_transactions(20)
    try:
        first.commit_transaction(20)
    except KafkaException as error:
        expect(error.args[0].fatal(), f"refused with {error}")
    else:
        fail("a fenced producer has committed")


def read(topic, isolation, last):
    consumer = Consumer(
        {
            "bootstrap.servers": KAFKA,
            "group.id": f"{topic}-{isolation}",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": False,
            "isolation.level": isolation,
        }
    )
    consumer.subscribe([topic])
    values = []
    while not values or values[-1] != last:
        message = consumer.poll(LIMIT_S)
        expect(message is not None, f"{topic}: only {len(values)} records came {isolation}")
        expect(message.error() is None, message.error())
        values.append(message.value().decode())
    consumer.close()
    return values


for topic in TOPICS:
    create_topic(topic, 1)
committed = {number for number in range(TRANSACTIONS) if random.Random(int(sys.argv[1]) + number).random() < 0.6}
confluent(0, committed)
python(1, committed)
move_on()
fenced()
marker = Producer({"bootstrap.servers": KAFKA})
for topic in TOPICS:
    marker.produce(topic, value="last")
marker.flush(20)

wanted = {f"{number}-{record}" for number in committed for record in range(RECORDS)}
for topic in TOPICS:
    values = [value for value in read(topic, "read_committed", "last")[:-1] if value != "moved"]
    expect(sorted(values) == sorted(wanted), f"{topic}: {set(values) ^ wanted} is wrong, {len(values)} records")
    everything = read(topic, "read_uncommitted", "last")[:-1]
    expect(len(everything) >= TRANSACTIONS * RECORDS, f"{topic}: {len(everything)} records")
print(f"{len(committed)} of {TRANSACTIONS} transactions counted, in both topics, offsets with them, and a producer was fenced")
