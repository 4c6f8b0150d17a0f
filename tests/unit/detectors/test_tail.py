"""The generalised Pareto tail: checked on numbers whose tail is known."""

from __future__ import annotations

import random
from math import exp, log10

import pytest

from detectors.tail import UpperTail


def test_below_the_tail_and_in_the_first_numbers_it_is_silent() -> None:
    tail = UpperTail(silent=50)
    assert [tail.surprise(number) for number in [*range(50), 1_000]][:51] == [0.0] * 51
    assert tail.surprise(3.0) == 0.0


def test_an_exponential_tail_gives_the_power_of_ten_of_its_probability() -> None:
    # P(X >= x) = exp(−x): a number of 15 has p = 3.1e-7.
    rng = random.Random(1)
    tail = UpperTail()
    for _ in range(20_000):
        tail.surprise(rng.expovariate(1.0))
    assert tail.surprise(15.0) == pytest.approx(-log10(exp(-15.0)), abs=1.0)


def test_a_heavy_tail_is_less_surprised_than_a_light_one() -> None:
    rng = random.Random(2)
    heavy, light = UpperTail(), UpperTail()
    for _ in range(10_000):
        heavy.surprise(rng.paretovariate(3.0))
        light.surprise(rng.expovariate(1.0))
    # Pareto with exponent 3: P(X >= 100) = 1e-6.
    assert heavy.surprise(100.0) == pytest.approx(6.0, abs=1.5)
    assert light.surprise(100.0) > 10.0


def test_the_share_above_the_threshold_is_what_it_says() -> None:
    rng = random.Random(3)
    tail = UpperTail(share=0.01)
    said = [tail.surprise(rng.random()) for _ in range(20_000)]
    assert sum(each > 0 for each in said[5_000:]) == pytest.approx(150, abs=45)


def test_it_keeps_no_more_than_it_may() -> None:
    tail = UpperTail(kept=64)
    for number in range(10_000):
        tail.surprise(float(number % 997))
    assert len(tail.top) == 64
    assert tail.top == sorted(tail.top)
    assert tail.top[0] >= 989.0, "the largest ones are those that were kept"


def test_equal_numbers_are_no_surprise() -> None:
    tail = UpperTail()
    assert {tail.surprise(7.0) for _ in range(500)} == {0.0}
    assert tail.surprise(7.0 + 1e-3) > 0.0
