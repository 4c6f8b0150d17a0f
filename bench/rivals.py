"""What Tripline's rate detector is compared with: usual ways to watch a count, each judging closed bins of one agent.

All are causal: a bin is scored by what came before it, then learnt. Higher scores are more suspicious; the benchmark
chooses the threshold. Written from their descriptions; nothing was tuned here.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, ClassVar, Protocol

MINUTE_MS = 60_000
FIVE_MINUTES_MS = 5 * MINUTE_MS
LEAST_SPREAD = 0.5
"""Standard deviation at least, in actions a bin: else one action after silence is infinitely strange."""


class Rival(Protocol):
    """Watches one agent. ``bin_ms``: the width of its bins; a score comes when a bin is closed."""

    name: ClassVar[str]
    bin_ms: ClassVar[int]

    def score(self, number: int, count: int) -> float:
        """Judge the bin with this number (since 1970) and this many actions, then learn it."""


class RollingZ:
    """Deviations from the mean of the last ``bins`` bins, in their standard deviations (Shewhart, sliding)."""

    name: ClassVar[str] = "rolling z, 1 day"
    bin_ms: ClassVar[int] = FIVE_MINUTES_MS
    bins: ClassVar[int] = 288

    def __init__(self) -> None:
        self.seen: deque[int] = deque()
        self.total = self.squares = 0

    def score(self, number: int, count: int) -> float:
        """The z of this bin; 0 in the first half window."""
        known, z = len(self.seen), 0.0
        if known >= self.bins // 2:
            mean = self.total / known
            spread = math.sqrt(max(self.squares / known - mean * mean, 0.0))
            z = (count - mean) / max(spread, LEAST_SPREAD)
        self.seen.append(count)
        self.total += count
        self.squares += count * count
        if len(self.seen) > self.bins:
            old = self.seen.popleft()
            self.total -= old
            self.squares -= old * old
        return z


class WeeklyRollingZ(RollingZ):
    """The same over a week, so that nights and weekends are in it."""

    name: ClassVar[str] = "rolling z, 7 days"
    bins: ClassVar[int] = 7 * 288


class Ewma:
    """EWMA chart (Roberts 1959): the smoothed count against a slowly learnt mean, in its own standard deviations."""

    name: ClassVar[str] = "EWMA chart"
    bin_ms: ClassVar[int] = FIVE_MINUTES_MS
    smoothing: ClassVar[float] = 0.2
    memory: ClassVar[float] = 1.0 / 576

    def __init__(self) -> None:
        self.bins = 0
        self.mean = self.variance = self.smooth = 0.0

    def score(self, number: int, count: int) -> float:
        """The chart's statistic; 0 on the first day. Mean and variance forget within two days."""
        self.bins += 1
        self.smooth += self.smoothing * (count - self.smooth)
        spread = math.sqrt(self.variance * self.smoothing / (2.0 - self.smoothing))
        z = (self.smooth - self.mean) / max(spread, LEAST_SPREAD) if self.bins > 288 else 0.0
        gain = max(self.memory, 1.0 / self.bins)
        distance = count - self.mean
        self.mean += gain * distance
        self.variance = (1.0 - gain) * (self.variance + gain * distance * distance)
        return z


class SeasonalZ:
    """The square root of the count against the same hour's on other days: mean and variance that fade by .93 a day."""

    name: ClassVar[str] = "hourly profile, z of the root"
    bin_ms: ClassVar[int] = FIVE_MINUTES_MS

    def __init__(self) -> None:
        self.weight, self.mean, self.variance = [0.0] * 24, [0.0] * 24, [0.0] * 24

    def score(self, number: int, count: int) -> float:
        """The z in this bin's hour of the day (UTC); 0 until the hour has two days' bins."""
        hour, root = number // 12 % 24, math.sqrt(count)
        distance = root - self.mean[hour]
        z = distance / max(math.sqrt(self.variance[hour]), LEAST_SPREAD) if self.weight[hour] >= 23.0 else 0.0
        self.weight[hour] = self.weight[hour] * 0.994 + 1.0
        gain = 1.0 / self.weight[hour]
        self.mean[hour] += gain * distance
        self.variance[hour] = (1.0 - gain) * (self.variance[hour] + gain * distance * distance)
        return z


class HalfSpaceTrees:
    """river's half-space trees (Tan, Ting & Liu 2011) over the counts of 5, 15 and 60 minutes and the time of day."""

    name: ClassVar[str] = "half-space trees (river)"
    bin_ms: ClassVar[int] = FIVE_MINUTES_MS

    def __init__(self) -> None:
        from river import anomaly  # noqa: PLC0415 - of the peers' environment only

        self.trees = anomaly.HalfSpaceTrees(n_trees=10, height=8, window_size=288, seed=7)
        self.recent: deque[int] = deque(maxlen=12)
        self.most = 1.0

    def score(self, number: int, count: int) -> float:
        """river's score in [0, 1]; counts are scaled by the largest so far, as the trees want [0, 1]."""
        self.recent.append(count)
        recent = list(self.recent)
        counts = [float(count), sum(recent[-3:]) / 3.0, sum(recent) / 12.0]
        angle = 2.0 * math.pi * (number % 288) / 288.0
        scale = math.log1p(self.most)
        row: dict[str, Any] = {str(at): min(math.log1p(one) / scale, 1.0) for at, one in enumerate(counts)}
        row |= {"sin": 0.5 + 0.5 * math.sin(angle), "cos": 0.5 + 0.5 * math.cos(angle)}
        found = float(self.trees.score_one(row))
        self.trees.learn_one(row)
        self.most = max(self.most, float(count))
        return found


class Toolkit:
    """The published frequency rule of Microsoft's Agent Governance Toolkit (agent-sre): |z| of the calls in 60 seconds
    against the last 200 windows, from five on; both directions, no seasons, 0 where nothing varies. Its guide sets 2.5.
    """

    name: ClassVar[str] = "agent-sre's frequency rule"
    bin_ms: ClassVar[int] = MINUTE_MS
    published: ClassVar[float] = 2.5

    def __init__(self) -> None:
        self.seen: deque[int] = deque()
        self.total = self.squares = 0

    def score(self, number: int, count: int) -> float:
        """|z| of this minute."""
        known, z = len(self.seen), 0.0
        if known >= 5:
            mean = self.total / known
            variance = self.squares / known - mean * mean
            z = abs(count - mean) / math.sqrt(variance) if variance > 1e-12 else 0.0
        self.seen.append(count)
        self.total += count
        self.squares += count * count
        if len(self.seen) > 200:
            old = self.seen.popleft()
            self.total -= old
            self.squares -= old * old
        return z


RIVALS: tuple[type[Any], ...] = (RollingZ, WeeklyRollingZ, Ewma, SeasonalZ, HalfSpaceTrees, Toolkit)
