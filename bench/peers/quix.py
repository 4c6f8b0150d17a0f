"""Quix Streams. ``state``: the agent's state as bytes in its RocksDB store with a changelog, written at each event.

At its best: ``fetch.queue.backoff.ms`` of 5 (its default of 1,000 stalls a fast reader), commits every 5 s.
"""

from __future__ import annotations

import base64
import os
import tempfile
from typing import Any

from quixstreams import Application

from bench.peers.logic import Logic, Meter, encoded, options

given = options()
meter, logic = Meter(given["events"]), Logic()

app = Application(
    broker_address=given["bootstrap"],
    consumer_group=given["group"],
    auto_offset_reset="earliest",
    state_dir=tempfile.mkdtemp(prefix="bench-quix-"),
    auto_create_topics=True,
    loglevel="ERROR",
    commit_interval=5.0,
    consumer_extra_config={"fetch.queue.backoff.ms": 5, "fetch.wait.max.ms": 10},
    producer_extra_config={"linger.ms": 5, "acks": "all"},
)
source = app.topic(given["topic"], key_deserializer="bytes", value_deserializer="bytes")
out = app.topic(given["out"], key_serializer="bytes", value_serializer="bytes")
producer = app.get_producer()


def _judge(key: bytes, value: bytes, timestamp: int) -> None:
    for output in logic.judge(key, value, timestamp):
        producer.produce(topic=out.name, key=output.key.encode(), value=encoded(output))


def _end() -> None:
    producer.flush()
    os._exit(0)


def with_state(value: bytes, key: Any, timestamp: int, headers: Any, state: Any) -> bytes:  # noqa: ARG001
    _judge(key, value, timestamp)
    if (known := logic.state_of(key)) is not None:
        state.set("s", base64.b64encode(known).decode())  # its state takes JSON values: bytes go as text
    if meter.count():
        _end()
    return value


def without_state(value: bytes, key: Any, timestamp: int, headers: Any) -> bytes:  # noqa: ARG001
    _judge(key, value, timestamp)
    if meter.count():
        _end()
    return value


frame = app.dataframe(source)
frame = (
    frame.apply(with_state, stateful=True, metadata=True)
    if given["table"]
    else frame.apply(without_state, metadata=True)
)
if __name__ == "__main__":
    app.run()
