"""What is asked for a lease, what a lease is, and what its holder reports; reading both strictly."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from events.types import Name, Trigger
from governance.gate_types import GateDecision, GateRequest, Id, decode_strictly

MOST_AT_ONCE = 1_000
"""Debits, or outcomes, in one report."""
Credits = Annotated[int, Meta(ge=1, le=10_000)]


class LeaseAsk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a holder wants to do without asking for each operation.

    ``actions`` are all writes or all reads. ``fields``: those that updates may change; others are asked for one by
    one. ``records_per_action``: the most records of one operation. ``request_id`` makes a retry safe; ``holder`` is a
    name for people.
    """

    agent_id: Name
    actions: Annotated[list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(min_length=1, max_length=20)]
    request_id: Annotated[str, Meta(min_length=1, max_length=256)]
    object: Annotated[str, Meta(max_length=256)] | None = None
    fields: Annotated[list[Id], Meta(max_length=200)] = []
    records_per_action: Annotated[int, Meta(ge=1, le=200)] = 1
    action_credits: Credits = 25
    record_credits: Credits = 25
    authorized_by: Annotated[str, Meta(max_length=256)] | None = None
    trigger: Trigger | None = None
    system: Annotated[str, Meta(max_length=256)] | UnsetType | None = UNSET
    holder: Annotated[str, Meta(max_length=256)] = ""
    tenant: Annotated[str, Meta(min_length=1, max_length=128)] = "default"

    @property
    def key(self) -> str:
        """The agent's state key."""
        return f"{self.tenant}/{self.agent_id}"


class Lease(Struct, frozen=True, kw_only=True):
    """Credits that a holder may spend by itself until ``end_ms``, by the store's clock.

    ``action_limit`` and ``record_limit`` count from the lease's beginning and only grow; ``actions`` and ``records``
    are what of them was reported as spent, ``settled_…`` what of that was judged and has an outcome. ``epoch`` and
    ``stop_epoch`` are the fencing tokens: those of the agent's control row and of "stop all". ``wrong`` says what its
    holder did against it; then it is over.
    """

    lease_id: str
    ask: LeaseAsk
    is_write: bool
    epoch: int
    stop_epoch: int
    action_limit: int
    record_limit: int
    granted_ms: int
    end_ms: int
    policy: str = ""
    actions: int = 0
    records: int = 0
    settled_actions: int = 0
    settled_records: int = 0
    renewals: int = 0
    returned_ms: int | None = None
    wrong: str = ""

    @property
    def key(self) -> str:
        """The agent's state key."""
        return self.ask.key

    @property
    def actions_left(self) -> int:
        """Operations that may still be admitted under it, as far as was reported."""
        return 0 if self.returned_ms is not None else max(0, self.action_limit - self.actions)

    @property
    def records_left(self) -> int:
        """Records set aside for it in the agent's budgets."""
        return 0 if self.returned_ms is not None else max(0, self.record_limit - self.records)

    def decision_id(self, number: int) -> str:
        """The id of a debit's decision."""
        return f"{self.lease_id}.{number}"


class Debit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An operation that the holder admitted; ``n`` counts those of a lease from 1 without a gap."""

    n: Annotated[int, Meta(ge=1, le=2**53)]
    operation: GateRequest


class LeaseReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a holder did since its last report. ``used``: how many operations it has admitted under the lease in all.

    ``outcomes`` are events (``tripline.agent.action.v1``) that name the decisions of debits. Sent twice, each counts
    once.
    """

    agent_id: Name
    used: Annotated[int, Meta(ge=0, le=2**53)]
    debits: Annotated[list[Debit], Meta(max_length=MOST_AT_ONCE)] = []
    outcomes: Annotated[list[msgspec.Raw], Meta(max_length=MOST_AT_ONCE)] = []
    tenant: Annotated[str, Meta(min_length=1, max_length=128)] = "default"

    @property
    def key(self) -> str:
        """The agent's state key."""
        return f"{self.tenant}/{self.agent_id}"


class Refusal(Struct, frozen=True, kw_only=True):
    """No lease, or no more of it: which rule decided, why, and the lines of configuration that would allow it."""

    rule: str
    reason: str
    stanza: str = ""

    @classmethod
    def of(cls, decision: GateDecision) -> Refusal:
        """What the gate says of the operation, said of the lease."""
        return cls(rule=decision.rule.value, reason=decision.reason, stanza=decision.stanza)


class Owed(Struct, frozen=True, kw_only=True):
    """What is not settled of an agent's debits: the oldest report without an outcome, and without a judgement."""

    unreported_ms: int | None = None
    unjudged_ms: int | None = None


What = Literal["report", "renew", "return"]
_ASK, _REPORT = msgspec.json.Decoder(LeaseAsk), msgspec.json.Decoder(LeaseReport)


def decode_ask(raw: bytes) -> LeaseAsk:
    """A request for a lease from JSON, as strictly as one at the gate. Raises BadRequest."""
    return decode_strictly(raw, _ASK)


def decode_report(raw: bytes) -> LeaseReport:
    """A holder's report from JSON. Raises BadRequest; outcomes are not looked at."""
    return decode_strictly(raw, _REPORT)


def content_of(ask: LeaseAsk) -> str:
    """What a request id stands for: 32 hex digits over everything but the id itself."""
    content = msgspec.json.encode(msgspec.structs.replace(ask, request_id="-"), order="sorted")
    return hashlib.blake2b(content, digest_size=16).hexdigest()
