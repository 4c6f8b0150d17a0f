"""What the deals' states tell of the quality of the CRM's data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from governance.settings_types import Deals
from scoring.money import digits
from scoring.quality import QualityDeal
from scoring.quality_duplicates import Record
from scoring.state import FAR_FUTURE, FAR_PAST, Age, DealState, Status, load
from streams.keyed import KeyBlob

_STATUS: dict[int, Literal["open", "won", "lost"]] = {Status.OPEN: "open", Status.WON: "won", Status.LOST: "lost"}


class Facts(Struct, frozen=True):
    """Deals, and the accounts and people they name."""

    deals: list[QualityDeal]
    accounts: list[Record]
    contacts: list[Record]


def read_states(kept: Iterable[tuple[str, bytes]]) -> list[tuple[str, DealState]]:
    """Deals by id, from the engine's snapshots (key, blob); those that no change has named are left out."""
    found = []
    for key, blob in kept:
        _, _, deal_id = key.partition("/")
        if deal_id:
            state = load(msgspec.msgpack.decode(blob, type=KeyBlob).body)
            if state.status in _STATUS:
                found.append((deal_id, state))
    return found


def facts_of(states: Sequence[tuple[str, DealState]], settings: Deals) -> Facts:
    """The states as what is to be judged. What no deal ever told (next steps, contacts) is not known of any."""
    zone = ZoneInfo(settings.time_zone)
    has_steps = any(state.origins[Age.NEXT_STEP] != FAR_FUTURE for _, state in states)
    has_touches = any(state.touches for _, state in states)
    deals = [_deal(name, state, settings, zone, has_steps, has_touches) for name, state in states]
    accounts = sorted({state.account for _, state in states if state.account})
    people = {
        person.contact_id: Record(
            record_id=person.contact_id, name=person.name, account=state.account, owner_id=state.owner_id
        )
        for _, state in states
        for person in state.people
        if person.name
    }
    return Facts(
        deals, [Record(record_id=name, name=name) for name in accounts], [people[each] for each in sorted(people)]
    )


def _deal(
    name: str, state: DealState, settings: Deals, zone: ZoneInfo, has_steps: bool, has_touches: bool
) -> QualityDeal:
    step, silence = state.origins[Age.NEXT_STEP], state.origins[Age.SILENCE]
    is_open = state.status == Status.OPEN
    amount = None
    if state.amount_minor is not None:
        amount = state.amount_minor / 10 ** digits(state.currency or settings.currency)
    return QualityDeal(
        deal_id=name,
        status=_STATUS[state.status],
        stage=state.stage,
        owner_id=state.owner_id,
        team=state.manager_id or settings.managers.get(state.owner_id, ""),
        account=state.account,
        amount=amount,
        has_bad_amount=state.has_bad_amount,
        opened=_day(state.opened_ms, zone),
        closes=_date(state.close_date) if is_open else _day(state.closed_ms, zone),
        has_bad_date=state.has_bad_date,
        has_next_step=step not in (FAR_FUTURE, FAR_PAST) if has_steps else None,
        touched=_day(silence, zone) if FAR_PAST < silence < FAR_FUTURE else None,
        is_touched_known=has_touches,
        regressions=state.regressions,
    )


def _day(at_ms: int, zone: ZoneInfo) -> date | None:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).date() if at_ms > 0 else None


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
