"""A lane hands a release on to the authority behind everything that came of what lies before it, without a broker."""

from __future__ import annotations

from typing import Any

import pytest

from events.codec import decode, encode
from events.times import format_ms
from events.types import Event, FindingEvent, Release, ReleaseEvent
from streams.envelopes import envelope
from streams.kafka.partition import partition_of
from streams.kafka.worker.lane import Lane
from tests.kafka.records import FakeRecord
from tests.unit.streams.toys import PARTITION, START_MS, action_event, stage

RELEASE = envelope(
    ReleaseEvent, "main", "release:default/bot:2", START_MS, "default/bot",
    Release(agent_id="bot", epoch=2, by="maya", reason="mended"),
)  # fmt: skip


def a_lane() -> Lane:
    return Lane(stage(), PARTITION, 1)


def records(*events: Event) -> list[Any]:
    return [FakeRecord(offset, START_MS + 1000 * offset, encode(event)) for offset, event in enumerate(events)]


def said(*batches: list[Any]) -> list[tuple[str, str, bytes | None]]:
    lane = a_lane()
    found = []
    for batch in batches:
        for one in lane.take(batch):
            event = decode(one.value)
            name = event.data.evidence.summary if isinstance(event, FindingEvent) else event.id
            found.append((one.topic, name, one.key))
    return found


LOG = records(
    action_event(0), action_event(1), action_event(2), RELEASE, action_event(4), action_event(5), action_event(6)
)
WANTED = [
    ("agent.findings", "action 3", b"default/bot"),
    ("agent.findings", RELEASE.id, b"default/bot"),
    ("agent.findings", "action 6", b"default/bot"),
]


def test_a_release_follows_the_findings_before_it_and_comes_before_those_after_it():
    assert said(LOG) == WANTED


@pytest.mark.parametrize("cut", range(1, len(LOG)))
def test_wherever_a_batch_ends_the_order_is_the_same(cut: int):
    assert said(LOG[:cut], LOG[cut:]) == WANTED


def test_the_echo_is_the_release_and_lies_in_the_agents_partition():
    lane = Lane(stage(), PARTITION, 1)
    (echo,) = lane.take(records(RELEASE))
    assert decode(echo.value) == RELEASE
    assert echo.headers == [("tripline-engine", b"main")]
    assert echo.partition == partition_of("default/bot", 1)
    assert format_ms(START_MS) == RELEASE.time


def test_a_release_in_the_wrong_partition_is_not_echoed_there():
    home = partition_of("default/bot", 3)
    place = type(PARTITION)("main", "agent.actions", "topic-1", (home + 1) % 3)
    (out,) = Lane(stage(partition=place), place, 3).take(records(RELEASE))
    assert (out.topic, out.partition) == ("agent.actions", home)
