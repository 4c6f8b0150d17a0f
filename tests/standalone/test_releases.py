"""Releases after repeated trips: they wait, and are watched before the agent is active."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from events.times import format_ms
from events.types import By, EvidenceData, Finding
from governance.control import ControlRequest, ControlRow, Decision
from governance.settings import Settings
from streams.replay.authority import Authority
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


def test_a_throttle_that_does_not_help_becomes_a_hold_also_over_a_restart(
    start: Callable[..., Runtime], clock: ManualClock
) -> None:
    runtime = start()
    rate, maya = By("detector", "rate"), By("human", "maya")
    ask(runtime, "throttled", rate, 0)
    clock.move(40 * MINUTE)
    ask(runtime, "throttled", rate, row(runtime).epoch)
    assert row(runtime).state == "throttled"
    runtime.close()
    runtime = start()
    clock.move(40 * MINUTE)
    ask(runtime, "throttled", rate, row(runtime).epoch)
    assert (row(runtime).state, row(runtime).expires_ms) == ("held", None)
    ask(runtime, "active", maya, row(runtime).epoch)
    ask(runtime, "throttled", rate, row(runtime).epoch)
    assert row(runtime).state == "throttled", "a release starts the count afresh"


def test_a_replay_decides_alike() -> None:
    authority = Authority(Settings(), "main")
    states = []
    for minutes in (0, 40, 80, 25 * 60):
        at_ms = 1_772_443_200_000 + minutes * MINUTE
        decided = authority.request("default/bot", throttle(at_ms), at_ms)
        states.append(decided.data.state if decided is not None else None)
    assert states == ["throttled", "throttled", "held", None]


def throttle(at_ms: int) -> Finding:
    evidence = EvidenceData(
        summary="31 updates", observed=31, expected=9, limit=31, unit="updates", events=[], would_clear="fewer"
    )
    return Finding(
        finding_id=f"f-{at_ms}", detector="rate", mode="enforce", agent_id="bot", agent_version=None,
        at=format_ms(at_ms), severity="warning", action_taken="throttle", basis_epoch=0, evidence=evidence,
    )  # fmt: skip
