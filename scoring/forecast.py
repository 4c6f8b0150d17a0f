"""How many deals are won until a day, and for how much: draws of what may come, with an 80 % interval.

One draw: each open deal is won or not by its own chance; deals that are not born yet come by their usual rate and are
won by the usual share; and a *common shock* moves all chances of a draw together, because months are good or bad for
everybody. Without the shock intervals are far too narrow (docs/deal-risk.md, *Forecast*).

Nothing here is random: what a deal draws comes from a hash of the tick, the group and the deal's id. So the same
question gives the same bytes, and another deal changes nothing of what this one draws. The shock's draws belong to
the tick alone, so that the draws of all groups add up to those of the whole.

References: Gneiting and Raftery, "Strictly proper scoring rules" (JASA 2007) for the CRPS.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import shake_128
from itertools import accumulate
from math import exp, isfinite, log, log1p, sqrt
from operator import add
from statistics import NormalDist
from struct import unpack
from typing import NamedTuple

from scoring.forecast_doubt import independent, stretch

DRAWS = 2_000
"""The ends of an 80 % interval are then good to about a fortieth of its width."""
LOW, HIGH = 0.1, 0.9
_UNIT = 1 << 32
_STEP = 0.02
"""Shocks are rounded to this: a fiftieth of the hazard."""
_MOST_SHOCK = 2.0
_LEAST_CHANCE = 1e-9
_MEAN_STEPS = 50


class Odds(NamedTuple):
    """An open deal: the chance that it is won until the day; its amount in minor units, None where it is not known."""

    deal_id: str
    p_won: float
    amount_minor: int | None = None
    currency: str = ""


class Births(NamedTuple):
    """Deals not yet born: how many are expected until the day, which share of them is won until then, and the
    (currency, minor units) of deals won in the past, from which theirs are drawn."""

    expected: float = 0.0
    p_won: float = 0.0
    amounts: tuple[tuple[str, int], ...] = ()


class Shock(NamedTuple):
    """What moves chances together, as standard deviations of the logarithm: of the hazard of winning, ``common`` to
    everybody and of one's ``own`` group; of the rate at which deals are ``born``."""

    common: float = 0.10
    own: float = 0.0
    born: float = 0.15


class Drawn(NamedTuple):
    """What came out: wins of each draw, and the sum of money of each draw by currency, in minor units."""

    wins: list[int]
    amounts: dict[str, list[int]]


class Spread(NamedTuple):
    """Mean, 10 %, 50 % and 90 % of the draws."""

    mean: float
    low: float
    median: float
    high: float


def won_within(p_lost: float, p_won_by: Mapping[str, float], days: float) -> float:
    """The chance that a deal is won within ``days``, from a score's ``p_lost`` and ``p_won_by`` (days → chance).

    Between the told days, and beyond the last, the hazard of those that are won is taken to be constant (beyond, that
    of the last told span); never more than 1 − p_lost. What is told can be anything: a chance that is no number or
    falls with time counts as the one before it. Without any told day it is 0.
    """
    most = min(max(1.0 - p_lost, 0.0), 1.0) if isfinite(p_lost) else 0.0
    told = sorted((float(key), value) for key, value in p_won_by.items() if key.isdecimal() and int(key) > 0)
    if days <= 0 or most <= 0.0 or not told:
        return 0.0
    at, left, hazard = 0.0, 1.0, 0.0
    for day, chance in told:
        then = min(left, 1.0 - min(max(chance, 0.0), most) / most) if isfinite(chance) else left
        then = max(then, _LEAST_CHANCE)
        hazard = log(left / then) / (day - at)
        if days <= day:
            return most * (1.0 - left * exp(-hazard * (days - at)))
        at, left = day, then
    return most * (1.0 - left * exp(-hazard * (days - at)))


def draw(tick: str, group: str, deals: Iterable[Odds], births: Births, shock: Shock) -> Drawn:
    """What a group may win. ``tick`` names the moment: the seed is made of it, the group and the deal's id."""
    return with_births(_standing(tick, group, deals, shock), tick, group, births, shock)


def with_births(standing: Drawn, tick: str, group: str, births: Births, shock: Shock) -> Drawn:
    """The draws of open deals with those that are not born yet."""
    wins, amounts = [*standing.wins], {name: [*each] for name, each in standing.amounts.items()}
    if births.expected > 0.0 and births.p_won > 0.0:
        levels, lowest, _ = _levels(tick, group, shock)
        _add_born(tick, group, births, shock, [(level + lowest) * _STEP for level in levels], wins, amounts)
    return Drawn(wins, amounts)


