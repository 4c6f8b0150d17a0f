"""What a drill measured, and whether it kept what is promised. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from events.types import Name

Scenario = Literal["record_loop", "kill_switch"]


class Spread(Struct, frozen=True):
    """Median, 99th percentile and maximum of a figure over the trips of a drill."""

    p50: float
    p99: float
    max: float


class Trip(Struct, frozen=True, kw_only=True):
    """One stop of one rogue agent.

    ``admitted_after``: operations admitted at or after the moment of the decision; ``in_flight``: of those, asked at
    the gate before it. ``bound``: what is promised, ``credits`` left at that moment or what the rate allows until the
    leases end, whichever is less, and what was in flight. Times in milliseconds: from the first rogue action to the
    decision, from there to the last operation admitted, and to the moment when every gate that can be reached had
    refused.
    """

    admitted_after: int
    in_flight: int
    credits: int
    bound: int
    detect_ms: float
    contain_ms: float
    verify_ms: float


class DrillResult(Struct, frozen=True, kw_only=True):
    """A drill: how it was set up, what it measured, and in how many trips more was admitted than promised."""

    id: Name
    at: str
    by: str
    scenario: Scenario
    trips: int
    gates: int
    has_partition: bool
    rate_per_sec: float
    credits: int
    ttl_ms: int
    report_ms: int
    exceeded: int
    failed: int
    admitted_after: Spread
    bound: Spread
    detect_ms: Spread
    contain_ms: Spread
    verify_ms: Spread
    problems: list[str] = []
    cut_secs: float = 0.0
    """For how long one gate was cut off; 0: none was, or until nothing more could come of it."""

    @property
    def passed(self) -> bool:
        """Whether every trip was made, and kept the bound."""
        return self.exceeded == 0 and self.failed == 0 and self.trips > 0


def spread(figures: Sequence[float]) -> Spread:
    """The spread of some figures, by the nearest rank; zeros of none."""
    if not figures:
        return Spread(0, 0, 0)
    ranked = sorted(figures)
    return Spread(*(round(ranked[_rank(share, len(ranked))], 1) for share in (0.5, 0.99, 1.0)))


def _rank(share: float, count: int) -> int:
    return max(0, -int(-share * count // 1) - 1)


def exceeds(trip: Trip) -> bool:
    """Whether more was admitted than promised."""
    return trip.admitted_after > trip.bound


def bound_of(left: Sequence[int], rates: Sequence[float], secs: Sequence[float], in_flight: int) -> int:
    """What is promised: for each holder its credits left, or what its rate (operations a second, at least one begun)
    allows until its lease ends, whichever is less; and what is in flight."""
    each = [min(one, int(rate * span) + 1) for one, rate, span in zip(left, rates, secs, strict=True)]
    return sum(each) + in_flight
