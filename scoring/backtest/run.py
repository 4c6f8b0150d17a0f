"""A whole backtest: train at one moment, predict at the snapshots after it, measure what the log tells later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from events.adapters.mapping import Mapping
from events.times import DAY_MS
from scoring.backtest import alerts, clock, closing, figures, rival
from scoring.backtest.errors import BacktestError
from scoring.backtest.features import Frame, Reader
from scoring.backtest.log import NEVER, Bools, EventLog, Floats, Ints
from scoring.backtest.tables import Tables, chance
from scoring.backtest.train import Learned, Model, learn

MAX_BEYOND_DAYS = 366
BLOCK_ROWS = 20_000

Every = Literal["weekly", "daily"]


class Question(NamedTuple):
    """What to replay. ``cut_ms``: the first instant that training does not see. ``until_ms``: the last snapshot's
    latest instant; None: the log's last event. ``reasons``: how many of each prediction to tell."""

    cut_ms: int
    until_ms: int | None = None
    every: Every = "weekly"
    horizon_days: int = 14
    reasons: int = 0


class Reason(NamedTuple):
    """What a group of look-ups on one thing gives, in log-odds against the average open case; ``value`` is NaN where
    there is none."""

    feature: str
    contribution: float
    value: float


class Predictions(NamedTuple):
    """One row a snapshot and open case, by snapshot, then case (a place in the log). ``log_odds`` are of ``p_lost``.

    ``p_slip``: not won by the close date that the case has then: NaN where it has none, 1 where that date is over;
    None where the model looks at no close dates."""

    case: Ints
    at_ms: Ints
    log_odds: Floats
    p_lost: Floats
    p_soon: Floats
    silence: Floats
    reasons: list[list[Reason]]
    p_slip: Floats | None = None


class Result(NamedTuple):
    """The model, its predictions, and what came of them."""

    model: Model
    predictions: Predictions
    snapshots: list[int]
    report: dict[str, Any]


def run(log: EventLog, mapping: Mapping, zone: ZoneInfo, asked: Question) -> Result:
    """Train, predict, measure. Raises BacktestError when the question can't be answered from this log."""
    _check(log, zone, asked)
    until_ms = log.last_ms if asked.until_ms is None else asked.until_ms
    snapshots = clock.snapshots(asked.cut_ms, until_ms, asked.every, zone)
    case, at_ms = log.open_at(snapshots)
    if not len(case):
        days = f"{clock.day_of(asked.cut_ms, zone)} to {clock.day_of(until_ms, zone)}"
        raise BacktestError(
            f"no case is open at any of the {len(snapshots)} {asked.every} snapshots from {days} (08:00, {zone.key}): "
            "choose other dates, or --snapshots daily where cases live for less than a week"
        )
    found = learn(log, mapping, zone, asked.cut_ms, asked.horizon_days)
    model = found.model
    reader = Reader(log, model.risk, zone, model.late is not None)
    predictions = predict(reader, model, case, at_ms, asked.reasons)
    report = measure(log, predictions, asked.horizon_days)
    report["challenger"] = challenge(log, reader, found, predictions, asked.horizon_days)
    report["weights"] = weights(reader, model, case, at_ms)
    report["alerts"] = _alerts(log, reader, model, predictions, asked, until_ms, zone)
    return Result(model, predictions, snapshots, report)


def predict(reader: Reader, model: Model, case: Ints, at_ms: Ints, reasons: int = 0) -> Predictions:
    """Probabilities of rows, in blocks, so that memory stays bounded."""
    lost, soon, slip, silence, told = [], [], [], [], []
    for rows in _blocks(len(case)):
        frame = reader.rows(case[rows], at_ms[rows])
        lost.append(model.lost.scores(frame))
        soon.append(chance(model.soon.scores(frame)))
        if model.late is not None:
            slip.append(slips(model.late, frame, chance(lost[-1])))
        silence.append(frame.values[:, frame.names.index("silence")])
        if reasons:
            told += reasons_of(model.lost, frame, reasons)
    scores = np.concatenate(lost)
    return Predictions(
        case, at_ms, scores, chance(scores), np.concatenate(soon), np.concatenate(silence), told,
        np.concatenate(slip) if slip else None,
    )  # fmt: skip


