"""The pipeline week by week: deals created, moved, pushed, won and closed, of all, each team and each segment.

Folded from changes of deals in the order of the log; a week begins on Monday, 00:00 of the fold's zone, and is told
once it is over. What is judged of it (``SERIES``) is a count against how many there could have been.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from msgspec import Struct

from events.types import After
from scoring.features import NAMES
from scoring.stages import Process

ALL = "all"
MAX_GROUPS = 500
"""Teams and segments beyond this count for all alone."""


class Series(NamedTuple):
    """One thing that can go wrong: whether few or many is bad, and how it is said."""

    name: str
    title: str
    is_low_bad: bool


SERIES = (
    Series("created", "deals created", True),
    Series("moved", "steps of standing deals", True),
    Series("ended", "standing deals that closed", True),
    Series("won", "deals won of those that closed", True),
    Series("pushed", "close dates moved back", False),
)


class Week(Struct, frozen=True, kw_only=True, gc=False):
    """One week of one group: ``monday`` as ISO date; ``standing``: deals open when it began, ``moved`` and ``ended`` of
    these alone (what a new deal does in its first week says little of the pace)."""

    monday: str
    group: str
    standing: int = 0
    created: int = 0
    moved: int = 0
    ended: int = 0
    pushed: int = 0
    won: int = 0
    closed: int = 0

    def count(self, series: str) -> int:
        """How many of a series there were."""
        found: int = getattr(self, series)
        return found

    def exposure(self, series: str) -> float:
        """How many there could have been, up to a factor: a week, open deals, closed deals."""
        if series == "created":
            return 1.0
        if series == "won":
            return float(self.closed)
        return float(self.standing + self.created if series == "pushed" else self.standing)


class _Deal(Struct):
    team: str = ""
    segment: str = ""
    stage: str = ""
    close_date: str = ""
    is_standing: bool = False


class Pipeline:
    """Folds changes into weeks.

    Parameters: ``process`` says what ends a deal; ``managers`` (owner → manager) names a team where the deal doesn't;
    ``zone`` is that of the weeks. State: a few texts a deal. A change whose time lies before the current week counts in
    the current week. Limits: a deal moves its counts to a new team from the change of its owner on.
    """

    def __init__(self, process: Process, managers: Mapping[str, str] | None = None, zone: tzinfo = UTC) -> None:
        self._process, self._managers, self._zone = process, managers or {}, zone
        self._closed: set[str] = set()
        self._is_whole = False
        self._deals: dict[str, _Deal] = {}
        self._standing: dict[str, int] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._monday: date | None = None
        self._next_ms = 0

    def take(self, at_ms: int, deal_id: str, changes: Mapping[str, Any]) -> Iterator[Week]:
        """One change of a deal: field → (before, after). Yields the weeks that are over by then, group by group."""
        yield from self.until(at_ms)
        if deal_id in self._closed:
            return
        fields = {NAMES[name]: _after(value) for name, value in changes.items() if name in NAMES}
        deal = self._deals.get(deal_id)
        is_new = deal is None
        if deal is None:
            deal = self._deals[deal_id] = _Deal()
        self._own(deal, fields)
        if is_new:
            self._count(deal, "created")
        if self._move(deal, fields):
            self._closed.add(deal_id)
            del self._deals[deal_id]

    def until(self, at_ms: int) -> Iterator[Week]:
        """The weeks that are over at a moment."""
        if self._monday is None:
            self._begin(at_ms)
        while at_ms >= self._next_ms:
            if self._is_whole:
                yield from self._told()
            self._is_whole = True
            assert self._monday is not None  # noqa: S101 - _begin set it
            self._open_week(self._monday + timedelta(days=7))

    # --- parts --------------------------------------------------------------------------------------------------

    def _own(self, deal: _Deal, fields: Mapping[str, Any]) -> None:
        if "manager_id" in fields or "owner_id" in fields:
            owner = _text(fields.get("owner_id"))
            deal.team = _text(fields.get("manager_id")) or self._managers.get(owner, "") or owner or deal.team
        if "segment" in fields:
            deal.segment = _text(fields["segment"])

    def _move(self, deal: _Deal, fields: Mapping[str, Any]) -> bool:
        """Take stage, close date and outcome; whether the deal is closed by it."""
        stage, closes = _text(fields.get("stage")), _day(fields.get("close_date"))
        if stage and stage != deal.stage:
            if deal.is_standing:
                self._count(deal, "moved")
            deal.stage = stage
        if closes and deal.close_date and closes > deal.close_date:
            self._count(deal, "pushed")
        deal.close_date = closes or deal.close_date
        found = self._process.find(deal.stage)
        is_won = found.is_won or _is_true(fields.get("is_won"))
        is_closed = is_won or found.is_lost or _is_true(fields.get("is_closed"))
        if is_closed:
            self._count(deal, "closed")
            if deal.is_standing:
                self._count(deal, "ended")
        if is_won:
            self._count(deal, "won")
        return is_closed

    def _count(self, deal: _Deal, what: str) -> None:
        for group in self._groups(deal):
            counts = self._counts.setdefault(group, {})
            counts[what] = counts.get(what, 0) + 1

    def _groups(self, deal: _Deal) -> Iterator[str]:
        yield ALL
        for kind, name in (("team", deal.team), ("segment", deal.segment)):
            group = f"{kind} {name}"
            if name and (group in self._counts or group in self._standing or len(self._counts) < MAX_GROUPS):
                yield group

    def _told(self) -> Iterator[Week]:
        monday = self._monday.isoformat() if self._monday else ""
        for group in sorted({*self._counts, *self._standing}):
            yield Week(monday=monday, group=group, standing=self._standing.get(group, 0), **self._counts.get(group, {}))

    def _begin(self, at_ms: int) -> None:
        """The week in which a log begins is not told: how much of it is missing nobody knows."""
        day = datetime.fromtimestamp(at_ms / 1000, self._zone).date()
        self._open_week(day - timedelta(days=day.weekday()))

    def _open_week(self, monday: date) -> None:
        self._monday = monday
        after = monday + timedelta(days=7)
        self._next_ms = int(datetime(after.year, after.month, after.day, tzinfo=self._zone).timestamp() * 1000)
        self._counts = {}
        self._standing = {}
        for deal in self._deals.values():
            deal.is_standing = True
            for group in self._groups(deal):
                self._standing[group] = self._standing.get(group, 0) + 1


def _after(value: Any) -> Any:
    """What a field is after a change."""
    return value.after if isinstance(value, After) else value[1]


def _text(value: Any) -> str:
    return value[:160] if isinstance(value, str) else ""


def _is_true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.casefold() == "true")


def _day(value: Any) -> str:
    """An ISO day from 2000 to 2099; a date that is none says nothing."""
    text = _text(value)[:10]
    try:
        return text if 2000 <= date.fromisoformat(text).year <= 2099 else ""
    except ValueError:
        return ""
