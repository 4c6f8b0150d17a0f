"""Answers of the gate for somebody who lives on an event loop: handed over once a round instead of one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from governance.gate import GateDecision

_log = structlog.get_logger("tripline.runtime")

HandOver = Callable[[list[tuple[Any, GateDecision]]], None]
"""Gets what was decided in a round: (the token given with the check, the decision)."""


class Mailbox:
    """Collects the answers to one caller's checks.

    ``hand_over`` is called with all answers of a round after its commit, in the writer's thread, so it must be quick:
    ``loop.call_soon_threadsafe`` with the list, and nothing else. It may be called in the asking thread when the
    runtime is stopping.
    """

    __slots__ = ("_answers", "_hand_over")

    def __init__(self, hand_over: HandOver) -> None:
        self._hand_over = hand_over
        self._answers: deque[tuple[Any, GateDecision]] = deque()

    def put(self, token: Any, decision: GateDecision) -> None:
        """Add an answer."""
        self._answers.append((token, decision))

    def deliver(self) -> None:
        """Hand over what there is."""
        answers = self._answers
        found: list[tuple[Any, GateDecision]] = []
        while answers:
            found.append(answers.popleft())
        if not found:
            return
        try:
            self._hand_over(found)
        except Exception:  # a caller that went away must not stop the writer
            _log.exception("answers_not_taken", count=len(found))
