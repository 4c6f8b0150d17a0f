"""Rows of an event log to cases, activities and times; what can't be read is kept with its line, not lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from events.adapters.base import bad_row, parse_local, shown
from events.adapters.mapping import Mapping, zone_of
from events.adapters.tables import Row
from events.errors import BadReason, Refusal
from scoring.backtest.errors import BacktestError
from scoring.backtest.log import EventLog, Raw, gather

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
    columns = mapping.columns
    wanted = (columns.case, columns.activity, columns.timestamp)
    zone = zone_of(mapping)
    cases: list[str] = []
    activities: list[str] = []
    times: list[int] = []
    lines: list[int] = []
    dead: list[Refusal] = []
    present: Counter[str] = Counter()
    have: list[str] = []
    for row in rows:
        if isinstance(row, Refusal):
            dead.append(row)
            continue
        values = row.values
        have = have or list(values)
        missing = [name for name in wanted if not values.get(name, "").strip()]
        if missing:
            present.update(name for name in wanted if name in values)
            dead.append(_missing(row, missing[0]))
            continue
        try:
            at_ms = parse_local(values[columns.timestamp], zone, mapping.time.format)
        except (ValueError, OverflowError) as problem:
            present.update(wanted)
            message = f"column {columns.timestamp!r}: {problem}"
            dead.append(bad_row(row.line, row.text, columns.timestamp, message, BadReason.BAD_TIME))
            continue
        cases.append(values[columns.case])
        activities.append(values[columns.activity])
        times.append(at_ms)
        lines.append(row.line)
    total = len(cases) + len(dead)
    if not cases:
        _no_column(wanted, present, have)
    if len(dead) > MAX_DEAD_SHARE * total or not cases:
        first = dead[0].error.message if dead else "the log is empty"
        raise BacktestError(f"{len(dead):,} of {total:,} rows can't be read; the first: {first}")
    _check_outcome(mapping, activities)
    log = gather(Raw(cases, activities, times, lines), mapping.outcome.won, mapping.outcome.lost)
    return Read(log, dead, total, _notes(mapping, log, set(activities)))


def _missing(row: Row, name: str) -> Refusal:
    message = f"column {name!r} is missing or empty; given: {', '.join(row.values)}"
    return bad_row(row.line, row.text, name, message, BadReason.MISSING_FIELD)


def _no_column(wanted: Sequence[str], present: Counter[str], have: list[str]) -> None:
    for name, key in zip(wanted, ("case", "activity", "timestamp"), strict=True):
        if have and not present[name]:
            raise BacktestError(
                f"[columns] {key} of the mapping is {name!r}, which the log doesn't have; it has {', '.join(have)}"
            )


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
