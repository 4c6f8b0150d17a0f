"""Leases on the holder's side: what may be admitted without asking, and what is to be told. No I/O, no threads.

A holder admits an operation when it is in the lease's scope, a credit is left, and the lease's time is not over, by a
clock that goes on while the machine sleeps. In doubt it does not, and the gate is asked.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tripline_client.messages import ONLY_REPORTED, Decision, Operation

LEASES_PATH = "/v1/leases"
Kind = Literal["grant", "report", "renew", "return"]
_BOOT = getattr(time, "CLOCK_BOOTTIME", None)
_MARGIN = 0.01
"""Clocks of two machines may differ in speed by this share."""
_LEAST_MARGIN_SECS = 0.02
_OK, _CLIENT_ERROR, _SERVER_ERROR, _TIMED_OUT, _TOO_MANY = 200, 400, 500, 408, 429
_FIRST_PAUSE_SECS, _LAST_PAUSE_SECS = 0.2, 5.0
_MOST_AT_ONCE = 500
_OUTCOME = re.compile(r"outcomes\[(\d+)\]")
_IN_A_LEASE = ONLY_REPORTED | {"object", "record_ids", "changes", "records", "authorized_by", "trigger", "system"}


class Moment(NamedTuple):
    """When, by a clock that goes on while the machine sleeps, and by the wall clock. In seconds."""

    boot: float
    wall: float


def now() -> Moment:
    """Now. Where there is no CLOCK_BOOTTIME (not Linux), the wall clock alone notices that the machine has slept."""
    return Moment(time.clock_gettime(_BOOT) if _BOOT is not None else time.monotonic(), time.time())


@dataclass(frozen=True)
class Scope:
    """What a lease is for; see ``Tripline.lease``."""

    actions: frozenset[str]
    object: str | None = None
    fields: frozenset[str] = frozenset()
    records_per_action: int = 1
    action_credits: int = 25
    record_credits: int = 25
    holder: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    """authorized_by, trigger and system of every operation under it."""

    def records_of(self, asked: Operation) -> int:
        """How many records an operation counts; 0 when it is not in the scope, and the gate has to be asked."""
        get, alike = asked.details.get, self.details.get
        if asked.action not in self.actions or not asked.details.keys() <= _IN_A_LEASE or get("object") != self.object:
            return 0
        who = (get("authorized_by"), get("system"), get("trigger"))
        if who != (alike("authorized_by"), alike("system"), alike("trigger")):
            return 0
        changes: Mapping[str, Mapping[str, Sequence[Any]]] = get("changes") or {}
        ids = {*get("record_ids", ()), *changes}
        if not ids and not asked.action.endswith(".create"):
            return 0
        if self.fields and (not changes or len(ids) > len(changes) or not all(changes.values())):
            return 0
        for changed in changes.values():
            if not self.fields.issuperset(changed):
                return 0
        records = max(len(ids), int(get("records") or 0), 1)
        return records if records <= self.records_per_action else 0


@dataclass
class Message:
    """Something to send, when it was made, and how much of what waits it holds."""

    kind: Kind
    path: str
    body: dict[str, Any]
    sent: Moment
    lease: Held | None = None
    debits: int = 0
    outcomes: int = 0

    def content(self) -> bytes:
        """As JSON."""
        return json.dumps(self.body, separators=(",", ":"), ensure_ascii=False).encode()


class Held:
    """One lease. ``over`` says why nothing is admitted under it any more; "" while it lives."""

    def __init__(self, lease_id: str, agent_id: str, scope: Scope, epoch: int, clock: Callable[[], Moment]) -> None:
        self.lease_id, self.agent_id, self.scope, self.epoch = lease_id, agent_id, scope, epoch
        self.over = ""
        self.used = self.records = 0
        self.action_limit = self.record_limit = 0
        self.end = self.renew_from = Moment(0.0, 0.0)
        self.used_at = 0.0
        self.is_returned = False
        self.open = 0
        """Operations that were admitted and have no outcome."""
        self._clock = clock
        self._lock = threading.Lock()
        self._debits: list[tuple[int, Operation]] = []
        self._outcomes: list[bytes] = []

    def is_over(self, at: Moment | None = None) -> bool:
        """Whether it has ended, by its time or by the gate's word."""
        if self.over:
            return True
        at = at or self._clock()
        if at.boot < self.end.boot and at.wall < self.end.wall:
            return False
        self.over = "its time is over"
        return True

    def admit(self, asked: Operation) -> Decision | None:
        """Admit an operation and debit it; None when the gate has to be asked."""
        records = self.scope.records_of(asked)
        if not records:
            return None
        with self._lock:
            at = self._clock()
            if self.is_over(at) or self.used >= self.action_limit or self.records + records > self.record_limit:
                return None
            self.used += 1
            self.records += records
            self.used_at = at.boot
            self.open += 1
            number = self.used
            self._debits.append((number, asked))
        return Decision(
            decision="allow",
            decision_id=f"{self.lease_id}.{number}",
            reason="allowed under a lease",
            rule="lease",
            epoch=self.epoch,
        )

    def tell(self, outcome: bytes) -> None:
        """The outcome of an operation that was admitted here, as an event."""
        with self._lock:
            self.open -= 1
            self._outcomes.append(outcome)

    def end_now(self, why: str) -> None:
        """Admit nothing more."""
        with self._lock:
            self.over = self.over or why

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell the gate."""
        return bool(self._debits or self._outcomes)

    def message(self, kind: Kind) -> Message:
        """What is to be told, all of what fits; ``used`` goes only as far as the debits in it."""
        with self._lock:
            debits, outcomes = self._debits[:_MOST_AT_ONCE], self._outcomes[:_MOST_AT_ONCE]
            left_out = len(self._debits) - len(debits)
            if left_out:
                kind, outcomes = "report", []
            body = {
                "agent_id": self.agent_id,
                "used": self.used - left_out,
                "debits": [{"n": number, "operation": asked.question()} for number, asked in debits],
                "outcomes": [json.loads(each) for each in outcomes],
            }
            sent = self._clock()
        return Message(kind, f"{LEASES_PATH}/{self.lease_id}/{kind}", body, sent, self, len(debits), len(outcomes))

    def taken(self, message: Message) -> None:
        """The gate has what the message held."""
        with self._lock:
            del self._debits[: message.debits]
            del self._outcomes[: message.outcomes]

    def drop(self, number: int) -> bool:
        """The gate can't read this outcome: the operation stays without one."""
        with self._lock:
            if number >= len(self._outcomes):
                return False
            del self._outcomes[number]
            return True

    def give_up(self, why: str) -> None:
        """The gate does not take what is to be told."""
        with self._lock:
            self.over = self.over or why
            self._debits.clear()
            self._outcomes.clear()
            self.is_returned = True

    def extend(self, said: Mapping[str, Any], sent: Moment) -> None:
        """What the gate grants; limits only grow, and time runs from when the gate was asked."""
        secs = said["ttl_ms"] / 1000
        secs -= max(_LEAST_MARGIN_SECS, secs * _MARGIN)
        with self._lock:
            self.action_limit = max(self.action_limit, int(said["action_limit"]))
            self.record_limit = max(self.record_limit, int(said["record_limit"]))
            self.end = Moment(sent.boot + secs, sent.wall + secs)
            self.renew_from = Moment(sent.boot + secs / 2, sent.wall + secs / 2)


