"""New agents' writes against what their peers write to; what one agent, and what few, can do to a group."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from detectors import change_peers
from detectors.base import Action, Evidence, PeerProfile, Shared
from detectors.unexpected_change import Dimension, UnexpectedChange
from events.catalogue import kind_of
from events.types import AgentAction

START = 1_767_571_200_000
MINUTE, DAY = 60_000, 86_400_000
GROUP = "default/sdr"


class Agent:
    """One agent at the detector; ``write`` returns what the detector said."""

    def __init__(self, shared: Shared | None = None, group: str = GROUP, at_ms: int = START) -> None:
        self.detector = UnexpectedChange(None, shared)
        self.state = self.detector.new_state("a")
        self.detector.join(self.state, group)
        self.number, self.at_ms = 0, at_ms

    def write(
        self, field: str = "StageName", of: str = "Opportunity", owner: str = "u1", after_ms: int = 30 * MINUTE
    ) -> Evidence | None:
        self.number += 1
        self.at_ms += after_ms
        data = AgentAction(
            agent_id="a", action="record.update", outcome="ok", object=of, record_ids=["r"],
            changes={"r": {field: (1, 2)}}, owner_id=owner,
        )  # fmt: skip
        kind = kind_of(data.action)
        return self.detector.observe(Action(self.at_ms, self.at_ms, "/crm", f"e{self.number}", kind, data), self.state)

    def cut(self) -> None:
        """Its state through bytes."""
        self.state = self.detector.load("a", self.detector.dump(self.state), self.detector.state_version)
        self.detector.join(self.state, GROUP)

    def told(self) -> list[int] | None:
        return self.detector.describe(self.state, self.at_ms)


def settled(*extra: str, writes: int = 400) -> list[int]:
    """The numbers of an agent that writes stages and next steps, and now and then these fields."""
    agent = Agent()
    fields = ["StageName", "NextStep", *extra]
    for number in range(writes):
        agent.write(fields[number % len(fields)])
    told = agent.told()
    assert told is not None
    return told


def shared_of(described: list[list[int]]) -> Shared:
    values = UnexpectedChange().common_profile(described)
    assert values is not None
    return Shared(peers={GROUP: PeerProfile(START // DAY, {"unexpected_change": tuple(values)})})


@pytest.fixture(scope="module")
def shared() -> Shared:
    return shared_of([settled() for _ in range(6)])


@pytest.mark.parametrize("new", [{"field": "Discount"}, {"of": "Contract"}, {"owner": "u9"}], ids=str)
def test_who_writes_to_what_no_peer_touches_from_its_first_write_on_is_told_at_the_third(
    shared: Shared, new: dict[str, Any]
) -> None:
    agent = Agent(shared)
    said = [agent.write(**new) for _ in range(3)]
    assert said[:2] == [None, None]
    assert said[2] is not None
    # 6 agents, 2,400 writes, nothing of their own: 2 * 1/2,400 is less than .02; at the agent's first write
    # (100 * .02 + 0) / (100 + 1) = .0198; the second and third touch: ((.5/.0198)**2 + (.05/.0198)**2) / 2
    assert said[2].observed == pytest.approx((25.25**2 + 2.525**2) / 2, abs=0.5)
    assert said[2].wanted == "notify"
    assert "none of its peers" in said[2].summary
    assert said[2].details["judged_by"] == "peers"


def test_without_peers_a_role_or_a_fresh_profile_nothing_is_said(shared: Shared) -> None:
    old = Agent(shared, at_ms=START + 40 * DAY)
    for agent in (Agent(), Agent(shared, group=""), Agent(shared, group="default/other"), old):
        assert [agent.write("Discount") for _ in range(30)] == [None] * 30


def test_what_peers_do_is_learnt_at_once_and_what_is_usual_work_says_nothing(shared: Shared) -> None:
    agent = Agent(shared)
    for number in range(200):
        assert agent.write(("StageName", "NextStep")[number % 2]) is None
    assert len(agent.state.dimensions[1].known) == 2


def test_by_its_peers_it_is_never_held_and_a_cut_changes_nothing(shared: Shared) -> None:
    agent, cut = Agent(shared), Agent(shared)
    said = []
    for number in range(1_500):
        cut.cut()
        field = "Discount" if number % 2 else "StageName"
        said.append(agent.write(field))
        assert cut.write(field) == said[-1]
    told = [one for one in said if one is not None]
    assert {one.wanted for one in told} == {"notify"}
    assert 2 <= len(told) <= 6
    assert agent.detector.dump(agent.state) == cut.detector.dump(cut.state)


def test_what_nobody_minded_for_a_week_is_known_and_after_four_weeks_its_own_past_judges_alone(shared: Shared) -> None:
    agent = Agent(shared)
    for number in range(7 * 24):
        agent.write("Discount" if number % 3 == 0 else "StageName", after_ms=60 * MINUTE)
    assert [agent.write("Discount") for _ in range(20)] == [None] * 20
    assert agent.state.dimensions[1].strange == 1
    agent.at_ms += 21 * DAY
    assert [agent.write("Rare") for _ in range(6)] == [None] * 6


def test_an_agent_with_things_of_its_own_is_judged_by_its_own_past(shared: Shared) -> None:
    """(100 * .02 + n) / (100 + writes) passes .04 with n = 3: three fields of its own were let pass."""
    agent = Agent(shared)
    for number in range(5):
        agent.write(f"Mine{number}")
        agent.write(f"Mine{number}")
        agent.detector.released(agent.state, agent.at_ms)
    assert agent.state.dimensions[1].strange == 3
    assert [agent.write("Another") for _ in range(5)] == [None] * 5


# --- the group --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agents", [0, 1, 2, 4])
def test_few_agents_are_no_group(agents: int) -> None:
    assert UnexpectedChange().common_profile([settled()] * agents) is None


def test_one_agent_can_neither_teach_the_group_nor_blind_it() -> None:
    mallory = settled("Discount", *(f"Noise{number}" for number in range(60)))
    honest = [settled() for _ in range(5)]
    agent = Agent(shared_of([*honest, mallory]))
    assert [one and one.wanted for one in (agent.write("Discount") for _ in range(3))] == [None, None, "notify"]
    flood = settled(*(f"Noise{number}" for number in range(200)))
    agent = Agent(shared_of([*honest, flood]))
    assert agent.write("Discount") is agent.write("Discount") is None
    assert agent.write("Discount") is not None


def test_one_busy_agent_does_not_make_the_new_less_likely() -> None:
    values = [settled() for _ in range(5)]
    busy = list(values[0])
    busy[0] = 10**9
    assert change_peers.common([*values, busy])[:2] == [6, 1_000_000 // (5 * 400 + 1_000)]  # type: ignore[index]


def test_where_two_of_six_have_things_of_their_own_that_kind_is_open() -> None:
    described = [*(settled() for _ in range(4)), settled("Mine"), settled("Yours")]
    values = UnexpectedChange().common_profile(described)
    assert values is not None
    uses, fields, owners = change_peers.read(values)
    assert (uses is None, fields is None, owners is None) == (False, True, False)


def test_who_is_new_or_was_told_of_lately_has_no_voice(shared: Shared) -> None:
    young = Agent()
    for _ in range(300):
        young.write(after_ms=MINUTE)
    assert young.told() is None
    wrong = Agent(shared)
    for number in range(400):
        wrong.write("Discount" if number % 2 else "StageName")
    assert wrong.told() is not None, "nobody minded"
    wrong.detector.stopped(wrong.state, wrong.at_ms)
    for _ in range(3):
        wrong.write("Discount", of="Contract")
        wrong.write("Else", of="Contract")
    assert wrong.told() is None


def test_what_travels_is_small_and_json_can_say_it() -> None:
    told = settled(*(f"Field{number}" for number in range(90)), writes=2_000)
    assert len(told) <= 2 * 3 + sum(change_peers.MOST_OF_AN_AGENT)
    values = change_peers.common([told] * 16)
    assert values is not None
    assert len(values) <= 3 * 3 + sum(change_peers.MOST_OF_A_ROLE)
    assert max(told + values) < 2**53


def test_a_state_of_before_peers_goes_on() -> None:
    agent = Agent()
    for number in range(300):
        agent.write(("StageName", "NextStep", f"Rare{number // 100}")[number % 3])
    blob = agent.detector.dump(agent.state)
    first_ms, counts, dimensions = msgspec.msgpack.decode(blob)
    names = ["known", *(name for name in Dimension.__slots__ if name != "known")]
    new = {names.index("is_by_peers"), names.index("strange")}
    old = [[value for at, value in enumerate(one) if at not in new] for one in dimensions]
    assert len(old[0]) == 18
    again = agent.detector.load("a", msgspec.msgpack.encode((first_ms, counts, old)), 1)
    assert agent.detector.dump(again) == blob
    with pytest.raises(ValueError, match="version 2, not 3"):
        agent.detector.load("a", blob, 3)
