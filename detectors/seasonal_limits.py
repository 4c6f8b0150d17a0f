"""What one agent usually does by hour of the day, and the limits on its counts that follow from it.

Learnt once a day from that day's hours; between two days the limits stand still. Counts are divided by the
organisation's common factor before they are learnt. Hours are UTC; each slot also looks at its two neighbours,
which covers a change to or from summer time.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import ceil, sqrt
from struct import calcsize, pack, unpack

from detectors.statistics import negative_binomial_limit
from events.compiled import load

SLOTS = 24
WINDOWS_MIN = (1, 5, 10, 15, 30, 60)
"""The lengths of the sliding windows, in minutes; index them by name below."""
W1, W5, W10, W15, W30, W60 = range(6)
EXPONENTS = (18.0, 11.0, 9.5, 9.5, 7.5, 7.5)
"""Chernoff exponents by window; larger is safer and slower."""
FLOORS = (15, 11, 12, 13, 14, 17)
"""The least limits by window, in actions."""
MARGIN = 1.35
"""How far the mean may drift above the largest of its neighbours before it counts as unusual (1 + delta)."""
MEDIAN_SHARE = 0.8
"""Each slot's mean is at least this share of the median active slot's."""
MEAN_DECAY = 0.93
PEAK_DECAY = 0.985
PEAK_LEAST, PEAK_LEAST_ROOT, PEAK_LEAST_PLUS = 1.6, 2.5, 4.0
"""A limit is at least this many times the most that was seen lately in the slots around, plus …"""
PEAK_TIMES, PEAK_TIMES_NEW, PEAK_ROOT, PEAK_PLUS = 2.4, 4.0, 3.0, 6.0
"""… and at most this many times that, where no job is remembered; the first number is larger while few days (the
second, divided by them) are known."""
PEAK_GROWTH = 1.5
ACTIVE_SHARE = 0.3
"""A day below this share of a typical day's total is not learnt (a weekend, a skipped night)."""
_ACTIVE_SLOT_SHARE = 0.2
_BUSY_SLOTS = 7
_PRIOR_ACTIONS = 4.0
_PRIOR_DISPERSION = 0.2
_PRIOR_WEIGHTS = (5.0, 10.0, 20.0)
_MIN_DISPERSION, _MAX_DISPERSION = 0.03, 4.0
_JOB_SLOTS = 3
_RAMP_FROM_LEAST, _RAMP_FROM_MOST, _RAMP_TO = 0.25, 0.4, 0.8
_JOB_HEADROOM = 3.0
_JOB_FROM, _JOB_TO = 1.5, 2.5
_TAIL = 1.5
_USUAL_EXPONENT = 3.0
NO_LIMIT = 1 << 60
MOST_TOLD = 1 << 31
"""A larger number is told to peers as this one."""

_TABLES = 10
_FORMAT = f"<{_TABLES * SLOTS + 7 + 7 + 3 + SLOTS}f{SLOTS * len(WINDOWS_MIN)}I2I"
PACKED_BYTES = calcsize(_FORMAT)


def _zeros(count: int) -> array[float]:
    return array("f", bytes(4 * count))


class Day:
    """The hours of one day as they were counted: per slot, −1 in ``hours`` where nothing may be learnt."""

    __slots__ = ("factors", "hours", "peaks", "squares_5", "squares_15")

    def __init__(self) -> None:
        self.hours = array("q", bytes(8 * SLOTS))
        self.squares_5 = array("d", bytes(8 * SLOTS))
        self.squares_15 = array("d", bytes(8 * SLOTS))
        self.peaks = [array("q", bytes(8 * SLOTS)) for _ in range(4)]
        self.factors = array("f", [1.0] * SLOTS)

    def lists(self) -> list[array[int] | array[float]]:
        """Its arrays in a fixed order."""
        return [self.hours, self.squares_5, self.squares_15, *self.peaks, self.factors]


