"""New agents' values against what their peers write there; what one agent, and what few, can do to a group."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from detectors import value_peers
from detectors.base import Action, Evidence, PeerProfile, Shared
from detectors.value_shift import ValueShift
from events.catalogue import kind_of
from events.types import AgentAction

START = 1_767_571_200_000
MINUTE, DAY = 60_000, 86_400_000
GROUP = "default/sdr"
STAGES = ["Discovery", "Proposal", "Negotiation"]


class Agent:
    """One agent at the detector; ``change`` returns what the detector said."""

    def __init__(self, shared: Shared | None = None, group: str = GROUP, seed: int = 1) -> None:
        self.detector = ValueShift(None, shared)
        self.state = self.detector.new_state("a")
        self.detector.join(self.state, group)
        self.number, self.at_ms, self.rng = 0, START, random.Random(seed)

    def change(self, field: str, before: Any, after: Any, source: str = "/crm") -> Evidence | None:
        self.number += 1
        self.at_ms += 30 * MINUTE
        changes = {"r": {field: (before, after)}}
        data = AgentAction(agent_id="a", action="record.update", outcome="ok", object="Deal", changes=changes)
        action = Action(self.at_ms, self.at_ms, source, f"e{self.number}", kind_of(data.action), data)
        return self.detector.observe(action, self.state)

    def stage(self, value: Any = "", before: Any = "") -> Evidence | None:
        before = self.rng.choice(STAGES) if before == "" else before
        return self.change("Stage", before, self.rng.choice(STAGES) if value == "" else value)

    def amount(self, factor: float | None = None) -> Evidence | None:
        before = self.rng.randrange(10_000, 60_000)
        after = before * (self.rng.uniform(0.96, 1.04) if factor is None else factor)
        return self.change("Amount", f"{before}.00", f"{after:.2f}")

    def work(self, changes: int) -> None:
        for _ in range(changes):
            assert self.stage() is None
            assert self.amount() is None

    def cut(self) -> None:
        """Its state through bytes."""
        self.state = self.detector.load("a", self.detector.dump(self.state), self.detector.state_version)
        self.detector.join(self.state, GROUP)


def settled(seed: int, stage: Any = "") -> list[int]:
    agent = Agent(seed=seed)
    for _ in range(200):
        agent.stage(stage)
        agent.amount()
    told = agent.detector.describe(agent.state, agent.at_ms)
    assert told is not None
    return told


def shared_of(described: list[list[int]]) -> Shared:
    values = ValueShift().common_profile(described)
    assert values is not None
    return Shared(peers={GROUP: PeerProfile(START // DAY, {"value_shift": tuple(values)})})


@pytest.fixture(scope="module")
def honest() -> list[list[int]]:
    return [settled(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def shared(honest: list[list[int]]) -> Shared:
    return shared_of(honest)


def told_at(agent: Agent, wrong: Any, most: int = 60, right: int = 0) -> int:
    """How many wrong changes it takes, each followed by ``right`` usual ones of that field; 0 for never."""
    for count in range(1, most + 1):
        if (said := wrong()) is not None:
            assert said.wanted == "notify"
            assert said.details["judged_by"] == "peers"
            return count
        for _ in range(right):
            assert agent.stage() is None
    return 0


def test_an_agent_that_writes_nonsense_from_its_first_change_on_is_told_at_the_fifth(shared: Shared) -> None:
    agent = Agent(shared)
    # Chances (5 + own) / (100 + changes): .05, .0594, .0588, .0583, .0577; the first alone is its own habit. Odds of
    # half a share: .5**5 / their product = 5.31e4, and by the other bet 100; the mean passes 1e4.
    assert told_at(agent, lambda: agent.stage("Unknown")) == 5


@pytest.mark.parametrize("wrong", ["blank", "number", "tenfold"])
def test_blanks_another_form_and_other_steps_are_told_as_well(shared: Shared, wrong: str) -> None:
    agent = Agent(shared)
    ways = {"blank": lambda: agent.stage(None), "number": lambda: agent.stage(7), "tenfold": lambda: agent.amount(10)}
    assert told_at(agent, ways[wrong]) == 5


def test_wrong_ones_among_four_times_as_many_right_ones_are_told(shared: Shared) -> None:
    agent = Agent(shared)
    assert 5 < told_at(agent, lambda: agent.stage("Unknown"), right=4) <= 40


def test_without_peers_nothing_is_said_of_it(shared: Shared) -> None:
    for agent in (Agent(), Agent(shared, group=""), Agent(shared, group="default/other")):
        assert told_at(agent, lambda agent=agent: agent.stage("Unknown"), most=200) == 0


def test_filling_in_what_was_blank_is_how_a_new_agent_begins(shared: Shared) -> None:
    agent = Agent(shared)
    for _ in range(100):
        assert agent.stage(before=None) is None


def test_its_own_past_is_learnt_as_if_it_had_no_peers(shared: Shared) -> None:
    with_peers, alone = Agent(shared), Agent()
    for agent in (with_peers, alone):
        for number in range(400):
            agent.stage("Unknown" if number % 4 == 0 else "")
        for field in agent.state.fields.values():
            field.peers = None
    assert with_peers.detector.dump(with_peers.state) == alone.detector.dump(alone.state)


def test_it_is_told_a_few_times_only_and_a_cut_changes_nothing(shared: Shared) -> None:
    agent, cut = Agent(shared), Agent(shared)
    said = []
    for _ in range(300):
        cut.cut()
        said.append(agent.stage("Unknown"))
        assert cut.stage("Unknown") == said[-1]
    assert [at for at, one in enumerate(said, 1) if one is not None] == [5, 20, 80]
    assert next(iter(agent.state.fields.values())).peers is None, "it has a past of its own by now"
    assert agent.detector.dump(agent.state) == cut.detector.dump(cut.state)


def test_what_a_person_released_is_allowed_and_a_stop_starts_the_evidence_afresh(shared: Shared) -> None:
    stopped, released = Agent(shared), Agent(shared)
    for agent in (stopped, released):
        assert told_at(agent, lambda agent=agent: agent.stage("Unknown")) == 5
    stopped.detector.stopped(stopped.state, stopped.at_ms)
    released.detector.released(released.state, released.at_ms)
    assert told_at(stopped, lambda: stopped.stage("Unknown")) in range(4, 7)
    assert told_at(released, lambda: released.stage("Unknown")) == 0


# --- the group --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agents", [0, 1, 2, 4])
def test_few_agents_are_no_group(honest: list[list[int]], agents: int) -> None:
    assert ValueShift().common_profile(honest[:agents]) is None


def test_one_agent_can_neither_teach_the_group_nor_blind_it(honest: list[list[int]]) -> None:
    for wrong in ("Unknown", None):
        mallory = settled(9, stage=wrong)
        agent = Agent(shared_of([*honest[:5], mallory]))
        assert told_at(agent, lambda agent=agent, wrong=wrong: agent.stage(wrong)) == 5


def test_where_agents_differ_anything_is_usual() -> None:
    described = [settled(seed, stage=f"Own{seed}") for seed in range(6)]
    fields = value_peers.read(shared_of(described).peers[GROUP].values["value_shift"])
    assert sorted([kind is None for kind in sets] for sets in fields.values()) == [
        [False, False, False],  # amounts: a form, as large as before, small steps
        [False, True, True],  # stages: only the form is common
    ]


def test_what_is_rare_among_all_is_not_usual(honest: list[list[int]]) -> None:
    """The fewest symbols that are .97 of what each writes: 2 in 200 with a fourth stage do not make it usual."""
    described = []
    for seed in range(6):
        agent = Agent(seed=seed)
        for number in range(200):
            agent.stage("Lost" if number % 100 == 50 else "")
        told = agent.detector.describe(agent.state, START + 8 * DAY)
        assert told is not None
        described.append(told)
    agent = Agent(shared_of(described))
    assert told_at(agent, lambda: agent.stage("Lost")) == 5


def test_who_is_new_has_no_voice() -> None:
    agent = Agent()
    agent.work(100)
    assert agent.detector.describe(agent.state, START + 6 * DAY) is None


def test_what_travels_is_small_and_json_can_say_it() -> None:
    agent, rng = Agent(), random.Random(3)
    for number in range(20 * 400):
        agent.change(f"Field{number % 20}", f"w{rng.randrange(16)}", f"w{rng.randrange(16)}")
    told = agent.detector.describe(agent.state, agent.at_ms)
    assert told is not None
    aspects = 3
    assert len(told) <= value_peers.MOST_FIELDS * (1 + aspects * (2 + 2 * value_peers.MOST_SYMBOLS))
    values = value_peers.common([told] * 16)
    assert values is not None
    assert len(values) <= value_peers.MOST_FIELDS * (1 + aspects * (1 + value_peers.MOST_SYMBOLS))
    assert max(told + values) < 2**53


def test_the_state_stays_as_small_as_declared_with_every_field_judged_by_peers() -> None:
    rng, described = random.Random(5), []
    for seed in range(5):
        agent = Agent(seed=seed)
        for number in range(12 * 100):
            agent.change(f"Field{number % 12}", "a", rng.choice("abc"))
        described.append(agent.detector.describe(agent.state, agent.at_ms))
    agent = Agent(shared_of([one for one in described if one]))
    for number in range(20 * 110):
        field, word = number % 20, f"{rng.randrange(10**9)}"
        agent.change(f"Field{field}", "a" * rng.randrange(9), word * rng.randrange(1, 4), source="/" + "s" * 110)
        agent.at_ms -= 29 * MINUTE
    assert sum(field.peers is not None for field in agent.state.fields.values()) == 12
    assert len(agent.detector.dump(agent.state)) <= ValueShift.max_state_bytes


def test_a_state_of_before_peers_goes_on() -> None:
    agent = Agent()
    agent.work(100)
    blob = agent.detector.dump(agent.state)
    first_ms, fields = msgspec.msgpack.decode(blob)
    again = agent.detector.load("a", msgspec.msgpack.encode((first_ms, [one[:-1] for one in fields])), 2)
    assert agent.detector.dump(again) == blob
