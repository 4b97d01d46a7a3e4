"""Over TLS with a token: who has none, or a wrong one, is refused, and who has one sends and receives."""

import asyncio
import os
import sys

import grpc
from danube import DanubeClientBuilder, DispatchStrategy, SubType

TOPIC, MESSAGES, LIMIT_S = "/default/tls-token-python", 50, 15


async def client(token, ca):
    builder = DanubeClientBuilder().service_url(os.environ["SECURE_DANUBE"]).with_tls(ca)
    return await (builder.with_token(token) if token else builder).build()


async def producer(token, ca):
    builder = (await client(token, ca)).new_producer().with_topic(TOPIC).with_name("p")
    made = builder.with_dispatch_strategy(DispatchStrategy.RELIABLE).build()
    await made.create()
    return made


def status(error):
    """The gRPC status behind an error of the client."""
    while error is not None:
        if isinstance(error, grpc.aio.AioRpcError):
            return error.code()
        error = error.__cause__ or error.__context__ or getattr(error, "status", None)
    return None


async def refused(token):
    try:
        await asyncio.wait_for(producer(token, os.environ["CA"]), LIMIT_S)
    except Exception as error:
        if "UNAUTHENTICATED" in f"{status(error)} {error!r}":
            return
        sys.exit(f"{token!r} is refused by {error!r}")
    sys.exit(f"{token!r} is let in")


async def main():
    for token in ("", "alice:wrong", "mallory:PASSWORD", "PASSWORD"):
        await refused(token)
    sender = await producer(os.environ["TOKEN"], os.environ["CA"])
    receiver = await client(os.environ["TOKEN"], os.environ["CA"])
    builder = receiver.new_consumer().with_topic(TOPIC).with_consumer_name("c").with_subscription("s")
    consumer = builder.with_subscription_type(SubType.KEY_SHARED).build()
    await consumer.subscribe()
    messages = await consumer.receive()
    for number in range(MESSAGES):
        await sender.send_with_key(f"{number}".encode(), None, "key")
    for number in range(MESSAGES):
        message = await asyncio.wait_for(messages.get(), LIMIT_S)
        if message.payload != f"{number}".encode():
            sys.exit(f"{message.payload} came instead of {number}")
        await consumer.ack(message)
    await consumer.close()
    await sender.close()
    print(f"{MESSAGES} messages over TLS, 4 wrong tokens refused")


asyncio.run(main())
