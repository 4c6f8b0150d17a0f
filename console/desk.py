"""The gate's desk on the event loop: checks go to the runtime, and the answers of a round come back by one wake-up.

A future a check, and a timer a check, would cost more than the check itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from console.ports import Runtime
from governance.gate import GateDecision, GateRequest
from streams.standalone.mailbox import Mailbox

SWEEP_SECS = 0.25
Told = Callable[[GateDecision | None], None]
"""Is called on the loop with the decision, or with None when it took too long."""
_log = structlog.get_logger("tripline.gate")


class _Waiter:
    __slots__ = ("told",)

    def __init__(self, told: Told) -> None:
        self.told: Told | None = told

    def tell(self, decision: GateDecision | None) -> None:
        told, self.told = self.told, None
        if told is None:
            return
        try:
            told(decision)
        except Exception as problem:  # of one who waits; the others still want to hear
            _log.error("gate.answer_failed", problem=repr(problem), exc_info=problem)


class Desk:
    """Asks the runtime and waits, for each check at most ``limit_secs`` (looked at every 0.25 s)."""

    def __init__(self, runtime: Runtime, limit_secs: float) -> None:
        self.limit_secs = limit_secs
        self._runtime = runtime
        self._loop: asyncio.AbstractEventLoop | None = None
        self._box: Mailbox | None = None
        self._waiting: deque[tuple[float, _Waiter]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None

    def ask(self, asked: GateRequest, told: Told) -> None:
        """Ask; ``told`` is called once, later, on the running loop. Whatever the runtime raises is the caller's."""
        loop = asyncio.get_running_loop()
        box = self._box if loop is self._loop else None
        if box is None:
            box = self._open(loop)
        waiter = _Waiter(told)
        self._runtime.ask(asked, box, waiter)
        self._waiting.append((loop.time() + self.limit_secs, waiter))
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_SECS, self._sweep, loop)

    def _open(self, loop: asyncio.AbstractEventLoop) -> Mailbox:
        """One mailbox a loop; there is one loop, but for tests that start an application again."""

        def hand_over(answers: list[tuple[Any, GateDecision]]) -> None:
            try:
                loop.call_soon_threadsafe(_tell, answers)
            except RuntimeError:  # the loop has been closed: nobody waits any more
                return

        self._loop, self._box, self._sweeper = loop, self._runtime.mailbox(hand_over), None
        self._waiting.clear()
        return self._box

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now, waiting = loop.time(), self._waiting
        while waiting and (waiting[0][1].told is None or waiting[0][0] <= now):
            waiting.popleft()[1].tell(None)
        self._sweeper = loop.call_later(SWEEP_SECS, self._sweep, loop) if waiting else None


def _tell(answers: list[tuple[Any, GateDecision]]) -> None:
    for waiter, decision in answers:
        waiter.tell(decision)
