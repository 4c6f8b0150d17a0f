"""A log's deals as they stood week by week, by the live stage itself: what is learned from is what is scored.

The stage reads the records as it does live and scores by the grid (``scoring.training.grid``), but says nothing and
sets no timers; before each snapshot it judges every open deal for that moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from events.times import DAY_MS
from events.types import ChangeEvent, ModelVersion
from governance.settings import Deals
from scoring.backtest.clock import snapshots
from scoring.model import hash_of
from scoring.training.grid import KIND, grid
from scoring.training.rows import Collector, History
from streams.deal_models import Scoring
from streams.deals import Deal, DealsStage
from streams.keyed import Keyed
from streams.records import Entry, Output, Partition
from streams.routing import CRM

_WEEK = timedelta(days=8) // timedelta(milliseconds=1)
Batch = tuple[int, Sequence[Entry]]
"""The number of a partition of ``crm.events``, and records of it in log order."""


class Watcher(DealsStage):
    """The deals stage of one partition, watched by a collector."""

    def __init__(self, index: int, settings: Deals, zone: ZoneInfo, collector: Collector, until_ms: int) -> None:
        super().__init__(Partition("training", CRM, CRM, index), settings)
        tables = grid(self.terms.process, settings.silent_days)
        said = ModelVersion(version=0, kind=KIND, hash=hash_of(tables), tables=tables)
        self._use(Scoring(self.terms.process, settings.silent_days, said))
        self._collector, self._zone, self._until_ms = collector, zone, until_ms
        self._look_ms = -1
        self.last_ms = -1

    def process(self, entries: Sequence[Entry]) -> list[Output]:
        """Read records; a snapshot is taken behind all records before it. Says nothing."""
        held: list[Entry] = []
        for entry in entries:
            at_ms = entry[1]
            if at_ms >= self._until_ms:
                break
            if self._look_ms < 0:
                self._look_ms = self._next_look(at_ms)
            if at_ms >= self._look_ms:
                super().process(held)
                held = []
                while at_ms >= self._look_ms:
                    self.look(self._look_ms)
                    self._look_ms = self._next_look(self._look_ms + DAY_MS)
            self.last_ms = max(self.last_ms, at_ms)
            held.append(entry)
        super().process(held)
        return []

    def end(self, until_ms: int) -> None:
        """The log has ended: the snapshots up to there, and the deals as they stand there."""
        while 0 <= self._look_ms < until_ms:
            self.look(self._look_ms)
            self._look_ms = self._next_look(self._look_ms + DAY_MS)
        self.look(until_ms)

    def look(self, at_ms: int) -> None:
        """A row for each open deal."""
        for key in sorted(self.keys):
            state = self.keys[key].body.state
            if state.is_open:
                self.card.judge(state, at_ms)
                self._collector.row(key, at_ms, state)

    def _next_look(self, from_ms: int) -> int:
        return snapshots(from_ms, from_ms + _WEEK, "weekly", self._zone)[0]

    # --- what the live stage does besides ---------------------------------------------------------------------------

    def on_system(self, offset: int, at_ms: int, event: Any, out: list[Output]) -> bool:
        """Which model scored makes no difference to what deals were like."""
        return False

    def on_tick(self, offset: int, tick_ms: int, out: list[Output]) -> None:
        """No timers: each snapshot judges every deal."""

    def _is_moved(self, deal: Deal) -> bool:
        return False

    def _note(self, keyed: Keyed[Deal]) -> None:
        pass

    def _change(self, offset: int, at_ms: int, event: ChangeEvent, keyed: Keyed[Deal]) -> None:
        before = keyed.body.state.status
        super()._change(offset, at_ms, event, keyed)
        now = keyed.body.state.status
        if now != before:
            self._collector.change(keyed.key, at_ms, now)


def read_history(batches: Iterable[Batch], settings: Deals, until_ms: int | None = None) -> History:
    """The weekly rows of a log (Mondays, 08:00 of the deals' time zone), read up to ``until_ms`` or to its end."""
    collector, zone = Collector(), ZoneInfo(settings.time_zone)
    watchers: dict[int, Watcher] = {}
    for index, entries in batches:
        watcher = watchers.get(index)
        if watcher is None:
            watcher = watchers[index] = Watcher(index, settings, zone, collector, until_ms or 1 << 62)
        watcher.process(entries)
    end_ms = until_ms or max((watcher.last_ms for watcher in watchers.values()), default=-1) + 1
    for watcher in watchers.values():
        watcher.end(end_ms)
    return collector.done(end_ms)
