"""The Kafka producer's document row by row with confluent-kafka: the rows that librdkafka has.

| row of the document | test |
|---|---|
| acks 0, 1, all | acks |
| retries | retries |
| max.in.flight.requests.per.connection | max_in_flight |
| request.timeout.ms, and the time to give up | request_timeout |
| explicit partition | explicit_partition |
| Producer.partitionsFor: list_topics here | partitions_for |
| no key: at random here, over all partitions | without_key |
| key: Java's hash, the same partition for the same key | key_hash |
| neither duplicate nor reordering with the idempotent producer | idempotent |
| one request in flight: duplicates perhaps, no reordering | one_in_flight |
| batches | batching |
| compression | compression |
| the buffer fills up: produce fails at once here | buffer_full |
| the callback: order, offsets, errors | callback |
| close: flush here, or what is left is given up | close |

The serializers, max.block.ms and the future are the Java client's, and so is a partitioner of one's own.
"""

import json
import os
import pathlib
import socket
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "kafka"))

from clients import create_topic, expect, read_all
from confluent_kafka import KafkaError, KafkaException, Producer

PROXY = os.environ["PROXY"]
PARTITIONS = 3
LIMIT_S = 30
RECORDS_THROUGH_CUTS = 3_000

host, port = os.environ["CONTROL"].rsplit(":", 1)
control = socket.create_connection((host, int(port))).makefile("rw")


def order(line):
    control.write(line + "\n")
    control.flush()
    answer = control.readline().strip()
    expect(answer and not answer.startswith("error"), f"{line}: {answer}")
    return answer


def counts():
    return json.loads(order("counts"))


def producer(**settings):
    settings = {name.replace("_", "."): value for name, value in settings.items()}
    return Producer({"bootstrap.servers": PROXY, "log_level": 0, **settings})


class Reports:
    """What the callbacks were told."""

    def __init__(self):
        self.sent, self.errors = [], []

    def __call__(self, error, message):
        if error is None:
            self.sent.append(message)
        else:
            self.errors.append(error)


def flush(client, reason):
    left = client.flush(LIMIT_S)
    expect(left == 0, f"{reason}: {left} records are left after {LIMIT_S} s")


def send(client, topic, value, **where):
    """One record, and what its callback is told."""
    reports = Reports()
    client.produce(topic, value, on_delivery=reports, **where)
    flush(client, value)
    return reports


def acks(topic):
    for number in (0, 1, -1):
        client = producer(acks=number)
        counts()
        reports = send(client, topic, f"acks {number}", partition=0)
        expect(len(reports.sent) == 1, f"acks={number}: {reports.errors}")
        if number == 0:
            deadline = time.monotonic() + LIMIT_S
            while not (seen := counts())["requests"]:
                expect(time.monotonic() < deadline, "acks=0 sends nothing")
                time.sleep(0.01)
        else:
            seen = counts()
        expect(seen["acks"] == [number], f"acks={number} is sent as {seen['acks']}")
    values = [message.value() for message in read_all(topic, 3)]
    expect(values == [b"acks 0", b"acks 1", b"acks -1"], f"there is {values}")


def retries(topic):
    """The answer is lost: who may not try again fails, who may sends again."""
    for number in (0, 1000):
        client = producer(retries=number, acks=1, request_timeout_ms=1000, socket_timeout_ms=1000, message_timeout_ms=20000)
        client.list_topics(topic, timeout=LIMIT_S)
        order("drop")
        counts()
        reports = Reports()
        client.produce(topic, f"retries {number}", partition=0, on_delivery=reports)
        if number == 0:
            flush(client, "retries=0")
            expect(len(reports.errors) == 1, f"retries=0 without an answer: {reports.sent}")
            expect(counts()["requests"] == 1, "retries=0 has sent again")
        else:
            deadline = time.monotonic() + LIMIT_S
            while not counts()["requests"]:
                expect(time.monotonic() < deadline, "no request at all")
                client.poll(0.01)
            order("calm")
            flush(client, "retries=1000")
            expect(len(reports.sent) == 1, f"a retry failed: {reports.errors}")
        order("calm")
    values = [message.value() for message in read_all(topic, 3)]
    expect(values.count(b"retries 1000") == 2 and values.count(b"retries 0") == 1, f"there is {values}")


def max_in_flight(topic):
    for limit in (1, 5):
        client = producer(**{"max.in.flight.requests.per.connection": limit, "linger.ms": 0, "batch.num.messages": 1})
        client.list_topics(topic, timeout=LIMIT_S)
        counts()
        order("delay 30")
        for number in range(40):
            client.produce(topic, str(number), partition=0)
        flush(client, "in flight")
        order("calm")
        most = counts()["in_flight_max"]
        expect(most == limit, f"with a limit of {limit} there were {most} in flight")


