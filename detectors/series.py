"""An anomaly score for one series of numbers: novel values, what its week does not explain, and bursts of unrest.

For what belongs to no single agent: a load, an error share, a metric of the organisation. Row by row, each score from
that row and those before it alone; one fixed configuration for every series; standard library only.

``SeriesScore`` adds three channels, each a statistic of its own:

* ``Novelty`` of the value: how far it lies from every value met before, measured by the range so far. A value in a
  gap between familiar ones counts less than a record, the less the more rows lie on both its sides.
* ``WeeklyResidual``: the novelty of what the hour of the week leaves unexplained. It speaks only where the week
  explains the series.
* ``Burst``: changes that are larger than usual for a while, as −log10 p of their smoothed size.

Each constant below is flat around its value (docs/benchmarks.md, *NAB*); none is learnt from labels at run time.
References: Ahmad et al., "Unsupervised real-time anomaly detection for streaming data" (Neurocomputing 2017) for the
benchmark; ``detectors.tail`` for the tail.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import islice
from math import exp, isfinite, sqrt
from typing import Any

import msgspec

from detectors.tail import UpperTail

THRESHOLD = 0.025
"""The score from which on a row deserves a look: just under the optimum on the development files (.0272)."""
LARGEST = 1e150
"""Values beyond this (or below its negative) are refused: their squares would not be finite."""
NEW_VALUE = 0.02  # below 2 % of the range a change is invisible on a plot
NEW_RESIDUAL = 0.10  # residuals are noisier
_DEPTH_POWER = -1.0 / 3.0  # heavy tails leave gaps inside; any power between -.3 and -.7 does
_MOST_STORED = 400
_HOUR_MS = 3_600_000
_WEEK_HOURS = 168
_RESIDUAL_GAIN = 0.3
_PROFILE_GAIN = 0.2
_CLIP = 4.0  # sustained unrest, not a single jump: that is what novelty is for
_UNREST_GAIN = 0.05
_SPREAD_GAIN = 0.01
_BURST_FROM = 3.0  # p < 1e-3
BURST_WEIGHT = NEW_VALUE  # a power of ten of p beyond that counts as much as the least new value
_FADE = exp(-1.0 / 75.0)  # memory of the channels and of the bar, 75 rows
_HIGHER_BAR = 1.35  # an alarm follows another within the memory only if it is a third stronger
STATE_VERSION = 1

_pack = msgspec.msgpack.Encoder()


class Novelty:
    """How far a number lies from all that were stored, as d/(1 + d), d in ranges seen so far. State: <= 400 pairs.

    Parameters: ``least``, the distance (in ranges) from which on a number is new and gets stored; a nearer one is
    counted at its neighbour and scores 0. A new number between stored ones is discounted by (1 + depth)^(−1/3), depth
    being the smaller of the rows counted below and above it.

    Limits: it never forgets, so what happened once is familiar for ever; a full store only counts.
    """

    __slots__ = ("counts", "high", "least", "low", "numbers")

    def __init__(self, least: float) -> None:
        self.least = least
        self.low = self.high = 0.0
        self.numbers: list[float] = []
        self.counts: list[int] = []

    def score(self, number: float) -> float:
        """The novelty of ``number`` in [0, 1), against those before it; then remember it."""
        numbers, counts = self.numbers, self.counts
        at = bisect_left(numbers, number)
        if not numbers:
            self.low = self.high = number
            self._store(0, number)
            return 0.0
        near = at
        if at == len(numbers) or (at > 0 and numbers[at] - number >= number - numbers[at - 1]):
            near = at - 1
        distance, extent = abs(number - numbers[near]), (self.high - self.low) or 1.0
        self.low, self.high = min(self.low, number), max(self.high, number)
        if distance <= self.least * extent:
            counts[near] += 1
            return 0.0
        novelty = distance / (distance + extent)
        if 0 < at < len(numbers):
            below = sum(islice(counts, at))
            novelty *= (1.0 + min(below, sum(counts) - below)) ** _DEPTH_POWER
        if len(numbers) < _MOST_STORED:
            self._store(at, number)
        else:
            counts[near] += 1
        return novelty

    def _store(self, at: int, number: float) -> None:
        self.numbers.insert(at, number)
        self.counts.insert(at, 1)


class WeeklyResidual:
    """The novelty of what a profile of the 168 hours of the week leaves over. State: the profile and a ``Novelty``.

    The profile follows each hour with gain max(.2, 1/rows in it), the residual is smoothed with gain .3 and kept over
    hours that were never met. Its novelty is weighted by gate², gate = (1 − mean |x − profile| / mean |x − mean|),
    not below 0, times k/(k + 168), k rows being judged by the profile: a week that explains nothing says nothing.

    Hours are those of the times as given; a series of local times follows its local week.
    """

    __slots__ = ("judged", "mean", "missed", "novelty", "profile", "residual", "rows", "spread", "visits")

    def __init__(self) -> None:
        self.novelty = Novelty(NEW_RESIDUAL)
        self.profile = [0.0] * _WEEK_HOURS
        self.visits = [0] * _WEEK_HOURS
        self.residual = self.mean = self.missed = self.spread = 0.0
        self.rows = self.judged = 0

    def score(self, at_ms: int, value: float) -> float:
        """The gated novelty of the residual in [0, 1); then learn the hour."""
        hour = at_ms // _HOUR_MS % _WEEK_HOURS
        visits, usual = self.visits[hour], self.profile[hour]
        if visits:
            left = value - usual
            self.judged += 1
            self.missed += (abs(left) - self.missed) / self.judged
            self.spread += (abs(value - self.mean) - self.spread) / self.judged
            self.residual += _RESIDUAL_GAIN * (left - self.residual)
        said = self.novelty.score(self.residual)
        if said and self.spread > 0.0:
            gate = max(0.0, 1.0 - self.missed / self.spread) * self.judged / (self.judged + _WEEK_HOURS)
            said *= gate * gate
        elif said:
            said = 0.0
        self.visits[hour] = visits + 1
        self.profile[hour] = usual + max(_PROFILE_GAIN, 1.0 / (visits + 1)) * (value - usual)
        self.rows += 1
        self.mean += (value - self.mean) / self.rows
        return said


class Burst:
    """Unrest: the size of changes against what is usual, smoothed, as −log10 p beyond p = 1e-3. State: 256 floats.

    A change is measured in its slow standard deviation (gain .01, in the beginning 1/n) and cut at 4 of them, then
    smoothed with gain .05: twenty rows of larger changes say more than one enormous one.
    """

    __slots__ = ("changes", "last", "tail", "unrest", "variance")

    def __init__(self) -> None:
        self.tail = UpperTail()
        self.last: float | None = None
        self.changes = 0
        self.variance = self.unrest = 0.0

    def score(self, value: float) -> float:
        """Powers of ten beyond p = 1e-3, 0 for anything more probable; then learn the change."""
        if self.last is not None:
            change = abs(value - self.last)
            self.changes += 1
            if self.variance > 0.0:
                spread = sqrt(self.variance)
                cut = min(change, _CLIP * spread)
                gain = max(_SPREAD_GAIN, 1.0 / self.changes)
                self.variance += gain * (cut * cut - self.variance)
                self.unrest += _UNREST_GAIN * (cut / spread - self.unrest)
            else:
                self.variance = change * change
                self.unrest -= _UNREST_GAIN * self.unrest
        self.last = value
        return max(self.tail.surprise(self.unrest) - _BURST_FROM, 0.0)


class SeriesScore:
    """The anomaly score of one series, a row at a time: 0 nearly always, T/(1 + T) for a row that stands out.

    T adds the fading maxima of value novelty, weekly residual and .02 times the burst's powers of ten, so that what
    two channels see within some 75 rows counts together. A row is told only if T is 1.35 times the fading height of
    the last one that was told: one incident gives a few rows, not hundreds. ``THRESHOLD`` is where to look.

    Cost: about 3 µs a row; state: some hundred numbers and the week's profile, 5–25 kB packed. Memories are counted
    in rows: a series at half the sampling rate remembers twice as long (docs/benchmarks.md says what that costs).

    Limits: no forgetting of values; a slow drift within the familiar range is not seen; the first weeks know no week.
    """

    __slots__ = ("bar", "burst", "faded", "value", "week")

    def __init__(self) -> None:
        self.value = Novelty(NEW_VALUE)
        self.week = WeeklyResidual()
        self.burst = Burst()
        self.faded = [0.0, 0.0, 0.0]
        self.bar = 0.0

    def update(self, at_ms: int, value: float) -> float:
        """The score of the next row, in [0, 1); then learn it.

        ``at_ms`` is the row's time in milliseconds of any calendar (it only gives the hour of the week). Raises
        ValueError for a value that is not finite or beyond ``LARGEST``; the state is unchanged then.
        """
        if not (isfinite(value) and -LARGEST <= value <= LARGEST):
            raise ValueError(f"{value!r} is no finite number between -{LARGEST:g} and {LARGEST:g}")
        novelty, week, burst = self.faded
        novelty = max(novelty * _FADE, self.value.score(value))
        week = max(week * _FADE, self.week.score(at_ms, value))
        burst = max(burst * _FADE, self.burst.score(value))
        self.faded = [novelty, week, burst]
        total = novelty + week + BURST_WEIGHT * burst
        self.bar *= _FADE
        if total <= 0.0 or total <= _HIGHER_BAR * self.bar:
            return 0.0
        self.bar = total
        return total / (1.0 + total)

    def dump(self) -> bytes:
        """The state as bytes; ``load`` gives a score that goes on identically."""
        value, week, burst = self.value, self.week, self.burst
        return _pack.encode((
            STATE_VERSION,
            _novelty_row(value),
            (_novelty_row(week.novelty), week.profile, week.visits, week.residual, week.mean, week.missed, week.spread,
             week.rows, week.judged),
            (burst.tail.count, burst.tail.top, burst.last, burst.changes, burst.variance, burst.unrest),
            (self.faded, self.bar),
        ))  # fmt: skip

    @classmethod
    def load(cls, blob: bytes) -> SeriesScore:
        """The score from its bytes. Raises ValueError for those of another version."""
        version, value, week, burst, rest = msgspec.msgpack.decode(blob)
        if version != STATE_VERSION:
            raise ValueError(f"a series reads state version {STATE_VERSION}, not {version}")
        score = cls()
        _fill_novelty(score.value, value)
        _fill_novelty(score.week.novelty, week[0])
        of = score.week
        of.profile, of.visits, of.residual, of.mean, of.missed, of.spread, of.rows, of.judged = week[1:]
        tail = score.burst.tail
        tail.count, tail.top = burst[:2]
        score.burst.last, score.burst.changes, score.burst.variance, score.burst.unrest = burst[2:]
        score.faded, score.bar = rest
        return score


def _novelty_row(novelty: Novelty) -> tuple[Any, ...]:
    return novelty.low, novelty.high, novelty.numbers, novelty.counts


def _fill_novelty(novelty: Novelty, row: Any) -> None:
    novelty.low, novelty.high, novelty.numbers, novelty.counts = row
