"""Watches a worker: counts for Prometheus, looks whether each lane moves, says what is wrong.

How far a log reaches is asked of the brokers with a client of its own, not of Faust's consumer: a consumer that died
quietly would go on saying that there is nothing to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dashboards.worker_metrics import WorkerLabels, WorkerMetrics
from detectors.discovery import discover
from events.codec import BadReason
from governance.settings import Settings
from streams.kafka.connect import KafkaProblem
from streams.kafka.spec import own_topic
from streams.kafka.worker.clients import reader
from streams.kafka.worker.desk import Desk
from streams.kafka.worker.recovery import Place
from streams.kafka.worker.web import Health
from streams.routing import INPUT_TOPICS

_ROUND_SECS = 1.0
_PROBE_SECS = 2.0
_STALLED_SECS = 30.0
"""A loop that has not come round for so long is stalled."""
_log = structlog.get_logger("tripline.worker")


def worker_metrics(version: str) -> WorkerMetrics:
    """A worker's metrics with all labels that are known."""
    own = ("common_cause", "event_identity")
    labels = WorkerLabels(
        topics=INPUT_TOPICS,
        reasons=[reason.value for reason in BadReason],
        detectors=[*sorted(discover()), *own],
    )
    return WorkerMetrics(labels, version)


class _Progress:
    """How a lane moves: where it was seen last, and since when it stands there with records to judge."""

    __slots__ = ("end", "position", "since")

    def __init__(self, position: int, end: int, now: float) -> None:
        self.position, self.end, self.since = position, end, now

    def look(self, position: int, end: int, now: float) -> None:
        if position != self.position or position >= end:
            self.since = now
        self.position, self.end = position, end


