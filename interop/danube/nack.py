"""Nack with delay and reason: the message comes again, not before its time, and its key waits for it."""

import asyncio
import time

from scene import Scene, expect

DELAY_MS = 1500


async def main():
    scene = await Scene.open("/default/nack")
    await scene.add_worker("worker_1", "orders_sub")
    await scene.warm_up(["warm"])
    await scene.send("payment", "first")
    refused = await scene.next()
    await scene.nack(refused, DELAY_MS, "card declined")
    refused_at = time.monotonic()
    await scene.send("payment", "second")
    for number in range(10):
        await scene.send("shipping", f"{number}")

    order, waited_ms = [], None
    for _ in range(12):
        delivery = await scene.next()
        order.append(delivery.text)
        if delivery.text == "first":
            waited_ms = 1000 * (time.monotonic() - refused_at)
        await scene.ack(delivery)
    expect(order[-2:] == ["first", "second"], f"came as {order}")
    expect(waited_ms >= DELAY_MS * 0.95, f"came again after {waited_ms:.0f} ms")
    await scene.close()
    print(f"again after {waited_ms:.0f} ms of {DELAY_MS}, its key waited, the other key did not")


asyncio.run(main())
