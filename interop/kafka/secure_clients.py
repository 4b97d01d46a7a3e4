"""Clients that log in: confluent-kafka (librdkafka) and kafka-python, by PLAIN, SCRAM and a certificate."""

import os
import time

import kafka
import kafka.errors
from clients import create_topic, expect
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

SASL_SSL, SSL, CA = os.environ["SASL_SSL"], os.environ["SSL"], os.environ["CA"]
CLIENT, STRANGER = os.environ["CLIENT"], os.environ["STRANGER"]
PASSWORD = "bob=secret,"
LIMIT_S = 20

create_topic("secure", 1)
admin = AdminClient({"bootstrap.servers": os.environ["KAFKA"]})
for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
    change = UserScramCredentialUpsertion("bob", ScramCredentialInfo(mechanism, 4096), PASSWORD.encode())
    [done.result(LIMIT_S) for done in admin.alter_user_scram_credentials([change]).values()]

sent = 0


def librdkafka(own):
    """A record out and all back, with these settings; how it was refused, if it was."""
    global sent
    refusals = []
    shared = {"ssl.ca.location": CA, "error_cb": lambda error: refusals.append(error.str()), **own}
    producer = Producer({**shared, "message.timeout.ms": 6_000})
    delivered = []
    producer.produce("secure", key=b"key", value=b"value", on_delivery=lambda error, _: delivered.append(error))
    end = time.monotonic() + LIMIT_S
    while not delivered and time.monotonic() < end:
        producer.poll(0.2)
        if any("uthentication" in text or "handshake failed" in text for text in refusals):
            producer.purge()
            return refusals[0]
    expect(delivered, "neither delivered nor refused")
    if delivered[0] is not None:
        return " ".join(refusals) or str(delivered[0])
    sent += 1
    consumer = Consumer({**shared, "group.id": "secure-readers", "enable.auto.commit": False})
    consumer.assign([TopicPartition("secure", 0, 0)])
    found = 0
    while found < sent and time.monotonic() < end:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            expect(message.value() == b"value", f"read {message.value()}")
            found += 1
    consumer.close()
    expect(found == sent, f"{found} of {sent} records were read")
    return None


def login(mechanism, user, password, **more):
    return {
        "bootstrap.servers": SASL_SSL,
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": mechanism,
        "sasl.username": user,
        "sasl.password": password,
        **more,
    }


def certificate(path):
    own = {"ssl.certificate.location": path, "ssl.key.location": path} if path else {}
    return {"bootstrap.servers": SSL, "security.protocol": "SSL", **own}


for settings in (
    login("PLAIN", "USER", "PASSWORD"),
    login("SCRAM-SHA-256", "bob", PASSWORD),
    login("SCRAM-SHA-512", "bob", PASSWORD),
    certificate(CLIENT),
):
    refusal = librdkafka(settings)
    expect(refusal is None, f"librdkafka: {settings.get('sasl.mechanisms')} is refused: {refusal}")
for settings in (
    login("PLAIN", "USER", "WRONG"),
    login("SCRAM-SHA-512", "bob", "WRONG"),
    login("SCRAM-SHA-256", "NOBODY", "x"),
    certificate(STRANGER),
    certificate(None),
):
    expect(librdkafka(settings) is not None, f"librdkafka: {settings} is taken")


def kafka_python(mechanism, user, password):
    global sent
    producer = kafka.KafkaProducer(
        bootstrap_servers=SASL_SSL,
        security_protocol="SASL_SSL",
        ssl_cafile=CA,
        sasl_mechanism=mechanism,
        sasl_plain_username=user,
        sasl_plain_password=password,
        max_block_ms=6_000,
    )
    producer.send("secure", key=b"key", value=b"value").get(LIMIT_S)
    sent += 1
    producer.close()


kafka_python("PLAIN", "USER", "PASSWORD")
kafka_python("SCRAM-SHA-256", "bob", PASSWORD)
kafka_python("SCRAM-SHA-512", "bob", PASSWORD)
try:
    kafka_python("PLAIN", "USER", "WRONG")
    expect(False, "kafka-python: a wrong password is taken")
except kafka.errors.KafkaError:
    pass
print(f"librdkafka and kafka-python by PLAIN, SCRAM-SHA-256 and -512, a certificate: {sent} records; 6 logins refused")
