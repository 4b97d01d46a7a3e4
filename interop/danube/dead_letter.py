"""A message that fails three times becomes a dead letter with its key, its attributes and its origin; its key goes on."""

import asyncio
import json
import os
import urllib.request

from scene import Scene, expect

POLICY = {
    "max_redelivery_count": 2,
    "base_redelivery_delay_ms": 50,
    "backoff_strategy": "fixed",
    "poison_policy": "dead_letter",
    "dead_letter_topic": "orders-dlq",
    "flood_brake": False,
}


def set_policy():
    url = f"http://{os.environ['HTTP']}/api/v1/topics/orders/subscriptions/orders_sub/policy"
    request = urllib.request.Request(url, json.dumps(POLICY).encode(), method="PATCH")
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request, timeout=10).read()


async def main():
    undertaker = await Scene.open("/default/orders-dlq")
    await undertaker.add_worker("undertaker", "dlq_sub")
    scene = await Scene.open("/default/orders")
    await scene.add_worker("worker_1", "orders_sub")
    await scene.warm_up(["warm"])
    set_policy()
    await scene.producer.send_with_key(b"poisoned", {"trace": "t-1"}, "payment")
    await scene.send("payment", "next")
    for attempt in range(3):
        delivery = await scene.next()
        expect(delivery.text == "poisoned", f"{delivery.text} came as attempt {attempt + 1}")
        await scene.nack(delivery, 0, "card declined")
    delivery = await scene.next()
    expect(delivery.text == "next", f"{delivery.text} came after the dead letter")
    await scene.ack(delivery)
    letter = await undertaker.next()
    expect((letter.text, letter.key) == ("poisoned", "payment"), f"the dead letter is {letter}")
    attributes = dict(letter.message.attributes)
    wanted = {"trace": "t-1", "x-delivery-attempt": "3", "x-failure-reason": "card declined"}
    for name, value in wanted.items():
        expect(attributes.get(name) == value, f"{name} is {attributes.get(name)!r}; all: {attributes}")
    await undertaker.ack(letter)
    await scene.close()
    await undertaker.close()
    print("3 deliveries, then a dead letter with key, attributes and reason; its key went on")


asyncio.run(main())
