"""What the read-only queries return: frozen records that the pages and the GET endpoints share."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from events.types import Finding, Reason


class Paging(Struct, frozen=True, gc=False):
    """Where the next page begins; None when there is none."""

    next_cursor: str | None = None


class Bin(Struct, frozen=True, gc=False):
    """Actions of one agent in five minutes from ``start_ms``, and how many were refused.

    ``expected_max`` is the most that was expected then (the detector's own words); None = no opinion yet.
    """

    start_ms: int
    actions: int
    refused: int = 0
    expected_max: float | None = None
    expected_min: float | None = None


class ControlEntry(Struct, frozen=True, kw_only=True, gc=False):
    """One decision of the control authority about an agent, or about all ("*")."""

    agent_id: str
    state: str
    epoch: int
    at_ms: int
    by_kind: str
    by_id: str
    reason: str
    finding_id: str | None = None
    expires_ms: int | None = None


class StopCounts(Struct, frozen=True, gc=False):
    """How far a stop reached: records changed in the burst before it, operations admitted and refused after it."""

    records_before: int
    burst_from_ms: int
    admitted_after: int
    refused_after: int
    reported_after: int = 0


class AgentRow(Struct, frozen=True, kw_only=True, gc=False):
    """One agent on the overview."""

    agent_id: str
    control: ControlEntry | None
    bins: list[Bin]
    records_48h: int
    actions_48h: int
    last_write_ms: int | None
    last_seen_ms: int | None
    first_seen_ms: int | None = None
    stop: StopCounts | None = None
    finding: FindingRow | None = None

    @property
    def state(self) -> str:
        """active, throttled, held, suspended or releasing; an agent without a control row is active."""
        return self.control.state if self.control else "active"


class ActionRow(Struct, frozen=True, kw_only=True, gc=False):
    """One attempt of an agent as it was reported, or as the gate decided it."""

    offset: int
    at_ms: int
    effect_ms: int
    agent_id: str
    event_id: str
    source: str
    action: str
    outcome: Literal["ok", "error", "denied", "admitted"]
    object: str | None
    record_ids: list[str]
    changes: dict[str, dict[str, Any]]
    records: int
    recipients: int
    is_external: bool
    authorized_by: str | None
    trigger_kind: str | None
    trigger_ref: str | None
    error_code: str | None = None
    error_message: str | None = None
    decision_id: str | None = None
    deal_id: str | None = None
    label: str | None = None


class ActionPage(Struct, frozen=True):
    """Some actions, newest first, and where to go on."""

    rows: list[ActionRow]
    next_cursor: str | None
    total: int | None = None


class FindingRow(Struct, frozen=True):
    """A finding with its knowledge time."""

    at_ms: int
    finding: Finding


class FindingPage(Struct, frozen=True):
    """Some findings, newest first, and where to go on."""

    rows: list[FindingRow]
    next_cursor: str | None


class DealRow(Struct, frozen=True, kw_only=True, gc=False):
    """What is known of a deal, with its last score. Money is a decimal text."""

    deal_id: str
    deal: str
    account: str
    amount: str | None
    currency: str | None
    close_date: str | None
    stage: str
    owner_id: str | None
    manager_id: str | None
    link: str | None
    is_open: bool
    at_ms: int
    p_lost: float
    p_slip: float
    p_lost_14d: float
    band: str
    base: float
    reasons: list[Reason]
    recommended_action: str
    model_kind: str
    model_version: int
    model_proven: bool
    rank: int | None = None
    p_lost_monday: float | None = None


class TopDeals(Struct, frozen=True):
    """A manager's five, of how many open ones, and the sum of money in both."""

    manager_id: str | None
    rows: list[DealRow]
    open_deals: int
    at_ms: int | None
    managers: list[str]
    amount_top: str | None = None
    amount_open: str | None = None
    currency: str | None = None


class ScorePoint(Struct, frozen=True, gc=False):
    """A deal's score from ``at_ms`` on, and what moved it there."""

    at_ms: int
    p_lost: float
    p_slip: float
    cause: str = ""


class DeadLetterRow(Struct, frozen=True, kw_only=True):
    """A record that could not be read."""

    id: int
    at_ms: int
    reason: str
    message: str
    origin: dict[str, Any]
    raw: bytes
    agent_id: str | None
    redriven_ms: int | None = None


class Overview(Struct, frozen=True):
    """All that the first page needs, read in one transaction."""

    at_ms: int
    agents: list[AgentRow]
    stop_all: ControlEntry | None
    top: TopDeals
    dead_letters_24h: int
    warnings_24h: int
