"""Looks at the store once a second: is it there, are its tables up to date, how many agents are stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import structlog
from msgspec import Struct

from storage import shared
from storage.background import Background
from storage.errors import StoreError
from storage.postgres import PgLink, PgStore
from streams.kafka.office.held import Held

_LOOK_SECS = 1.0
_log = structlog.get_logger("tripline.console")


class Counts(Struct, frozen=True):
    """Agents by control state, suspended ones by who stopped them, and whether everything is stopped."""

    states: Mapping[str, int] = {}
    suspended_by: Mapping[str, int] = {}
    stop_all: bool = False


class Watch(Background):
    """The thread. ``opened`` is called once, when the store is there and its tables are of this version.

    ``chore`` is called at each look with the connection.
    """

    def __init__(
        self,
        store: PgStore,
        opened: Callable[[], None],
        chore: Callable[[PgLink], None],
    ) -> None:
        super().__init__("tripline-watch")
        self._store = store
        self._opened = opened
        self._chore = chore
        self._held = Held(store, statement_timeout="5s")
        self.counts = Counts()
        self.is_open = False
        """Whether the store was found, with tables of this version, since the start."""
        self.trouble = f"{store} was not met yet"

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except StoreError as problem:
                if not self.trouble:
                    _log.error("store_lost", problem=str(problem))
                self.trouble = str(problem)
            except Exception as problem:  # the thread must outlive whatever happens
                _log.exception("watch_failed")
                self.trouble = repr(problem)
            self._stop.wait(_LOOK_SECS)
        self._held.close()

    def _look(self) -> None:
        if not self.is_open:
            self._store.migrate()
            self.is_open = True
            self._opened()
            _log.info("store_opened", store=str(self._store))
        found = self._held.run(shared.control_counts)
        states: Counter[str] = Counter()
        suspended_by: Counter[str] = Counter()
        stop_all = False
        for state, by_kind, is_all, number in found:
            if is_all:
                stop_all = stop_all or state == "suspended"
                continue
            states[state] += number
            if state == "suspended":
                suspended_by[by_kind] += number
        self.counts = Counts(states, suspended_by, stop_all)
        self._do_chore()
        self.trouble = ""

    def _do_chore(self) -> None:
        try:
            self._held.run(self._chore)
        except StoreError as problem:  # counts for pages: the store's trouble is told by who needs it
            _log.warning("refusals_not_counted", problem=str(problem))
