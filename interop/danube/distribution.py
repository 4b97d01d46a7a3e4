"""Automatic key distribution: three workers, each key at one of them, in order."""

import asyncio

from scene import Scene, expect

KEYS, PER_KEY = 40, 5


async def main():
    scene = await Scene.open("/default/distribution")
    for name in ("worker_1", "worker_2", "worker_3"):
        await scene.add_worker(name, "orders_sub")
    keys = [f"order-{number}" for number in range(KEYS)]
    await scene.warm_up(keys)
    for number in range(PER_KEY):
        for key in keys:
            await scene.send(key, f"{number}")

    owner, seen = {}, {key: [] for key in keys}
    for _ in range(KEYS * PER_KEY):
        delivery = await scene.next()
        expect(
            owner.setdefault(delivery.key, delivery.worker) == delivery.worker,
            f"{delivery.key} went to {owner[delivery.key]} and {delivery.worker}",
        )
        seen[delivery.key].append(int(delivery.text))
        await scene.ack(delivery)
    for key, numbers in seen.items():
        expect(numbers == list(range(PER_KEY)), f"{key} came as {numbers}")
    shares = sorted(list(owner.values()).count(name) for name in scene.workers)
    expect(shares[0] > 0, f"keys per worker: {shares}")
    await scene.close()
    print(f"{KEYS * PER_KEY} messages, {KEYS} keys over three workers as {shares}")


asyncio.run(main())
