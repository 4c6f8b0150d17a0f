"""Additive boosting: trees of one feature each, exported as tables and checked against the booster at every fit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from scoring.backtest.errors import ExportError
from scoring.backtest.features import Frame
from scoring.backtest.log import Floats
from scoring.backtest.tables import Bins, Tables, cells

TOLERANCE = 1e-9
CHECKED_ROWS = 2_000
RISING = frozenset({"silence", "buyer_silence"})
"""What may only raise the score the longer it lasts: a table that says else has learned noise."""


class Settings(NamedTuple):
    """Of the booster: rounds, learning rate, leaves a tree, rows a leaf at least, penalty of a leaf's value."""

    rounds: int = 300
    rate: float = 0.05
    leaves: int = 4
    least: int = 50
    ridge: float = 1.0
    is_additive: bool = True


def columns(bins: list[Bins], frame: Frame) -> Floats:
    """What the booster sees: cells as numbers, one column a feature and state, NaN where missing or another state."""
    found = []
    for each in bins:
        cell = cells(each, frame).astype(np.float64)
        cell[cell == each.width - 1] = np.nan
        if each.is_by_state:
            found += [np.where(frame.state == state, cell, np.nan) for state in range(len(each.cuts))]
        else:
            found.append(cell)
    matrix = np.column_stack(found)
    matrix[:, np.isnan(matrix).all(axis=0)] = 0.0  # the booster takes no empty column; it never splits this one
    return matrix


def rising(bins: list[Bins]) -> list[int]:
    """For each column that the booster sees: 1 where its score may only rise, else 0."""
    return [int(each.thing in RISING) for each in bins for _ in each.cuts]


def booster(seen: Floats, target: Floats, weight: Floats, how: Settings, monotone: list[int] | None = None) -> Any:
    """A fitted booster. ``target``: 0, 1, or between: such a row counts as both, in that proportion. ``monotone``: see
    ``rising``; None: no constraint.
    """
    is_one, is_zero = target > 0, target < 1
    rows = np.concatenate((seen[is_one], seen[is_zero]))
    labels = np.concatenate((np.ones(int(is_one.sum())), np.zeros(int(is_zero.sum()))))
    weights = np.concatenate(((weight * target)[is_one], (weight * (1 - target))[is_zero]))
    made = HistGradientBoostingClassifier(
        interaction_cst="no_interactions" if how.is_additive else None,
        max_iter=how.rounds,
        learning_rate=how.rate,
        max_leaf_nodes=how.leaves,
        min_samples_leaf=how.least,
        l2_regularization=how.ridge,
        monotonic_cst=monotone,
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(1):  # one core, and sums in one order, so that the same log gives the same bits
        return made.fit(rows, labels, sample_weight=weights)


def fit(frame: Frame, target: Floats, weight: Floats, bins: list[Bins], how: Settings) -> Tables:
    """An additive booster as tables. Raises ExportError if they differ by more than 1e-9 from it."""
    seen = columns(bins, frame)
    made = booster(seen, target, weight, how, rising(bins))
    with threadpool_limits(1):
        tables = _export(made, bins, seen.shape[1])
        some = np.arange(0, len(seen), max(1, len(seen) // CHECKED_ROWS))
        apart = float(np.abs(made.decision_function(seen[some]) - tables.scores(frame.take(some))).max())
    if apart > TOLERANCE:
        raise ExportError(f"the tables differ from the booster by {apart:.2e}; was scikit-learn changed?")
    return tables


def _export(made: Any, bins: list[Bins], width: int) -> Tables:
    """Ask the booster for each cell of each feature alone, all others missing: it is additive, so that is its table."""
    probes: list[Floats] = [np.full(width, np.nan)]
    places: list[tuple[int, int, int]] = []
    at = 0
    for number, each in enumerate(bins):
        for state in range(len(each.cuts)):
            for cell in range(each.width - 1):
                probe = np.full(width, np.nan)
                probe[at] = cell
                probes.append(probe)
                places.append((number, state, cell))
            at += 1
    told = made.decision_function(np.asarray(probes))
    base = float(told[0])
    points = [np.zeros((len(each.cuts), each.width)) for each in bins]
    for (number, state, cell), score in zip(places, told[1:], strict=True):
        points[number][state, cell] = score - base
    return Tables(base, bins, points)
