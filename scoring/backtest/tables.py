"""Additive tables: score = base + one look-up per feature, in log-odds.

A feature has either one row of points, or one for each state (a combined key, still one look-up). A value's cell is
the number of cuts below it; values that are missing (NaN) have a cell of their own, the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scoring.backtest.features import Frame
from scoring.backtest.log import Floats, Ints

BY_STATE, WORKING = " by state", "working_"


class Bins(NamedTuple):
    """Where a feature is cut. ``column``: its place in ``Frame.names``. ``states``: 1, or how many states there are.

    ``cuts``: for each state, sorted; a value equal to a cut lies below it.
    """

    name: str
    column: int
    cuts: list[Floats]

    @property
    def is_by_state(self) -> bool:
        """Whether the state is part of the key."""
        return len(self.cuts) > 1

    @property
    def thing(self) -> str:
        """What it is about: by state or not, in working days or all days, it is one reason."""
        return self.name.removesuffix(BY_STATE).removeprefix(WORKING)

    @property
    def width(self) -> int:
        """Cells for each state, the one of missing values included."""
        return max(len(cuts) for cuts in self.cuts) + 2


class Tables(NamedTuple):
    """A model: ``points`` has, for each feature, an array of states × cells."""

    base: float
    bins: list[Bins]
    points: list[Floats]

    def contributions(self, frame: Frame) -> Floats:
        """Rows × features: what each look-up gives."""
        found = np.empty((len(frame.case), len(self.bins)))
        for at, (bins, points) in enumerate(zip(self.bins, self.points, strict=True)):
            found[:, at] = points[_row(bins, frame), cells(bins, frame)]
        return found

    def scores(self, frame: Frame) -> Floats:
        """Log-odds of each row, rounded to 1e-9: rows of the same points get the same score, whatever the base is and
        in whatever order floats were added."""
        total = np.full(len(frame.case), self.base)
        for bins, points in zip(self.bins, self.points, strict=True):
            total += points[_row(bins, frame), cells(bins, frame)]
        return total.round(9)

    @property
    def entries(self) -> int:
        """How many different points there are, neighbours of one value counted once."""
        return sum(int((np.diff(row) != 0).sum()) + 1 for points in self.points for row in points)


def chance(scores: Floats) -> Floats:
    """Probabilities of log-odds."""
    return 1.0 / (1.0 + np.exp(-np.clip(scores, -40.0, 40.0)))


def cells(bins: Bins, frame: Frame) -> Ints:
    """The cell of each row."""
    values = frame.values[:, bins.column]
    if not bins.is_by_state:
        found = np.searchsorted(bins.cuts[0], values, side="left")
    else:
        found = np.zeros(len(values), dtype=np.int64)
        for state, cuts in enumerate(bins.cuts):
            chosen = frame.state == state
            found[chosen] = np.searchsorted(cuts, values[chosen], side="left")
    return np.where(np.isnan(values), bins.width - 1, found)


def cut(frame: Frame, by_state: Sequence[str], states: int, *, most: int, most_by_state: int, least: int) -> list[Bins]:
    """Where to cut each feature: between all values where they are few, else at equal shares of the rows.

    ``most``: cells at most; ``least``: rows that a cell should have at least.
    """
    found = [Bins(name, at, [_cuts(frame.values[:, at], most, least)]) for at, name in enumerate(frame.names)]
    if states > 1:
        for name in by_state:
            at = frame.names.index(name)
            rows = [frame.values[frame.state == state, at] for state in range(states)]
            found.append(Bins(name + BY_STATE, at, [_cuts(each, most_by_state, least) for each in rows]))
    return [bins for bins in found if any(len(cuts) for cuts in bins.cuts) or _some_missing(bins, frame)]


def mean(models: Sequence[Tables], shares: Sequence[float]) -> Tables:
    """The weighted mean of the models' log-odds, as one model; tables on the same cuts become one."""
    places: dict[int, int] = {}
    bins: list[Bins] = []
    points: list[Floats] = []
    for share, model in zip(shares, models, strict=True):
        for each, table in zip(model.bins, model.points, strict=True):
            at = places.setdefault(id(each), len(bins))
            if at == len(bins):
                bins.append(each)
                points.append(table * share)
            else:
                points[at] = points[at] + table * share
    base = sum(share * model.base for share, model in zip(shares, models, strict=True))
    return Tables(base, bins, points)


def _row(bins: Bins, frame: Frame) -> Ints | int:
    return frame.state if bins.is_by_state else 0


def _some_missing(bins: Bins, frame: Frame) -> bool:
    is_missing = np.isnan(frame.values[:, bins.column])
    return bool(is_missing.any() and not is_missing.all())


def _cuts(values: Floats, most: int, least: int) -> Floats:
    values = np.sort(values[~np.isnan(values)])
    if len(values) < 2 * least:
        return np.zeros(0)
    levels = np.unique(values)
    if len(levels) > most:
        shares = np.linspace(0, 1, min(most, len(values) // least) + 1)[1:-1]
        return np.asarray(np.unique(np.quantile(values, shares, method="inverted_cdf")))
    return np.asarray((levels[1:] + levels[:-1]) / 2)
