"""What the read-only queries return: frozen records that the pages and the GET endpoints share."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from events.types import ActionError, Finding, ModelInfo, Reason, Trigger
from governance.approvals import Approval
from governance.drills import DrillResult
from governance.grades import Graded
from storage.read.containment import Containment


class Bin(Struct, frozen=True, gc=False):
    """Attempts of one agent in five minutes from ``start_ms``, and how many were refused.

    ``expected`` is the usual number then and ``limit`` the most that is let pass, both the rate detector's own;
    None = it has no opinion yet.
    """

    start_ms: int
    actions: int
    refused: int = 0
    expected: float | None = None
    limit: float | None = None


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
    wanted: str | None = None
    changed: bool = True


class StopCounts(Struct, frozen=True, gc=False):
    """How far a stop reached.

    Distinct records written from ``burst_from_ms`` until the stop; operations that the gate admitted and refused
    after it; and writes reported after it that name no decision of the gate (they bypassed it).
    """

    stopped_ms: int
    burst_from_ms: int
    records_before: int
    admitted_after: int
    refused_after: int
    bypassed_after: int
    unreported: int


class AgentRow(Struct, frozen=True, kw_only=True, gc=False):
    """One agent on the overview. Counters are since the store began; ``records_48h`` of the last 48 hours.

    ``asked``: decisions of the gate; ``acted``: actions and changes; ``shadow_48h``: writes past the gate. ``grade`` is
    worked out by who knows settings and policy.
    """

    agent_id: str
    control: ControlEntry | None
    bins: list[Bin]
    records_48h: int
    last_write_ms: int | None
    last_seen_ms: int | None
    first_seen_ms: int | None = None
    agent_version: str | None = None
    stop: StopCounts | None = None
    finding: FindingRow | None = None
    asked: int = 0
    acted: int = 0
    shadow_48h: int = 0
    grade: Graded | None = None

    @property
    def state(self) -> str:
        """active, throttled, held, suspended or releasing; an agent without a control row is active."""
        return self.control.state if self.control else "active"


class ActionRow(Struct, frozen=True, kw_only=True, gc=False):
    """One attempt of an agent: as it reported it, as the gate admitted or refused it, or as the CRM saw it.

    ``kind`` is report, admission, change or refusal. ``outcome`` is ok, error, denied, held, or admitted: the gate
    let it pass and the agent has not said how it ended.
    """

    cursor: str
    kind: str
    at_ms: int
    effect_ms: int
    offset: int | None
    agent_id: str
    event_id: str
    source: str
    action: str
    outcome: str
    object: str | None
    record_ids: list[str]
    changes: dict[str, dict[str, Any]]
    records: int
    recipients: int
    is_external: bool
    authorized_by: str | None
    trigger: Trigger | None = None
    error: ActionError | None = None
    reviewed_by: str | None = None
    decision_id: str | None = None
    deal_id: str | None = None
    run_id: str | None = None
    rule: str | None = None
    reason: str | None = None


class ActionPage(Struct, frozen=True):
    """Some actions, newest first, and where to go on."""

    rows: list[ActionRow]
    next_cursor: str | None


class FindingRow(Struct, frozen=True):
    """A finding with its knowledge time, and what the authority did: shadow, noted, applied or recorded."""

    at_ms: int
    finding: Finding
    status: str = ""


class FindingPage(Struct, frozen=True):
    """Some findings, newest first, and where to go on."""

    rows: list[FindingRow]
    next_cursor: str | None


class DealRow(Struct, frozen=True, kw_only=True, gc=False):
    """What is known of a deal, with its last score. Money is in minor units of ``currency``."""

    deal_id: str
    deal: str
    account: str
    amount_minor: int | None
    currency: str | None
    close_date: str | None
    stage: str
    owner_id: str | None
    manager_id: str | None
    link: str | None
    is_open: bool
    at_ms: int
    p_lost: float | None
    p_slip: float | None
    p_lost_14d: float | None
    band: str | None
    base: float
    reasons: list[Reason]
    recommended_action: str
    model: ModelInfo | None
    rank: int | None = None
    p_lost_before: float | None = None


class TopDeals(Struct, frozen=True):
    """A manager's five, of how many open ones. Sums of money are per currency, in minor units."""

    manager_id: str | None
    rows: list[DealRow]
    open_deals: int
    at_ms: int | None
    managers: list[str]
    sum_top: dict[str, int]
    sum_open: dict[str, int]


class CloseOut(Struct, frozen=True):
    """Deals that are as good as lost, the largest first: what a manager should close rather than chase."""

    manager_id: str | None
    rows: list[DealRow]


class ScorePoint(Struct, frozen=True, gc=False):
    """A deal's score from ``at_ms`` on, and what moved it there."""

    at_ms: int
    p_lost: float
    p_slip: float
    cause: str = ""
    band: str = ""


class DeadLetterRow(Struct, frozen=True, kw_only=True):
    """A record that could not be read."""

    id: int
    at_ms: int
    reason: str
    message: str
    origin: dict[str, Any]
    raw: bytes
    agent_id: str | None
    state: str = "new"
    redriven_ms: int | None = None


class Overview(Struct, frozen=True):
    """All that the first page needs, read in one transaction."""

    at_ms: int
    agents: list[AgentRow]
    stop_all: ControlEntry | None
    top: TopDeals
    dead_letters_24h: int
    warnings_24h: int
    approvals: list[Approval] = []
    last_drill: DrillResult | None = None


class AgentPage(Struct, frozen=True):
    """All that an agent's page needs, read in one transaction."""

    row: AgentRow
    bins: list[Bin]
    findings: list[FindingRow]
    history: list[ControlEntry]
    stop_all: ControlEntry | None
    containment: Containment = Containment(stop_ms=None)
