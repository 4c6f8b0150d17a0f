"""When an agent acts: its daily and weekly shape, its slow swings, its runs and its nightly jobs."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt

from events.times import DAY_MS, HOUR_MS, MINUTE_MS
from simulator.draws import Draws, exp
from simulator.spec import AgentSpec, JobSpec, OrgSpec

QUARTER_HOUR_MS = 15 * MINUTE_MS
_DAY_CURVE = (0.25, 0.55, 0.8, 1.0, 0.95, 0.7, 0.85, 1.0, 0.9, 0.6)
"""An office day from its first to its last hour: it starts slowly, dips at lunch, ends early."""
_MS_BETWEEN_ACTIONS = (900, 14_000)


def weekday(local_ms: int) -> int:
    """0 = Monday … 6 = Sunday."""
    return (local_ms // DAY_MS + 3) % 7  # 1970-01-01 was a Thursday


def shape(spec: AgentSpec, at_ms: int) -> float:
    """The share of its busy rate that an agent has at this time, in [0, 1]."""
    local = at_ms + spec.utc_offset_minutes * MINUTE_MS
    hour = local % DAY_MS / HOUR_MS
    is_weekend = weekday(local) >= 5
    if spec.kind in ("office", "trickle"):
        first, last = spec.office_hours
        if not first <= hour < last:
            return 0.0
        place = (hour - first) / (last - first) * (len(_DAY_CURVE) - 1)
        left = int(place)
        right = min(left + 1, len(_DAY_CURVE) - 1)
        curve = _DAY_CURVE[left] + (_DAY_CURVE[right] - _DAY_CURVE[left]) * (place - left)
        return curve * (spec.weekend_factor if is_weekend else 1.0)
    # Around the clock: a smooth swing with its top at 14:00, a little less on weekends.
    distance = min(abs(hour - 14.0), 24.0 - abs(hour - 14.0)) / 12.0
    swing = 1.0 - 0.45 * distance * distance * (3.0 - 2.0 * distance)
    return swing * (0.75 if is_weekend else 1.0)


def surge(org: OrgSpec, at_ms: int) -> float:
    """The organisation's common factor: full in the last working days of a quarter, half of it the day before."""
    if org.surge_factor == 1.0:
        return 1.0
    left = _working_days_left_in_quarter((at_ms + org.utc_offset_minutes * MINUTE_MS) // DAY_MS)
    if left < org.surge_days:
        return org.surge_factor
    return 1.0 + (org.surge_factor - 1.0) / 2 if left == org.surge_days else 1.0


@lru_cache(maxsize=512)
def _working_days_left_in_quarter(day: int) -> int:
    month = _month_of(day)
    count, last = 0, day
    # A quarter's last day is at most 92 days away; stop as soon as the count can no longer matter.
    while (_month_of(last + 1) - 1) // 3 == (month - 1) // 3 and count <= 31:
        last += 1
        count += (last + 3) % 7 < 5
    return count


def _month_of(day: int) -> int:
    """The month of a day since 1970, after Hinnant's civil-from-days."""
    z = day + 719_468
    day_of_era = z % 146_097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    return shifted + 3 if shifted < 10 else shifted - 9


class AgentLoad:
    """The times at which one agent acts, hour by hour, in order. It must be asked for each hour once, in turn."""

    def __init__(self, org: OrgSpec, spec: AgentSpec, seed: int, start_ms: int) -> None:
        self._org = org
        self._spec = spec
        self._seed = seed
        self._draws = Draws(seed, "load", spec.agent_id)
        self._swing = self._draws.normal()
        self._keep = exp(-0.25 / spec.noise_hours)
        self._kick = _square_root_of_rest(self._keep)
        self._first_ms = start_ms + spec.active_from_day * DAY_MS
        self._start_ms = start_ms
        self._later: list[tuple[int, int]] = []
        self._runs = 0
        self._planned_day = -1

    def hour(self, hour_ms: int) -> list[tuple[int, int]]:
        """(time, run number) of each action in [hour_ms, hour_ms + 1 h), ordered by time."""
        end_ms = hour_ms + HOUR_MS
        self._plan_jobs(hour_ms)
        found = self._later
        for quarter_ms in range(hour_ms, end_ms, QUARTER_HOUR_MS):
            self._add_runs(quarter_ms, found)
        found.sort()
        self._later = [item for item in found if item[0] >= end_ms]
        first = self._first_ms
        return [item for item in found if first <= item[0] < end_ms and not self._is_down(item[0])]

    def _add_runs(self, quarter_ms: int, found: list[tuple[int, int]]) -> None:
        spec, draws = self._spec, self._draws
        self._swing = self._keep * self._swing + self._kick * draws.normal()
        rate = spec.actions_per_hour * shape(spec, quarter_ms + QUARTER_HOUR_MS // 2) / 4
        if spec.follows_surge:
            rate *= surge(self._org, quarter_ms)
        rate *= exp(spec.noise_sd * self._swing)
        for _ in range(draws.poisson(rate / spec.run_actions)):
            self._add_run(quarter_ms + draws.below(QUARTER_HOUR_MS), found)

    def _add_run(self, at_ms: int, found: list[tuple[int, int]]) -> None:
        draws = self._draws
        self._runs += 1
        goes_on = 1.0 - 1.0 / self._spec.run_actions
        found.append((at_ms, self._runs))
        while goes_on > 0 and draws.random() < goes_on:
            at_ms += draws.between(*_MS_BETWEEN_ACTIONS)
            found.append((at_ms, self._runs))

    def _plan_jobs(self, hour_ms: int) -> None:
        day = hour_ms // DAY_MS
        if day == self._planned_day:
            return
        self._planned_day = day
        for index, job in enumerate(self._spec.jobs):
            self._plan_job(job, index, day)

    def _plan_job(self, job: JobSpec, index: int, day: int) -> None:
        # Its own stream of draws a night: a job that is skipped changes nothing else.
        draws = Draws(self._seed, "job", self._spec.agent_id, index, day)
        local = day * DAY_MS
        if draws.chance(job.skip_probability) or weekday(local) not in job.weekdays:
            return
        jitter = draws.between(-job.start_jitter_minutes, job.start_jitter_minutes)
        begin = local + (job.start_minute - self._spec.utc_offset_minutes + jitter) * MINUTE_MS
        begin = max(begin, local)
        length = draws.between(*job.length_minutes) * MINUTE_MS
        self._runs += 1
        self._later.extend((begin + draws.below(length), self._runs) for _ in range(draws.between(*job.actions)))

    def _is_down(self, at_ms: int) -> bool:
        minute = (at_ms - self._start_ms) // MINUTE_MS
        return any(first <= minute < last for first, last in self._org.outages)


def _square_root_of_rest(keep: float) -> float:
    return sqrt(max(0.0, 1.0 - keep * keep))
