"""Behaviour of the unexpected-change detector; odds are worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from detectors.base import Action, Evidence
from detectors.unexpected_change import UnexpectedChange
from events.catalogue import kind_of
from events.types import AgentAction

START = 1_767_571_200_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


class Agent:
    """One agent at the detector; ``write`` returns what the detector said."""

    def __init__(self) -> None:
        self.detector = UnexpectedChange()
        self.state = self.detector.new_state("a")
        self.number = 0
        self.at_ms = START

    def write(
        self,
        of: str = "Opportunity",
        field: str | None = "StageName",
        owner: str = "u1",
        action: str = "record.update",
        after_ms: int = 30 * MINUTE,
        records: int = 1,
    ) -> Evidence | None:
        self.number += 1
        self.at_ms += after_ms
        ids = [f"r{self.number}-{at}" for at in range(records)]
        changes = {one: {field: (1, 2)} for one in ids} if field else {}
        data = AgentAction(
            agent_id="a", action=action, outcome="ok", object=of, record_ids=ids, changes=changes, owner_id=owner
        )
        kind = kind_of(action)
        return self.detector.observe(Action(self.at_ms, self.at_ms, "/crm", f"e{self.number}", kind, data), self.state)

    def work(self, writes: int = 500, **said: Any) -> None:
        for _ in range(writes):
            assert self.write(**said) is None


@pytest.fixture
def agent() -> Agent:
    agent = Agent()
    agent.work()
    return agent


@pytest.mark.parametrize(
    "new", [{"of": "Contract", "field": None}, {"field": "Discount"}, {"owner": "u9"}], ids=["object", "field", "owner"]
)
def test_the_second_write_to_a_new_thing_is_told_and_the_third_held(agent: Agent, new: dict[str, Any]) -> None:
    assert agent.write(**new) is None
    said = agent.write(**new)
    assert said is not None
    # 500 writes since the last new thing: p0 = 2/500; odds (.5/.004 + .05/.004) / 2
    assert (said.wanted, said.observed, said.expected) == ("notify", 68.8, 0.004)
    said = agent.write(**new)
    assert said is not None
    assert (said.wanted, said.observed) == ("hold", 7890.6)  # (125**2 + 12.5**2) / 2
    assert [event for _, event in said.events] == ["e501", "e502", "e503"]
    assert "new to it after 500 writes" in said.summary


def test_in_the_first_week_it_only_tells() -> None:
    agent = Agent()
    agent.work(after_ms=MINUTE)
    said = [agent.write(of="Contract", after_ms=MINUTE) for _ in range(6)]
    assert {each.wanted for each in said if each} == {"notify"}


def test_a_new_thing_now_and_then_is_no_surprise(agent: Agent) -> None:
    for number in range(6):
        assert agent.write(field="Rare") is None
        agent.work(300 + number)


def test_what_cannot_be_undone_is_held_sooner(agent: Agent) -> None:
    assert agent.write(action="owner.reassign", field=None, records=2) is None
    said = agent.write(action="owner.reassign", field=None, records=2)
    assert said is not None
    assert (said.wanted, said.observed) == ("hold", 1375.0)  # 68.75 times 2 records times 10


def test_a_new_action_on_a_known_object_is_told_only_unless_it_deletes(agent: Agent) -> None:
    said = [agent.write(action="task.create", field=None) for _ in range(40)]
    assert {each.wanted for each in said if each} == {"notify"}
    other = Agent()
    other.work()
    assert [said and said.wanted for said in (other.write(action="record.delete", field=None) for _ in range(3))] == [
        None, "notify", "hold",
    ]  # fmt: skip


def test_an_agent_whose_owners_keep_coming_is_left_alone() -> None:
    agent = Agent()
    for account in range(120):
        for _ in range(5):
            assert agent.write(owner=f"u{account}") is None


def test_new_names_at_each_call_are_told_and_leave_the_state_small(agent: Agent) -> None:
    said = [agent.write(field=f"Field{number}", after_ms=1_000) for number in range(3_000)]
    assert [each.wanted for each in said[:3] if each] == ["notify", "hold"]
    assert sum(each is not None for each in said) < 20
    blob = agent.detector.dump(agent.state)
    assert len(blob) < 3_000
    said = [agent.write(of="Contract", field=None) for _ in range(3)]
    assert said[2] is not None, "it is not blind to objects for that"


def test_what_a_person_released_is_known_and_what_a_stop_ended_is_not(agent: Agent) -> None:
    stopped = agent.detector.load("a", agent.detector.dump(agent.state), 2)
    for _ in range(3):
        agent.write(field="Discount")
    agent.detector.released(agent.state, agent.at_ms)
    agent.work(20, field="Discount")
    agent.state = stopped
    agent.write(field="Discount")
    agent.detector.stopped(agent.state, agent.at_ms)
    said = [agent.write(field="Discount") for _ in range(3)]
    assert said[2] is not None
    assert said[2].wanted == "hold"


def test_two_writes_a_week_are_what_may_pass_and_is_learnt_then(agent: Agent) -> None:
    assert agent.write(field="Discount") is None
    agent.work(400)
    agent.work(5, field="Discount")


def test_a_new_task_that_nobody_minds_for_a_week_is_known_and_the_next_one_is_told(agent: Agent) -> None:
    said = [agent.write(field="Discount") for _ in range(8 * 48)]
    assert 5 < sum(each is not None for each in said) < 12  # the 2nd, 3rd, 6th, 12th …
    agent.work(500, field="Discount")
    said = [agent.write(field="Amount") for _ in range(3)]
    assert [each and each.wanted for each in said] == [None, "notify", "hold"]


def test_reads_errors_and_what_was_denied_do_not_count() -> None:
    agent = Agent()
    agent.write()
    before = agent.detector.dump(agent.state)
    agent.write(action="record.read", of="Contract")
    assert agent.detector.dump(agent.state) == before
