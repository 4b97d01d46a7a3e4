"""Runs partition_key.py, feeds input_data and looks at what arrives in output_data."""

import json
import zlib

from application import Application
from clients import create_topic, expect, read_all

INPUTS = 50
PARTITIONS = 3

create_topic("input_data", 1)
create_topic("output_data", PARTITIONS)
with Application("partition_key.py") as application:
    first_after_s, early = application.first_answer("input_data", b'{"data": 0.0}', "output_data")
    for number in range(1, INPUTS + 1):
        application.feed("input_data", json.dumps({"data": float(number)}).encode())
    records = read_all("output_data", early + INPUTS)
    application.wait_for_line(f"output {INPUTS + 1.0}")

values = [json.loads(record.value())["data"] for record in records]
expect(values[-INPUTS:] == [number + 1.0 for number in range(1, INPUTS + 1)], f"unexpected output: {values}")
expect({record.key() for record in records} == {b"key"}, f"keys {({record.key() for record in records})}")
partitions = {record.partition() for record in records}
expect(partitions == {zlib.crc32(b"key") % PARTITIONS}, f"the key is in partitions {partitions}")
headers = dict(records[-1].headers())
expect(headers.get("content-type") == b"application/json", f"headers {headers}")
print(f"{len(records)} records, all with key 'key' in one of {PARTITIONS} partitions; first after {first_after_s:.1f} s")
