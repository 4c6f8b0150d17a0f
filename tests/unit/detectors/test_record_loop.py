"""Behaviour of the record-loop detector."""

from __future__ import annotations

import random
from typing import Any

import pytest

from detectors.base import Action, Evidence
from detectors.record_loop import Config, LoopState, RecordLoop
from events.catalogue import kind_of
from events.types import ActionError, AgentAction

START = 1_767_571_200_000
DAY = 86_400_000


class Agent:
    """One agent at the detector; ``write`` returns what the detector said."""

    def __init__(self, config: Config | None = None) -> None:
        self.detector = RecordLoop(config)
        self.state: LoopState = self.detector.new_state("a")
        self.number = 0
        self.at_ms = START

    def write(
        self, record: str | None, *, secs: float = 5, action: str = "record.update", **said: Any
    ) -> Evidence | None:
        self.number += 1
        self.at_ms += int(secs * 1000)
        if record is not None:
            said["record_ids"] = [record]
        fields = {"outcome": "ok", "object": "Account", **said}
        data = AgentAction(agent_id="a", action=action, **fields)
        kind = kind_of(action)
        return self.detector.observe(Action(self.at_ms, self.at_ms, "/crm", f"e{self.number}", kind, data), self.state)

    def work(self, writes: int = 200, records: int = 500, seed: int = 1, secs: float = 30) -> None:
        """Ordinary work on many records."""
        rng = random.Random(seed)
        for _ in range(writes):
            assert self.write(f"r{rng.randrange(records)}", secs=secs) is None

    def until(self, wanted: str, record: str, most: int = 60, **said: Any) -> int:
        """How many writes to a record it takes until something is wanted; 0 for never."""
        for count in range(1, most + 1):
            evidence = self.write(record, **said)
            if evidence is not None and evidence.wanted == wanted:
                return count
        return 0


@pytest.fixture
def agent() -> Agent:
    agent = Agent()
    agent.work()
    return agent


def changes(record: str, before: str, after: str) -> dict[str, Any]:
    return {record: {"Stage": (before, after)}}


def test_the_same_call_ten_times_stops_the_agent(agent: Agent) -> None:
    assert agent.until("suspend", "x", changes=changes("x", "A", "B")) == 10


def test_calls_whose_changes_are_not_reported_count_as_the_same(agent: Agent) -> None:
    assert agent.until("suspend", "x") == 10


def test_a_field_that_flips_stops_the_agent_and_the_sentence_says_so(agent: Agent) -> None:
    found = None
    for count in range(12):
        ends = ("A", "B") if count % 2 else ("B", "A")
        found = found or agent.write("x", changes=changes("x", *ends))
    assert found is not None
    assert found.wanted == "suspend"
    assert found.summary == (
        "10th write to the same Account within 45 seconds, the same calls again and again; usually it goes on after 1.1"
    )
    assert found.events == (("/crm", "e210"),)


def test_other_writes_and_reads_in_between_do_not_hide_it(agent: Agent) -> None:
    stopped = []
    for count in range(12):
        stopped.append(agent.write("x"))
        agent.write("x", action="record.read")
        if count % 3 == 0:
            stopped.append(agent.write(f"other{count}"))
    assert [evidence.wanted for evidence in stopped if evidence] == ["suspend"]


def test_a_circle_of_four_records_is_a_loop_too(agent: Agent) -> None:
    said = [agent.write(f"x{count % 4}") for count in range(48)]
    assert [evidence.wanted for evidence in said if evidence][:1] == ["suspend"]
    assert next(place for place, evidence in enumerate(said) if evidence) < 44


def test_a_circle_of_five_is_not_seen() -> None:
    agent = Agent()
    agent.work()
    assert [agent.write(f"x{count % 5}", secs=3) for count in range(25)] == [None] * 25


def test_ten_different_changes_of_one_record_are_told_and_not_stopped(agent: Agent) -> None:
    said = [agent.write("x", changes=changes("x", f"v{count}", f"v{count + 1}")) for count in range(19)]
    assert [evidence.wanted for evidence in said if evidence] == ["notify"]


def test_a_slow_run_is_told_and_not_stopped(agent: Agent) -> None:
    said = [agent.write("x", secs=600) for _ in range(15)]
    assert [evidence.wanted for evidence in said if evidence] == ["notify"]


def test_an_agent_that_never_wrote_to_anything_else_is_not_stopped() -> None:
    agent = Agent()
    said = [agent.write("heartbeat", secs=20) for _ in range(200)]
    assert {evidence.wanted for evidence in said if evidence} == {"notify"}
    assert len([evidence for evidence in said if evidence]) <= 5


def test_an_agent_that_wrote_nothing_for_a_day_and_then_loops_is_stopped() -> None:
    agent = Agent()
    agent.write("x", action="record.read", secs=0)
    agent.at_ms += DAY
    assert agent.until("suspend", "x") == 10