class SeasonalLimits:
    """One agent's season: 24 slots of counts, weights, peaks and dispersion, and the limits made from them.

    Tables are 32-bit floats, so that a state taken back from its bytes goes on exactly as it would have.
    """

    __slots__ = (
        "counts",
        "days",
        "dispersion",
        "limits",
        "mean_squares",
        "means",
        "peaks",
        "spreads",
        "typical",
        "weekday_seen",
        "weekday_usual",
        "weights",
    )

    def __init__(self) -> None:
        self.counts = _zeros(SLOTS)
        self.weights = _zeros(SLOTS)
        self.peaks = [_zeros(SLOTS) for _ in range(4)]
        self.spreads = [_zeros(SLOTS) for _ in range(3)]
        self.mean_squares = _zeros(SLOTS)
        self.weekday_seen = _zeros(7)
        self.weekday_usual = _zeros(7)
        self.means = _zeros(SLOTS)
        self.dispersion = _zeros(3)
        self.typical = 0.0
        self.days = 0
        self.limits: list[tuple[int, ...]] = []

    # --- learning ------------------------------------------------------------------------------------------------

    def learn(self, day: Day, weekday: int, idle_days: int, *, is_mature: bool) -> None:
        """Take one finished day in, then fit the limits. ``idle_days``: whole days without an action after it."""
        hours = [h / f if h > 0 else h for h, f in zip(day.hours, day.factors, strict=True)]
        known = [h for h in hours if h >= 0]
        total = sum(known)
        is_whole = len(known) == SLOTS
        self._learn_weekday(total if is_whole else None, weekday, idle_days)
        is_active = total >= ACTIVE_SHARE * self.typical
        self._decay_peaks(1 + idle_days)
        if is_active and total > 0:
            self._learn_hours(day, hours, is_mature=is_mature)
            self.days = min(self.days + 1, 60_000)
        self._learn_peaks(day, is_mature=is_mature)
        if is_whole and total > 0:
            gain = (max(0.1, 1.0 / (self.days + 1)) if self.typical else 1.0) if is_active else 0.05
            self.typical += gain * (total - self.typical)
            self.typical = unpack("<f", pack("<f", self.typical))[0]
        self.fit()

    def _learn_hours(self, day: Day, hours: Sequence[float], *, is_mature: bool) -> None:
        means, counts, weights = self.means, self.counts, self.weights
        had_means = self.days > 0
        spread_5, spread_15, spread_60 = self.spreads
        for slot in range(SLOTS):
            hour = hours[slot]
            if hour < 0:
                continue
            mean = means[slot]
            kept = min(hour, 3.0 * mean + 10.0) if is_mature else hour
            counts[slot] = counts[slot] * MEAN_DECAY + kept
            weights[slot] = weights[slot] * MEAN_DECAY + 1.0
            if not had_means:
                continue
            scale = (kept / day.hours[slot]) ** 2 if day.hours[slot] else 0.0
            excess_5 = day.squares_5[slot] * scale - mean * kept / 6.0 + mean * mean / 12.0 - mean
            excess_15 = day.squares_15[slot] * scale - mean * kept / 2.0 + mean * mean / 4.0 - mean
            spread_5[slot] = spread_5[slot] * MEAN_DECAY + excess_5
            spread_15[slot] = spread_15[slot] * MEAN_DECAY + excess_15
            spread_60[slot] = spread_60[slot] * MEAN_DECAY + (kept - mean) ** 2 - mean
            self.mean_squares[slot] = self.mean_squares[slot] * MEAN_DECAY + mean * mean

    def _decay_peaks(self, days: int) -> None:
        decay = PEAK_DECAY ** min(days, 1000)
        for remembered in self.peaks:
            for slot in range(SLOTS):
                if remembered[slot]:
                    remembered[slot] *= decay

    def _learn_peaks(self, day: Day, *, is_mature: bool) -> None:
        for remembered, seen, floor in zip(self.peaks, day.peaks, (15.0, 7.0, 7.0, 7.0), strict=True):
            for slot in range(SLOTS):
                if not seen[slot] or day.hours[slot] < 0:
                    continue
                peak = seen[slot] / day.factors[slot]
                old = remembered[slot]
                if peak > old:
                    remembered[slot] = min(peak, PEAK_GROWTH * max(old, floor)) if is_mature else peak

    def _learn_weekday(self, total: float | None, weekday: int, idle_days: int) -> None:
        seen, usual, typical = self.weekday_seen, self.weekday_usual, self.typical
        if total is not None:
            seen[weekday] = 0.8 * seen[weekday] + total
            usual[weekday] = 0.8 * usual[weekday] + typical
        for later in range(1, min(idle_days, 7) + 1):
            other = (weekday + later) % 7
            seen[other] *= 0.8
            usual[other] = 0.8 * usual[other] + typical

    # --- fitting -------------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Make means, dispersion and limits from what was learnt."""
        if not self.days:
            return
        self._fit_means()
        self._fit_dispersion()
        bounds = self._composite_means()
        phi_5, phi_15, phi_60 = self.dispersion
        phis = (1.3 * phi_5 + 0.1, phi_5, (phi_5 * phi_15) ** 0.5, phi_15, (phi_15 * phi_60) ** 0.5, phi_60)
        self.limits = _quick_limits_of(bounds, phis, self.peaks, PEAK_TIMES + PEAK_TIMES_NEW / self.days)

    def _fit_means(self) -> None:
        counts, weights, means = self.counts, self.weights, self.means
        all_weight = sum(weights)
        whole = max(sum(counts) / all_weight, 1e-3)
        for slot in range(SLOTS):
            near = counts[slot - 2] + counts[slot - 1] + counts[(slot + 1) % SLOTS] + counts[(slot + 2) % SLOTS]
            weight = weights[slot - 2] + weights[slot - 1] + weights[(slot + 1) % SLOTS] + weights[(slot + 2) % SLOTS]
            prior = whole * (near + _PRIOR_ACTIONS) / (whole * weight + _PRIOR_ACTIONS)
            means[slot] = prior * (counts[slot] + _PRIOR_ACTIONS) / (prior * weights[slot] + _PRIOR_ACTIONS)

    def _active_slots(self) -> list[int]:
        means = self.means
        least = _ACTIVE_SLOT_SHARE * sorted(means)[-_BUSY_SLOTS]
        return [slot for slot in range(SLOTS) if means[slot] >= least]

    def _fit_dispersion(self) -> None:
        spread_5, spread_15, spread_60 = self.spreads
        kept = sorted(self._active_slots(), key=spread_15.__getitem__)
        kept = kept[: max(len(kept) - _JOB_SLOTS, 1)]
        square = sum([self.mean_squares[slot] for slot in kept])
        above = _MAX_DISPERSION
        for index, (spread, parts) in enumerate(((spread_5, 12.0), (spread_15, 4.0), (spread_60, 1.0))):
            weight = _PRIOR_WEIGHTS[index]
            excess = sum([spread[slot] for slot in kept]) + _PRIOR_DISPERSION * weight
            above = min(max(excess / (square / parts + weight), _MIN_DISPERSION), above)
            self.dispersion[index] = above

    def _composite_means(self) -> list[float]:
        means = self.means
        active = sorted([means[slot] for slot in self._active_slots()])
        middle = MEDIAN_SHARE * active[len(active) // 2]
        return [MARGIN * max(means[slot - 1], means[slot], means[(slot + 1) % SLOTS], middle) for slot in range(SLOTS)]

    # --- questions -----------------------------------------------------------------------------------------------

    def usual_most(self, slot: int, window: int) -> float:
        """The most actions that a window of this slot usually holds: a high quantile, or the remembered most."""
        if not self.days:
            return 0.0
        phi_5, phi_15, phi_60 = self.dispersion
        phi = (1.3 * phi_5 + 0.1, phi_5, (phi_5 * phi_15) ** 0.5, phi_15, (phi_15 * phi_60) ** 0.5, phi_60)[window]
        mean: float = self.means[slot] * WINDOWS_MIN[window] / 60.0
        quantile = negative_binomial_limit(mean, phi, _USUAL_EXPONENT)
        shorter, longer = ((0, 0), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3))[window]
        near = (slot - 1, slot, (slot + 1) % SLOTS)
        most: float = max([(self.peaks[shorter][s] * self.peaks[longer][s]) ** 0.5 for s in near])
        return max(quantile, most)

    def most(self) -> list[int]:
        """By window the largest limit of the day, then the most that was remembered of any hour."""
        limits = [max(column) for column in zip(*self.limits, strict=True)]
        return [min(number, MOST_TOLD) for number in (*limits, *(ceil(max(row)) for row in _all_windows(self.peaks)))]

    def expected_in_hour(self, slot: int, weekday: int) -> float:
        """The mean of the slot, times the weekday's own factor."""
        usual = self.weekday_usual[weekday] + self.typical
        factor = (self.weekday_seen[weekday] + self.typical) / usual if usual else 1.0
        return self.means[slot] * factor

    # --- bytes ---------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """All of it in a fixed layout, little-endian."""
        floats: list[float] = [*self.counts, *self.weights]
        for table in (*self.peaks, *self.spreads, self.mean_squares):
            floats.extend(table)
        floats += (*self.weekday_seen, *self.weekday_usual, *self.dispersion, *self.means)
        limits = [limit for row in self.limits for limit in row] or [0] * (SLOTS * len(WINDOWS_MIN))
        capped = [min(limit, 0xFFFFFFFF) for limit in limits]
        return pack(_FORMAT, *floats, *capped, self.days, 0) + pack("<f", self.typical)

    @classmethod
    def load(cls, blob: bytes) -> SeasonalLimits:
        """From what ``dump`` gave."""
        season = cls()
        values = unpack(_FORMAT, blob[:PACKED_BYTES])
        season.typical = unpack("<f", blob[PACKED_BYTES:])[0]
        tables = (season.counts, season.weights, *season.peaks, *season.spreads, season.mean_squares,
                  season.weekday_seen, season.weekday_usual, season.dispersion, season.means)  # fmt: skip
        at = 0
        for table in tables:
            table[:] = array("f", values[at : at + len(table)])
            at += len(table)
        width = len(WINDOWS_MIN)
        season.days = values[at + SLOTS * width]
        if season.days:
            season.limits = [tuple(values[at + i * width : at + (i + 1) * width]) for i in range(SLOTS)]
        return season


