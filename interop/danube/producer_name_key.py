"""send() without a key: the producer's name is the key, so each producer's messages stay together and in order."""

import asyncio

from scene import Scene, expect

PRODUCERS, PER_PRODUCER = 8, 5


async def main():
    scene = await Scene.open("/default/unkeyed")
    for name in ("worker_1", "worker_2"):
        await scene.add_worker(name, "orders_sub")
    await scene.warm_up([f"warm-{number}" for number in range(20)])
    producers = [await scene.new_producer(f"producer-{number}") for number in range(PRODUCERS)]
    for number in range(PER_PRODUCER):
        for producer in producers:
            await producer.send(f"{number}".encode())

    owner, seen, held = {}, {}, {}
    for _ in range(PRODUCERS * PER_PRODUCER):
        # A worker gets one message of each producer at a time, whatever it holds of the others.
        delivery = await scene.next()
        name = delivery.message.producer_name
        expect(delivery.key is None, f"a message sent without a key has key {delivery.key!r}")
        expect(owner.setdefault(name, delivery.worker) == delivery.worker, f"{name} went to two workers")
        seen.setdefault(name, []).append(int(delivery.text))
        expect(name not in held, f"{name}: two in flight")
        held[name] = delivery
        if len(held) == PRODUCERS:
            for one in held.values():
                await scene.ack(one)
            held = {}
    for name, numbers in seen.items():
        expect(numbers == list(range(PER_PRODUCER)), f"{name} came as {numbers}")
    for producer in producers:
        await producer.close()
    await scene.close()
    print(f"{PRODUCERS} producers without keys, each at one worker, one in flight, in order")


asyncio.run(main())
