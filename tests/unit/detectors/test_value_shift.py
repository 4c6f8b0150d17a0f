"""Behaviour of the value-shift detector; p and odds are worked out by hand."""

from __future__ import annotations

import random
from math import log
from typing import Any

import pytest

from detectors.base import Action, Evidence
from detectors.value_shift import ValueShift, _learn, _rarer
from events.catalogue import kind_of
from events.types import AgentAction

START = 1_767_571_200_000
HOUR = 3_600_000


class Agent:
    """One agent at the detector; ``change`` returns what the detector said."""

    def __init__(self) -> None:
        self.detector = ValueShift()
        self.state = self.detector.new_state("a")
        self.number = 0
        self.at_ms = START
        self.rng = random.Random(4)

    def change(self, field: str, before: Any, after: Any, after_ms: int = HOUR) -> Evidence | None:
        self.number += 1
        self.at_ms += after_ms
        changes = {f"r{self.number}": {field: (before, after)}}
        data = AgentAction(agent_id="a", action="record.update", outcome="ok", object="Deal", changes=changes)
        kind = kind_of(data.action)
        return self.detector.observe(Action(self.at_ms, self.at_ms, "/crm", f"e{self.number}", kind, data), self.state)

    def amount(self, factor: float | None = None, **said: Any) -> Evidence | None:
        before = self.rng.randrange(10_000, 60_000)
        factor = self.rng.uniform(0.96, 1.04) if factor is None else factor
        return self.change("Amount", f"{before}.00", f"{before * factor:.2f}", **said)

    def until(self, wanted: str, wrong: Any, most: int = 60, right: int = 0) -> int:
        """How many wrong changes it takes, each followed by ``right`` usual amounts; 0 for never."""
        for count in range(1, most + 1):
            said = wrong()
            if said is not None and said.wanted == wanted:
                return count
            for _ in range(right):
                assert self.amount() is None
        return 0


@pytest.fixture
def agent() -> Agent:
    agent = Agent()
    for _ in range(400):
        assert agent.amount() is None
    return agent


def test_p_counts_what_was_as_rare_or_rarer() -> None:
    tables = Agent().detector.new_state("a").fields.setdefault(0, _field()).tables
    for code, times in ((7, 90), (8, 9), (9, 1)):
        for _ in range(times):
            _learn(tables, 0, code, _rarer(tables, 0, code)[1])
    assert [_rarer(tables, 0, code) for code in (7, 8, 9)] == [(100, 0), (10, 1), (2, 2)]
    assert _rarer(tables, 0, 10) == (2, -1)  # two symbols were new after the first sixty changes


def _field() -> Any:
    agent = Agent()
    agent.amount()
    return type(next(iter(agent.state.fields.values())))()


def test_the_first_strange_change_is_worth_what_its_p_says(agent: Agent) -> None:
    agent.change("Amount", "100.00", None)
    (field,) = agent.state.fields.values()
    # p = 2 * 1 / 401 = .00499; the mean of k p^(k-1): (11.80 + 12.25 + 7.08 + 3.43) / 4 = 8.64
    assert field.evidence[0] == pytest.approx(log(8.64), abs=0.01)
    assert field.evidence[1] == pytest.approx(log(0.9 + 0.1 / 0.02))  # p <= .02


def test_blanks_are_told_after_six_and_held_after_eleven(agent: Agent) -> None:
    blank = lambda: agent.change("Amount", "20000.00", None)  # noqa: E731
    # The first is learnt: 2.16; then p = 2 * 2 / 402, worth 1.69 each (and log 5.9 = 1.77 by the second bet).
    assert agent.until("notify", blank) == 6  # 6 * 1.77 = 10.6 and 2.16 + 5 * 1.69 = 10.6: above log 1e4 = 9.2
    assert agent.until("hold", blank) == 5  # 11 * 1.77 = 19.5 and 2.16 + 10 * 1.69 = 19.1: above log 1e8 = 18.4


@pytest.mark.parametrize("factor", [0.1, 3.0])
def test_amounts_that_move_by_other_steps_are_held_within_forty(agent: Agent, factor: float) -> None:
    assert 8 <= agent.until("hold", lambda: agent.amount(factor)) <= 12


def test_wrong_values_among_five_times_as_many_right_ones_are_held_within_forty(agent: Agent) -> None:
    assert 8 <= agent.until("hold", lambda: agent.amount(3.0), right=5) <= 40


def test_a_new_picklist_value_now_and_then_is_no_evidence() -> None:
    agent = Agent()
    for number in range(2_000):
        value = f"Rare {number}" if number % 100 == 99 else agent.rng.choice(["Hot", "Warm", "Cold"])
        assert agent.change("Rating", agent.rng.choice(["Hot", "Warm", "Cold"]), value) is None


def test_texts_that_are_always_new_are_usual_also_after_much_was_forgotten() -> None:
    agent = Agent()
    for _ in range(4_500):
        phone = [f"+49 40 {agent.rng.randrange(10**6, 10**7)}" for _ in range(2)]
        assert agent.change("Phone", *phone) is None


def test_learning_stands_still_while_there_is_evidence(agent: Agent) -> None:
    (field,) = agent.state.fields.values()
    for _ in range(60):
        agent.change("Amount", "20000.00", None)
    learnt = field.tables[0] - 400
    assert learnt <= 1
    agent.detector.released(agent.state, agent.at_ms)
    assert agent.until("hold", lambda: agent.change("Amount", "20000.00", None)) <= 15


def test_in_the_first_week_it_only_tells() -> None:
    agent = Agent()
    for _ in range(400):
        agent.amount(after_ms=60_000)
    said = [agent.change("Amount", "20000.00", None, after_ms=60_000) for _ in range(30)]
    assert {each.wanted for each in said if each} == {"notify"}


def test_a_change_that_nobody_minds_for_a_week_is_learnt_and_the_next_one_told(agent: Agent) -> None:
    said = [agent.change("Amount", "20000.00", "") for _ in range(8 * 24)]
    assert 3 < sum(each is not None for each in said) < 12
    for _ in range(300):
        assert agent.change("Amount", "20000.00", "") is None
    assert agent.until("hold", lambda: agent.change("Amount", "20000.00", "unknown")) <= 15


def test_its_words_name_field_and_kind(agent: Agent) -> None:
    said = [each for _ in range(11) if (each := agent.change("Amount", "20000.00", None))]
    assert "11 values of Deal Amount" in said[-1].summary
    assert said[-1].topic.startswith("Deal Amount")
    assert len(said[-1].events) == 3


def test_numbers_that_drift_by_small_steps_stay_usual_until_one_jumps() -> None:
    """Sizes never met before are reached in steps as usual: nobody chose them."""
    agent, number = Agent(), 9_000.0
    for _ in range(600):  # 9,000 to some 40,000: past 16,384, where the size of numbers changes
        after = number * agent.rng.uniform(0.99, 1.015)
        assert agent.change("Employees", number, after) is None
        number = after
    assert number > 20_000
    assert agent.until("hold", lambda: agent.change("Employees", number, 80.0)) in range(1, 20)


def test_what_version_1_learnt_of_fields_is_learnt_anew(agent: Agent) -> None:
    old = agent.detector.load("a", agent.detector.dump(agent.state), 1)
    assert (old.first_ms, old.fields) == (agent.state.first_ms, {})
    assert agent.detector.load("a", agent.detector.dump(agent.state), 2).fields
