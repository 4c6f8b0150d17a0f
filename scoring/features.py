"""What each record does to a deal's features: O(1), from that record and the state before it, nothing later.

Knowledge time (``at_ms``) drives silence; a record whose effect lies more than five minutes before it is backlog
and counts from its effect, so that a late import does not wake a deal that has been silent for weeks. Nothing ever
takes effect in the future: it is held back to ``at_ms``.

Fallbacks: a close date outside 2000–2099 is unknown; an amount that is negative, no number or absurd is unknown; a
change of currency starts the amount's history anew; a stage that nobody described has the usual stay of
``stages.UNKNOWN_NORM_DAYS`` and is no step back; a deal that closes before it opens stays closed.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from msgspec import UNSET, Struct

from events.times import DAY_MS, BadTime, parse_ms
from events.types import CrmActivity, CrmChange, Participant
from scoring.money import parse_minor
from scoring.stages import Process
from scoring.state import (
    FAR_FUTURE,
    FAR_PAST,
    MAX_COUNT,
    MAX_DAYS,
    MAX_MEETINGS,
    MAX_PEOPLE,
    MAX_TOUCHES,
    Age,
    DealState,
    Person,
    Status,
)

BACKLOG_MS = 300_000
DEAL_OBJECTS = frozenset({"opportunity", "deal", "deals"})
"""Objects that are deals, whatever else a record says (in lower case)."""
_EPOCH = date(1970, 1, 1).toordinal()
_YES = (True, 1, "true", "True", "1", "yes")
_ENDING = ("stage", "is_won", "is_closed")
_NO = (False, 0, "false", "False", "0", "no")


class Terms(Struct, frozen=True):
    """What reading a CRM depends on: its process, the currency of an amount that names none, the managers by owner,
    and the zone in which a close date ends."""

    process: Process
    currency: str = "EUR"
    managers: dict[str, str] = {}
    zone: tzinfo = UTC


def effect_ms(said: Any, event_time: str, at_ms: int) -> int:
    """From when a record counts: ``at_ms``, or its effect when that lies more than five minutes before."""
    try:
        effect = parse_ms(said if type(said) is str else event_time)
    except BadTime:
        return at_ms
    return effect if effect < at_ms - BACKLOG_MS else at_ms


# --- activities ----------------------------------------------------------------------------------------------------


EVERYTHING = -1
"""What ``apply_activity`` returns when the deal must be judged afresh."""
COUNTED = 1 << len(Age)
"""Beside the bits 1 << Age: the counts of recent contacts changed."""
PEOPLE = COUNTED << 1
"""Beside them: somebody took part who had not in the last 30 days."""
_SILENCE = 1 << Age.SILENCE
_BUYER = 1 << Age.BUYER
_EXECUTIVE = 1 << Age.EXECUTIVE
_LONG_GAP_MS = DAY_MS
"""A pause below this is in the first bin of every model, and called none."""
_PEOPLE_WINDOW_MS = 30 * DAY_MS


def apply_activity(state: DealState, data: CrmActivity, when_ms: int, at_ms: int) -> int:  # noqa: PLR0912 - the hot path
    """A mail, call, meeting, task or note. ``when_ms`` comes from ``effect_ms``, ``at_ms`` is knowledge time.

    Returns which features it made fresh, as bits 1 << Age, ``COUNTED`` and ``PEOPLE``, or ``EVERYTHING``.
    """
    if data.scheduled_for or data.status is not UNSET:
        if data.status == "cancelled":
            _cancel(state, data.scheduled_for, at_ms)
            return EVERYTHING
        ahead_ms = _scheduled(data.scheduled_for)
        if ahead_ms > at_ms:
            _book(state, ahead_ms)
            _sign(state, when_ms, data)
            return EVERYTHING
    if data.direction == "internal" or data.kind in ("task", "note"):
        fresh = _sign(state, when_ms, data) | _mention(state, data, when_ms)
        return fresh if when_ms == at_ms else EVERYTHING
    touches, origins = state.touches, state.origins
    if touches:
        gap_ms = when_ms - touches[-1]
        if when_ms != at_ms or gap_ms < 0:
            return _late(state, data, when_ms)
        if gap_ms > state.longest_gap_ms:
            state.longest_gap_ms = gap_ms
            if gap_ms >= _LONG_GAP_MS:
                state.has_new_facts = True
    elif when_ms != at_ms:
        return _late(state, data, when_ms)
    touches.append(when_ms)
    if len(touches) > MAX_TOUCHES:
        del touches[0]
    origins[0] = when_ms
    fresh = _SILENCE | COUNTED
    if data.direction == "inbound":
        origins[1] = when_ms
        state.has_buyer = True
        fresh |= _BUYER
    if data.participants:
        for person in data.participants:
            if person.contact_id in state.people_ids and not person.executive:
                place = state.people_ids.index(person.contact_id)
                if state.people_ms[place] <= when_ms - _PEOPLE_WINDOW_MS:
                    fresh |= PEOPLE
                state.people_ms[place] = when_ms
            else:
                fresh |= _meet(state, person, when_ms)
    return fresh | _mention(state, data, when_ms) if data.mentions else fresh


def roll_meetings(state: DealState, now_ms: int) -> None:
    """Forget meetings whose time has passed."""
    meetings = state.meetings
    while meetings and meetings[0] <= now_ms:
        del meetings[0]
    state.origins[Age.MEETING] = meetings[0] if meetings else FAR_PAST


def _late(state: DealState, data: CrmActivity, when_ms: int) -> int:
    """A contact that took effect before something already known: it takes its place, and moves nothing back."""
    insort(state.touches, when_ms)
    if len(state.touches) > MAX_TOUCHES:
        del state.touches[0]
    _end_silence(state, when_ms)
    if data.direction == "inbound":
        if not state.has_buyer or when_ms > state.origins[Age.BUYER]:
            state.origins[Age.BUYER] = when_ms
        state.has_buyer = True
    for person in data.participants or ():
        _meet(state, person, when_ms)
    _mention(state, data, when_ms)
    return EVERYTHING


def _sign(state: DealState, when_ms: int, data: CrmActivity) -> int:
    """Something that a person did for the deal without touching the buyer: it ends the silence, no more."""
    by = data.logged_by
    if by is UNSET or by.kind == "human":
        _end_silence(state, when_ms)
        return _SILENCE
    return 0


def _end_silence(state: DealState, when_ms: int) -> None:
    origin = state.origins[Age.SILENCE]
    if when_ms > origin or origin == FAR_FUTURE:
        state.origins[Age.SILENCE] = when_ms


def _meet(state: DealState, person: Participant, when_ms: int) -> int:
    fresh = 0
    if person.executive is True:
        origin = state.origins[Age.EXECUTIVE]
        if when_ms > origin or origin == FAR_FUTURE:
            state.origins[Age.EXECUTIVE] = when_ms
        fresh = _EXECUTIVE
    contact_id = person.contact_id
    if not contact_id:
        return fresh
    contact_id = contact_id[:64]
    role, name = person.role, person.name
    ids, times = state.people_ids, state.people_ms
    if contact_id in ids:
        place = ids.index(contact_id)
        times[place] = max(times[place], when_ms)
        if role or name or person.executive:
            state.people[place] = Person(
                contact_id, role[:40] if role else "", name[:80] if name else "", person.executive is True
            )
        return fresh | PEOPLE
    ids.append(contact_id)
    times.append(when_ms)
    state.people.append(
        Person(contact_id, role[:40] if role else "", name[:80] if name else "", person.executive is True)
    )
    if len(ids) > MAX_PEOPLE:
        oldest = times.index(min(times))
        del ids[oldest], times[oldest], state.people[oldest]
    return fresh | PEOPLE


def _mention(state: DealState, data: CrmActivity, when_ms: int) -> int:
    for mention in data.mentions or ():
        if mention[:10].casefold() == "competitor":
            origin = state.origins[Age.COMPETITOR]
            if when_ms >= origin or origin == FAR_FUTURE:
                state.origins[Age.COMPETITOR] = when_ms
                state.competitor = mention[10:].lstrip(": ").strip()[:40]
            return 1 << Age.COMPETITOR
    return 0


def _scheduled(said: Any) -> int:
    try:
        return parse_ms(said) if said else 0
    except BadTime:
        return 0


def _book(state: DealState, ahead_ms: int) -> None:
    meetings = state.meetings
    if ahead_ms not in meetings:
        insort(meetings, ahead_ms)
        del meetings[MAX_MEETINGS:]
    state.cancelled_ms = 0
    state.origins[Age.MEETING] = meetings[0]


def _cancel(state: DealState, said: Any, at_ms: int) -> None:
    cancelled_ms = _scheduled(said)
    meetings = state.meetings
    if not cancelled_ms and meetings:
        cancelled_ms = meetings[0]
    if cancelled_ms in meetings:
        meetings.remove(cancelled_ms)
    state.cancelled_ms = cancelled_ms
    roll_meetings(state, at_ms)


# --- changes -------------------------------------------------------------------------------------------------------


def deal_of(change: CrmChange) -> str | None:
    """The deal whose own record changed; None when the record is not a deal."""
    deal_id = change.deal_id
    if change.object.casefold() in DEAL_OBJECTS:
        return deal_id or change.record_id
    return deal_id if deal_id == change.record_id else None


def apply_change(state: DealState, data: CrmChange, when_ms: int, terms: Terms) -> None:
    """A change of the deal's own record; ``when_ms`` comes from ``effect_ms``."""
    state.has_new_facts = True
    if state.status == Status.STUB:
        _open(state, when_ms)
    if data.owner_id and not state.owner_id:
        state.owner_id = _text(data.owner_id, 128)
    changes = data.changes if data.changes is not UNSET else {}
    after: dict[str, Any] = {}
    for name, change in changes.items():
        known = NAMES.get(name)
        if known is not None:
            after[known] = change[1] if type(change) is tuple else change.after  # type: ignore[union-attr]
            if known == "stage" and type(change) is tuple and not state.stage and type(change[0]) is str:
                state.stage = change[0][:80]
    if "currency" in after:  # before the amount that is in it, whatever their order in the record
        _set_currency(state, after["currency"])
    for name, value in after.items():
        handle = _HANDLERS.get(name)
        if handle is not None:
            handle(state, value, when_ms, terms)
    _settle(state, data.op, after, terms)
    if after and (data.actor is UNSET or data.actor.kind == "human"):
        _end_silence(state, when_ms)


