"""What every adapter yields, and the small tools that they share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from events import times
from events.errors import BadEvent, BadReason, Refusal
from events.types import Event

MAX_SHOWN = 120


class IssueKind(StrEnum):
    """The kinds of findings about data. A finding is reported; the row is still used as far as it makes sense."""

    NAME_VARIANT = "name_variant"
    UNKNOWN_NAME = "unknown_name"
    MISSING_VALUE = "missing_value"
    BAD_VALUE = "bad_value"
    MISSPELLING = "misspelling"
    DATES_REVERSED = "dates_reversed"
    CONTRADICTION = "contradiction"
    DUPLICATE_ID = "duplicate_id"
    UNUSED = "unused"
    UNMAPPED = "unmapped"
    AMBIGUOUS_TIME = "ambiguous_time"


class DataIssue(Struct, frozen=True):
    """Something wrong with the data itself. ``line`` counts from 1 (the header is line 1); 0 is the whole file."""

    kind: IssueKind
    file: str
    line: int
    column: str
    value: str
    message: str


Item = Event | Refusal | DataIssue
"""What an adapter yields: events in time order; refusals (index = line, from 1) and issues as they are found."""


def bad_row(line: int, raw: bytes | str, field: str, message: str, reason: BadReason = BadReason.BAD_VALUE) -> Refusal:
    """The refusal of a row that can't become an event."""
    data = raw if isinstance(raw, bytes) else raw.encode("utf-8", "replace")
    return Refusal(line, data, BadEvent(reason, f"line {line}: {message}", field))


def in_time_order(events: Iterable[tuple[int, Event]]) -> list[Event]:
    """The events by time; those of one instant by source and id, as a replay would take them."""
    return [event for _, event in sorted(events, key=lambda each: (each[0], each[1].source, each[1].id))]


def parse_local(text: str, zone: ZoneInfo, pattern: str = "") -> int:
    """Milliseconds of a date-time as other systems write it; ``zone`` holds where the text names none.

    ``pattern`` is in strptime's language; without one, anything ISO 8601 is taken. Raises ValueError.
    In the hour that the clocks repeat in autumn, the first of the two is meant.
    """
    text = text.strip()
    moment = datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return (moment - times.EPOCH) // times.MS


def parse_date(text: str, zone: ZoneInfo, pattern: str = "") -> date:
    """A day as other systems write it: ISO 8601, or a date-time as ``parse_local`` takes it. Raises ValueError."""
    text = text.strip()
    try:
        return date.fromisoformat(text)
    except ValueError:
        return (times.EPOCH + parse_local(text, zone, pattern) * times.MS).astimezone(zone).date()


def money(text: str) -> str | None:
    """A money amount as the decimal string of the wire, with two digits at least; None when it isn't one."""
    try:
        amount = Decimal(text.replace(",", "").strip())
    except InvalidOperation:
        return None
    if not amount.is_finite() or amount < 0:
        return None
    return f"{amount:.2f}" if amount == amount.quantize(Decimal("0.01")) else str(amount)


def shown(value: Any) -> str:
    """A value as it is shown in a finding, cut to a readable length."""
    text = str(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
