"""A full disk, a lock, a lost tail, a broken stage: writes are denied, nothing is made up, and it goes on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pytest

from governance.gate import GateRequest, Rule
from storage import log
from storage.errors import StoreInUse, StoreMismatch, StoreUnavailable
from streams.routing import ACTIONS, CRM
from streams.standalone import projection
from streams.standalone.runtime import Runtime
from streams.standalone.types import Busy
from tests.standalone.conftest import NOW_MS
from tests.standalone.fakes import CountingStage, batch, tiny_stages

Start = Callable[..., Runtime]
REQUEST = GateRequest(agent_id="bot", action="record.update", object="Lead", record_ids=["r1"])


def until(condition: Callable[[], bool], secs: float = 15.0) -> None:
    end = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def fill(runtime: Runtime) -> int:
    """Ingest until the store is full; returns how many events were acknowledged."""
    for number in range(0, 200_000, 500):
        try:
            runtime.ingest(batch("a", number, 500, NOW_MS), may_wait=True).result(30)
        except StoreUnavailable:
            return number
    raise AssertionError("the store never filled up")


def test_a_full_disk_denies_writes_and_what_was_acknowledged_stays(start: Start) -> None:
    runtime = start(limit=10**9, max_page_count=400)
    kept = fill(runtime)
    until(lambda: runtime.status().degraded_reasons == ["store"])
    assert "full" in runtime.status().troubles[0]
    assert runtime.check(REQUEST).result(10).rule == Rule.CONTROL_UNKNOWN
    runtime.close()

    runtime = start(limit=10**9)
    assert runtime.check(REQUEST).result(10).decision == "allow"
    answers = runtime.ingest(batch("a", 0, kept + 500, NOW_MS), may_wait=True).result(60)
    assert [answer.is_duplicate for answer in answers] == [True] * kept + [False] * 500
    assert runtime.status().degraded_reasons == []


def test_a_full_disk_that_gets_room_is_written_again_without_a_restart(start: Start) -> None:
    runtime = start(limit=10**9, max_page_count=400)
    fill(runtime)
    runtime.store.max_page_count = None

    def writes_again() -> bool:
        try:
            return runtime.ingest(batch("b", 0, 10, NOW_MS), may_wait=True).result(10)[0].status == "accepted"
        except StoreUnavailable:
            return False

    until(writes_again)
    assert runtime.status().degraded_reasons == []
    assert runtime.status().restarts >= 1


def test_a_locked_store_denies_and_recovers(start: Start) -> None:
    runtime = start(limit=10**9)
    other = sqlite3.connect(runtime.store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert runtime.check(REQUEST).result(10).rule == Rule.CONTROL_UNKNOWN
    assert runtime.status().degraded_reasons == ["store"]
    other.execute("ROLLBACK")
    until(lambda: runtime.check(REQUEST).result(10).decision == "allow")
    other.close()


def test_what_a_failed_transaction_judged_leaves_no_trace(start: Start) -> None:
    """The stage had counted the events of the round that failed; the count is that of the log again."""
    runtime = start(limit=10**9)
    runtime.ingest(batch("a", 0, 7, NOW_MS)).result(10)
    other = sqlite3.connect(runtime.store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        runtime.ingest(batch("a", 7, 5, NOW_MS)).result(10)
    other.execute("ROLLBACK")
    other.close()
    until(lambda: runtime.status().is_writing)
    core = runtime._writer.core
    assert core is not None
    stage = core.lanes[ACTIONS].stage
    assert isinstance(stage, CountingStage)
    assert stage.counts == {"default/a": 7}


def test_a_second_process_on_the_same_store_is_refused(start: Start) -> None:
    start()
    with pytest.raises(StoreInUse, match="another process"):
        start()


def test_an_event_that_breaks_a_stage_is_given_up_alone(start: Start) -> None:
    def stages(settings: Any, engine_id: str, ids: Any) -> Any:
        made = tiny_stages(settings, engine_id, ids, 10**9)
        made[ACTIONS].fail_on = "a-37"
        return made

    runtime = start(stages=stages)
    answers = runtime.ingest(batch("a", 0, 100, NOW_MS)).result(60)
    assert [n for n, answer in enumerate(answers) if answer.status != "accepted"] == [37]
    assert answers[37].reason == "engine_fault"
    core = runtime._writer.core
    assert core is not None
    stage = core.lanes[ACTIONS].stage
    assert isinstance(stage, CountingStage)
    assert stage.counts == {"default/a": 99}
    assert runtime.check(REQUEST).result(10).decision == "allow"


def edit(runtime: Runtime, *statements: str) -> None:
    link = runtime.store.connect()
    for statement in statements:
        link.execute(statement)
    link.close()


def test_states_beyond_the_end_of_the_log_refuse_to_start(start: Start) -> None:
    runtime = start()
    for number in range(3):
        runtime.ingest(batch("a", number, 1, NOW_MS)).result(10)
    runtime.close()
    edit(
        runtime,
        "DELETE FROM log_segment WHERE topic = 'agent.actions' AND base_offset = "
        "(SELECT max(base_offset) FROM log_segment WHERE topic = 'agent.actions')",
    )
    with pytest.raises(StoreMismatch, match="it lost its end"):
        start()


def test_states_of_another_topic_refuse_to_start(start: Start) -> None:
    runtime = start()
    runtime.ingest(batch("a", 0, 1, NOW_MS)).result(10)
    runtime.close()
    edit(runtime, "UPDATE meta SET value = 'other' WHERE name = 'topic_id:agent.actions'")
    with pytest.raises(StoreMismatch, match="made anew"):
        start()


def test_lost_states_are_made_again_and_nobody_is_told_twice(start: Start) -> None:
    runtime = start(limit=5)
    runtime.ingest(batch("a", 0, 9, NOW_MS)).result(10)
    runtime.close()
    edit(runtime, "DELETE FROM snapshot", "DELETE FROM watermark")
    runtime = start(limit=5)
    core = runtime._writer.core
    assert core is not None
    stage = core.lanes[ACTIONS].stage
    assert isinstance(stage, CountingStage)
    assert stage.counts == {"default/a": 9}
    link = runtime.store.connect()
    assert link.execute("SELECT count(*) FROM finding").fetchone() == (1,)
    assert link.execute("SELECT count(*) FROM outbox").fetchone() == (2,)
    assert link.execute("SELECT count(*) FROM control_history").fetchone() == (1,)
    link.close()


def test_a_report_that_reads_for_long_makes_producers_wait_and_health_say_so(start: Start) -> None:
    runtime = start(limit=10**9, toml="[engine]\nmax_wal_bytes = 1048576\n")
    reader = runtime.store.connect()
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM meta").fetchone()

    def send() -> None:
        for number in range(0, 100_000, 500):
            runtime.ingest(batch("a", number, 500, NOW_MS)).result(30)

    with pytest.raises(Busy, match="write-ahead log"):
        send()
    assert "wal" in runtime.status().degraded_reasons
    reader.execute("COMMIT")
    reader.close()


def test_a_producer_is_told_to_wait_while_the_oldest_event_is_too_old(start: Start) -> None:
    runtime = start(limit=10**9)
    runtime.call(lambda _: time.sleep(0.6))
    waiting = runtime.ingest(batch("a", 0, 10, NOW_MS))
    time.sleep(0.3)
    with pytest.raises(Busy, match="waited"):
        runtime.ingest(batch("a", 10, 10, NOW_MS))
    assert waiting.result(10)[0].status == "accepted"


def test_projections_that_are_lost_are_made_again_from_the_log(start: Start) -> None:
    runtime = start(limit=10**9)
    runtime.ingest(batch("a", 0, 30, NOW_MS)).result(10)
    runtime.close()
    for name in ("projections.db", "projections.db-wal", "projections.db-shm"):
        (runtime.store.folder / name).unlink(missing_ok=True)
    runtime = start(limit=10**9)
    assert runtime.projector is not None
    until(lambda: runtime.status().projection_lag == 0)
    assert runtime.projector.wait_until_idle(10)
    link = sqlite3.connect(runtime.store.folder / "projections.db")
    assert link.execute("SELECT count(*) FROM action").fetchone() == (30,)
    assert link.execute("SELECT actions, records FROM agent").fetchone() == (30, 30)
    link.close()


def test_under_load_rows_are_gathered_and_the_lag_says_so(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "GATHER_SECS", 3600.0)
    runtime = start(limit=10**9)
    assert runtime.projector is not None
    assert runtime.projector.wait_until_idle(10)
    written = runtime.projector.position
    for number in range(10):
        runtime.ingest(batch("a", 100 * number, 100, NOW_MS)).result(10)
        lag = runtime.status().projection_lag
        assert lag == runtime.status().offsets[ACTIONS] - runtime.projector.position
    assert runtime.projector.wait_until_idle(10)  # nothing more comes: what was gathered is written
    assert runtime.status().projection_lag == 0
    assert runtime.projector.position == written + 1_000
    link = sqlite3.connect(runtime.store.folder / "projections.db")
    assert link.execute("SELECT count(*) FROM action").fetchone() == (1_000,)
    link.close()


def test_retention_drops_whole_segments_below_the_states_and_keeps_offsets(start: Start, clock: Any) -> None:
    runtime = start(limit=10**9, toml="[engine]\nretention_days = 3\n")
    for number in range(5):
        runtime.ingest(batch("a", number, 1, NOW_MS)).result(10)
    clock.move(4 * 86_400_000)
    runtime.ingest(batch("a", 5, 1, NOW_MS)).result(10)
    runtime.close()
    link = runtime.store.connect()
    start_offset, end = log.bounds(link, ACTIONS)
    link.close()
    assert (start_offset, end) == (0, 7)  # the states did not cover the old segments before the last transaction
    runtime = start(limit=10**9, toml="[engine]\nretention_days = 3\n")
    runtime.ingest(batch("a", 6, 1, NOW_MS)).result(10)
    runtime.close()
    link = runtime.store.connect()
    assert log.bounds(link, ACTIONS) == (6, 8)
    assert log.bounds(link, CRM)[1] == 1
    link.close()


def test_a_delivery_that_fails_half_way_does_not_run_what_was_to_follow_it(start: Start) -> None:
    """Else a followed file's position would be stored beyond lines that were never taken."""
    runtime = start(limit=10**9)
    other = sqlite3.connect(runtime.store.path, isolation_level=None, check_same_thread=False)
    finished: list[int] = []

    def lock_once(_: object) -> None:
        if not finished:
            finished.append(0)
            other.execute("BEGIN IMMEDIATE")

    runtime.subscribe(lock_once)
    with pytest.raises(StoreUnavailable):
        runtime.ingest(batch("a", 0, 20_000, NOW_MS), after=lambda _: finished.append(1), may_wait=True).result(60)
    other.execute("ROLLBACK")
    other.close()
    until(lambda: runtime.check(REQUEST).result(10).decision == "allow")
    assert finished == [0]
    assert runtime.status().queue == 0


def test_a_release_that_was_under_way_is_done_at_the_next_start(start: Start) -> None:
    runtime = start()
    runtime.suspend("bot", "eva", "x").result(10)
    runtime.close()
    edit(runtime, "UPDATE control SET state = 'releasing', epoch = 2")
    runtime = start()
    assert runtime.check(REQUEST).result(10).decision == "allow"
    assert runtime.status().control_counts == {"active": 1}
