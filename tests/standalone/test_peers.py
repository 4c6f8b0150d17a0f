"""A new agent is judged by its peers from its first minute: live, by a replay of the log, and by one of a raw file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from events.codec import decode, encode
from events.times import DAY_MS, HOUR_MS, MINUTE_MS
from events.types import Event, FindingEvent
from governance.settings import parse_settings
from storage.store import Store
from streams.engine import topology
from streams.replay import replay
from streams.replay.drive import Drive
from streams.replay.reader import read
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.standalone.fakes import action_event

MIDNIGHT_MS = 1_772_409_600_000
PEERS = [f"sdr-{number}" for number in range(5)]
SETTINGS = parse_settings(
    "\n".join(f'[agents.{agent}]\nrole = "sdr"\nactions = ["record.*"]' for agent in [*PEERS, "fresh"])
    + '\n[agents.roleless]\nactions = ["record.*"]\n',
    {},
)


def story() -> Iterator[tuple[int, list[Event]]]:
    """Eight days in which five agents act four times a day; then two new ones are fast in their first minute."""
    number = 0
    for step in range(8 * 4):
        at_ms = MIDNIGHT_MS + step * 6 * HOUR_MS + HOUR_MS
        yield at_ms, [action_event(agent, number := number + 1, at_ms) for agent in PEERS]
        if step % 4 == 3:  # the ticks of the midnight, and of the quarter hour after it
            yield at_ms + 5 * HOUR_MS, []
            yield at_ms + 5 * HOUR_MS + 15 * MINUTE_MS, []
    at_ms = MIDNIGHT_MS + 8 * DAY_MS + 9 * HOUR_MS
    for agent in ("fresh", "roleless"):
        yield at_ms, [action_event(agent, number := number + 1, at_ms) for _ in range(40)]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """The runtime's findings, with a restart in the middle; and its log as a dump."""
    folder, clock = tmp_path_factory.mktemp("peers"), ManualClock(MIDNIGHT_MS)
    steps = list(story())
    for part in (steps[:30], steps[30:]):
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


def test_a_new_agent_is_slowed_down_by_what_its_peers_do_and_one_without_a_role_is_not(
    live: tuple[Path, list[bytes]],
) -> None:
    _, findings = live
    (said,) = [one for one in map(_decoded, findings) if one.detector == "action_rate"]
    assert (said.agent_id, said.action_taken, said.evidence.details["judged_by"]) == ("fresh", "throttle", "peers")
    assert said.evidence.observed == said.evidence.limit == 11, "of five minutes"


def _decoded(raw: bytes) -> Any:
    event = decode(raw)
    assert isinstance(event, FindingEvent)
    return event.data


def test_a_replay_of_the_log_gives_the_same_bytes(live: tuple[Path, list[bytes]], tmp_path: Path) -> None:
    dump, findings = live
    replay(sorted(dump.glob("*.jsonl")), SETTINGS, tmp_path)
    assert sorted((tmp_path / "findings.jsonl").read_bytes().splitlines()) == findings


def test_in_a_raw_file_ticks_that_are_not_delivered_make_no_difference(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(encode(event) + b"\n" for _, events in story() for event in events))

    def run(*, every_tick: bool) -> list[tuple[str, str, bytes]]:
        said: list[tuple[str, str, bytes]] = []

        def take(found: Any) -> None:
            said.extend((o.kind, o.id, encode(o.event)) for o in found if o.kind not in ("marker", "score", "top"))

        drive = Drive(topology(SETTINGS, "replay"), "replay", 5 * MINUTE_MS, take, deliver_all_ticks=every_tick)
        for items in read([path], []):
            drive.feed(items)
        drive.finish()
        return sorted(said)

    few = run(every_tick=False)
    assert {kind for kind, _, _ in few} == {"finding", "peers_report", "peers"}
    assert few == run(every_tick=True)
