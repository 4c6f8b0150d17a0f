"""How a model is doing since it began to score: labels that have matured, features that have moved, what to do."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from events.times import DAY_MS, format_ms
from events.types import FeatureTable, ModelTables
from scoring.backtest.figures import losses, standard_error
from scoring.backtest.log import Floats, Ints
from scoring.backtest.tables import Tables, chance
from scoring.model import check, hash_of
from scoring.training.card import FORMAT, Compared, Drift, Health, ModelFile, Week
from scoring.training.fit import MOST_POINTS, bins_of, platt, tables_of
from scoring.training.learn import judge, verdict_of
from scoring.training.measure import chances, compare, figures_of, spread, stability
from scoring.training.rows import History, Known

MOVED = 0.25
"""Population stability index from which on a feature's population is another one (Siddiqi 2006)."""
LATELY_DAYS = 28
MOST_ERROR = 0.05
"""Calibration error from which on a recalibration is looked for."""
_TARGETS = ("lost", "soon")
_LEAST_ROWS = 40


def health(file: ModelFile, hand: ModelTables, history: History, since_ms: int) -> Health:
    """The model beside the scorecard on the rows from ``since_ms`` on, as labels are known at the history's end.

    Rows that it learned from say nothing: give the later of its promotion and the end of what it learned from.
    """
    known = history.known_at(history.until_ms)
    ended = known.is_ended & (known.frame.at_ms >= since_ms)
    closed = len(np.unique(known.frame.case[ended]))
    targets = compare(file.tables, hand, known, since_ms)
    verdict, why = verdict_of(targets, closed)
    drift = drifts(file, known, history.until_ms)
    return Health(
        model=file.hash,
        since=format_ms(since_ms),
        until=format_ms(history.until_ms),
        closed_deals=closed,
        verdict=verdict,
        why=why,
        targets=targets,
        weeks=weeks(file.tables, hand, known, since_ms),
        drift=drift,
        alerts=_alerts(verdict, why, targets, drift),
    )


def weeks(model: ModelTables, hand: ModelTables, known: Known, since_ms: int) -> list[Week]:
    """Each week's rows by their labels of 14 days: figures of the model, and the scorecard's log-loss beside them."""
    chosen = known.is_ripe_soon & (known.frame.at_ms >= since_ms)
    mine, theirs = chances(model, known).soon, chances(hand, known).soon
    found = []
    for at_ms in np.unique(known.frame.at_ms[chosen]):
        rows = chosen & (known.frame.at_ms == at_ms)
        labels = known.is_lost_soon[rows] > 0
        found.append(
            Week(
                at=format_ms(int(at_ms)),
                model=figures_of(mine[rows], labels, known.frame.case[rows]),
                scorecard_log_loss=float(losses(theirs[rows], labels).mean()),
            )
        )
    return found


def drifts(file: ModelFile, known: Known, until_ms: int) -> list[Drift]:
    """How far each feature has moved from what it was like when the model learned; the farthest first."""
    now = spread(file.tables, known, until_ms - LATELY_DAYS * DAY_MS)
    found = [
        Drift(feature=name, stability=stability(before, now[name]))
        for name, before in file.card.reference.items()
        if len(before) == len(now.get(name, ()))
    ]
    return sorted(found, key=lambda one: (-one.stability, one.feature))


def recalibrated(file: ModelFile, hand: ModelTables, history: History, since_ms: int) -> ModelFile | None:
    """The model with its log-odds moved and stretched as far as matured labels ask for; None when that helps nothing.

    It must help out of time: fitted to the first half of the rows, it has to lower the log-loss of the second half by
    more than its standard error. What is proposed is fitted to all of them, and has to be promoted like any model.
    """
    known = history.known_at(history.until_ms)
    targets = {one.target: one for one in compare(file.tables, hand, known, since_ms)}
    made, is_other = file.tables, False
    for target, said in zip(_TARGETS, ("lost", "lost in 14 days"), strict=True):
        figures = targets.get(said)
        if figures is None or figures.model.calibration_error < MOST_ERROR:
            continue
        rows = _rows(known, target, since_ms)
        before = tables_of(file.tables, bins_of(file.tables), target)
        if _helps(known, before, target, rows):
            made, is_other = _replaced(made, target, _fitted(known, before, target, rows)), True
    if not is_other:
        return None
    check(made)
    held = judge(made, hand, history, known, since_ms, file.card.held_out.learned_from)
    held = replace(held, why=f"in-sample, after a recalibration on these labels: {held.why}")
    made = replace(made, is_proven=held.verdict == "better")
    card = replace(file.card, hash=hash_of(made), held_out=held)
    return ModelFile(format=FORMAT, hash=card.hash, tables=made, card=card)


def _rows(known: Known, target: str, since_ms: int) -> Ints:
    ripe = known.is_ended if target == "lost" else known.is_ripe_soon
    return np.flatnonzero(ripe & (known.frame.at_ms >= since_ms))


def _labels(known: Known, target: str) -> Floats:
    return known.is_lost if target == "lost" else known.is_lost_soon


def _fitted(known: Known, tables: Tables, target: str, rows: Ints) -> Tables:
    frame = known.frame.take(rows)
    share = len(np.unique(frame.case)) / max(len(rows), 1)
    return platt(tables, frame, _labels(known, target)[rows], np.full(len(rows), share))


def _helps(known: Known, tables: Tables, target: str, rows: Ints) -> bool:
    if len(rows) < _LEAST_ROWS:
        return False
    middle = np.median(known.frame.at_ms[rows])
    first, second = rows[known.frame.at_ms[rows] < middle], rows[known.frame.at_ms[rows] >= middle]
    labels = _labels(known, target)[second] > 0
    if not len(first) or labels.all() or not labels.any():
        return False
    moved, frame = _fitted(known, tables, target, first), known.frame.take(second)
    gains = losses(chance(tables.scores(frame)), labels) - losses(chance(moved.scores(frame)), labels)
    return bool(gains.mean() > standard_error(gains, frame.case))


def _replaced(model: ModelTables, target: str, tables: Tables) -> ModelTables:
    scale = model.points_per_log_odd
    features: list[FeatureTable] = []
    for one, table in zip(model.features, tables.points, strict=True):
        points = np.clip(np.rint(table[0, :-1] * scale), -MOST_POINTS, MOST_POINTS)
        features.append(replace(one, **{target: [int(each) for each in points]}))
    return replace(model, features=features, **{f"{target}_base": round(tables.base * scale)})


def _alerts(verdict: str, why: str, targets: list[Compared], drift: list[Drift]) -> list[str]:
    found = []
    if verdict == "worse":
        found.append(f"the model has become worse than the scorecard: {why}; promote another, or go back")
    found += [
        f"{one.target}: calibration error {one.model.calibration_error:.3f}; look at the recalibration that is proposed"
        for one in targets
        if one.target != "slips" and verdict != "not matured" and one.model.calibration_error >= MOST_ERROR
    ]
    moved = [one for one in drift if one.stability >= MOVED]
    if moved:
        told = ", ".join(f"{one.feature} {one.stability:.2f}" for one in moved[:5])
        found.append(f"deals are not what they were when it learned (population stability: {told}); train it anew")
    return found
