"""The budget of false stops: one number, shared out over detectors, and what was spent of it. No I/O, no clock.

Spent are stops that a person called wrong. A rate seen in little time proves little: beside it stands its exact upper
bound (Garwood 1936, one-sided 95 %), and before enough agent-months were seen that bound is what to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from detectors.statistics import poisson_upper_bound
from events.times import DAY_MS
from governance.settings_types import StopBudget

MONTH_MS = 30 * DAY_MS
ALL = "all"
"""The line of all detectors together."""


class Counted(Protocol):
    """Stops of one detector in the window."""

    @property
    def detector(self) -> str:
        """Its name."""

    @property
    def stops(self) -> int:
        """Stops that were acted on."""

    @property
    def wrong(self) -> int:
        """Those called wrong."""

    @property
    def expected(self) -> int:
        """Those that two people agreed to be expected."""


class Line(Struct, frozen=True, kw_only=True):
    """One detector, or all: its budget and what was spent, per agent-month; ``upper``: the rate is at most this (95 %).

    ``allowed`` is the budget in stops over the agent-months seen. ``is_over``: more than that was called wrong.
    """

    detector: str
    budget: float
    allowed: float
    stops: int
    wrong: int
    expected: int
    rate: float | None
    upper: float | None
    is_over: bool


class BudgetState(Struct, frozen=True, kw_only=True):
    """The ledger of a window: agent-months seen, all detectors together, and each."""

    window_days: int
    agents: int
    agent_months: float
    total: Line
    detectors: list[Line]


def shares_of(budget: StopBudget, enforcing: Sequence[str]) -> dict[str, float]:
    """Each detector's share: as the settings say; what they leave is for the others that enforce, in equal parts."""
    given = dict(budget.shares)
    others = [name for name in enforcing if name not in given]
    left = max(0.0, 1.0 - sum(given.values()))
    return {**given, **{name: left / len(others) for name in others}}


def state(
    budget: StopBudget, enforcing: Sequence[str], agents: int, agent_ms: int, counted: Iterable[Counted]
) -> BudgetState:
    """The ledger. Parameters: which detectors enforce, agents seen and for how long together, stops by detector."""
    months, by_name = agent_ms / MONTH_MS, {one.detector: one for one in counted}
    shares = shares_of(budget, enforcing)
    whole = budget.false_stops_per_agent_month
    lines = [
        _line(name, whole * shares.get(name, 0.0), months, _numbers(by_name, [name]))
        for name in sorted({*shares, *by_name})
    ]
    return BudgetState(
        window_days=budget.window_days,
        agents=agents,
        agent_months=months,
        total=_line(ALL, whole, months, _numbers(by_name, list(by_name))),
        detectors=lines,
    )


def _numbers(by_name: Mapping[str, Counted], names: Sequence[str]) -> tuple[int, int, int]:
    known = [by_name[name] for name in names if name in by_name]
    return sum(one.stops for one in known), sum(one.wrong for one in known), sum(one.expected for one in known)


def _line(name: str, budget: float, months: float, numbers: tuple[int, int, int]) -> Line:
    stops, wrong, expected = numbers
    return Line(
        detector=name,
        budget=budget,
        allowed=budget * months,
        stops=stops,
        wrong=wrong,
        expected=expected,
        rate=wrong / months if months > 0 else None,
        upper=poisson_upper_bound(wrong) / months if months > 0 else None,
        is_over=wrong > budget * months,
    )
