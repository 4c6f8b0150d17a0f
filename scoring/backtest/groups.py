"""Whose deals they are and what they are worth, as the log said it at each moment; without an owner, drawn teams."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from events.adapters.base import parse_local
from events.adapters.mapping import Mapping, zone_of
from events.adapters.tables import Row
from events.errors import Refusal
from scoring.money import parse_minor

NOBODY = "unassigned"


class Told(NamedTuple):
    """What a case's rows said, in order of time: when, and what."""

    at_ms: list[int]
    owner: list[str]
    minor: list[int | None]


class Facts:
    """Owners and amounts of cases, as of any moment.

    ``watch`` passes a log's rows on and notes them. A log without an owner column is split into ``teams`` by a hash of
    the case's name: teams that differ by chance alone. An amount that is no sound one (negative, not a number) is
    unknown, and so is one that was never told; both are counted in ``bad_amounts`` and ``has_amounts``.
    """

    def __init__(self, mapping: Mapping, teams: int = 10) -> None:
        self._columns = mapping.columns
        self._zone, self._format = zone_of(mapping), mapping.time.format
        self._told: dict[str, Told] = {}
        self._teams = teams
        self.currency = mapping.currency
        self.bad_amounts = 0
        self.has_amounts = False
        self.has_owners = False

    def watch(self, rows: Iterable[Row | Refusal]) -> Iterator[Row | Refusal]:
        """The same rows; what they say of owners and amounts is kept."""
        if not (self._columns.owner or self._columns.amount):
            yield from rows
            return
        for row in rows:
            if isinstance(row, Row):
                self._take(row)
            yield row

    def settle(self) -> None:
        """Put what was told in the order of time; call it when all rows are read."""
        for case, told in self._told.items():
            order = sorted(range(len(told.at_ms)), key=told.at_ms.__getitem__)
            self._told[case] = Told(*([each[at] for at in order] for each in told))  # type: ignore[arg-type]

    def group(self, case: str, at_ms: int) -> str:
        """Whose case it is by what was told strictly before a moment."""
        if not self.has_owners:
            return f"team {xxh3_64_intdigest(case.encode()) % self._teams + 1}"
        told = self._told.get(case)
        names = told.owner[: bisect_left(told.at_ms, at_ms)] if told else []
        return next((name for name in reversed(names) if name), NOBODY)

    def amount(self, case: str, at_ms: int) -> int | None:
        """Its amount in minor units by what was told strictly before a moment; None: not known."""
        told = self._told.get(case)
        found = told.minor[: bisect_left(told.at_ms, at_ms)] if told else []
        return next((minor for minor in reversed(found) if minor is not None), None)

    def _take(self, row: Row) -> None:
        values, columns = row.values, self._columns
        case = values.get(columns.case, "")
        try:
            at_ms = parse_local(values.get(columns.timestamp, ""), self._zone, self._format)
        except (ValueError, OverflowError):
            return
        owner = values.get(columns.owner, "").strip() if columns.owner else ""
        text = values.get(columns.amount, "").strip() if columns.amount else ""
        minor = parse_minor(text, self.currency) if text else None
        self.bad_amounts += bool(text) and minor is None
        self.has_amounts |= minor is not None
        self.has_owners |= bool(owner)
        told = self._told.setdefault(case, Told([], [], []))
        told.at_ms.append(at_ms)
        told.owner.append(owner)
        told.minor.append(minor)
