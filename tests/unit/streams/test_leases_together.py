"""Three gates on one PostgreSQL, 64 callers at once: checks and leases keep one budget, to the record."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from events.codec import DEFAULT_LIMITS
from governance.gate import GateRequest
from governance.lease_types import Debit, LeaseAsk, LeaseReport, What
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
""",
    {},
)


class Gate:
    """One console's gate: a connection and counters of its own; its callers wait for one another."""

    def __init__(self, store: PgStore) -> None:
        self.link, self.counted, self.ids, self.lock = store.connect(), Counted(), DecisionIds(), threading.Lock()

    def round(self) -> GateRound:
        return GateRound(self.link, SETTINGS, self.counted, self.ids)

    def check(self, record: str) -> bool:
        with self.lock:
            round_ = self.round()
            request = GateRequest(agent_id="bot", action="record.update", record_ids=[record])
            round_.open_for([request])
            decision = round_.decide(request)
            round_.commit()
            return decision.decision == "allow"

    def grant(self, request_id: str) -> Any:
        with self.lock:
            round_ = self.round()
            ask = LeaseAsk(agent_id="bot", actions=["record.update"], request_id=request_id)
            found = leasing.grant(round_, ask)
            round_.commit()
            return found

    def report(self, lease_id: str, records: list[str], what: What) -> Any:
        debits = [
            Debit(n=n, operation=GateRequest(agent_id="bot", action="record.update", record_ids=[record]))
            for n, record in enumerate(records, start=1)
        ]
        told = LeaseReport(agent_id="bot", used=len(records), debits=debits)
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
