"""The hand scorecard at work: one look-up a feature, exact sums, and when time alone moves the score.

**p_lost** = logistic(base + Σ contributions), exactly: contributions are whole eighths, so that the sum is the same
in any order, and nothing is rounded. **p_lost_14d** = p_lost × logistic(−1 + z/2), z being the log-odds of
p_lost: of two deals the one more likely lost is also lost sooner. **p_slip** (not won by its close date) = p_lost +
(1 − p_lost) × q, where q = logistic(slip base + Σ slip points) is the chance of being late if it isn't lost; 1 once
the date has passed, p_lost when there is no date. **p_won_by** h days = (1 − p_lost) × (1 − 2^(−h / remaining)),
remaining = what the stages ahead usually take; it never contradicts p_slip: at most 1 − p_slip for an h before the
close date, at least that for an h after it.

Both sums travel packed in one integer: lost points in the low 16 bits, slip points above.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import exp
from typing import Literal

from msgspec import Struct

from events.times import DAY_MS
from scoring.features import COUNTED, PEOPLE, roll_meetings
from scoring.stages import Process, StageNorm
from scoring.state import FAR_FUTURE, FAR_PAST, MAX_TOUCHES, Age, DealState
from scoring.tables import (
    AGES,
    COUNTS,
    FACTS,
    HORIZONS,
    LOST_BASE,
    POINT,
    SILENT_RULE,
    SLIP_BASE,
    TABLES,
    Points,
    Table,
)

BASE = LOST_BASE * POINT
"""The log-odds of p_lost before any reason."""
HIGH, WATCH = 0.6, 0.35
NEVER_MS = FAR_FUTURE * 2
_COUNT_WINDOWS_MS = (7 * DAY_MS, 14 * DAY_MS, 30 * DAY_MS)
_MAX_REMEMBERED = 50_000
_PEOPLE_PLACE = len(AGES) + 2
_TOUCHES = len(AGES)
_TOUCHES_MOST = len(COUNTS[0].cuts)
_PEOPLE_MOST = len(COUNTS[2].cuts)
_TOUCH_STEPS = tuple(
    (len(AGES) + at, (*(int(cut) for cut in COUNTS[at].cuts), MAX_TOUCHES + 1), _COUNT_WINDOWS_MS[at]) for at in (0, 1)
)
"""The counts of contacts: their place, how many contacts the next bin needs, and the window."""
_CLOSE_UNKNOWN, _CLOSE_PAST = 0, 5
_AGE_BITS = (1 << len(AGES)) - 1
_FRESH_AGES = tuple(tuple(at for at in range(len(AGES)) if bits >> at & 1) for bits in range(_AGE_BITS + 1))
"""The places of the set bits of every combination of ages."""
_FIRST_COUNT = len(AGES)
_FIRST_FACT = _FIRST_COUNT + len(COUNTS)
_COUNT_ROWS = tuple(
    (_FIRST_COUNT + at, tuple(map(int, COUNTS[at].cuts)), window_ms) for at, window_ms in enumerate(_COUNT_WINDOWS_MS)
)
"""The counts: their place, their cuts, and the window."""
_AGE_PLACES = range(_FIRST_COUNT)
_FACT_PLACES = range(_FIRST_FACT, len(TABLES))
_FACT_CUTS = tuple(table.cuts for table in FACTS)
_CLOSE = int(Age.CLOSE)


class Scores(Struct, frozen=True, gc=False):
    """The probabilities of one deal. ``p_won_by`` is keyed by days: "7", "14", "28"."""

    p_lost: float
    p_lost_14d: float
    p_slip: float
    p_won_by: dict[str, float]
    band: Literal["low", "watch", "high"]


def logistic(log_odds: float) -> float:
    """The probability of log-odds."""
    return 1.0 / (1.0 + exp(-log_odds))


def pack(points: Points) -> int:
    """(lost, slip) points as one integer that can be added."""
    return (points[1] << 16) + points[0]


def unpack(packed: int) -> Points:
    """(lost, slip) points of a sum of packed ones; lost points lie within ±32,767."""
    lost = ((packed + 0x8000) & 0xFFFF) - 0x8000
    return lost, (packed - lost) >> 16


class Plan:
    """The tables as they apply to deals in one stage: cuts in milliseconds, points packed."""

    def __init__(self, stage: StageNorm, silent_days: int) -> None:
        self.stage = stage
        units = [DAY_MS] * len(AGES)
        units[Age.BUYER] = stage.answer_days * DAY_MS
        units[Age.STAGE] = stage.norm_ms
        units[Age.DEAL] = int((stage.elapsed_days + stage.norm_days) * DAY_MS)
        units[Age.PACE] = int(stage.remaining_days * DAY_MS)
        tables = (_with_silent_rule(AGES[0], silent_days), *AGES[1:])
        self.tables = (*tables, *COUNTS, *FACTS)
        self.cuts = tuple(
            (*(int(cut * unit) for cut in table.cuts), NEVER_MS) for table, unit in zip(tables, units, strict=True)
        )
        self.points = tuple(tuple(map(pack, table.points)) for table in self.tables)
        self.matters = tuple(tuple(lost != 0 for lost, _ in table.points) for table in self.tables)
        self.fresh = tuple(bisect_right(cuts, 0) for cuts in self.cuts)
        self.place = 0.5 if stage.place is None else stage.place
        self.scores: dict[int, Scores] = {}

    def score(self, points: int, close_bin: int) -> Scores:
        """The probabilities of packed points; ``close_bin`` is the bin of the close date."""
        known = self.scores.get(points << 4 | close_bin)
        return self._work_out(points, close_bin) if known is None else known

    def _work_out(self, points: int, close_bin: int) -> Scores:
        lost, slip = unpack(points)
        log_odds = BASE + lost * POINT
        p_lost = logistic(log_odds)
        not_lost = 1.0 - p_lost
        late = logistic((SLIP_BASE + slip) * POINT)
        p_slip = p_lost + not_lost * late
        if close_bin == _CLOSE_UNKNOWN:
            p_slip = p_lost
        elif close_bin >= _CLOSE_PAST:
            p_slip = 1.0
        won_by = {}
        for at, days in enumerate(HORIZONS):
            p_won = not_lost * (1.0 - 2.0 ** (-days / self.stage.remaining_days))
            if _CLOSE_UNKNOWN < close_bin < _CLOSE_PAST:
                is_after = close_bin >= _CLOSE_PAST - 1 - at
                p_won = max(p_won, 1.0 - p_slip) if is_after else min(p_won, 1.0 - p_slip)
            won_by[str(days)] = p_won
        band: Literal["low", "watch", "high"] = "high" if p_lost >= HIGH else "watch" if p_lost >= WATCH else "low"
        made = Scores(p_lost, p_lost * logistic(-1.0 + log_odds / 2.0), p_slip, won_by, band)
        if len(self.scores) >= _MAX_REMEMBERED:
            self.scores.clear()
        self.scores[points << 4 | close_bin] = made
        return made


class Scorecard:
    """Scores deals. Parameters: the sales process, and after how many days without a sign a deal counts as silent."""

    def __init__(self, process: Process, silent_days: int = 14) -> None:
        self.process = process
        self.silent_days = silent_days
        self._plans: dict[str, Plan] = {}
        self._stages: dict[str, Plan] = {}

    def plan(self, stage: str) -> Plan:
        """The tables for deals in this stage."""
        return self._plans.get(stage) or self._plan(stage)

    def judge(self, state: DealState, now_ms: int) -> Scores:
        """Bring all of the deal's bins to ``now_ms`` and return its scores."""
        plan = self._plans.get(state.stage) or self._plan(state.stage)
        if len(state.bins) != len(plan.points):
            state.bins, state.due_ms = [0] * len(plan.points), [0] * _FIRST_FACT
        bins, due_ms, points = state.bins, state.due_ms, 0
        if state.meetings and state.meetings[0] <= now_ms:
            roll_meetings(state, now_ms)
        for at, origin, cuts, packed in zip(_AGE_PLACES, state.origins, plan.cuts, plan.points):  # noqa: B905 - ages are the first of all points
            found = bisect_right(cuts, now_ms - origin)
            bins[at] = found
            due_ms[at] = origin + cuts[found]
            points += packed[found]
        for at, cuts, window_ms in _COUNT_ROWS:
            times = state.touches if at != _PEOPLE_PLACE else sorted(state.people_ms)
            bins[at], due_ms[at] = _count(cuts, times, window_ms, state.opened_ms, now_ms)
            points += plan.points[at][bins[at]]
        if state.has_new_facts:
            _judge_facts(state, plan)
        state.points = points + state.fact_points
        state.next_ms = min(due_ms)
        return plan.score(state.points, bins[_CLOSE])

    def refresh(self, state: DealState, now_ms: int, fresh: int = 0) -> bool:
        """Do what ``judge`` does, looking only at what time has moved and at what began anew, now.

        ``fresh`` is what ``features.apply_activity`` returned for a record at ``now_ms``. Times in ``due_ms`` may stay
        too early, never too late. Returns whether ``scores`` may differ from before.
        """
        if fresh < 0 or state.has_new_facts:
            self.judge(state, now_ms)
            return True
        bins = state.bins
        points, close_bin = state.points, bins[_CLOSE]
        plan = self._plans.get(state.stage) or self._plan(state.stage)
        if now_ms >= state.next_ms:
            _pass_time(state, plan, now_ms)
        if fresh:
            begun = plan.fresh
            for at in _FRESH_AGES[fresh & _AGE_BITS]:
                found = begun[at]
                if bins[at] != found:
                    _move(state, plan, at, found, now_ms + plan.cuts[at][found])
            if fresh & COUNTED and (bins[_TOUCHES] < _TOUCHES_MOST or bins[_TOUCHES + 1] < _TOUCHES_MOST):
                touches = state.touches
                count = len(touches)
                for at, wanted, window_ms in _TOUCH_STEPS:
                    needed = wanted[bins[at]]
                    if needed <= count and touches[-needed] > now_ms - window_ms:
                        _recount(state, plan, at, now_ms)
            if fresh & PEOPLE and bins[_PEOPLE_PLACE] < _PEOPLE_MOST:
                _recount(state, plan, _PEOPLE_PLACE, now_ms)
        return points != state.points or close_bin != bins[_CLOSE]

    def scores(self, state: DealState) -> Scores:
        """The scores of the last ``judge``."""
        return self.plan(state.stage).score(state.points, state.bins[_CLOSE])

    def contributions(self, state: DealState) -> list[tuple[str, float]]:
        """(feature, log-odds) of the last ``judge``, zeros left out: BASE plus their sum is the log-odds of p_lost."""
        tables = self.plan(state.stage).tables
        return [
            (table.name, table.points[found][0] * POINT)
            for table, found in zip(tables, state.bins, strict=True)
            if table.points[found][0]
        ]

    def _plan(self, stage: str) -> Plan:
        norm = self.process.find(stage)
        plan = self._stages.get(norm.name)
        if plan is None:
            plan = self._stages[norm.name] = Plan(norm, self.silent_days)
        if len(self._plans) < _MAX_REMEMBERED:
            self._plans[stage] = plan
        return plan