def test_a_heartbeat_between_other_work_is_told_in_the_beginning_and_never_stopped() -> None:
    agent = Agent()
    said = []
    for hour in range(60):
        said += [agent.write("heartbeat", secs=60) for _ in range(55)]
        said += [agent.write(f"r{hour}-{step}", secs=60) for step in range(5)]
    told = [evidence for evidence in said if evidence]
    assert {evidence.wanted for evidence in told} == {"notify"}
    assert agent.state.longest > 50
    # Twice its longest run of late is too much even for this one.
    limit = int(2 * agent.state.longest)
    assert agent.until("suspend", "heartbeat", most=200, secs=10) in range(limit, limit + 4)


def test_who_usually_does_many_things_to_one_record_may_go_on_doing_so() -> None:
    agent = Agent()
    for record in range(150):
        for step in range(8):
            assert agent.write(f"r{record}", secs=3, changes=changes(f"r{record}", "", f"{step}")) is None
    # It comes back after a write in seven of eight cases, held at .6: 1 + ln(1e7)/−ln(.6) = 32.6.
    assert agent.until("suspend", "x") == 33


def test_a_loop_is_not_learnt_while_it_goes_on_and_not_after_a_stop(agent: Agent) -> None:
    hits = agent.state.hits
    assert agent.until("suspend", "x") == 10
    assert agent.state.hits <= hits + 3
    agent.detector.stopped(agent.state, agent.at_ms)
    agent.detector.released(agent.state, agent.at_ms)
    agent.work(20, seed=2)
    assert agent.state.hits <= hits + 6
    assert agent.until("suspend", "y") == 10


@pytest.mark.parametrize(
    "said",
    [
        {"action": "record.read"},
        {"outcome": "error", "error": ActionError("INVALID_FIELD")},
        {"outcome": "denied"},
        {"record": None},
        {"record_ids": [], "record": None},
    ],
    ids=["reads", "errors", "denied", "no ids", "an empty list"],
)
def test_what_writes_nothing_or_names_no_record_is_not_counted(agent: Agent, said: dict[str, Any]) -> None:
    before = agent.detector.dump(agent.state)
    record = said.pop("record", "x")
    for _ in range(40):
        assert agent.write(record, **said) is None
    assert agent.detector.dump(agent.state) == before


def test_records_of_two_types_with_one_id_are_two(agent: Agent) -> None:
    said = [agent.write("x", object=f"Type{count % 5}") for count in range(30)]
    assert said == [None] * 30


@pytest.fixture
def grown(agent: Agent) -> Agent:
    """An agent after its first week."""
    for _ in range(8):
        assert slow_day(agent, 6) == []
    return agent


def slow_day(agent: Agent, records: int, times: int = 6) -> list[Evidence]:
    """Many writes to each of some records over a day, never two in a row."""
    said = []
    for _ in range(times):
        for record in range(records):
            evidence = agent.write(f"s{record}", secs=20)
            said += [evidence] if evidence else []
    agent.at_ms += DAY - agent.at_ms % DAY
    return said


def test_slow_loops_on_many_records_are_told_on_the_third_day_once(grown: Agent) -> None:
    days = [slow_day(grown, 30) for _ in range(5)]
    assert [len(said) for said in days] == [0, 0, 1, 0, 0]
    assert days[2][0].wanted == "notify"
    assert days[2][0].summary == (
        "26 records were written more than 5 times today, and so many for the 3rd day in a row; usually at most 6"
    )


def test_slow_loops_that_were_told_become_usual_and_twice_as_many_are_news(grown: Agent) -> None:
    assert [len(slow_day(grown, 30)) for _ in range(3)] == [0, 0, 1]
    assert [len(slow_day(grown, records)) for records in (30, 0, 0, 40, 30)] == [0] * 5
    assert [len(slow_day(grown, 90)) for _ in range(4)] == [0, 0, 1, 0]


@pytest.mark.parametrize(("records", "times"), [(25, 6), (60, 5)])
def test_fewer_records_or_fewer_writes_are_no_slow_loops(records: int, times: int, grown: Agent) -> None:
    assert [said for _ in range(5) for said in slow_day(grown, records, times)] == []


def test_a_quiet_day_between_begins_the_count_of_days_anew(grown: Agent) -> None:
    assert [said for records in (30, 30, 3, 30, 30) for said in slow_day(grown, records)] == []


def test_in_its_first_week_it_teaches_what_is_usual(agent: Agent) -> None:
    assert [len(slow_day(agent, 30)) for _ in range(12)] == [0] * 12
    assert [len(slow_day(agent, 90)) for _ in range(3)] == [0, 0, 1]


def test_the_options_move_the_limits() -> None:
    agent = Agent(Config(run_writes=15, slow_records=2, slow_days=1, slow_times_a_day=2))
    agent.work(40, records=4_000)
    assert agent.until("suspend", "x") == 15
    agent.at_ms += 8 * DAY
    assert [e.topic for e in slow_day(agent, 5, times=3)] == ["slow"]


def test_a_state_of_another_version_is_refused() -> None:
    detector = RecordLoop()
    with pytest.raises(ValueError, match="state version 1, not 2"):
        detector.load("a", detector.dump(detector.new_state("a")), 2)
