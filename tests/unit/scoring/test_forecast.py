"""The forecast: its draws by hand, what moves them and what doesn't, and the parts it is made of."""

from __future__ import annotations

from math import sqrt
from statistics import pvariance

import pytest

from events.times import DAY_MS
from scoring import forecast
from scoring.forecast import Births, Miss, Odds, Shock, crps, draw, fit_shock, miss_of, spread, together, won_within
from scoring.forecast_births import Life, expected, share_won, unrest
from scoring.forecast_doubt import independent, stretch

CALM = Shock(0.0, 0.0, 0.0)
DEALS = [Odds(f"d{at}", 0.1 + 0.01 * at, 1_000 * at, "EUR") for at in range(40)]


def test_without_a_shock_wins_vary_as_independent_deals_do() -> None:
    drawn = draw("t", "m", DEALS, Births(), CALM)
    assert spread(drawn.wins).mean == pytest.approx(sum(deal.p_won for deal in DEALS), rel=0.02)
    assert pvariance(drawn.wins) == pytest.approx(sum(d.p_won * (1 - d.p_won) for d in DEALS), rel=0.1)
    assert spread(drawn.amounts["EUR"]).mean == pytest.approx(
        sum(d.p_won * (d.amount_minor or 0) for d in DEALS), rel=0.02
    )


def test_a_shock_widens_the_interval_and_leaves_the_mean() -> None:
    calm, moved = draw("t", "m", DEALS, Births(), CALM), draw("t", "m", DEALS, Births(), Shock(0.3, 0.2, 0.0))
    slope = sum(miss_of(0, [deal.p_won]).slope for deal in DEALS)
    assert pvariance(moved.wins) == pytest.approx(pvariance(calm.wins) + (0.3**2 + 0.2**2) * slope**2, rel=0.15)
    assert spread(moved.wins).mean == pytest.approx(spread(calm.wins).mean, rel=0.03)


def test_the_same_question_gives_the_same_draws_and_another_tick_others() -> None:
    births = Births(5.0, 0.3, (("EUR", 100), ("USD", 7)))
    assert draw("t", "m", DEALS, births, Shock()) == draw("t", "m", DEALS, births, Shock())
    assert draw("t", "m", DEALS, births, Shock()) != draw("u", "m", DEALS, births, Shock())


def test_a_deal_draws_the_same_whatever_other_deals_there_are() -> None:
    one, other = draw("t", "m", DEALS[:1], Births(), CALM), draw("t", "m", DEALS[1:2], Births(), CALM)
    both = draw("t", "m", DEALS[:2], Births(), CALM)
    assert both.wins == [a + b for a, b in zip(one.wins, other.wins, strict=True)]


def test_a_common_shock_moves_two_managers_together_and_their_own_does_not() -> None:
    def correlation(shock: Shock) -> float:
        left = draw("t", "m", DEALS, Births(), shock)
        right = draw("t", "n", [deal._replace(deal_id=deal.deal_id + "n") for deal in DEALS], Births(), shock)
        both = together([left, right])
        apart = pvariance(left.wins) + pvariance(right.wins)
        return (pvariance(both.wins) - apart) / apart

    assert correlation(Shock(0.4, 0.0, 0.0)) > 0.3
    assert abs(correlation(Shock(0.0, 0.4, 0.0))) < 0.1


def test_deals_not_yet_born_are_added_and_paid_as_past_wins_were() -> None:
    drawn = draw("t", "m", [], Births(20.0, 0.25, (("EUR", 100), ("EUR", 300))), CALM)
    assert spread(drawn.wins).mean == pytest.approx(5.0, rel=0.05)
    assert pvariance(drawn.wins) == pytest.approx(5.0, rel=0.1)
    assert spread(drawn.amounts["EUR"]).mean == pytest.approx(5.0 * 200, rel=0.06)


def test_five_currencies_are_never_added_up() -> None:
    deals = [Odds(name, 1.0, 100, name) for name in ("EUR", "USD", "GBP", "SEK", "JPY")]
    drawn = draw("t", "m", [*deals, Odds("unknown", 1.0)], Births(), CALM)
    assert drawn.amounts == {name: [100] * forecast.DRAWS for name in ("EUR", "USD", "GBP", "SEK", "JPY")}
    assert set(drawn.wins) == {6}


