"""The statistics that detectors share: e-values, their Shiryaev–Roberts sum, count limits, shrinkage.

Everything here is a pure function of numbers and uses the standard library only.

References: Shin, Ramdas, Rinaldo, "E-detectors" (2023, arXiv 2203.03532) for the Shiryaev–Roberts sum of e-values;
Chernoff (1952) for the exponent; Garwood (1936) for the exact Poisson bound.
"""

from __future__ import annotations

from math import exp, lgamma, log, sqrt

_NEWTON_STEPS = 40
_NEWTON_TOLERANCE = 1e-4  # the steps shrink quadratically: the root is then good to about 1e-8
_BISECTIONS = 200


def shiryaev_roberts(statistic: float, e_value: float, cap: float = 1e15) -> float:
    """The next Shiryaev–Roberts statistic, (M + 1) · e.

    If every e-value has a conditional mean of at most one while nothing is wrong, stopping at M >= A happens on
    average no earlier than after A observations. ``cap`` keeps a long run of strong evidence finite.
    """
    return min((statistic + 1.0) * e_value, cap)


def sr_threshold(budget_per_month: float, observations_per_month: float) -> float:
    """The statistic at which to stop so that at most ``budget_per_month`` false stops are expected.

    Limits: nominal only. Load that is more clustered than the null breaks it; measure before trusting it.
    """
    if budget_per_month <= 0 or observations_per_month <= 0:
        raise ValueError("a budget and a number of observations are positive")
    return observations_per_month / budget_per_month


def bernoulli_e_value(is_hit: bool, p_null: float, p_alternative: float) -> float:
    """The likelihood ratio of one yes/no observation, a bet on ``p_alternative`` against ``p_null``.

    Both probabilities lie strictly between 0 and 1. Its mean under the null is exactly one; under a true
    probability below ``p_null`` (and an alternative above it) it is less.
    """
    if is_hit:
        return p_alternative / p_null
    return (1.0 - p_alternative) / (1.0 - p_null)


def shrunk_probability(hits: float, trials: float, prior: float, prior_weight: float) -> float:
    """The Beta–Bernoulli posterior mean: the observed share, pulled to ``prior`` as if by ``prior_weight`` trials."""
    return (hits + prior * prior_weight) / (trials + prior_weight)


def negative_binomial_exponent(count: float, mean: float, dispersion: float) -> float:
    """The Chernoff exponent of a count: P(X >= count) <= exp(−this) for count >= mean.

    X is negative binomial with variance mean + dispersion · mean². Zero at ``count == mean``.
    """
    size = 1.0 / dispersion
    return count * log(count / mean) - (count + size) * log((count + size) / (mean + size))


def negative_binomial_limit(mean: float, dispersion: float, exponent: float) -> float:
    """The count whose Chernoff exponent is ``exponent``: chance alone reaches it with p <= exp(−exponent).

    Newton's method; the exponent is convex and increasing above the mean, so it converges from any start there.
    """
    mean = max(mean, 1e-6)
    size = 1.0 / dispersion
    in_mean = log((mean + size) / mean)
    count = mean + sqrt(2.0 * exponent * mean * (1.0 + dispersion * mean)) + exponent / 2.0
    for _ in range(_NEWTON_STEPS):
        slope = log(count / (count + size)) + in_mean
        excess = count * slope - size * log((count + size) / (mean + size)) - exponent
        step = excess / slope
        count = max(count - step, mean * (1.0 + 1e-9) + 1e-12)
        if abs(step) <= _NEWTON_TOLERANCE * count:
            break
    return count


def longest_expected_run(p_start: float, p_continue: float, trials: float, budget: float) -> int:
    """The run length that chance reaches at most ``budget`` times in ``trials``: least R with n·p·q^(R−1) <= budget.

    ``p_start`` is the probability of a hit after a miss, ``p_continue`` of a hit after a hit.
    """
    expected = trials * p_start
    if expected <= budget:
        return 1
    return 1 + int(-(-log(budget / expected) // log(p_continue)))


def poisson_upper_bound(events: int, confidence: float = 0.95) -> float:
    """The exact one-sided upper bound of a Poisson mean after ``events`` were seen (3.0 for none at 95 %)."""
    low, high = float(events), events + 10.0 + 10.0 * sqrt(events + 1.0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        if _poisson_at_most(events, middle) > 1.0 - confidence:
            low = middle
        else:
            high = middle
    return high


def _poisson_at_most(events: int, mean: float) -> float:
    if mean <= 0:
        return 1.0
    return sum(exp(k * log(mean) - mean - lgamma(k + 1.0)) for k in range(events + 1))


def guarded_upper(values: list[int], times: float) -> int:
    """What nearly all of them stay below, guarded: the second largest, at most ``times`` the median.

    One value can move it no further than to the largest of the others, nor, while they are fewer than half, can many
    move it beyond ``times`` the largest of the others. Raises ValueError for fewer than two.
    """
    if len(values) < 2:
        raise ValueError("the second largest of at least two values")
    ranked = sorted(values)
    middle = (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2.0
    return min(ranked[-2], int(times * middle))
