"""How good a model is on rows that it did not learn from, beside the scorecard; and how far features have moved."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from events.types import ModelTables
from scoring.backtest import figures
from scoring.backtest.figures import losses, standard_error
from scoring.backtest.log import Bools, Floats
from scoring.backtest.tables import Bins, chance
from scoring.training.card import Compared, Figures, Group
from scoring.training.fit import bins_of, tables_of
from scoring.training.grid import KIND
from scoring.training.rows import History, Known

LEAST_DEALS = 20
"""Closed deals, of both outcomes, that a figure about a group needs; fewer say nothing."""
MOST_GROUPS = 12


class Chances(NamedTuple):
    """What a model says of rows."""

    lost: Floats
    soon: Floats
    slip: Floats


def chances(model: ModelTables, known: Known) -> Chances:
    """The probabilities that the live engine gives for these rows (p_slip: with a close date that is still to come)."""
    bins = bins_of(model)
    lost = _chance(model, bins, "lost", known)
    if model.kind == KIND:  # the scorecard: its chance of an early loss follows from that of a loss
        soon = lost * chance(-1.0 + np.log(lost / (1.0 - lost)) / 2.0)
    else:
        soon = np.minimum(_chance(model, bins, "soon", known), lost)
    late = _chance(model, bins, "late", known)
    return Chances(lost, soon, lost + (1.0 - lost) * late)


def compare(model: ModelTables, hand: ModelTables, known: Known, from_ms: int) -> list[Compared]:
    """Each target on the rows from ``from_ms`` on whose label is known; targets without both outcomes are left out.

    "lost" is judged on deals that have ended: of late rows mostly the quick ends are known. "lost in 14 days" and
    "slips" are judged on every row whose time is over.
    """
    is_new = known.frame.at_ms >= from_ms
    mine, theirs = chances(model, known), chances(hand, known)
    found = []
    for target, ripe, label, ours, hands in (
        ("lost", known.is_ended, known.is_lost, mine.lost, theirs.lost),
        ("lost in 14 days", known.is_ripe_soon, known.is_lost_soon, mine.soon, theirs.soon),
        ("slips", known.is_ripe_late, known.is_late, mine.slip, theirs.slip),
    ):
        chosen = ripe & is_new
        labels = label[chosen] > 0
        if labels.any() and not labels.all():
            found.append(_compare(target, ours[chosen], hands[chosen], labels, known.frame.case[chosen]))
    return found


def groups(model: ModelTables, known: Known, history: History, from_ms: int) -> list[Group]:
    """Figures of a model for lost by segment, owner and stage; see ``grouped``."""
    return grouped(chances(model, known).lost, known, history, from_ms)


def grouped(p_lost: Floats, known: Known, history: History, from_ms: int) -> list[Group]:
    """Figures for lost by segment, owner and stage, where enough deals have ended; the largest groups."""
    chosen = np.flatnonzero(known.is_ended & (known.frame.at_ms >= from_ms))
    said, labels, case = p_lost[chosen], known.is_lost[chosen] > 0, known.frame.case[chosen]
    found = []
    for of, names in (("segment", history.segment), ("owner", history.owner), ("stage", history.stage)):
        row_names = np.asarray([names[row] for row in known.rows[chosen]], dtype=object)
        here = []
        for name in sorted(set(row_names)):
            rows = row_names == name
            is_enough = len(np.unique(case[rows])) >= LEAST_DEALS
            if name and is_enough and labels[rows].any() and not labels[rows].all():
                here.append(Group(of=of, name=name, figures=figures_of(said[rows], labels[rows], case[rows])))
        found += sorted(here, key=lambda one: (-one.figures.deals, one.name))[:MOST_GROUPS]
    return found


def figures_of(said: Floats, labels: Bools, case: Any) -> Figures:
    """All figures of one target on some rows."""
    return Figures(
        rows=len(labels),
        deals=len(np.unique(case)),
        base_rate=float(labels.mean()),
        auc=figures.auc(said, labels),
        brier=figures.brier(said, labels),
        calibration_error=figures.calibration_error(said, labels),
        log_loss=float(losses(said, labels).mean()),
    )


def spread(model: ModelTables, known: Known, since_ms: int = 0) -> dict[str, list[float]]:
    """For each feature the share of rows in each of its cells; rows from ``since_ms`` on."""
    rows = known.frame.values[known.frame.at_ms >= since_ms].astype(np.int64)
    found = {}
    for at, one in enumerate(model.features):
        counts = np.bincount(rows[:, at], minlength=len(one.cuts) + 1)
        found[one.name] = [float(share) for share in counts / max(len(rows), 1)]
    return found


def stability(before: list[float], now: list[float]) -> float:
    """Population stability index of two distributions over the same cells; cells below .1 % count as that.

    Below .1 nothing has happened, from .25 on the population is another one (Siddiqi 2006).
    """
    one, other = (np.clip(np.asarray(shares), 1e-3, None) for shares in (before, now))
    one, other = one / one.sum(), other / other.sum()
    return float(np.sum((other - one) * np.log(other / one)))


def _chance(model: ModelTables, bins: list[Bins], target: str, known: Known) -> Floats:
    return chance(tables_of(model, bins, target).scores(known.frame))


def _compare(target: str, ours: Floats, hands: Floats, labels: Bools, case: Any) -> Compared:
    gains = losses(hands, labels) - losses(ours, labels)
    return Compared(
        target=target,
        model=figures_of(ours, labels, case),
        scorecard=figures_of(hands, labels, case),
        gain=float(gains.mean()),
        gain_se=standard_error(gains, case),
        reliability=figures.reliability(ours, labels),
    )
