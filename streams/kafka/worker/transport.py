"""Faust's Kafka transport with the bulk drain: whole lists of records go to the desks, not one event at a time.

Faust passes each record through tasks and queues of its own (80 to 100 µs). Here the fetcher's loop hands the lists
of the input topics to the desks directly. Membership, assignment, flow control, commits and the rest stay Faust's.
What is overridden is pinned to the installed version by tests/kafka/test_worker_contract.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import structlog
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.kafka.worker.office import Office
from streams.kafka.worker.recovery import Place

_log = structlog.get_logger("tripline.worker")


FETCH_WAIT_MS = 10
"""A broker answers a fetch after so long with what there is. Faust's 1,500 ms would let busy partitions wait for idle
ones: a broker is asked again only when it has answered."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's thread with the client in it; waits less for idle partitions."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


class Consumer(driver.Consumer):
    """Drains the input topics in bulk. ``office`` and ``topics`` come from the transport."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._office: Office = self.transport.office  # type: ignore[attr-defined]
        self._bulk: Mapping[str, str] = self.transport.bulk  # type: ignore[attr-defined]
        self._sought: dict[TP, int] = {}

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _place(self, tp: TP) -> Place:
        return self._bulk[tp.topic], tp.partition

    def _is_open(self, tp: TP) -> bool:
        return tp.topic not in self._bulk or self._place(tp) in self._office.desks

    # --- the drain ------------------------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: Any) -> None:
        """Faust's fetcher runs this; all topics of the worker are bulk topics."""
        is_over = (self._stopped.is_set, fetcher._stopped.is_set)
        try:
            while not any(ask() for ask in is_over):
                records, active = await self._wait_next_records(timeout=1.0)
                await asyncio.sleep(0)
                if records is None or self.should_stop:
                    continue
                if not self.flow_active:
                    await self._seek_back()
                    continue
                await self._hand_over(records, active)
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        except Exception as problem:  # Faust would log it and stand still: end the worker, others take over
            self._office.fail(problem)

    async def _hand_over(self, records: Mapping[TP, list[Any]], active: set[TP] | None) -> None:
        generation = self.app.consumer_generation_id
        for tp, batch in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            desk = self._office.desks.get(self._place(tp))
            if desk is None or not batch or (active is not None and tp not in active):
                continue
            position = desk.lane.position
            if batch[0].offset > position and self._sought.get(tp) != position:
                # Fetched before the seek to where the state ends, or there is a hole: ask once from there.
                self._sought[tp] = position
                await self.seek(tp, position)
                continue
            desk.take(batch)
            await desk.send()
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            await asyncio.sleep(0)

    async def _seek_back(self) -> None:
        try:
            await self.perform_seek()
        except Exception as problem:  # a rebalance took the partitions away meanwhile; stock getmany does the same
            _log.info("seek_failed_without_flow", problem=str(problem))

    # --- positions ------------------------------------------------------------------------------------------------

    async def perform_seek(self) -> None:
        """After Faust's seek to committed offsets: open lanes go on where their states end."""
        await super().perform_seek()
        for tp in self.assignment():
            if tp.topic in self._bulk and self._is_open(tp):
                await self.seek(tp, self._office.desks[self._place(tp)].lane.position)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Fetch only from partitions whose lanes are recovered."""
        super().resume_partitions({tp for tp in tps if self._is_open(tp)})

    async def _opened(self, places: list[Place]) -> None:
        topics = {topic: name for name, topic in self._bulk.items()}
        tps = {TP(topics[topic], index) for topic, index in places} & self.assignment()
        for tp in tps:
            await self.seek(tp, self._office.desks[self._place(tp)].lane.position)
        super().resume_partitions(tps)

    # --- rebalance and stop ---------------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Judge no more of these; save them while they are still ours."""
        self._sought.clear()
        await self._office.close([self._place(tp) for tp in revoked if tp.topic in self._bulk])
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Recover what is ours now, in the background: the group must not wait for it."""
        await super().on_partitions_assigned(assigned, generation_id)
        self._office.counters.rebalances.inc()
        self._office.open([self._place(tp) for tp in assigned if tp.topic in self._bulk], self._opened)

    async def wait_empty(self) -> None:
        """Faust waits here for what is under way, before a rebalance and at the end: save all lanes."""
        await self._office.close(list(self._office.desks))
        await super().wait_empty()

    # --- commits: for lag tools alone -------------------------------------------------------------------------------

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what barriers cover; never in a rebalance (IllegalGeneration, then a loop of joins)."""
        if self.app.rebalancing:
            self._office.counters.commits.add("skipped")
            return False
        return await super().commit(topics, start_new_transaction)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        is_done = await super()._commit(offsets)
        self._office.counters.commits.add("ok" if is_done else "failed")
        return is_done

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        for tp in self.assignment():
            if tp.topic in self._bulk and (topics is None or tp in topics or tp.topic in topics):
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        desk = self._office.desks.get(self._place(tp))
        return None if desk is None else desk.covered

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's check looks at times that a bulk drain does not set."""


class Transport(driver.Transport):
    """Set ``office`` and ``bulk`` (full topic names to those without the prefix) before the app starts."""

    Consumer: ClassVar[Any] = Consumer
    office: Office
    bulk: Mapping[str, str]