def _rebin(state: DealState, plan: Plan, at: int, now_ms: int) -> None:
    """Find the bin of one feature that time moves, and when it changes next."""
    if at >= _FIRST_COUNT:
        _, cuts, window_ms = _COUNT_ROWS[at - _FIRST_COUNT]
        times = state.touches if at != _PEOPLE_PLACE else sorted(state.people_ms)
        state.bins[at], state.due_ms[at] = _count(cuts, times, window_ms, state.opened_ms, now_ms)
        return
    if at == Age.MEETING and state.meetings and state.meetings[0] <= now_ms:
        roll_meetings(state, now_ms)
    origin = state.origins[at]
    steps = plan.cuts[at]
    found = bisect_right(steps, now_ms - origin)
    state.bins[at], state.due_ms[at] = found, origin + steps[found]


def _judge_facts(state: DealState, plan: Plan) -> None:
    """Find the bins of the features that only records change, and their points."""
    points, bins = 0, state.bins
    for at, value, cuts in zip(_FACT_PLACES, fact_values(state, plan), _FACT_CUTS, strict=True):
        found = bisect_right(cuts, value)
        bins[at] = found
        points += plan.points[at][found]
    state.fact_points = points
    state.has_new_facts = False


def _pass_time(state: DealState, plan: Plan, now_ms: int) -> None:
    """Bring to ``now_ms`` the features that time has moved."""
    due_ms, bins = state.due_ms, state.bins
    next_ms = min(due_ms)  # not state.next_ms: that may be earlier than all of them
    while next_ms <= now_ms:
        at = due_ms.index(next_ms)
        before = bins[at]
        _rebin(state, plan, at, now_ms)
        packed = plan.points[at]
        state.points += packed[bins[at]] - packed[before]
        next_ms = min(due_ms)
    state.next_ms = next_ms


