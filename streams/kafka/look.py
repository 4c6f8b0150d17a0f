"""Looks at what lies in the topics of a cluster, for ``tripline doctor``: partitioners, lag, clocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from msgspec import Struct

from events.codec import BadEvent, decode
from events.structured import INPUT_CLASSES
from events.times import parse_ms
from events.types import TickEvent
from governance.settings import Kafka
from streams.kafka.connect import KafkaProblem, client_options
from streams.kafka.partition import partition_of, record_key
from streams.kafka.reach import unreachable
from streams.kafka.spec import group_of, own_topic
from streams.routing import ACTIONS, CRM, INPUT_TOPICS

NEWEST = 200
"""So many of the newest records of each partition are looked at."""
_POLL_MS, _POLLS = 500, 10


class Sample(Struct, frozen=True):
    """The newest records of the inputs that producers write to.

    ``looked`` and ``astray``: how many were looked at, and how many lie in a partition where their key does not belong;
    ``example`` names one. ``newest_ms``: when the log took the newest; ``tick_ms`` and ``tick_logged_ms``: what the
    newest tick says, and when the log took it; 0 where there is none.
    """

    looked: int
    astray: int
    example: str
    unreadable: int
    newest_ms: int
    tick_ms: int
    tick_logged_ms: int


class Lag(Struct, frozen=True):
    """Of one topic: records behind what the group has committed; None when it has committed nothing there yet."""

    topic: str
    records: int | None


def lags(kafka: Kafka, engine_id: str = "main") -> list[Lag]:
    """How far the workers' group is behind, by topic. Raises KafkaProblem when it can't be asked."""
    with _consumer(kafka, group_id=group_of(kafka, engine_id)) as consumer:
        found = []
        for topic in INPUT_TOPICS:
            name = kafka.prefix + own_topic(engine_id, topic)
            places = [TopicPartition(name, index) for index in range(kafka.partitions)]
            begins, ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
            done = {place: consumer.committed(place) for place in places}
            if all(offset is None for offset in done.values()) and any(ends.values()):
                found.append(Lag(topic, None))
            else:
                behind = (ends[place] - max(done[place] or 0, begins[place]) for place in places)
                found.append(Lag(topic, sum(max(0, one) for one in behind)))
        return found


def sample(kafka: Kafka) -> Sample:
    """Look at the newest records of agent.actions and crm.events. Raises KafkaProblem when they can't be read."""
    looked = astray = unreadable = newest_ms = tick_ms = tick_logged_ms = 0
    example = ""
    for topic, record in _newest(kafka):
        newest_ms = max(newest_ms, record.timestamp)
        try:
            event = decode(record.value or b"")
        except BadEvent:
            unreadable += 1
            continue
        if isinstance(event, TickEvent):
            at_ms = parse_ms(event.data.at)
            if at_ms > tick_ms:
                tick_ms, tick_logged_ms = at_ms, record.timestamp
            continue
        if not isinstance(event, INPUT_CLASSES):
            continue
        looked += 1
        key = record_key(topic, event)
        home = partition_of(key, kafka.partitions)
        if home != record.partition:
            astray += 1
            example = f"{topic}: {key} lies in partition {record.partition} and belongs in {home}, from {event.source}"
    return Sample(looked, astray, example, unreadable, newest_ms, tick_ms, tick_logged_ms)


def _newest(kafka: Kafka) -> Iterator[tuple[str, Any]]:
    names: Mapping[str, str] = {kafka.prefix + topic: topic for topic in (ACTIONS, CRM)}
    places = [TopicPartition(name, index) for name in names for index in range(kafka.partitions)]
    with _consumer(kafka) as consumer:
        begins, ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
        consumer.assign(places)
        for place in places:
            consumer.seek(place, max(begins[place], ends[place] - NEWEST))
        for _ in range(_POLLS):
            for place, records in consumer.poll(timeout_ms=_POLL_MS).items():
                for record in records:
                    if record.offset < ends[place]:
                        yield names[place.topic], record
            if all(consumer.position(place) >= ends[place] for place in places):
                return


@contextmanager
def _consumer(kafka: Kafka, group_id: str | None = None) -> Iterator[Any]:
    try:
        consumer = KafkaConsumer(
            **client_options(kafka), group_id=group_id, enable_auto_commit=False, auto_offset_reset="earliest"
        )
    except (KafkaError, OSError) as problem:
        raise unreachable(kafka, problem) from None
    try:
        yield consumer
    except KafkaError as problem:
        raise KafkaProblem(f"the brokers said: {problem}", "see the brokers' log, and this user's rights") from None
    finally:
        consumer.close()