def _open(state: DealState, when_ms: int) -> None:
    state.status = Status.OPEN
    state.opened_ms = when_ms
    origins = state.origins
    origins[Age.DEAL] = when_ms
    for age in (Age.SILENCE, Age.BUYER, Age.STAGE):
        if origins[age] == FAR_FUTURE:
            origins[age] = when_ms


def _settle(state: DealState, op: str, after: dict[str, Any], terms: Terms) -> None:
    """Whether the deal is open, won, lost or gone now. A record that opens it after it closed does not reopen it."""
    if op == "delete":
        state.status = Status.DELETED
        return
    if op == "undelete" and state.status == Status.DELETED:
        state.status = Status.OPEN
    if after.keys().isdisjoint(_ENDING):
        return
    closed = after.get("is_closed")
    won = after.get("is_won")
    stage = terms.process.find(state.stage) if "stage" in after else None
    if (stage is not None and stage.is_won) or won in _YES:
        state.status = Status.WON
    elif (stage is not None and stage.is_lost) or closed in _YES:
        state.status = Status.LOST
    elif op == "update" and state.status in (Status.WON, Status.LOST) and (closed in _NO or stage is not None):
        state.status = Status.OPEN


def _set_stage(state: DealState, value: Any, when_ms: int, terms: Terms) -> None:
    stage = _text(value, 80)
    if stage == state.stage:
        return
    before, now = terms.process.find(state.stage).place, terms.process.find(stage).place
    if before is not None and now is not None and now < before:
        state.regressions = min(state.regressions + 1, MAX_COUNT)
    state.stage = stage
    state.origins[Age.STAGE] = when_ms


