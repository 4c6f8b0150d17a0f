"""The ledger of false stops: figures worked out by hand."""

from __future__ import annotations

import pytest

from events.times import DAY_MS
from governance.settings_types import StopBudget
from governance.stop_budget import shares_of, state
from governance.widening import ceiling_of
from storage.read.widenings import Stops

MONTH_MS = 30 * DAY_MS


def stops(detector: str, count: int, wrong: int = 0, expected: int = 0) -> Stops:
    return Stops(detector=detector, stops=count, wrong=wrong, expected=expected)


def test_what_the_settings_leave_is_shared_in_equal_parts() -> None:
    shares = shares_of(StopBudget(shares={"a": 0.4}), ["a", "b", "c"])
    assert shares == pytest.approx({"a": 0.4, "b": 0.3, "c": 0.3})


def test_wrong_stops_are_held_against_the_budget_with_the_bound_that_the_time_allows() -> None:
    """Two of 300 agent-months were wrong: .0067 a month, and with 95 % at most 6.2958 / 300 (Garwood)."""
    told = state(StopBudget(), ["a", "b"], 50, 300 * MONTH_MS, [stops("a", 9, 2, 1)])
    assert (told.agent_months, told.total.allowed, told.total.stops, told.total.wrong) == (300.0, 3.0, 9, 2)
    assert told.total.rate == pytest.approx(2 / 300)
    assert told.total.upper == pytest.approx(6.2958 / 300, abs=1e-6)
    assert not told.total.is_over
    first, second = told.detectors
    assert (first.detector, first.budget, first.allowed, first.is_over) == ("a", 0.005, 1.5, True)
    assert (second.wrong, second.is_over, second.upper) == (0, False, pytest.approx(2.995732 / 300, abs=1e-6))


def test_before_anything_was_seen_there_is_no_rate() -> None:
    told = state(StopBudget(), ["a"], 0, 0, [])
    assert (told.total.rate, told.total.upper, told.total.is_over) == (None, None, False)


def test_a_detector_that_does_not_enforce_any_more_keeps_what_it_spent() -> None:
    told = state(StopBudget(), ["a"], 1, MONTH_MS, [stops("gone", 1, 1)])
    assert [(line.detector, line.budget, line.is_over) for line in told.detectors] == [
        ("a", 0.01, False),
        ("gone", 0.0, True),
    ]
    assert told.total.wrong == 1


@pytest.mark.parametrize(
    ("observed", "limit", "factor", "ceiling"), [(23, 23, 1.25, 28.75), (40, 23, 1.25, 46.0), (60, 23, 2.0, 46.0)]
)
def test_an_expectation_lets_pass_at_most_twice_the_limit(
    observed: float, limit: float, factor: float, ceiling: float
) -> None:
    assert ceiling_of(observed, limit, factor) == ceiling
