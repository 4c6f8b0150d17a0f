"""The delegation board of a running Tripline: who may do what, what was seen of it, and whether more would be ready."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from console.ledger import enforcing
from events.times import DAY_MS, parse_ms
from governance import readiness
from governance.policy import Policy
from governance.policy.board import Proposal, Row, proposals, rows
from governance.readiness import Item, Measured
from governance.settings_types import Settings
from storage.quality import trend
from storage.read import Reader
from storage.read.delegation import Observed

DAYS = 30
KEPT_MS = 60_000
"""What was seen is looked up again after so long: it reads each decision of 30 days."""
_TOLD = frozenset(("bulk", "external"))


class Board(Struct, frozen=True, kw_only=True):
    """Agents, the ten items, the level that follows, and lines that the policy could have instead."""

    rows: list[Row]
    items: list[Item]
    level: int
    proposals: list[Proposal]
    seen_ms: int


class Boards:
    """Makes boards; remembers what was seen for a minute. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: tuple[int, Observed] | None = None

    def make(self, settings: Settings, policy: Policy | None, reader: Reader, now_ms: int) -> Board:
        """The board as of now. Blocks while it reads."""
        seen_ms, seen = self._observed(reader, now_ms)
        found = readiness.items(_measured(settings, policy, reader, seen, now_ms))
        level = readiness.level_of(found)
        return Board(
            rows=rows(policy, seen.seen, seen.reverts) if policy is not None else [],
            items=found,
            level=level,
            proposals=proposals(policy, seen.seen, seen.reverts, seen.old, level) if policy is not None else [],
            seen_ms=seen_ms,
        )

    def forget(self) -> None:
        """Something was stated: look again."""
        with self._lock:
            self._seen = None

    def _observed(self, reader: Reader, now_ms: int) -> tuple[int, Observed]:
        with self._lock:
            if self._seen is None or not 0 <= now_ms - self._seen[0] < KEPT_MS:
                self._seen = now_ms, reader.delegation(now_ms - DAYS * DAY_MS)
            return self._seen


def _measured(
    settings: Settings, policy: Policy | None, reader: Reader, seen: Observed, now_ms: int
) -> Measured:  # fmt: skip
    last = next(iter(reader.drills(1)), None)
    scores = trend(reader)
    return Measured(
        now_ms=now_ms,
        has_policy=policy is not None,
        decisions=seen.decisions,
        shadow_writes=seen.shadow_writes,
        unbounded=sorted({*settings.agents, *seen.seen} - _bounded(policy)),
        untold=sorted(_untold(policy)),
        has_target=bool(settings.notifications.targets),
        enforcing=enforcing(settings),
        quality=scores[-1].score if scores else None,
        drill_ms=parse_ms(last.at) if last is not None else 0,
        drill_passed=last is not None and last.passed,
        stated=seen.stated,
    )


def _bounded(policy: Policy | None) -> set[str]:
    """Agents of which some group of scopes leaves something out."""
    if policy is None:
        return set()
    is_all: Callable[[Any], bool] = lambda place: "*" in place.objects and "*" in place.fields  # noqa: E731
    return {name for name, grant in policy.agents.items() if any(not any(map(is_all, group)) for group in grant.inside)}


def _untold(policy: Policy | None) -> set[str]:
    if policy is None:
        return set()
    return {
        name
        for name, grant in policy.agents.items()
        if not {on for route in grant.routes if route in policy.routes for on in policy.routes[route].on} >= _TOLD
    }
