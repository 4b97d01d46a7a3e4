"""crash_transactions.py TOPIC PARTITIONS ID NAME: transactions of numbered records over all partitions until its input closes.
Prints "begin NUMBER RECORDS WANTED" before it sends anything, WANTED being commit, abort or abandon, and "end NUMBER OUTCOME"
once that is decided: committed, aborted, or unknown if the client does not know. The broker may die at any time."""

import random
import sys
import threading
import time

from clients import KAFKA
from confluent_kafka import KafkaException, Producer

topic, partitions, transactional_id, name = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
chance = random.Random(name)
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
CALL_S, PAUSE_S = 5, 0.005


def say(*words):
    print(*words, flush=True)


def persist(call):
    """Calls until it is answered; what is no matter of patience is raised."""
    while True:
        try:
            return call(CALL_S)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise


def started():
    """A producer that has undone what its predecessor left open."""
    while True:
        producer = Producer(
            {
                "bootstrap.servers": KAFKA,
                "transactional.id": transactional_id,
                "linger.ms": 1,
                "reconnect.backoff.max.ms": 200,
                "batch.num.messages": 3,
            }
        )
        try:
            persist(producer.init_transactions)
            return producer
        except KafkaException as error:
            say("#", "init_transactions", error)


def end(producer, wanted):
    """The outcome, and whether the producer can go on."""
    try:
        if wanted == "commit":
            persist(producer.commit_transaction)
            return "committed", True
        persist(producer.abort_transaction)
        return "aborted", True
    except KafkaException as error:
        say("#", wanted, error)
        if error.args[0].txn_requires_abort():
            outcome, goes_on = end(producer, "abort")
            return outcome, goes_on
        return "unknown", False


producer = started()
number = 0
while not stop.is_set():
    records = chance.randint(1, 12)
    wanted = chance.choices(["commit", "abort", "abandon"], [70, 25, 5])[0]
    say("begin", number, records, wanted)
    try:
        producer.begin_transaction()
        for record in range(records):
            producer.produce(topic, partition=record % partitions, value=f"{name}:{number}:{record}")
        if wanted != "commit" and chance.random() < 0.7:
            # Or what is undone may never have been sent.
            producer.flush(CALL_S)
        if wanted == "abandon":
            outcome, goes_on = "unknown", False
        else:
            outcome, goes_on = end(producer, wanted)
    except KafkaException as error:
        say("#", "begin or produce", error)
        outcome, goes_on = end(producer, "abort") if error.args[0].txn_requires_abort() else ("unknown", False)
    say("end", number, outcome)
    if not goes_on:
        # The one before is kept alive meanwhile: it is fenced, not gone.
        producer = started()
    number += 1
    time.sleep(PAUSE_S)
