"""One in flight per key: a held message holds its key and nothing else."""

import asyncio

from scene import Scene, expect

OTHERS = 60


async def main():
    scene = await Scene.open("/default/one-in-flight")
    await scene.add_worker("worker_1", "orders_sub")
    await scene.warm_up(["warm"])
    for number in range(3):
        await scene.send("slow", f"slow-{number}")
    for number in range(OTHERS):
        await scene.send(f"order-{number % 20}", f"{number}")

    held, others = None, 0
    while held is None or others < OTHERS:
        delivery = await scene.next()
        if delivery.key == "slow":
            expect(held is None, f"{delivery.text} came while {held and held.text} was not acknowledged")
            held = delivery
        else:
            others += 1
            await scene.ack(delivery)
    for number in range(3):
        expect(held.text == f"slow-{number}", f"expected slow-{number}, got {held.text}")
        await scene.ack(held)
        if number < 2:
            held = await scene.next()
    await scene.close()
    print(f"{OTHERS} messages of other keys passed a held one")


asyncio.run(main())
