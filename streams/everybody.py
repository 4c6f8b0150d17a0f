"""What all agents of a tenant were admitted together in 24 hours, for the ceiling that a policy sets."""

from __future__ import annotations

from collections.abc import Iterable

from events.times import DAY_MS
from governance.limits import Budgets
from governance.operation import Operation
from storage import gate as gate_store
from storage.gate import Row
from storage.link import Link

_SLACK_MS = 100
"""The store's clock may be set back by this much between two looks."""
_MOST_SEEN = 10_000


class Everybody:
    """The counters of a tenant. Each admission counts once, whoever tells it and however often."""

    __slots__ = ("_last_ms", "_seen", "budgets")

    def __init__(self) -> None:
        self.budgets = Budgets()
        self._seen: dict[str, int] = {}
        self._last_ms = 0

    def bring_up_to_date(self, link: Link, tenant: str, now_ms: int, more: Iterable[Row] = ()) -> None:
        """Take what was admitted since the last time, by whomever; ``more``: decisions that are not filed yet.

        To be called with the tenant locked, or where nobody else admits.
        """
        first_ms = now_ms - DAY_MS
        since_ms = max(first_ms, self._last_ms - _SLACK_MS)
        for id_, at_ms, operation in gate_store.admitted_by_all(link, tenant, since_ms, is_first=not self._last_ms):
            self.take(id_, operation, at_ms)
        for id_, at_ms, operation in gate_store.admitted_in(more, tenant):
            self.take(id_, operation, at_ms)
        self._last_ms = now_ms
        self._forget(now_ms)

    def take(self, decision_id: str, operation: Operation, at_ms: int) -> None:
        """Count an admission."""
        if decision_id not in self._seen:
            self._seen[decision_id] = at_ms
            self.budgets.admit(operation, at_ms)
            if len(self._seen) > _MOST_SEEN:
                self._forget(at_ms)

    def _forget(self, now_ms: int) -> None:
        """Ids that nobody tells again."""
        self._seen = {id_: at_ms for id_, at_ms in self._seen.items() if at_ms >= now_ms - 2 * _SLACK_MS}