@pytest.mark.parametrize("p", [float("nan"), -3.0])
def test_a_chance_that_is_none_wins_nothing(p: float) -> None:
    assert set(draw("t", "m", [Odds("d", p, 5, "EUR")], Births(), Shock()).wins) == {0}


def test_crps_by_hand() -> None:
    assert crps([1, 2, 3], 2) == pytest.approx(2 / 3 - 4 / 9)
    assert crps([5], 2) == 3


def test_the_chance_to_win_within_days_goes_through_what_was_told() -> None:
    told = {"7": 0.2, "14": 0.3, "28": 0.45}
    assert [won_within(0.4, told, days) for days in (7, 14, 28)] == pytest.approx([0.2, 0.3, 0.45])
    assert 0.45 < won_within(0.4, told, 60) < won_within(0.4, told, 2_000) <= 0.6
    # Half of those that are won in the end are won in 7 days: three quarters in 14.
    assert won_within(0.2, {"7": 0.4}, 14) == pytest.approx(0.6)


@pytest.mark.parametrize("told", [{}, {"x": 0.4}, {"7": float("nan")}, {"0": 0.9}])
def test_nothing_told_is_no_chance(told: dict[str, float]) -> None:
    assert won_within(0.2, told, 14) == 0.0


def test_the_shock_is_what_misses_vary_more_than_independent_deals() -> None:
    misses = [Miss(100 + step, 100.0, 25.0, 80.0) for step in (-25, 25) * 50]
    common = sqrt((100 * (25**2 - 25) / 80**2 + 2 * 0.01) / 102)
    assert fit_shock(misses, [], 1, 0.2) == pytest.approx(Shock(common, 0.0, 0.2))
    quiet = [Miss(100.0, 100.0, 25.0, 80.0)] * 100
    assert fit_shock(quiet, [], 1, 0.2).common == 0.0
    assert fit_shock([], [], 1, 0.2).common == forecast.PRIOR_SHOCK


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(2, 1.886), (3, 1.638), (4, 1.533), (6, 1.440), (10, 1.372), (30, 1.310), (120, 1.289)]
)
def test_what_few_spans_taught_is_stretched_as_students_table_says(freedom: float, quantile: float) -> None:
    assert stretch(freedom) * 1.2816 == pytest.approx(quantile, rel=0.025 if freedom < 4 else 0.005)


def test_overlapping_spans_count_for_what_they_do_not_share() -> None:
    assert [independent(16, days) for days in (28, 7, 3, 0)] == [4.0, 16.0, 16.0, 0.0]
    misses = [Miss(100 + step, 100.0, 25.0, 80.0) for step in (-25, 25) * 8]
    plain, doubted = fit_shock(misses, [], 1, 0.2), fit_shock(misses, [], 1, 0.2, days=28)
    assert doubted.common / plain.common == pytest.approx(stretch(4.0 + 2.0))
    assert (doubted.own, doubted.born) == (plain.own, plain.born)


def test_births_follow_the_last_four_weeks_and_open_deals_count_for_what_they_lived() -> None:
    now = 400 * DAY_MS
    lives = [Life(now - at * DAY_MS, now - (at - 5) * DAY_MS, True) for at in range(6, 100)]
    assert expected(lives, now, 14) == pytest.approx(23 / 28 * 14)
    # All are won on their fifth day; of deals born evenly over ten days half are, and half a day is lost to the grid.
    assert share_won(lives, now, 10) == pytest.approx(0.45, abs=0.001)
    still_open = [Life(now - DAY_MS, None, False)] * 500
    assert share_won([*lives, *still_open], now, 10) == pytest.approx(0.45)
    assert share_won([], now, 10) == 0.0


def test_even_births_are_quiet_and_changing_ones_are_not() -> None:
    even = [day * DAY_MS + at for day in range(300) for at in range(20)]
    wild = [day * DAY_MS + at for day in range(300) for at in range(5 if day // 28 % 2 else 40)]
    assert unrest(even, 0, 300 * DAY_MS, 28) < 0.05
    assert unrest(wild, 0, 300 * DAY_MS, 28) > 0.5
