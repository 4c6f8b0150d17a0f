"""The gates of consoles on Kafka: several on one agent, and without store or broker."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec import Raw

from events.codec import DEFAULT_LIMITS, decode, encode
from events.times import format_ms
from events.types import (
    ActionEvent,
    Actor,
    Admission,
    AdmissionEvent,
    AgentAction,
    ChangeEvent,
    CrmChange,
    Revert,
    RevertEvent,
)
from governance.lease_types import Debit, LeaseAsk, LeaseReport
from streams.envelopes import envelope
from streams.kafka.admin import create
from streams.kafka.office.runtime import OfficeRuntime
from streams.leasing import read_outcomes
from tests.kafka.broker import Broker
from tests.kafka.conftest import settings_of, started
from tests.kafka.deciding import Offices, a_check, asked, by_person, now_ms, settings_with
from tests.kafka.working import until
from tests.postgres import Postgres

BUDGET = 40


@pytest.fixture
def tight(offices: Offices) -> Offices:
    """Consoles where an agent may write 40 records."""
    kafka, url = offices.settings.kafka, offices.settings.store.url
    offices.settings = settings_with(kafka, url, budget=BUDGET)
    return offices


def admissions(offices: Offices, agent: str = "bot") -> list[Admission]:
    """What lies in the agent's input, each event id once, in the order of their numbers."""
    events = [decode(record.value) for record in offices.cluster.read("agent.actions")]
    found = {event.id: event for event in events if isinstance(event, AdmissionEvent) and event.data.agent_id == agent}
    assert all(event_id == f"admission:default/{agent}:{event.data.seq}" for event_id, event in found.items())
    return sorted((event.data for event in found.values()), key=lambda data: data.seq)


def reverts(offices: Offices) -> list[Revert]:
    """What people undid, in the agents' partitions; the key decides which."""
    found = [(record, decode(record.value)) for record in offices.cluster.read("agent.actions")]
    return [event.data for record, event in found if isinstance(event, RevertEvent) and record.key == b"default/rogue"]


def test_an_admission_is_in_the_log_when_the_answer_comes(offices: Offices):
    office = offices.open()
    answer = asked(office, a_check(records=("r-1", "r-2")))
    assert (answer.decision, answer.rule) == ("allow", "allowed")
    (admitted,) = admissions(offices)
    assert (admitted.decision_id, admitted.seq, admitted.record_ids) == (answer.decision_id, 1, ["r-1", "r-2"])
    until(lambda: offices.one("SELECT count(*) FROM publication") == 0, "it needs no publication any more", 5)
    assert offices.one("SELECT seq FROM gate_decision WHERE decision_id = ?", answer.decision_id) == 1


def test_two_gates_on_one_agent_keep_one_budget_and_number_without_a_gap(tight: Offices):
    gates = [tight.open(), tight.open()]

    def ask_all(gate: int) -> list[str]:
        answers: list[str] = []
        for wave in range(20):
            futures = [gates[gate].check(a_check(records=(f"r-{gate}-{wave}-{number}",))) for number in range(3)]
            answers += [future.result(10).decision for future in futures]
        return answers

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(ask_all, (0, 1))
    assert first.count("allow") + second.count("allow") == BUDGET
    assert min(first.count("allow"), second.count("allow")) > 0
    admitted = admissions(tight)
    assert [one.seq for one in admitted] == list(range(1, BUDGET + 1))
    assert len({record for one in admitted for record in one.record_ids}) == BUDGET
    assert asked(tight.open(), a_check(records=("r-new",))).rule == "budget"


def test_a_stopped_agent_is_refused_by_every_gate_from_the_commit_on(offices: Offices):
    gates = [offices.open(), offices.open()]
    assert {asked(gate, a_check()).decision for gate in gates} == {"allow"}
    for number in range(5):
        stopper, other = gates[number % 2], gates[1 - number % 2]
        row = stopper.control(by_person("bot", "suspended", 0)).result(5).row
        assert {asked(gate, a_check()).rule for gate in (other, stopper)} == {"suspended"}
        below = a_check("rogue", parent_agent_id="bot")
        assert {asked(gate, below).rule for gate in (other, stopper)} == {"suspended"}
        assert asked(other, a_check("rogue")).decision == "allow"
        released = other.control(by_person("bot", "active", row.epoch)).result(5).row
        assert released.state == "releasing"
        assert {asked(gate, a_check()).rule for gate in (other, stopper)} == {"held"}
        until(lambda: len(offices.releases()) > number, "the release is in the log")  # noqa: B023
        offices.echo(offices.releases()[-1])
        until(lambda: offices.state() == "active", "it is active")
        assert {asked(gate, a_check()).decision for gate in (other, stopper)} == {"allow"}


