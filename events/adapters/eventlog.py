"""Any event log (case, activity, timestamp) to CRM changes and activities, by a mapping.

Each case becomes a deal. Its first event creates it; an activity with a stage moves it; a touch is an activity
around it; the first activity of ``outcome`` closes it, and nothing of the case at or after that moment is used
(what a log tells after the outcome would leak it into anything that learns from the import).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal
from zoneinfo import ZoneInfo

from msgspec import UNSET, Struct, UnsetType

from events import times
from events.adapters.base import (
    DataIssue,
    IssueKind,
    Item,
    bad_row,
    in_time_order,
    money,
    parse_date,
    parse_local,
    shown,
)
from events.adapters.mapping import Mapping, Touch, zone_of
from events.adapters.tables import Row
from events.errors import BadReason, Refusal
from events.types import (
    ActivityEvent,
    Actor,
    After,
    ChangeEvent,
    CrmActivity,
    CrmChange,
    Event,
    FieldChanges,
)

_OTHER = Touch("task", "internal")


class Step(Struct, frozen=True, order=True):
    """One event of a case, in the order of time and then of the file."""

    at_ms: int
    line: int
    activity: str
    owner: str
    amount: str
    name: str
    close_date: str


def read(rows: Iterable[Row | Refusal], mapping: Mapping, file: str = "") -> Iterator[Item]:
    """Refusals and findings as they are found, then all events in time order.

    The whole log is held in memory (about 0.5 kB an event), because logs are often ordered by case.
    """
    cases: dict[str, list[Step]] = {}
    zone = zone_of(mapping)
    for row in rows:
        if isinstance(row, Refusal):
            yield row
            continue
        found = _step(row, mapping, zone)
        if isinstance(found, Refusal):
            yield found
        else:
            cases.setdefault(row.values[mapping.columns.case], []).append(found)
    yield from _unmapped(cases, mapping, file)
    timed: list[tuple[int, Event]] = []
    for case, steps in cases.items():
        timed.extend(_Case(case, mapping).events(sorted(steps)))
    yield from in_time_order(timed)


def _step(row: Row, mapping: Mapping, zone: ZoneInfo) -> Step | Refusal:
    columns = mapping.columns
    values = row.values
    for name in (columns.case, columns.activity, columns.timestamp):
        if not values.get(name, "").strip():
            have = ", ".join(values)
            reason = BadReason.MISSING_FIELD
            return bad_row(row.line, row.text, name, f"column {name!r} is missing or empty; given: {have}", reason)
    try:
        at_ms = parse_local(values[columns.timestamp], zone, mapping.time.format)
    except (ValueError, OverflowError) as problem:
        message = f"column {columns.timestamp!r}: {problem}"
        return bad_row(row.line, row.text, columns.timestamp, message, BadReason.BAD_TIME)
    owner, amount, name, close = (
        values.get(each, "") for each in (columns.owner, columns.amount, columns.name, columns.close_date)
    )
    return Step(at_ms, row.line, values[columns.activity], owner, amount, name, _day(close, zone, mapping))


def _day(text: str, zone: ZoneInfo, mapping: Mapping) -> str:
    """A close date as CRMs write it; what is no date stays as it is, and is unknown where it is read."""
    try:
        return parse_date(text, zone, mapping.time.format).isoformat() if text.strip() else ""
    except (ValueError, OverflowError):
        return text.strip()


def _unmapped(cases: dict[str, list[Step]], mapping: Mapping, file: str) -> Iterator[DataIssue]:
    """One finding for each activity that the mapping doesn't name, and for each name that the log doesn't have."""
    seen = Counter(step.activity for steps in cases.values() for step in steps)
    outcome = {*mapping.outcome.won, *mapping.outcome.lost}
    named = {*mapping.stages, *mapping.touches, *mapping.ignore, *outcome}
    column = mapping.columns.activity
    for activity in sorted(seen.keys() - named):
        fate = "taken as an internal task" if mapping.other == "task" else "ignored"
        message = f"{seen[activity]} events of {shown(activity)!r}, which the mapping doesn't name: {fate}"
        yield DataIssue(IssueKind.UNMAPPED, file, 0, column, shown(activity), message)
    for activity in sorted(named - seen.keys()):
        message = f"the mapping names {activity!r}, which the log doesn't have"
        yield DataIssue(IssueKind.UNUSED, file, 0, column, activity, message)


class _Case:
    """A deal in the making: what its events become, one after the other."""

    def __init__(self, case: str, mapping: Mapping) -> None:
        self._case = case
        self._mapping = mapping
        self._stage = ""
        self._owner = ""
        self._close_date = ""
        self._count = 0

    def events(self, steps: list[Step]) -> Iterator[tuple[int, Event]]:
        """The deal's events up to and with its outcome."""
        outcome = self._mapping.outcome
        ends = {**dict.fromkeys(outcome.won, True), **dict.fromkeys(outcome.lost, False)}
        end_ms = next((step.at_ms for step in steps if step.activity in ends), None)
        for step in steps:
            if step.activity in ends and step.at_ms == end_ms:
                if not self._stage:
                    yield self._create(step)
                yield self._close(step, ends[step.activity])
                return
            if end_ms is None or step.at_ms < end_ms:
                yield from self._one(step)

    def _one(self, step: Step) -> Iterator[tuple[int, Event]]:
        mapping = self._mapping
        if not self._stage:
            yield self._create(step)
        else:
            if step.activity in mapping.stages and mapping.stages[step.activity] != self._stage:
                yield self._move(step)
            if step.close_date and step.close_date != self._close_date:
                yield self._reschedule(step)
        if step.activity in mapping.touches:
            yield self._touch(step, mapping.touches[step.activity])
        elif mapping.other == "task" and step.activity not in mapping.stages and step.activity not in mapping.ignore:
            yield self._touch(step, _OTHER)

    def _create(self, step: Step) -> tuple[int, Event]:
        mapping = self._mapping
        self._stage = mapping.stages.get(step.activity, mapping.first_stage)
        self._owner = step.owner
        changes: FieldChanges = {
            "name": (None, step.name or self._case),
            "stage": (None, self._stage),
            "is_closed": (None, False),
        }
        amount = money(step.amount) if step.amount else None
        if amount is not None:
            changes["amount"] = (None, amount)
            changes["currency"] = (None, mapping.currency or None)
        if step.owner:
            changes["owner_id"] = (None, step.owner)
        if step.close_date:
            changes["close_date"] = (None, step.close_date)
            self._close_date = step.close_date
        return self._change(step, "create", changes)

    def _reschedule(self, step: Step) -> tuple[int, Event]:
        before, self._close_date = self._close_date or None, step.close_date
        return self._change(step, "update", {"close_date": (before, step.close_date)}, "close-date")

    def _move(self, step: Step) -> tuple[int, Event]:
        before, self._stage = self._stage, self._mapping.stages[step.activity]
        return self._change(step, "update", {"stage": (before, self._stage)})

    def _close(self, step: Step, is_won: bool) -> tuple[int, Event]:
        outcome = self._mapping.outcome
        stage = outcome.won_stage if is_won else outcome.lost_stage
        changes: FieldChanges = {
            "stage": (self._stage, stage),
            "is_closed": (False, True),
            "is_won": After(is_won),
        }
        return self._change(step, "update", changes, "close")

    def _change(
        self, step: Step, op: Literal["create", "update"], changes: FieldChanges, what: str = ""
    ) -> tuple[int, Event]:
        data = CrmChange(
            object=self._mapping.object,
            record_id=self._case,
            op=op,
            changes=changes,
            actor=self._actor(step),
            deal_id=self._case,
            owner_id=self._owner or UNSET,
            system=self._mapping.system,
        )
        return step.at_ms, ChangeEvent(**self._envelope(step, what or op), data=data)

    def _touch(self, step: Step, touch: Touch) -> tuple[int, Event]:
        at = times.format_ms(step.at_ms)
        data = CrmActivity(
            kind=touch.kind,
            deal_id=self._case,
            direction=touch.direction,
            occurred_at=at,
            logged_by=self._actor(step),
            system=self._mapping.system,
        )
        return step.at_ms, ActivityEvent(**self._envelope(step, "touch"), data=data)

    def _actor(self, step: Step) -> Actor | UnsetType:
        return Actor("human", step.owner) if step.owner else UNSET

    def _envelope(self, step: Step, what: str) -> dict[str, Any]:
        """The attributes; ids sort in the order of the story, because a replay orders one instant by id."""
        self._count += 1
        return {
            "specversion": "1.0",
            "id": f"{self._case}/{self._count:06d}/{what}",
            "source": self._mapping.source,
            "time": times.format_ms(step.at_ms),
            "subject": f"deal/{self._case}",
            "partitionkey": self._case,
            "datacontenttype": "application/json",
        }
