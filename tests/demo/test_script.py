"""The demo's parts, with a gate that answers as the test says."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import click
import pytest

from console.demo.clock import LEAD_SECS, DemoClock
from console.demo.live import Live
from console.demo.organisation import LIVE_FROM_MS, ROGUE, demo_org, demo_settings, start_ms
from console.demo.script import ATTEMPTS_AFTER_STOP, FIRST_MAIL_MS, ROGUE_PER_MINUTE, Buyers, Demo
from console.demo.show import listen
from events.times import HOUR_MS, MINUTE_MS, parse_ms
from events.types import ActionEvent, ActivityEvent, ChangeEvent, Event
from governance.gate import GateDecision, GateRequest, Rule
from simulator import Simulation


class Gate:
    """Admits until it is told to refuse an agent; keeps what was asked and what went into the log."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.asked: list[GateRequest] = []
        self.logged: list[Event] = []

    def check(self, request: GateRequest) -> Future[GateDecision]:
        self.asked.append(request)
        is_refused = request.agent_id in self.refused
        future: Future[GateDecision] = Future()
        future.set_result(
            GateDecision(
                decision="deny" if is_refused else "allow",
                reason="denied: suspended; only a person can release" if is_refused else "allowed",
                rule=Rule.SUSPENDED if is_refused else Rule.ALLOWED,
                epoch=0,
                decision_id=f"d{len(self.asked)}",
            )
        )
        return future

    def ingest(self, events: Sequence[tuple[bytes, Event]], *, may_wait: bool = False) -> Future[Any]:
        assert may_wait
        self.logged.extend(event for _, event in events)
        future: Future[Any] = Future()
        future.set_result(None)
        return future

    def of_agent(self, agent_id: str) -> list[ActionEvent]:
        return [e for e in self.logged if isinstance(e, ActionEvent) and e.data.agent_id == agent_id]


class Stage:
    """A demo without threads: the test moves the time."""

    def __init__(self) -> None:
        self.simulation = Simulation(demo_org(), 1, LIVE_FROM_MS - LIVE_FROM_MS % (24 * HOUR_MS) - 44 * 24 * HOUR_MS)
        while self.simulation.now_ms < LIVE_FROM_MS:
            self.simulation.hour()
        self.gate = Gate()
        self.demo = Demo(self.simulation, 1, 60.0, None)
        clock = DemoClock(LIVE_FROM_MS)
        self.live = Live(self.gate, self.simulation, clock, (self.demo.rogue_actions,), self.demo.heard)
        self.now_ms = LIVE_FROM_MS

    def wait(self, minutes: int) -> None:
        for _ in range(minutes * 6):
            self.now_ms += 10_000
            self.live.turn(self.now_ms)


@pytest.fixture(scope="module")
def calm() -> Stage:
    stage = Stage()
    stage.wait(30)
    return stage


def test_every_action_of_an_agent_asks_the_gate_first_and_names_its_decision(calm: Stage) -> None:
    actions = [event for event in calm.gate.logged if isinstance(event, ActionEvent)]
    assert len(actions) > 60
    assert len(calm.gate.asked) == len(actions)
    assert {event.data.decision_id for event in actions} == {f"d{i + 1}" for i in range(len(actions))}


def test_everything_happens_at_its_own_time(calm: Stage) -> None:
    times = [parse_ms(event.time) for event in calm.gate.logged]
    assert min(times) >= LIVE_FROM_MS
    assert max(times) <= calm.now_ms


def test_what_is_refused_never_happens_and_leaves_no_trace_in_the_crm() -> None:
    stage = Stage()
    stage.gate.refused.add("stage-sync")
    stage.wait(120)
    assert any(request.agent_id == "stage-sync" for request in stage.gate.asked)
    assert stage.gate.of_agent("stage-sync") == []
    actors = {e.data.actor.id for e in stage.gate.logged if isinstance(e, ChangeEvent) and e.data.actor}
    assert "stage-sync" not in actors


def test_the_rogue_agent_acts_ten_times_too_fast_and_writes_nonsense() -> None:
    stage = Stage()
    assert stage.demo.go_rogue()
    assert not stage.demo.go_rogue()
    stage.wait(2)
    wild = [event for event in stage.gate.of_agent(ROGUE) if "-rogue-" in event.id]
    assert len(wild) == pytest.approx(2 * ROGUE_PER_MINUTE, rel=0.2)
    values = [pair[1] for e in wild for fields in e.data.changes.values() for pair in fields.values()]
    assert set(values) <= {"Unknown", None}
    assert len({e.data.record_ids[0] for e in wild}) == len(wild)


