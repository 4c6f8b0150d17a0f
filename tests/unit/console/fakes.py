"""A runtime that decides at once, in memory, with the real authority's function."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from events.types import By
from governance.control import ControlRequest, ControlRow, decide, first_row
from governance.gate import GateDecision, Rule
from streams.standalone.types import ACCEPTED, DUPLICATE, Busy, Changed

NOW_MS = 1_772_442_843_120


def done(value: Any = None, problem: Exception | None = None) -> Future[Any]:
    """A future that is done already."""
    future: Future[Any] = Future()
    if problem is not None:
        future.set_exception(problem)
    else:
        future.set_result(value)
    return future


class FakeRuntime:
    """Keeps what it was given; ``is_busy``, ``is_stuck`` and ``is_broken`` make it fail."""

    def __init__(self) -> None:
        self.taken: dict[tuple[str, str], bytes] = {}
        self.letters: list[dict[str, Any]] = []
        self.afters: list[Any] = []
        self.rows: dict[str, ControlRow] = {}
        self.checks: list[Any] = []
        self.callbacks: list[Callable[[Any], None]] = []
        self.is_busy = self.is_stuck = self.is_broken = False
        self.owners: dict[str, str] = {}
        self.degraded: list[str] = []
        self.counts: dict[str, int] = {}

    @property
    def clock(self) -> Any:
        return SimpleNamespace(now_ms=lambda: NOW_MS)

    def ingest(self, events: Any, *, after: Any = None) -> Future[Any]:
        if self.is_busy:
            raise Busy("the backlog is 300 ms old")
        results = []
        for raw, event in events:
            key = (event.source, event.id)
            results.append(DUPLICATE if key in self.taken else ACCEPTED)
            self.taken[key] = raw
        if after is not None:
            self.afters.append(after)
        return done(results)

    def dead_letter(
        self, raw: bytes, reason: str, message: str, origin: Any = None, agent_id: str | None = None
    ) -> Future[int]:
        self.letters.append({"raw": raw, "reason": reason, "message": message, "origin": origin, "agent_id": agent_id})
        return done(len(self.letters))

    def check(self, request: Any) -> Future[GateDecision]:
        self.checks.append(request)
        if self.is_stuck:
            return Future()
        if self.is_broken:
            return done(problem=RuntimeError("the store is gone"))
        row = self.rows.get(f"default/{request.agent_id}")
        return done(gate_decision(row, len(self.checks)))

    def control(self, request: ControlRequest) -> Future[Any]:
        row = self.rows.get(request.key) or first_row(request.key, request.agent_id)
        decision = decide(row, request, NOW_MS, owner=self.owners.get(request.agent_id, ""))
        self.rows[request.key] = decision.row
        self.counts[f"control:{decision.row.state}"] = self.counts.get(f"control:{decision.row.state}", 0) + 1
        self.tell(Changed("control", request.key))
        return done(decision)

    def suspend(self, agent_id: str, epoch: int = 7) -> None:
        """As if a detector had stopped it."""
        self.rows[f"default/{agent_id}"] = ControlRow(
            key=f"default/{agent_id}", agent_id=agent_id, state="suspended", epoch=epoch, last_release_epoch=0,
            at_ms=NOW_MS, by=By("detector", "action_rate"), reason="61st record.update in 5 min",
        )  # fmt: skip

    def tell(self, *changes: Changed) -> None:
        """Call the subscribers back."""
        for callback in self.callbacks:
            callback(changes)

    def status(self) -> Any:
        return SimpleNamespace(
            judged_to_ms=NOW_MS, oldest_unjudged_ms=None, degraded=self.degraded, queued=0, wal_bytes=0,
            counts=self.counts,
        )  # fmt: skip

    def subscribe(self, callback: Callable[[Any], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def close(self) -> None:
        pass


def gate_decision(row: ControlRow | None, number: int) -> GateDecision:
    """Deny what is suspended, allow the rest."""
    is_stopped = row is not None and row.state == "suspended"
    return GateDecision(
        decision="deny" if is_stopped else "allow",
        decision_id=f"d-{number}",
        reason="suspended; only a person can release" if is_stopped else "within its limits",
        rule=next(rule for rule in Rule if (rule == "suspended") == is_stopped),
        epoch=row.epoch if row is not None else 0,
        stanza="",
    )
