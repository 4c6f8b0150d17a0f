"""Following a file: every line once, whatever happens between two reads."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from events.codec import encode
from streams.standalone.follow import Follower
from streams.standalone.runtime import Runtime
from tests.standalone.conftest import NOW_MS
from tests.standalone.fakes import action_event

Start = Callable[..., Runtime]


def line(number: int) -> bytes:
    return encode(action_event("a", number, NOW_MS)) + b"\n"


def count(runtime: Runtime) -> int:
    return runtime.status().counts.get("action", 0)


def test_what_is_there_and_what_comes_is_taken_once(start: Start, tmp_path: Path) -> None:
    runtime, path = start(limit=10**9), tmp_path / "events.jsonl"
    path.write_bytes(b"".join(line(n) for n in range(10)))
    follower = Follower(runtime, path)
    assert follower.read_to_end() == 10
    with path.open("ab") as out:
        out.write(line(10))
    assert follower.read_to_end() == 11
    assert count(runtime) == 11


def test_half_a_line_waits_for_its_end(start: Start, tmp_path: Path) -> None:
    runtime, path = start(limit=10**9), tmp_path / "events.jsonl"
    whole = line(1)
    path.write_bytes(line(0) + whole[:40])
    follower = Follower(runtime, path)
    assert follower.read_to_end() == 1
    with path.open("ab") as out:
        out.write(whole[40:])
    assert follower.read_to_end() == 2
    assert count(runtime) == 2


def test_it_goes_on_after_a_restart_where_it_stood(start: Start, tmp_path: Path) -> None:
    runtime, path = start(limit=10**9), tmp_path / "events.jsonl"
    path.write_bytes(b"".join(line(n) for n in range(5)))
    Follower(runtime, path).read_to_end()
    runtime.close()
    with path.open("ab") as out:
        out.write(line(5))
    runtime = start(limit=10**9)
    follower = Follower(runtime, path)
    assert follower.read_to_end() == 1
    assert runtime.status().counts == {"action": 1}


def test_a_line_that_cannot_be_read_is_a_dead_letter_with_its_place(start: Start, tmp_path: Path) -> None:
    runtime, path = start(limit=10**9), tmp_path / "events.jsonl"
    path.write_bytes(line(0) + b"\n" + b"not json\n" + line(1))
    follower = Follower(runtime, path)
    assert (follower.read_to_end(), follower.refused) == (2, 1)
    link = sqlite3.connect(runtime.store.path)
    found = link.execute("SELECT raw, json_extract(origin, '$.line') FROM dead_letter").fetchall()
    link.close()
    assert found == [(b"not json", 3)]


def test_a_file_that_was_replaced_is_read_from_its_beginning(start: Start, tmp_path: Path) -> None:
    runtime, path = start(limit=10**9), tmp_path / "events.jsonl"
    path.write_bytes(b"".join(line(n) for n in range(5)))
    follower = Follower(runtime, path)
    follower.read_to_end()
    other = tmp_path / "other"
    other.write_bytes(line(4) + line(5))
    os.replace(other, path)
    assert follower.read_to_end() == 7
    assert count(runtime) == 6  # event 4 was known


def test_the_thread_follows_a_file_that_comes_later(start: Start, tmp_path: Path) -> None:
    runtime, path = start(limit=10**9), tmp_path / "events.jsonl"
    follower = Follower(runtime, path)
    follower.start()
    path.write_bytes(line(0))
    end = time.monotonic() + 15
    while count(runtime) < 1:
        assert time.monotonic() < end
        time.sleep(0.01)
    follower.stop()
