"""Bytewax: ``stateful_map`` by agent, state in memory, saved to its SQLite recovery store every 10 s (``table``).

At its best: batches of 1,000, ``fetch.queue.backoff.ms`` of 5.
"""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main

from bench.peers.logic import Logic, Meter, encoded, options

given = options()
meter, logic = Meter(given["events"]), Logic()


class State:
    """An agent's state: lives in the logic; as bytes when Bytewax saves it, which takes a deep copy."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def __deepcopy__(self, memo: Any) -> bytes:
        return logic.state_of(self.key) or b""


def judge(state: State | None, message: Any) -> tuple[State, list[Any]]:
    outputs = logic.judge(message.key, message.value, message.timestamp[1])
    known = state or State(message.key)
    if meter.count():
        os._exit(0)
    return known, [KafkaSinkMessage(output.key.encode(), encoded(output)) for output in outputs]


flow = Dataflow("bench")
read = kop.input(
    "read", flow, brokers=[given["bootstrap"]], topics=[given["topic"]], batch_size=1000,
    add_config={"fetch.queue.backoff.ms": "5", "fetch.wait.max.ms": "10"},
)  # fmt: skip
keyed = op.key_on("key", read.oks, lambda message: message.key.decode())
judged = op.stateful_map("judge", keyed, judge)
found = op.flat_map("found", judged, lambda pair: pair[1])
kop.output("write", found, brokers=[given["bootstrap"]], topic=given["out"], add_config={"linger.ms": "5"})

if __name__ == "__main__":
    recovery = None
    if given["table"]:
        folder = Path(tempfile.mkdtemp(prefix="bench-bytewax-"))
        init_db_dir(folder, 1)
        recovery = RecoveryConfig(str(folder))
    cluster_main(flow, [], 0, epoch_interval=timedelta(seconds=10), recovery_config=recovery)
