"""What the gate knows of the agents of one round: read from the store under their locks, counted in memory.

The counters of an agent are kept from round to round; its number of admissions says whether another console has
admitted something meanwhile, which is then read from the decisions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from events.codec import encode
from events.times import DAY_MS, format_ms
from governance.control import ControlRow, stop_all_key
from governance.gate import GateDecision, GateRequest, Remembered
from governance.kin import kin_of
from governance.operation import Operation
from governance.policy import Policy
from governance.settings import Settings
from storage import gate as gate_store
from storage import publication, shared
from storage.gate import Row
from storage.link import Cursor, Link
from storage.postgres import PgLink
from streams.contacts import Met
from streams.envelopes import make_key
from streams.everybody import Everybody
from streams.gating import DecisionIds, Gated, Gating, admission, report
from streams.kafka.office.round import OfficeRound
from streams.leasing import load_set_aside
from streams.routing import ACTIONS

_ALL = "*all"
"""Stands for all agents of a tenant, where they are counted together; whoever counts has it locked."""
_SLACK_MS = 60_000
"""The store's clock may be set back by this much."""


class Counted:
    """The counters of every agent that this console was asked about."""

    def __init__(self) -> None:
        self._gated: dict[str, Gated] = {}
        self._everybody: dict[str, Everybody] = {}
        self._last_ms: dict[str, int] = {}

    def bring_up_to_date(
        self, link: Link, keys: Collection[str], seqs: Mapping[str, int], now_ms: int
    ) -> dict[str, Gated]:
        """The counters of these agents, as of the open transaction that has locked their keys.

        ``seqs`` has each agent's number of admissions; one that was never admitted is missing.
        """
        return {key: self._one(link, key, seqs.get(key, 0), now_ms) for key in keys}

    def everybody(self, link: Link, tenant: str, now_ms: int) -> Everybody:
        """The counters of all agents of a tenant, as of the open transaction that has locked it."""
        found = self._everybody.setdefault(tenant, Everybody())
        found.bring_up_to_date(link, tenant, now_ms)
        return found

    def forget(self, keys: Iterable[str]) -> None:
        """A transaction on these failed: what was counted in it never happened."""
        self._everybody.clear()
        for key in keys:
            self._gated.pop(key, None)

    def _one(self, link: Link, key: str, seq: int, now_ms: int) -> Gated:
        found = self._gated.get(key)
        if found is None or found.seq > seq:
            found = self._gated[key] = Gated(0)
            self._last_ms[key] = 0
        if found.seq < seq:
            since_ms = max(now_ms - DAY_MS, self._last_ms[key] - _SLACK_MS)
            for at_ms, operation in shared.admitted_after(link, key, since_ms, found.seq):
                found.budgets.admit(operation, at_ms)
            found.seq = seq
        self._last_ms[key] = now_ms
        return found


class GateRound(OfficeRound):
    """An open transaction of the gate."""

    _seqs: Cursor
    _answers: Cursor | None

    def __init__(
        self,
        link: PgLink,
        settings: Settings,
        counted: Counted,
        ids: DecisionIds,
        policy: Policy | None = None,
        saved_ms: int = 0,
    ) -> None:
        super().__init__(link, settings)
        self.policy = policy
        self.saved_ms = saved_ms
        """The workers have judged and saved all that came before; see ``EngineWatch``."""
        self.ids = ids
        self.source = f"/tripline/{self.engine_id}"
        self.now_text = ""
        self.gated: dict[str, Gated] = {}
        self.everybody: dict[str, Everybody] = {}
        self._has_ceiling = policy is not None and policy.ceiling is not None
        self.answers: dict[tuple[str, str], Remembered] = {}
        self.denials: list[tuple[str, int]] = []
        self.met: set[Met] = set()
        self.repeated: set[str] = set()
        self.published: Sequence[int] = ()
        """Numbers of publications of earlier rounds that are in the log, and can go with this one."""
        self._counted = counted
        self._decided: list[Row] = []
        self._keys: set[str] = set()
        self._asked: list[tuple[str, str]] = []

    def open_for(self, requests: Sequence[GateRequest]) -> None:
        """Lock the agents of these requests, and read what is known of them."""
        self._keys = {request.key for request in requests}
        self._asked = sorted({(each.key, each.request_id) for each in requests if each.request_id is not None})
        others = {stop_all_key(request.tenant) for request in requests}
        for request in requests:
            kin = kin_of(request, self.settings, self.policy)
            others.update([make_key(request.tenant, one.agent_id) for one in kin])
        tenants = {request.tenant for request in requests} if self._has_ceiling else set[str]()
        self.begin(self._keys | {make_key(tenant, _ALL) for tenant in tenants}, others)
        self.everybody = {tenant: self._counted.everybody(self.link, tenant, self.now_ms) for tenant in sorted(tenants)}
        self.now_text = format_ms(self.now_ms)
        seqs = dict(self._seqs.fetchall())
        self.gated = self._counted.bring_up_to_date(self.link, self._keys, seqs, self.now_ms)
        self.answers = shared.answers(self._answers) if self._answers is not None else {}
        for key, agent_id in {request.key: request.agent_id for request in requests}.items():
            agent = self.settings.agents.get(agent_id)
            if agent is not None and agent.lease_actions:
                load_set_aside(self.link, key, self.now_ms, self.gated[key].budgets.set_aside)

    def ask(self) -> None:
        """Ask for numbers of admissions and earlier answers, behind the locks."""
        self._seqs = shared.ask_seqs(self.link, self._keys)
        self._answers = shared.ask_answers(self.link, self._asked) if self._asked else None

    def decide(self, request: GateRequest) -> GateDecision:
        """Decide on one request."""
        decision = Standing(self, request).decide(self.settings, self.policy)
        self.agents.add(request.agent_id)
        if decision.is_repeated:
            self.repeated.add(request.key)
        return decision

    def keep(self, row: Row) -> None:
        """Keep a decision; its request id is known from now on."""
        self._decided.append(row)
        asked_as = gate_store.asked_as(row)
        if asked_as is not None:
            self.answers[asked_as] = gate_store.remembered_row(row)

    def write(self) -> None:
        """Write decisions, numbers, and whom the agents are in touch with now."""
        if self.met:
            gate_store.know_contacts(self.link, sorted(self.met))  # in one order: nobody waits in a circle
        gate_store.file_decisions(self.link, self._decided)
        publication.done(self.link, self.published)
        super().write()


