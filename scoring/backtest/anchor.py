"""The hand scorecard for any log, and its fit to few closed cases: penalised towards what was set by hand.

The points were written down before any outcome rate of any log was looked at: silence is bad, worse while the buyer
has to act; a buyer who has answered is engaged; nothing sent yet is early; work in the last week is a good sign.
"""

from __future__ import annotations

import numpy as np

from events.adapters.mapping_risk import Risk
from scoring.backtest.features import Frame
from scoring.backtest.log import Floats
from scoring.backtest.tables import BY_STATE, Bins, Tables, cells, chance

STRENGTH = 6.0
"""Penalty of a squared step away from the hand's, the base included; each closed case weighs 1."""
_STEPS = 40

SILENCE = ((7.0, 0.3), (14.0, 0.4), (21.0, 0.4), (30.0, 0.4))
WAITING = ((7.0, 0.2), (14.0, 0.3), (30.0, 0.3))
"""Days in a state in which the buyer has to act."""
AGE = ((30.0, 0.1), (60.0, 0.2))
ACTIVE = ((0.5, -0.1), (2.5, -0.2))
"""Events in the last 7 days."""
LATE_SILENCE = ((7.0, 0.2), (14.0, 0.2), (30.0, 0.2))
TO_CLOSE = ((7.0, -0.5), (14.0, -0.5), (30.0, -0.5))
"""Days that are left: the fewer, the less likely is it that the rest is done in them."""
PUSHED = ((0.5, 0.5), (1.5, 0.4), (2.5, 0.4))
"""Times the close date moved back."""
LATE_BASE = 0.5
ANSWERED, EARLY, OUR_MOVE = -0.7, 0.3, -0.3
BASE = -0.3


def hand(risk: Risk, states: list[str], names: list[str]) -> Tables:
    """The scorecard for what this log has: of states and answers only where the mapping tells of them."""
    bins: list[Bins] = []
    points: list[Floats] = []

    def add(name: str, steps: list[tuple[tuple[float, float], ...]]) -> None:
        label = name if len(steps) == 1 else name + BY_STATE
        cuts = [np.array([cut for cut, _ in one], dtype=np.float64) for one in steps]
        each = Bins(label, names.index(name), cuts)
        table = np.zeros((len(steps), each.width))
        for state, one in enumerate(steps):
            table[state, 1 : len(one) + 1] = np.cumsum([step for _, step in one])
            table[state, len(one) + 1 : -1] = table[state, len(one)]
        bins.append(each)
        points.append(table)

    for name, steps in (("silence", SILENCE), ("age", AGE), ("events_7d", ACTIVE)):
        add(name, [steps])
    moves = {state.name: state.move for state in risk.states}
    if any(moves.values()):
        add("state_age", [WAITING if moves.get(state) == "buyer" else () for state in states])
        worth = [
            EARLY if not at else (OUR_MOVE if moves.get(state) == "us" else 0.0) for at, state in enumerate(states)
        ]
        between = np.arange(len(states) - 1, dtype=np.float64) + 0.5
        bins.append(Bins("state", names.index("state"), [np.asarray(between)]))
        points.append(np.array([[*worth, 0.0]]))
    for name, mark in risk.marks.items():
        if mark.answers:
            add(f"{name}_count", [((0.5, ANSWERED),)])
    return Tables(BASE, bins, points)


def hand_late(names: list[str]) -> Tables:
    """The scorecard for being late if the case isn't lost; for logs with close dates."""
    bins: list[Bins] = []
    points: list[Floats] = []
    for name, steps in (("silence", LATE_SILENCE), ("to_close", TO_CLOSE), ("pushes", PUSHED)):
        cuts = np.array([cut for cut, _ in steps], dtype=np.float64)
        bins.append(Bins(name, names.index(name), [cuts]))
        points.append(np.array([[0.0, *np.cumsum([step for _, step in steps]), 0.0]]))
    return Tables(LATE_BASE, bins, points)


def fit(prior: Tables, frame: Frame, target: Floats, weight: Floats, *, has_steps: bool = True) -> Tables:
    """The scorecard's steps moved as far as the closed cases ask for; ``weight``: a case's rows have 1 together, or so.

    Steps that no row tells apart stay as they are; without ``has_steps`` all do, and the base alone is moved, which
    keeps the order of any rows. Targets may lie between 0 and 1.
    """
    if not len(target) or not weight.any():
        return prior
    design, offset, places = _steps(prior, frame)
    if not has_steps:
        design, places = design[:, :1], []
    penalty = np.eye(design.shape[1]) * STRENGTH
    found = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = chance(offset + design @ found)
        gradient = design.T @ (weight * (target - p)) - penalty @ found
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + penalty
        step = np.linalg.solve(hessian, gradient)
        found = found + step
        if np.abs(step).max() < 1e-10:
            break
    points = [table.copy() for table in prior.points]
    for (number, state, first), moved in zip(places, found[1:], strict=True):
        points[number][state, first:-1] += moved
    return Tables(prior.base + float(found[0]), prior.bins, points)


def _steps(prior: Tables, frame: Frame) -> tuple[Floats, Floats, list[tuple[int, int, int]]]:
    """One column for each step of each table: whether a row lies beyond it."""
    columns: list[Floats] = [np.ones(len(frame.case))]
    places: list[tuple[int, int, int]] = []
    for number, bins in enumerate(prior.bins):
        cell = cells(bins, frame)
        for state, cuts in enumerate(bins.cuts):
            is_here = (cell < bins.width - 1) & ((frame.state == state) | (not bins.is_by_state))
            for first in range(1, len(cuts) + 1):
                columns.append((is_here & (cell >= first)).astype(np.float64))
                places.append((number, state, first))
    return np.column_stack(columns), prior.scores(frame), places
