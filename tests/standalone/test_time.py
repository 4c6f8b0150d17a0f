"""Clocks, ticks and the band of the picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from events.times import HOUR_MS, MINUTE_MS
from streams.standalone.bands import bands
from streams.standalone.clock import ManualClock, ScaledClock, SystemClock
from streams.standalone.keeper import Ticker
from streams.standalone.runtime import Runtime
from tests.standalone.conftest import NOW_MS
from tests.standalone.fakes import batch

Start = Callable[..., Runtime]
BIN_MS = 5 * MINUTE_MS
START_MS = NOW_MS - NOW_MS % BIN_MS


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_boundaries_that_were_slept_through_are_one_tick() -> None:
    clock = ManualClock(START_MS + 1)
    ticks: list[int] = []
    ticker = Ticker(clock, 10_000, ticks.append)
    ticker.start()
    clock.move(10_000)
    wait_for(lambda: len(ticks) == 1)
    clock.move(60_000)
    wait_for(lambda: len(ticks) == 2)
    ticker.stop()
    assert ticks == [START_MS + 10_000, START_MS + 70_000]


def test_a_scaled_clock_runs_faster_and_says_how_long_to_wait() -> None:
    clock = ScaledClock(START_MS, speed=60)
    first = clock.now_ms()
    assert first >= START_MS
    assert 0.5 < clock.wait_secs(first + 60_000) <= 1.0
    assert clock.wait_secs(START_MS - 1) == 0.0


def test_the_systems_clock_never_asks_to_wait_for_the_past() -> None:
    clock = SystemClock()
    assert clock.wait_secs(clock.now_ms() - 1000) == 0.0


def test_log_time_never_goes_back(start: Start, clock: ManualClock) -> None:
    runtime = start(limit=10**9)
    runtime.ingest(batch("a", 0, 1, NOW_MS)).result(10)
    clock.move(-HOUR_MS)
    runtime.ingest(batch("a", 1, 1, NOW_MS)).result(10)
    link = runtime.store.connect()
    times = [row[0] for row in link.execute("SELECT first_at_ms FROM log_segment ORDER BY topic, base_offset")]
    link.close()
    assert set(times) == {NOW_MS}


def stage(last_ms: int, band: Any = (38.0, 61)) -> Any:
    detector = SimpleNamespace(name="action_rate", band=lambda *_: band)
    body = SimpleNamespace(last_ms=last_ms, disabled={}, states=["state"])
    return SimpleNamespace(detectors=(detector,), keys={"default/bot": SimpleNamespace(body=body)})


def test_the_band_is_shown_once_every_five_minutes() -> None:
    first = bands(stage(START_MS), START_MS - 10_000, START_MS)
    again = bands(stage(START_MS), START_MS, START_MS + 10_000)
    assert first == [("default/bot", START_MS, 38.0, 61.0)]
    assert again == []


def test_agents_that_sleep_and_detectors_without_an_opinion_have_no_band() -> None:
    assert bands(stage(START_MS - 2 * HOUR_MS), 0, START_MS) == []
    assert bands(stage(START_MS, band=None), 0, START_MS) == []


def test_ticks_end_up_in_the_log_of_both_producers_topics(start: Start, clock: ManualClock) -> None:
    runtime = start()
    before = runtime.status().offsets
    runtime.tick().result(10)
    after = runtime.status().offsets
    assert {topic: after[topic] - before[topic] for topic in after} == {
        "agent.actions": 1,
        "crm.events": 1,
        "portfolio": 0,
    }
