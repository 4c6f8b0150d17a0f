"""Fits of the three targets, by how much has closed; their tables as whole points.

| closed deals | model |
|---|---|
| fewer than 80 | *recalibrated*: the scorecard, its log-odds moved and stretched (Platt), pulled back to it |
| 80 to 1,000 | *anchored*: each step of the scorecard moved, pulled back to it, and its mean with a smooth model |
| above | *boosted*: the mean of additive boosting and the smooth model |

Shares, penalties and the completion of labels are those of the backtest (``scoring.backtest.train``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from events.types import FeatureTable, ModelTables
from scoring.backtest import anchor, smooth
from scoring.backtest.features import Frame
from scoring.backtest.log import Floats, Ints
from scoring.backtest.tables import Bins, Tables, chance
from scoring.backtest.train import (
    SOON_BASE,
    blend,
    complete_labels,
    completed,
    fit_additive,
    fit_lost,
    kind_for,
    too_few,
)
from scoring.training.errors import TrainingError
from scoring.training.rows import Known

PER_LOG_ODD = 256
"""Points of a learned model in a log-odd: rounding moves a probability by less than .002."""
MOST_POINTS = 8 * PER_LOG_ODD
"""A contribution is held within ±8 log-odds."""
_SMOOTH = smooth.Settings(bends=16)
"""As many bends as most features have cells: what "never" means must not bend what "a day ago" means."""
_KINDS = {"hand": "recalibrated", "blend": "anchored", "additive": "boosted"}
_STEPS = 50
_MOST_SLOPE = 3.0


class Learned(NamedTuple):
    """The tables of the targets on the grid, in log-odds, and the kind of each fit."""

    kind: str
    lost: Tables
    soon: Tables
    late: Tables
    kinds: dict[str, str]


def bins_of(tables: ModelTables) -> list[Bins]:
    """The cells of the grid as the fits see them: a row's values are its cells."""
    return [
        Bins(one.name, at, [np.arange(len(one.cuts), dtype=np.float64) + 0.5]) for at, one in enumerate(tables.features)
    ]


def tables_of(model: ModelTables, bins: list[Bins], target: str) -> Tables:
    """One target of a model in log-odds, to score rows with. ``target``: lost, soon or late."""
    scale = 1.0 / model.points_per_log_odd
    points = [np.append(np.asarray(getattr(one, target), dtype=np.float64) * scale, 0.0) for one in model.features]
    base = getattr(model, f"{target}_base") * scale
    return Tables(base, bins, [row.reshape(1, -1) for row in points])


def fit(known: Known, hand: ModelTables) -> Learned:
    """Learn from what was known at a cut. ``hand``: the scorecard on the grid. Raises TrainingError."""
    _check(known)
    bins = bins_of(hand)
    kind = kind_for(known.closed)
    prior = tables_of(hand, bins, "lost")
    sooner = prior._replace(base=prior.base + SOON_BASE)
    ended, ripe = np.flatnonzero(known.is_ended), np.flatnonzero(known.is_ripe_soon)
    late = np.flatnonzero(known.is_ripe_late)
    lost, lost_kind = _fit(known, kind, prior, ended, known.is_lost, bins, is_lost=True)
    soon, soon_kind = _fit(known, kind, sooner, ripe, known.is_lost_soon, bins)
    stays = 1.0 - completed(known, lost)  # late is the chance among those that aren't lost
    by_hand = tables_of(hand, bins, "late")
    late_fit, late_kind = _fit(known, kind, by_hand, late, known.is_late, bins, share=stays)
    kinds = {"lost": _KINDS[lost_kind], "lost in 14 days": _KINDS[soon_kind], "late": _KINDS[late_kind]}
    return Learned(_KINDS[lost_kind], lost, soon, late_fit, kinds)


def export(found: Learned, known: Known, hand: ModelTables, *, is_proven: bool) -> ModelTables:
    """Whole points. A feature's usual cell gives nothing, so that reasons say what is unlike most deals."""
    usual = [_usual(known, at, len(one.cuts) + 1) for at, one in enumerate(hand.features)]
    lost_base, lost = _whole(found.lost, usual)
    soon_base, soon = _whole(found.soon, usual)
    late_base, late = _whole(found.late, usual)
    return ModelTables(
        kind=found.kind,
        points_per_log_odd=PER_LOG_ODD,
        lost_base=lost_base,
        soon_base=soon_base,
        late_base=late_base,
        is_proven=is_proven,
        features=[
            FeatureTable(name=one.name, cuts=one.cuts, lost=lost[at], soon=soon[at], late=late[at])
            for at, one in enumerate(hand.features)
        ],
    )