def test_a_stop_of_all_is_obeyed_by_every_gate_at_once(offices: Offices):
    gates = [offices.open(), offices.open()]
    assert {asked(gate, a_check()).decision for gate in gates} == {"allow"}
    gates[0].control(by_person("*", "suspended", 0)).result(5)
    assert {asked(gate, a_check(agent)).rule for gate in gates for agent in ("bot", "rogue")} == {"stop_all"}
    until(lambda: offices.one("SELECT sum(denied) FROM agent_bin") == 4, "the refusals are counted", 10)


def test_what_one_console_decides_is_heard_by_the_pages_of_the_other(offices: Offices):
    first, second = offices.open(), offices.open(has_pages=True)
    heard: set[tuple[str, str]] = set()
    second.subscribe(lambda changes: heard.update((kind, agent) for kind in changes.kinds for agent in changes.agents))
    first.control(by_person("bot", "suspended", 0)).result(5)
    until(lambda: ("control", "bot") in heard, "the other one has heard", 5)
    until(lambda: second.status().control_counts == {"suspended": 1}, "and counts it", 5)
    assert second.status().suspended_by == {"human": 1}


def test_a_request_id_gives_one_admission_whichever_gate_is_asked(offices: Offices):
    gates = [offices.open(), offices.open()]
    answers = [asked(gate, a_check(request_id="once")) for gate in (*gates, *gates)]
    assert {answer.decision for answer in answers} == {"allow"}
    assert len({answer.decision_id for answer in answers}) == 1
    assert [one.seq for one in admissions(offices)] == [1]
    other = asked(gates[1], a_check(records=("r-2",), request_id="once"))
    assert other.rule == "request_id"
    assert offices.one("SELECT count(*) FROM finding WHERE detector = 'gate'") == 1


LENDER = """
[agents.lender]
actions = ["record.*"]
lease_actions = 5
lease_records = 5
"""


def test_what_was_done_under_a_lease_is_in_the_log_and_a_stop_by_another_gate_ends_it(offices: Offices):
    offices.settings = settings_with(offices.settings.kafka, offices.settings.store.url, text=LENDER)
    gates = [offices.open(), offices.open()]
    ask = LeaseAsk(agent_id="lender", actions=["record.update"], object="Contact", request_id="q1", action_credits=5)
    lease = gates[0].lease(ask).result(5).lease
    assert lease is not None
    assert gates[1].lease(ask).result(5).lease == lease
    debits = [Debit(n=n, operation=a_check("lender", records=(f"r-{n}",))) for n in (1, 2)]
    event = ActionEvent(
        specversion="1.0", id="act-1", source="/agents/lender", time=format_ms(now_ms()),
        data=AgentAction(
            agent_id="lender", action="record.update", outcome="ok", object="Contact", record_ids=["r-1"],
            decision_id=lease.decision_id(1),
        ),
    )  # fmt: skip
    told = LeaseReport(agent_id="lender", used=2, debits=debits, outcomes=[Raw(encode(event))])
    reported = read_outcomes(lease.lease_id, told, DEFAULT_LIMITS)
    for gate in (*gates, gates[0]):
        found = gate.report_lease(reported, "renew").result(5)
        assert found is not None
        assert found.lease is not None
        assert (found.over, found.lease.actions, found.lease.settled_actions) == ("", 2, 0), "no worker has judged it"
        assert found.lease.action_limit == 5, "so there are no credits for it"
    admitted = admissions(offices, "lender")
    assert [(one.seq, one.decision_id) for one in admitted] == [(n, lease.decision_id(n)) for n in (1, 2)]
    reports = [decode(record.value) for record in offices.cluster.read("agent.actions")]
    assert [one.id for one in reports if isinstance(one, ActionEvent)] == ["act-1"]
    gates[1].control(by_person("lender", "suspended", 0)).result(5)
    over = gates[0].report_lease(reported, "renew").result(5)
    assert over is not None
    assert over.over == "the agent's state has changed since; it is suspended"
    until(lambda: offices.one("SELECT count(*) FROM publication WHERE kind = 'admission'") == 0, "all is published", 5)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Postgres]]:
    """Broker and database that a test may break."""
    broker = started(lambda: Broker(tmp_path_factory.mktemp("own-kafka")))
    server = Postgres()
    server.start()
    yield broker, server
    server.close()
    broker.stop()


