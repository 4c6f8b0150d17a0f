"""The simulated present: what happens goes to the gate and into the log when the demo's clock comes to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from heapq import heappop, heappush
from typing import Any

import msgspec
import structlog
from msgspec import UNSET

from console.demo.clock import DemoClock
from events.times import MINUTE_MS
from events.types import ActionEvent, ActivityEvent, ChangeEvent, Event
from governance.gate import GateDecision, GateRequest
from simulator import Simulation
from storage.background import Background
from streams.standalone.types import Busy, Closed

TURN_SECS = 0.04
AHEAD_MS = 30 * MINUTE_MS
MAX_DUE = 400
ANSWER_SECS = 10.0
MAX_REFUSED = 5_000
_log = structlog.get_logger("tripline.demo")
Timed = tuple[int, Event]
Heard = Callable[[ActionEvent, GateDecision], None]
Source = Callable[[int], Sequence[Timed]]
"""Gives what a part of the script adds up to this time."""


class Live(Background):
    """The thread that plays the simulation from now on. Every agent's action asks the gate first.

    Parameters: ``runtime`` takes events and answers gate checks; ``sources`` add to what the simulation does;
    ``heard`` is told each answer of the gate.
    """

    def __init__(
        self, runtime: Any, simulation: Simulation, clock: DemoClock, sources: Sequence[Source], heard: Heard
    ) -> None:
        super().__init__("tripline-demo", stop_secs=ANSWER_SECS)
        self._runtime = runtime
        self._simulation = simulation
        self._clock = clock
        self._sources = sources
        self._heard = heard
        self._planned: deque[Timed] = deque()
        self._extra: list[tuple[int, int, Event]] = []
        self._count = 0
        self._refused: deque[str] = deque(maxlen=MAX_REFUSED)

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                now_ms = self._clock.now_ms()
                self.turn(now_ms)
                self._clock.kept_up(now_ms)
            except Closed:
                return
            except Busy as problem:
                self._stop.wait(problem.retry_secs)
            except Exception:  # the show goes on; what went wrong is in the log
                _log.exception("demo_turn_failed")
                self._stop.wait(0.5)
            self._stop.wait(TURN_SECS)

    def turn(self, now_ms: int) -> None:
        """Let everything happen that is due."""
        while self._simulation.now_ms < now_ms + AHEAD_MS:
            self._planned.extend(self._simulation.hour())
        for source in self._sources:
            for at_ms, event in source(now_ms):
                self._count += 1
                heappush(self._extra, (at_ms, self._count, event))
        while due := self._due(now_ms):
            self._happen(due)

    def _due(self, now_ms: int) -> list[Event]:
        due: list[Event] = []
        planned, extra = self._planned, self._extra
        while len(due) < MAX_DUE and not self._stop.is_set():
            if extra and extra[0][0] <= now_ms and (not planned or extra[0][0] <= planned[0][0]):
                due.append(heappop(extra)[2])
            elif planned and planned[0][0] <= now_ms:
                due.append(planned.popleft()[1])
            else:
                break
        return due

    def _happen(self, due: Sequence[Event]) -> None:
        asked = [(event, self._ask(event)) for event in due]
        batch: list[tuple[bytes, Event]] = []
        for event, future in asked:
            done = self._done(event, future)
            if done is not None:
                batch.append((b"", done))
        if batch:
            self._runtime.ingest(batch, may_wait=True).result(ANSWER_SECS)

    def _ask(self, event: Event) -> Future[GateDecision] | None:
        """An agent asks before it acts; people and the CRM's feed don't."""
        if not isinstance(event, ActionEvent):
            return None
        data = event.data
        request = GateRequest(
            agent_id=data.agent_id,
            action=data.action,
            object=data.object if isinstance(data.object, str) else None,
            record_ids=list(data.record_ids or []),
            changes=dict(data.changes or {}),
            recipient_ids=list(data.recipient_ids or []),
            authorized_by=data.authorized_by if isinstance(data.authorized_by, str) else None,
            trigger=data.trigger if data.trigger is not UNSET else None,
            request_id=event.id,
        )
        future: Future[GateDecision] = self._runtime.check(request)
        return future

    def _done(self, event: Event, future: Future[GateDecision] | None) -> Event | None:
        """The event as it happened; None when the gate let it not happen."""
        if future is None or not isinstance(event, ActionEvent):
            return None if self._was_refused(event) else event
        decision = future.result(ANSWER_SECS)
        self._heard(event, decision)
        if decision.decision != "allow":
            self._refused.append(event.id)
            return None
        return msgspec.structs.replace(
            event, data=msgspec.structs.replace(event.data, decision_id=decision.decision_id)
        )

    def _was_refused(self, event: Event) -> bool:
        """Whether this is the echo of an action that never happened."""
        if isinstance(event, ChangeEvent):
            return event.data.transaction in self._refused
        return isinstance(event, ActivityEvent) and event.id.removesuffix("-mail") in self._refused
