"""Who wants to hear what changed: the pages, the metrics."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from streams.standalone.types import Changes

Subscriber = Callable[[Changes], None]
_log = structlog.get_logger("tripline.runtime")


class Subscribers:
    """Those who are to be told; they may come and go from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: tuple[Subscriber, ...] = ()

    def add(self, callback: Subscriber) -> Callable[[], None]:
        """Tell this one too; returns how to end it."""
        with self._lock:
            self._all = (*self._all, callback)

        def end() -> None:
            with self._lock:
                self._all = tuple(each for each in self._all if each is not callback)

        return end

    def tell(self, changes: Changes) -> None:
        """Tell all, in the caller's thread."""
        for callback in self._all:
            try:
                callback(changes)
            except Exception:  # a page that went away must not stop the one who decides
                _log.exception("subscriber_failed")