def test_after_the_stop_it_tries_some_more_then_gives_up_and_works_again_when_released() -> None:
    stage = Stage()
    stage.demo.begin(["curl …"])
    assert stage.demo.curl_lines == []
    stage.demo.go_rogue()
    stage.wait(1)
    done = len(stage.gate.of_agent(ROGUE))
    stage.gate.refused.add(ROGUE)
    stage.wait(10)
    assert len(stage.gate.of_agent(ROGUE)) == done
    assert stage.demo.is_stopped
    assert stage.demo.curl_lines == ["curl …"]
    assert not stage.demo.can_go_rogue
    refused = [r for r in stage.gate.asked if r.agent_id == ROGUE and "-rogue-" in str(r.request_id)]
    assert len(refused) - sum("-rogue-" in e.id for e in stage.gate.of_agent(ROGUE)) == ATTEMPTS_AFTER_STOP
    stage.gate.refused.clear()
    stage.wait(30)
    after = stage.gate.of_agent(ROGUE)[done:]
    assert len(after) > 20
    assert not any("-rogue-" in event.id for event in after)
    assert stage.demo.can_go_rogue
    assert stage.demo.curl_lines == []


def test_nothing_wrong_that_was_refused_is_taken_for_the_crms_content() -> None:
    stage = Stage()
    stage.gate.refused.add(ROGUE)
    before = [dict(account.fields) for account in stage.simulation.world.accounts[:60]]
    stage.demo.go_rogue()
    stage.wait(3)
    after = [account.fields for account in stage.simulation.world.accounts[:60]]
    assert not any("Unknown" in fields.values() for fields in after if "Unknown" not in before)


def test_it_goes_rogue_by_itself_only_when_told_to(calm: Stage) -> None:
    assert calm.demo.rogue_in_s is None
    assert calm.demo.rogue_at is None


def test_buyers_of_the_five_deals_write_one_after_the_other() -> None:
    stage = Stage()
    five = [deal.id for deal in stage.simulation.world.deal_list[:5]]
    buyers = Buyers(stage.simulation, 1, LIVE_FROM_MS, lambda: five)
    assert buyers.mails(LIVE_FROM_MS + FIRST_MAIL_MS - 1) == []
    mails = [event for _, event in buyers.mails(LIVE_FROM_MS + 4 * HOUR_MS)]
    assert all(isinstance(event, ActivityEvent) and event.data.direction == "inbound" for event in mails)
    assert [event.data.deal_id for event in mails if isinstance(event, ActivityEvent)][:5] == five
    assert mails[0].data.participants[0].name  # type: ignore[attr-defined]


def test_the_demos_settings_name_every_agent_and_person_of_its_organisation() -> None:
    settings = demo_settings("somewhere", "127.0.0.1", 8787)
    assert set(settings.agents) == {agent.agent_id for agent in demo_org().agents}
    known = {person.crm_user for person in settings.people.values()}
    simulation = Simulation(demo_org(), 1, start_ms())
    simulation.hour()
    simulation.hour()
    assert {deal.owner_id for deal in simulation.world.deal_list} <= known
    assert {deal.manager_id for deal in simulation.world.deal_list} <= known


def test_the_clock_stands_until_it_runs_and_never_goes_back() -> None:
    clock = DemoClock(1_000)
    assert clock.now_ms() == 1_000
    clock.stand(5_000)
    clock.stand(2_000)
    assert clock.now_ms() == 5_000
    assert clock.wait_secs(5_000 + MINUTE_MS) > 0
    clock.run(60.0)
    assert clock.now_ms() >= 5_000
    assert 0.0 < clock.wait_secs(5_000 + HOUR_MS) <= 60.0


def test_the_clock_waits_for_what_it_drives(monkeypatch: pytest.MonkeyPatch) -> None:
    real = 100.0
    monkeypatch.setattr("console.demo.clock.time.monotonic", lambda: real)
    clock = DemoClock(0)
    clock.run(60.0)
    clock.kept_up(0)
    real += 0.25
    assert clock.now_ms() == 15_000
    real += 60.0  # nobody kept up for a minute: it stands
    assert clock.now_ms() == LEAD_SECS * 60_000
    clock.kept_up(int(LEAD_SECS * 60_000))
    assert clock.now_ms() == LEAD_SECS * 60_000
    real += 0.125  # and goes on from there, without a jump
    assert clock.now_ms() == LEAD_SECS * 60_000 + 7_500


def test_a_taken_port_is_refused_when_it_was_asked_for_and_avoided_when_not() -> None:
    with listen(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(click.ClickException, match=f"port {port}"):
            listen(port)
    with socket.socket() as default:
        default.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            default.bind(("127.0.0.1", 8787))
            default.listen()
        except OSError:
            pass  # somebody else has it: all the better
        with listen(None) as free:
            assert free.getsockname()[1] != 8787