def limits_of(
    bounds: list[float], phis: tuple[float, ...], peaks: list[array[float]], slack: float
) -> list[tuple[int, ...]]:
    """By slot the limits of the six windows, in actions.

    Parameters: by slot the largest mean an hour that is usual; by window the dispersion; the remembered peaks of 1, 5,
    15 and 60 minutes by slot; how many times a peak a limit may be where no job is remembered.
    """
    rows = [
        _limits_of(bounds, minutes / 60.0, phi, exponent, floor)
        for minutes, phi, exponent, floor in zip(WINDOWS_MIN, phis, EXPONENTS, FLOORS, strict=True)
    ]
    final = _with_memory(rows, peaks, slack)
    return [(ceil(a), ceil(b), ceil(c), ceil(d), ceil(e), ceil(f)) for a, b, c, d, e, f in zip(*final, strict=True)]


def _limits_of(bounds: Sequence[float], hours: float, phi: float, exponent: float, floor: int) -> list[float]:
    known: dict[float, float] = {}
    for bound in bounds:
        if bound not in known:
            known[bound] = max(negative_binomial_limit(bound * hours, phi, exponent), floor)
    return [known[bound] for bound in bounds]


def _with_memory(rows: list[list[float]], remembered: Sequence[Sequence[float]], slack: float) -> list[list[float]]:
    """The limits after remembered jobs and heavy tails (up) and, without a job, remembered peaks (down)."""
    own = _all_windows(remembered)
    longer = [1.0] * SLOTS
    final: list[list[float]] = [[]] * len(rows)
    for w in range(len(rows) - 1, -1, -1):
        row, peaks = rows[w], own[w]
        ordinary = sorted(peaks)[-1 - _JOB_SLOTS]
        fifth = sorted([peak / limit for peak, limit in zip(peaks, row, strict=True)])[-5]
        start = min(_RAMP_FROM_MOST, max(_RAMP_FROM_LEAST, _TAIL * fifth))
        wide = [max(peaks[slot - 1], peaks[slot], peaks[(slot + 1) % SLOTS]) for slot in range(SLOTS)]
        shares = [_job_share(peak, ordinary) for peak in wide]
        jobs = [
            1.0 + share * (_job_factor(peak / limit, start) - 1.0) if share > 0.0 else 1.0
            for peak, limit, share in zip(wide, row, shares, strict=True)
        ]
        longer = [job if job > above else above for job, above in zip(jobs, longer, strict=True)]
        tail = max(1.0, _TAIL * fifth)
        final[w] = [
            max(FLOORS[w], _bounded(limit * job * tail, max(peak, ordinary), job > 1.0, slack, share))
            for limit, job, peak, share in zip(row, longer, wide, shares, strict=True)
        ]
    return final


