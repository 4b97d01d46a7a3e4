"""Key-Shared workers that are told what to answer: one line of JSON for each delivery out, one for each answer in.

Arguments: topic, subscription, one name per worker. Ends when its input does.
"""

import asyncio
import json
import os
import sys

from danube import DanubeClientBuilder, SubType


def tell(**line):
    print(json.dumps(line), flush=True)


async def subscribe(topic, subscription, name):
    while True:
        try:
            client = await DanubeClientBuilder().service_url(os.environ["DANUBE"]).build()
            builder = client.new_consumer().with_topic(topic).with_consumer_name(name)
            builder = builder.with_subscription(subscription).with_subscription_type(SubType.KEY_SHARED)
            consumer = builder.build()
            await consumer.subscribe()
            return consumer, await consumer.receive()
        except Exception:
            # The broker is down just now.
            await asyncio.sleep(0.05)


async def forward(worker, queue, messages):
    while True:
        message = await queue.get()
        messages[message.request_id] = message
        tell(
            worker=worker,
            key=message.routing_key,
            text=message.payload.decode(),
            offset=message.msg_id.topic_offset,
            token=message.request_id,
        )


async def answer(consumer, message, delay_ms):
    try:
        if delay_ms is None:
            await consumer.ack(message)
        else:
            await consumer.nack(message, delay_ms=delay_ms, reason="the storm")
        tell(answered=message.request_id)
    except Exception:
        # The broker is down just now; the message comes again.
        pass


async def main():
    topic, subscription, *names = sys.argv[1:]
    consumers, tasks, messages = [], set(), {}
    for worker, name in enumerate(names):
        consumer, queue = await subscribe(topic, subscription, name)
        consumers.append(consumer)
        tasks.add(asyncio.create_task(forward(worker, queue, messages)))
    tell(subscribed=len(names))
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        told = json.loads(line)
        message = messages.pop(told["token"])
        task = asyncio.create_task(answer(consumers[told["worker"]], message, told["delay_ms"]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for consumer in consumers:
        await consumer.close()


asyncio.run(main())
