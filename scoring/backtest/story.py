"""What has happened in a case up to each of its events: states, marks, last and first times. One entry an event."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from events.adapters.mapping import Mapping
from events.adapters.mapping_risk import Mark, Risk, State
from scoring.backtest.log import Bools, EventLog, Ints

MIN_SHARE = 0.05
MAX_GUESSED = 12
"""Where the mapping names no marks or states: activities in 5 % of the known cases, the 12 most frequent at most."""


class Track(NamedTuple):
    """One kind of event: how many so far, and the index of the case's last and first (−1: none yet)."""

    so_far: Ints
    last: Ints
    first: Ints


class Story(NamedTuple):
    """All that features are made of. ``state`` is a place in ``states``; ``since`` the event that began the stay."""

    states: list[str]
    state: Ints
    since: Ints
    moves: Ints
    gap_ms: Ints
    day_count: Ints
    marks: dict[str, Track]
    balances: dict[str, Ints]
    buyer: Track | None


def complete(mapping: Mapping, log: EventLog) -> Risk:
    """The mapping's ``[risk]``, with what it leaves out filled from the log as known at the training cut.

    Marks: each frequent activity. States: those of ``[stages]``, else the last frequent activity. Buyer: inbound
    touches. Pass a log from ``known_at``, so that nothing later decides what is looked at.
    """
    risk = mapping.risk
    frequent = _frequent(log)
    states = risk.states
    if not states and mapping.stages:
        names = list(dict.fromkeys(mapping.stages.values()))
        states = [State(name, [a for a, stage in mapping.stages.items() if stage == name]) for name in names]
    elif not states:
        states = [State(activity, [activity]) for activity in frequent]
    marks = risk.marks or {activity: Mark([activity]) for activity in frequent}
    buyer = risk.buyer or [name for name, touch in mapping.touches.items() if touch.direction == "inbound"]
    first = risk.first_state if risk.states else (mapping.first_stage if mapping.stages else risk.first_state)
    return Risk(first_state=first, states=states, marks=marks, balances=risk.balances, buyer=buyer)


def tell(log: EventLog, risk: Risk, local_day: Ints) -> Story:
    """The story of each case. ``local_day``: the day number of each event in the log's zone."""
    starts = log.starts[:-1][log.case_of] if len(log.at_ms) else np.zeros(0, dtype=np.int64)
    index = np.arange(len(log.at_ms))
    states = list(dict.fromkeys([risk.first_state, *(state.name for state in risk.states)]))
    state = _states(log, risk, states)
    is_new = (index == starts) | (np.diff(state, prepend=-1) != 0)
    gaps = np.where(index == starts, 0, np.diff(log.at_ms, prepend=0))
    is_new_day = (index == starts) | (np.diff(local_day, prepend=-1) != 0)
    return Story(
        states=states,
        state=state,
        since=np.maximum.accumulate(np.where(is_new, index, -1)),
        moves=_counted(is_new, starts) - 1,
        gap_ms=_longest(gaps, log.starts),
        day_count=_counted(is_new_day, starts),
        marks={name: _track(log, mark.activities, starts) for name, mark in risk.marks.items()},
        balances={name: _balance(log, of.opens, of.closes, starts) for name, of in risk.balances.items()},
        buyer=_track(log, risk.buyer, starts) if risk.buyer else None,
    )


def _frequent(log: EventLog) -> list[str]:
    seen = np.unique(log.case_of * len(log.activities) + log.activity)
    counts = np.bincount(seen % len(log.activities), minlength=len(log.activities))
    by_count = sorted(np.flatnonzero(counts >= MIN_SHARE * len(log.cases)), key=lambda at: (-counts[at], at))
    return [log.activities[at] for at in by_count[:MAX_GUESSED] if counts[at]]


def _is_any(log: EventLog, names: list[str]) -> Bools:
    return np.asarray(np.isin(log.activities, names)[log.activity], dtype=bool)


def _counted(is_one: Bools, starts: Ints) -> Ints:
    total = np.concatenate(([0], np.cumsum(is_one)))
    return np.asarray(total[1:] - total[starts], dtype=np.int64)


def _track(log: EventLog, names: list[str], starts: Ints) -> Track:
    is_one = _is_any(log, names)
    index = np.arange(len(is_one))
    last = np.maximum.accumulate(np.where(is_one, index, -1)) if len(index) else index
    count = _counted(is_one, starts)
    upcoming = np.flatnonzero(is_one)
    first_of_case = np.searchsorted(upcoming, starts)
    first = np.append(upcoming, -1)[np.minimum(first_of_case, len(upcoming))]
    return Track(count, np.where(count > 0, last, -1), np.where(count > 0, first, -1))


def _balance(log: EventLog, opens: list[str], closes: list[str], starts: Ints) -> Ints:
    left = _counted(_is_any(log, opens), starts) - _counted(_is_any(log, closes), starts)
    return np.asarray(np.maximum(left, 0), dtype=np.int64)


def _longest(gaps: Ints, starts: Ints) -> Ints:
    """The running maximum within each case: cases lie apart by more than any gap, so that one pass does."""
    span = int(gaps.max(initial=0)) + 1
    offset = np.repeat(np.arange(len(starts) - 1), np.diff(starts)) * span
    return np.asarray(np.maximum.accumulate(gaps + offset) - offset, dtype=np.int64)


def _states(log: EventLog, risk: Risk, states: list[str]) -> Ints:
    """The state after each event."""
    place = {name: at for at, name in enumerate(states)}
    table: list[list[int]] = []
    for activity in log.activities:
        row = list(range(len(states)))
        for now, name in enumerate(states):
            for state in risk.states:
                if activity in state.begins and (not state.after or name in state.after):
                    row[now] = place[state.name]
                    break
        table.append(row)
    found: list[int] = []
    activities = log.activity.tolist()
    for start, end in zip(log.starts[:-1].tolist(), log.starts[1:].tolist(), strict=True):
        now = 0
        for activity in activities[start:end]:
            now = table[activity][now]
            found.append(now)
    return np.asarray(found, dtype=np.int64)