@pytest.fixture
def breakable(own: tuple[Broker, Postgres]) -> Iterator[Offices]:
    """Consoles on these."""
    broker, server = own
    kafka = settings_of(broker.address)
    create(kafka)
    made = Offices(settings_with(kafka, server.database()))
    yield made
    made.close()


def check_denied(office: OfficeRuntime) -> None:
    """Writes are denied, and soon."""
    began = time.monotonic()
    answer = asked(office, a_check())
    assert (answer.decision, answer.rule) == ("deny", "control_unknown")
    assert time.monotonic() - began < 2.0


@pytest.mark.faults
def test_without_the_store_writes_are_denied_until_it_is_back(breakable: Offices, own: tuple[Broker, Postgres]):
    office = breakable.open()
    assert asked(office, a_check()).decision == "allow"
    own[1].kill()
    check_denied(office)
    check_denied(office)
    until(lambda: "store" in office.status().degraded_reasons, "it says so", 5)
    own[1].start()
    until(lambda: asked(office, a_check()).decision == "allow", "it works again", 10)
    until(lambda: not office.status().troubles, "nothing is wrong any more", 10)
    assert [one.seq for one in admissions(breakable)] == list(range(1, len(admissions(breakable)) + 1))


@pytest.mark.faults
def test_the_first_check_after_the_store_was_away_is_decided(breakable: Offices, own: tuple[Broker, Postgres]):
    office = breakable.open()
    assert asked(office, a_check()).decision == "allow"
    until(lambda: breakable.one("SELECT count(*) FROM publication") == 0, "the gate has nothing to tidy up")
    breakable.look_away()
    own[1].kill()  # nobody asks meanwhile, so the gate's connection is of the server that was
    own[1].start()
    until(lambda: not office.status().troubles, "nothing is wrong any more", 20)
    assert asked(office, a_check()).decision == "allow"


@pytest.mark.faults
def test_without_broker_writes_are_denied_until_it_is_back_also_by_a_console_that_starts_then(
    breakable: Offices, own: tuple[Broker, Postgres]
):
    office = breakable.open()
    assert asked(office, a_check()).decision == "allow"
    own[0].kill()
    for _ in range(5):
        check_denied(office)
    until(lambda: "broker" in office.status().degraded_reasons, "it says so", 10)
    seq = breakable.one("SELECT seq FROM gate_agent")
    check_denied(office)
    assert breakable.one("SELECT seq FROM gate_agent") == seq  # once it is known, budgets are not debited in vain
    breakable.look_away()
    own[1].kill()
    late = breakable.open(ready=False)
    check_denied(late)
    until(lambda: {"store", "broker"} <= set(late.status().degraded_reasons), "it says what is missing", 15)
    assert all("127.0.0.1" in trouble for trouble in late.status().troubles)
    own[1].start()
    until(lambda: "store" not in late.status().degraded_reasons, "the store is there", 15)
    check_denied(late)
    own[0].start()
    for one in (office, late):
        until(lambda: not one.status().troubles, "all is well", 30)  # noqa: B023
        assert asked(one, a_check()).decision == "allow"
    until(lambda: breakable.one("SELECT count(*) FROM publication") == 0, "what was committed is in the log", 20)
    count = breakable.one("SELECT seq FROM gate_agent")
    assert [one.seq for one in admissions(breakable)] == list(range(1, count + 1))


