"""What every peer runs on each record: Tripline's own decoding and detectors, so that only the runtime differs."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import msgspec

from governance.settings import parse_settings
from streams.engine import topology
from streams.kafka.partition import partition_of
from streams.kafka.worker.decoding import Decoder
from streams.records import Output
from streams.routing import ACTIONS

PARTITIONS = 8
TOPICS = {"agent.actions": "id-1", "crm.events": "id-2", "portfolio": "id-3"}


TICK_KEY = b"tick/"
"""A tick's key names its partition: it moves the clock of that one alone."""


class Logic:
    """Decodes a record and judges it; the state of an agent can be taken out as bytes, as a table needs it.

    Each partition has a clock of its own, so each has its stage.
    """

    def __init__(self) -> None:
        self._stages: list[Any] = [
            topology(parse_settings(), "bench", TOPICS, index).agents for index in range(PARTITIONS)
        ]
        self._of_key: dict[bytes, Any] = {}
        self._decoder = Decoder(ACTIONS)
        self._offset = 0

    def _stage(self, key: bytes) -> Any:
        found = self._of_key.get(key)
        if found is None:
            is_tick = key.startswith(TICK_KEY)
            index = int(key[len(TICK_KEY) :]) if is_tick else partition_of(key.decode(), PARTITIONS)
            found = self._of_key[key] = self._stages[index]
        return found

    def judge(self, key: bytes, raw: bytes, at_ms: int) -> list[Output]:
        """What is said to a record."""
        (event,) = self._decoder.read([raw])
        self._offset += 1
        outputs: list[Output] = self._stage(key).process([(self._offset, at_ms, event)])
        return outputs

    def judge_all(self, key: bytes, raws: list[bytes], times: list[int]) -> list[Output]:
        """The same for a list of one partition."""
        entries = []
        for event, at_ms in zip(self._decoder.read(raws), times, strict=True):
            self._offset += 1
            entries.append((self._offset, at_ms, event))
        outputs: list[Output] = self._stage(key).process(entries)
        return outputs

    def state_of(self, key: bytes) -> bytes | None:
        """All that is known of a key's agent, as bytes; None for a tick."""
        if key.startswith(TICK_KEY):
            return None
        stage = self._stage(key)
        keyed = stage.keys[key.decode()]
        found: bytes = keyed.recent.dump() + stage.dump_body(keyed.body)
        return found


class Meter:
    """Says when the first record came and when the last of ``wanted`` was done: time, CPU time and memory."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.seen = 0
        self._began = self._cpu = 0.0
        self._last = time.perf_counter()

    def count(self, number: int = 1) -> bool:
        """So many more are done; True when that was all."""
        if self.seen == 0:
            self._began, self._cpu = time.perf_counter(), time.process_time()
            self._first = number
        self.seen += number
        if self.seen < self.wanted:
            return False
        self.say()
        return True

    def say(self) -> None:
        """Print the result as a line of JSON."""
        secs, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        done = self.seen - self._first
        found = {
            "events": done,
            "per_sec": done / secs if secs else 0.0,
            "cpu_us": cpu / done * 1e6 if done else 0.0,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print("RESULT " + json.dumps(found), flush=True)


def options() -> dict[str, Any]:
    """What the orchestrator asks for: one JSON argument."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def encoded(output: Output) -> bytes:
    """An output as it is produced."""
    return msgspec.json.encode(output.event)