class Watch:
    """Watches the desks of one worker. ``fail`` ends the worker when a lane has been stuck for too long.

    Parameters: the settings; the metrics; the desks by place, and the places that are being recovered, as they are
    now; a monotonic clock in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: WorkerMetrics,
        desks: Mapping[Place, Desk],
        opening: Callable[[], frozenset[Place]],
        fail: Callable[[BaseException], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = metrics
        self._settings = settings
        self._desks, self._opening, self._fail, self._now = desks, opening, fail, now
        self._progress: dict[Place, _Progress] = {}
        self._beat = now()
        self._asked = now()
        self._health = Health([], ["it is starting"], {})

    # --- asked by the server's threads --------------------------------------------------------------------------

    def metrics(self) -> bytes:
        """The exposition text, as of the last second."""
        return self.counters.render()

    def health(self) -> Health:
        """How the worker is."""
        late = self._now() - self._beat
        if late <= _STALLED_SECS:
            return self._health
        stalled = f"the worker has been busy with one thing for {late:.0f} s"
        return Health([stalled, *self._health.wrong], self._health.waiting, self._health.lanes)

    # --- in the worker's loop -----------------------------------------------------------------------------------

    async def keep_watching(self) -> None:
        """Until it is cancelled."""
        consumer: Any = None
        probed = 0.0
        try:
            while True:
                await asyncio.sleep(_ROUND_SECS)
                if self._now() - probed >= _PROBE_SECS:
                    probed = self._now()
                    consumer = await self._probe(consumer)
                self.look()
        finally:
            if consumer is not None:
                await consumer.stop()

    def look(self) -> None:
        """One round: harvest counts, judge the lanes' progress, set the gauges."""
        self._beat = now = self._now()
        for desk in self._desks.values():
            self.harvest(desk)
        stuck = self._stuck(now)
        self._set_gauges(stuck)
        self._health = self._judge(stuck, now)
        longest = max(stuck.values(), default=0.0)
        if longest >= self._settings.worker.give_up_secs:
            place = max(stuck, key=lambda one: stuck[one])
            advice = "see its log for what came before; others have taken its partitions over; start it again"
            self._fail(
                KafkaProblem(f"{_name(place)} has stood still for {longest:.0f} s with records to judge", advice)
            )

    def harvest(self, desk: Desk) -> None:
        """Take a lane's counts over; also when it is closed."""
        counters, topic, counts = self.counters, desk.lane.partition.topic, desk.lane.counts
        for (what, *labels), number in counts.items():
            if what == "records":
                counters.consumed.add(topic, count=number)
            elif what == "stray":
                counters.strays.add(topic, count=number)
            elif what == "fed_again":
                counters.fed_again.inc(number)
            elif what == "dead_letter":
                counters.dead_letters.add(*labels, count=number)
            elif what == "finding":
                counters.findings.add(*labels, count=number)
            elif what == "fault":
                counters.faults.add(*labels, count=number)
            else:
                counters.outputs.add(*labels, count=number)
        counts.clear()

    async def _probe(self, consumer: Any) -> Any:
        """Ask the brokers how far the logs reach; the client to ask with next time, None when it is lost."""
        prefix, now = self._settings.kafka.prefix, self._now()
        at = {
            TopicPartition(prefix + own_topic(desk.lane.partition.engine_id, place[0]), place[1]): place
            for place, desk in self._desks.items()
        }
        try:
            if consumer is None:
                fresh = reader(self._settings.kafka)
                await fresh.start()
                consumer = fresh
            ends = await consumer.end_offsets(list(at)) if at else {}
        except (KafkaError, OSError) as problem:
            _log.warning("lag_not_asked", problem=repr(problem))
            if consumer is not None:
                await consumer.stop()
            return None
        self._asked = now
        for partition, end in ends.items():
            self._take(at[partition], end, now)
        for gone in self._progress.keys() - self._desks.keys():
            del self._progress[gone]
        return consumer

    def _take(self, place: Place, end: int, now: float) -> None:
        desk = self._desks.get(place)
        if desk is None:
            return
        known = self._progress.get(place)
        if known is None:
            self._progress[place] = _Progress(desk.lane.position, end, now)
        else:
            known.look(desk.lane.position, end, now)

    def _stuck(self, now: float) -> dict[Place, float]:
        """Lanes that stand still with records to judge, and for how many seconds."""
        limit = self._settings.worker.stuck_secs
        found = {}
        for place, one in self._progress.items():
            desk = self._desks.get(place)
            if desk is not None and desk.lane.position == one.position < one.end and now - one.since >= limit:
                found[place] = now - one.since
        return found

    def _judge(self, stuck: Mapping[Place, float], now: float) -> Health:
        wrong = [
            f"{_name(place)} has stood still for {secs:.0f} s, {self._behind(place):,} records to judge"
            for place, secs in sorted(stuck.items())
        ]
        if now - self._asked > self._settings.worker.stuck_secs:
            wrong.append(f"the brokers have not answered for {now - self._asked:.0f} s")
        opening = self._opening()
        waiting = []
        if opening:
            waiting.append(f"the states of {len(opening)} lanes are being read back")
        elif not self._desks:
            waiting.append("no partition is assigned to this worker")
        lanes = {"open": len(self._desks) - len(stuck), "recovering": len(opening), "stuck": len(stuck)}
        return Health(wrong, waiting, lanes)

    def _behind(self, place: Place) -> int:
        one = self._progress.get(place)
        return max(0, one.end - self._desks[place].lane.position) if one is not None and place in self._desks else 0

    def _set_gauges(self, stuck: Mapping[Place, float]) -> None:
        counters, opening = self.counters, self._opening()
        for topic in INPUT_TOPICS:
            mine = {place: desk for place, desk in self._desks.items() if place[0] == topic}
            stopped = sum(place in stuck for place in mine)
            counters.lanes.set(topic, "open", value=len(mine) - stopped)
            counters.lanes.set(topic, "stuck", value=stopped)
            counters.lanes.set(topic, "recovering", value=sum(place[0] == topic for place in opening))
            counters.lag.set(topic, value=sum(map(self._behind, mine)))
            lanes = [desk.lane for desk in mine.values()]
            counters.state_keys.set(topic, value=sum(lane.keys for lane in lanes))
            judged = min((lane.last_at_ms for lane in lanes if lane.last_at_ms), default=0)
            counters.judged_to.set(topic, value=judged / 1000)
            unsaved = min((desk.saved_wall for desk in mine.values() if desk.lane.since_saved), default=0.0)
            counters.oldest_snapshot.set(topic, value=unsaved)


def _name(place: Place) -> str:
    return f"{place[0]}, partition {place[1]},"
