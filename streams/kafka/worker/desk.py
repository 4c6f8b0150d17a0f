"""The asynchronous side of a lane: its outputs on their way out, and its snapshots after them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Iterable
from functools import partial
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from dashboards.worker_metrics import WorkerMetrics
from streams.kafka.spec import STATE_OF, own_topic
from streams.kafka.worker.changelog import (
    PART_BYTES,
    Recovered,
    Written,
    barrier_key,
    encode_barrier,
    new_term,
    snapshot_records,
)
from streams.kafka.worker.decoding import Record
from streams.kafka.worker.lane import Lane, Outgoing, Saved
from streams.keyed import META_KEY
from streams.records import Snapshot

_SHARE = 20
"""Encoding snapshots takes at most 1/20 of the time, however many states change."""
_STEP_SECS, _PAUSE = 0.002, 4
"""States are encoded for 2 ms at a time, then records have four times as long."""
_PAGE = 200
"""Snapshots sent between two looks at what else there is to do."""
_log = structlog.get_logger("tripline.worker")


class Sender(Protocol):
    """What writes records: returns a future that ends when all in-sync copies have the record."""

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Any = None,
    ) -> asyncio.Future[Any]:
        """Queue a record; waits while there is no room."""


class Desk:
    """One lane in hand. ``covered``: the offset up to which an acknowledged barrier holds everything, or None.

    ``outputs`` and ``states`` write with acks=all; they are two, so that outputs never wait behind snapshots.
    ``saved_wall``: when it was last saved or opened, in seconds since 1970. ``encoding``: shared by the desks of a
    worker, so that one after the other encodes states: together they would leave records no time.
    """

    def __init__(
        self,
        lane: Lane,
        recovered: Recovered,
        outputs: Sender,
        states: Sender,
        prefix: str,
        counters: WorkerMetrics | None = None,
        encoding: asyncio.Lock | None = None,
    ) -> None:
        self.lane = lane
        self.covered = recovered.barrier.resume if recovered.barrier is not None else None
        self.is_closing = False
        self.is_saving = False
        self.cost_secs = 0.0
        self._saved_at = time.monotonic()
        self.saved_wall = time.time()
        self._counters = counters
        self._encoding = encoding or asyncio.Lock()
        self._outputs, self._states = outputs, states
        self._prefix = prefix
        self._state_topic = prefix + own_topic(lane.partition.engine_id, STATE_OF[lane.partition.topic])
        self._waiting: deque[Outgoing] = deque()
        self._unacknowledged: list[Awaitable[Any]] = []
        self._sending, self._saving = asyncio.Lock(), asyncio.Lock()
        self._term, self._number = new_term(), 0
        self._places = recovered.places
        self._superseded = recovered.superseded

    # --- records in, outputs out ----------------------------------------------------------------------------------

    def take(self, records: list[Record]) -> None:
        """Judge records; what comes of them waits for ``send``. Nothing once the lane is being closed."""
        if not self.is_closing:
            self._waiting.extend(self.lane.take(records))

    async def send(self) -> None:
        """Hand everything that waits to the producer, in order. May be cancelled: nothing is lost or sent twice."""
        async with self._sending:
            while self._waiting:
                one = self._waiting[0]
                sent = await self._outputs.send(
                    self._prefix + one.topic,
                    value=one.value,
                    key=one.key,
                    partition=one.partition,
                    headers=one.headers or None,
                )
                self._waiting.popleft()
                self._unacknowledged.append(sent)
                if one.at_ms and self._counters is not None:
                    sent.add_done_callback(partial(self._observe, one.at_ms))

    def _observe(self, at_ms: int, sent: asyncio.Future[Any]) -> None:
        if self._counters is not None and not sent.cancelled() and sent.exception() is None:
            self._counters.detection_seconds.observe(max(0.0, time.time() - at_ms / 1000))

    # --- snapshots --------------------------------------------------------------------------------------------------

    def is_due(self, snapshot_secs: float, snapshot_events: int) -> bool:
        """Whether changed state has to be saved now."""
        if self.is_saving or self.is_closing or self.lane.since_saved == 0:
            return False
        since = time.monotonic() - self._saved_at
        if self.lane.since_saved < snapshot_events and since < snapshot_secs:
            return False
        return since >= self.cost_secs * _SHARE

    async def save(self) -> None:
        """A barrier: states encoded, outputs acknowledged, snapshots written, where to resume, then old ones removed.

        Raises a KafkaError when something can't be written; what was acknowledged before still holds.
        """
        self.is_saving = True
        try:
            async with self._saving:
                await self.send()
                if self.lane.since_saved == 0:
                    await self._acknowledged()
                    return
                began = time.monotonic()
                async with self._encoding:
                    saved = await self._encode()
                self._saved_at = time.monotonic()
                await self.send()
                await self._acknowledged()
                await self._write(saved)
                self.saved_wall = time.time()
                self._count(saved, time.monotonic() - began)
        finally:
            self.is_saving = False

    async def _encode(self) -> Saved:
        """All states of a barrier, encoded in steps between which records are judged; a lane that closes does not wait.

        Keys may then be newer than the barrier: so everything that was judged meanwhile has to be acknowledged too,
        before any of it is written.
        """
        self.cost_secs = 0.0
        began = time.monotonic()
        self.lane.begin_save()
        while True:
            saved = self.lane.step_save(_STEP_SECS)
            now = time.monotonic()
            self.cost_secs += now - began
            if saved is not None:
                return saved
            await asyncio.sleep(0 if self.is_closing else _STEP_SECS * _PAUSE)
            began = time.monotonic()

    def _count(self, saved: Saved, secs: float) -> None:
        if self._counters is None:
            return
        topic = self.lane.partition.topic
        self._counters.snapshots.add(topic)
        self._counters.snapshot_keys.add(topic, count=len(saved.snapshots))
        size = len(saved.barrier.meta) + sum(len(one.blob) for one in saved.snapshots)
        self._counters.snapshot_bytes.add(topic, count=size)
        self._counters.snapshot_seconds.observe(secs)

    def _acknowledged(self) -> Awaitable[Any]:
        """Everything that was sent up to now."""
        waiting, self._unacknowledged = self._unacknowledged, []
        return asyncio.gather(*waiting)

    async def _write(self, saved: Saved) -> None:
        self._number += 1
        barrier, places, snapshots = saved.barrier, dict[str, Written](), saved.snapshots
        if len(barrier.meta) > PART_BYTES:
            snapshots = [*snapshots, Snapshot(META_KEY, barrier.resume, barrier.meta)]
            barrier = replace(barrier, meta=b"", meta_number=self._number)
        records: list[tuple[bytes, bytes | None]] = []
        for snapshot in snapshots:
            made = snapshot_records(self._term, self._number, barrier.topic_id, snapshot)
            places[snapshot.key] = Written(tuple(made), snapshot.next_offset)
            records += made.items()
        await self._put(records)
        await self._put([(barrier_key(self._term), encode_barrier(barrier))])
        self.covered = barrier.resume
        self._superseded += [self._places[key] for key in places if key in self._places]
        self._places |= places
        gone = [written for written in self._superseded if written.next_offset <= barrier.resume]
        self._superseded = [written for written in self._superseded if written.next_offset > barrier.resume]
        await self._put([(key, None) for written in gone for key in written.keys])

    async def _put(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Write records to the changelog and wait until all are acknowledged."""
        sent: list[Awaitable[Any]] = []
        for count, (key, value) in enumerate(records):
            if count % _PAGE == _PAGE - 1:
                await asyncio.sleep(0)
            sent.append(
                await self._states.send(self._state_topic, value=value, key=key, partition=self.lane.partition.index)
            )
        await asyncio.gather(*sent)

    async def close(self) -> None:
        """Judge no more; save what there is."""
        self.is_closing = True
        await self.save()
        _log.info(
            "lane_closed",
            topic=self.lane.partition.topic,
            partition=self.lane.partition.index,
            position=self.lane.position,
            covered=self.covered,
        )
