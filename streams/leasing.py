"""Leases inside an open transaction, shared by the runtimes: what ``governance.leases`` decides is carried out here.

A holder's report becomes what a check at the gate and a report of its outcome would have become: admissions in the
agent's input partition, numbered with all others, and the events of their outcomes. So detectors, budgets, pages and
replays see no difference, only later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import UNSET, Struct
from msgspec.structs import replace

from events.errors import BadEvent
from events.structured import Limits, decode_input
from events.types import ActionEvent, AgentAction, tenant_of
from governance import leases
from governance.control import effective
from governance.gate import GateDecision, GateRequest, Rule, operation_of
from governance.gate_types import BadRequest
from governance.lease_types import Lease, LeaseAsk, LeaseReport, Refusal, What, content_of
from governance.limits import Budgets, SetAside
from governance.operation import Operation, describe
from governance.policy import Policy
from governance.settings import Settings
from storage import leases as lease_store
from storage.link import Link
from streams.authority import Authority
from streams.gating import Gating

Outcome = tuple[int, bytes, ActionEvent]
"""The number of a debit, and its outcome as an event."""
_COUNTED = {"grant": ("granted", "refused"), "renew": ("renewed", "not_renewed"), "return": ("returned", "not_renewed")}
"""As what metrics count a request that was met, and one that was not."""


class Leased(Struct, frozen=True, kw_only=True):
    """What came of a request. ``lease`` None: there is none. ``refusal``: not granted, not renewed, or not understood.

    ``over``: why nothing may be admitted under the lease any more; "" while it lives. ``epoch`` and ``state`` are the
    agent's now, ``at_ms`` the log's time.
    """

    lease: Lease | None
    refusal: Refusal | None
    over: str
    epoch: int
    state: str
    at_ms: int


class Reported(Struct, frozen=True, kw_only=True):
    """A report whose outcomes were read, for a lease."""

    lease_id: str
    report: LeaseReport
    outcomes: Sequence[Outcome]


def read_outcomes(lease_id: str, report: LeaseReport, limits: Limits) -> Reported:
    """Read a report's outcomes. Raises BadRequest with the place: no such event, or not of this lease."""
    return Reported(lease_id=lease_id, report=report, outcomes=list(_outcomes(lease_id, report, limits)))


def _outcomes(lease_id: str, report: LeaseReport, limits: Limits) -> Iterator[Outcome]:
    for at, raw in enumerate(map(bytes, report.outcomes)):
        try:
            event = decode_input(raw, limits)
        except BadEvent as problem:
            raise BadRequest(f"outcomes[{at}].{problem.field}".rstrip("."), f"outcomes[{at}]: {problem}") from None
        if not isinstance(event, ActionEvent):
            raise BadRequest(f"outcomes[{at}].type", f"outcomes[{at}].type: tripline.agent.action.v1 is wanted")
        if (tenant_of(event), event.data.agent_id) != (report.tenant, report.agent_id):
            raise BadRequest(f"outcomes[{at}].data.agent_id", f"outcomes[{at}].data.agent_id: it is another agent's")
        id_, _, number = str(event.data.decision_id or "").rpartition(".")
        if id_ != lease_id or not (number.isascii() and number.isdigit()):
            text = f"outcomes[{at}].data.decision_id: it names no debit of this lease"
            raise BadRequest(f"outcomes[{at}].data.decision_id", text)
        yield int(number), raw, event


