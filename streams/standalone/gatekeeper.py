"""The gate inside the writer's thread: decides on what is committed, and admits before it answers.

An admission is a record of the agent's input, judged at once: the next check of the same round already sees the stop
that it caused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from events.times import DAY_MS
from governance.approvals import Answer, Verdict
from governance.control import ControlRow, stop_all_key
from governance.gate import GateDecision, GateRequest, Remembered
from governance.limits import Budgets
from governance.operation import Operation
from governance.policy import Policy
from governance.settings import Settings
from storage import approvals
from storage import gate as gate_store
from storage.gate import Row
from streams import approving
from streams.contacts import Met
from streams.everybody import Everybody
from streams.gating import Gated, Gating, admission, blind, report
from streams.leasing import load_set_aside
from streams.policies import PolicyInForce
from streams.routing import ACTIONS
from streams.standalone.core import Core
from streams.standalone.jobs import Job
from streams.standalone.round import Round


class Check(Gating):
    """One check inside a round."""

    __slots__ = ("_core", "_round")

    def __init__(self, round_: Round, request: GateRequest, key: str) -> None:
        super().__init__(request, key, round_.now_ms)
        self._round = round_
        self._core = round_.core

    @property
    def control(self) -> ControlRow | None:
        """The agent's own row."""
        return self._core.control.get(self.key)

    @property
    def stop_all(self) -> ControlRow | None:
        """The row of the whole tenant."""
        return self._core.control.get(stop_all_key(self.request.tenant))

    @property
    def gated(self) -> Gated:
        """What the gate counts of the agent."""
        return gated(self._core, self.key)

    @property
    def all_agents(self) -> Everybody | None:
        """What all agents of the tenant did together; None until a policy with a ceiling asked."""
        return self._core.everybody.get(self.request.tenant)

    @property
    def everybody(self) -> Budgets:
        """Their counters, made from the decisions when they are first asked for."""
        core, tenant = self._core, self.request.tenant
        found = core.everybody.get(tenant)
        if found is None:
            found = core.everybody[tenant] = Everybody()
            found.bring_up_to_date(core.link, tenant, self.now_ms, core.decided.unfiled())
        return found.budgets

    def remembered(self, request_id: str) -> Remembered | None:
        """The answer given under this request id of this agent."""
        core, key = self._core, self.key
        gated(core, key)  # what it asked before is known from then on
        if not core.asked.may_hold(key, request_id):
            return None
        return core.decided.remembered(key, request_id) or gate_store.remembered(core.link, key, request_id)

    def unknown_contacts(self, contact_ids: Sequence[str]) -> Sequence[str]:
        """Those contacts with whom nobody of the tenant was in touch before."""
        return gate_store.unknown_contacts(self._core.link, self.request.tenant, contact_ids)

    @property
    def authority(self) -> Round:
        """The open transaction."""
        return self._round

    def wrote(self, operation: Operation) -> None:
        """Approvals about these records are over."""
        round_ = self._round
        if round_.has_watched:
            tenant, what = self.request.tenant, f"{self.request.agent_id} was let write to it"
            for each in operation.record_ids:
                round_.touched(tenant, each, self.now_ms + 1, what)

    def new_id(self) -> str:
        """An id for the decision."""
        return self._core.ids.next(self.now_ms)

    def append(self, seq: int, operation: Operation, decision: GateDecision) -> int:
        """Append the admission to the log; its offset."""
        round_ = self._round
        source, text = self._core.source, round_.now_text
        return round_.append(ACTIONS, admission(self.request, self.key, seq, operation, decision, source, text))

    def keep(self, row: Row) -> None:
        """Keep a decision; its request id is known from now on."""
        core, request_id = self._core, self.request.request_id
        core.decided.add(row)
        if request_id is not None:
            core.asked.add(self.key, request_id, core.last_ms)

    def know(self, met: Iterable[Met]) -> None:
        """Remember whom the agent is in touch with now."""
        gate_store.know_contacts(self._core.link, met)

    def admitted(self) -> None:
        """Judge the admission."""
        self._round.count("admitted")
        self._round.judge()

    def refused(self, decision: GateDecision) -> None:
        """It was held or denied, and counts as such."""
        round_ = self._round
        round_.count("held" if decision.decision == "hold" else "denied")
        round_.denials.append((self.key, self.now_ms))
        round_.changed.add(("agent", self.key))

    def suspicious(self, decision: GateDecision) -> None:
        """The request itself is a finding."""
        report(self._round, self.key, self.request, decision, self.end_offset)

    @property
    def end_offset(self) -> int:
        """The end of the log."""
        return self._core.lanes[ACTIONS].next_offset


def gated(core: Core, key: str) -> Gated:
    """An agent's counters, rebuilt from its decisions when it is first asked about after a start."""
    found = core.gated.get(key)
    if found is None:
        found = core.gated[key] = Gated(gate_store.seq_of(core.link, key))
        for at_ms, operation in gate_store.admitted_since(core.link, key, core.last_ms - DAY_MS):
            found.budgets.admit(operation, at_ms)
        for request_id, at_ms in gate_store.asked_since(core.link, key, core.last_ms - core.asked.keep_ms):
            core.asked.add(key, request_id, at_ms)
        load_set_aside(core.link, key, core.last_ms, found.budgets.set_aside)
    return found


class GateCheck:
    """One check, as a job of the writer; ``told`` hears the decision once, after the commit."""

    __slots__ = ("_decision", "key", "policies", "request", "settings", "told")

    def __init__(
        self, request: GateRequest, settings: Settings, policies: PolicyInForce, told: Callable[[GateDecision], None]
    ) -> None:
        self.request = request
        self.key = request.key
        self.settings = settings
        self.policies = policies
        self.told = told
        self._decision: GateDecision | None = None

    def run(self, round_: Round) -> None:
        """Decide, and admit what is allowed."""
        self._decision = Check(round_, self.request, self.key).decide(self.settings, self.policies.policy)

    def succeed(self) -> None:
        """Answer."""
        self.told(self._decision or blind(self.request, self.settings))

    def fail(self, problem: BaseException) -> None:
        """Nothing is known: writes are denied."""
        self.told(blind(self.request, self.settings))

    def split(self) -> Sequence[Job]:
        """It can't be split."""
        return ()


def answer_approval(round_: Round, given: Answer, policy: Policy | None) -> Verdict | None:
    """A person's answer to an approval; None when there is none of this id."""
    found = approvals.find(round_.link, given.approval_id)
    if found is None:
        return None
    return approving.answer(round_, Check(round_, found.request, found.key), given, policy)
