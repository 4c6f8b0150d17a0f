"""Deals that are not born yet: how many come, which share of them is won in time, and how unsteady their coming is.

From the lives of deals known so far. The share comes from cumulative incidence (Aalen and Johansen 1978): deals that
are still open count for as long as they have lived, so that leaving them out does not favour quick ends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import sqrt
from typing import NamedTuple

from events.times import DAY_MS
from scoring.forecast_doubt import independent, stretch

RATE_DAYS = 28
"""The rate of births is that of these last days; a longer memory was worse on BPIC2017, whose applications grew."""
LEAST_DAYS = 28
"""A shorter history gives no births: it says so instead."""
INCIDENCE_DAYS = 120
"""How far back lives are looked at."""
PRIOR_UNREST, PRIOR_WEIGHT = 0.10, 4.0
"""Before there are spans to compare, births are taken to vary by a tenth more than chance; worth four of them."""
_WEEK_MS = 7 * DAY_MS


class Life(NamedTuple):
    """A deal: when it was born, when it ended (None: open), and whether it was won."""

    born_ms: int
    ended_ms: int | None
    is_won: bool


def expected(lives: Iterable[Life], now_ms: int, days: float) -> float:
    """How many deals are born in the next ``days``, by the rate of the last ``RATE_DAYS``."""
    recent = sum(1 for life in lives if now_ms - RATE_DAYS * DAY_MS <= life.born_ms < now_ms)
    return recent / RATE_DAYS * days


def share_won(lives: Iterable[Life], now_ms: int, days: int) -> float:
    """Of deals born evenly over the next ``days``, the share that is won before they are over; from what was known
    before ``now_ms``."""
    incidence = _incidence(lives, now_ms, days)
    return sum((incidence[age] + incidence[age + 1]) / 2 for age in range(days)) / days if days > 0 else 0.0


def unrest(born_ms: Sequence[int], first_ms: int, now_ms: int, days: int) -> float:
    """How much births of one span differ from those of the ``RATE_DAYS`` before, beyond chance: a standard deviation
    of the logarithm, stretched by the doubt about it. Spans begin every week, between ``first_ms`` and ``now_ms``.
    """
    born = sorted(born_ms)
    found: list[float] = []
    start = now_ms - days * DAY_MS
    while start - RATE_DAYS * DAY_MS >= first_ms:
        before = _between(born, start - RATE_DAYS * DAY_MS, start) * days / RATE_DAYS
        after = _between(born, start, start + days * DAY_MS)
        if before and after:
            found.append((after / before - 1.0) ** 2 - 1.0 / after - days / RATE_DAYS / before)
        start -= _WEEK_MS
    variance = max((sum(found) + PRIOR_WEIGHT * PRIOR_UNREST**2) / (len(found) + PRIOR_WEIGHT), 0.0)
    return sqrt(variance) * stretch(independent(len(found), days) + PRIOR_WEIGHT)


def _between(ordered: Sequence[int], first: int, last: int) -> int:
    return bisect_left(ordered, last) - bisect_left(ordered, first)


def _incidence(lives: Iterable[Life], now_ms: int, days: int) -> list[float]:
    """The share won within 0, 1, … ``days`` days of life."""
    at_risk, won, ended = [0] * (days + 1), [0] * (days + 1), [0] * (days + 1)
    for life in lives:
        if not now_ms - INCIDENCE_DAYS * DAY_MS <= life.born_ms < now_ms:
            continue
        is_ended = life.ended_ms is not None and life.ended_ms < now_ms
        age = max(((life.ended_ms if is_ended and life.ended_ms else now_ms) - life.born_ms) // DAY_MS, 0)
        at_risk[min(age, days)] += 1
        if is_ended and age < days:
            ended[age] += 1
            won[age] += life.is_won
    found, alive, risk = [0.0], 1.0, sum(at_risk)
    for age in range(days):
        found.append(found[-1] + (alive * won[age] / risk if risk else 0.0))
        alive *= 1.0 - ended[age] / risk if risk else 1.0
        risk -= at_risk[age]
    return found
