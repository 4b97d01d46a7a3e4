"""Key filters: exact names, `*`, `?`; what matches nobody is skipped by this subscription and by no other."""

import asyncio

from scene import Scene, expect

WANTED = {
    "payments_worker": ["payment", "invoice"],
    "logistics_worker": ["shipping", "shipment", "return", "eu-west-1"],
}
UNMATCHED = ["refund", "pay", "payments", "eu-west-10"]


async def main():
    scene = await Scene.open("/default/filters")
    await scene.add_worker("payments_worker", "orders_filtered", ["payment", "invoice"])
    await scene.add_worker("logistics_worker", "orders_filtered", ["ship*", "return", "eu-west-?"])
    await scene.warm_up(["payment", "shipping"])
    await scene.add_worker("auditor", "orders_audit")

    sent = []
    for number in range(3):
        for key in UNMATCHED + WANTED["payments_worker"] + WANTED["logistics_worker"]:
            await scene.send(key, f"{number}")
            sent.append((key, f"{number}"))
    filtered = 3 * sum(len(keys) for keys in WANTED.values())
    audited = []
    for _ in range(filtered + len(sent)):
        delivery = await scene.next()
        if delivery.worker == "auditor":
            audited.append((delivery.key, delivery.text))
        else:
            expect(delivery.key in WANTED[delivery.worker], f"{delivery.key} went to {delivery.worker}")
        await scene.ack(delivery)
    expect(sorted(audited) == sorted(sent), "the subscription without filters has not seen everything")
    await scene.close()
    print(f"{filtered} messages by filter, {len(sent) - filtered} skipped there and seen by another subscription")


asyncio.run(main())
