"""A thread's own connection to the store, made again when it broke."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from storage.errors import StoreError, StoreUnavailable
from storage.postgres import PgLink, PgStore

_FIRST_RETRY_SECS, _LAST_RETRY_SECS = 0.1, 1.0
T = TypeVar("T")


class Held:
    """Runs functions on a connection. After an error it is rolled back, or closed when it is of no more use.

    Parameters: the store; ``session``, settings of the session such as ``statement_timeout``. While the store can't be
    reached, at most one attempt a second is made to connect; in between StoreUnavailable is raised at once.
    """

    def __init__(self, store: PgStore, **session: str) -> None:
        self._store = store
        self._session = session
        self._link: PgLink | None = None
        self._retry_secs = _FIRST_RETRY_SECS
        self._not_before = 0.0
        self.trouble = ""
        """Why the last attempt failed; "" when it did not."""

    def run(self, function: Callable[[PgLink], T]) -> T:
        """Call a function with the connection. Raises what it raises, and StoreError."""
        link = self._link or self._connect()
        try:
            result = function(link)
        except BaseException as problem:
            self._undo(link)
            if isinstance(problem, StoreError):
                self.trouble = str(problem)
            raise
        self.trouble = ""
        return result

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that was not found to be lost."""
        return self._link is not None

    def close(self) -> None:
        """Give the connection back."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _connect(self) -> PgLink:
        if time.monotonic() < self._not_before:
            raise StoreUnavailable(self.trouble)
        try:
            link = self._store.connect()
            for name, value in self._session.items():
                link.execute(f"SET {name} = '{value}'")
        except StoreError as problem:
            self.trouble = str(problem)
            self._not_before = time.monotonic() + self._retry_secs
            self._retry_secs = min(2 * self._retry_secs, _LAST_RETRY_SECS)
            raise
        self._link, self._retry_secs = link, _FIRST_RETRY_SECS
        return link

    def _undo(self, link: PgLink) -> None:
        with contextlib.suppress(StoreError):
            if link.in_transaction and not link.is_lost:
                link.execute("ROLLBACK")
                return
        if link.is_lost:
            self.close()
