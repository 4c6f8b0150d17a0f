"""Agents for tuning and for the regression of error rates: our own generator, independent of ``simulator/``.

Each agent is a sorted list of action times (ms). Load is over-dispersed, diurnal and autocorrelated: an hourly
log-intensity that follows an AR(1), bursts (clusters) of actions, weekends, and a common surge of the organisation.

Kinds: ``office`` (weekdays, 8–10 hours, a time zone), ``always_on``, ``trickle`` (about one an hour), ``batch``
(a light base load and a nightly job whose start, length and size vary and that skips a night in ten).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
KINDS = ("office", "always_on", "trickle", "batch")
START_MS = 1_767_571_200_000  # Monday, 2026-01-05
SURGE_DAYS = 3


@dataclass
class Agent:
    """One agent: its action times, and what is known to be wrong with it."""

    agent_id: str
    kind: str
    times: np.ndarray
    typical_per_hour: float
    details: dict[str, float] = field(default_factory=dict)


def organisation(seed: int, agents: int, days: int, *, harshness: float = 1.0) -> list[Agent]:
    """``agents`` agents of all kinds over ``days`` days, the last days of each 28 with a common surge of x2."""
    rng = np.random.default_rng([seed, 7])
    surge = surge_of(days, rng)
    return [make_agent(rng, f"{KINDS[i % 4]}-{i}", KINDS[i % 4], days, surge, harshness) for i in range(agents)]


def surge_of(days: int, rng: np.random.Generator) -> np.ndarray:
    """The organisation's common factor by hour: quarter end, up to x2 in office hours of three days."""
    factor = np.ones(days * 24)
    size = rng.uniform(1.5, 2.2)
    for day in range(days):
        if day % 28 >= 28 - SURGE_DAYS - 1 and day % 7 < 5:
            factor[day * 24 + 7 : day * 24 + 19] = size
    return factor


def make_agent(
    rng: np.random.Generator, agent_id: str, kind: str, days: int, surge: np.ndarray, harshness: float
) -> Agent:
    """One agent of a kind, its hourly intensity drawn first, then its actions."""
    rate = _base_rate(rng, kind, days) * surge
    spread = rng.uniform(0.1, 0.3) * harshness
    rate = rate * _autocorrelated(rng, len(rate), spread)
    gamma = rng.uniform(0.02, 0.15) * harshness
    rate = rate * rng.gamma(1 / gamma, gamma, len(rate))
    times = _actions(rng, rate, harshness)
    details: dict[str, float] = {}
    if kind == "batch":
        details["job_hour"] = rng.uniform(0, 24)
        times = np.concatenate([times, _jobs(rng, days, details["job_hour"])])
    times = np.sort(times).astype(np.int64) + START_MS
    active = np.bincount((times - START_MS) // HOUR_MS, minlength=days * 24)
    busy = active[active >= 0.2 * max(np.percentile(active[active > 0], 90), 1)] if len(times) else active
    return Agent(agent_id, kind, times, float(np.median(busy)) if len(busy) else 0.0, details=details)


def _base_rate(rng: np.random.Generator, kind: str, days: int) -> np.ndarray:
    hours = np.arange(days * 24)
    of_day, of_week = hours % 24, (hours // 24) % 7
    if kind == "office":
        start, length = rng.uniform(6, 15), rng.uniform(8, 10)
        inside = ((of_day + 0.5 - start) % 24) < length
        lunch = np.where(np.abs(of_day + 0.5 - start - length / 2) < 0.7, 0.6, 1.0)
        rate = math.exp(rng.uniform(math.log(15), math.log(120)))
        weekend = np.where(of_week >= 5, rng.choice([0.0, 0.05]), 1.0)
        return rate * np.where(inside, lunch, 0.01) * weekend
    if kind == "always_on":
        rate = math.exp(rng.uniform(math.log(10), math.log(100)))
        wave = 1 + rng.uniform(0.1, 0.8) * np.sin(2 * np.pi * (of_day - rng.uniform(0, 24)) / 24)
        weekend = np.where(of_week >= 5, rng.uniform(0.5, 1.0), 1.0)
        return rate * wave * weekend
    if kind == "trickle":
        rate = rng.uniform(0.5, 2.0)
        day_shape = np.where((of_day >= 7) & (of_day < 20), 1.3, 0.6)
        return rate * day_shape
    return rng.uniform(1, 8) * np.where((of_day >= 7) & (of_day < 19), 1.5, 0.5)


def _autocorrelated(rng: np.random.Generator, hours: int, spread: float) -> np.ndarray:
    keep = 0.7
    noise = rng.normal(0, spread * math.sqrt(1 - keep * keep), hours)
    value, out = rng.normal(0, spread), np.empty(hours)
    for hour in range(hours):
        value = keep * value + noise[hour]
        out[hour] = value
    return np.exp(out - spread * spread / 2)


def _actions(rng: np.random.Generator, rate: np.ndarray, harshness: float) -> np.ndarray:
    """Actions in small clusters (a run does several things in a row), uniformly within the hour."""
    mean_cluster = rng.uniform(1.0, 1.0 + 0.8 * harshness)
    runs = rng.poisson(rate / mean_cluster)
    starts = np.repeat(np.arange(len(rate)), runs) * HOUR_MS + rng.uniform(0, HOUR_MS, runs.sum())
    sizes = rng.geometric(1.0 / mean_cluster, len(starts))
    offsets = np.concatenate([np.arange(size) for size in sizes]) if len(sizes) else np.zeros(0)
    return np.repeat(starts, sizes) + offsets * rng.uniform(2_000, 20_000)


def _jobs(rng: np.random.Generator, days: int, start_hour: float) -> np.ndarray:
    size, minutes = math.exp(rng.uniform(math.log(100), math.log(3000))), rng.uniform(8, 45)
    jitter, size_spread = rng.uniform(1, 20), rng.uniform(0.1, 0.45)
    skip, parts = rng.uniform(0, 0.15), []
    for day in range(days):
        if rng.random() < skip:
            continue
        begin = day * DAY_MS + (start_hour * 60 + rng.normal(0, jitter)) * 60_000
        count = rng.poisson(size * math.exp(rng.normal(0, size_spread)))
        length = minutes * math.exp(rng.normal(0, 0.2)) * 60_000
        parts.append(begin + rng.uniform(0, length, count))
    times = np.concatenate(parts) if parts else np.zeros(0)
    return times[(times >= 0) & (times < days * DAY_MS)]
