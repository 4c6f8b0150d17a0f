"""Brings results from the runtime's thread to the event loop: one wake-up for all that became ready together.

``asyncio.wrap_future`` wakes the loop once a result, and ``asyncio.timeout`` makes a timer each; at a thousand gate
checks a second, committed in groups, both cost more than the check itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import structlog

T = TypeVar("T")
SWEEP_SECS = 0.25
Told = Callable[[Future[Any] | None], None]
"""Is called on the loop with a future that is done, or with None when it took too long."""
_log = structlog.get_logger("tripline.console")


class _Waiter:
    __slots__ = ("told",)

    def __init__(self, told: Told) -> None:
        self.told: Told | None = told

    def tell(self, future: Future[Any] | None) -> None:
        told, self.told = self.told, None
        if told is None:
            return
        try:
            told(future)
        except Exception as problem:  # of one who waits; the others still want to hear
            _log.error("bridge.failed", problem=repr(problem), exc_info=problem)


class Bridge:
    """Waits for concurrent futures on one event loop, for each at most ``limit_secs`` (looked at every 0.25 s)."""

    def __init__(self, limit_secs: float | None = None) -> None:
        self.limit_secs = limit_secs
        self._ready: deque[tuple[_Waiter, Future[Any]]] = deque()
        self._waiting: deque[tuple[float, _Waiter]] = deque()
        self._is_woken = False
        self._sweeper: asyncio.TimerHandle | None = None

    def when_done(self, future: Future[Any], told: Told) -> None:
        """Call ``told`` once, later, on the running loop; the future itself goes on when it took too long."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(told)
        if self.limit_secs is not None:
            self._waiting.append((loop.time() + self.limit_secs, waiter))
            if self._sweeper is None:
                self._sweeper = loop.call_later(SWEEP_SECS, self._sweep, loop)
        future.add_done_callback(partial(self._done, loop.call_soon_threadsafe, waiter))

    async def settled(self, future: Future[T]) -> Future[T] | None:
        """The future when it is done; None when it took too long."""
        if future.done():
            return future
        told: asyncio.Future[Future[T] | None] = asyncio.get_running_loop().create_future()
        self.when_done(future, lambda result: None if told.done() else told.set_result(result))
        return await told

    def _done(self, call_soon: Callable[..., Any], waiter: _Waiter, future: Future[Any]) -> None:
        """In the runtime's thread."""
        self._ready.append((waiter, future))
        if not self._is_woken:
            self._is_woken = True
            try:
                call_soon(self._hand_over)
            except RuntimeError:  # the loop has been closed: nobody waits any more
                self._ready.clear()

    def _hand_over(self) -> None:
        self._is_woken = False  # before looking: what comes in after the last look wakes the loop again
        while self._ready:
            waiter, future = self._ready.popleft()
            waiter.tell(future)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now, waiting = loop.time(), self._waiting
        while waiting and (waiting[0][1].told is None or waiting[0][0] <= now):
            waiting.popleft()[1].tell(None)
        self._sweeper = loop.call_later(SWEEP_SECS, self._sweep, loop) if waiting else None
