"""Clients that log in by tokens, with librdkafka. TOKENS has them, one a file; the broker may take `good` alone."""

import os
import time
from pathlib import Path

from clients import count_all, create_topic, expect
from confluent_kafka import Producer

RUN_S = 6
LIMIT_S = 20

create_topic("tokens", 1)
tokens = {path.name: path.read_text() for path in Path(os.environ["TOKENS"]).iterdir()}
given = 0


def settings(token, refusals):
    def give(_):
        global given
        given += 1
        # Fresh ones keep coming: what the client is given is good for three seconds.
        return token, time.time() + 3

    return {
        "bootstrap.servers": os.environ["SASL_SSL"],
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": os.environ["CA"],
        "sasl.mechanisms": "OAUTHBEARER",
        "oauth_cb": give,
        "error_cb": lambda error: refusals.append(error.str()),
        "enable.idempotence": True,
        "message.timeout.ms": 10_000,
    }


def refused(name):
    refusals = []
    producer = Producer(settings(tokens[name], refusals))
    delivered = []
    producer.produce("tokens", value=b"refused", on_delivery=lambda error, _: delivered.append(error))
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end and not delivered:
        producer.poll(0.1)
        if any("invalid_token" in text for text in refusals):
            producer.purge()
            return
    expect(False, f"the token {name} is not refused: {delivered} {refusals}")


others = sorted(set(tokens) - {"good"})
for name in others:
    refused(name)
expect(count_all("tokens") == 0, "a refused client has written")

given = 0
errors, failed, sent = [], [], 0
producer = Producer(settings(tokens["good"], errors))
end = time.monotonic() + RUN_S
while time.monotonic() < end:
    producer.produce(
        "tokens", value=b"value", on_delivery=lambda error, _: failed.append(error) if error else None
    )
    sent += 1
    producer.poll(0.01)
expect(producer.flush(LIMIT_S) == 0, "records are left")
expect(not failed and not errors, f"{failed[:3]} {errors[:3]}")
expect(count_all("tokens") == sent, f"{count_all('tokens')} records of {sent}")
print(f"librdkafka: {sent} records by {given} tokens, {len(others)} tokens refused")
