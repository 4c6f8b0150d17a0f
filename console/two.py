"""What takes two people: the first one's request waits for another person, for ten minutes."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from msgspec import Struct

WAIT_MS = 10 * 60_000


class Pending(Struct, frozen=True, kw_only=True):
    """A request of one person that waits for a second one."""

    confirm: str
    by: str
    reason: str
    epoch: int
    expires_ms: int


class TwoPeople:
    """Holds at most one request, in memory: a restart forgets it, and the first person asks again."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._pending: Pending | None = None

    @property
    def pending(self) -> Pending | None:
        """The request that waits, if it hasn't expired."""
        if self._pending is not None and self._pending.expires_ms <= self._now_ms():
            self._pending = None
        return self._pending

    def ask(self, by: str, reason: str, epoch: int) -> Pending:
        """Put a request; it takes the place of one that waits."""
        self._pending = Pending(
            confirm=secrets.token_hex(8), by=by, reason=reason, epoch=epoch, expires_ms=self._now_ms() + WAIT_MS
        )
        return self._pending

    def confirm(self, confirm: str, by: str) -> Pending | None:
        """The request that another person than its maker confirms, taken out; None when there is no such."""
        pending = self.pending
        if pending is None or not secrets.compare_digest(pending.confirm.encode(), confirm.encode()):
            return None
        if pending.by.casefold() == by.casefold():
            return None
        self._pending = None
        return pending