def _recount(state: DealState, plan: Plan, at: int, now_ms: int) -> None:
    before = state.bins[at]
    _rebin(state, plan, at, now_ms)
    packed = plan.points[at]
    state.points += packed[state.bins[at]] - packed[before]
    state.next_ms = min(state.next_ms, state.due_ms[at])


def _move(state: DealState, plan: Plan, at: int, found: int, due_ms: int) -> None:
    packed = plan.points[at]
    state.points += packed[found] - packed[state.bins[at]]
    state.bins[at], state.due_ms[at] = found, due_ms
    state.next_ms = min(state.next_ms, due_ms)


def next_change_ms(card: Scorecard, state: DealState, at_ms: int) -> int:
    """When time alone moves a feature of the deal across a cut, after ``at_ms``; ``NEVER_MS`` if it never does."""
    card.judge(state, at_ms)
    return state.next_ms


def is_silent(state: DealState, now_ms: int, silent_days: int = 14) -> bool:
    """The plain rule: no sign of life for ``silent_days``."""
    return now_ms - state.origins[Age.SILENCE] >= silent_days * DAY_MS


def fact_values(state: DealState, plan: Plan) -> tuple[float, ...]:
    """The figures behind the features that only records change, in the order of ``tables.FACTS``."""
    amount, first, peak = state.amount_minor, state.first_minor, state.peak_minor
    has_amount = amount is not None and peak
    return (
        plan.place,
        state.pushes,
        state.pushed_days,
        100.0 * (1.0 - amount / peak) if has_amount else 0.0,  # type: ignore[operator]
        100.0 * (amount / first - 1.0) if has_amount and first else 0.0,  # type: ignore[operator]
        state.regressions,
        state.longest_gap_ms / DAY_MS,
        state.owner_points,
        state.segment_points,
    )


