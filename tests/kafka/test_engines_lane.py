"""Which of several engines a lane belongs to decides where its outputs go, from the record of a switch on."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from detectors.base import Action, Evidence
from events.codec import decode, encode
from events.types import EngineEvent, EngineVersion, Event, FindingEvent, Release, ReleaseEvent
from streams.envelopes import envelope
from streams.kafka.worker.changelog import Recovered
from streams.kafka.worker.lane import Lane
from streams.ticks import EVERYBODY
from tests.kafka.records import FakeRecord
from tests.unit.streams.toys import PARTITION, START_MS, EveryThird, action_event, stage


class EveryTime(EveryThird):
    """Has an opinion on each action."""

    def observe(self, action: Action, state: list[int]) -> Evidence | None:
        state[0] += 1
        found = super().observe(action, [2])
        assert found is not None
        return replace(found, topic=str(state[0]))


RELEASE = envelope(
    ReleaseEvent, "main", "release:default/bot:2", START_MS, "default/bot",
    Release(agent_id="bot", epoch=2, by="maya", reason="mended"),
)  # fmt: skip


def switch(engine: str, version: int) -> EngineEvent:
    data = EngineVersion(engine=engine, version=version, by="maya", reason="better")
    return envelope(EngineEvent, "main", f"engine-{version}", START_MS, EVERYBODY, data)


def lane_of(engine: str) -> Lane:
    return Lane(stage(EveryTime()), replace(PARTITION, engine_id=engine), 1)


def records(*events: Event | bytes) -> list[Any]:
    return [
        FakeRecord(offset, START_MS + 1000 * offset, event if isinstance(event, bytes) else encode(event))
        for offset, event in enumerate(events)
    ]


def said(lane: Lane, taken: list[Any], *, together: bool) -> list[tuple[str, str]]:
    found = []
    for batch in [taken] if together else [[record] for record in taken]:
        for one in lane.take(batch):
            event = decode(one.value)
            found.append((one.topic, "finding" if isinstance(event, FindingEvent) else type(event).__name__))
    return found


STORY = records(
    action_event(0), b"poison", switch("green", 1), action_event(1), RELEASE, b"poison", switch("blue", 1),
    action_event(2), switch("main", 2), action_event(3), b"poison", RELEASE,
)  # fmt: skip


@pytest.mark.parametrize("together", [True, False])
def test_what_lies_before_a_switch_is_said_by_the_one_and_what_lies_behind_it_by_the_other(together: bool):
    main, green = (said(lane_of(engine), STORY, together=together) for engine in ("main", "green"))
    findings = [topic for topic, what in main if what == "finding"]
    assert findings == ["agent.findings", "main.agent.findings", "main.agent.findings", "agent.findings"]
    assert [topic for topic, what in green if what == "finding"] == [
        "green.agent.findings", "agent.findings", "agent.findings", "green.agent.findings"
    ]  # fmt: skip
    letters = [topic for topic, what in main if what == "DeadLetterEvent"]
    assert letters == ["dead.letters", "main.dead.letters", "dead.letters"]
    for one, other in zip(
        *(sorted(t for t, w in each if w == "DeadLetterEvent") for each in (main, green)), strict=True
    ):
        assert one.removeprefix("main.") == other.removeprefix("green.") == "dead.letters"
    echoes = [[topic for topic, what in each if what == "ReleaseEvent"] for each in (main, green)]
    assert echoes == [["agent.findings"], ["agent.findings"]]  # each release once: by the one that was active there


def test_who_is_active_survives_a_restart():
    lane = lane_of("green")
    lane.take(STORY[:4])
    lane.begin_save()
    saved = lane.step_save(10)
    assert saved is not None
    again = lane_of("green")
    again.restore(Recovered(barrier=saved.barrier, snapshots=saved.snapshots, places={}, superseded=[]))
    assert again.is_active
    rest = [topic for topic, what in said(again, STORY, together=True) if what == "finding"]
    assert rest == ["agent.findings", "green.agent.findings"]
    assert not lane_of("green").is_active
    assert lane_of("main").is_active


def test_only_the_active_engine_moves_a_record_that_lies_in_the_wrong_partition():
    stray = [FakeRecord(0, START_MS, encode(action_event(0, agent=agent))) for agent in ("a", "b", "c", "d")]
    for offset, record in enumerate(stray):
        record.offset = offset
    moved = {}
    for engine in ("main", "green"):
        lane = Lane(stage(EveryTime()), replace(PARTITION, engine_id=engine), 3)
        moved[engine] = sum(one.topic == PARTITION.topic for one in lane.take(stray))
    assert moved["main"] > 0
    assert moved["green"] == 0
