"""A smooth additive model: each table a line with few bends, fitted by penalised logistic regression.

Its errors differ from those of boosting, so that their mean is better than each; it has the same bins, so that their
mean is one set of tables.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from scoring.backtest.features import Frame
from scoring.backtest.log import Floats
from scoring.backtest.tables import Bins, Tables, cells, chance

_Halves = NDArray[np.float32]
NEW_HESSIAN = (0, 2, 5)
ENOUGH = 1e-6
"""Newton steps end when the loss falls by less than this share."""
TINY = 1e-6


class Settings(NamedTuple):
    """``bends``: hat functions over a feature's cells (equal shares of the rows, so that bends are where cases are).
    ``rough``: penalty of the squared step between neighbours; ``ridge``: of any squared weight. Log-loss counts rows.
    """

    bends: int = 8
    bends_by_state: int = 5
    rough: float = 10.0
    ridge: float = 1.0
    steps: int = 25
    hessian_rows: int = 8_000


class _Block(NamedTuple):
    """Where a feature's weights are, for one state, and how they make its points (cells × hats)."""

    number: int
    state: int
    begin: int
    hats: Floats


def fit(frame: Frame, target: Floats, weight: Floats, bins: list[Bins], how: Settings) -> Tables:
    """Weights that minimise log-loss + penalty, by Newton steps whose Hessian is that of a sample of the rows."""
    blocks, width = _blocks(bins, how)
    with threadpool_limits(1):
        design = _design(frame, bins, blocks, width)
        penalty = _penalty(blocks, width, how)
        found = _newton(design, target, weight / weight.mean(), penalty, how)
    points = [np.zeros((len(each.cuts), each.width)) for each in bins]
    for block in blocks:
        part = found[block.begin : block.begin + block.hats.shape[1]]
        points[block.number][block.state] = block.hats @ part
    return Tables(float(found[0]), bins, points)


def _blocks(bins: list[Bins], how: Settings) -> tuple[list[_Block], int]:
    """Weight 0 is the base. The last hat of each block is the cell of missing values."""
    found, at = [], 1
    for number, each in enumerate(bins):
        for state, cuts in enumerate(each.cuts):
            count = len(cuts) + 1
            most = how.bends_by_state if each.is_by_state else how.bends
            knots = np.unique(np.linspace(0, count - 1, min(most, count)))
            hats = np.zeros((each.width, len(knots) + 1))
            for knot in range(len(knots)):
                hats[:count, knot] = np.interp(np.arange(count), knots, np.eye(len(knots))[knot])
            hats[-1, -1] = 1.0
            found.append(_Block(number, state, at, hats))
            at += hats.shape[1]
    return found, at


def _design(frame: Frame, bins: list[Bins], blocks: list[_Block], width: int) -> _Halves:
    design = np.zeros((len(frame.case), width), dtype=np.float32)
    design[:, 0] = 1.0
    number, cell = -1, np.zeros(0, dtype=np.int64)
    for block in blocks:
        each = bins[block.number]
        if block.number != number:
            number, cell = block.number, cells(each, frame)
        part = block.hats[cell]
        if each.is_by_state:
            part = part * (frame.state == block.state)[:, None]
        design[:, block.begin : block.begin + block.hats.shape[1]] = part
    return design


def _penalty(blocks: list[_Block], width: int, how: Settings) -> Floats:
    found = np.eye(width) * how.ridge
    found[0, 0] = 0.0
    for block in blocks:
        knots = block.hats.shape[1] - 1
        steps = np.diff(np.eye(knots), axis=0)
        place = slice(block.begin, block.begin + knots)
        found[place, place] += how.rough * steps.T @ steps
    return found


def _newton(design: _Halves, target: Floats, weight: Floats, penalty: Floats, how: Settings) -> Floats:
    found = np.zeros(design.shape[1])
    mean = float(np.average(target, weights=weight))
    found[0] = np.log(mean / (1 - mean))
    best, best_loss = found, np.inf
    inverse: Floats = np.zeros((0, 0))
    for step in range(how.steps):
        p = chance((design @ found).astype(np.float64))
        likely = target * np.log(p) + (1 - target) * np.log1p(-p)
        loss = float(found @ penalty @ found / 2 - np.sum(weight * likely))
        if loss >= best_loss - ENOUGH * abs(best_loss):
            return best if best_loss <= loss else found
        best, best_loss = found, loss
        if step in NEW_HESSIAN:
            hessian = _hessian(design, weight * p * (1 - p), how.hessian_rows)
            inverse = np.asarray(np.linalg.inv(hessian + penalty), dtype=np.float64)
        error = (weight * (target - p)).astype(np.float32)
        found = found + inverse @ ((design.T @ error).astype(np.float64) - penalty @ found)
    return best


def _hessian(design: _Halves, curve: Floats, rows: int) -> Floats:
    every = max(1, len(design) // rows)
    sample = design[::every]
    scaled = sample * (curve[::every] * (len(design) / len(sample)))[:, None].astype(np.float32)
    return np.asarray(scaled.T @ sample, dtype=np.float64) + TINY * np.eye(design.shape[1])