def platt(prior: Tables, frame: Frame, target: Floats, weight: Floats) -> Tables:
    """The prior's log-odds z as a + b·z, penalised towards a = 0, b = 1; b is never negative.

    Platt (1999), with the penalty of ``anchor.STRENGTH`` instead of smoothed targets: few cases move it little.
    """
    scores = prior.scores(frame)
    a, b = 0.0, 1.0
    penalty = np.eye(2) * anchor.STRENGTH
    design = np.column_stack((np.ones(len(scores)), scores))
    for _ in range(_STEPS):
        p = chance(a + b * scores)
        gradient = design.T @ (weight * (target - p)) - penalty @ np.array([a, b - 1.0])
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + penalty
        step = np.linalg.solve(hessian, gradient)
        a, b = a + float(step[0]), min(max(b + float(step[1]), 0.0), _MOST_SLOPE)
        if np.abs(step).max() < 1e-10:
            break
    return Tables(a + b * prior.base, prior.bins, [b * table for table in prior.points])


def _fit(
    known: Known,
    kind: str,
    prior: Tables,
    chosen: Ints,
    target: Floats,
    bins: list[Bins],
    *,
    is_lost: bool = False,
    share: Floats | None = None,
) -> tuple[Tables, str]:
    """One target on the rows whose label is known. ``share``: how far a row counts."""
    frame, labels = known.frame.take(chosen), target[chosen]
    counts = np.ones(len(chosen)) if share is None else share[chosen]
    each = counts * (len(np.unique(frame.case)) / max(len(chosen), 1))  # a deal's rows weigh 1 together, on average
    if kind == "hand" or not len(chosen):
        return platt(prior, frame, labels, each), "hand"
    anchored = anchor.fit(prior, frame, labels, each)
    if too_few(labels):
        return anchored, "blend"
    weight = known.weight[chosen] * counts
    if kind == "additive":
        if is_lost:
            return fit_lost(known, bins, fit_additive), kind
        return fit_additive(frame, labels, weight, bins), kind
    if is_lost:
        smoothed = _fit_smooth(known.frame, complete_labels(known, bins, _fit_smooth), known.weight, bins)
    else:
        smoothed = _fit_smooth(frame, labels, weight, bins)
    return blend(anchored, smoothed, known.closed), kind


def _fit_smooth(frame: Frame, target: Floats, weight: Floats, bins: list[Bins]) -> Tables:
    return smooth.fit(frame, target, weight, bins, _SMOOTH)


def _check(known: Known) -> None:
    if not known.closed:
        raise TrainingError("no deal has closed in the log: there is nothing to learn from; the scorecard goes on")
    if not known.won_deals or not known.lost_deals:
        which, other = ("won", "lost") if known.won_deals else ("lost", "won")
        raise TrainingError(
            f"all {known.closed:,} closed deals were {which}: what tells them from {other} ones can't be learned; are "
            f"the stages that end a deal as {other} named in [deals.stages]?"
        )
    if not known.is_ended.any():
        raise TrainingError(
            f"{known.closed:,} deals have closed, each within the week in which it was opened: no Monday saw one open, "
            "so there is nothing to learn from; the scorecard goes on"
        )


def _usual(known: Known, at: int, width: int) -> int:
    """The cell in which a feature is most of the time."""
    cells = known.frame.values[:, at].astype(np.int64)
    return int(np.argmax(np.bincount(cells, known.weight, minlength=width)))


def _whole(tables: Tables, usual: list[int]) -> tuple[int, list[list[int]]]:
    base, columns = tables.base, []
    for table, cell in zip(tables.points, usual, strict=True):
        row = table[0, :-1]
        base += float(row[cell])
        moved = np.rint((row - row[cell]) * PER_LOG_ODD).astype(np.int64)
        columns.append([int(points) for points in np.clip(moved, -MOST_POINTS, MOST_POINTS)])
    return max(-(2**15), min(2**15, round(base * PER_LOG_ODD))), columns
