"""Leases on the standalone runtime: what is set aside outlives it, and an agent that tells nothing may not write."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw

from events.codec import DEFAULT_LIMITS, encode
from events.times import format_ms
from events.types import ActionEvent, AgentAction
from governance.gate import GateRequest
from governance.lease_types import Debit, Lease, LeaseAsk, LeaseReport, What
from streams.leasing import Leased, read_outcomes
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime

TOML = """
[agents.bot]
actions = ["record.*"]
records_per_10_min = 12
records_per_day = 100
lease_actions = 10
lease_records = 10
"""


def lend(runtime: Runtime, request_id: str = "q1") -> Leased:
    ask = LeaseAsk(
        agent_id="bot", actions=["record.update"], request_id=request_id, action_credits=10, record_credits=10
    )
    return runtime.lease(ask).result(10)


def tell(runtime: Runtime, lease: Lease, used: int, outcomes: int = 0, what: What = "report") -> Leased:
    debits = [Debit(n=n, operation=an_update(f"r{n}")) for n in range(1, used + 1)]
    at = format_ms(runtime.now_ms())
    events = [
        ActionEvent(
            specversion="1.0", id=f"act-{n}", source="/agents/bot", time=at,
            data=AgentAction(
                agent_id="bot", action="record.update", outcome="ok", record_ids=[f"r{n}"],
                decision_id=lease.decision_id(n),
            ),
        )
        for n in range(1, outcomes + 1)
    ]  # fmt: skip
    told = LeaseReport(agent_id="bot", used=used, debits=debits, outcomes=[Raw(encode(event)) for event in events])
    found = runtime.report_lease(read_outcomes(lease.lease_id, told, DEFAULT_LIMITS), what).result(10)
    assert found is not None
    return found


def an_update(record: str) -> GateRequest:
    return GateRequest(agent_id="bot", action="record.update", record_ids=[record])


def asked(runtime: Runtime, record: str) -> str:
    return runtime.check(an_update(record)).result(10).rule.value


def test_what_is_set_aside_outlives_a_restart_and_comes_back_only_when_it_is_returned(
    start: Callable[..., Runtime], clock: ManualClock
):
    runtime = start(toml=TOML)
    lease = lend(runtime).lease
    assert lease is not None
    assert [asked(runtime, f"c{n}") for n in range(3)] == ["allowed", "allowed", "budget"]
    tell(runtime, lease, 4)
    runtime.close()
    clock.move(60_000)
    again = start(toml=TOML)
    assert asked(again, "c9") == "budget", "the lease is over, but nobody has said what was done with the rest of it"
    told = tell(again, lease, 5, 5, "return")
    assert told.lease is not None
    assert (told.lease.actions, told.lease.settled_actions) == (5, 5)
    assert [asked(again, f"c{n}") for n in range(3, 9)] == ["allowed"] * 5 + ["budget"]


def test_an_agent_that_does_not_tell_what_came_of_it_may_read_but_not_write(
    start: Callable[..., Runtime], clock: ManualClock
):
    runtime = start(toml=TOML)
    lease = lend(runtime).lease
    assert lease is not None
    tell(runtime, lease, 2, 1)
    clock.move(31_000)
    assert asked(runtime, "c1") == "blind"
    read = GateRequest(agent_id="bot", action="record.read", record_ids=["r1"])
    assert runtime.check(read).result(10).decision == "allow"
    refused = lend(runtime, "q2").refusal
    assert refused is not None
    assert refused.rule == "blind"
    until_ms = runtime.override_lease("default/bot", 10, "maya", "the host crashed; looked in the CRM").result(10)
    assert until_ms == clock.now_ms() + 600_000
    assert asked(runtime, "c1") == "allowed"
    clock.move(600_000)
    assert asked(runtime, "c2") == "blind", "it ends by itself"
    tell(runtime, lease, 2, 2, "return")
    assert asked(runtime, "c2") == "allowed"


def test_credits_come_back_for_what_is_settled_and_the_log_holds_each_admission_once(
    start: Callable[..., Runtime], clock: ManualClock
):
    runtime = start(toml=TOML.replace("= 12", "= 100"))
    lease = lend(runtime).lease
    assert lease is not None
    for _ in range(2):  # sent twice
        told = tell(runtime, lease, 6, 4, "renew")
        assert told.lease is not None
        assert (told.lease.action_limit, told.lease.settled_actions) == (14, 4)
    link = runtime.store.connect()
    rows = link.execute("SELECT seq, decision_id, rule FROM gate_decision ORDER BY seq").fetchall()
    assert rows == [(n, lease.decision_id(n), "lease") for n in range(1, 7)]
    offset = runtime.status().offsets["agent.actions"]
    assert offset == 1 + 6 + 4, "the settings, six admissions, four outcomes"
    link.close()
