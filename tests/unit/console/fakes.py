"""A runtime that decides at once, in memory, with the real authority's function."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from events.types import By
from governance.control import ControlRequest, ControlRow, decide, first_row
from governance.gate import GateDecision, Rule
from governance.settings import parse_settings
from streams.policies import PolicyInForce
from streams.standalone.mailbox import HandOver, Mailbox
from streams.standalone.types import ACCEPTED, DUPLICATE, Busy, Changes

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
        self.settled: list[int] = []
        self.rows: dict[str, ControlRow] = {}
        self.checks: list[Any] = []
        self.callbacks: list[Callable[[Any], None]] = []
        self.is_busy = self.is_stuck = self.is_broken = False
        self.owners: dict[str, str] = {}
        self.degraded: list[str] = []
        self.warnings: list[str] = []

    policy = None
    policies = PolicyInForce(parse_settings(""))

    def now_ms(self) -> int:
        return NOW_MS

    def ingest(self, events: Any, *, origin_of: Any = None) -> Future[Any]:
        if self.is_busy:
            raise Busy("the backlog is 300 ms old")
        results = []
        for raw, event in events:
            key = (event.source, event.id)
            results.append(DUPLICATE if key in self.taken else ACCEPTED)
            self.taken[key] = raw
        return done(results)

    def decide(self, key: str, function: Any) -> Future[Any]:
        """There is no store behind it: nothing has this id."""
        return done(None)

    def dead_letter(
        self, raw: bytes, reason: str, message: str, origin: Any = None, agent_id: str | None = None
    ) -> Future[int]:
        self.letters.append({"raw": raw, "reason": reason, "message": message, "origin": origin, "agent_id": agent_id})
        return done(len(self.letters))

    def settle_dead_letters(self, ids: Any) -> Future[None]:
        self.settled.extend(ids)
        return done()

    def keep_quality(self, rows: Any) -> Future[None]:
        self.kept = list(rows)
        return done()

    def mailbox(self, hand_over: HandOver) -> Mailbox:
        return Mailbox(hand_over)

    def ask(self, request: Any, box: Mailbox, token: Any) -> None:
        self.checks.append(request)
        if self.is_broken:
            raise RuntimeError("the store is gone")
        if not self.is_stuck:
            box.put(token, gate_decision(self.rows.get(f"default/{request.agent_id}"), len(self.checks)))
            box.deliver()

    def control(self, request: ControlRequest) -> Future[Any]:
        row = self.rows.get(request.key) or first_row(request.key, request.agent_id)
        decision = decide(row, request, NOW_MS, owner=self.owners.get(request.agent_id, ""))
        self.rows[request.key] = decision.row
        self.tell(agents={request.agent_id}, kinds={"control"}, counts={("control", decision.row.state): 1})
        return done(decision)

    def suspend(self, agent_id: str, epoch: int = 7) -> None:
        """As if a detector had stopped it."""
        self.rows[f"default/{agent_id}"] = ControlRow(
            key=f"default/{agent_id}", agent_id=agent_id, state="suspended", epoch=epoch, last_release_epoch=0,
            at_ms=NOW_MS, by=By("detector", "action_rate"), reason="61st record.update in 5 min",
        )  # fmt: skip

    def tell(self, **changes: Any) -> None:
        """Call the subscribers back."""
        nothing: dict[str, Any] = {"agents": (), "deals": (), "kinds": (), "counts": {}, "wrong_records": []}
        for callback in self.callbacks:
            callback(Changes(**{**nothing, **changes}))

    def status(self) -> Any:
        return SimpleNamespace(
            judged_to_ms=NOW_MS, oldest_unjudged_ms=None, queue=0, wal_bytes=4096, log_bytes=0, restarts=0,
            degraded_reasons=self.degraded, troubles=[f"trouble with {name}" for name in self.degraded],
            control_counts={}, suspended_by={}, stop_all=False, warnings=self.warnings,
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
        rule=Rule.SUSPENDED if is_stopped else Rule.ALLOWED,
        epoch=row.epoch if row is not None else 0,
        stanza="",
    )
