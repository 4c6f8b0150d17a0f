"""The rivals of the detection benchmark do what their descriptions say; expected values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.detect_rivals import Spike, Watched, caught, figures, threshold, watch
from bench.populations import START_MS, Agent
from bench.rivals import Ewma, RollingZ, SeasonalZ, Toolkit

MINUTE = 60_000


def test_rolling_z_is_silent_for_half_its_window_then_counts_deviations():
    rival = RollingZ()
    said = [rival.score(number, 2 + 2 * (number % 2)) for number in range(144)]
    assert said == [0.0] * 144
    assert rival.score(144, 9) == pytest.approx(6.0)  # mean 3, deviation 1


def test_rolling_z_forgets_what_left_its_window():
    rival = RollingZ()
    for number in range(600):
        rival.score(number, 100 if number < 300 else 0)
    assert rival.score(600, 1) == pytest.approx(2.0)  # mean 0, the least deviation .5


def test_the_toolkits_rule_judges_from_the_sixth_window_in_both_directions():
    rival = Toolkit()
    assert [rival.score(number, count) for number, count in enumerate([1, 3, 1, 3, 2])] == [0.0] * 5
    assert rival.score(5, 0) == pytest.approx(2.0 / math.sqrt(0.8))


def test_the_toolkits_rule_is_blind_where_nothing_varies():
    rival = Toolkit()
    for number in range(20):
        rival.score(number, 1)
    assert rival.score(20, 5_000) == 0.0


def test_ewma_smooths_and_begins_after_a_day():
    rival = Ewma()
    assert all(rival.score(number, 5) == 0.0 for number in range(288))
    # the smoothed count is 5 by then (1 - .8**288), the mean 5, nothing varied: 20 % of 10 more, over .5
    assert rival.score(288, 15) == pytest.approx(4.0, abs=1e-6)


def test_the_hourly_profile_keeps_hours_apart():
    rival = SeasonalZ()
    for number in range(3 * 288):
        rival.score(number, 4 if number // 12 % 24 == 9 else 0)
    at_nine, at_ten = 3 * 288 + 9 * 12, 3 * 288 + 10 * 12
    assert rival.score(at_nine, 4) == pytest.approx(0.0, abs=1e-6)
    assert rival.score(at_ten, 4) == pytest.approx(4.0, abs=1e-6)


@pytest.mark.parametrize(("months", "stops", "level"), [(50.0, 0, 9.0), (50.0, 2, 5.0), (250.0, 1, 5.0)])
def test_the_threshold_allows_as_many_days_as_the_budget(months: float, stops: int, level: float):
    assert threshold([1.0, 9.0, 5.0, 7.0], months, stops) == level


def test_a_spike_is_put_into_a_copy_and_the_course_goes_on_without_it():
    """One action a minute for nine days; in the last hour a hundred a minute, seen by a copy only."""
    times = START_MS + np.arange(9 * 1440, dtype=np.int64) * MINUTE
    start_ms = START_MS + (8 * 1440 + 600) * MINUTE
    burst = start_ms + np.arange(6000, dtype=np.int64) * 600
    spike = Spike(0, 10, start_ms, burst)
    said = watch(RollingZ, [Agent("a", "office", times, 60.0)], [spike], 9)
    assert said.days == [0.0, 0.0], "the two days after the first week"
    ((_, kind, course),) = said.spikes
    assert kind == "office"
    assert course[0] == (5.0, 990.0), "500 actions in five minutes instead of 5; the least deviation is .5"
    delays = caught(said, 100.0)
    assert figures(delays)["busy x10"] == {"spikes": 1, "caught": 1.0, "median": 5.0}
    assert figures(caught(Watched(spikes=said.spikes), 1e6))["busy x10"]["caught"] == 0.0
