"""A model of deals at work: one look-up a feature, exact sums, and when time alone moves the score.

**p_lost** = logistic(base + Σ contributions), exactly: contributions are whole eighths (of a learned model, whole
fractions of a power of two), so that the sum is the same in any order, and nothing is rounded. **p_lost_14d** = of the
scorecard p_lost × logistic(−1 + z/2), z being the log-odds of p_lost: of two deals the one more likely lost is also
lost sooner; of a learned model from tables of its own, at most p_lost. **p_slip** (not won by its close date) =
p_lost + (1 − p_lost) × q, where q = logistic(slip base + Σ slip points) is the chance of being late if it isn't
lost; 1 once the date has passed, p_lost when there is no date. **p_won_by** h days = (1 − p_lost) ×
(1 − 2^(−h / remaining)), remaining = what the stages ahead usually take; it never contradicts p_slip: at most
1 − p_slip for an h before the close date, at least that for an h after it.
"""

from __future__ import annotations

from bisect import bisect_right

from events.times import DAY_MS
from scoring.features import COUNTED, PEOPLE, roll_meetings
from scoring.model import HAND, Model
from scoring.plan import NEVER_MS, Plan, Scores, logistic, pack, unpack
from scoring.stages import Process
from scoring.state import FAR_PAST, MAX_TOUCHES, Age, DealState
from scoring.tables import AGES, COUNTS, TABLES

BASE = HAND.base
"""The log-odds of the scorecard's p_lost before any reason."""
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
_CLOSE = int(Age.CLOSE)


class Scorecard:
    """Scores deals by a model's tables.

    Parameters: the sales process; after how many days without a sign a deal counts as silent (read by the scorecard's
    own rule, and the plain rule); the model, by default the hand scorecard.
    """

    def __init__(self, process: Process, silent_days: int = 14, model: Model = HAND) -> None:
        self.process = process
        self.silent_days = silent_days
        self.model = model
        self.base = model.base
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
        """(feature, log-odds) of the last ``judge``, zeros left out: base plus their sum is the log-odds of p_lost."""
        tables, point = self.plan(state.stage).tables, self.model.point
        return [
            (table.name, table.points[found][0] * point)
            for table, found in zip(tables, state.bins, strict=True)
            if table.points[found][0]
        ]

    def _plan(self, stage: str) -> Plan:
        norm = self.process.find(stage)
        plan = self._stages.get(norm.name)
        if plan is None:
            plan = self._stages[norm.name] = Plan(norm, self.silent_days, self.model)
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
    for at, value, cuts in zip(_FACT_PLACES, fact_values(state, plan), plan.fact_cuts, strict=True):
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


FEATURES = tuple(table.name for table in TABLES)
"""The features' names, in the order of ``DealState.bins``."""
__all__ = [
    "BASE", "FAR_PAST", "FEATURES", "NEVER_MS", "Plan", "Scorecard", "Scores", "fact_values",
    "is_silent", "logistic", "next_change_ms", "pack", "unpack",
]  # fmt: skip
