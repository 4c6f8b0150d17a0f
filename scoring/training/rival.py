"""Full boosting beside a learned model, on the same bins and labels: what exact reasons cost. It never scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from events.types import ModelTables
from scoring.backtest import rival
from scoring.backtest.figures import losses, standard_error
from scoring.backtest.log import Bools, Floats, Ints
from scoring.backtest.train import complete_labels, completed, kind_for
from scoring.training.card import Group, Rival
from scoring.training.fit import bins_of, tables_of
from scoring.training.measure import Chances, chances, figures_of, grouped
from scoring.training.rows import History, Known


class Beside(NamedTuple):
    """Full boosting's figures by target, and for lost by segment, owner and stage; empty with too few closed deals."""

    targets: list[Rival]
    groups: list[Group]


def beside(model: ModelTables, before: Known, known: Known, history: History, from_ms: int) -> Beside:
    """Learn full boosting from ``before``, as ``model`` was, and judge both on rows from ``from_ms`` on."""
    full = _chances(model, before, known)
    if full is None:
        return Beside([], [])
    is_new = known.frame.at_ms >= from_ms
    mine = chances(model, known)
    found = []
    for target, ripe, label, theirs, ours in (
        ("lost", known.is_ended, known.is_lost, full.lost, mine.lost),
        ("lost in 14 days", known.is_ripe_soon, known.is_lost_soon, full.soon, mine.soon),
        ("slips", known.is_ripe_late, known.is_late, full.slip, mine.slip),
    ):
        chosen = ripe & is_new
        labels = label[chosen] > 0
        if labels.any() and not labels.all() and not np.isnan(theirs).any():
            found.append(_rival(target, theirs[chosen], ours[chosen], labels, known.frame.case[chosen]))
    return Beside(found, grouped(full.lost, known, history, from_ms))


def _chances(model: ModelTables, before: Known, known: Known) -> Chances | None:
    """What full boosting says of the rows of ``known``; None where there is too little to learn a target from."""
    if kind_for(before.closed) != "additive":
        return None
    values, bins = before.frame.values, bins_of(model)
    ripe = np.flatnonzero(before.is_ripe_soon)
    stays = 1.0 - completed(before, tables_of(model, bins, "lost"))
    late = np.flatnonzero(before.is_ripe_late & (stays > 0))
    made = (
        rival.fit(values, complete_labels(before, bins), before.weight),
        rival.fit(values[ripe], before.is_lost_soon[ripe], before.weight[ripe]),
        rival.fit(values[late], before.is_late[late], (before.weight * stays)[late]),
    )
    lost, soon, slip = (rival.chance(one, known.frame.values) for one in made)
    if lost is None or soon is None:
        return None
    slips = np.full(len(lost), np.nan) if slip is None else lost + (1.0 - lost) * slip
    return Chances(lost, np.minimum(soon, lost), slips)


def _rival(target: str, full: Floats, tables: Floats, labels: Bools, case: Ints) -> Rival:
    more = losses(tables, labels) - losses(full, labels)
    theirs, ours = figures_of(full, labels, case), figures_of(tables, labels, case)
    auc_gap = None if theirs.auc is None or ours.auc is None else theirs.auc - ours.auc
    return Rival(
        target=target, figures=theirs, auc_gap=auc_gap, gap=float(more.mean()), gap_se=standard_error(more, case)
    )