class Leasing(ABC):
    """Grants leases, and takes what their holders report, in a transaction that has the agent's key locked."""

    def __init__(self, link: Link, settings: Settings, now_ms: int, policy: Policy | None) -> None:
        self.link = link
        self.settings = settings
        self.now_ms = now_ms
        self.policy = policy

    # --- the runtime's part -------------------------------------------------------------------------------------

    @abstractmethod
    def gating(self, request: GateRequest) -> Gating:
        """A check of this request, as of now."""

    @abstractmethod
    def new_id(self) -> str:
        """An id for a lease; it grows with time."""

    @abstractmethod
    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Put outcomes into the agent's input partition; one that came before by another way changes nothing."""

    @abstractmethod
    def judge(self) -> None:
        """Let the detectors look at what was appended, where they are here."""

    # --- what holders ask ---------------------------------------------------------------------------------------

    def grant(self, ask: LeaseAsk) -> Leased:
        """A lease, or why there is none. The same request again gets the same lease while it is unused."""
        gating = self.gating(next(leases.probes(ask)))
        before = lease_store.asked_before(self.link, ask.key, ask.request_id)
        if before is not None:
            return self._told(gating, *self._as_before(gating, before, ask))
        budgets = gating.gated.budgets
        found = leases.grant(
            ask,
            self.new_id(),
            gating,
            budgets,
            self.settings,
            self.now_ms,
            others=len(lease_store.held(self.link, ask.key, self.now_ms)),
            blind=gating.blind(self.settings),
            policy=self.policy,
        )
        if isinstance(found, Refusal):
            return self._told(gating, None, found)
        self._keep(gating, found)
        return self._told(gating, found, None)

    def report(self, reported: Reported, what: What) -> Leased | None:
        """Take what a holder did, then renew its lease or give it back, where it asks for that. None: no such lease."""
        lease = lease_store.find(self.link, reported.lease_id)
        if lease is None or lease.key != reported.report.key:
            return None
        gating = self.gating(next(leases.probes(lease.ask)))
        refusal = _gap(lease, reported)
        if refusal is not None:
            return self._told(gating, lease, refusal)
        lease = self._debit(lease, reported)
        lease = self._settle(lease, reported.outcomes, gating)
        self.judge()
        lease = self._settled(lease, gating)
        if what == "return":
            lease = leases.give_back(lease, self.now_ms)
        self._keep(gating, lease)
        if what == "renew":
            return self._renew(lease, gating)
        return self._told(gating, lease, None)

    # --- parts --------------------------------------------------------------------------------------------------

    def _as_before(
        self, gating: Gating, before: tuple[Lease, str], ask: LeaseAsk
    ) -> tuple[Lease | None, Refusal | None]:
        lease, content = before
        reason = f"request id “{ask.request_id}” was used before"
        if content != content_of(ask):
            return None, Refusal(rule=Rule.REQUEST_ID, reason=f"{reason} for something else")
        if lease.actions or lease.renewals or leases.why_over(lease, gating, self.settings, self.now_ms, self.policy):
            return None, Refusal(rule=Rule.REQUEST_ID, reason=f"{reason}, and its lease was used or is over")
        return lease, None

    def _debit(self, lease: Lease, reported: Reported) -> Lease:
        """Admit what was admitted: it happened, whether it was the holder's right or not."""
        taken: list[tuple[int, str, Operation]] = []
        for one in reported.report.debits:
            if one.n <= lease.actions:
                continue
            operation, before = operation_of(one.operation), lease.wrong
            lease = leases.debit(lease, one.n, one.operation, operation)
            gating = self.gating(one.operation)
            _set_aside(gating, lease)  # its records are counted by name from here on
            gating.admit_leased(operation, _admitted(lease, one.n, "" if before else lease.wrong))
            taken.append((one.n, one.operation.action, operation))
        lease_store.add_debits(self.link, lease, taken, self.now_ms)
        return lease

    def _settle(self, lease: Lease, outcomes: Sequence[Outcome], gating: Gating) -> Lease:
        """Take the outcomes of debits that have none."""
        waiting = lease_store.debits(self.link, lease.lease_id)
        fresh: dict[int, Outcome] = {}
        for number, raw, event in outcomes:
            row = waiting.get(number)
            if row is None or row.outcome_ms is not None or number in fresh:
                continue  # settled, or told before
            if not lease.wrong and not _is_of(row, event.data):
                lease = replace(lease, wrong="what was reported of an operation is not what was admitted")
                gating.suspicious(_admitted(lease, number, lease.wrong))
            fresh[number] = (number, raw, event)
        self.take(list(fresh.values()))
        lease_store.add_outcomes(self.link, lease.lease_id, fresh, self.now_ms)
        return lease

    def _settled(self, lease: Lease, gating: Gating) -> Lease:
        return leases.settle(lease, *lease_store.take_settled(self.link, lease.lease_id, gating.judged_to_ms))

    def _renew(self, lease: Lease, gating: Gating) -> Leased:
        renewed = leases.renew(
            lease,
            gating,
            gating.gated.budgets,
            self.settings,
            self.now_ms,
            blind=gating.blind(self.settings),
            policy=self.policy,
        )
        if isinstance(renewed, Refusal):
            return self._told(gating, lease, renewed)
        self._keep(gating, renewed)
        return self._told(gating, renewed, None)

    def _keep(self, gating: Gating, lease: Lease) -> None:
        lease_store.store(self.link, lease)
        _set_aside(gating, lease)

    def _told(self, gating: Gating, lease: Lease | None, refusal: Refusal | None) -> Leased:
        own, now = gating.control, effective(gating.control, gating.stop_all)
        return Leased(
            lease=lease,
            refusal=refusal,
            over=leases.why_over(lease, gating, self.settings, self.now_ms, self.policy) if lease is not None else "",
            epoch=own.epoch if own is not None else 0,
            state=now.state if now is not None else "active",
            at_ms=self.now_ms,
        )


