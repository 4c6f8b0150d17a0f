from math import comb, exp, log

import pytest

from detectors.statistics import (
    bernoulli_e_value,
    guarded_upper,
    longest_expected_run,
    negative_binomial_exponent,
    negative_binomial_limit,
    poisson_upper_bound,
    shiryaev_roberts,
    shrunk_probability,
    sr_threshold,
)


def test_shiryaev_roberts_adds_one_before_it_multiplies() -> None:
    # From 0: (0 + 1) * 2 = 2, then (2 + 1) * 0.5 = 1.5, then (1.5 + 1) * 4 = 10.
    statistic = 0.0
    for e_value, expected in ((2.0, 2.0), (0.5, 1.5), (4.0, 10.0)):
        statistic = shiryaev_roberts(statistic, e_value)
        assert statistic == expected


def test_shiryaev_roberts_stays_finite() -> None:
    assert shiryaev_roberts(1e14, 1e10, cap=1e15) == 1e15


def test_a_budget_of_a_hundredth_with_8640_bins_needs_864000() -> None:
    assert sr_threshold(0.01, 8640) == pytest.approx(864_000)
    with pytest.raises(ValueError, match="positive"):
        sr_threshold(0, 8640)


def test_a_bet_has_a_mean_of_one_under_its_null() -> None:
    hit, miss = bernoulli_e_value(True, 0.02, 0.5), bernoulli_e_value(False, 0.02, 0.5)
    assert hit == 25.0
    assert miss == pytest.approx(0.5 / 0.98)
    assert 0.02 * hit + 0.98 * miss == pytest.approx(1.0)


def test_shrinkage_weighs_the_prior_as_trials() -> None:
    # 3 of 10, with a prior of 10 % worth 10 trials: (3 + 1) / 20.
    assert shrunk_probability(3, 10, 0.1, 10) == 0.2
    assert shrunk_probability(0, 0, 0.1, 10) == 0.1


def test_the_exponent_is_zero_at_the_mean_and_nearly_poisson_without_dispersion() -> None:
    assert negative_binomial_exponent(5.0, 5.0, 0.3) == pytest.approx(0.0)
    # Poisson: x ln(x/mu) - x + mu = 10 ln 2 - 5 = 1.93147
    assert negative_binomial_exponent(10.0, 5.0, 1e-7) == pytest.approx(10 * log(2) - 5, abs=1e-5)


@pytest.mark.parametrize(("mean", "dispersion", "exponent"), [(3.0, 0.2, 11.0), (0.01, 4.0, 7.5), (900.0, 0.03, 18.0)])
def test_the_limit_has_the_exponent_asked_for(mean: float, dispersion: float, exponent: float) -> None:
    limit = negative_binomial_limit(mean, dispersion, exponent)
    assert limit > mean
    assert negative_binomial_exponent(limit, mean, dispersion) == pytest.approx(exponent, rel=1e-5)


def test_the_exponent_bounds_the_true_tail() -> None:
    # NB with mean 3, dispersion 1/2: size 2, p = size / (size + mean) = 0.4; P(X >= 12) by summing the pmf.
    at_most_11 = sum(comb(k + 1, k) * 0.6**k * 0.4**2 for k in range(12))
    assert 1 - at_most_11 <= exp(-negative_binomial_exponent(12.0, 3.0, 0.5))


def test_the_longest_run_by_hand() -> None:
    # 20,000 · 0.01 · q^(R-1) <= 0.002 with q = 0.05: 200 · 0.05^4 = 0.00125 is the first: R = 5.
    assert longest_expected_run(0.01, 0.05, 20_000, 0.002) == 5
    # q = 0.5: 200 · 0.5^(R-1) <= 0.002 needs R - 1 = 17 (2^17 = 131,072 > 100,000).
    assert longest_expected_run(0.01, 0.5, 20_000, 0.002) == 18
    assert longest_expected_run(0.0, 0.5, 20_000, 0.002) == 1


def test_exact_poisson_bounds_by_the_textbook() -> None:
    # Garwood: 0 events: -ln 0.05 = 2.996; 1: 4.744; 3: 7.754; 10: 16.962.
    for events, bound in ((0, 2.9957), (1, 4.7439), (3, 7.7537), (10, 16.9622)):
        assert poisson_upper_bound(events) == pytest.approx(bound, abs=5e-4)


@pytest.mark.parametrize(
    ("values", "upper"),
    [([4, 5], 4), ([9, 1, 5], 5), ([10, 11, 12, 13, 99], 13), ([1, 1, 1, 9, 99], 3), ([2, 3, 40, 50], 40)],
)
def test_the_guarded_upper_is_the_second_largest_and_at_most_times_the_median(values: list[int], upper: int) -> None:
    assert guarded_upper(values, 3.0) == upper


def test_the_guarded_upper_takes_two_values_at_least() -> None:
    with pytest.raises(ValueError, match="at least two"):
        guarded_upper([7], 3.0)
