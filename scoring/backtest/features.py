"""What was known of each open case at a snapshot: one row a case and snapshot, from events strictly before it."""

from __future__ import annotations

from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from events.adapters.mapping_risk import Risk
from events.times import DAY_MS
from scoring.backtest import clock, closing
from scoring.backtest.log import Bools, EventLog, Floats, Ints
from scoring.backtest.story import Story, Track, tell

WINDOWS = (3, 7, 14, 30)
BY_STATE = ("silence", "age", "state_age", "working_silence", "events")
"""Looked up by whose move it is as well; marks with ``by_state`` come on top."""


class Frame(NamedTuple):
    """Rows: ``case`` (place in the log), ``at_ms``, ``state`` (place in ``states``), ``values`` (rows × names; days
    or counts; NaN: there is none, such as the days since a call where nobody called)."""

    case: Ints
    at_ms: Ints
    state: Ints
    values: Floats
    names: list[str]

    def take(self, chosen: Bools | Ints) -> Frame:
        """Some of the rows."""
        return Frame(self.case[chosen], self.at_ms[chosen], self.state[chosen], self.values[chosen], self.names)


class Reader:
    """Reads rows out of a log at any moments. ``risk`` says what to look at (``story.complete``); ``dates``: at close
    dates, too (``closing.trust``)."""

    def __init__(self, log: EventLog, risk: Risk, zone: ZoneInfo, dates: bool = False) -> None:
        self.log = log
        self._dates = dates
        self._risk = risk
        self._zone = zone
        wall = clock.local_ms(log.at_ms, zone)
        self._working = clock.working_days(wall)
        self.story: Story = tell(log, risk, wall // DAY_MS)
        self.states = self.story.states
        self.by_state = [*BY_STATE]
        for name, mark in risk.marks.items():
            if mark.by_state:
                self.by_state += [f"{name}_last", f"{name}_first"] if mark.first else [f"{name}_last"]

    def rows(self, case: Ints, at_ms: Ints) -> Frame:
        """One row for each case and moment; the case must have an event before it."""
        end = self.log.before(case, at_ms)
        moment = _Moment(self, case, at_ms, end)
        columns = {**moment.ages(), **moment.counts(), **moment.marks()}
        if self._dates:
            columns |= closing.columns(self.log, end - 1, at_ms)
        values = np.column_stack(list(columns.values())) if len(case) else np.zeros((0, len(columns)))
        return Frame(case, at_ms, self.story.state[end - 1], values, list(columns))

    def working_now(self, at_ms: Ints) -> Floats:
        """Working days at given moments."""
        return clock.working_days(clock.local_ms(at_ms, self._zone))

    def working_at(self, index: Ints) -> Floats:
        """Working days at given events."""
        return self._working[index]

    @property
    def risk(self) -> Risk:
        """What is looked at."""
        return self._risk


class _Moment:
    """Rows in the making: each method gives some columns."""

    def __init__(self, reader: Reader, case: Ints, at_ms: Ints, end: Ints) -> None:
        self._reader = reader
        self._log, self._story = reader.log, reader.story
        self._case, self._at_ms, self._end = case, at_ms, end
        self._last = end - 1
        self._start = self._log.starts[case]
        self._working = reader.working_now(at_ms)

    def ages(self) -> dict[str, Floats]:
        """Days and working days since the last event, the first, and the state's beginning."""
        since = self._story.since[self._last]
        found = {
            "silence": self._days(self._last),
            "working_silence": self._working_days(self._last),
            "age": self._days(self._start),
            "working_age": self._working_days(self._start),
            "state_age": self._days(since),
            "working_state_age": self._working_days(since),
        }
        buyer = self._story.buyer
        if buyer is not None:
            last = buyer.last[self._last]
            last = np.where(last < 0, self._start, last)
            found["buyer_silence"] = self._days(last)
            found["working_buyer_silence"] = self._working_days(last)
        return found

    def counts(self) -> dict[str, Floats]:
        """Events, by window and in all; active days; the longest pause; states so far; what is open."""
        story = self._story
        found = {"state": story.state[self._last].astype(float)}
        found["events"] = (self._end - self._start).astype(float)
        for days in WINDOWS:
            begin = np.maximum(self._log.before(self._case, self._at_ms - days * DAY_MS), self._start)
            found[f"events_{days}d"] = (self._end - begin).astype(float)
        active = story.day_count[self._last].astype(float)
        found["active_days"] = active
        found["active_share"] = active / (self._days(self._start) + 1.0)
        found["longest_gap"] = story.gap_ms[self._last] / DAY_MS
        found["moves"] = story.moves[self._last].astype(float)
        for name, balance in story.balances.items():
            found[f"{name}_open"] = balance[self._last].astype(float)
        return found

    def marks(self) -> dict[str, Floats]:
        """For each mark: how many, days since the last and first, days that the answer took."""
        found: dict[str, Floats] = {}
        for name, mark in self._reader.risk.marks.items():
            track = self._story.marks[name]
            found[f"{name}_count"] = track.so_far[self._last].astype(float)
            found[f"{name}_last"] = self._days_of(track.last)
            if mark.first:
                found[f"{name}_first"] = self._days_of(track.first)
            if mark.answers:
                found[f"{name}_answer"] = self._answer(self._story.marks[mark.answers], track)
        return found

    def _answer(self, asked: Track, answered: Track) -> Floats:
        first, then = asked.first[self._last], answered.first[self._last]
        days = (self._log.at_ms[then] - self._log.at_ms[first]) / DAY_MS
        return np.where((first >= 0) & (then >= 0), days, np.nan)

    def _days(self, index: Ints) -> Floats:
        return np.asarray((self._at_ms - self._log.at_ms[index]) / DAY_MS, dtype=np.float64)

    def _working_days(self, index: Ints) -> Floats:
        return self._working - self._reader.working_at(index)

    def _days_of(self, index: Ints) -> Floats:
        found = index[self._last]
        return np.where(found >= 0, self._days(found), np.nan)
