"""What moved a score, in a few words: the record that came, or that time passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from events.types import CrmActivity, CrmChange, Participant, Reason
from scoring.features import NAMES
from scoring.money import parse_minor, shown
from scoring.scorecard import FEATURES, Scorecard
from scoring.state import DealState

_TELLING = ("is_won", "is_closed", "stage", "amount", "close_date", "owner_id", "next_step", "currency", "name")
"""Of several fields in one record, the first of these is what is told."""
_DONE = {"email": "A mail", "call": "A call", "meeting": "A meeting", "task": "A task", "note": "A note"}


def activity_cause(data: CrmActivity) -> str:
    """An activity in a few words: "Petra Vogel wrote", "Competitor named on a call"."""
    kind = data.kind
    if data.status == "cancelled":
        return f"{_DONE[kind]} was cancelled"
    if data.mentions and any(mention[:10].casefold() == "competitor" for mention in data.mentions):
        return f"Competitor named in {_DONE[kind].lower()}"
    if data.scheduled_for and data.status != "done":
        return f"{_DONE[kind]} was booked"
    return _contact(data, _name(data.participants[0]) if data.participants else "")


def _contact(data: CrmActivity, who: str) -> str:
    kind = data.kind
    if kind == "email" and data.direction == "inbound":
        return f"{who or 'The buyer'} wrote"
    if kind == "email":
        return f"A mail to {who}" if who else "A mail was sent"
    if kind in ("call", "meeting"):
        return f"{_DONE[kind]} with {who}" if who else f"{_DONE[kind]} took place"
    return f"{_DONE[kind]} was written down"


def change_cause(data: CrmChange) -> str:
    """A change in a few words: "Close date moved from 2026-03-13 to 2026-03-27"."""
    if data.op == "create":
        return "The deal was opened"
    changes: dict[str, Any] = {}
    for name, change in (data.changes or {}).items():
        known = NAMES.get(name)
        if known is not None:
            changes[known] = change
    for name in _TELLING:
        if name in changes:
            change = changes[name]
            before, after = change if type(change) is tuple else (None, change.after)
            return _moved(name, before, after, _currency(changes))
    return "The record was changed"


def time_cause(card: Scorecard, state: DealState, before: Sequence[int], reasons: Sequence[Reason]) -> str:
    """What time did: the sentence of the feature whose contribution it moved most."""
    plan = card.plan(state.stage)
    moved, largest = "", 0
    for at, (old, new) in enumerate(zip(before, state.bins, strict=False)):
        if old != new:
            points = plan.tables[at].points
            step = abs(points[new][0] - points[old][0])
            if step > largest:
                moved, largest = FEATURES[at], step
    for reason in reasons:
        if reason.feature == moved:
            return reason.sentence
    return "Time passed"


def _moved(name: str, before: Any, after: Any, currency: str) -> str:
    if name == "stage":
        return f"Moved to {_short(after)}"
    if name == "amount":
        return _amount_moved(before, after, currency)
    if name == "close_date":
        return (
            f"Close date moved from {_day(before)} to {_day(after)}" if before else f"Close date set to {_day(after)}"
        )
    if name == "next_step":
        return "A next step was written" if after else "The next step was removed"
    if name in ("is_won", "is_closed"):
        return "Reopened" if after in (False, "false") else "Closed"
    return {"owner_id": "The owner changed", "currency": "The currency changed"}.get(name, "Renamed")


def _amount_moved(before: Any, after: Any, currency: str) -> str:
    new, old = parse_minor(after, currency), parse_minor(before, currency)
    if new is None:
        return "The amount became unknown"
    if old is None or old == new:
        return f"Amount set to {shown(new, currency)}"
    word = "cut" if new < old else "raised"
    return f"Amount {word} from {shown(old, currency)} to {shown(new, currency)}"


def _currency(changes: dict[str, Any]) -> str:
    change = changes.get("currency")
    after = change[1] if type(change) is tuple else getattr(change, "after", None)
    return after[:3].upper() if isinstance(after, str) else ""


def _day(value: Any) -> str:
    return value[:10] if isinstance(value, str) else "none"


def _short(value: Any) -> str:
    return value[:80] if isinstance(value, str) and value else "no stage"


def _name(person: Participant) -> str:
    for said in (person.name, person.contact_id):
        if said is not UNSET and said:
            return said[:80]
    return ""
