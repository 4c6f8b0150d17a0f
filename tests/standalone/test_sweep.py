"""Snapshots taken a slice at a time: a crash between two slices loses nothing and repeats nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance.gate import GateRequest
from governance.settings import parse_settings
from storage.store import Store
from streams.routing import ACTIONS, INPUT_TOPICS
from streams.standalone import writer
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.standalone.conftest import NOW_MS
from tests.standalone.fakes import batch
from tests.standalone.test_time import wait_for

Start = Callable[..., Runtime]
SETTINGS = '[engine]\nsnapshot_events = 1\nsnapshot_secs = 3600\n[agents.bot]\nactions = ["record.*"]\n'
AGENTS = 12


def make(folder: Path, clock: ManualClock) -> Runtime:
    """The real topology."""
    return Runtime(parse_settings(SETTINGS, {}), clock=clock, store=Store(folder), with_ticker=False)


def saved(path: Path) -> dict[str, int]:
    """The snapshots of the agents' states: key → offset."""
    link = sqlite3.connect(path)
    found = dict(link.execute("SELECT key, next_offset FROM snapshot WHERE stage = 'agents'").fetchall())
    link.close()
    return found


def states(runtime: Runtime) -> dict[str, list[tuple[str, int, bytes]]]:
    """Everything that the stages know, topic by topic."""
    core = runtime._writer.core
    assert core is not None
    found = {}
    for topic in INPUT_TOPICS:
        stage: Any = core.lanes[topic].stage
        stage._dirty = list(stage.keys.values())  # those of a sweep under way too
        found[topic] = sorted((s.key, s.next_offset, s.blob) for s in stage.snapshot())
    return found


def crash(folder: Path, copy: Path) -> Path:
    copy.mkdir()
    for file in folder.iterdir():
        if file.suffix != ".lock":
            (copy / file.name).write_bytes(file.read_bytes())
    return copy


@pytest.fixture
def one_key_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round takes the state of one key."""
    monkeypatch.setattr(writer, "_SWEEP_SECS", 0.0)
    monkeypatch.setattr(writer, "_SWEEP_WITH_GATE_SECS", 0.0)


@pytest.mark.usefixtures("one_key_a_round")
@pytest.mark.parametrize("rounds", [1, 4, AGENTS, AGENTS + 1, 2 * AGENTS])
def test_a_crash_between_two_slices_changes_nothing(tmp_path: Path, clock: ManualClock, rounds: int) -> None:
    runtime = make(tmp_path / "one", clock)
    with runtime:
        for number in range(AGENTS):
            runtime.ingest(batch(f"agent-{number}", 0, 30, NOW_MS)).result(10)
        for number in range(rounds):
            clock.move(1_000)
            runtime.tick()
            runtime.ingest(batch(f"agent-{number % 5}", 100 + 10 * number, 3, NOW_MS)).result(10)
        held = runtime.call(lambda _: (crash(tmp_path / "one", tmp_path / "two"), states(runtime))).result(10)[1]
    with make(tmp_path / "two", clock) as again:
        assert states(again) == held


@pytest.mark.usefixtures("one_key_a_round")
def test_a_sweep_goes_on_while_nothing_comes(tmp_path: Path, clock: ManualClock) -> None:
    with make(tmp_path / "one", clock) as runtime:
        for number in range(AGENTS):
            runtime.ingest(batch(f"agent-{number}", 0, 3, NOW_MS)).result(10)
        wait_for(lambda: len(saved(runtime.store.path)) == AGENTS + 1)


def test_the_log_is_resumed_where_the_sweep_began(tmp_path: Path, clock: ManualClock, one_key_a_round: None) -> None:
    del one_key_a_round
    with make(tmp_path / "one", clock) as runtime:
        core = runtime._writer.core
        assert core is not None
        link = sqlite3.connect(runtime.store.path, isolation_level=None)
        newest = resume = 0
        for number in range(4_000):
            runtime.ingest(batch(f"agent-{number % AGENTS}", number, 1, NOW_MS)).result(10)
            link.execute("BEGIN")  # both looks are of one moment
            kept = dict(link.execute("SELECT key, next_offset FROM snapshot WHERE stage = 'agents'").fetchall())
            resume = link.execute("SELECT resume_offset FROM watermark WHERE topic = ?", (ACTIONS,)).fetchone()[0]
            link.execute("COMMIT")
            assert resume == kept.pop("", 0) <= core.lanes[ACTIONS].next_offset
            newest = max(kept.values(), default=0)
            if newest > resume > 0:
                break
        link.close()
        assert newest > resume > 0


def test_a_check_is_admitted_during_a_sweep(tmp_path: Path, clock: ManualClock, one_key_a_round: None) -> None:
    del one_key_a_round
    with make(tmp_path / "one", clock) as runtime:
        for number in range(AGENTS):
            runtime.ingest(batch(f"agent-{number}", 0, 3, NOW_MS)).result(10)
        asked = GateRequest(agent_id="bot", action="record.update", object="Lead", record_ids=["r1"])
        assert [runtime.check(asked).result(10).decision for _ in range(5)] == ["allow"] * 5
