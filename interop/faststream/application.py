"""A FastStream application in a process of its own, and the records that make it work."""

import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "kafka"))

from confluent_kafka import Producer  # noqa: E402

from clients import KAFKA, count_all, fail, read_all  # noqa: E402

START_LIMIT_S = 40
STOP_LIMIT_S = 20
# Outputs of earlier inputs follow within a few milliseconds; this long without one means that there are no more.
SETTLED_AFTER_S = 1.0


class Application:
    def __init__(self, program):
        self.producer = Producer({"bootstrap.servers": KAFKA})
        self.lines = []
        self.grown = threading.Condition()
        self.started = time.monotonic()
        path = os.path.join(os.path.dirname(__file__), program)
        self.process = subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.grown:
                self.lines.append(line.strip())
                self.grown.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.process.kill()
            return
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(STOP_LIMIT_S) != 0:
            fail(f"the application left with exit status {self.process.returncode}")

    def feed(self, topic, value):
        self.producer.produce(topic, value)
        self.producer.flush(10)

    def first_answer(self, source, value, sink, already=0):
        """Feeds `source` until `sink` has more than `already` records: subscribers begin at the newest record, so
        what comes before they have joined is not seen. Seconds since the start, and the records there are by then."""
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                fail(f"the application left with exit status {self.process.returncode}")
            self.feed(source, value)
            if len(read_all(sink, already + 1, limit_s=0.3)) > already:
                after_s = time.monotonic() - self.started
                return after_s, self._settled(sink)
        fail(f"nothing in {sink} {START_LIMIT_S} s after the start")

    def _settled(self, sink):
        """How many records there are once their number no longer grows."""
        count = -1
        while (now := count_all(sink)) != count:
            count = now
            time.sleep(SETTLED_AFTER_S)
        return count

    def wait_for_line(self, line):
        with self.grown:
            if not self.grown.wait_for(lambda: line in self.lines, timeout=START_LIMIT_S):
                fail(f"the application never printed {line!r}")
