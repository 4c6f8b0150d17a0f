"""What the writer thread holds in memory: the stages with their place in the log, and the control rows.

All of it can be made again from the store (``streams.standalone.recovery``). When a transaction fails, it is thrown
away and made again, so that memory never runs ahead of what is durable.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

from events.times import HOUR_MS
from events.types import Event, LogEvent
from governance.containment import identities
from governance.control import ControlRow
from governance.settings import Settings
from storage import approvals
from streams.everybody import Everybody
from streams.gating import DecisionIds, Gated
from streams.records import Entry, Stage
from streams.standalone.asked import Asked
from streams.standalone.decided import Decided
from streams.standalone.recent import RecentEvents
from streams.standalone.types import Prepared


class Lane:
    """One input topic: its stage, the next offset, and what the open transaction has appended."""

    __slots__ = (
        "appended_events",
        "appended_ids",
        "appended_raws",
        "appended_times",
        "last_at_ms",
        "next_offset",
        "pending",
        "resume_offset",
        "stage",
        "topic",
        "topic_id",
    )

    def __init__(self, topic: str, topic_id: str, stage: Stage) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.stage = stage
        self.next_offset = 0
        self.resume_offset = 0
        self.last_at_ms = 0
        self.pending: list[Entry] = []
        self.appended_times: list[int] = []
        self.appended_raws: list[bytes] = []
        self.appended_ids: list[bytes] = []
        self.appended_events: list[Event] = []

    def append(self, at_ms: int, raw: bytes, event: LogEvent, ids: bytes) -> int:
        """Take a record into the open transaction; returns its offset."""
        offset = self.next_offset
        self.next_offset = offset + 1
        self.pending.append((offset, at_ms, event))
        self.appended_times.append(at_ms)
        self.appended_raws.append(raw)
        self.appended_ids.append(ids)
        self.appended_events.append(event)
        return offset

    def extend(self, at_ms: int, items: Sequence[Prepared]) -> None:
        """Take producers' events into the open transaction."""
        start = self.next_offset
        self.next_offset = end = start + len(items)
        events: list[Any] = [item.event for item in items]
        self.pending.extend(zip(range(start, end), repeat(at_ms), events, strict=False))
        self.appended_times.extend([at_ms] * len(items))
        self.appended_raws.extend([item.raw for item in items])
        self.appended_ids.extend([item.ids for item in items])
        self.appended_events.extend(events)

    def take_pending(self) -> list[Entry]:
        """What the stage has not judged yet."""
        pending, self.pending = self.pending, []
        return pending

    def committed(self) -> None:
        """The open transaction is durable."""
        if self.appended_times:
            self.last_at_ms = self.appended_times[-1]
        self.appended_times, self.appended_raws, self.appended_ids, self.appended_events = [], [], [], []


class Core:
    """Everything that the writer thread decides with, and its connection."""

    def __init__(
        self,
        *,
        settings: Settings,
        engine_id: str,
        link: sqlite3.Connection,
        lanes: dict[str, Lane],
        control: dict[str, ControlRow],
        recent: RecentEvents,
        clock: Callable[[], int],
    ) -> None:
        self.settings = settings
        self.engine_id = engine_id
        self.link = link
        self.lanes = lanes
        self.control = control
        self.recent = recent
        self.gated: dict[str, Gated] = {}
        self.everybody: dict[str, Everybody] = {}
        self.watched: set[tuple[str, str]] = approvals.watched(link)
        self.identities = identities(settings)
        self.source = f"/tripline/{engine_id}"
        self.decided = Decided()
        self.asked = Asked(settings.gate.remember_hours * HOUR_MS)
        self.ids = DecisionIds()
        self.last_ms = max((lane.last_at_ms for lane in lanes.values()), default=0)
        self._clock = clock
        self.events_since_snapshot = 0
        self.counts: dict[str, int] = {}
        self.tick_ms = 0

    def now_ms(self) -> int:
        """Log time: the clock's, but never back."""
        now = self._clock()
        if now < self.last_ms:
            return self.last_ms
        self.last_ms = now
        return now

    def add_counts(self, counts: Mapping[tuple[str, ...], int]) -> None:
        """Add what a committed round counted."""
        for what, number in counts.items():
            name = ".".join(what)
            self.counts[name] = self.counts.get(name, 0) + number
