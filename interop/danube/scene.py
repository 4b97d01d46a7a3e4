"""A Key-Shared scene: one producer, several workers, and every delivery in one queue, acknowledged by the script."""

import asyncio
import os
import sys
from dataclasses import dataclass

from danube import DanubeClientBuilder, DispatchStrategy, SubType

LIMIT_S = 20
WARM_UP = b"warm-up"


def expect(condition, reason):
    if not condition:
        sys.exit(f"{reason}")


@dataclass
class Delivery:
    worker: str
    key: str | None
    text: str
    message: object


class Scene:
    def __init__(self, client, topic):
        self.client, self.topic = client, topic
        self.deliveries = asyncio.Queue()
        self.workers, self.tasks = {}, []

    @classmethod
    async def open(cls, topic):
        client = await DanubeClientBuilder().service_url(os.environ["DANUBE"]).build()
        scene = cls(client, topic)
        # The topic exists once a producer was created; workers see only what is sent after they have subscribed.
        scene.producer = await scene.new_producer("orders_producer")
        return scene

    async def new_producer(self, name):
        builder = self.client.new_producer().with_topic(self.topic).with_name(name)
        producer = builder.with_dispatch_strategy(DispatchStrategy.RELIABLE).build()
        await producer.create()
        return producer

    async def add_worker(self, name, subscription, filters=()):
        builder = self.client.new_consumer().with_topic(self.topic).with_consumer_name(name)
        builder = builder.with_subscription(subscription).with_subscription_type(SubType.KEY_SHARED)
        for pattern in filters:
            builder = builder.with_key_filter(pattern)
        worker = builder.build()
        await worker.subscribe()
        queue = await worker.receive()
        self.workers[name] = worker
        self.tasks.append(asyncio.create_task(self._forward(name, queue)))

    async def _forward(self, name, queue):
        while True:
            message = await queue.get()
            key = message.routing_key if message.HasField("routing_key") else None
            await self.deliveries.put(Delivery(name, key, message.payload.decode(), message))

    async def warm_up(self, keys):
        """Sends until every worker has received something: from then on who gets which key no longer changes."""
        waiting = set(self.workers)
        for number in range(1000):
            await self.producer.send_with_key(WARM_UP, None, keys[number % len(keys)])
            delivery = await self._next()
            waiting.discard(delivery.worker)
            await self.ack(delivery)
            if not waiting:
                return
        sys.exit(f"nothing for {waiting} after 1000 messages")

    async def send(self, key, text):
        await self.producer.send_with_key(text.encode(), None, key)

    async def _next(self):
        try:
            return await asyncio.wait_for(self.deliveries.get(), LIMIT_S)
        except asyncio.TimeoutError:
            sys.exit(f"nothing was delivered for {LIMIT_S} s")

    async def next(self):
        """The next delivery; what is left of the warm-up is acknowledged on the way."""
        while (delivery := await self._next()).message.payload == WARM_UP:
            await self.ack(delivery)
        return delivery

    async def ack(self, delivery):
        await self.workers[delivery.worker].ack(delivery.message)

    async def nack(self, delivery, delay_ms, reason):
        await self.workers[delivery.worker].nack(delivery.message, delay_ms=delay_ms, reason=reason)

    async def close(self):
        for task in self.tasks:
            task.cancel()
        for worker in self.workers.values():
            await worker.close()
        await self.producer.close()
