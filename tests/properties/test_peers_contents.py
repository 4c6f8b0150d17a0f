"""What peers write travels between partitions: each worker judges a new agent alike, live and from its log alone."""

from __future__ import annotations

from functools import cache

from detectors.base import Shared
from detectors.unexpected_change import UnexpectedChange
from detectors.value_shift import ValueShift
from events.codec import decode, encode
from events.times import DAY_MS, HOUR_MS, MINUTE_MS
from events.types import FindingEvent, PeersReportEvent
from streams.agents import AgentsStage
from streams.kafka.partition import partition_of
from streams.kafka.worker.lane import Lane
from streams.records import Partition
from streams.routing import ACTIONS
from tests.properties.same import state_of
from tests.properties.test_peers import Site
from tests.standalone.fakes import action_event

MIDNIGHT_MS = 1_772_409_600_000
PEERS = tuple(f"sdr-{number}" for number in range(6))
NEW = tuple(f"new-{number}" for number in range(6))
STAGES = ["Discovery", "Proposal", "Negotiation"]


def lane_of(index: int) -> Lane:
    """The lane of one of three partitions, afresh, with the detectors of contents."""
    shared, place = Shared(), Partition("main", ACTIONS, "id-1", index)
    detectors = (UnexpectedChange(None, shared), ValueShift(None, shared))
    return Lane(AgentsStage(place, detectors, {}, shared, None, dict.fromkeys((*PEERS, *NEW), "sdr")), place, 3)


class Desk(Site):
    """Three partitions of agents that change fields."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = [lane_of(index) for index in range(3)]
        self.number = 0

    def write(self, agent: str, at_ms: int, field: str, before: object, after: object) -> None:
        """One change, in the agent's own partition."""
        self.number += 1
        changes = {f"006A{self.number}": {field: (before, after)}}
        event = action_event(agent, self.number, at_ms, changes=changes)
        self.append(partition_of(f"default/{agent}", 3), at_ms, encode(event))


@cache
def desk() -> Desk:
    """Eight days in which six agents move stages; then six new ones begin with nonsense, and with a field of their own.

    All of them do the same.
    """
    made, at_ms = Desk(), MIDNIGHT_MS
    for hour in range(8 * 24 + 2):
        for number, agent in enumerate(PEERS):
            turn = hour * 5 + number
            made.write(agent, at_ms + MINUTE_MS, "StageName", STAGES[turn % 3], STAGES[turn * 7 % 3])
        at_ms += HOUR_MS
        made.tick(at_ms)
        if at_ms % DAY_MS == 0:
            made.tick(at_ms + 15 * MINUTE_MS)
    for step in range(8):
        for agent in NEW:
            made.write(agent, at_ms + step * MINUTE_MS, "StageName", "Proposal", "Unknown")
            made.write(agent, at_ms + step * MINUTE_MS, "Discount", 10, 40)
    return made


def test_a_profile_is_made_of_all_partitions_and_new_agents_are_judged_alike_in_each() -> None:
    assert len({partition_of(f"default/{agent}", 3) for agent in PEERS}) > 1
    assert len({partition_of(f"default/{agent}", 3) for agent in NEW}) == 3
    told = [event.data for event in map(decode, desk().findings) if isinstance(event, FindingEvent)]
    expected = {(agent, detector) for agent in NEW for detector in ("unexpected_change", "value_shift")}
    assert {(one.agent_id, one.detector) for one in told} == expected
    assert {one.evidence.details["judged_by"] for one in told} == {"peers"}
    by_first = [sorted(one.evidence.observed for one in told if one.agent_id == agent) for agent in NEW]
    assert all(odds == by_first[0] for odds in by_first)


def test_each_partitions_log_alone_gives_what_was_said_live() -> None:
    again: list[bytes] = []
    for index, log in enumerate(desk().logs):
        lane = lane_of(index)
        again += [one.value for one in lane.take(log) if one.topic != ACTIONS]
        assert state_of(lane.stage) == state_of(desk().lanes[index].stage)
    assert again
    assert sorted(again) == sorted(desk().findings)


def test_numbers_of_reports_survive_json_as_they_are() -> None:
    reports = [decode(record.value or b"") for record in desk().logs[0]]
    numbers = [
        number
        for report in reports
        if isinstance(report, PeersReportEvent)
        for agents in report.data.agents.values()
        for one in agents
        for number in one
    ]
    assert numbers
    assert all(float(number) == number and number < 2**53 for number in numbers)