def _count(cuts: tuple[int, ...], times: list[int], window_ms: int, opened_ms: int, now_ms: int) -> tuple[int, int]:
    """The bin of a count of recent times, and when it changes. A deal younger than the window has at least one."""
    start_ms = now_ms - window_ms
    size = len(times)
    if not size or times[-1] <= start_ms:
        if opened_ms > start_ms:
            return 1, opened_ms + window_ms
        return 0, NEVER_MS
    found = bisect_right(cuts, size - bisect_right(times, start_ms))
    # The bin falls when the oldest of the times that hold it up leaves the window.
    return found, times[size - cuts[found - 1]] + window_ms


def _with_silent_rule(table: Table, silent_days: int) -> Table:
    """The silence table with the 14-day rule's points on every bin from ``silent_days`` on."""
    cuts, points = list(table.cuts), list(table.points)
    if silent_days not in cuts:
        at = bisect_left(cuts, silent_days)
        cuts.insert(at, silent_days)
        points.insert(at, points[at])
    first = cuts.index(silent_days) + 1
    ruled = [
        (lost + SILENT_RULE[0], slip + SILENT_RULE[1]) if at >= first else (lost, slip)
        for at, (lost, slip) in enumerate(points)
    ]
    return Table(table.name, table.unit, tuple(cuts), tuple(ruled))


FEATURES = tuple(table.name for table in TABLES)
"""The features' names, in the order of ``DealState.bins``."""
__all__ = [
    "BASE", "FAR_PAST", "FEATURES", "NEVER_MS", "Plan", "Scorecard", "Scores", "fact_values",
    "is_silent", "logistic", "next_change_ms", "pack", "unpack",
]  # fmt: skip
