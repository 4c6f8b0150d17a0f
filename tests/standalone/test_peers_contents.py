"""A new agent that writes wrongly from its first day on is told by what its peers write: live, and by a replay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from events.codec import decode
from events.times import DAY_MS, HOUR_MS, MINUTE_MS
from events.types import Event, FindingEvent
from governance.settings import parse_settings
from storage.store import Store
from streams.engine import topology
from streams.replay import replay
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.standalone.fakes import action_event

MIDNIGHT_MS = 1_772_409_600_000
PEERS = [f"sdr-{number}" for number in range(5)]
STAGES = ["Discovery", "Proposal", "Negotiation"]
SETTINGS = parse_settings(
    "\n".join(f'[agents.{agent}]\nrole = "sdr"\nactions = ["record.*"]' for agent in [*PEERS, "fresh", "late"])
    + '\n[agents.roleless]\nactions = ["record.*"]\n',
    {},
)
DETECTORS = ("unexpected_change", "value_shift")


def write(agent: str, number: int, at_ms: int, field: str, before: Any, after: Any) -> Event:
    """One change of one record."""
    return action_event(agent, number, at_ms, changes={f"006A{number}": {field: (before, after)}})


def story() -> Iterator[tuple[int, list[Event]]]:
    """Eight days in which five agents move stages; then new ones, of which some write other things, or nonsense."""
    number = 0
    for step in range(8 * 4):
        at_ms = MIDNIGHT_MS + step * 6 * HOUR_MS + HOUR_MS
        events = []
        for agent in PEERS * 4:
            number += 1
            stages = STAGES[number * 7 % 3], STAGES[number * 5 % 3]
            events.append(write(agent, number, at_ms, "StageName", *stages))
        yield at_ms, events
        if step % 4 == 3:  # the ticks of the midnight, and of the quarter hour after it
            yield at_ms + 5 * HOUR_MS, []
            yield at_ms + 5 * HOUR_MS + 15 * MINUTE_MS, []
    for hour in range(9):
        at_ms = MIDNIGHT_MS + 8 * DAY_MS + (9 + hour) * HOUR_MS
        events = []
        for agent in ("fresh", "roleless"):
            number += 1
            events.append(write(agent, number, at_ms, "StageName", "Proposal", "Unknown"))
            events.append(write(agent, 1_000_000 + number, at_ms, "Discount", 10, 40))
        number += 1
        events.append(write("late", number, at_ms, "StageName", "Proposal", "Negotiation"))
        yield at_ms, events


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """The runtime's findings, with a restart while evidence grows; and its log as a dump."""
    folder, clock = tmp_path_factory.mktemp("peers"), ManualClock(MIDNIGHT_MS)
    steps = list(story())
    for part in (steps[:-7], steps[-7:]):
        with Runtime(SETTINGS, clock=clock, store=Store(folder / "store"), with_ticker=False) as runtime:
            for at_ms, events in part:
                clock.move(at_ms - clock.now_ms())
                if events:
                    runtime.ingest([(b"", event) for event in events], may_wait=True).result(30)
                runtime.tick().result(30)
            link = runtime.store.connect()
            findings = [row[0].encode() for row in link.execute("SELECT body FROM finding")]
            link.close()
            runtime.dump(folder / "dump")
    return folder / "dump", sorted(findings)


def test_only_the_new_agent_that_has_peers_and_is_wrong_is_told_of(live: tuple[Path, list[bytes]]) -> None:
    events = [decode(line) for line in live[1]]
    said = [event.data for event in events if isinstance(event, FindingEvent) and event.data.detector in DETECTORS]
    assert {(one.detector, one.agent_id, one.action_taken) for one in said} == {
        ("unexpected_change", "fresh", "notify"),
        ("value_shift", "fresh", "notify"),
    }
    assert {one.evidence.details["judged_by"] for one in said} == {"peers"}


def test_a_replay_of_the_log_gives_the_same_bytes(live: tuple[Path, list[bytes]], tmp_path: Path) -> None:
    dump, findings = live
    replay(sorted(dump.glob("*.jsonl")), SETTINGS, tmp_path)
    assert sorted((tmp_path / "findings.jsonl").read_bytes().splitlines()) == findings


def test_what_is_said_of_a_role_is_in_the_log(live: tuple[Path, list[bytes]]) -> None:
    stage = topology(SETTINGS, "x").agents
    assert {one.name for one in stage.detectors if hasattr(one, "common_profile")} >= set(DETECTORS)
    lines = b"".join(path.read_bytes() for path in live[0].glob("*.jsonl")).splitlines()
    profiles = [decode(line).data for line in lines if b"tripline.system.peers.v1" in line]
    assert set(DETECTORS) <= set(profiles[-1].values)
    assert profiles[-1].agents["value_shift"] == 5
