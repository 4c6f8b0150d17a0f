"""The files of a backtest. Each appears only once it is whole; the same input gives the same bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from math import isnan
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from events.errors import Refusal
from events.times import EPOCH, MS
from scoring.backtest.log import EventLog
from scoring.backtest.run import Predictions, Result
from scoring.backtest.tables import Tables


def local(at_ms: int, zone: ZoneInfo) -> str:
    """An instant as ISO 8601 with the zone's offset, such as 2016-06-06T08:00:00+02:00."""
    return (EPOCH + at_ms * MS).astimezone(zone).isoformat()


def write_predictions(path: Path, log: EventLog, said: Predictions, horizon_days: int, zone: ZoneInfo) -> None:
    """case, snapshot, p_lost, p_lost_<h>d, with close dates p_slip (empty for a case without one); probabilities with
    all the digits they need to be read back as they were."""
    shown = {int(at): local(int(at), zone) for at in np.unique(said.at_ms)}

    def lines() -> Iterator[str]:
        slips = said.p_slip
        yield f"case,snapshot,p_lost,p_lost_{horizon_days}d{'' if slips is None else ',p_slip'}\r\n"
        last = [""] * len(said.case)
        if slips is not None:
            last = ["," if isnan(one) else f",{one!r}" for one in slips.tolist()]
        columns = (said.case.tolist(), said.at_ms.tolist(), said.p_lost.tolist(), said.p_soon.tolist(), last)
        for case, at_ms, lost, soon, slip in zip(*columns, strict=True):
            yield f"{_cell(log.cases[case])},{shown[at_ms]},{lost!r},{soon!r}{slip}\r\n"

    _write(path, lines())


def write_reasons(path: Path, log: EventLog, result: Result, zone: ZoneInfo) -> None:
    """One line a prediction: base + Σ contributions + rest = log-odds of p_lost; ``rest`` is of those not told."""
    said, base = result.predictions, result.model.lost.base
    shown = {int(at): local(int(at), zone) for at in np.unique(said.at_ms)}

    def lines() -> Iterator[str]:
        columns = (said.case.tolist(), said.at_ms.tolist(), said.log_odds.tolist(), said.reasons)
        for case, at_ms, score, reasons in zip(*columns, strict=True):
            told: dict[str, Any] = {"case": log.cases[case], "snapshot": shown[at_ms], "log_odds": score, "base": base}
            told["reasons"] = [
                {"feature": each.feature, "contribution": each.contribution, "value": _known(each.value)}
                for each in reasons
            ]
            told["rest"] = score - base - sum(each.contribution for each in reasons)
            yield msgspec.json.encode(told).decode() + "\n"

    _write(path, lines())


def write_dead(path: Path, dead: Iterable[Refusal]) -> None:
    """The rows that could not be read: line, field, why, and the row itself."""
    _write(
        path,
        (
            msgspec.json.encode(
                {
                    "line": each.index,
                    "field": each.error.field,
                    "reason": str(each.error.reason),
                    "message": each.error.message,
                    "row": each.raw.decode("utf-8", "replace"),
                }
            ).decode()
            + "\n"
            for each in dead
        ),
    )


def write_json(path: Path, of: Any) -> None:
    """One JSON document."""
    _write(path, [msgspec.json.format(msgspec.json.encode(of), indent=1).decode() + "\n"])


def write_text(path: Path, text: str) -> None:
    """A text file."""
    _write(path, [text])


def tables_of(model: Tables, states: list[str]) -> dict[str, Any]:
    """A model as plain data: everything that is needed to score with it."""
    return {
        "base": model.base,
        "tables": [
            {
                "feature": bins.name,
                "states": states if bins.is_by_state else None,
                "cuts": [cuts.tolist() for cuts in bins.cuts],
                "points": [row[: len(cuts) + 1].tolist() for row, cuts in zip(points, bins.cuts, strict=True)],
                "missing": [float(row[-1]) for row in points],
            }
            for bins, points in zip(model.bins, model.points, strict=True)
        ],
    }


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _cell(text: str) -> str:
    if any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _write(path: Path, texts: Iterable[str]) -> None:
    draft = path.with_name(path.name + ".part")
    with draft.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(texts)
    os.replace(draft, path)