def _all_windows(peaks: Sequence[Sequence[float]]) -> list[list[float]]:
    """Remembered peaks of all six windows; 10 and 30 min are the geometric means of their neighbours."""
    p_1, p_5, p_15, p_60 = (list(table) for table in peaks)
    p_10 = [(a * b) ** 0.5 for a, b in zip(p_5, p_15, strict=True)]
    p_30 = [(a * b) ** 0.5 for a, b in zip(p_15, p_60, strict=True)]
    return [p_1, p_5, p_10, p_15, p_30, p_60]


def _job_share(near: float, ordinary: float) -> float:
    """How far a slot's peak stands out from ordinary ones: 0 not at all, 1 it holds a recurring job."""
    return max(0.0, min((near / max(ordinary, 1.0) - _JOB_FROM) / (_JOB_TO - _JOB_FROM), 1.0))


def _bounded(limit: float, peak: float, is_job: bool, times: float, job_share: float) -> float:
    """The limit between two multiples of the remembered peak; a job may reach ``_JOB_HEADROOM`` times its own."""
    root = sqrt(peak)
    least = PEAK_LEAST * peak + PEAK_LEAST_ROOT * root + PEAK_LEAST_PLUS
    most = times * peak + PEAK_ROOT * root + PEAK_PLUS
    if not is_job:
        limit = min(limit, most + job_share * (_JOB_HEADROOM - times) * peak)
    return max(limit, least, job_share * _JOB_HEADROOM * peak)


def _job_factor(ratio: float, start: float) -> float:
    if ratio <= start:
        return 1.0
    if ratio >= _RAMP_TO:
        return _JOB_HEADROOM * ratio
    return 1.0 + (ratio - start) / (_RAMP_TO - start) * (_JOB_HEADROOM * _RAMP_TO - 1.0)


_compiled = load("detectors._season")  # it reads the constants above
_quick_limits_of = limits_of if _compiled is None else _compiled.limits_of