def slips(late: Tables, frame: Frame, p_lost: Floats) -> Floats:
    """The chance that each row's case is not won by its close date; see ``Predictions``."""
    left = frame.values[:, frame.names.index("to_close")]
    found = np.where(left > 0, p_lost + (1 - p_lost) * chance(late.scores(frame)), 1.0)
    return np.where(np.isnan(left), np.nan, found)


def reasons_of(model: Tables, frame: Frame, most: int) -> list[list[Reason]]:
    """The largest contributions of each row, first the largest. With all groups they and the base sum to the score."""
    groups: dict[str, list[int]] = {}
    for at, bins in enumerate(model.bins):
        groups.setdefault(bins.thing, []).append(at)
    names = sorted(groups)
    single = model.contributions(frame)
    summed = np.column_stack([single[:, groups[name]].sum(axis=1) for name in names])
    order = np.argsort(-np.abs(summed), axis=1, kind="stable")[:, :most]
    columns = [model.bins[groups[name][0]].column for name in names]
    return [
        [Reason(names[at], float(summed[row, at]), float(frame.values[row, columns[at]])) for at in best]
        for row, best in enumerate(order.tolist())
    ]


def weights(reader: Reader, model: Model, case: Ints, at_ms: Ints) -> dict[str, dict[str, float]]:
    """How much each table says: the mean size of its contribution, in log-odds, over a sample of the predictions."""
    some = np.arange(0, len(case), max(1, len(case) // BLOCK_ROWS))
    frame = reader.rows(case[some], at_ms[some])
    found = {}
    for target, tables in (("lost", model.lost), ("lost_within_horizon", model.soon), ("slip", model.late)):
        if tables is None:
            continue
        sizes = np.abs(tables.contributions(frame)).mean(axis=0)
        found[target] = {bins.name: float(size) for bins, size in zip(tables.bins, sizes, strict=True)}
    return found


def labels(log: EventLog, case: Ints, at_ms: Ints, horizon_days: int) -> tuple[Bools, Bools, Bools]:
    """Whether the log tells how the case ended; whether it was lost, and whether within the horizon."""
    ended_ms, is_lost = log.ended_ms[case], log.is_lost[case]
    return ended_ms != NEVER, is_lost, is_lost & (ended_ms - at_ms < horizon_days * DAY_MS)


def measure(log: EventLog, said: Predictions, horizon_days: int) -> dict[str, Any]:
    """Figures of both targets, with the curves; rows whose case never ends in the log are left out."""
    is_ended, is_lost, is_soon = labels(log, said.case, said.at_ms, horizon_days)
    report: dict[str, Any] = {
        "predictions": len(said.case),
        "without_outcome": int((~is_ended).sum()),
    }
    for name, scores, label in (("lost", said.p_lost, is_lost), ("lost_within_horizon", said.p_soon, is_soon)):
        rows = np.flatnonzero(is_ended)
        report[name] = _figures(scores[rows], label[rows], said.at_ms[rows], said.silence[rows]) if len(rows) else None
    report["slip"] = None
    if said.p_slip is not None:
        rows, label = slipped(log, said.case, said.at_ms)
        if len(rows):
            report["slip"] = _figures(said.p_slip[rows], label, said.at_ms[rows], said.silence[rows])
    return report


def slipped(log: EventLog, case: Ints, at_ms: Ints) -> tuple[Ints, Bools]:
    """The rows whose close date was still to come and is over at the log's end, and whether they were not won by it.

    Rows whose case ends before its close date, but whose date lies beyond the log, are left out: they'd be quick ends.
    """
    close_ms = closing.expected(log, case, at_ms)
    rows = np.flatnonzero((close_ms > at_ms) & (close_ms <= log.last_ms))
    ended_ms = log.ended_ms[case[rows]]
    is_won = (ended_ms != NEVER) & ~log.is_lost[case[rows]]
    return rows, ~(is_won & (ended_ms < close_ms[rows]))


def challenge(
    log: EventLog, reader: Reader, found: Learned, said: Predictions, horizon_days: int
) -> dict[str, Any] | None:
    """Full boosting beside the model on the rows whose end is known; None where the model is not additive."""
    full = rival.learn(found)
    rows = rival.ended(log, said.case)
    if full is None or not len(rows):
        return None
    late_rows, is_late = slipped(log, said.case, said.at_ms)
    frames = [reader.rows(said.case[block], said.at_ms[block]) for block in _blocks(len(said.case))]
    state = np.concatenate([frame.state for frame in frames])
    theirs = [rival.say(full, frame) for frame in frames]
    lost = np.concatenate([one.lost for one in theirs])
    _, is_lost, is_soon = labels(log, said.case, said.at_ms, horizon_days)

    def beside(full_says: Floats, tables_say: Floats, label: Bools, at: Ints) -> dict[str, Any]:
        return rival.beside(full_says[at], tables_say[at], label, said.case[at], said.at_ms[at])

    told: dict[str, Any] = {"lost": beside(lost, said.p_lost, is_lost[rows], rows)}
    told["by_state"] = rival.by_state(
        lost[rows], said.p_lost[rows], is_lost[rows], said.case[rows], said.at_ms[rows], state[rows], found.model.states
    )
    if full.soon is not None:
        soon = np.concatenate([one.soon for one in theirs if one.soon is not None])
        told["lost_within_horizon"] = beside(soon, said.p_soon, is_soon[rows], rows)
    if full.late is not None and said.p_slip is not None and len(late_rows):
        late = np.concatenate([one.late for one in theirs if one.late is not None])
        told["slip"] = beside(lost + (1 - lost) * late, said.p_slip, is_late, late_rows)
    return told


def _figures(scores: Floats, label: Bools, at_ms: Ints, silence: Floats) -> dict[str, Any]:
    rule = (silence >= alerts.SILENT_DAYS).astype(np.float64)
    return figures.measure(scores, label, at_ms) | {
        "rule_14_days_auc": figures.auc(rule, label),
        "days_silent_auc": figures.auc(silence, label),
        "days_silent_precision_top_5_of_80": figures.top_five(silence, label, at_ms),
        "reliability": figures.reliability(scores, label),
        "lift": figures.lift(scores, label),
        "by_snapshot": figures.by_snapshot(scores, label, at_ms, silence),
    }


def _alerts(
    log: EventLog, reader: Reader, model: Model, said: Predictions, asked: Question, until_ms: int, zone: ZoneInfo
) -> dict[str, Any]:
    """Alerts are looked at daily, whatever the snapshots are."""
    if asked.every == "weekly":
        days = clock.snapshots(asked.cut_ms, min(until_ms, log.last_ms), "daily", zone)
        case, at_ms = log.open_at(days)
        if not len(case):
            return {}
        said = predict(reader, model, case, at_ms)
    return alerts.compare(log, said.case, said.at_ms, said.p_lost, said.p_soon, said.silence)


def _check(log: EventLog, zone: ZoneInfo, asked: Question) -> None:
    first, last = clock.day_of(log.first_ms, zone), clock.day_of(log.last_ms, zone)
    cut = clock.day_of(asked.cut_ms, zone)
    if not log.first_ms < asked.cut_ms <= log.last_ms:
        raise BacktestError(f"--train-until {cut} is not inside the log, which goes from {first} to {last}")
    if asked.until_ms is None:
        return
    until = clock.day_of(asked.until_ms, zone)
    if asked.until_ms < asked.cut_ms:
        raise BacktestError(f"--test-until {until} is before --train-until {cut}")
    if asked.until_ms > log.last_ms + MAX_BEYOND_DAYS * DAY_MS:
        raise BacktestError(f"--test-until {until} is more than a year after the log's end, {last}")


def _blocks(rows: int) -> Iterator[slice]:
    for begin in range(0, rows, BLOCK_ROWS):
        yield slice(begin, begin + BLOCK_ROWS)
