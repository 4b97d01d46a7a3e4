"""read_json.py TOPIC [COUNT]: the first COUNT records of a topic, or all of them, one JSON object per line."""

import json
import sys

from clients import count_all, expect, read_all

topic = sys.argv[1]
count = int(sys.argv[2]) if len(sys.argv) > 2 else count_all(topic)
records = read_all(topic, count)
for record in records:
    print(
        json.dumps(
            {
                "partition": record.partition(),
                "offset": record.offset(),
                "timestamp_ms": record.timestamp()[1],
                "key": None if record.key() is None else record.key().decode(),
                "value": record.value().decode(),
                "headers": {name: value.decode() for name, value in record.headers() or []},
            }
        )
    )
expect(len(records) == count, f"only {len(records)} of {count} records")
