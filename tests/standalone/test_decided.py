"""Decisions of a busy time: durable with their round, known at once, filed later, and filed after a crash."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance.gate import GateDecision, GateRequest, Rule
from storage.store import Store
from streams.standalone import decided
from streams.standalone.runtime import Runtime
from tests.standalone.test_time import wait_for

Start = Callable[..., Runtime]


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every time counts as busy, and nothing is filed before fifty decisions."""
    monkeypatch.setattr(decided, "AT_ONCE_PER_SEC", -1)
    monkeypatch.setattr(decided, "FILED_AFTER_SECS", 3600.0)


def ask(runtime: Runtime, number: int, **more: Any) -> GateDecision:
    asked = {"agent_id": "bot", "action": "record.update", "object": "Lead", "record_ids": [f"r{number}"], **more}
    return runtime.check(GateRequest(**asked)).result(10)


COUNTS = {table: f"SELECT count(*) FROM {table}" for table in ("gate_unfiled", "gate_decision")}  # noqa: S608


def count(path: Path, table: str) -> int:
    link = sqlite3.connect(path)
    found = int(link.execute(COUNTS[table]).fetchone()[0])
    link.close()
    return found


def crash(runtime: Runtime, copy: Path) -> Path:
    """The store as a crash right now would leave it, elsewhere."""
    copy.mkdir()
    for file in runtime.store.folder.iterdir():
        if file.suffix != ".lock":
            (copy / file.name).write_bytes(file.read_bytes())
    return copy


@pytest.mark.usefixtures("busy")
def test_a_decision_is_durable_before_it_is_filed(start: Start, tmp_path: Path) -> None:
    runtime = start(limit=1000)
    first = ask(runtime, 1, request_id="q")
    assert (count(runtime.store.path, "gate_unfiled"), count(runtime.store.path, "gate_decision")) == (1, 0)
    left = Store(crash(runtime, tmp_path / "copy"))
    again = Runtime(runtime.settings, clock=runtime.clock, store=left, make_stages=runtime.make_stages)
    with again:
        assert (count(left.path, "gate_unfiled"), count(left.path, "gate_decision")) == (0, 1)
        assert ask(again, 1, request_id="q").decision_id == first.decision_id
        ask(again, 2)
    rows = sqlite3.connect(left.path).execute("SELECT seq FROM gate_decision ORDER BY seq").fetchall()
    assert rows == [(1,), (2,)]


@pytest.mark.usefixtures("busy")
def test_a_request_id_is_known_before_its_decision_is_filed(start: Start) -> None:
    runtime = start(limit=1000)
    first, again = ask(runtime, 1, request_id="q"), ask(runtime, 1, request_id="q")
    assert again.decision_id == first.decision_id
    assert ask(runtime, 2, request_id="q").rule == Rule.REQUEST_ID
    assert ask(runtime, 1, request_id="q").decision_id == first.decision_id


@pytest.mark.usefixtures("busy")
def test_decisions_are_filed_later_and_their_blobs_forgotten(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decided, "FILED_TOGETHER", 50)
    runtime = start(limit=1000)
    for number in range(49):
        ask(runtime, number)
    assert (count(runtime.store.path, "gate_unfiled"), count(runtime.store.path, "gate_decision")) == (49, 0)
    ask(runtime, 49)
    wait_for(lambda: count(runtime.store.path, "gate_unfiled") == 0)
    assert count(runtime.store.path, "gate_decision") == 50


@pytest.mark.usefixtures("busy")
def test_a_runtime_that_ends_files_what_is_left(start: Start) -> None:
    runtime = start(limit=1000)
    ask(runtime, 1)
    runtime.close()
    assert (count(runtime.store.path, "gate_unfiled"), count(runtime.store.path, "gate_decision")) == (0, 1)


def test_a_lull_files_what_a_busy_second_left(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decided, "AT_ONCE_PER_SEC", -1)
    runtime = start(limit=1000)
    ask(runtime, 1)
    wait_for(lambda: count(runtime.store.path, "gate_decision") == 1)
    wait_for(lambda: count(runtime.store.path, "gate_unfiled") == 0)
