"""The score of a series: channel by channel against values worked out by hand, then the laws of the whole."""

from __future__ import annotations

import random
from math import exp, inf, nan

import pytest

from detectors.series import LARGEST, THRESHOLD, Burst, Novelty, SeriesScore, WeeklyResidual

FIVE_MINUTES = 300_000
HOUR = 3_600_000


def noise(seed: int, rows: int, *, daily: float = 0.0) -> list[float]:
    rng = random.Random(seed)
    return [50 + daily * (row % 288 > 144) + rng.gauss(0, 1) for row in range(rows)]


def scores(values: list[float], step_ms: int = FIVE_MINUTES) -> list[float]:
    series = SeriesScore()
    return [series.update(row * step_ms, value) for row, value in enumerate(values)]


def test_a_record_is_novel_by_its_distance_in_ranges() -> None:
    novelty = Novelty(0.02)
    # The first one is known. 10: no range yet, so ÷ 1: 10/(1 + 10). 15: half a range beyond: .5/1.5.
    assert [novelty.score(x) for x in (0.0, 10.0, 15.0)] == pytest.approx([0.0, 10 / 11, 1 / 3])


def test_what_was_met_before_is_not_novel_again() -> None:
    novelty = Novelty(0.02)
    for number in (0.0, 100.0):
        novelty.score(number)
    assert novelty.score(100.0) == 0.0
    assert novelty.score(101.9) == 0.0, "nearer than 2 % of the range"
    assert novelty.score(110.0) > 0.0


def test_a_gap_between_familiar_numbers_counts_less_than_a_record() -> None:
    novelty = Novelty(0.02)
    for number in (0.0, 100.0, *[0.0] * 6, *[100.0] * 30):
        novelty.score(number)
    # 40 is .4 ranges from the nearest; 7 rows below and 31 above: (.4/1.4) · (1 + 7)^(−1/3) = .2857/2.
    assert novelty.score(40.0) == pytest.approx(0.4 / 1.4 / 2)


def test_the_store_of_numbers_is_bounded() -> None:
    novelty = Novelty(0.02)
    for power in range(1_000):
        novelty.score(1.1**power)
    assert len(novelty.numbers) == len(novelty.counts) == 400
    assert sum(novelty.counts) == 1_000


def test_the_week_tells_a_value_that_is_usual_at_another_hour() -> None:
    weekly, quiet = WeeklyResidual(), WeeklyResidual()
    rng = random.Random(4)
    said = other = 0.0
    for hour in range(24 * 7 * 4 + 3):
        at_ms, is_day = hour * HOUR, 8 <= hour % 24 < 18
        value = 100.0 * is_day + rng.gauss(0, 1)
        said = weekly.score(at_ms, 100.0 if hour == 24 * 7 * 4 + 2 else value)
        other = quiet.score(at_ms, value)
    assert said > 0.1
    assert other == 0.0


def test_the_week_says_nothing_where_it_explains_nothing() -> None:
    weekly = WeeklyResidual()
    rng = random.Random(5)
    said = [weekly.score(row * HOUR, rng.gauss(0, 1)) for row in range(24 * 7 * 4)]
    assert max(said) < 0.01
    assert weekly.score(24 * 7 * 4 * HOUR, 12.0) < 0.01


def test_unrest_is_a_burst_and_a_single_jump_is_none() -> None:
    calm = noise(6, 3_000)
    jump, unrest = Burst(), Burst()
    rng = random.Random(7)
    for value in calm:
        jump.score(value)
        unrest.score(value)
    after_jump = [jump.score(value) for value in (500.0, *noise(8, 40))]
    after_unrest = [unrest.score(50 + rng.gauss(0, 6)) for _ in range(40)]
    assert max(after_unrest) > 3 * max(after_jump) + 1


def test_a_level_shift_is_told_once_and_not_a_hundred_times() -> None:
    values = noise(9, 2_000)
    values[1_500:] = [value + 30 for value in values[1_500:]]
    told = [row for row, score in enumerate(scores(values)) if score >= THRESHOLD and row >= 300]
    assert 1_500 in told
    assert len([row for row in told if row >= 1_500]) <= 3


def test_calm_series_are_told_nearly_never() -> None:
    told = [sum(score >= THRESHOLD for score in scores(noise(seed, 4_000))[600:]) for seed in range(3)]
    assert max(told) <= 6, "of 3,400 rows"
    assert scores([7.0] * 500) == [0.0] * 500


def test_two_channels_together_say_more_than_one() -> None:
    series = SeriesScore()
    series.faded = [0.1, 0.05, 2.0]
    series.value.score(1.0)
    # Nothing new in this row: what is there has faded by one row, and the bar is down.
    total = (0.1 + 0.05 + 0.02 * 2.0) * exp(-1 / 75)
    assert series.update(0, 1.0) == pytest.approx(total / (1 + total))
    assert series.update(1, 1.0) == 0.0, "the bar is up"


def test_a_score_depends_on_the_rows_before_it_alone() -> None:
    values = noise(10, 1_500, daily=40.0)
    values[900] = 300.0
    whole = scores(values)
    for rows in (1, 2, 51, 700, 901, 1_499):
        assert scores(values[:rows]) == whole[:rows]
    assert all(0.0 <= score <= 1.0 for score in whole)


def test_a_cut_anywhere_changes_nothing() -> None:
    values = noise(11, 1_200, daily=40.0)
    whole, cut = SeriesScore(), SeriesScore()
    for row, value in enumerate(values):
        if row % 37 == 0:
            blob = cut.dump()
            cut = SeriesScore.load(blob)
            assert cut.dump() == blob
        assert whole.update(row * FIVE_MINUTES, value) == cut.update(row * FIVE_MINUTES, value)
    assert whole.dump() == cut.dump()


def test_a_state_of_another_version_is_refused() -> None:
    blob = bytearray(SeriesScore().dump())
    blob[1] = 99
    with pytest.raises(ValueError, match="version 1, not 99"):
        SeriesScore.load(bytes(blob))


@pytest.mark.parametrize("value", [nan, inf, -inf, 2 * LARGEST])
def test_what_is_no_number_is_refused_and_changes_nothing(value: float) -> None:
    series = SeriesScore()
    series.update(0, 1.0)
    before = series.dump()
    with pytest.raises(ValueError, match="finite"):
        series.update(1, value)
    assert series.dump() == before


@pytest.mark.parametrize("size", [1e-300, 5e-324, 1e-12, 1e150])
def test_numbers_of_any_size_give_scores_between_0_and_1(size: float) -> None:
    rng = random.Random(12)
    said = scores([rng.choice([-1.0, 0.0, 0.5, 1.0]) * size for _ in range(400)])
    assert all(0.0 <= score <= 1.0 for score in said)
    mixed = scores([rng.choice([1.0, -size, size, 1e150]) for _ in range(400)])
    assert all(0.0 <= score <= 1.0 for score in mixed)


def test_the_state_stays_small() -> None:
    rng = random.Random(13)
    series = SeriesScore()
    for row in range(4_000):
        series.update(row * 977_777, rng.choice([1, -1]) * 1.05 ** rng.randrange(4_000))
    assert len(series.dump()) < 25_000
