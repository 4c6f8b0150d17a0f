"""Full boosting beside the tables, on the same features, labels and weights: what exact reasons cost.

It is measured and never used: its score has no exact reasons, and it can't be scored by look-ups.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from scoring.backtest import boosting, figures, train
from scoring.backtest.features import Frame
from scoring.backtest.log import NEVER, Bools, EventLog, Floats, Ints

LEAVES = 15
"""Of each tree; the tables' trees have 4, of one feature each."""
LEAST_CASES = 20
"""Cases, of both outcomes, that a figure about a state needs."""


class Rival(NamedTuple):
    """A booster a target; ``soon`` and ``late`` are None where there is nothing to learn from."""

    lost: Any
    soon: Any
    late: Any = None


class Said(NamedTuple):
    """Its probabilities of some rows; None where there is no booster."""

    lost: Floats
    soon: Floats | None
    late: Floats | None


def fit(values: Floats, target: Floats, weight: Floats) -> Any:
    """A booster that may use features together; None with too few rows of one outcome."""
    if train.too_few(target):
        return None
    how = train.BOOSTING._replace(leaves=LEAVES, is_additive=False)
    return boosting.booster(values, target, weight, how)


def chance(made: Any, values: Floats) -> Floats | None:
    """What a booster says of rows, one core; None without a booster."""
    if made is None:
        return None
    with threadpool_limits(1):
        return np.asarray(made.predict_proba(values)[:, 1], dtype=np.float64)


def learn(found: train.Learned) -> Rival | None:
    """The rival of a model; None where the model is not additive (a booster of so few cases is no rival)."""
    rows, labels = found.rows, found.labels
    if labels is None:
        return None
    values, ripe = rows.frame.values, np.flatnonzero(rows.is_ripe_soon)
    lost = fit(values, labels, rows.weight)
    if lost is None:
        return None
    soon = fit(values[ripe], rows.is_lost_soon[ripe], rows.weight[ripe])
    late = None
    if found.model.late is not None:
        stays, chosen = train.late_rows(rows, found.model.lost)
        late = fit(values[chosen], rows.is_late[chosen], (rows.weight * stays)[chosen])
    return Rival(lost, soon, late)


def say(rival: Rival, frame: Frame) -> Said:
    """Its probabilities."""
    lost, soon, late = (chance(made, frame.values) for made in rival)
    return Said(np.zeros(len(frame.case)) if lost is None else lost, soon, late)


def beside(full: Floats, tables: Floats, labels: Bools, case: Ints, at_ms: Ints) -> dict[str, Any]:
    """Both on the same rows. ``gap``: AUC and log-loss that the tables give away, with the latter's standard error
    (cases as clusters); below 0 the tables are better."""
    lost_more = figures.losses(tables, labels) - figures.losses(full, labels)
    ours, theirs = figures.auc(tables, labels), figures.auc(full, labels)
    return {
        "rows": len(labels),
        "base_rate": float(labels.mean()),
        "full_boosting": _figures(full, labels, at_ms),
        "tables": _figures(tables, labels, at_ms),
        "gap": {
            "auc": None if ours is None or theirs is None else theirs - ours,
            "log_loss": float(lost_more.mean()),
            "log_loss_se": figures.standard_error(lost_more, case),
        },
    }


def by_state(
    full: Floats, tables: Floats, labels: Bools, case: Ints, at_ms: Ints, state: Ints, states: list[str]
) -> list[dict[str, Any]]:
    """The same for each state with enough cases."""
    found = []
    for place, name in enumerate(states):
        here = state == place
        if len(np.unique(case[here])) >= LEAST_CASES and labels[here].any() and not labels[here].all():
            figures_here = beside(full[here], tables[here], labels[here], case[here], at_ms[here])
            found.append({"state": name} | figures_here)
    return found


def ended(log: EventLog, case: Ints) -> Ints:
    """The rows whose case's end the log tells."""
    return np.flatnonzero(log.ended_ms[case] != NEVER)


def _figures(said: Floats, labels: Bools, at_ms: Ints) -> dict[str, Any]:
    return figures.measure(said, labels, at_ms) | {"log_loss": float(figures.losses(said, labels).mean())}
