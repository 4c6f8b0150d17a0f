"""One check of the gate inside an open transaction, shared by the runtimes: decide, number and admit, or refuse.

What is decided is ``governance.gate``'s. A runtime brings what is known of the agent, and says how an admission gets
into the agent's input partition. Admissions of an agent are numbered without a gap.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from msgspec import UNSET
from msgspec.structs import replace
from xxhash import xxh3_128_hexdigest

from events.times import MINUTE_MS
from events.types import DEFAULT_TENANT, Admission, AdmissionEvent, EvidenceData
from governance.consent import Said
from governance.control import ControlRow
from governance.gate import GateDecision, GateRequest, Remembered, Rule, check, operation_of
from governance.leases import blindness
from governance.limits import Budgets
from governance.operation import Operation
from governance.policy import Policy
from governance.settings import Settings
from storage import leases as lease_store
from storage import whereabouts
from storage.gate import Row, decision_prefix, decision_row
from streams import levels
from streams.approving import settle
from streams.authority import Authority
from streams.contacts import Met
from streams.envelopes import make_key, split_key
from streams.everybody import Everybody
from streams.levels import LevelsTold

REFUSALS_KEPT_PER_MINUTE = 120
"""Refusals of one agent that are kept one by one in a minute; the others are only counted."""
_RANDOM_BYTES = 10
_WOULD_CLEAR = {Rule.LEASE: "operations that are within their lease, and reported as they were admitted"}


class Gated:
    """What the gate counts of one agent: its admissions, its budgets, and refusals kept in this minute."""

    __slots__ = ("_kept", "_minute", "budgets", "levels", "seq")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.budgets = Budgets()
        self.levels = LevelsTold()
        self._minute = 0
        self._kept = 0

    def may_keep_refusal(self, minute: int, most: int) -> bool:
        """Whether one more refusal of this minute is to be kept as a row of its own."""
        if minute != self._minute:
            self._minute, self._kept = minute, 0
        self._kept += 1
        return self._kept <= most


class DecisionIds:
    """Ids of decisions: unique, not to be guessed, and growing with time, so that the store's index grows at its end.

    Random bytes are fetched for many ids at once; asking the system costs more than the rest.
    """

    def __init__(self) -> None:
        self._random = ""
        self._at = 0

    def next(self, now_ms: int) -> str:
        """A new id."""
        at = self._at
        if at >= len(self._random):
            self._random, at = secrets.token_hex(_RANDOM_BYTES * 100), 0
        self._at = end = at + 2 * _RANDOM_BYTES
        return decision_prefix(now_ms) + self._random[at:end]


class Gating(ABC):
    """One check. Subclasses are also its ``governance.gate.GateView``: what is known as of the open transaction."""

    __slots__ = ("key", "now_ms", "request")

    is_control_known = True

    def __init__(self, request: GateRequest, key: str, now_ms: int) -> None:
        self.request = request
        self.key = key
        self.now_ms = now_ms

    # --- what is known ------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def control(self) -> ControlRow | None:
        """The agent's own row."""

    @property
    @abstractmethod
    def stop_all(self) -> ControlRow | None:
        """The row of the whole tenant."""

    @property
    @abstractmethod
    def gated(self) -> Gated:
        """What the gate counts of the agent."""

    @property
    def counters(self) -> Budgets:
        """What the agent was admitted in the last 24 hours."""
        return self.gated.budgets

    @abstractmethod
    def remembered(self, request_id: str) -> Remembered | None:
        """The answer given under this request id of this agent."""

    @abstractmethod
    def unknown_contacts(self, contact_ids: Sequence[str]) -> Sequence[str]:
        """Those contacts with whom nobody of the tenant was in touch before."""

    @property
    @abstractmethod
    def all_agents(self) -> Everybody | None:
        """What all agents did together, where that is counted."""

    @property
    def everybody(self) -> Budgets | None:
        """Their counters."""
        found = self.all_agents
        return found.budgets if found is not None else None

    def row_of(self, agent_id: str) -> ControlRow | None:
        """The row of another agent of the tenant, of its kin."""
        return self.authority.row_of(make_key(self.request.tenant, agent_id))

    def said_by(self, contact_ids: Sequence[str]) -> Sequence[Said]:
        """What these contacts allowed and refused."""
        return whereabouts.said_by(self.authority.link, self.request.tenant, contact_ids)

    def known_of(self, record_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Where these records belong, as the CRM said last."""
        return whereabouts.known_of(self.authority.link, self.request.tenant, record_ids)

    # --- what is kept -------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def authority(self) -> Authority:
        """The open transaction."""

    @abstractmethod
    def wrote(self, operation: Operation) -> None:
        """An admitted write changes its records: approvals about them are over."""

    @abstractmethod
    def new_id(self) -> str:
        """An id for the decision."""

    @abstractmethod
    def append(self, seq: int, operation: Operation, decision: GateDecision) -> int | None:
        """Put the admission into the agent's input partition; its offset where that is known already."""

    @abstractmethod
    def keep(self, row: Row) -> None:
        """Keep a decision; its request id is known from now on."""

    @abstractmethod
    def know(self, met: Iterable[Met]) -> None:
        """Remember whom the agent is in touch with now."""

    @abstractmethod
    def admitted(self) -> None:
        """All that belongs to the admission is done."""

    @abstractmethod
    def refused(self, decision: GateDecision) -> None:
        """It was held or denied, and counts as such."""

    @abstractmethod
    def suspicious(self, decision: GateDecision) -> None:
        """The request itself is a finding, see ``report``."""

    @property
    def end_offset(self) -> int:
        """The end of the log, where that is known here."""
        return 0

    # --- leases -------------------------------------------------------------------------------------------------

    @property
    def judged_to_ms(self) -> int:
        """Up to when all that was admitted is judged; here it is at once."""
        return self.now_ms

    def blind(self, settings: Settings) -> str:
        """Why the agent may not write until it has told what it did under leases; see ``governance.leases``."""
        agent = settings.agents.get(self.request.agent_id)
        if agent is None or not agent.lease_actions:
            return ""
        link, key, now_ms = self.authority.link, self.key, self.now_ms
        reason = blindness(lease_store.owed(link, key, now_ms, self.judged_to_ms), settings, now_ms)
        return "" if reason and lease_store.overridden_until(link, key, now_ms) else reason

    def admit_leased(self, operation: Operation, decision: GateDecision) -> None:
        """Keep what the holder of a lease has admitted already."""
        self._admit(operation, decision)
        if decision.finding:
            self.suspicious(decision)

    # --- deciding -----------------------------------------------------------------------------------------------

    def decide(self, settings: Settings, policy: Policy | None = None) -> GateDecision:
        """Decide, and admit what is allowed. ``policy``: the one in force, if any."""
        operation = operation_of(self.request)
        decision = check(self.request, self, settings, self.now_ms, operation, policy)
        if decision.is_repeated:
            return decision
        if decision.decision == "allow" and operation.is_write and (reason := self.blind(settings)):
            decision = replace(decision, decision="deny", reason=f"denied: {reason}", rule=Rule.BLIND)
        decision = replace(decision, decision_id=self.new_id())
        decision = settle(self.authority, self, self.request, operation, decision, policy)
        if decision.decision == "allow":
            self._admit(operation, decision)
        else:
            self._refuse(operation, decision)
        if decision.finding:
            self.suspicious(decision)
        if decision.above_level and policy is not None and self.request.agent_id in policy.agents:
            levels.tell(self.authority, self.gated.levels, self.request, decision, policy, self.end_offset)
        return decision

    def _admit(self, operation: Operation, decision: GateDecision) -> None:
        request, key, now_ms, agent = self.request, self.key, self.now_ms, self.gated
        agent.seq += 1
        agent.budgets.admit(operation, now_ms)
        if (everybody := self.all_agents) is not None:
            everybody.take(decision.decision_id, operation, now_ms)
        offset = self.append(agent.seq, operation, decision)
        self.keep(decision_row(request, key, operation, decision, now_ms, offset=offset, seq=agent.seq))
        if operation.is_external:
            self.know((request.tenant, each, now_ms) for each in operation.recipient_ids)
        if operation.is_write:
            self.wrote(operation)
        self.admitted()

    def _refuse(self, operation: Operation, decision: GateDecision) -> None:
        self.refused(decision)
        if self.gated.may_keep_refusal(self.now_ms // MINUTE_MS, REFUSALS_KEPT_PER_MINUTE):
            self.keep(decision_row(self.request, self.key, operation, decision, self.now_ms))


def admission(
    request: GateRequest, key: str, seq: int, operation: Operation, decision: GateDecision, source: str, now_text: str
) -> AdmissionEvent:
    """The record of an admission: what the gate counts, not the agent's words."""
    tenant, name = split_key(key)
    return AdmissionEvent(
        specversion="1.0",
        id=f"admission:{key}:{seq}",
        source=source,
        time=now_text,
        partitionkey=name,
        datacontenttype="application/json",
        tenant=UNSET if tenant == DEFAULT_TENANT else tenant,
        data=Admission(
            agent_id=request.agent_id,
            decision_id=decision.decision_id,
            seq=seq,
            action=request.action,
            epoch=decision.epoch,
            object=request.object if request.object is not None else UNSET,
            record_ids=list(operation.record_ids),
            records=operation.records if operation.is_write or operation.record_ids else 0,
            recipient_ids=list(operation.recipient_ids),
            recipients=operation.recipients,
            external=operation.is_external,
            first_contact=decision.is_first_contact,
            authorized_by=request.authorized_by if request.authorized_by is not None else UNSET,
            trigger=request.trigger if request.trigger is not None else UNSET,
            request_id=request.request_id if request.request_id is not None else UNSET,
            changes=request.changes or UNSET,
            policy=decision.policy or UNSET,
            reviewed_by=decision.approved_by or UNSET,
        ),
    )


def blind(request: GateRequest, settings: Settings) -> GateDecision:
    """The answer while nothing is known: writes are denied."""
    decision = check(request, None, settings, 0)
    return replace(decision, decision_id=secrets.token_hex(16))


def report(authority: Authority, key: str, request: GateRequest, decision: GateDecision, offset: int) -> None:
    """A suspicious request is a finding. ``offset``: the end of the log."""
    id_ = xxh3_128_hexdigest(f"{authority.engine_id}\x1fgate\x1f{decision.decision_id}".encode())
    evidence = EvidenceData(
        summary=decision.finding,
        observed=2,
        expected=1,
        limit=1,
        unit="requests",
        events=[],
        would_clear=_WOULD_CLEAR.get(decision.rule, "a request id that is used for one request only"),
    )
    authority.warn(id_, key, request.agent_id, evidence, offset)
