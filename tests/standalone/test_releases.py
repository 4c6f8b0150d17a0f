"""Releases after repeated trips: they wait, and are watched before the agent is active."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from events.types import By
from governance.control import ControlRequest, ControlRow, Decision
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime

MINUTE = 60_000


def ask(runtime: Runtime, wanted: Any, by: By, epoch: int) -> Decision:
    request = ControlRequest(
        key="default/bot", agent_id="bot", wanted=wanted, basis_epoch=epoch, by=by, reason="because",
        at_ms=runtime.now_ms(),
    )  # fmt: skip
    return runtime.control(request).result(10)


def row(runtime: Runtime) -> ControlRow:
    found: Any = runtime.call(lambda round_: round_.row_of("default/bot")).result(10)
    return found


def test_the_second_trip_in_30_days_waits_and_its_release_is_watched(
    start: Callable[..., Runtime], clock: ManualClock
) -> None:
    runtime = start()
    rate, maya = By("detector", "rate"), By("human", "maya")
    ask(runtime, "suspended", rate, 0)
    ask(runtime, "active", maya, row(runtime).epoch)
    assert row(runtime).state == "active"
    clock.move(29 * 24 * 60 * MINUTE)
    ask(runtime, "suspended", rate, row(runtime).epoch)
    ask(runtime, "suspended", maya, row(runtime).epoch)
    early = ask(runtime, "active", maya, row(runtime).epoch)
    assert (early.why, row(runtime).state) == ("too_soon", "suspended")
    clock.move(10 * MINUTE)
    ask(runtime, "active", maya, row(runtime).epoch)
    watched = row(runtime)
    assert (watched.state, watched.expires_ms) == ("throttled", runtime.now_ms() + 30 * MINUTE)
    runtime.close()
    runtime = start()
    assert ask(runtime, "throttled", rate, watched.epoch).row.state == "held"
    clock.move(31 * 24 * 60 * MINUTE)
    ask(runtime, "active", maya, row(runtime).epoch)
    assert row(runtime).state == "active"