def request_timeout(topic):
    client = producer(**{"request.timeout.ms": 500, "socket.timeout.ms": 1000, "message.timeout.ms": 3000, "enable.idempotence": True})
    client.list_topics(topic, timeout=LIMIT_S)
    order("drop")
    started = time.monotonic()
    reports = send(client, topic, "in vain", partition=0)
    took_s = time.monotonic() - started
    codes = [error.code() for error in reports.errors]
    expect(codes == [KafkaError._MSG_TIMED_OUT], f"without an answer: {reports.errors} {reports.sent}")
    expect(2 < took_s < 15, f"given up after {took_s:.1f} s")
    expect(counts()["requests"] >= 2, "it was not sent again within its time")
    order("calm")
    values = [message.value() for message in read_all(topic, 1)]
    expect(values == [b"in vain"], f"sent again and again, there is {values}")


def explicit_partition(topic):
    client = producer()
    for partition in range(PARTITIONS):
        # The key would say otherwise.
        reports = send(client, topic, f"to {partition}", key="key", partition=partition)
        expect(reports.sent[0].partition() == partition, f"in {reports.sent[0].partition()} instead of {partition}")
    for message in read_all(topic, PARTITIONS):
        expect(message.value().decode() == f"to {message.partition()}", f"{message.value()} in {message.partition()}")
    try:
        errors = send(client, topic, "nowhere", partition=99).errors
    except KafkaException as refused:
        # What it knows of the topic by now decides whether it says so at once.
        errors = refused.args
    expect(errors and errors[0].code() == KafkaError._UNKNOWN_PARTITION, f"partition 99: {errors}")


def partitions_for(topic):
    metadata = producer().list_topics(topic, timeout=LIMIT_S).topics[topic]
    expect(sorted(metadata.partitions) == [0, 1, 2], f"partitions {sorted(metadata.partitions)}")
    for partition in metadata.partitions.values():
        alike = [partition.leader] == partition.replicas == partition.isrs
        expect(partition.error is None and alike, f"{partition} has no leader")


def without_key(topic):
    reports = Reports()
    client = producer(**{"sticky.partitioning.linger.ms": 0})
    for number in range(300):
        client.produce(topic, str(number), on_delivery=reports)
    flush(client, "without a key")
    partitions = {message.partition() for message in reports.sent}
    expect(len(reports.sent) == 300 and partitions == {0, 1, 2}, f"without keys only {partitions}")


def key_hash(topic):
    vectors = {
        "21": -973932308,
        "foobar": -790332482,
        "a-little-bit-long-string": -985981536,
        "a-little-bit-longer-string": -1486304829,
        "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        "abc": 479470107,
    }
    client = producer(partitioner="murmur2_random")
    for key, hashed in vectors.items():
        for _ in range(2):
            partition = send(client, topic, "v", key=key).sent[0].partition()
            expect(partition == (hashed & 0x7FFFFFFF) % PARTITIONS, f"{key} is in {partition}")


def send_through_cuts(topic, **settings):
    patient = {"linger.ms": 1, "batch.size": 500, "reconnect.backoff.ms": 5, "reconnect.backoff.max.ms": 20}
    client = producer(**patient, **{"retry.backoff.ms": 5, "retry.backoff.max.ms": 20, "socket.timeout.ms": 2000}, **settings)
    client.list_topics(topic, timeout=LIMIT_S)
    counts()
    order("cut 8000")
    reports = Reports()
    for number in range(RECORDS_THROUGH_CUTS):
        client.produce(topic, str(number), key=f"key-{number % 50}", on_delivery=reports)
        client.poll(0)
    flush(client, "through cuts")
    order("calm")
    expect(not reports.errors, f"{len(reports.errors)} sends failed, first {reports.errors[:1]}")
    cuts = counts()["cuts"]
    expect(cuts >= 5, f"only {cuts} connections were cut")
    return cuts


def idempotent(topic):
    """Connections end in the midst of requests and answers; every record is there once, in its partition's order."""
    cuts = send_through_cuts(topic, **{"enable.idempotence": True})
    last, messages = {}, read_all(topic, RECORDS_THROUGH_CUTS + 1, limit_s=3)
    for message in messages:
        number, before = int(message.value()), last.get(message.partition(), -1)
        expect(number > before, f"in partition {message.partition()} {number} comes after {before}")
        last[message.partition()] = number
    expect(len(messages) == RECORDS_THROUGH_CUTS, f"{len(messages)} records of {RECORDS_THROUGH_CUTS}")
    print(f"{len(messages)} records through {cuts} cuts")


