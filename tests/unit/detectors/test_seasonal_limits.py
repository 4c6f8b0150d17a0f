"""The daily fit: means, dispersion, memory of jobs, and its bytes."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import seasonal_limits
from detectors.seasonal_limits import EXPONENTS, FLOORS, MARGIN, W1, W5, W60, Day, SeasonalLimits
from detectors.statistics import negative_binomial_limit


def even_day(per_hour: int, jobs: dict[int, int] | None = None) -> Day:
    """A day with the same count in each hour, evenly spread, and all of a job's actions within five minutes."""
    day = Day()
    for slot in range(24):
        job = (jobs or {}).get(slot, 0)
        day.hours[slot] = per_hour + job
        day.squares_5[slot] = 11 * (per_hour / 12) ** 2 + (per_hour / 12 + job) ** 2
        day.squares_15[slot] = 3 * (per_hour / 4) ** 2 + (per_hour / 4 + job) ** 2
        peaks = (per_hour / 60 + job, per_hour / 12 + job, per_hour / 4 + job, per_hour + job)
        for table, peak in zip(day.peaks, peaks, strict=True):
            table[slot] = int(peak) + (peak % 1 > 0)
    return day


def learnt(days: int, per_hour: int = 60, jobs: dict[int, int] | None = None) -> SeasonalLimits:
    season = SeasonalLimits()
    for number in range(days):
        season.learn(even_day(per_hour, jobs), number % 7, 0, is_mature=number >= 7)
    return season


def test_the_mean_of_an_even_load_is_that_load() -> None:
    season = learnt(14)
    assert season.means[5] == pytest.approx(60, rel=0.01)


def test_the_first_days_are_shrunk_to_the_neighbours_by_four_actions() -> None:
    season = SeasonalLimits()
    day = even_day(10)
    day.hours[12] = 0
    season.learn(day, 0, 0, is_mature=False)
    # whole = 230 / 24; the four neighbours held 40 in 4: prior = whole · (40 + 4) / (whole · 4 + 4)
    whole = 230 / 24
    prior = whole * 44 / (whole * 4 + 4)
    assert season.means[12] == pytest.approx(prior * (0 + 4) / (prior * 1 + 4), rel=1e-5)


def test_an_even_load_has_the_least_dispersion() -> None:
    # The prior is 0.2 with weights 5, 10, 20 in units of squared means; an even load pulls all to the least, 0.03.
    assert list(learnt(14).dispersion) == pytest.approx([0.03, 0.03, 0.03], abs=1e-6)


def test_limits_lie_above_the_usual_and_grow_with_the_window() -> None:
    season = learnt(14)
    row = season.limits[10]
    assert list(row) == sorted(row)
    for window, floor in enumerate(FLOORS):
        assert row[window] >= floor
        assert row[window] > season.usual_most(10, window)


def test_without_memory_the_limit_is_the_chernoff_limit_of_the_composite_mean() -> None:
    season = learnt(14)
    bound = negative_binomial_limit(MARGIN * season.means[10], season.dispersion[2], EXPONENTS[W60])
    assert season.limits[10][W60] <= bound + 1


def test_a_job_may_have_three_times_its_remembered_total_within_an_hour_of_its_time() -> None:
    season = learnt(14, per_hour=6, jobs={2: 400})
    for slot in (1, 2, 3):
        assert season.limits[slot][W60] >= 3 * 400 * 0.98**14
        assert season.limits[slot][W5] >= 3 * 400 * 0.98**14
    assert season.limits[12][W60] < 60


def test_a_day_far_below_the_typical_is_not_learnt() -> None:
    season = learnt(10)
    before = list(season.counts)
    season.learn(even_day(5), 5, 0, is_mature=True)
    assert list(season.counts) == before


def test_hours_marked_as_stopped_are_not_learnt() -> None:
    season = learnt(10)
    day = even_day(60)
    day.hours[9] = -1
    for table in day.peaks:
        table[9] = 5_000
    before, peak = season.counts[9], season.peaks[3][9]
    season.learn(day, 3, 0, is_mature=True)
    assert season.counts[9] == before
    assert season.peaks[3][9] <= peak


def test_after_warm_up_an_hour_enters_as_at_most_three_times_its_mean_plus_ten() -> None:
    season = learnt(10)
    day = even_day(60)
    day.hours[9] = 10_000
    before, mean = season.counts[9], season.means[9]
    season.learn(day, 3, 0, is_mature=True)
    assert season.counts[9] == pytest.approx(before * 0.93 + 3 * mean + 10, rel=1e-5)


def test_a_remembered_peak_grows_by_half_a_day_at_most_once_mature() -> None:
    season = learnt(10)
    before = season.peaks[3][9]
    day = even_day(60)
    day.peaks[3][9] = 10_000
    season.learn(day, 3, 0, is_mature=True)
    assert season.peaks[3][9] == pytest.approx(before * 0.985 * 1.5, rel=1e-5)


def test_a_slower_weekday_is_expected_to_be_slow() -> None:
    season = SeasonalLimits()
    for number in range(35):
        season.learn(even_day(60 if number % 7 else 24), number % 7, 0, is_mature=number >= 7)
    assert season.expected_in_hour(10, 0) < 0.7 * season.expected_in_hour(10, 1)


def test_its_bytes_restore_it() -> None:
    season = learnt(9, per_hour=7, jobs={22: 90})
    again = SeasonalLimits.load(season.dump())
    assert again.dump() == season.dump()
    assert again.limits == season.limits
    assert again.limits[22][W1] > again.limits[12][W1]
    for one in (season, again):
        one.learn(even_day(8), 2, 1, is_mature=True)
    assert again.dump() == season.dump()


_TABLE = st.lists(st.floats(0, 5000, width=32) | st.just(0.0), min_size=24, max_size=24)


@pytest.mark.skipif(seasonal_limits._compiled is None, reason="not compiled: make compile")
@settings(max_examples=40)
@given(
    st.lists(st.floats(1e-3, 2000), min_size=24, max_size=24),
    st.tuples(*[st.floats(0.03, 5.3)] * 6),
    st.lists(_TABLE, min_size=4, max_size=4),
    st.integers(1, 200),
)
def test_compiled_limits_are_the_same(
    means: list[float], phis: tuple[float, ...], peaks: list[list[float]], days: int
) -> None:
    bounds = [MARGIN * max(means[slot - 1], means[slot], means[(slot + 1) % 24]) for slot in range(24)]
    given_to_both = (bounds, phis, [array("f", table) for table in peaks], 2.4 + 4.0 / days)
    assert seasonal_limits._compiled is not None
    assert seasonal_limits._compiled.limits_of(*given_to_both) == seasonal_limits.limits_of(*given_to_both)
