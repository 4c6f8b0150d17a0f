"""Three gates on one PostgreSQL, 64 callers at once: checks and leases keep one budget, to the record."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from events.codec import DEFAULT_LIMITS
from events.types import Trigger
from governance.gate import GateRequest
from governance.lease_types import Debit, LeaseAsk, LeaseReport, What
from governance.policy import Policy, load
from governance.settings import parse_settings
from storage import leases
from storage.postgres import PgStore
from streams.gating import DecisionIds
from streams.kafka.office import leasing
from streams.kafka.office.standing import Counted, GateRound
from streams.leasing import read_outcomes

GATES, CALLERS, BUDGET, CREDITS = 3, 64, 150, 4
SETTINGS = parse_settings(
    f"""
[leases]
most_open = 100
ttl_secs = 60
[agents.bot]
actions = ["record.*"]
records_per_10_min = {BUDGET}
records_per_day = 1000
lease_actions = {CREDITS}
lease_records = {CREDITS}
[agents.other]
actions = ["record.*"]
records_per_10_min = {BUDGET}
records_per_day = 1000
lease_actions = {CREDITS}
lease_records = {CREDITS}
[people.lea]
""",
    {},
)
CEILING = 60
POLICY = f"""
format = 1
max_level = 1
[bulk]
records_in_10_min = 100
[ceiling]
records_per_day = {CEILING}
contacts_per_day = 0
[delegation.reversible]
record = {{ one = "autonomous" }}
[actions."record.update"]
reversibility = "reversible"
blast_radius = "record"
[scopes.leads]
objects = ["Lead"]
fields = ["Lead.Phone"]
[budgets.large]
records_per_10_min = 1000
records_per_day = 1000
[approvals.team]
approvers = ["role:operator"]
[roles.helper]
actions = ["record.update"]
scopes = ["leads"]
budget = "large"
approval = "team"
[agents.bot]
role = "helper"
owner = "lea"
[agents.other]
role = "helper"
owner = "lea"
"""
BY_LEA: Any = {"object": "Lead", "authorized_by": "lea", "trigger": Trigger("prompt")}


def an_update(agent_id: str, record: str) -> GateRequest:
    changes = {record: {"Phone": (1, 2)}}
    return GateRequest(agent_id=agent_id, action="record.update", record_ids=[record], changes=changes, **BY_LEA)


class Gate:
    """One console's gate: a connection and counters of its own; its callers wait for one another."""

    def __init__(self, store: PgStore, policy: Policy | None = None) -> None:
        self.link, self.counted, self.ids, self.lock = store.connect(), Counted(), DecisionIds(), threading.Lock()
        self.policy = policy

    def round(self) -> GateRound:
        return GateRound(self.link, SETTINGS, self.counted, self.ids, self.policy)

    def check(self, record: str, agent_id: str = "bot") -> bool:
        with self.lock:
            round_ = self.round()
            request = an_update(agent_id, record)
            round_.open_for([request])
            decision = round_.decide(request)
            round_.commit()
            return decision.decision == "allow"

    def grant(self, request_id: str, agent_id: str = "bot") -> Any:
        with self.lock:
            round_ = self.round()
            given = {"agent_id": agent_id, "actions": ["record.update"], "fields": ["Phone"], **BY_LEA}
            ask = LeaseAsk(request_id=request_id, **given)
            found = leasing.grant(round_, ask)
            round_.commit()
            return found

    def report(self, lease_id: str, records: list[str], what: What, agent_id: str = "bot") -> Any:
        debits = [Debit(n=n, operation=an_update(agent_id, record)) for n, record in enumerate(records, start=1)]
        told = LeaseReport(agent_id=agent_id, used=len(records), debits=debits)
        with self.lock:
            round_ = self.round()
            found = leasing.report(round_, read_outcomes(lease_id, told, DEFAULT_LIMITS), what)
            round_.commit()
            return found


def test_no_budget_is_exceeded_by_one_with_three_gates_and_64_callers(database: str):
    store = PgStore(database)
    gates = [Gate(store) for _ in range(GATES)]
    written: list[str] = []

    def call(number: int) -> None:
        """A caller: some ask for each record, some hold leases; of these some die without a word."""
        gate, other = gates[number % GATES], gates[(number + 1) % GATES]
        if number % 2:
            written.extend(f"c{number}-{n}" for n in range(3) if gate.check(f"c{number}-{n}"))
            return
        lease = gate.grant(f"q{number}").lease
        if lease is None:
            return
        records = [f"l{number}-{n}" for n in range(min(lease.action_limit, lease.record_limit) - number % 3)]
        written.extend(records)
        if number % 8:
            told = other.report(lease.lease_id, records, "return" if number % 4 else "report")
            assert told.lease.actions == len(records)

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(call, range(CALLERS)))
    assert len(written) == len(set(written)) <= BUDGET
    total, known = len(written), gates[0].link.execute("SELECT seq FROM gate_agent").fetchone()[0]
    while gates[total % GATES].check(f"end-{total}"):
        total, known = total + 1, known + 1
    held = leases.held(gates[0].link, "default/bot", 0)
    assert known + sum(one.records_left for one in held) == BUDGET, "all of it is used or set aside, no more"
    assert total <= BUDGET
    for gate in gates:
        gate.link.close()
    store.close()


def test_leases_of_all_agents_at_all_gates_stay_below_the_ceiling_by_not_one(database: str):
    store = PgStore(database)
    policy = load("p", lambda name: POLICY).policy
    gates = [Gate(store, policy) for _ in range(GATES)]
    written: list[str] = []

    def call(number: int) -> None:
        """A caller of one of two agents: asks for each record, or holds a lease, gives it back, or dies with it."""
        gate, other = gates[number % GATES], gates[(number + 1) % GATES]
        agent_id = ("bot", "other")[number % 2]
        if number % 4 < 2:
            written.extend(f"c{number}-{n}" for n in range(2) if gate.check(f"c{number}-{n}", agent_id))
            return
        lease = gate.grant(f"q{number}", agent_id).lease
        if lease is None:
            return
        records = [f"l{number}-{n}" for n in range(min(lease.action_limit, lease.record_limit) - 1)]
        written.extend(records)
        if number % 3:
            assert other.report(lease.lease_id, records, "return", agent_id).refusal is None

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(32)))
    total = len(written)
    while gates[total % GATES].check(f"end-{total}", ("bot", "other")[total % 2]):
        total += 1
    dead = sum(one.records_left for one in leases.held_by_all(gates[0].link, "default", 0))
    assert dead > 0, "some died with credits that nobody may use"
    known = gates[0].link.execute("SELECT sum(seq) FROM gate_agent").fetchone()[0]
    assert known + dead == CEILING, "all of it is used or set aside, no more"
    assert total <= CEILING
    for gate in gates:
        gate.link.close()
    store.close()
