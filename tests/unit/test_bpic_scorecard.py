"""The scorecard's bench reads only what was known before each snapshot; its figures are worked out by hand here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.bpic_scorecard import MONDAY_MS, auc, brier, calibration_error, rows
from events.times import DAY_MS, format_ms

MONDAY = MONDAY_MS + 2_400 * 7 * DAY_MS


def write(path: Path, *lines: tuple[int, dict[str, Any]]) -> Path:
    texts = [json.dumps({"time": format_ms(at_ms), "data": {"at": format_ms(at_ms)} | data}) for at_ms, data in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def risk(p_lost: float) -> dict[str, Any]:
    return {"deal_id": "d", "p_lost": p_lost, "p_lost_14d": p_lost / 2, "band": "low"}


def test_auc_counts_pairs_in_the_right_order_and_half_of_the_ties() -> None:
    # Pairs (lost, won): .9 > .4, .9 > .2, .4 = .4, .4 > .2: three and a half of four.
    assert auc([0.9, 0.4, 0.4, 0.2], [True, True, False, False]) == 0.875


def test_brier_and_calibration_error_of_two_rows() -> None:
    assert brier([0.5, 0.75], [True, True]) == (0.25 + 0.0625) / 2
    assert calibration_error([0.5, 0.75], [True, True]) == pytest.approx((0.5 + 0.25) / 2)


def test_a_snapshot_sees_the_last_score_said_before_it_and_none_after_the_end(tmp_path: Path) -> None:
    closed = {"deal_id": "d", "changes": {"is_closed": [False, True], "is_won": {"after": False}}}
    log = write(
        tmp_path / "log.jsonl",
        (MONDAY - 2 * DAY_MS, {"deal_id": "d", "changes": {"is_closed": [None, False]}}),
        (MONDAY + 20 * DAY_MS, closed),
        (MONDAY + 50 * DAY_MS, {"deal_id": "never-closed"}),
    )
    risks = write(
        tmp_path / "deal_risk.jsonl",
        (MONDAY - 2 * DAY_MS, risk(0.25)),
        (MONDAY, risk(0.5)),
        (MONDAY + 8 * DAY_MS, risk(0.75)),
    )
    found = list(rows(log, risks, first_days=0, until_days=0))
    assert [(row.week_ms - MONDAY) // DAY_MS for row in found] == [0, 7, 14]
    assert [row.p_lost for row in found] == [0.25, 0.5, 0.75]
    assert [row.silent_days for row in found] == [2, 9, 16]
    assert [row.is_lost_14d for row in found] == [False, True, True]
    assert all(row.is_lost for row in found)