def count(authority: Authority, asked: What | Literal["grant"], leased: Leased) -> None:
    """Count what came of a request for metrics; a mere report is not counted."""
    if asked != "report":
        met, refused = _COUNTED[asked]
        authority.count("lease", met if leased.refusal is None else refused)


def load_set_aside(link: Link, key: str, now_ms: int, set_aside: dict[str, SetAside]) -> None:
    """What an agent's leases take of its budgets, from the store."""
    set_aside.clear()
    for lease in lease_store.held(link, key, now_ms - leases.FORGOTTEN_MS):
        if lease.records_left:
            set_aside[lease.lease_id] = leases.set_aside(lease)


def _set_aside(gating: Gating, lease: Lease) -> None:
    everybody = gating.all_agents
    for budgets in (gating.gated.budgets, *([everybody.budgets] if everybody is not None else [])):
        _set_aside_in(budgets, lease, gating.now_ms)


def _set_aside_in(budgets: Budgets, lease: Lease, now_ms: int) -> None:
    aside = budgets.set_aside
    for old in [id_ for id_, one in aside.items() if one.until_ms <= now_ms - leases.FORGOTTEN_MS]:
        del aside[old]
    if lease.records_left:
        aside[lease.lease_id] = leases.set_aside(lease)
    else:
        aside.pop(lease.lease_id, None)


def _gap(lease: Lease, reported: Reported) -> Refusal | None:
    """Why a report can't be taken: a debit is missing, or is another's; nothing of it is taken then."""
    report, number = reported.report, lease.actions
    for one in report.debits:
        if one.operation.key != lease.key:
            return Refusal(rule="gap", reason=f"debit {one.n} is of another agent")
        if one.n > number + 1:
            return Refusal(rule="gap", reason=f"debit {number + 1} is missing; send all that were not taken")
        number = max(number, one.n)
    if report.used != number:
        return Refusal(rule="gap", reason=f"{report.used} operations were used, but {number} are known")
    late = [each for each, _, _ in reported.outcomes if each > number]
    return Refusal(rule="gap", reason=f"outcome {late[0]} comes before its debit") if late else None


def _is_of(row: lease_store.Row, data: AgentAction) -> bool:
    """Whether an outcome is of the operation that was admitted; it may name more records, such as those created."""
    ids = data.record_ids if data.record_ids is not UNSET else []
    changes = data.changes if data.changes is not UNSET else {}
    told = describe(data.action, ids, changes, ())
    return data.action == row.action and set(row.record_ids) <= set(told.record_ids)


def _admitted(lease: Lease, number: int, wrong: str) -> GateDecision:
    return GateDecision(
        decision="allow",
        reason="allowed under a lease",
        rule=Rule.LEASE,
        epoch=lease.epoch,
        decision_id=lease.decision_id(number),
        policy=lease.policy,
        finding=f"{lease.ask.agent_id}, a lease: {wrong}" if wrong else "",
    )
