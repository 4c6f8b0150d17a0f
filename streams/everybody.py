"""What all agents of a tenant were admitted together in 24 hours, for the ceiling that a policy sets."""

from __future__ import annotations

from collections.abc import Iterable

from events.times import DAY_MS
from governance import leases
from governance.limits import Budgets
from governance.operation import Operation
from storage import gate as gate_store
from storage import leases as lease_store
from storage.gate import Row
from storage.link import Link

_SLACK_MS = 100
"""The store's clock may be set back by this much between two looks."""
_MOST_SEEN = 10_000


class Everybody:
    """The counters of a tenant. Each admission counts once, whoever tells it and however often."""

    __slots__ = ("_last_ms", "_lent", "_seen", "budgets")

    def __init__(self) -> None:
        self.budgets = Budgets()
        self._seen: dict[str, int] = {}
        self._lent: dict[str, int] = {}
        """How many operations were known of each lease that is not given back."""
        self._last_ms = 0

    def bring_up_to_date(self, link: Link, tenant: str, now_ms: int, more: Iterable[Row] = ()) -> None:
        """Take what was admitted since the last time, by whomever; ``more``: decisions that are not filed yet. And what
        leases of all agents may take yet, see ``set_aside``.

        To be called with the tenant locked, or where nobody else admits.
        """
        first_ms = now_ms - DAY_MS
        since_ms = max(first_ms, self._last_ms - _SLACK_MS)
        is_first = not self._last_ms
        found = list(gate_store.admitted_by_all(link, tenant, since_ms, is_first=is_first))
        for lease_id in self._lend(link, tenant, now_ms):
            found += [] if is_first else gate_store.admitted_under(link, lease_id, since_ms)
        for id_, at_ms, operation in sorted(found, key=lambda one: one[1]):
            self.take(id_, operation, at_ms)
        for id_, at_ms, operation in gate_store.admitted_in(more, tenant):
            self.take(id_, operation, at_ms)
        self._last_ms = now_ms
        self._forget(now_ms)

    def _lend(self, link: Link, tenant: str, now_ms: int) -> list[str]:
        """Set aside what leases may take yet. Returns those under which more was reported since the last time."""
        held = lease_store.held_by_all(link, tenant, now_ms - leases.FORGOTTEN_MS)
        self.budgets.set_aside = {one.lease_id: leases.set_aside(one) for one in held if one.records_left}
        before, self._lent = self._lent, {one.lease_id: one.actions for one in held}
        return sorted(id_ for id_ in before.keys() | self._lent.keys() if self._lent.get(id_) != before.get(id_))

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