class Standing(Gating):
    """One check: what is known of the agent now."""

    __slots__ = ("_round",)

    def __init__(self, round_: GateRound, request: GateRequest) -> None:
        super().__init__(request, request.key, round_.now_ms)
        self._round = round_

    @property
    def control(self) -> ControlRow | None:
        """The agent's own row."""
        return self._round.row_of(self.key)

    @property
    def stop_all(self) -> ControlRow | None:
        """The row of the whole tenant."""
        return self._round.row_of(stop_all_key(self.request.tenant))

    @property
    def gated(self) -> Gated:
        """What the gate counts of the agent."""
        return self._round.gated[self.key]

    @property
    def all_agents(self) -> Everybody | None:
        """What all agents of the tenant did together, under a ceiling."""
        return self._round.everybody.get(self.request.tenant)

    def remembered(self, request_id: str) -> Remembered | None:
        """The answer given under this request id of this agent, by whichever console."""
        return self._round.answers.get((self.key, request_id))

    def unknown_contacts(self, contact_ids: Sequence[str]) -> Sequence[str]:
        """Those contacts with whom nobody of the tenant was in touch before."""
        tenant, now_ms, met = self.request.tenant, self.now_ms, self._round.met
        asked = [each for each in contact_ids if (tenant, each, now_ms) not in met]
        return shared.unknown_contacts(self._round.link, tenant, asked)

    @property
    def judged_to_ms(self) -> int:
        """Up to when all that was admitted is judged."""
        return shared.judged_to(self._round.link, self.key, self._round.saved_ms)

    @property
    def authority(self) -> GateRound:
        """The open transaction."""
        return self._round

    def wrote(self, operation: Operation) -> None:
        """Other agents' approvals are not locked here: they hear of it by the CRM's change feed."""

    def new_id(self) -> str:
        """An id for the decision."""
        return self._round.ids.next(self.now_ms)

    def append(self, seq: int, operation: Operation, decision: GateDecision) -> None:
        """Have the admission published after the commit."""
        round_ = self._round
        event = admission(self.request, self.key, seq, operation, decision, round_.source, round_.now_text)
        round_.publish("admission", ACTIONS, self.key, event.id, encode(event))

    def keep(self, row: Row) -> None:
        """Keep a decision."""
        self._round.keep(row)

    def know(self, met: Iterable[Met]) -> None:
        """Remember whom the agent is in touch with now."""
        self._round.met.update(met)

    def admitted(self) -> None:
        """Count it."""
        self._round.count("admitted")

    def refused(self, decision: GateDecision) -> None:
        """Count it."""
        round_ = self._round
        round_.count("held" if decision.decision == "hold" else "denied")
        round_.denials.append((self.key, self.now_ms))
        round_.changed.add(("agent", self.key))

    def suspicious(self, decision: GateDecision) -> None:
        """The request itself is a finding."""
        report(self._round, self.key, self.request, decision, 0)
