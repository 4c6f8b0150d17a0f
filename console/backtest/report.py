"""The report of a backtest as plain data (``report.json``)."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from console.backtest.files import local, tables_of
from scoring.backtest.reading import Read
from scoring.backtest.run import Question, Result
from scoring.backtest.train import BLEND_TO, HAND_BELOW, Model

KINDS = {
    "hand": f"hand scorecard, fitted a little: fewer than {HAND_BELOW} closed cases",
    "blend": f"mean of hand scorecard and learned tables: up to {BLEND_TO:,} closed cases",
    "additive": "additive tables, learned",
}
SLIP = "p_slip = p_lost + (1 - p_lost) * logistic(base + look-ups): the tables are of being late if it isn't lost"
NO_DATES = "the mapping names no close date ([columns] close_date): whether cases slip can't be said"
NO_CHALLENGER = "no full boosting beside it: that takes more than {:,} closed cases"
UNPROVEN = "the model is unproven: so few closed cases say little, whatever the figures below are"


def report_of(file: str, read: Read, asked: Question, result: Result, zone: ZoneInfo) -> dict[str, Any]:
    """Everything that a reader needs to judge the figures, and to compute the predictions again."""
    log, model = read.log, result.model
    figures = result.report
    for name in ("lost", "lost_within_horizon", "slip"):
        for row in (figures[name] or {}).get("by_snapshot", []):
            row["snapshot"] = local(row.pop("at_ms"), zone)
    return {
        "log": {
            "file": file,
            "rows": read.rows,
            "dead_rows": len(read.dead),
            "events_after_the_outcome_left_out": log.after_end,
            "cases": len(log.cases),
            "cases_never_open": log.stillborn,
            "first": local(log.first_ms, zone),
            "last": local(log.last_ms, zone),
        },
        "notes": _notes(read, model, result, log.last_ms, zone),
        "zone": zone.key,
        "train_until": local(asked.cut_ms, zone),
        "horizon_days": asked.horizon_days,
        "every": asked.every,
        "snapshots": [local(at_ms, zone) for at_ms in result.snapshots],
        "model": _model(model),
        "figures": figures,
    }


def _model(model: Model) -> dict[str, Any]:
    return {
        "kind": model.kind,
        "kind_in_words": KINDS[model.kind],
        "kind_within_horizon": model.soon_kind,
        "closed_cases": model.closed,
        "won_cases": model.won_cases,
        "lost_cases": model.lost_cases,
        "open_cases": model.open_cases,
        "training_rows": model.rows,
        "states": model.states,
        "lost": tables_of(model.lost, model.states),
        "lost_within_horizon": tables_of(model.soon, model.states),
        "slip": None if model.late is None else tables_of(model.late, model.states) | {"formula": SLIP},
        "kind_slip": model.late_kind,
    }


def _notes(read: Read, model: Model, result: Result, last_ms: int, zone: ZoneInfo) -> list[str]:
    notes = [*read.notes]
    if read.dead:
        notes.append(f"{len(read.dead):,} rows can't be read, and are left out (dead-lines.jsonl)")
    if model.closed < HAND_BELOW:
        notes.append(f"only {model.closed:,} cases had closed: {UNPROVEN}")
    if model.soon_kind != model.kind:
        notes.append("too few losses within the horizon to learn from: that target has the hand scorecard")
    if result.report["challenger"] is None:
        notes.append(NO_CHALLENGER.format(BLEND_TO))
    if model.late is None:
        notes.append(f"no slip: {model.why_no_dates}" if model.why_no_dates else NO_DATES)
    elif model.late_kind != model.kind:
        notes.append("too few close dates were over to learn from: p_slip has the hand scorecard")
    beyond = sum(at_ms > last_ms for at_ms in result.snapshots)
    if beyond:
        notes.append(f"{beyond} snapshots lie after the log's end, {local(last_ms, zone)}: they see nothing newer")
    return notes
