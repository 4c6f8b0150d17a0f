"""When many agents fail alike at once, nobody in particular is to blame: one incident, no stops for it.

A detector names what could be behind its opinion (``detectors.base.Cause``). Before such an opinion is said, the agents
of the same tenant in this partition are counted that acted since this agent began to fail, and those of them that fail
alike. What other partitions counted comes as ``FailingEvent`` records, so the answer follows from this partition's
records alone; why it is so: docs/adr/0015-nobodys-fault.md.

What was decided is kept with the offset of its record, and goes into every snapshot: when records are judged again
behind an older snapshot, some agents' states are newer than the record in hand, and nothing can be counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from xxhash import xxh3_128_hexdigest

from detectors.base import Cause, Evidence
from events.times import DAY_MS, HOUR_MS, MINUTE_MS, format_ms
from streams.envelopes import make_key, split_key

DETECTOR = "common_cause"
"""Under this name the incident is said."""
LOOK_BACK_MS = 10 * MINUTE_MS
"""Nothing older counts as happening at once."""
SPAN_MS = 10 * MINUTE_MS
"""For so long nobody is blamed for the error; then it is counted again."""
SPANS_A_DAY = 24
"""So often in 24 hours, 4 hours in all, an error is nobody's fault; after that each agent answers for itself."""
CLASSES_A_DAY = 8
ALL_OF = 3
"""So many are enough where everybody who acts fails."""
AGAIN_MS = 30 * MINUTE_MS
"""An error that comes back after so long is said again."""
HEARD_MS = MINUTE_MS
REPORT_MS = 5_000
COUNT_MS = 100
"""Agents are counted at most once in this time (of the log), however many fail."""
_MOST_DECIDED = 256
_MOST_HEARD = 64

Verdict = Literal["alone", "wait", "excused", "opened"]
"""Its own fault; too early to say; a known incident; an incident that begins here."""


class Decided(Struct, array_like=True):
    """What was decided at a record: nobody is blamed for the error until ``until_ms``; 0 = this one opinion waits."""

    offset: int
    scope: str
    at_ms: int
    until_ms: int


class Heard(Struct, array_like=True):
    """What another partition counted."""

    scope: str
    partition: int
    at_ms: int
    failing: int
    acted: int


class Count(Struct, frozen=True):
    """Of the agents that acted since ``since_ms``: how many, and how many of them fail alike, the asking one included.

    ``active``: how many acted within ``LOOK_BACK_MS``.
    """

    failing: int
    acted: int
    active: int


class Memory(Struct, array_like=True):
    """What is kept of decisions, as of the record ``offset``, the last at which one was made; −1: none ever."""

    offset: int = -1
    decided: list[Decided] = []
    counted_ms: int = -COUNT_MS
    reported: dict[str, int] = {}