def one_in_flight(topic):
    """What was repeated may be there twice; nothing comes after what follows it."""
    send_through_cuts(topic, **{"enable.idempotence": False, "max.in.flight.requests.per.connection": 1, "retries": 10_000_000})
    seen = {partition: set() for partition in range(PARTITIONS)}
    for message in read_all(topic, 100 * RECORDS_THROUGH_CUTS, limit_s=3):
        number, before = int(message.value()), seen[message.partition()]
        # The first time that a number is seen, it is the highest so far.
        if number not in before:
            expect(not before or max(before) < number, f"{number} comes for the first time after {max(before, default=0)}")
            before.add(number)
    count = sum(map(len, seen.values()))
    expect(count == RECORDS_THROUGH_CUTS, f"{count} different records of {RECORDS_THROUGH_CUTS}")


def batching(topic):
    client = producer(**{"linger.ms": 300, "batch.size": 100_000})
    client.list_topics(topic, timeout=LIMIT_S)
    counts()
    for number in range(1000):
        client.produce(topic, str(number), partition=0)
    flush(client, "batches")
    together = counts()["requests"]
    expect(1 <= together <= 3, f"1000 records took {together} requests")
    client = producer(**{"linger.ms": 0})
    for number in range(20):
        send(client, topic, str(number), partition=1)
    alone = counts()["requests"]
    expect(alone == 20, f"20 records that waited for each other took {alone} requests")


def compression(topic):
    codecs, size = ["none", "gzip", "snappy", "lz4", "zstd"], {}
    for codec in codecs:
        client = producer(**{"compression.type": codec, "linger.ms": 200, "batch.size": 200_000})
        counts()
        for number in range(200):
            client.produce(topic, f"{codec} {number}" + " the same words " * 20, partition=0)
        flush(client, codec)
        size[codec] = counts()["bytes"]
    for codec in codecs[1:]:
        expect(size[codec] * 4 < size["none"], f"{codec} takes {size[codec]} of {size['none']} bytes")
    for place, message in enumerate(read_all(topic, 1000)):
        value = f"{codecs[place // 200]} {place % 200}" + " the same words " * 20
        expect(message.value().decode() == value, f"record {place} is {message.value()[:40]}")


def buffer_full(topic):
    client = producer(**{"queue.buffering.max.messages": 50, "linger.ms": 0})
    client.list_topics(topic, timeout=LIMIT_S)
    order("stall")
    taken = 0
    try:
        while taken < 1000:
            client.produce(topic, str(taken), partition=0)
            taken += 1
    except BufferError:
        pass
    expect(taken == 50, f"a queue of 50 took {taken}")
    order("calm")
    flush(client, "the queue")
    expect(len(send(client, topic, "last", partition=0).sent) == 1, "there is no room again")
    expect(len(read_all(topic, taken + 1)) == taken + 1, "what the queue took is not all there")


def callback(topic):
    reports = Reports()
    client = producer(**{"linger.ms": 5})
    for number in range(500):
        client.produce(topic, str(number), partition=0, on_delivery=reports)
    flush(client, "callbacks")
    offsets = [message.offset() for message in reports.sent]
    expect(offsets == list(range(500)), f"{len(offsets)} callbacks, errors {reports.errors[:1]}")
    try:
        client.produce(topic, "v" * 2_000_000)
        expect(False, "2 MB are taken")
    except KafkaException as refused:
        expect(refused.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE, f"{refused}")


def close(topic):
    patient = producer(**{"linger.ms": 20_000})
    for number in range(10):
        patient.produce(topic, f"kept {number}", partition=0)
    started = time.monotonic()
    flush(patient, "kept")
    expect(time.monotonic() - started < 10, "flush waited for linger.ms")
    expect(len(read_all(topic, 10)) == 10, "flush did not send what was left")
    hasty, reports = producer(**{"linger.ms": 20_000}), Reports()
    hasty.produce(topic, "given up", partition=0, on_delivery=reports)
    hasty.purge()
    flush(hasty, "given up")
    codes = [error.code() for error in reports.errors]
    expect(codes == [KafkaError._PURGE_QUEUE], f"what was given up: {reports.errors} {reports.sent}")


ROWS = [
    acks, retries, max_in_flight, request_timeout, explicit_partition, partitions_for, without_key, key_hash,
    idempotent, one_in_flight, batching, compression, buffer_full, callback, close,
]

for row in ROWS:
    topic = row.__name__
    create_topic(topic, PARTITIONS)
    order("calm")
    order("counts")
    started = time.monotonic()
    try:
        row(topic)
    except SystemExit as reason:
        sys.exit(f"{row.__name__} does not hold: {reason}")
    print(f"{row.__name__} holds, {time.monotonic() - started:.1f} s")
print(f"{len(ROWS)} rows hold")