def _standing(tick: str, group: str, deals: Iterable[Odds], shock: Shock) -> Drawn:
    """Wins of open deals."""
    levels, lowest, highest = _levels(tick, group, shock)
    wins = [0] * DRAWS
    amounts: dict[str, list[int]] = {}
    for deal in deals:
        table = _thresholds(deal.p_won, lowest, highest)
        hits = [at < table[level] for at, level in zip(_uniform(tick, "deal", deal.deal_id), levels, strict=True)]
        wins = list(map(add, wins, hits))
        if deal.amount_minor is not None:
            minor = deal.amount_minor
            known = amounts.get(deal.currency) or [0] * DRAWS
            amounts[deal.currency] = [sum_ + minor if hit else sum_ for sum_, hit in zip(known, hits, strict=True)]
    return Drawn(wins, amounts)


def together(parts: Sequence[Drawn]) -> Drawn:
    """The draws of all groups as one; they belong together, as their common shock is the same."""
    wins = [sum(each) for each in zip(*(part.wins for part in parts), strict=True)] if parts else [0] * DRAWS
    names = sorted({name for part in parts for name in part.amounts})
    sums = {name: [part.amounts[name] for part in parts if name in part.amounts] for name in names}
    return Drawn(wins, {name: [sum(each) for each in zip(*rows, strict=True)] for name, rows in sums.items()})


def spread(draws: Sequence[float]) -> Spread:
    """Mean and 80 % interval of some draws."""
    ordered = sorted(draws)
    low, median, high = (ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (LOW, 0.5, HIGH))
    return Spread(sum(ordered) / len(ordered), low, median, high)


def chance_of(draws: Sequence[float], least: float) -> float:
    """In which share of the draws at least so much came."""
    return sum(each >= least for each in draws) / len(draws)


def crps(draws: Sequence[float], came: float) -> float:
    """The continuous ranked probability score of some draws: E|X − came| − E|X − X'| / 2, in units of the draws.

    For a single number it is its absolute error; less is better.
    """
    ordered, count = sorted(draws), len(draws)
    apart = sum(abs(each - came) for each in ordered) / count
    within = sum((2 * at - count + 1) * each for at, each in enumerate(ordered)) / (count * count)
    return apart - within


class Miss(NamedTuple):
    """A forecast of the past: what came and what was expected; the variance that independent deals give, and by how
    much the expectation grows with the shock (d mean / d log hazard)."""

    came: float
    mean: float
    noise: float
    slope: float


PRIOR_SHOCK, PRIOR_WEIGHT = 0.10, 2.0
"""Before there are misses the shock is a tenth; that weighs as much as two past forecasts of the whole."""


def miss_of(came: float, chances: Sequence[float]) -> Miss:
    """The miss of a group from its deals' chances."""
    noise = sum(p * (1.0 - p) for p in chances)
    slope = sum((p - 1.0) * log1p(-min(p, 1.0 - _LEAST_CHANCE)) for p in chances)
    return Miss(came, sum(chances), noise, slope)


def fit_shock(whole: Sequence[Miss], groups: Sequence[Miss], per_whole: int, born: float, days: float = 0.0) -> Shock:
    """The shock from past misses, by moments: what they vary more than independent deals would.

    ``groups`` are the misses of single groups, ``per_whole`` of them to each of the ``whole``; what they vary beyond
    the whole is their own. ``born`` is taken as it is. ``days``: the horizon, where the misses are of weekly looks at
    spans of that length; then the common shock is stretched by the doubt about it (``forecast_doubt``).
    """
    common = _excess(whole, PRIOR_SHOCK**2, 1)
    own = max(_excess(groups, common, max(per_whole, 1)) - common, 0.0) if groups else 0.0
    doubt = stretch(independent(len(whole), days) + PRIOR_WEIGHT) if days else 1.0
    return Shock(sqrt(common) * doubt, sqrt(own), born)


def _excess(misses: Sequence[Miss], prior: float, per_whole: int) -> float:
    told = [((each.came - each.mean) ** 2 - each.noise) / each.slope**2 for each in misses if each.slope > 0.0]
    weight = len(told) / per_whole
    if not told:
        return prior
    return max((sum(told) / len(told) * weight + prior * PRIOR_WEIGHT) / (weight + PRIOR_WEIGHT), 0.0)


@lru_cache(maxsize=4)
def _normals() -> tuple[float, ...]:
    normal = NormalDist()
    return tuple(normal.inv_cdf((at + 0.5) / DRAWS) for at in range(DRAWS))


