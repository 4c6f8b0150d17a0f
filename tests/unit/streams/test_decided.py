"""Decisions that wait to be filed: in which order they are, and what a crash leaves of them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from storage import gate as gate_store
from storage.tables.gate import gate_agent, gate_decision, gate_unfiled
from streams.standalone import decided
from streams.standalone.decided import Decided

AGENTS = 3


def row(number: int, key: str, seq: int) -> tuple[Any, ...]:
    """A decision as the gate keeps it; its request id says its number."""
    told: dict[str, Any] = {
        "decision_id": f"{number:012x}.1", "key": key, "agent_id": key, "at_ms": number, "offset": number, "seq": seq,
        "decision": "allow", "rule": "allowed", "reason": "fine", "epoch": 1, "action": "record.update", "records": 1,
        "recipients": 0, "request_id": f"r{number}", "content_hash": "h",
    }  # fmt: skip
    return tuple(told.get(column.name) for column in gate_decision.columns)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "store.db"
    engine = create_engine(f"sqlite:///{found}")
    gate_decision.metadata.create_all(engine, tables=[gate_decision, gate_unfiled, gate_agent])
    engine.dispose()
    return found


@pytest.fixture
def link(path: Path) -> Iterator[sqlite3.Connection]:
    found = sqlite3.connect(path, isolation_level=None)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Always busy; twenty decisions are sorted, four filed in a round."""
    for name, value in (
        ("AT_ONCE_PER_SEC", -1), ("FILED_TOGETHER", 20), ("FILED_AFTER_SECS", 1e9), ("FILED_A_ROUND", 4),
        ("FORGOTTEN_A_ROUND", 3),
    ):  # fmt: skip
        monkeypatch.setattr(decided, name, value)


def rounds(link: sqlite3.Connection, waiting: Decided, number: int) -> Iterator[int]:
    """Rounds of one decision each, by the agents in turn; yields how many were made, after each commit."""
    for made in range(number):
        link.execute("BEGIN IMMEDIATE")
        waiting.add(row(made, f"default/a{made % AGENTS}", made // AGENTS + 1))
        waiting.write(link)
        link.execute("COMMIT")
        yield made + 1


def filed(link: sqlite3.Connection) -> list[tuple[str, int]]:
    return link.execute("SELECT key, at_ms FROM gate_decision ORDER BY at_ms").fetchall()


def test_what_is_filed_of_an_agent_is_always_its_first_decisions(link: sqlite3.Connection) -> None:
    waiting = Decided()
    has_mixed = False
    for made in rounds(link, waiting, 200):
        in_table = filed(link)
        times = [unfiled[3] for unfiled in waiting.unfiled()]
        assert times == sorted(times)
        assert sorted([at_ms for _, at_ms in in_table] + times) == list(range(made))
        for agent in range(AGENTS):
            mine = [at_ms for key, at_ms in in_table if key == f"default/a{agent}"]
            assert mine == list(range(agent, made, AGENTS))[: len(mine)]
            assert gate_store.seq_of(link, f"default/a{agent}") == len(mine)
        has_mixed |= bool(in_table) and in_table != [(f"default/a{at % AGENTS}", at) for at in range(len(in_table))]
    assert has_mixed, "they were filed in the order of time, not agent by agent"
    assert len(waiting) < 60


def test_a_request_id_is_remembered_until_its_decision_is_filed(link: sqlite3.Connection) -> None:
    waiting = Decided()
    for made in rounds(link, waiting, 60):
        in_table = {at_ms for _, at_ms in filed(link)}
        for number in range(made):
            told = waiting.remembered(f"default/a{number % AGENTS}", f"r{number}")
            assert (told is None) == (number in in_table)


def test_a_lull_files_all_and_forgets_every_blob(link: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Decided()
    for _ in rounds(link, waiting, 65):
        pass
    monkeypatch.setattr(decided, "FILED_AFTER_SECS", 0.0)
    for _ in range(60):
        link.execute("BEGIN IMMEDIATE")
        waiting.write(link)
        link.execute("COMMIT")
    assert not waiting.has_work
    assert len(filed(link)) == 65
    assert link.execute("SELECT count(*) FROM gate_unfiled").fetchone() == (0,)


def test_a_start_after_a_crash_files_each_decision_once(link: sqlite3.Connection, path: Path, tmp_path: Path) -> None:
    waiting = Decided()
    partly = 0
    for made in rounds(link, waiting, 90):
        copy = tmp_path / "copy.db"
        shutil.copy(path, copy)
        later = sqlite3.connect(copy, isolation_level=None)
        before = len(filed(later))
        gate_store.file_all(later)
        assert [at_ms for _, at_ms in filed(later)] == list(range(made))
        assert later.execute("SELECT count(*) FROM gate_unfiled").fetchone() == (0,)
        for agent in range(min(AGENTS, made)):
            assert gate_store.seq_of(later, f"default/a{agent}") == len(range(agent, made, AGENTS))
        partly += 0 < before < made
        later.close()
    assert partly > 40


def test_the_end_files_all_at_once(link: sqlite3.Connection) -> None:
    waiting = Decided()
    for _ in rounds(link, waiting, 33):
        pass
    link.execute("BEGIN IMMEDIATE")
    waiting.file(link)
    link.execute("COMMIT")
    assert (len(filed(link)), len(waiting), waiting.has_work) == (33, 0, False)
    assert link.execute("SELECT count(*) FROM gate_unfiled").fetchone() == (0,)
