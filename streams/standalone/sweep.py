"""Snapshots of the stages' states, a slice at a time, inside the rounds of the writer.

Encoding every changed state at once would keep the gate waiting for as long as that takes. So a sweep goes on for about
a millisecond in each round. Each key's snapshot carries the offset up to which it holds everything, and a topic is
resumed where its sweep began: what a newer state already holds is skipped when the log is read again from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from events.times import DAY_MS
from storage import approvals, containment, log, snapshots
from storage import gate as gate_store
from storage import leases as lease_store
from streams.records import Snapshot
from streams.routing import CRM, PORTFOLIO
from streams.standalone.core import Core, Lane

_SHARE = 40
"""Sweeps take at most 1/40 of the thread's time."""
_TOGETHER = frozenset({CRM, PORTFOLIO})
"""Topics whose keys have a common account (win rates, what is decided at a marker): all taken as of one offset."""


class Sweeper:
    """Takes the snapshots of one core; thrown away with it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._steps: Iterator[None] | None = None
        self._cost = 0.0
        self._ended = time.monotonic()
        self._reached: list[tuple[Lane, int]] = []

    def is_due(self) -> bool:
        """Whether a sweep is under way or should begin."""
        core = self._core
        if self._steps is not None:
            return True
        if core.events_since_snapshot == 0:
            return False
        since, engine = time.monotonic() - self._ended, core.settings.engine
        if core.events_since_snapshot < engine.snapshot_events and since < engine.snapshot_secs:
            return False
        return since >= self._cost * _SHARE

    def step(self, secs: float) -> bool:
        """Go on for about ``secs`` inside the open transaction; True when the sweep came to its end."""
        began = time.monotonic()
        if self._steps is None:
            self._steps, self._cost, self._core.events_since_snapshot = self._sweep(), 0.0, 0
        for _ in self._steps:
            if (spent := time.monotonic() - began) >= secs:
                self._cost += spent
                return False
        self._ended = time.monotonic()
        self._steps = None
        self._cost += self._ended - began
        return True

    def finish(self) -> None:
        """Bring a sweep that is under way to its end, then take another one whole; inside an open transaction."""
        for steps in (self._steps or iter(()), self._sweep()):
            for _ in steps:
                pass
        self._steps = None

    def committed(self) -> None:
        """What was taken is durable."""
        for lane, barrier in self._reached:
            lane.resume_offset = barrier
        self._reached.clear()

    def _sweep(self) -> Iterator[None]:
        core = self._core
        for lane in core.lanes.values():
            if lane.next_offset != lane.resume_offset:
                yield from self._sweep_lane(lane)
        self._drop_old()

    def _sweep_lane(self, lane: Lane) -> Iterator[None]:
        core, barrier = self._core, lane.next_offset
        taken: Iterator[Snapshot] = lane.stage.snapshots()
        if lane.topic in _TOGETHER:
            taken = iter(list(taken))
        for one in taken:
            saved = ((one.key, one.next_offset, one.blob),)
            snapshots.save(core.link, lane.stage.name, lane.topic_id, saved)
            yield
        self._reached.append((lane, barrier))
        mark = snapshots.Mark(lane.next_offset, barrier, core.last_ms)
        snapshots.mark(core.link, lane.topic, lane.topic_id, mark)

    def _drop_old(self) -> None:
        """Retention, some at a time: segments that are too old and lie below what a recovery reads; old decisions."""
        core = self._core
        before_ms = core.last_ms - core.settings.engine.retention_days * DAY_MS
        for lane in core.lanes.values():
            log.drop_before(core.link, lane.topic, before_ms, lane.resume_offset)
        gate_store.drop_before(core.link, before_ms)
        approvals.drop_before(core.link, gate_store.decision_prefix(before_ms))
        lease_store.drop_before(core.link, before_ms)
        containment.drop_before(core.link, before_ms)