def _uniform(*names: str) -> tuple[int, ...]:
    """As many numbers below 2^32 as there are draws, from a hash of the names."""
    return unpack(f"<{DRAWS}I", shake_128("\x1f".join(names).encode()).digest(4 * DRAWS))


@lru_cache(maxsize=8)
def _shuffled(*names: str) -> tuple[float, ...]:
    """Normal quantiles, each once, in an order of these names; all groups of a tick ask for the same ones."""
    order = _uniform(*names)
    normals = _normals()
    found = [0.0] * DRAWS
    for place, at in enumerate(sorted(range(DRAWS), key=order.__getitem__)):
        found[at] = normals[place]
    return tuple(found)


@lru_cache(maxsize=8)
def _levels(tick: str, group: str, shock: Shock) -> tuple[tuple[int, ...], int, int]:
    """Of each draw its shock, as a place above the lowest; the lowest and the highest, in steps."""
    common = _shuffled(tick, "common")
    own = _shuffled(tick, "own", group) if shock.own else common
    even = (shock.common**2 + shock.own**2) / 2  # the mean of a log-normal: hazards stay what they are on average
    steps = [
        round(min(max(shock.common * one + shock.own * other - even, -_MOST_SHOCK), _MOST_SHOCK) / _STEP)
        for one, other in zip(common, own, strict=True)
    ]
    lowest, highest = min(steps), max(steps)
    return tuple(step - lowest for step in steps), lowest, highest


def _shocked(p: float, shock: float) -> float:
    """A chance when its hazard is exp(shock) times as large."""
    return 1.0 - exp(exp(shock) * log1p(-p)) if p < 1.0 else 1.0


def _thresholds(p: float, lowest: int, highest: int) -> list[int]:
    sound = min(max(p, 0.0), 1.0) if isfinite(p) else 0.0
    return [int(_shocked(sound, step * _STEP) * _UNIT) for step in range(lowest, highest + 1)]


def _add_born(
    tick: str,
    group: str,
    births: Births,
    shock: Shock,
    shocks: Sequence[float],
    wins: list[int],
    amounts: dict[str, list[int]],
) -> None:
    """Wins of deals not yet born: Poisson, whose mean moves with both shocks; their money from past wins."""
    rates, lucky = _shuffled(tick, "born"), _uniform(tick, "born", group)
    sums = _sums(tick, group, births.amounts)
    for name in sums:
        amounts.setdefault(name, [0] * DRAWS)
    start = _uniform(tick, "amounts", group) if sums else lucky
    for at in range(DRAWS):
        rate = births.expected * exp(shock.born * rates[at] - shock.born**2 / 2)
        count = _poisson(round(log(max(rate * _shocked(births.p_won, shocks[at]), 1e-6)) * _MEAN_STEPS), lucky[at])
        wins[at] += count
        for name, running in sums.items():
            amounts[name][at] += _some(running, start[at] % (len(running) - 1), count)


def _sums(tick: str, group: str, amounts: Sequence[tuple[str, int]]) -> dict[str, list[int]]:
    """Running sums of past amounts in a shuffled order, one a currency; of another currency an amount counts 0."""
    order = sorted(
        range(len(amounts)),
        key=lambda at: shake_128(f"{tick}\x1f{group}\x1f{at}".encode()).digest(8),
    )
    return {
        name: [0, *accumulate(amounts[at][1] if amounts[at][0] == name else 0 for at in order)]
        for name in sorted({currency for currency, _ in amounts})
    }


def _some(running: Sequence[int], start: int, count: int) -> int:
    """The sum of ``count`` neighbours from ``start`` on, around the end."""
    size = len(running) - 1
    rounds, rest = divmod(count, size)
    end = start + rest
    part = running[min(end, size)] - running[start] + (running[end - size] if end > size else 0)
    return rounds * running[size] + part


@lru_cache(maxsize=4_096)
def _poisson_steps(mean_step: int) -> tuple[int, ...]:
    """Cumulative chances of a Poisson number, in units of 2^-32; its mean is exp(mean_step / 50)."""
    mean = exp(mean_step / _MEAN_STEPS)
    most = int(mean + 10.0 * sqrt(mean) + 10.0)
    found, total, term = [], 0.0, -mean
    for count in range(most):
        total += exp(term)
        found.append(int(min(total, 1.0) * _UNIT))
        term += log(mean) - log(count + 1.0)
    return tuple(found)


def _poisson(mean_step: int, lucky: int) -> int:
    steps = _poisson_steps(mean_step)
    return min(bisect_left(steps, lucky + 1), len(steps))