def _set_currency(state: DealState, value: Any) -> None:
    currency = _text(value, 3).upper()
    if currency != state.currency and state.currency:
        state.amount_minor = state.first_minor = state.peak_minor = None
    state.currency = currency


def _set_amount(state: DealState, value: Any, _when_ms: int, terms: Terms) -> None:
    if not state.currency:
        state.currency = terms.currency
    amount = parse_minor(value, state.currency)
    state.amount_minor = amount
    state.has_bad_amount = amount is None and _is_said(value)
    if amount is None:
        return
    if not state.first_minor:
        state.first_minor = amount
    state.peak_minor = max(amount, state.peak_minor or 0)


def _is_said(value: Any) -> bool:
    """Whether a field was given a value rather than emptied."""
    return value is not None and not (type(value) is str and not value.strip())


def _set_close_date(state: DealState, value: Any, _when_ms: int, terms: Terms) -> None:
    text, end_ms = _date(value, terms.zone)
    before_ms = state.origins[Age.CLOSE]
    if before_ms < end_ms < FAR_FUTURE:
        state.pushes = min(state.pushes + 1, MAX_COUNT)
        state.pushed_days = min(state.pushed_days + round((end_ms - before_ms) / DAY_MS), MAX_DAYS)
    state.close_date = text
    state.has_bad_date = not text and _is_said(value)
    state.origins[Age.CLOSE] = state.origins[Age.PACE] = end_ms


