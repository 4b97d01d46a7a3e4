"""Runs publish_batch.py, feeds both inputs and looks at what arrives in output_data."""

import json
from collections import Counter

from application import Application
from clients import create_topic, expect, read_all

INPUTS = 20

for topic in ("input_data_1", "input_data_2", "output_data"):
    create_topic(topic)
with Application("publish_batch.py") as application:
    # Two records come from the broker object itself, before any input.
    decorated_s, early = application.first_answer("input_data_1", b'{"data": 0.0}', "output_data", already=2)
    called_s, early = application.first_answer("input_data_2", b'{"data": 0.0}', "output_data", already=early)
    for number in range(1, INPUTS + 1):
        application.feed("input_data_1", json.dumps({"data": number * 4.0}).encode())
        application.feed("input_data_2", json.dumps({"data": number * 4.0 + 1000.0}).encode())
    records = read_all("output_data", early + 4 * INPUTS)

values = [record.value() for record in records]
expect(values[:2] == [b"msg2", b"msg2"], f"broker.publish_batch sent {values[:2]}")
found = Counter(json.loads(value)["data"] for value in values[2:])
del found[0.0]
wanted = Counter()
for number in range(1, INPUTS + 1):
    for data in (number * 4.0, number * 4.0 + 1000.0):
        wanted.update((data * 0.5, data * 2.0))
expect(found == wanted, f"missing {wanted - found}, too many {found - wanted}")
print(f"{len(records)} records by decorator, direct call and publish_batch; first after {decorated_s:.1f} s")
