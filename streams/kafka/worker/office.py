"""All desks of a worker: opened when partitions are assigned, closed when they are revoked, saved in between."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import structlog

from dashboards.worker_metrics import WorkerMetrics
from events.codec import encode
from governance.settings import Settings
from streams.kafka.admin import input_ids
from streams.kafka.worker.clients import producer
from streams.kafka.worker.desk import Desk
from streams.kafka.worker.lane import Lane
from streams.kafka.worker.recovery import Place, check_bounds, make_lane, recover
from streams.kafka.worker.watch import Watch
from streams.records import Partition
from streams.routing import ACTIONS, CRM
from streams.ticks import tick_event

CLOSE_SECS = 30.0
"""A revoke waits so long for snapshots; less than the group's rebalance timeout. What is not saved is judged again."""
_ROUND_SECS = 0.2
_WOKEN, _WAKE_PAUSE_SECS = 5, 0.004
"""Some 2 ms of work, then twice as long for records."""
_log = structlog.get_logger("tripline.worker")


class Office:
    """The desks of one worker. ``fail`` is called with what went wrong when the worker can't go on."""

    def __init__(
        self,
        settings: Settings,
        engine_id: str,
        counters: WorkerMetrics,
        fail: Callable[[BaseException], None],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.settings = settings
        self.engine_id = engine_id
        self.desks: dict[Place, Desk] = {}
        self.fail = fail
        self.counters = counters
        self.watch = Watch(settings, counters, self.desks, lambda: self.opening, fail)
        self.opening: frozenset[Place] = frozenset()
        self._now_ms = now_ms
        self._outputs: Any = None
        self._states: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._opening: asyncio.Task[None] | None = None
        self._encoding = asyncio.Lock()

    async def start(self) -> None:
        """Connect, and begin to save and to tick."""
        self._outputs, self._states = producer(self.settings.kafka), producer(self.settings.kafka)
        await self._outputs.start()
        await self._states.start()
        self._spawn(self._keep_saving())
        self._spawn(self._keep_ticking())
        self._spawn(self.watch.keep_watching())
        self._spawn(self._keep_waking())

    async def stop(self) -> None:
        """Save everything and disconnect."""
        await self.close(list(self.desks))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in (self._outputs, self._states):
            if one is not None:
                await one.stop()

    # --- partitions come and go -----------------------------------------------------------------------------------

    def open(self, places: Collection[Place], opened: Callable[[list[Place]], Awaitable[None]]) -> None:
        """Recover the lanes of these partitions in the background; then ``opened`` is told which are ready."""
        self._give_up_opening()
        wanted = [place for place in places if place not in self.desks]
        if wanted:
            self.opening = frozenset(wanted)
            self._opening = self._spawn(self._open(wanted, opened))

    async def close(self, places: Collection[Place]) -> None:
        """Save these lanes and let go of them."""
        self._give_up_opening()
        desks = [self.desks[place] for place in places if place in self.desks]
        if desks:
            closing = [asyncio.create_task(desk.close()) for desk in desks]
            done, late = await asyncio.wait(closing, timeout=CLOSE_SECS)
            for task in late:
                task.cancel()
            if late:
                _log.warning("lanes_not_saved", lanes=len(late), secs=CLOSE_SECS)
            for task in done:
                if (problem := task.exception()) is not None:
                    _log.warning("lane_not_saved", problem=str(problem))
        for place in places:
            if (desk := self.desks.pop(place, None)) is not None:
                self.watch.harvest(desk)

    def _give_up_opening(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        self.opening = frozenset()
        self.counters.recovering.set(0)

    async def _open(self, wanted: list[Place], opened: Callable[[list[Place]], Awaitable[None]]) -> None:
        kafka, began = self.settings.kafka, time.monotonic()
        ids = await asyncio.to_thread(input_ids, kafka, self.engine_id)
        places = [Partition(self.engine_id, topic, ids[topic], index) for topic, index in sorted(wanted)]
        recovered = await recover(kafka, places, self._recovering)
        made: list[tuple[Place, Lane]] = []
        for place in places:
            lane = make_lane(self.settings, place)
            lane.restore(recovered[place.topic, place.index])
            made.append(((place.topic, place.index), lane))
            await asyncio.sleep(0)
        await check_bounds(kafka, [lane for _, lane in made])
        for at, lane in made:
            self.desks[at] = Desk(
                lane, recovered[at], self._outputs, self._states, kafka.prefix, self.counters, self._encoding
            )
            _log.info("lane_opened", topic=at[0], partition=at[1], position=lane.position)
        gc.freeze()  # what was read back stays; the collector need not walk it
        self.opening = frozenset()
        self.counters.recovery_seconds.observe(time.monotonic() - began)
        await opened([at for at, _ in made])

    def _recovering(self, read: int, left: int) -> None:
        self.counters.recovered.inc(read)
        self.counters.recovering.set(left)

    # --- what goes on all the time ----------------------------------------------------------------------------------

    async def _keep_saving(self) -> None:
        engine = self.settings.engine
        while True:
            await asyncio.sleep(_ROUND_SECS)
            for desk in list(self.desks.values()):
                if desk.is_due(engine.snapshot_secs, engine.snapshot_events):
                    desk.is_saving = True
                    self._spawn(desk.save())

    async def _keep_waking(self) -> None:
        """Read recovered states that nobody needed yet, a few at a time, so that no tick has to read them all."""
        while True:
            left = 0
            for desk in list(self.desks.values()):
                if (still := desk.lane.stage.wake(_WOKEN)) > 0:
                    left += still
                    await asyncio.sleep(_WAKE_PAUSE_SECS)
            await asyncio.sleep(0 if left else 1.0)

    async def _keep_ticking(self) -> None:
        """The ticker: whoever of the active engine has partition 0 of the actions appends the ticks; one written twice
        counts once."""
        step = self.settings.engine.tick_secs * 1000
        last = 0
        while True:
            now = self._now_ms()
            await asyncio.sleep((step - now % step) / 1000)
            tick_ms = self._now_ms() // step * step
            desk = self.desks.get((ACTIONS, 0))
            if tick_ms > last and desk is not None and desk.lane.is_active:
                last = tick_ms
                await self._tick(tick_ms)
                self.counters.ticks.inc()

    async def _tick(self, tick_ms: int) -> None:
        value, kafka = encode(tick_event(self.engine_id, tick_ms)), self.settings.kafka
        for topic in (ACTIONS, CRM):
            for index in range(kafka.partitions):
                await self._outputs.send(kafka.prefix + topic, value=value, partition=index)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self.fail(problem)