class CommonCause:
    """What one partition knows of errors that are nobody's fault. A scope is an error class of one tenant."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.reach = 0
        """Below this offset nothing is decided anew: it was, and is remembered."""
        self.memory = Memory()

    # --- decisions ----------------------------------------------------------------------------------------------

    def known(self, scope: str, offset: int, at_ms: int) -> Verdict | None:
        """What follows from what was decided before; None: it is to be decided now."""
        for one in self.memory.decided:
            if one.scope == scope and one.offset <= offset:
                if one.until_ms > at_ms:
                    return "excused"
                if one.offset == offset:
                    return "wait"
        return "alone" if offset < self.reach else None

    def may_count(self, at_ms: int) -> bool:
        """Whether it is time to count the agents again."""
        return at_ms - self.memory.counted_ms >= COUNT_MS

    def decide(self, cause: Cause, scope: str, offset: int, at_ms: int, count: Count | None) -> Verdict:
        """Decide on an opinion of record ``offset``. Without a count (it is too early for one) it may only wait."""
        self.memory.offset = offset
        if count is None:
            return self._wait(scope, offset, at_ms) if cause.tries < cause.together_until else "alone"
        self.memory.counted_ms = at_ms
        others = count.acted - 1
        is_alike = others > 0 and count.failing - 1 >= cause.share * others
        enough = ALL_OF if count.failing == count.acted else cause.agents
        if is_alike and count.failing >= enough and self._may_open(scope, at_ms):
            is_news = not any(one.scope == scope and one.until_ms > at_ms - AGAIN_MS for one in self.memory.decided)
            self._keep(Decided(offset, scope, at_ms, at_ms + SPAN_MS))
            return "opened" if is_news else "excused"
        if is_alike and count.failing < cause.agents and cause.tries < cause.together_until:
            return self._wait(scope, offset, at_ms)
        if not others and count.active >= cause.agents and cause.tries < cause.alone_until:
            return self._wait(scope, offset, at_ms)
        return "alone"

    def with_others(self, scope: str, count: Count, at_ms: int) -> Count:
        """A count with what other partitions said lately."""
        fresh = [one for one in self.heard if one.scope == scope and at_ms - one.at_ms <= HEARD_MS]
        acted = sum(one.acted for one in fresh)
        return Count(count.failing + sum(one.failing for one in fresh), count.acted + acted, count.active + acted)

    def _may_open(self, scope: str, at_ms: int) -> bool:
        tenant = make_key(split_key(scope)[0], "")
        spans = [
            one.scope
            for one in self.memory.decided
            if one.until_ms and one.at_ms > at_ms - DAY_MS and one.scope.startswith(tenant)
        ]
        return spans.count(scope) < SPANS_A_DAY and len({*spans, scope}) <= CLASSES_A_DAY

    def _wait(self, scope: str, offset: int, at_ms: int) -> Verdict:
        self._keep(Decided(offset, scope, at_ms, 0))
        return "wait"

    def _keep(self, one: Decided) -> None:
        """Spans are kept for a day, what waited as long as records may have to be judged again."""
        at_ms = one.at_ms
        kept = [old for old in self.memory.decided if at_ms - old.at_ms < (DAY_MS if old.until_ms else HOUR_MS)]
        if len(kept) >= _MOST_DECIDED:  # many waited: they go first
            waited = next((place for place, old in enumerate(kept) if not old.until_ms), 0)
            del kept[waited]
        self.memory.decided = [*kept, one]

    # --- other partitions ---------------------------------------------------------------------------------------

    def should_report(self, scope: str, at_ms: int) -> bool:
        """Whether the other partitions are to hear of this error now; remembered if so."""
        told_ms = self.memory.reported
        if at_ms - told_ms.get(scope, -REPORT_MS) < REPORT_MS:
            return False
        recent = {name: told for name, told in told_ms.items() if at_ms - told < REPORT_MS}
        self.memory.reported = {**recent, scope: at_ms}
        return True

    def hear(self, one: Heard) -> None:
        """Another partition counted; its newest count of an error takes the place of the one before."""
        kept = [
            old
            for old in self.heard
            if one.at_ms - old.at_ms <= HEARD_MS and (old.scope, old.partition) != (one.scope, one.partition)
        ]
        self.heard = [*kept[-(_MOST_HEARD - 1) :], one]

    # --- state --------------------------------------------------------------------------------------------------

    def lately(self, at_ms: int) -> Memory:
        """For an agent's snapshot: all of it, if the last decision may be newer than the partition's own snapshot."""
        memory = self.memory
        last_ms = max(memory.counted_ms, memory.decided[-1].at_ms if memory.decided else -HOUR_MS)
        return memory if at_ms - last_ms < HOUR_MS else Memory()

    def remember(self, memory: Memory) -> None:
        """Take decisions back, from each snapshot there is: the newest holds all the others."""
        if memory.offset > self.memory.offset:
            self.memory = memory
            self.reach = max(self.reach, memory.offset + 1)


def count_failing(acted_ms: Iterable[tuple[int, bool]], since_ms: int, at_ms: int) -> Count:
    """Count agents; each with the time of its last action, and whether it fails like the one that asks."""
    failing = acted = active = 0
    for last_ms, is_failing in acted_ms:
        if last_ms >= at_ms - LOOK_BACK_MS:
            active += 1
            if last_ms >= since_ms:
                acted += 1
                failing += is_failing
    return Count(failing, acted, active)


def incident_id(engine_id: str, scope: str, at_ms: int) -> str:
    """The identity of an incident's finding: the same from each partition that finds it in the same half hour."""
    return xxh3_128_hexdigest("\x1f".join((engine_id, DETECTOR, scope, str(at_ms // AGAIN_MS))).encode())


def incident(cause: Cause, count: Count, since_ms: int, at_ms: int) -> Evidence:
    """The one finding that says it."""
    since, until = format_ms(since_ms)[11:16], format_ms(at_ms + SPAN_MS)[11:16]
    return Evidence(
        wanted="notify",
        severity="critical",
        summary=(
            f"{count.failing} of {count.acted} agents that acted since {since} UTC fail with "
            f"{cause.label}: the CRM or what leads to it is failing, not one agent. Nobody is stopped for this error "
            f"until {until} UTC, and longer while it goes on"
        ),
        observed=count.failing,
        expected=1,
        limit=cause.agents,
        unit="agents that fail alike",
        would_clear=f"fewer than {cause.agents} agents, or less than {cause.share:.0%} of the others that act, fail so",
        topic=cause.label,
        details={"error_class": cause.label, "failing": count.failing, "acted": count.acted, "since_ms": since_ms},
    )
