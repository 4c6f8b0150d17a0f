"""Every contribution as a sentence with its figures, and what to do about the one that weighs most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from events.times import DAY_MS
from events.types import Reason
from scoring.compiled import best_person
from scoring.money import shown
from scoring.plan import CLOSE_PAST, Plan
from scoring.scorecard import Scorecard
from scoring.state import FAR_FUTURE, FAR_PAST, Age, DealState, Person
from scoring.tables import AGES, COUNTS

NOTHING = "Nothing needs doing."
"""The recommended action where no reason raises the risk."""
_MAX_REMEMBERED = 30_000
_MAX_STAGES = 2_000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIE = 1 << 20
"""Reasons that weigh the same stand in the order of their features, whatever the model's smallest step."""
_MIDDLE, _LATE = 0.5, 0.75
"""Places in the process."""
_FIRST_COUNT = len(AGES)
_FIRST_FACT = _FIRST_COUNT + len(COUNTS)


class Case(NamedTuple):
    """What a sentence is made from: the deal, the tables of its stage, the figure (whole days, or the bin)."""

    state: DealState
    plan: Plan
    figure: int


Say = Callable[[Case], str]


Ranked = tuple[float, Reason]
"""A reason behind the number that sorts it: raising ones first, the largest first, then lowering ones."""


Remembered = tuple[tuple[int, tuple[bool, ...], dict[Any, Ranked]], ...]
"""Per feature: its place, whether its bins contribute, and its reasons by what their sentences are made from."""


class Explainer:
    """Turns a judged deal into reasons. Sentences with the same figures are made once and remembered."""

    def __init__(self, card: Scorecard) -> None:
        self.card = card
        self._known: dict[tuple[str, bool], tuple[Remembered, Remembered, Remembered]] = {}
        self._count = 0

    def reasons(self, state: DealState, now_ms: int, facts: list[Ranked] | None = None) -> list[Reason]:
        """All contributions of the last ``judge``: what raises the risk first, most first; then what lowers it.

        Features without a contribution are left out; base + Σ contribution is the log-odds of p_lost exactly.
        ``facts``: what ``facts`` returned, if no record changed them since.
        """
        ages, counts, _ = self._known.get((state.stage, state.has_buyer)) or self._remember(state)
        bins = state.bins
        found = (self.facts(state) if facts is None else facts).copy()
        for origin, bin_, (at, matters, known) in zip(state.origins, bins, ages):  # noqa: B905 - ages are the first of all bins
            if matters[bin_]:
                figure = (now_ms - origin) // DAY_MS
                key: Any = figure << 5 | bin_ if at not in _OWN else (bin_, _OWN[at](state, figure))
                found.append(known.get(key) or self._make(state, at, bin_, figure, known, key))
        for at, matters, known in counts:
            bin_ = bins[at]
            if matters[bin_]:
                found.append(known.get(bin_) or self._make(state, at, bin_, bin_, known, bin_))
        found.sort()
        return [reason for _, reason in found]

    def facts(self, state: DealState) -> list[Ranked]:
        """The reasons that only records about the deal change; they may be kept until one does."""
        _, _, facts = self._known.get((state.stage, state.has_buyer)) or self._remember(state)
        bins, found = state.bins, []
        for at, matters, known in facts:
            bin_ = bins[at]
            if matters[bin_]:
                key = bin_, _OWN[at](state, bin_)
                found.append(known.get(key) or self._make(state, at, bin_, bin_, known, key))
        return found

    def _make(self, state: DealState, at: int, bin_: int, figure: int, known: dict[Any, Ranked], key: Any) -> Ranked:
        if self._count >= _MAX_REMEMBERED:
            self._known.clear()
            self._count = 0
        plan = self.card.plan(state.stage)
        contribution = plan.tables[at].points[bin_][0] * plan.point
        rank = (-contribution if contribution > 0 else 1000.0 + contribution) + at / _TIE
        made = known[key] = rank, Reason(plan.tables[at].name, contribution, _SAY[at](Case(state, plan, figure)))
        self._count += 1
        return made

    def _remember(self, state: DealState) -> tuple[Remembered, Remembered, Remembered]:
        if len(self._known) >= _MAX_STAGES:
            self._known.clear()
        rows: Remembered = tuple((at, matters, {}) for at, matters in enumerate(self.card.plan(state.stage).matters))
        made = rows[:_FIRST_COUNT], rows[_FIRST_COUNT:_FIRST_FACT], rows[_FIRST_FACT:]
        self._known[state.stage, state.has_buyer] = made
        return made


