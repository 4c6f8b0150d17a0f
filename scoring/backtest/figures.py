"""How good probabilities are: discrimination, calibration, lift, the top five. All on rows whose outcome is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from scoring.backtest.log import Bools, Floats, Ints

CALIBRATION_BINS = 10
OPEN_DEALS, TOP, DRAWS, SNAPSHOT_DRAWS = 80, 5, 400, 100
SEED = 20260101
FLOOR = 1e-6
"""The least probability that a log-loss is worked out with."""


def auc(scores: Floats, labels: Bools) -> float | None:
    """The chance that a positive row has the higher score than a negative one; ties count half. None: one class."""
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return None
    _, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(scores: Floats, labels: Bools) -> float | None:
    """Mean precision over the positive rows, rows of one score taken together. None without a positive one."""
    if not labels.any():
        return None
    levels, where = np.unique(-scores, return_inverse=True)
    hits = np.bincount(where, labels, minlength=len(levels))
    precision = np.cumsum(hits) / np.cumsum(np.bincount(where, minlength=len(levels)))
    return float((precision * hits).sum() / hits.sum())


def brier(scores: Floats, labels: Bools) -> float:
    """Mean squared error of the probabilities."""
    return float(np.mean((scores - labels) ** 2))


def losses(said: Floats, labels: Bools) -> Floats:
    """The log-loss of each row, in nats."""
    held = np.clip(said, FLOOR, 1.0 - FLOOR)
    return np.where(labels, -np.log(held), -np.log1p(-held))


def standard_error(gains: Floats, case: Ints) -> float:
    """Of the mean of some gains, with the cases that the rows are of as clusters."""
    _, where = np.unique(case, return_inverse=True)
    by_case = np.bincount(where, gains - gains.mean())
    return float(np.sqrt(np.sum(by_case**2)) / len(gains))


def reliability(scores: Floats, labels: Bools) -> list[dict[str, float]]:
    """Ten bins of equal width: rows, what was said on average, what came. Empty bins are left out."""
    cell = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    rows = np.bincount(cell, minlength=CALIBRATION_BINS)
    said = np.bincount(cell, scores, CALIBRATION_BINS)
    came = np.bincount(cell, labels, CALIBRATION_BINS)
    return [
        {
            "from": at / CALIBRATION_BINS,
            "to": (at + 1) / CALIBRATION_BINS,
            "rows": int(rows[at]),
            "said": float(said[at] / rows[at]),
            "came": float(came[at] / rows[at]),
        }
        for at in range(CALIBRATION_BINS)
        if rows[at]
    ]


def calibration_error(scores: Floats, labels: Bools) -> float:
    """Expected calibration error over ten bins of equal width."""
    table = reliability(scores, labels)
    return sum(row["rows"] * abs(row["said"] - row["came"]) for row in table) / len(scores)


def lift(scores: Floats, labels: Bools) -> list[dict[str, float]]:
    """Tenths of the rows, the highest scores first: the share that was lost, and the share of all losses so far."""
    order = np.argsort(-scores, kind="stable")
    found, losses = [], 0.0
    for at, part in enumerate(np.array_split(labels[order], 10), 1):
        if len(part):
            losses += float(part.sum())
            share = losses / max(float(labels.sum()), 1.0)
            found.append({"tenth": at, "rows": len(part), "came": float(part.mean()), "losses_so_far": share})
    return found


def top_five(scores: Floats, labels: Bools, at_ms: Ints, draws: int = DRAWS) -> float | None:
    """Of 80 open cases drawn from one snapshot (400 draws, spread over the snapshots), how many of the five highest
    scores were lost. Snapshots with fewer than ten cases are left out; None if there is no other."""
    draw = np.random.default_rng(SEED)
    moments = [each for each in np.unique(at_ms) if (at_ms == each).sum() >= 2 * TOP]
    if not moments:
        return None
    found = []
    for number in range(draws):
        rows = np.flatnonzero(at_ms == moments[number % len(moments)])
        drawn = draw.choice(rows, min(OPEN_DEALS, len(rows)), replace=False)
        found.append(labels[drawn[np.argsort(-scores[drawn], kind="stable")[:TOP]]].mean())
    return float(np.mean(found))


def measure(scores: Floats, labels: Bools, at_ms: Ints) -> dict[str, Any]:
    """All figures of one target."""
    return {
        "rows": len(labels),
        "base_rate": float(labels.mean()),
        "auc": auc(scores, labels),
        "average_precision": average_precision(scores, labels),
        "brier": brier(scores, labels),
        "calibration_error": calibration_error(scores, labels),
        "precision_top_5_of_80": top_five(scores, labels, at_ms),
    }


def by_snapshot(scores: Floats, labels: Bools, at_ms: Ints, silence: Floats) -> list[dict[str, Any]]:
    """Each snapshot's rows, base rate, AUC, Brier score, and top five: those of the score, and the most silent ones."""
    found = []
    for moment in np.unique(at_ms):
        here = at_ms == moment
        found.append(
            {
                "at_ms": int(moment),
                "rows": int(here.sum()),
                "base_rate": float(labels[here].mean()),
                "said": float(scores[here].mean()),
                "auc": auc(scores[here], labels[here]),
                "brier": brier(scores[here], labels[here]),
                "top_5_of_80": top_five(scores[here], labels[here], at_ms[here], SNAPSHOT_DRAWS),
                "silence_top_5_of_80": top_five(silence[here], labels[here], at_ms[here], SNAPSHOT_DRAWS),
            }
        )
    return found
