"""What the score would be, if: look-ups in the tables that made it, without any claim about causes."""

from __future__ import annotations

from msgspec import Struct

from events.times import DAY_MS
from scoring.scorecard import Scorecard
from scoring.state import FAR_FUTURE, Age, DealState, copy

AHEAD_DAYS = 7
PUSH_DAYS = 30


class WhatIf(Struct, frozen=True):
    """One row: what would happen, and the probabilities then."""

    key: str
    label: str
    p_lost: float
    p_slip: float


def what_if(card: Scorecard, state: DealState, now_ms: int) -> list[WhatIf]:
    """The rows of a deal's page: now, a buyer answers, a meeting is booked, both, nothing happens, the date moves.

    ``state`` is not changed. "The close date moves" is left out when there is none. A closed deal has no rows.
    """
    if not state.is_open:
        return []
    answered = _answered(copy(state), now_ms)
    rows = [
        ("now", "Now", copy(state), now_ms),
        ("buyer_answers", "A buyer answers today", answered, now_ms),
        ("meeting_booked", "A meeting is booked", _booked(copy(state), now_ms), now_ms),
        ("both", "Both", _booked(copy(answered), now_ms), now_ms),
        ("nothing", f"Nothing happens for {AHEAD_DAYS} days", copy(state), now_ms + AHEAD_DAYS * DAY_MS),
    ]
    if state.origins[Age.CLOSE] != FAR_FUTURE:
        rows.append(("pushed", f"The close date moves by {PUSH_DAYS} days", _pushed(copy(state)), now_ms))
    return [_row(card, key, label, changed, at_ms) for key, label, changed, at_ms in rows]


def _row(card: Scorecard, key: str, label: str, state: DealState, at_ms: int) -> WhatIf:
    scores = card.judge(state, at_ms)
    return WhatIf(key, label, scores.p_lost, scores.p_slip)


def _answered(state: DealState, now_ms: int) -> DealState:
    state.origins[Age.SILENCE] = state.origins[Age.BUYER] = now_ms
    state.has_buyer = True
    state.touches = [*state.touches[-15:], now_ms]
    if state.people_ms:
        state.people_ms[state.people_ms.index(max(state.people_ms))] = now_ms
    return state


def _booked(state: DealState, now_ms: int) -> DealState:
    state.meetings = sorted({*state.meetings, now_ms + AHEAD_DAYS * DAY_MS})
    state.cancelled_ms = 0
    state.origins[Age.MEETING] = state.meetings[0]
    return state


def _pushed(state: DealState) -> DealState:
    state.origins[Age.CLOSE] += PUSH_DAYS * DAY_MS
    state.origins[Age.PACE] = state.origins[Age.CLOSE]
    state.pushes += 1
    state.pushed_days += PUSH_DAYS
    state.has_new_facts = True
    return state
