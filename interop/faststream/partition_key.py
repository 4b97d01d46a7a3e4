"""The application of FastStream's page "Using a Partition Key": input_data in, output_data out under one key."""

import asyncio
import os

from faststream import Context, FastStream, Logger
from faststream.confluent import KafkaBroker
from pydantic import BaseModel, Field, NonNegativeFloat

broker = KafkaBroker(os.environ["KAFKA"])
app = FastStream(broker)


class Measurement(BaseModel):
    data: NonNegativeFloat = Field(..., description="What was measured")


output = broker.publisher("output_data")


@broker.subscriber("input_data")
async def raise_by_one(measurement: Measurement, logger: Logger, key=Context("message.raw_message.key")) -> None:
    logger.info("input %s", measurement)
    await output.publish(Measurement(data=measurement.data + 1.0), key=b"key")


@broker.subscriber("output_data")
async def report(measurement: Measurement) -> None:
    print(f"output {measurement.data}", flush=True)


if __name__ == "__main__":
    asyncio.run(app.run())