class Hold:
    """Holds a lease of one scope for as long as it is wanted: asks for one, renews it, asks for the next.

    Whoever does the I/O calls ``next`` when ``pause_secs`` are over, sends the message, and says what came of it.
    """

    def __init__(self, agent_id: str, scope: Scope, clock: Callable[[], Moment] = now) -> None:
        self.agent_id, self.scope = agent_id, scope
        self.current: Held | None = None
        self.problem = ""
        """Why there is no lease, or why the last one was not renewed."""
        self.stanza = ""
        """The lines of configuration that would allow it, if any."""
        self.pause_secs = _FIRST_PAUSE_SECS
        self._old: list[Held] = []
        self._clock = clock
        self._request_id = uuid.uuid4().hex
        self._asked_at = float("-inf")
        self._retry_secs = _FIRST_PAUSE_SECS
        self._is_wanted = True

    def admit(self, asked: Operation) -> tuple[Held, Decision] | None:
        """Admit an operation under the lease; None when the gate has to be asked."""
        held = self.current
        if held is None:
            return None
        decision = held.admit(asked)
        return None if decision is None else (held, decision)

    def heard(self, epoch: int) -> None:
        """The gate said this epoch of the agent in another answer: an older lease is over."""
        held = self.current
        if held is not None and epoch > held.epoch:
            held.end_now("the agent's state has changed")

    def close(self) -> None:
        """No lease is wanted any more: ``next`` says what is still to be told."""
        self._is_wanted = False
        if self.current is not None:
            self.current.end_now("it is given back")

    def next(self) -> Message | None:
        """What is to be sent now; None when nothing is."""
        held = self.current
        if held is not None and held.is_over():
            self._old.append(held)
            self.current = held = None
        self._old = [each for each in self._old if each.open or each.has_news or not each.is_returned]
        for each in self._old:
            if not each.is_returned or each.has_news:
                return each.message("report" if each.is_returned else "return")
        if held is not None:
            return self._beat(held)
        return self._grant() if self._is_wanted else None

    def answered(self, message: Message, status: int, content: bytes) -> None:
        """What the gate said."""
        said = _json(content)
        if status >= _SERVER_ERROR or status in (_TIMED_OUT, _TOO_MANY) or (status == _OK and "epoch" not in said):
            self.failed(message)
        elif message.lease is None:
            self._granted(message, status, said)
        elif status != _OK:
            self.problem = str(said.get("message") or status)
            number = _OUTCOME.match(str(said.get("field")))
            if number is None or not message.lease.drop(int(number[1])):
                message.lease.give_up(self.problem)
        else:
            self._told(message, message.lease, said)

    def failed(self, message: Message) -> None:
        """Nothing came, or nothing that says what happened: the same goes again."""
        if message.lease is None:
            self._asked_at = self._clock().boot
            self._retry_secs = min(2 * self._retry_secs, _LAST_PAUSE_SECS)

    # --- parts ------------------------------------------------------------------------------------------------------

    def _beat(self, held: Held) -> Message:
        at = held._clock()
        wants_more = held.used and (
            held.action_limit - held.used < self.scope.action_credits
            or held.record_limit - held.records < self.scope.record_credits
        )
        is_ending = at.boot >= held.renew_from.boot or at.wall >= held.renew_from.wall
        return held.message("renew" if wants_more or is_ending else "report")

    def _grant(self) -> Message | None:
        at = self._clock()
        if at.boot < self._asked_at + self._retry_secs:
            return None
        scope = self.scope
        body = {
            "agent_id": self.agent_id,
            "actions": sorted(scope.actions),
            "fields": sorted(scope.fields),
            "records_per_action": scope.records_per_action,
            "action_credits": scope.action_credits,
            "record_credits": scope.record_credits,
            "request_id": self._request_id,
            "holder": scope.holder,
            **({"object": scope.object} if scope.object is not None else {}),
            **scope.details,
        }
        return Message("grant", LEASES_PATH, body, at)

    def _granted(self, message: Message, status: int, said: Mapping[str, Any]) -> None:
        self._request_id = uuid.uuid4().hex
        self.stanza = str(said.get("stanza") or "")
        if status != _OK or said.get("refused") or said.get("over") or not said.get("lease_id"):
            self.problem = str(said.get("reason") or said.get("over") or said.get("message") or status)
            self._asked_at = self._clock().boot
            self._retry_secs = min(2 * self._retry_secs, _LAST_PAUSE_SECS)
            return
        held = Held(str(said["lease_id"]), self.agent_id, self.scope, int(said["epoch"]), self._clock)
        held.extend(said, message.sent)
        self.problem, self._retry_secs = "", _FIRST_PAUSE_SECS
        self.pause_secs = max(0.01, int(said.get("report_ms") or 250) / 1000)
        if not self._is_wanted:
            held.end_now("it is given back")
        self.current = held

    def _told(self, message: Message, held: Held, said: Mapping[str, Any]) -> None:
        held.taken(message)
        if held is not self.current:  # a stop may be heard first in the answer about an older lease
            self.heard(int(said["epoch"]))
        if message.kind == "return":
            held.is_returned = True
            return
        self.problem = str(said.get("reason") or "")
        if said.get("over"):
            held.end_now(str(said["over"]))
            self.problem = held.over
        else:
            held.extend(said, message.sent)


def _json(content: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(content)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
