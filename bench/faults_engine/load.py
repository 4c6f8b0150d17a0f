"""The load: actions of many agents and the CRM's events, with duplicates, disorder, strays and poison."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError

from bench.replay import action
from events.codec import BadEvent, decode, encode
from events.times import DAY_MS, HOUR_MS, format_ms
from events.types import ActionEvent
from governance.settings import Kafka
from simulator import mixed_org, simulate
from streams.kafka.partition import partition_of, record_key
from streams.routing import ACTIONS, topics_of

AGENTS = 300
DUPLICATES, POISON, STRAYS, CRM_SHARE, HELD_BACK = 0.10, 0.01, 0.001, 0.10, 0.05
POISON_KEY = b"poison"
"""Records under this key can't be read, and no others."""
_DAYS = 12
_UNSETTLED, _GIVE_UP_SECS = 5_000, 180.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Put(NamedTuple):
    """A record to write."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None


class Sender:
    """Writes records until they are acknowledged, whatever happens to the broker. For several threads.

    ``taken`` has a hash of each record that was acknowledged.
    """

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.taken: set[int] = set()
        self.again = 0
        self._lock = threading.Lock()
        self._open: deque[tuple[Any, Put]] = deque()
        self._producer = self._new()

    def _new(self) -> Any:
        return KafkaProducer(
            bootstrap_servers=self.kafka.bootstrap, acks="all", linger_ms=20, batch_size=128 * 1024,
            max_request_size=2 * 1024 * 1024, reconnect_backoff_max_ms=1_000,
        )  # fmt: skip

    def send(self, put: Put) -> None:
        """Write a record, some time soon."""
        with self._lock:
            self._send(put)
            while len(self._open) > _UNSETTLED:
                self._settle()

    def flush(self) -> None:
        """Wait until all is acknowledged."""
        with self._lock:
            while self._open:
                self._settle()

    def event(self, topic: str, event: Any) -> None:
        """Write an event where it belongs."""
        key = record_key(topic, event)
        self.send(Put(topic, partition_of(key, self.kafka.partitions), key.encode(), encode(event)))

    def close(self) -> None:
        """End the producer."""
        self._producer.close(timeout=5)

    def _send(self, put: Put) -> None:
        end = time.monotonic() + _GIVE_UP_SECS
        while True:
            try:
                name = self.kafka.prefix + put.topic
                sent = self._producer.send(name, key=put.key, value=put.value, partition=put.partition)
                self._open.append((sent, put))
                return
            except KafkaError:
                assert time.monotonic() < end, "the broker does not come back"
                time.sleep(0.2)

    def _settle(self) -> None:
        sent, put = self._open.popleft()
        try:
            sent.get(timeout=_GIVE_UP_SECS)
        except KafkaError:
            self.again += 1
            self._send(put)
            return
        self.taken.add(hash((put.topic, put.key, put.value)))


class Load:
    """Records in the order of sending, ``count`` actions among them; ``counts`` says what was made."""

    def __init__(self, count: int, partitions: int, seed: int) -> None:
        self.count = count
        self.counts: Counter[str] = Counter()
        self._partitions = partitions
        self._rng = random.Random(seed)
        self._seed = seed
        self._recent: deque[list[Put]] = deque(maxlen=300)
        self._held: deque[tuple[int, list[Put]]] = deque()

    def records(self) -> Iterator[Put]:
        """Everything, poison included."""
        rng = self._rng
        start_ms = (now_ms() // HOUR_MS * HOUR_MS) - _DAYS * DAY_MS
        crm = islice(simulate(mixed_org(8), _DAYS, start_ms, self._seed), int(self.count * CRM_SHARE))
        for number in range(self.count):
            yield from self._due(number)
            if rng.random() < CRM_SHARE and (event := next(crm, None)) is not None:
                puts = [self._put(topic, record_key(topic, event), encode(event)) for topic in topics_of(event)]
                self.counts["simulated"] += 1
            else:
                agent = f"agent-{rng.randrange(AGENTS)}"
                at_ms = now_ms() - (rng.randrange(240_000) if rng.random() < HELD_BACK else rng.randrange(300))
                puts = [self._put(ACTIONS, f"default/{agent}", action(number, at_ms, agent, rng))]
                self.counts["actions"] += 1
                if rng.random() < STRAYS:
                    puts = [put._replace(partition=(put.partition + 1) % self._partitions) for put in puts]
                    self.counts["strays"] += 1
            if rng.random() < HELD_BACK:
                self.counts["held back"] += 1
                self._held.append((number + rng.randrange(1, 200), puts))
            else:
                yield from self._now(puts)
            if rng.random() < DUPLICATES and self._recent:
                self.counts["duplicates"] += 1
                yield from rng.choice(self._recent)
            if rng.random() < POISON:
                self.counts["poison"] += 1
                yield self._poison(number)
        yield from self._due(self.count + 1_000)

    def _now(self, puts: list[Put]) -> list[Put]:
        self._recent.append(puts)
        return puts

    def _due(self, number: int) -> Iterator[Put]:
        while self._held and self._held[0][0] <= number:
            yield from self._now(self._held.popleft()[1])

    def _put(self, topic: str, key: str, value: bytes) -> Put:
        return Put(topic, partition_of(key, self._partitions), key.encode(), value)

    def _poison(self, number: int) -> Put:
        rng = self._rng
        sound = action(number, now_ms(), "agent-1", rng)
        value = rng.choice((
            None, b"", b"\xff\xfe" + sound, sound[: rng.randrange(1, len(sound) - 1)], b"[%d]" % number,
            sound.replace(b'"outcome":"ok"', b'"outcome":"splendid"'),
            sound.replace(b'"agent_id":"agent-1",', b""),
            sound.replace(b'"records":1', b'"records":-1'),
            sound.replace(b'"action":', b'"agent_id":"agent-2","action":'),
            sound.replace(b"tripline.agent.action.v1", b"tripline.agent.action.v9"),
        ))  # fmt: skip
        try:
            decode(value or b"")
        except BadEvent:
            return Put(ACTIONS if rng.random() < 0.8 else "crm.events", number % self._partitions, POISON_KEY, value)
        raise AssertionError(f"this is no poison: {value!r}")


def burst(agent: str, name: str, number: int = 0) -> ActionEvent:
    """An operation on far more records than anybody is allowed."""
    return an_action(agent, name, [f"r-{number}-{each}" for each in range(150)])


def an_action(agent: str, name: str, records: list[str], decision_id: str | None = None) -> ActionEvent:
    """An agent's report."""
    data = {
        "agent_id": agent, "action": "record.update", "object": "Contact", "outcome": "ok", "record_ids": records,
        "decision_id": decision_id,
    }  # fmt: skip
    event = {
        "specversion": "1.0", "type": "tripline.agent.action.v1", "id": name, "source": "/faults",
        "time": format_ms(now_ms()), "data": data,
    }  # fmt: skip
    found = decode(json.dumps(event).encode())
    assert isinstance(found, ActionEvent)
    return found
