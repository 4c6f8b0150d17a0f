"""A sink's thread when partitions come and go at the worst moment, without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition

from events.codec import encode
from governance.settings import parse_settings
from streams.kafka.sinks.filing import Place
from streams.kafka.sinks.records import Taken
from streams.kafka.sinks.thread import SinkThread
from streams.routing import ACTIONS
from tests.kafka.records import FakeRecord
from tests.unit.streams.toys import START_MS, action_event

HERE = TopicPartition(ACTIONS, 0)


class Stored:
    """A filing that keeps the offsets it is given."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.since: list[int] = []
        self.written: dict[Place, int] = {}

    def position(self, place: Place, topic_id: str, begin: int = 0) -> int:
        self.written[place] = len(self.offsets)
        return len(self.offsets)

    def file(self, taken: Sequence[Taken], since: Mapping[Place, int]) -> None:
        self.since.append(since[ACTIONS, 0])
        self.offsets += [one.offset for one in taken if one.offset >= len(self.offsets)]


class FakeConsumer:
    """A consumer of one partition with ten records, which gives ``steps`` of them at a time."""

    def __init__(self, steps: list[int]) -> None:
        self.at, self.steps = 0, steps

    def assignment(self) -> set[TopicPartition]:
        return {HERE}

    def pause(self, *places: TopicPartition) -> None:
        """It gives nothing to a place that is not placed; the thread looks."""

    def resume(self, place: TopicPartition) -> None:
        """See ``pause``."""

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.at = offset

    def highwater(self, place: TopicPartition) -> int:
        return 10

    async def getmany(self, **how: Any) -> dict[TopicPartition, list[Any]]:
        start, self.at = self.at, min(10, self.at + (self.steps.pop(0) if self.steps else 10))
        found = [FakeRecord(n, START_MS + n, encode(action_event(n))) for n in range(start, self.at)]
        for record in found:
            record.topic, record.partition = ACTIONS, 0
        return {HERE: found} if found else {}

    async def beginning_offsets(self, places: Any) -> dict[TopicPartition, int]:
        return {HERE: 0}

    async def end_offsets(self, places: Any) -> dict[TopicPartition, int]:
        return {HERE: 10}

    async def commit(self, offsets: Any) -> None:
        """For lag tools alone."""


class Shaken(SinkThread):
    """Its partition is taken away and given back while a batch is being read."""

    shake_at = -1
    asides = 0

    async def _aside(self, function: Any, *args: Any) -> Any:
        self.asides += 1
        found = function(*args)
        if self.asides == self.shake_at:
            self.taken_away([HERE])
            self.given(self.consumer, [HERE])
        return found


def test_a_partition_that_leaves_and_comes_back_in_the_middle_of_anything_loses_nothing():
    kafka = parse_settings(None, {}, {}).kafka
    for shake_at in range(1, 12):
        stored = Stored()
        thread: Any = Shaken(kafka, "sinks", [ACTIONS], stored)  # type: ignore[arg-type]
        thread.consumer, thread.shake_at = FakeConsumer([3, 3, 3]), shake_at
        thread._ids, thread._clean_at = {ACTIONS: "t"}, float("inf")
        thread._may_gather = lambda thread=thread: thread.asides % 3 > 0
        thread.given(thread.consumer, [HERE])

        async def turns(thread: Any = thread) -> None:
            for _ in range(12):
                await thread._turn(thread.consumer)

        asyncio.run(turns())
        assert stored.offsets == list(range(10)), shake_at