def recommended_action(state: DealState, reasons: list[Reason]) -> str:
    """What to do about the reason that raises the risk most; who is meant is named as well as it is known."""
    if not reasons or reasons[0].contribution <= 0:
        return NOTHING
    feature = reasons[0].feature
    if feature in CALLED:
        return call_of(whom(state))
    if feature in ASKED:
        before, after = ASKED[feature]
        return f"{before}{whom(state)}{after}"
    make = _ACTIONS.get(feature)
    return make(state) if make else "Go through the deal with its owner."


def whom(state: DealState) -> str:
    """The person of the buyer to talk to: "Petra Vogel (economic buyer)", or "the buyer" when nobody is known.

    The best role, among those who took part last.
    """
    people, times = state.people, state.people_ms
    if not people:
        return "the buyer"
    return said_of(best_person(people, times))


def said_of(best: Person) -> str:
    """A person as sentences name him: "Petra Vogel (economic buyer)"."""
    role = best.role.replace("_", " ") or ("executive" if best.executive else "")
    said = best.name or best.contact_id
    return f"{said} ({role})" if role else said


def short_date(at_ms: int) -> str:
    """A day as sentences show it, such as "5 Mar" (UTC)."""
    days = at_ms // DAY_MS
    # Civil date from days since 1970, after Hinnant.
    z = days + 719_468
    era_day = z % 146_097
    era_year = (era_day - era_day // 1460 + era_day // 36_524 - era_day // 146_096) // 365
    year_day = era_day - (365 * era_year + era_year // 4 - era_year // 100)
    shifted = (5 * year_day + 2) // 153
    day = year_day - (153 * shifted + 2) // 5 + 1
    return f"{day} {_MONTHS[(shifted + 2) % 12]}"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _ago(count: int) -> str:
    return "today" if count <= 0 else "yesterday" if count == 1 else f"{count} days ago"


def _stage(it: Case) -> str:
    return it.state.stage or "this stage"


def _silence(it: Case) -> str:
    if it.state.origins[Age.SILENCE] == FAR_FUTURE or it.figure < 2:
        return f"Something happened on the deal {_ago(it.figure)}."
    return f"Nothing has happened on the deal for {_days(it.figure)}."


def _buyer(it: Case) -> str:
    usual = it.plan.stage.answer_days
    usually = f"in {_stage(it)} buyers usually answer within {usual}."
    if not it.state.has_buyer:
        if it.figure < usual:
            return f"The deal was opened {_ago(it.figure)}."
        return f"The buyer has not written in {_days(it.figure)}; {usually}"
    if it.figure < usual:
        return f"The buyer wrote {_ago(it.figure)}."
    return f"Buyer silent for {_days(it.figure)}; {usually}"


def _stage_age(it: Case) -> str:
    return f"It has been in {_stage(it)} for {_days(it.figure)}; usually {it.plan.stage.norm_days:g}."


def _age(it: Case) -> str:
    usual = round(it.plan.stage.elapsed_days + it.plan.stage.norm_days)
    return f"Open for {_days(it.figure)}; deals usually leave {_stage(it)} by day {usual}."


def _executive(it: Case) -> str:
    if it.state.origins[Age.EXECUTIVE] == FAR_FUTURE:
        return "No executive of the buyer has taken part."
    return f"An executive of the buyer took part {_ago(it.figure)}."


def _meeting(it: Case) -> str:
    origin = it.state.origins[Age.MEETING]
    if origin != FAR_PAST:
        return f"A meeting is booked for {short_date(origin)}."
    if it.state.cancelled_ms:
        return f"No meeting is booked; the one on {short_date(it.state.cancelled_ms)} was cancelled."
    return "No meeting is booked."


def _next_step(it: Case) -> str:
    if it.state.origins[Age.NEXT_STEP] == FAR_PAST:
        return "No next step is written down."
    if it.state.origins[Age.NEXT_STEP] == FAR_FUTURE:
        return "Nobody ever wrote a next step."
    return f"The next step was written {_ago(it.figure)}."


def _close_date(it: Case) -> str:
    if not it.state.close_date:
        return "There is no close date."
    if it.figure < 0:
        return f"The close date, {it.state.close_date}, is {_days(-it.figure)} away."
    # The date ends with its day: the first hours after it are "passed 1 day ago".
    return f"The close date, {it.state.close_date}, passed {_days(it.figure + 1)} ago."


def _pace(it: Case) -> str:
    left, usual = max(-it.figure, 0), round(it.plan.stage.remaining_days)
    if not it.state.close_date:
        return f"There is no close date; from {_stage(it)} it usually takes {_days(usual)}."
    if it.figure >= 0:
        return f"The close date has passed; from {_stage(it)} it usually takes {_days(usual)}."
    return f"It should close in {_days(left)}; from {_stage(it)} it usually takes {usual}."


def _competitor(it: Case) -> str:
    if it.state.origins[Age.COMPETITOR] == FAR_FUTURE:
        return "No competitor has been named."
    named = f" ({it.state.competitor})" if it.state.competitor else ""
    return f"A competitor{named} was named {_ago(it.figure)}."


def _owner_change(it: Case) -> str:
    if it.state.origins[Age.OWNER] == FAR_FUTURE:
        return "The deal never changed hands."
    return f"The deal changed hands {_ago(it.figure)}."


def _touches(days: int) -> Say:
    texts = (
        f"No contact with the buyer in {days} days.",
        f"Not more than 2 contacts with the buyer in {days} days.",
        f"At least 3 contacts with the buyer in {days} days.",
        f"At least 6 contacts with the buyer in {days} days.",
    )
    return lambda it: texts[it.figure]


def _people(it: Case) -> str:
    if it.figure == 0:
        return "Nobody of the buyer took part in 30 days."
    if it.figure == 1:
        return "Not more than one person of the buyer took part in 30 days."
    return f"At least {(0, 1, 2, 4)[it.figure]} people of the buyer took part in 30 days."


def _stage_place(it: Case) -> str:
    if it.plan.place >= _LATE:
        return f"{_stage(it)} is near the end of the process."
    if it.plan.place >= _MIDDLE:
        return f"{_stage(it)} is in the middle of the process."
    return f"{_stage(it)} is early in the process."


def _pushes(it: Case) -> str:
    if not it.state.pushes:
        return "The close date was never pushed."
    if it.state.pushes == 1:
        return f"The close date was pushed once, by {_days(it.state.pushed_days)}."
    return f"The close date was pushed {it.state.pushes} times, by {_days(it.state.pushed_days)} in all."


def _pushed_days(it: Case) -> str:
    if not it.state.pushed_days:
        return "The close date never moved back."
    return f"The close date moved back by {_days(it.state.pushed_days)} in all."


def _discount(it: Case) -> str:
    peak, amount, unit = it.state.peak_minor or 0, it.state.amount_minor or 0, it.state.currency
    if amount >= peak or it.state.amount_minor is None:
        return "The amount was not cut." if peak else "The amount is not known."
    return f"The amount was cut from {shown(peak, unit)} to {shown(amount, unit)}."


def _amount_change(it: Case) -> str:
    first, amount, unit = it.state.first_minor or 0, it.state.amount_minor or 0, it.state.currency
    if amount <= first or it.state.amount_minor is None:
        return "The amount has not grown." if first else "The amount is not known."
    return f"The amount grew from {shown(first, unit)} to {shown(amount, unit)}."


def _regressions(it: Case) -> str:
    if not it.state.regressions:
        return "It never went back to an earlier stage."
    times = "once" if it.state.regressions == 1 else f"{it.state.regressions} times"
    return f"It went back to an earlier stage {times}."


def _longest_gap(it: Case) -> str:
    longest = it.state.longest_gap_ms // DAY_MS
    if not longest:
        return "There was no pause between contacts."
    return f"There was a pause of {_days(longest)} between contacts."


def _owner_wins(it: Case) -> str:
    if not it.state.owner_points:
        return "Its owner wins as often as most, as far as is known."
    word = "less" if it.state.owner_points < 0 else "more"
    return f"Its owner wins {word} often than most ({it.state.owner_points:+d} points)."


def _segment_wins(it: Case) -> str:
    if not it.state.segment_points:
        return f"Deals in {it.state.segment or 'its segment'} are won as often as most, as far as is known."
    word = "less" if it.state.segment_points < 0 else "more"
    return f"Deals in {it.state.segment} are won {word} often than most ({it.state.segment_points:+d} points)."


_SAY: tuple[Say, ...] = (
    _silence, _buyer, _stage_age, _age, _executive, _meeting, _next_step, _close_date, _pace, _competitor,
    _owner_change, _touches(7), _touches(14), _people, _stage_place, _pushes, _pushed_days, _discount,
    _amount_change, _regressions, _longest_gap, _owner_wins, _segment_wins,
)  # fmt: skip
_OWN: dict[int, Callable[[DealState, int], Any]] = {
    Age.MEETING: lambda state, _: (state.origins[Age.MEETING], state.cancelled_ms),
    Age.CLOSE: lambda state, figure: (state.close_date, figure),
    Age.COMPETITOR: lambda state, figure: (state.competitor, figure),
} | dict(
    enumerate(
        (
            lambda *_: None,
            lambda state, _: (state.pushes, state.pushed_days),
            lambda state, _: state.pushed_days,
            lambda state, _: (state.peak_minor, state.amount_minor, state.currency),
            lambda state, _: (state.first_minor, state.amount_minor, state.currency),
            lambda state, _: state.regressions,
            lambda state, _: state.longest_gap_ms // DAY_MS,
            lambda state, _: state.owner_points,
            lambda state, _: (state.segment, state.segment_points),
        ),
        _FIRST_FACT,
    )
)
"""What a sentence says besides the stage, whether the buyer wrote, the bin and the figure; None where nothing."""


def call_of(said: str) -> str:
    """Call whom ``whom`` said: "Call Petra Vogel, economic buyer."."""
    return f"Call {said[:-1].replace(' (', ', ', 1)}." if said.endswith(")") else f"Call {said}."


def _date(state: DealState) -> str:
    if not state.close_date:
        return f"Ask {whom(state)} for a date and set it."
    if state.bins and state.bins[Age.CLOSE] < CLOSE_PAST:
        return f"Check with {whom(state)} that {state.close_date} can hold."
    return f"Ask {whom(state)} for a date and set it; {state.close_date} has passed."


CALLED = frozenset({"silence", "buyer_silence", "touches_7d", "touches_14d", "longest_gap"})
"""What a call is the answer to."""
ASKED: dict[str, tuple[str, str]] = {
    "meeting": ("Book a meeting with ", "."),
    "age": ("Ask ", " whether there still is a date and a budget."),
    "next_step": ("Agree a next step with ", " and write it down."),
    "pushes": ("Ask ", " what moves the date, before it moves again."),
    "pushed_days": ("Ask ", " what moves the date, before it moves again."),
    "discount": ("Get a commitment from ", " in return for the lower price."),
    "regressions": ("Find out with ", " what was reopened."),
    "owner_change": ("Have the new owner introduced to ", "."),
}
"""Answers that say no more than whom to talk to, between these words."""
_ACTIONS: dict[str, Callable[[DealState], str]] = {
    "buyers_30d": lambda state: f"Bring a second person at {state.account or 'the buyer'} into the deal.",
    "stage_age": lambda state: f"Agree with {whom(state)} what is missing to leave {state.stage or 'this stage'}.",
    "close_date": _date,
    "pace": lambda state: (
        f"Check with {whom(state)} that {state.close_date} can hold." if state.close_date else _date(state)
    ),
    "competitor": lambda state: f"Ask {whom(state)} what {state.competitor or 'the competitor'} offers.",
    "owner_wins": lambda _: "Look at the plan for this deal together with its owner.",
    "segment_wins": lambda _: "Look at the plan for this deal together with its owner.",
    "stage": lambda _: "Check that the deal is qualified.",
}