def _set_owner(state: DealState, value: Any, when_ms: int, _terms: Terms) -> None:
    owner = _text(value, 128)
    if state.owner_id and owner != state.owner_id:
        state.origins[Age.OWNER] = when_ms
    state.owner_id = owner
    state.rates_day = -1


def _set_next_step(state: DealState, value: Any, when_ms: int, _terms: Terms) -> None:
    state.origins[Age.NEXT_STEP] = when_ms if type(value) is str and value.strip() else FAR_PAST


def _set_account_id(state: DealState, value: Any, _when_ms: int, _terms: Terms) -> None:
    if not state.account:
        state.account = _text(value, 160)


def _text_setter(name: str, limit: int) -> Callable[[DealState, Any, int, Terms], None]:
    def set_text(state: DealState, value: Any, _when_ms: int, _terms: Terms) -> None:
        setattr(state, name, _text(value, limit))

    return set_text


_HANDLERS: dict[str, Callable[[DealState, Any, int, Terms], None]] = {
    "name": _text_setter("name", 160),
    "account": _text_setter("account", 160),
    "account_id": _set_account_id,
    "segment": _text_setter("segment", 80),
    "manager_id": _text_setter("manager_id", 128),
    "owner_id": _set_owner,
    "stage": _set_stage,
    "amount": _set_amount,
    "close_date": _set_close_date,
    "next_step": _set_next_step,
}

NAMES: dict[str, str] = {name: name for name in _HANDLERS} | {
    "currency": "currency",
    "is_closed": "is_closed",
    "is_won": "is_won",
    "Name": "name",
    "StageName": "stage",
    "Amount": "amount",
    "CurrencyIsoCode": "currency",
    "CloseDate": "close_date",
    "OwnerId": "owner_id",
    "NextStep": "next_step",
    "AccountId": "account_id",
    "IsClosed": "is_closed",
    "IsWon": "is_won",
    "dealname": "name",
    "dealstage": "stage",
    "closedate": "close_date",
    "hubspot_owner_id": "owner_id",
}
"""Field name → canonical name; besides our own, the usual ones of Salesforce and HubSpot."""


def _text(value: Any, limit: int) -> str:
    return value[:limit] if type(value) is str else ""


def _date(value: Any, zone: tzinfo) -> tuple[str, int]:
    """The date's text and the end of that day; ("", FAR_FUTURE) when it is no sound date."""
    try:
        day = date.fromisoformat(value[:10]) if type(value) is str else None
    except ValueError:
        day = None
    if day is None or not 2000 <= day.year <= 2099:
        return "", FAR_FUTURE
    if zone is UTC:
        return value[:10], (day.toordinal() + 1 - _EPOCH) * DAY_MS
    end = datetime.combine(day + timedelta(days=1), datetime.min.time(), zone)
    return value[:10], int(end.timestamp()) * 1000
