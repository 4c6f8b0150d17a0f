"""The gate inside the writer's thread: decides on what is committed, and admits before it answers.

An admission is a record of the agent's input, judged at once: the next check of the same round already sees the stop
that it caused. Admissions of an agent are numbered without a gap.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from msgspec import UNSET
from msgspec.structs import replace
from xxhash import xxh3_128_hexdigest

from events.times import DAY_MS, MINUTE_MS, format_ms
from events.types import DEFAULT_TENANT, Admission, AdmissionEvent, EvidenceData, Finding, FindingEvent
from governance.control import ControlRow, stop_all_key
from governance.gate import GateDecision, GateRequest, Remembered, check, operation_of
from governance.limits import Budgets
from governance.operation import Operation
from governance.settings import Settings
from storage import gate as gate_store
from storage import projections
from storage.gate import Row, decision_row
from streams.envelopes import envelope, split_key
from streams.routing import ACTIONS
from streams.standalone.core import Core, Gated
from streams.standalone.jobs import Job
from streams.standalone.round import Round

REFUSALS_KEPT_PER_MINUTE = 120
"""Refusals of one agent that are kept one by one in a minute; the others are only counted."""


class View:
    """What the gate may know of one agent, as of the open transaction. Implements ``governance.gate.GateView``."""

    __slots__ = ("_core", "_key", "_tenant")

    is_control_known = True

    def __init__(self, core: Core, key: str, tenant: str) -> None:
        self._core = core
        self._key = key
        self._tenant = tenant

    @property
    def control(self) -> ControlRow | None:
        """The agent's own row."""
        return self._core.control.get(self._key)

    @property
    def stop_all(self) -> ControlRow | None:
        """The row of the whole tenant."""
        return self._core.control.get(stop_all_key(self._tenant))

    @property
    def counters(self) -> Budgets:
        """What the agent was admitted in the last 24 hours."""
        return gated(self._core, self._key).budgets

    def remembered(self, request_id: str) -> Remembered | None:
        """The answer given under this request id of this agent."""
        core, key = self._core, self._key
        gated(core, key)  # what it asked before is known from then on
        if not core.asked.may_hold(key, request_id):
            return None
        return core.decided.remembered(key, request_id) or gate_store.remembered(core.link, key, request_id)

    def unknown_contacts(self, contact_ids: Sequence[str]) -> Sequence[str]:
        """Those contacts with whom nobody of the tenant was in touch before."""
        return gate_store.unknown_contacts(self._core.link, self._tenant, contact_ids)


def gated(core: Core, key: str) -> Gated:
    """An agent's counters, rebuilt from its decisions when it is first asked about after a start."""
    found = core.gated.get(key)
    if found is None:
        found = core.gated[key] = Gated(gate_store.seq_of(core.link, key))
        for at_ms, operation in gate_store.admitted_since(core.link, key, core.last_ms - DAY_MS):
            found.budgets.admit(operation, at_ms)
        for request_id, at_ms in gate_store.asked_since(core.link, key, core.last_ms - core.asked.keep_ms):
            core.asked.add(key, request_id, at_ms)
    return found


def _keep(core: Core, request: GateRequest, key: str, row: Row) -> None:
    """Keep a decision; its request id is known from now on."""
    core.decided.add(row)
    if request.request_id is not None:
        core.asked.add(key, request.request_id, core.last_ms)


class GateCheck:
    """One check, as a job of the writer; ``told`` hears the decision once, after the commit."""

    __slots__ = ("_decision", "key", "request", "settings", "told")

    def __init__(self, request: GateRequest, settings: Settings, told: Callable[[GateDecision], None]) -> None:
        self.request = request
        self.key = request.key
        self.settings = settings
        self.told = told
        self._decision: GateDecision | None = None

    def run(self, round_: Round) -> None:
        """Decide, and admit what is allowed."""
        core, request = round_.core, self.request
        operation = operation_of(request)
        decision = check(request, View(core, self.key, request.tenant), self.settings, round_.now_ms, operation)
        if not decision.is_repeated:
            decision = replace(decision, decision_id=core.ids.next(round_.now_ms))
            if decision.decision == "allow":
                self._admit(round_, operation, decision)
            else:
                self._refuse(round_, operation, decision)
            if decision.finding:
                _report(round_, request, decision)
        self._decision = decision

    def _admit(self, round_: Round, operation: Operation, decision: GateDecision) -> None:
        core, request, key, now_ms = round_.core, self.request, self.key, round_.now_ms
        agent = gated(core, key)
        agent.seq += 1
        agent.budgets.admit(operation, now_ms)
        offset = round_.append(ACTIONS, _admission(round_, request, key, agent.seq, operation, decision))
        row = decision_row(request, key, operation, decision, now_ms, offset=offset, seq=agent.seq)
        _keep(core, request, key, row)
        if operation.is_external:
            contacts = ((request.tenant, each, now_ms) for each in operation.recipient_ids)
            gate_store.know_contacts(core.link, contacts)
        round_.count("admitted")
        round_.judge()

    def _refuse(self, round_: Round, operation: Operation, decision: GateDecision) -> None:
        core, key, now_ms = round_.core, self.key, round_.now_ms
        round_.count("held" if decision.decision == "hold" else "denied")
        round_.denials.append((key, now_ms))
        round_.changed.add(("agent", key))
        if gated(core, key).may_keep_refusal(now_ms // MINUTE_MS, REFUSALS_KEPT_PER_MINUTE):
            _keep(core, self.request, key, decision_row(self.request, key, operation, decision, now_ms))

    def succeed(self) -> None:
        """Answer."""
        self.told(self._decision or blind(self.request, self.settings))

    def fail(self, problem: BaseException) -> None:
        """Nothing is known: writes are denied."""
        self.told(blind(self.request, self.settings))

    def split(self) -> Sequence[Job]:
        """It can't be split."""
        return ()


def _admission(
    round_: Round, request: GateRequest, key: str, seq: int, operation: Operation, decision: GateDecision
) -> AdmissionEvent:
    """The record of an admission: what the gate counts, not the agent's words."""
    tenant, name = split_key(key)
    return AdmissionEvent(
        specversion="1.0",
        id=f"admission:{key}:{seq}",
        source=round_.core.source,
        time=round_.now_text,
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
        ),
    )


def blind(request: GateRequest, settings: Settings) -> GateDecision:
    """The answer while the store can't be used."""
    decision = check(request, None, settings, 0)
    return replace(decision, decision_id=secrets.token_hex(16))


def _report(round_: Round, request: GateRequest, decision: GateDecision) -> None:
    """A suspicious request is a finding."""
    id_ = xxh3_128_hexdigest(f"{round_.core.engine_id}\x1fgate\x1f{decision.decision_id}".encode())
    row = round_.core.control.get(request.key)
    data = Finding(
        finding_id=id_,
        detector="gate",
        mode="warn",
        agent_id=request.agent_id,
        agent_version=None,
        at=format_ms(round_.now_ms),
        severity="warning",
        action_taken="notify",
        basis_epoch=row.epoch if row is not None else 0,
        evidence=EvidenceData(
            summary=decision.finding,
            observed=2,
            expected=1,
            limit=1,
            unit="requests",
            events=[],
            would_clear="a request id that is used for one request only",
        ),
    )
    event = envelope(FindingEvent, round_.core.engine_id, id_, round_.now_ms, request.key, data)
    offset = round_.core.lanes[ACTIONS].next_offset
    if projections.store_finding(round_.core.link, request.key, round_.now_ms, offset, event, "noted"):
        round_.changed.add(("finding", request.key))
        round_.notify(id_, request.key, round_.now_ms, event)
