"""Certificates and passwords that change under load, with librdkafka: nobody who has the new ones loses anything.

NEXT is a key and certificate that takes the place of SERVER, the broker's own, while producers and a consumer run. Sessions
last for SESSION_MS, so all of them log in again several times."""

import json
import os
import socket
import ssl
import threading
import time

from clients import create_topic, expect
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

SASL_SSL, CA = os.environ["SASL_SSL"], os.environ["CA"]
SERVER, NEXT = os.environ["SERVER"], os.environ["NEXT"]
SESSION_S = int(os.environ["SESSION_MS"]) / 1000
TOPIC, PRODUCERS, LIMIT_S = "rotation", 2, 20

admin = AdminClient({"bootstrap.servers": os.environ["KAFKA"]})


def give_password(user, password):
    change = UserScramCredentialUpsertion(
        user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), password.encode()
    )
    [done.result(LIMIT_S) for done in admin.alter_user_scram_credentials([change]).values()]


def login(user, password, errors):
    return {
        "bootstrap.servers": SASL_SSL,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": CA,
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": password,
        "error_cb": lambda error: errors.append(error.str()),
    }


def serial():
    """The serial number of the certificate that a new connection sees."""
    host, port = SASL_SSL.rsplit(":", 1)
    context = ssl.create_default_context(cafile=CA)
    with socket.create_connection((host, int(port)), timeout=5) as bare:
        with context.wrap_socket(bare, server_hostname=host) as secured:
            return secured.getpeercert()["serialNumber"]


class Load(threading.Thread):
    """An idempotent producer that goes on until it is told to stop."""

    def __init__(self, password):
        super().__init__(daemon=True)
        self.errors, self.failed, self.sent, self.done = [], [], 0, 0
        self.stopping = threading.Event()
        self.connects = 0
        own = {"enable.idempotence": True, "stats_cb": self.stats, "statistics.interval.ms": 200}
        self.producer = Producer({**login("bob", password, self.errors), **own})

    def stats(self, text):
        brokers = json.loads(text)["brokers"].values()
        self.connects = sum(broker["connects"] for broker in brokers)

    def told(self, error, _):
        if error is None:
            self.done += 1
        else:
            self.failed.append(error.str())

    def run(self):
        while not self.stopping.is_set():
            self.producer.produce(TOPIC, value=b"x" * 100, on_delivery=self.told)
            self.sent += 1
            self.producer.poll(0.005)
        self.producer.flush(LIMIT_S)

    def settle(self):
        """Until something is delivered from now on."""
        before, end = self.done, time.monotonic() + LIMIT_S
        while self.done == before:
            expect(time.monotonic() < end, f"nothing is delivered: {self.errors[-3:]} {self.failed[-3:]}")
            time.sleep(0.02)


class Reader(threading.Thread):
    """A consumer that counts until it has as many as it is told."""

    def __init__(self):
        super().__init__(daemon=True)
        self.errors, self.count, self.wanted = [], 0, None
        own = {"group.id": "rotation", "auto.offset.reset": "earliest"}
        self.consumer = Consumer({**login("carol", "hers", self.errors), **own})

    def run(self):
        self.consumer.subscribe([TOPIC])
        while self.wanted is None or self.count < self.wanted:
            message = self.consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.count += 1
        self.consumer.close()


create_topic(TOPIC, 4)
give_password("bob", "old")
give_password("carol", "hers")
first = serial()
loads = [Load("old") for _ in range(PRODUCERS)]
reader = Reader()
for thread in [*loads, reader]:
    thread.start()
for load in loads:
    load.settle()
time.sleep(1)
connects = [load.connects for load in loads]
os.replace(NEXT, SERVER)
end = time.monotonic() + LIMIT_S
while (now := serial()) == first:
    expect(time.monotonic() < end, "new connections get the old certificate")
    time.sleep(0.1)
time.sleep(SESSION_S)
for load in loads:
    load.settle()
expect([load.connects for load in loads] == connects, "open connections did not stay")
expect(not any(load.errors or load.failed for load in loads), [load.errors for load in loads])
expect(not reader.errors, reader.errors)

# One who is never told of the new password: its session goes on, and ends when it has to log in again.
kept = Load("old")
kept.start()
kept.settle()
changed = time.monotonic()
give_password("bob", "new")
for load in loads:
    load.producer.set_sasl_credentials("bob", "new")
kept.settle()
expect(time.monotonic() - changed < SESSION_S / 2, "the session was too short to show anything")
expect(not kept.errors, f"an open connection ended with the old password: {kept.errors}")
while not any("uthentication" in text for text in kept.errors):
    expect(time.monotonic() - changed < 2 * SESSION_S + 5, "the old password still logs in")
    time.sleep(0.05)
refused_s = time.monotonic() - changed
kept.producer.purge()
kept.stopping.set()
time.sleep(SESSION_S)
for load in loads:
    load.settle()
    load.stopping.set()
for thread in [*loads, kept]:
    thread.join(LIMIT_S)
failed = [error for load in loads for error in load.failed]
expect(not failed, f"records were lost: {failed[:3]}")
expect(all(load.done == load.sent for load in loads), "records are left")
sent = sum(load.done for load in [*loads, kept])
reader.wanted = sent
reader.join(LIMIT_S)
expect(reader.count == sent and not reader.errors, f"{reader.count} of {sent} records were read: {reader.errors[:3]}")
print(
    f"{sent} records, none lost: a new certificate ({first[:6]} to {now[:6]}) without a new connection, "
    f"a new password without an error, the old one refused after {refused_s:.1f} s"
)
