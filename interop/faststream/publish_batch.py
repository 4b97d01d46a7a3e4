"""The application of FastStream's page "Publishing in Batches": by decorator, by direct call, from the broker."""

import asyncio
import os

from faststream import FastStream
from faststream.confluent import KafkaBroker
from pydantic import BaseModel, Field, NonNegativeFloat

broker = KafkaBroker(os.environ["KAFKA"])
app = FastStream(broker)


class Measurement(BaseModel):
    data: NonNegativeFloat = Field(..., description="What was measured")


pair = broker.publisher("output_data", batch=True)


@pair
@broker.subscriber("input_data_1")
async def by_decorator(measurement: Measurement) -> tuple[Measurement, Measurement]:
    return Measurement(data=measurement.data * 0.5), Measurement(data=measurement.data * 2.0)


@broker.subscriber("input_data_2")
async def by_direct_call(measurement: Measurement) -> None:
    await pair.publish(Measurement(data=measurement.data * 0.5), Measurement(data=measurement.data * 2.0))


@app.after_startup
async def from_the_broker() -> None:
    await broker.publish_batch("msg2", "msg2", topic="output_data")


if __name__ == "__main__":
    asyncio.run(app.run())