KILLED = """
import os, signal, sys
from governance.settings import parse_settings
from storage.postgres import PgStore
from streams.gating import DecisionIds
from streams.kafka.office.standing import Counted, GateRound
from tests.kafka.deciding import a_check

gate = {"gate.unknown_agents": "allow", "gate.unknown_authorizers": "allow"}
settings = parse_settings(None, {}, {"kafka.partitions": 3, **gate})
round_ = GateRound(PgStore(sys.argv[1]).connect(), settings, Counted(), DecisionIds())
requests = [a_check(agent, request_id="once") for agent in ("bot", "rogue")]
round_.open_for(requests)
assert {round_.decide(request).decision for request in requests} == {"allow"}
round_.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.faults
def test_an_admission_whose_gate_was_killed_before_writing_it_is_written_by_another(offices: Offices):
    killed = subprocess.run([sys.executable, "-c", KILLED, offices.settings.store.url], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert offices.one("SELECT count(*) FROM publication") == 2
    office = offices.open()
    again = asked(office, a_check(request_id="once"))
    assert again.decision == "allow"
    (admitted,) = admissions(offices)  # who asks again hears "allow" when the admission is in the log, not before
    assert (admitted.seq, admitted.decision_id) == (1, again.decision_id)
    until(lambda: offices.one("SELECT count(*) FROM publication") == 0, "the other one is written as well", 10)
    assert [one.seq for one in admissions(offices, "rogue")] == [1]
    assert asked(office, a_check("rogue")).decision == "allow"
    assert [one.seq for one in admissions(offices, "rogue")] == [1, 2]


def test_what_agents_do_past_the_gates_is_seen_in_the_crms_feed_by_whichever_console(offices: Offices) -> None:
    one, two = offices.open(), offices.open()
    assert asked(one, a_check(records=("r-1",))).decision == "allow"
    two.control(by_person("bot", "suspended", 0)).result(10)
    at_ms = now_ms() + 1

    def change(number: int, agent: str, record: str, kind: str = "agent", email: tuple[str, str] = ("a", "b")) -> None:
        fields = {"Email": email}
        data = CrmChange(
            object="Contact", record_id=record, op="update", actor=Actor(kind, agent), system="sf", changes=fields
        )
        key = f"default/{record}"
        offices.put("crm.events", key, encode(envelope(ChangeEvent, "crm", f"c-{number}", at_ms, key, data)))

    for number, (agent, record) in enumerate((("bot", "r-1"), ("bot", "r-2"), ("rogue", "r-3"), ("bot", "r-2"))):
        change(number % 3, agent, record)

    change(9, "jo", "r-3", "human", ("b", "a"))

    def seen() -> list[tuple[str, ...]]:
        return offices.store().execute("SELECT kind, record_id FROM outside_write ORDER BY record_id").fetchall()

    until(lambda: len(seen()) >= 2, "writes after the stop are seen", 20)
    until(lambda: offices.store().execute("SELECT 1 FROM unmatched_write").fetchall(), "the other one waits", 20)
    assert seen() == [("in_flight", "r-1"), ("leaked", "r-2")]
    offices.store().execute("UPDATE unmatched_write SET due_ms = 1")
    until(lambda: ("shadow", "r-3") in seen(), "the leader looks again", 20)
    alive = offices.store().execute("SELECT max(alive_ms) FROM crm_feed WHERE system = 'sf'").fetchone()
    assert alive[0] <= at_ms
    row: Any = offices.store().execute("SELECT at_ms FROM control WHERE key = 'default/bot'").fetchone()
    beats = "SELECT count(*) FROM gate_beat WHERE obeys_ms >= ? AND trouble = ''"
    until(lambda: offices.store().execute(beats, row).fetchone() == (2,), "both gates say that they obey", 20)
    until(lambda: reverts(offices), "what a person undid is in the agent's input", 20)
    ((agent_id, kind, by, written),) = {(r.agent_id, r.kind, r.by, r.written) for r in reverts(offices)}
    assert (agent_id, kind, by, written) == ("rogue", "undone", "jo", 1)
    one.close()
    assert offices.store().execute("SELECT count(*) FROM gate_beat").fetchone() == (1,)
    kinds = {kind for (kind,) in offices.store().execute("SELECT severity FROM finding").fetchall()}
    assert kinds == {"critical", "warning"}
