"""Rows of an event log to cases, activities and times; what can't be read is kept with its line, not lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from events.adapters.base import bad_row, parse_local, shown
from events.adapters.mapping import Mapping, zone_of
from events.adapters.tables import Row
from events.errors import BadReason, Refusal
from scoring.backtest.closing import told_ms
from scoring.backtest.errors import BacktestError
from scoring.backtest.log import NEVER, EventLog, Raw, gather

MAX_DEAD_SHARE = 0.5
MAX_NAMES = 40


class Read(NamedTuple):
    """The log, the rows that could not be read, and how many rows there were in all."""

    log: EventLog
    dead: list[Refusal]
    rows: int
    notes: list[str]


def read(rows: Iterable[Row | Refusal], mapping: Mapping) -> Read:
    """All rows of a log. Raises BacktestError when a column or outcome of the mapping isn't there at all, or when more
    than half of the rows can't be read."""
    taken = _Rows(mapping)
    for row in rows:
        if isinstance(row, Refusal):
            taken.dead.append(row)
        else:
            taken.take(row)
    taken.check()
    _check_outcome(mapping, taken.activities)
    raw = Raw(taken.cases, taken.activities, taken.times, taken.lines, taken.closings)
    log = gather(raw, mapping.outcome.won, mapping.outcome.lost)
    notes = _notes(mapping, log, set(taken.activities))
    if taken.bad_closings:
        notes.append(
            f"{taken.bad_closings:,} rows have a close date that is none (or not in 2000 to 2099): unknown there"
        )
    return Read(log, taken.dead, taken.total, notes)


class _Rows:
    """What was read so far, and what could not be."""

    def __init__(self, mapping: Mapping) -> None:
        columns = mapping.columns
        self._case, self._activity, self._at = self._wanted = (columns.case, columns.activity, columns.timestamp)
        self._close = columns.close_date
        self._zone, self._format = zone_of(mapping), mapping.time.format
        self._present: Counter[str] = Counter()
        self._have: list[str] = []
        self.cases: list[str] = []
        self.activities: list[str] = []
        self.times: list[int] = []
        self.lines: list[int] = []
        self.closings: list[int] | None = [] if self._close else None
        self.bad_closings = 0
        self.dead: list[Refusal] = []
        self._has_close = False

    @property
    def total(self) -> int:
        return len(self.cases) + len(self.dead)

    def take(self, row: Row) -> None:
        values = row.values
        self._have = self._have or list(values)
        missing = [name for name in self._wanted if not values.get(name, "").strip()]
        if missing:
            self._present.update(name for name in self._wanted if name in values)
            self.dead.append(_missing(row, missing[0]))
            return
        try:
            at_ms = parse_local(values[self._at], self._zone, self._format)
        except (ValueError, OverflowError) as problem:
            self._present.update(self._wanted)
            message = f"column {self._at!r}: {problem}"
            self.dead.append(bad_row(row.line, row.text, self._at, message, BadReason.BAD_TIME))
            return
        self.cases.append(values[self._case])
        self.activities.append(values[self._activity])
        self.times.append(at_ms)
        self.lines.append(row.line)
        if self.closings is not None:
            self._has_close |= self._close in values
            found = told_ms(values.get(self._close, ""), self._zone, self._format)
            self.bad_closings += found == NEVER
            self.closings.append(found)

    def check(self) -> None:
        """Raises BacktestError when too little was read."""
        if not self.total:
            raise BacktestError("the log is empty: it has no row under its header, or no event")
        for name, key in zip(self._wanted, ("case", "activity", "timestamp"), strict=True):
            if not self.cases and self._have and not self._present[name]:
                have = ", ".join(self._have)
                where = f"[columns] {key} of the mapping is {name!r}"
                raise BacktestError(f"{where}, which the log doesn't have; it has {have}")
        if self.cases and self.closings is not None and not self._has_close:
            where = f"[columns] close_date of the mapping is {self._close!r}"
            raise BacktestError(f"{where}, which the log doesn't have; it has {', '.join(self._have)}")
        if len(self.dead) > MAX_DEAD_SHARE * self.total:
            first = self.dead[0].error.message
            raise BacktestError(f"{len(self.dead):,} of {self.total:,} rows can't be read; the first: {first}")


def _missing(row: Row, name: str) -> Refusal:
    message = f"column {name!r} is missing or empty; given: {', '.join(row.values)}"
    return bad_row(row.line, row.text, name, message, BadReason.MISSING_FIELD)


def _check_outcome(mapping: Mapping, activities: Sequence[str]) -> None:
    seen = Counter(activities)
    for key, names in (("won", mapping.outcome.won), ("lost", mapping.outcome.lost)):
        if not any(name in seen for name in names):
            have = ", ".join(repr(shown(name)) for name, _ in seen.most_common(MAX_NAMES))
            named = ", ".join(map(repr, names)) or "no activity"
            raise BacktestError(
                f"[outcome] {key} of the mapping names {named}, which the log doesn't have: what wins and what loses "
                f"must both be there; the log has {have}"
            )


def _notes(mapping: Mapping, log: EventLog, seen: set[str]) -> list[str]:
    """What a reader should know of the log before believing anything."""
    risk = mapping.risk
    tables = [
        *((f"risk.states {state.name!r}", state.begins) for state in risk.states),
        *((f"risk.marks.{name}", mark.activities) for name, mark in risk.marks.items()),
        *((f"risk.balances.{name}", [*of.opens, *of.closes]) for name, of in risk.balances.items()),
        ("risk.buyer", risk.buyer),
    ]
    found = [
        f"{where} of the mapping names {name!r}, which the log doesn't have"
        for where, names in tables
        for name in names
        if name not in seen
    ]
    if log.stillborn:
        found.append(f"{log.stillborn:,} cases begin with their outcome: they were never open, and are left out")
    return found
