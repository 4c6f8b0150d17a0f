"""Reading changelog partitions to their end, and making lanes of what they hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog
from aiokafka import TopicPartition

from governance.settings import Kafka, Settings
from streams.engine import topology
from streams.kafka.connect import KafkaProblem
from streams.kafka.spec import STATE_OF, own_topic
from streams.kafka.worker.changelog import Reading, Recovered
from streams.kafka.worker.clients import reader
from streams.kafka.worker.lane import Lane
from streams.records import Partition

_REPORT_SECS = 2.0
_log = structlog.get_logger("tripline.worker")

Place = tuple[str, int]
"""An input topic (without the prefix) and a partition of it."""


def make_lane(settings: Settings, place: Partition) -> Lane:
    """A fresh lane for an input partition; a portfolio decides when the markers of all partitions are in."""
    made = topology(settings, place.engine_id, {place.topic: place.topic_id}, place.index)
    made.portfolio.sources = settings.kafka.partitions
    return Lane(made.stages()[place.topic], place, settings.kafka.partitions)


async def recover(
    kafka: Kafka, places: Collection[Partition], progress: Callable[[int, int], None] = lambda _read, _left: None
) -> dict[Place, Recovered]:
    """Read the changelogs of input partitions to their ends; reports its progress in the log, and to ``progress``:
    how many records were read since the last report, and about how many are left.

    Raises KafkaProblem when a changelog can't be read or belongs to other topics.
    """
    topics = {place: kafka.prefix + own_topic(place.engine_id, STATE_OF[place.topic]) for place in places}
    readings = {TopicPartition(topic, place.index): (place, Reading(place, topic)) for place, topic in topics.items()}
    consumer = reader(kafka)
    await consumer.start()
    try:
        await _read(consumer, {at: reading for at, (_, reading) in readings.items()}, progress)
    finally:
        await consumer.stop()
    return {(place.topic, place.index): reading.finish() for place, reading in readings.values()}


async def _read(consumer: Any, readings: Mapping[Any, Reading], progress: Callable[[int, int], None]) -> None:
    consumer.assign(list(readings))
    ends = await consumer.end_offsets(list(readings))
    began = said = time.monotonic()
    left = {at for at, end in ends.items() if end > 0}
    before = 0
    while left:
        for at, records in (await consumer.getmany(timeout_ms=200)).items():
            readings[at].take((record.key, record.value, record.offset) for record in records)
        positions = {at: await consumer.position(at) for at in left}
        left = {at for at, position in positions.items() if position < ends[at]}
        done = sum(reading.records for reading in readings.values())
        progress(done - before, sum(ends[at] - positions[at] for at in left))
        before = done
        if time.monotonic() - said > _REPORT_SECS:
            said = time.monotonic()
            _log.info("recovering", records=done, of_about=sum(ends.values()), secs=round(said - began, 1))
        await asyncio.sleep(0)
    total = sum(reading.records for reading in readings.values())
    _log.info("recovered", partitions=len(readings), records=total, secs=round(time.monotonic() - began, 2))


async def check_bounds(kafka: Kafka, lanes: Collection[Lane]) -> None:
    """Compare where lanes resume with what their input partitions hold.

    A log that begins later (retention) is taken from its beginning, with a warning. Raises KafkaProblem when a log
    ends before that offset: it lost records.
    """
    at = {
        TopicPartition(kafka.prefix + own_topic(place.engine_id, place.topic), place.index): lane
        for lane in lanes
        for place in (lane.partition,)
    }
    consumer = reader(kafka)
    await consumer.start()
    try:
        consumer.assign(list(at))
        begins = await consumer.beginning_offsets(list(at))
        ends = await consumer.end_offsets(list(at))
    finally:
        await consumer.stop()
    for partition, lane in at.items():
        if lane.position > ends[partition]:
            raise KafkaProblem(
                f"{partition.topic}, partition {partition.partition}: the state reaches offset {lane.position}, "
                f"the log only {ends[partition]}: it lost its end",
                "restore the topic from a copy that has it; or delete the state topic to judge the kept input anew",
            )
        if lane.position < begins[partition]:
            if lane.position:
                _log.warning("log_starts_after_state", lane=partition.topic, resume=lane.position)
            lane.position = begins[partition]
