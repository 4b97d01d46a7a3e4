"""aiokafka: an idempotent producer's keyed records, read by a group of two, each key in order."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from clients import KAFKA, create_topic, expect

RECORDS = 200


async def main():
    create_topic("asynchronous", 4)
    producer = AIOKafkaProducer(bootstrap_servers=KAFKA, enable_idempotence=True)
    await producer.start()
    await asyncio.gather(
        *[
            await producer.send("asynchronous", key=b"key-%d" % (number % 11), value=b"%d" % number)
            for number in range(RECORDS)
        ]
    )
    await producer.stop()

    members = [
        AIOKafkaConsumer(
            "asynchronous",
            bootstrap_servers=KAFKA,
            group_id="asynchronous-readers",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=500,
        )
        for _ in range(2)
    ]
    await asyncio.gather(*[member.start() for member in members])
    records, limit = [], asyncio.get_running_loop().time() + 30
    while len(records) < RECORDS and asyncio.get_running_loop().time() < limit:
        for member in members:
            for batch in (await member.getmany(timeout_ms=100)).values():
                records.extend(batch)
    shares = [len(member.assignment()) for member in members]
    await asyncio.gather(*[member.stop() for member in members])
    expect(sorted(int(record.value) for record in records) == list(range(RECORDS)), f"{len(records)} records")
    for key in {record.key for record in records}:
        numbers = [int(record.value) for record in records if record.key == key]
        expect(numbers == sorted(numbers), f"{key} out of order: {numbers}")
    print(f"{RECORDS} keyed records to a group with {shares[0]} and {shares[1]} partitions")


asyncio.run(main())
