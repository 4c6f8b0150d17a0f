"""Workers as processes, and what they must have said: the same partitions' records through the stages directly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from kafka import KafkaConsumer, TopicPartition

from events.codec import BadEvent, decode, encode
from events.types import tenant_of
from governance.settings import Kafka, Settings, parse_settings
from streams.engine import topology
from streams.envelopes import make_key
from streams.kafka.admin import topic_ids
from streams.kafka.partition import partition_of, record_key
from streams.kafka.spec import STATE_OF, own_topic
from streams.kafka.worker.changelog import Reading, Recovered
from streams.records import Partition
from streams.routing import INPUT_TOPICS, PORTFOLIO

WAIT_SECS = 40.0
OUTPUT_TOPICS = {"finding": "agent.findings", "risk": "deal.risk", "alert": "alerts", "top": "alerts"}
FED = ("score", "marker", "report")
Said = dict[str, dict[str, list[bytes]]]
"""By topic and key, the values in their order."""


def settings_for(kafka: Kafka) -> Settings:
    """What the workers of a test run with."""
    return parse_settings(None, environ(kafka), {})


def environ(kafka: Kafka) -> dict[str, str]:
    """The same as variables: fast ticks and snapshots."""
    return {
        "TRIPLINE_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "TRIPLINE_KAFKA_PREFIX": kafka.prefix,
        "TRIPLINE_KAFKA_PARTITIONS": str(kafka.partitions),
        "TRIPLINE_KAFKA_REPLICATION": "1",
        "TRIPLINE_KAFKA_MIN_IN_SYNC": "1",
        "TRIPLINE_WORKER_PORT": "0",
        "TRIPLINE_ENGINE_TICK_SECS": "1",
        "TRIPLINE_ENGINE_SNAPSHOT_SECS": "1",
        "TRIPLINE_ENGINE_SNAPSHOT_EVENTS": "500",
    }


class Running:
    """One worker process; what it says is kept in a file."""

    started: ClassVar[list[Running]] = []

    def __init__(self, kafka: Kafka, folder: Path, name: str, *args: str, env: Mapping[str, str] | None = None) -> None:
        self.path = folder / f"{name}.log"
        with self.path.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "console", "worker", *args],
                stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environ(kafka), **(env or {})},
            )  # fmt: skip
        self.started.append(self)

    def told(self) -> list[dict[str, Any]]:
        """The structured events it logged."""
        lines = self.path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def lanes(self) -> set[tuple[str, int]]:
        """The lanes it has opened and not closed, since its last start."""
        held: set[tuple[str, int]] = set()
        for one in self.told():
            if one["event"] == "lane_opened":
                held.add((one["topic"], one["partition"]))
            elif one["event"] == "lane_closed":
                held.discard((one["topic"], one["partition"]))
            elif one["event"] == "worker_started":
                held.clear()
        return held

    def tail(self, lines: int = 60) -> str:
        """The end of what it said, for people who read a failed test."""
        return "\n".join(self.path.read_text().splitlines()[-lines:])

    def kill(self) -> None:
        """As the kernel does when memory is out."""
        self.process.kill()
        self.process.wait(WAIT_SECS)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_SECS)


def until(is_so: Any, what: str, secs: float = WAIT_SECS) -> None:
    """Wait for something; fails with its name."""
    end = time.monotonic() + secs
    while not is_so():
        assert time.monotonic() < end, f"not in {secs:g} s: {what}"
        time.sleep(0.1)


class Cluster:
    """What lies in the topics of a test."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka

    def read(self, topic: str) -> list[Any]:
        """All records of a topic, by partition and offset."""
        consumer = KafkaConsumer(bootstrap_servers=self.kafka.bootstrap, auto_offset_reset="earliest")
        places = [TopicPartition(self.kafka.prefix + topic, index) for index in range(self.kafka.partitions)]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        found: list[Any] = []
        while any(consumer.position(place) < ends[place] for place in places):
            for records in consumer.poll(timeout_ms=100).values():
                found += records
        consumer.close()
        return sorted(found, key=lambda record: (record.partition, record.offset))

    def state(self, topic: str) -> list[Recovered]:
        """What a recovery would take now, for each partition of an input topic."""
        ids = topic_ids(self.kafka, INPUT_TOPICS)
        readings = [
            Reading(Partition("main", topic, ids[topic], index), STATE_OF[topic])
            for index in range(self.kafka.partitions)
        ]
        for record in self.read(STATE_OF[topic]):
            readings[record.partition].take([(record.key, record.value, record.offset)])
        return [reading.finish() for reading in readings]

    def ends(self, topic: str) -> list[int]:
        """The next offset of each partition."""
        consumer = KafkaConsumer(bootstrap_servers=self.kafka.bootstrap)
        places = [TopicPartition(self.kafka.prefix + topic, index) for index in range(self.kafka.partitions)]
        ends = consumer.end_offsets(places)
        consumer.close()
        return [ends[place] for place in places]

    @contextmanager
    def committed(self, engine: str = "main") -> Iterator[Callable[[], dict[tuple[str, int], int]]]:
        """Asks what the group has committed of each input partition: what acknowledged barriers cover."""
        group = f"{self.kafka.prefix}tripline-{engine}"
        consumer = KafkaConsumer(bootstrap_servers=self.kafka.bootstrap, group_id=group, enable_auto_commit=False)
        places = {
            (topic, index): TopicPartition(self.kafka.prefix + own_topic(engine, topic), index)
            for topic in INPUT_TOPICS
            for index in range(self.kafka.partitions)
        }
        try:
            yield lambda: {at: consumer.committed(place) or 0 for at, place in places.items()}
        finally:
            consumer.close()

    def wait_until_judged(self, engine: str = "main") -> None:
        """Wait until barriers cover everything that is in the engine's input topics now."""
        ends = {
            (topic, index): end
            for topic in INPUT_TOPICS
            for index, end in enumerate(self.ends(own_topic(engine, topic)))
        }
        with self.committed(engine) as ask:
            until(lambda: all(ask()[place] >= end for place, end in ends.items()), "all is judged")

    def said(self) -> tuple[Said, int]:
        """What is in the output topics, each output id once; and how many came again."""
        said: Said = {topic: defaultdict(list) for topic in OUTPUT_TOPICS.values()}
        again = 0
        for topic, by_key in said.items():
            seen: set[str] = set()
            for record in self.read(topic):
                told = msgspec.json.decode(record.value)
                event_id = told["id"]
                if told["type"] == "tripline.system.release.v1":  # handed on, not made: see test_worker_echo.py
                    continue
                if event_id in seen:
                    again += 1
                    continue
                seen.add(event_id)
                by_key[record.key.decode()].append(record.value)
        return said, again

    def entries(self, records: list[Any], topic: str, index: int, resume: int) -> list[tuple[int, int, Any]]:
        """What belongs to a partition below an offset: readable, at home here, and what stages feed each other once."""
        found: list[tuple[int, int, Any]] = []
        fed: set[str] = set()
        for record in records:
            if record.partition != index or record.offset >= resume:
                continue
            try:
                event = decode(record.value or b"")
            except BadEvent:
                continue
            name = type(event).__name__
            if name in ("ScoreEvent", "MarkerEvent", "ProfileEvent"):
                if event.id in fed:
                    continue
                fed.add(event.id)
            elif name != "TickEvent" and partition_of(record_key(topic, event), self.kafka.partitions) != index:
                continue
            found.append((record.offset, record.timestamp, event))
        return found


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the stages say to the input topics, up to where the workers have saved.

    ``states`` is, for each input topic and partition, what each key should be and what a recovery would take (its next
    offset and bytes); ``fed`` is what stages feed each other, by kind and output id.
    """

    outputs: Said
    fed: dict[tuple[str, str], bytes]
    states: dict[tuple[str, int], tuple[dict[str, tuple[int, bytes]], dict[str, tuple[int, bytes]]]]


def expected(kafka: Kafka, settings: Settings | None = None) -> Expected:
    """Judge what lies in the input topics anew, by the stages alone, with the workers' settings."""
    cluster, settings = Cluster(kafka), settings or settings_for(kafka)
    ids = topic_ids(kafka, INPUT_TOPICS)
    made = Expected(outputs={topic: defaultdict(list) for topic in OUTPUT_TOPICS.values()}, fed={}, states={})
    for topic in INPUT_TOPICS:
        records = cluster.read(topic)
        for index, recovered in enumerate(cluster.state(topic)):
            assert recovered.barrier is not None, (topic, index)
            stages = topology(settings, "main", ids, index)
            stages.portfolio.sources = kafka.partitions
            stage = stages.stages()[topic]
            for output in stage.process(cluster.entries(records, topic, index, recovered.barrier.resume)):
                value: bytes = encode(output.event)
                if output.kind in FED:
                    made.fed[output.kind, output.id] = value
                else:
                    made.outputs[OUTPUT_TOPICS[output.kind]][output.key].append(value)
            wanted = {one.key: (one.next_offset, one.blob) for one in stage.snapshot()}
            found = {one.key: (one.next_offset, one.blob) for one in recovered.all_snapshots()}
            made.states[topic, index] = (wanted, found)
    return made


def check_exact(kafka: Kafka) -> int:
    """Outputs, fed records and states are exactly those of the stages over the same records.

    Returns how many outputs came more than once (under the same id), as they may after a crash.
    """
    made = expected(kafka)
    for place, (wanted, found) in made.states.items():
        assert found == wanted, place
    cluster = Cluster(kafka)
    said, again = cluster.said()
    assert {topic: dict(keys) for topic, keys in said.items()} == {t: dict(keys) for t, keys in made.outputs.items()}
    check_fed(cluster, made.fed)
    return again


def check_fed(cluster: Cluster, fed: dict[tuple[str, str], bytes]) -> None:
    """Scores lie in their manager's partition, a tick's marker in every one."""
    found: dict[bytes, set[int]] = defaultdict(set)
    for record in cluster.read(PORTFOLIO):
        found[record.value].add(record.partition)
    for (kind, _), value in fed.items():
        if kind == "marker":
            assert found.pop(value) == set(range(cluster.kafka.partitions))
        elif kind == "score":
            event = decode(value)
            key = make_key(tenant_of(event), event.data.manager_id)
            assert found.pop(value) == {partition_of(key, cluster.kafka.partitions)}
    assert not found
