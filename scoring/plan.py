"""A model's tables as they apply to deals in one stage: cuts in milliseconds, points packed into one integer.

The sums of all targets travel together: of the scorecard lost points in the low 16 bits and slip points above; of a
learned model 20 bits each for lost, slip and soon (loss within 14 days). Scores that came up once are remembered.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import exp
from typing import Literal

from msgspec import Struct

from events.times import DAY_MS
from scoring.model import Model
from scoring.stages import StageNorm
from scoring.state import FAR_FUTURE, Age
from scoring.tables import AGES, COUNTS, HORIZONS, SILENT_RULE, Points, Table

HIGH, WATCH = 0.6, 0.35
NEVER_MS = FAR_FUTURE * 2
CLOSE_UNKNOWN, CLOSE_PAST = 0, 5
"""Bins of the close date: there is none; it has passed. The same in every model."""
MAX_REMEMBERED = 50_000
_FIRST_FACT = len(AGES) + len(COUNTS)
_FIELD = 20
_HALF, _MASK = 1 << (_FIELD - 1), (1 << _FIELD) - 1


class Scores(Struct, frozen=True, gc=False):
    """The probabilities of one deal. ``p_won_by`` is keyed by days: "7", "14", "28"."""

    p_lost: float
    p_lost_14d: float
    p_slip: float
    p_won_by: dict[str, float]
    band: Literal["low", "watch", "high"]


def logistic(log_odds: float) -> float:
    """The probability of log-odds."""
    return 1.0 / (1.0 + exp(-log_odds))


def pack(points: Points) -> int:
    """(lost, slip) points as one integer that can be added."""
    return (points[1] << 16) + points[0]


def unpack(packed: int) -> Points:
    """(lost, slip) points of a sum of packed ones; lost points lie within ±32,767."""
    lost = ((packed + 0x8000) & 0xFFFF) - 0x8000
    return lost, (packed - lost) >> 16


def pack_three(lost: int, slip: int, soon: int) -> int:
    """The points of three targets as one integer that can be added."""
    return (soon << 2 * _FIELD) + (slip << _FIELD) + lost


def unpack_three(packed: int) -> tuple[int, int, int]:
    """(lost, slip, soon) points of a sum of packed ones; lost and slip points lie within ±524,287."""
    lost = ((packed + _HALF) & _MASK) - _HALF
    packed = (packed - lost) >> _FIELD
    slip = ((packed + _HALF) & _MASK) - _HALF
    return lost, slip, (packed - slip) >> _FIELD


class Plan:
    """The tables for one stage. ``cuts`` end with one that is never reached; ``matters``: bins that are reasons."""

    def __init__(self, stage: StageNorm, silent_days: int, model: Model) -> None:
        self.stage = stage
        self.model = model
        self.point = model.point
        units = [DAY_MS] * len(AGES)
        units[Age.BUYER] = stage.answer_days * DAY_MS
        units[Age.STAGE] = stage.norm_ms
        units[Age.DEAL] = int((stage.elapsed_days + stage.norm_days) * DAY_MS)
        units[Age.PACE] = int(stage.remaining_days * DAY_MS)
        first, *rest = model.tables
        self.tables = (with_silent_rule(first, silent_days) if model.soon is None else first, *rest)
        self.cuts = tuple(
            (*(int(cut * unit) for cut in table.cuts), NEVER_MS)
            for table, unit in zip(self.tables[: len(AGES)], units, strict=True)
        )
        self.fact_cuts = tuple(table.cuts for table in self.tables[_FIRST_FACT:])
        self.points = _packed(self.tables, model)
        self.matters = tuple(tuple(lost != 0 for lost, _ in table.points) for table in self.tables)
        self.fresh = tuple(bisect_right(cuts, 0) for cuts in self.cuts)
        self.place = 0.5 if stage.place is None else stage.place
        self.scores: dict[int, Scores] = {}

    def score(self, points: int, close_bin: int) -> Scores:
        """The probabilities of packed points; ``close_bin`` is the bin of the close date."""
        known = self.scores.get(points << 4 | close_bin)
        return self._work_out(points, close_bin) if known is None else known

    def _work_out(self, points: int, close_bin: int) -> Scores:
        model, point = self.model, self.point
        if model.soon is None:
            lost, slip = unpack(points)
            log_odds = (model.lost_base + lost) * point
            p_lost = logistic(log_odds)
            p_soon = p_lost * logistic(-1.0 + log_odds / 2.0)
        else:
            lost, slip, soon = unpack_three(points)
            p_lost = logistic((model.lost_base + lost) * point)
            p_soon = min(logistic((model.soon_base + soon) * point), p_lost)
        not_lost = 1.0 - p_lost
        late = logistic((model.slip_base + slip) * point)
        p_slip = p_lost + not_lost * late
        if close_bin == CLOSE_UNKNOWN:
            p_slip = p_lost
        elif close_bin >= CLOSE_PAST:
            p_slip = 1.0
        won_by = self._won_by(not_lost, p_slip, close_bin)
        band: Literal["low", "watch", "high"] = "high" if p_lost >= HIGH else "watch" if p_lost >= WATCH else "low"
        made = Scores(p_lost, p_soon, p_slip, won_by, band)
        if len(self.scores) >= MAX_REMEMBERED:
            self.scores.clear()
        self.scores[points << 4 | close_bin] = made
        return made

    def _won_by(self, not_lost: float, p_slip: float, close_bin: int) -> dict[str, float]:
        won_by = {}
        for at, days in enumerate(HORIZONS):
            p_won = not_lost * (1.0 - 2.0 ** (-days / self.stage.remaining_days))
            if CLOSE_UNKNOWN < close_bin < CLOSE_PAST:
                is_after = close_bin >= CLOSE_PAST - 1 - at
                p_won = max(p_won, 1.0 - p_slip) if is_after else min(p_won, 1.0 - p_slip)
            won_by[str(days)] = p_won
        return won_by


def with_silent_rule(table: Table, silent_days: int) -> Table:
    """The silence table with the 14-day rule's points on every bin from ``silent_days`` on."""
    cuts, points = list(table.cuts), list(table.points)
    if silent_days not in cuts:
        at = bisect_left(cuts, silent_days)
        cuts.insert(at, silent_days)
        points.insert(at, points[at])
    first = cuts.index(silent_days) + 1
    ruled = [
        (lost + SILENT_RULE[0], slip + SILENT_RULE[1]) if at >= first else (lost, slip)
        for at, (lost, slip) in enumerate(points)
    ]
    return Table(table.name, table.unit, tuple(cuts), tuple(ruled))


def _packed(tables: tuple[Table, ...], model: Model) -> tuple[tuple[int, ...], ...]:
    if model.soon is None:
        return tuple(tuple(map(pack, table.points)) for table in tables)
    return tuple(
        tuple(pack_three(lost, slip, soon) for (lost, slip), soon in zip(table.points, column, strict=True))
        for table, column in zip(tables, model.soon, strict=True)
    )
