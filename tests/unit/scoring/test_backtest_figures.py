"""Figures of a backtest, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from events.times import DAY_MS
from scoring.backtest import alerts, figures
from scoring.backtest.log import EventLog, Raw, gather

SCORES = np.array([0.9, 0.4, 0.4, 0.2])
LABELS = np.array([True, True, False, False])


def test_auc_counts_pairs_in_the_right_order_and_half_of_the_ties() -> None:
    # Pairs (lost, won): .9 > .4, .9 > .2, .4 = .4, .4 > .2: three and a half of four.
    assert figures.auc(SCORES, LABELS) == 0.875
    assert figures.auc(SCORES, np.ones(4, dtype=bool)) is None


def test_average_precision_takes_rows_of_one_score_together() -> None:
    # At .9 one of one is lost; at .4 two of three.
    assert figures.average_precision(SCORES, LABELS) == pytest.approx((1 + 2 / 3) / 2)


def test_brier_and_calibration_error() -> None:
    scores, labels = np.array([0.5, 0.75]), np.array([True, True])
    assert figures.brier(scores, labels) == (0.25 + 0.0625) / 2
    assert figures.calibration_error(scores, labels) == pytest.approx((0.5 + 0.25) / 2)
    assert figures.reliability(np.array([1.0]), np.array([True]))[0]["from"] == 0.9


def test_lift_takes_the_highest_scores_first() -> None:
    found = figures.lift(np.linspace(0, 1, 20), np.arange(20) >= 15)
    assert [row["came"] for row in found] == [1, 1, 0.5, *[0] * 7]
    assert [row["losses_so_far"] for row in found[:3]] == [0.4, 0.8, 1.0]


def test_the_top_five_are_drawn_from_one_snapshot_each() -> None:
    at_ms = np.repeat([1, 2, 3], [100, 100, 4])
    labels = np.concatenate((np.arange(100) >= 20, np.arange(100) >= 20, np.zeros(4, dtype=bool)))
    scores = labels.astype(float)
    assert figures.top_five(scores, labels, at_ms) == 1.0
    assert figures.top_five(-scores, labels, at_ms) == pytest.approx(0, abs=1e-9)
    assert figures.top_five(scores[-4:], labels[-4:], at_ms[-4:]) is None


def log() -> EventLog:
    """Three cases from day 0: a is lost on day 30, b won on day 20, c stays open; d is lost on day 40."""
    rows = [
        ("a", "x", 0),
        ("a", "lost", 30),
        ("b", "x", 0),
        ("b", "won", 20),
        ("c", "x", 0),
        ("d", "x", 0),
        ("d", "lost", 40),
    ]
    cases, what, days = zip(*rows, strict=True)
    return gather(Raw(cases, what, [day * DAY_MS for day in days], range(len(rows))), ["won"], ["lost"])


def test_first_alerts_precision_recall_and_lead() -> None:
    case = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    at_ms = np.repeat([10 * DAY_MS, 15 * DAY_MS], 4)
    scores = np.array([0.2, 0.9, 0.1, 0.1, 0.8, 0.9, 0.9, 0.3])
    alerted, when = alerts.first_over(case, at_ms, scores, 0.5)
    assert (alerted.tolist(), (when / DAY_MS).tolist()) == ([0, 1, 2], [15, 10, 15])
    found = alerts.judged(log(), np.arange(4), alerted, when)
    assert (found["alerted"], found["alerted_unresolved"]) == (2, 1)
    assert (found["precision"], found["recall"]) == (0.5, 0.5)
    assert found["lead_days"] == [15.0, 15.0, 15.0]
    assert found["leads"][2] == 1


def test_alerts_about_deals_that_live_on_for_two_weeks_are_judged_on_their_own() -> None:
    """On day 20 two lost cases are left; one ends ten days later, the other twenty. The won one ends after 13."""
    alerted, when = np.array([0, 1, 3]), np.array([20, 7, 20]) * DAY_MS
    found = alerts.judged(log(), np.arange(4), alerted, when)
    assert (found["precision"], found["alive"], found["alive_precision"]) == (2 / 3, 1, 1.0)
    longer = alerts.judged(log(), np.arange(4), alerted, np.array([20, 6, 26]) * DAY_MS)
    assert (longer["alive"], longer["alive_precision"]) == (2, 0.5)
    none = alerts.judged(log(), np.arange(4), alerted[:1], when[:1])
    assert (none["precision"], none["alive"], none["alive_precision"]) == (1.0, 0, None)


def test_losses_and_their_error_by_hand() -> None:
    said, labels = np.array([0.5, 0.75, 0.0]), np.array([True, False, True])
    assert figures.losses(said, labels)[:2].tolist() == pytest.approx([np.log(2), np.log(4)])
    assert np.isfinite(figures.losses(said, labels)).all()
    gains = np.array([1.0, 1.0, -1.0, -1.0])
    assert figures.standard_error(gains, np.arange(4)) == pytest.approx(0.5)
    assert figures.standard_error(gains, np.array([0, 0, 1, 1])) == pytest.approx(2**0.5 / 2), "rows of one case agree"


def test_the_threshold_of_a_volume_alerts_that_many_cases_and_asks_no_outcome() -> None:
    case, scores = np.array([0, 0, 1, 2, 3]), np.array([0.1, 0.7, 0.6, 0.5, 0.2])
    threshold = alerts.same_volume(case, scores, 2)
    assert threshold == 0.6
    assert len(alerts.first_over(case, np.arange(5), scores, threshold)[0]) == 2


def test_alerts_compare_the_rule_with_both_scores_at_its_volume() -> None:
    case, at_ms = np.array([0, 1, 2, 3]), np.full(4, 10 * DAY_MS)
    p_lost, p_soon = np.array([0.9, 0.2, 0.3, 0.8]), np.array([0.9, 0.0, 0.0, 0.0])
    found = alerts.compare(log(), case, at_ms, p_lost, p_soon, np.array([1.0, 20.0, 1.0, 1.0]))
    assert found["rule_14_days"]["precision"] == 0
    assert found["score_same_volume"]["lead_days"] == [20.0] * 3
    assert found["early_same_volume"]["lead_days"] == [30.0] * 3
