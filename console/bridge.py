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

T = TypeVar("T")
SWEEP_SECS = 0.25


class Bridge:
    """Awaits concurrent futures on one event loop, each for at most ``limit_secs`` (looked at every 0.25 s)."""

    def __init__(self, limit_secs: float) -> None:
        self.limit_secs = limit_secs
        self._ready: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._is_woken = False
        self._sweeper: asyncio.TimerHandle | None = None

    async def result(self, future: Future[T]) -> T:
        """The future's result, or its exception. Raises TimeoutError; the future itself goes on."""
        if future.done():
            return future.result()
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._waiting.append((loop.time() + self.limit_secs, waiter))
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_SECS, self._sweep, loop)
        future.add_done_callback(partial(self._done, loop.call_soon_threadsafe, waiter))
        return await waiter

    def _done(self, call_soon: Callable[..., Any], waiter: asyncio.Future[Any], future: Future[Any]) -> None:
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
            if waiter.done():
                continue
            if future.cancelled():
                waiter.cancel()
            elif (problem := future.exception()) is not None:
                waiter.set_exception(problem)
            else:
                waiter.set_result(future.result())

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now, waiting = loop.time(), self._waiting
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now):
            waiter = waiting.popleft()[1]
            if not waiter.done():
                waiter.set_exception(TimeoutError())
        self._sweeper = loop.call_later(SWEEP_SECS, self._sweep, loop) if waiting else None
