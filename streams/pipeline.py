"""Whether the pipeline itself goes wrong: weekly counts, judged by an e-detector with a stated rate of alarms.

A week's count is compared with what its own last weeks lead to expect: negative binomial, with their mean, and their
spread and the doubt about their mean as dispersion. The e-value is the likelihood ratio of "so much less (or more)"
against "as usual", averaged over three sizes of change; their Shiryaev–Roberts sum raises an alarm at the height at
which so many series together give ``per_year`` false alarms a year, if weeks vary as the last ones did.

Limits: weeks before say what is usual, so that a slow decline becomes usual; seasons are alarms. Few counts say
nothing: a week is judged where at least ``LEAST_EXPECTED`` are expected, after ``LEAST_WEEKS``.

Reference: ``detectors.statistics``; Shin, Ramdas, Rinaldo, "E-detectors" (2023).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from math import exp, log, log1p

from msgspec import Struct

from detectors.statistics import shiryaev_roberts, sr_threshold
from scoring.pipeline import SERIES, Series, Week

LEAST_WEEKS, MOST_WEEKS = 8, 13
GAP_WEEKS = 4
"""The last weeks say nothing of what is usual: else a change becomes usual before it is told."""
LEAST_EXPECTED = 5.0
LEAST_DISPERSION = 0.01
"""Weeks differ by a tenth at least, whatever the last few happened to do."""
PRIOR_DISPERSION, PRIOR_WEEKS = 0.04, 6.0
LESS, MORE = (0.8, 0.65, 0.5), (1.25, 1.55, 2.0)
PER_YEAR = 1.0
_MONTHS, _WEEKS_A_MONTH = 12.0, 52.18 / 12.0


class Alarm(Struct, frozen=True, kw_only=True):
    """A group's series that is not as usual: what was counted in the week and what its weeks before lead to expect.

    ``weeks``: how long it has been going on, by the e-detector's estimate; ``evidence``: the detector's sum against
    its ``threshold``.
    """

    monday: str
    group: str
    series: str
    counted: int
    expected: float
    weeks: int
    evidence: float
    threshold: float
    sentence: str


class Watch:
    """Judges weeks as they end. ``groups``: how many groups are watched in all; it sets the height of the alarms."""

    def __init__(self, groups: int, per_year: float = PER_YEAR) -> None:
        series = max(groups, 1) * len(SERIES)
        self.threshold = sr_threshold(per_year / _MONTHS, _WEEKS_A_MONTH * series)
        self._lines: dict[tuple[str, str], _Line] = {}

    def step(self, week: Week) -> Iterator[Alarm]:
        """The alarms of one group's week; then learn it."""
        for series in SERIES:
            line = self._lines.setdefault((week.group, series.name), _Line(series))
            alarm = line.step(week, self.threshold)
            if alarm is not None:
                yield alarm


class _Line:
    """One series of one group."""

    __slots__ = ("past", "series", "statistic", "went_on")

    def __init__(self, series: Series) -> None:
        self.series = series
        self.past: deque[tuple[int, float]] = deque(maxlen=MOST_WEEKS + GAP_WEEKS)
        self.statistic = 0.0
        self.went_on = 0

    def step(self, week: Week, threshold: float) -> Alarm | None:
        """Score first, then learn."""
        count, exposure = week.count(self.series.name), week.exposure(self.series.name)
        usual = self._usual(exposure)
        alarm = None
        if usual is not None:
            expected, dispersion = usual
            e_value = _e_value(count, expected, dispersion, LESS if self.series.is_low_bad else MORE)
            self.statistic = shiryaev_roberts(self.statistic, e_value)
            self.went_on = self.went_on + 1 if self.statistic > 1.0 and e_value > 1.0 else 0
            if self.statistic >= threshold:
                alarm = self._alarm(week, count, expected, threshold)
                self.statistic, self.went_on = 0.0, 0
        self.past.append((count, exposure))
        return alarm

    def _usual(self, exposure: float) -> tuple[float, float] | None:
        """What is expected, and its dispersion; None: too little is known, or too few are expected."""
        past = list(self.past)[:-GAP_WEEKS]
        total, weight = sum(count for count, _ in past), sum(each for _, each in past)
        if len(past) < LEAST_WEEKS or weight <= 0.0:
            return None
        rate = total / weight
        expected = rate * exposure
        if expected < LEAST_EXPECTED or total <= 0:
            return None
        means = [(count, rate * each) for count, each in past if each > 0.0]
        spread = sum(((count - mean) ** 2 - mean) / mean**2 for count, mean in means)
        spread = (spread + PRIOR_DISPERSION * PRIOR_WEEKS) / (len(means) + PRIOR_WEEKS)
        spread = max(spread, LEAST_DISPERSION)
        # The mean is known as well as so many weeks tell it: their spread and their counts.
        return expected, spread + spread / len(means) + 1.0 / total

    def _alarm(self, week: Week, count: int, expected: float, threshold: float) -> Alarm:
        lasted = f", for {self.went_on} weeks" if self.went_on > 1 else ""
        who = "All" if week.group == "all" else week.group.capitalize()
        return Alarm(
            monday=week.monday,
            group=week.group,
            series=self.series.name,
            counted=count,
            expected=round(expected, 1),
            weeks=max(self.went_on, 1),
            evidence=self.statistic,
            threshold=threshold,
            sentence=f"{who}: {count} {self.series.title} in the week of {week.monday}; "
            f"{expected:.0f} would be usual{lasted}",
        )


def watch(weeks: Iterable[Week], groups: int, per_year: float = PER_YEAR) -> list[Alarm]:
    """All alarms of a run of weeks, in their order."""
    judge = Watch(groups, per_year)
    return [alarm for week in weeks for alarm in judge.step(week)]


def _e_value(count: int, mean: float, dispersion: float, factors: tuple[float, ...]) -> float:
    """The mean likelihood ratio of a negative binomial count whose mean is a factor of the usual one."""
    size = 1.0 / dispersion
    return sum(
        exp(count * log(each) + (count + size) * (log1p(mean / size) - log1p(mean * each / size))) for each in factors
    ) / len(factors)
