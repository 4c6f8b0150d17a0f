"""Many trips, a few at a time, and what they come to."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore

import httpx
from msgspec import Struct

from console.drill.rogue import Rogue
from console.drill.sandbox import PREFIX, Sandbox
from events.times import format_ms
from governance.drills import DrillResult, Scenario, Trip, exceeds, spread
from governance.settings_types import LeaseSettings

_MOST_WAITING = 128
"""Agents of which a gate is cut off at the same time."""


class Plan(Struct, frozen=True, kw_only=True):
    """How a drill is set up. ``rate``: operations a second of one agent, over all its gates. ``credits``: of each
    lease; 0: without leases, each operation is asked for. ``at_once``: agents that go rogue at the same time; while a
    gate of theirs is cut off for ``cut_secs`` more agents may be on their way, for there is little to do. ``cut_secs``
    0: until nothing more can come of that gate."""

    scenario: Scenario
    trips: int
    gates: int
    credits: int
    rate: float
    has_partition: bool
    cut_secs: float
    at_once: int
    seed: int
    leases: LeaseSettings


def run(plan: Plan, by: str, now_ms: int, progress: Callable[[], None]) -> DrillResult:
    """Run it on a server of its own. Raises RuntimeError when that does not start."""
    with (
        Sandbox(plan.trips, plan.credits, plan.scenario, plan.leases) as sandbox,
        ThreadPoolExecutor(max(plan.at_once, _MOST_WAITING if plan.cut_secs else 0)) as pool,
    ):
        busy = BoundedSemaphore(plan.at_once)
        done = list(pool.map(lambda number: _one(plan, sandbox, number, busy, progress), range(plan.trips)))
    trips = [trip for trip in done if isinstance(trip, Trip)]
    problems = [trip for trip in done if isinstance(trip, str)]
    return DrillResult(
        id=f"{now_ms:012x}{secrets.token_hex(6)}",
        at=format_ms(now_ms),
        by=by,
        scenario=plan.scenario,
        trips=len(trips),
        gates=plan.gates,
        has_partition=plan.has_partition,
        cut_secs=plan.cut_secs,
        rate_per_sec=plan.rate,
        credits=plan.credits,
        ttl_ms=int(plan.leases.ttl_secs * 1000),
        report_ms=plan.leases.report_ms,
        exceeded=sum(map(exceeds, trips)),
        failed=len(problems),
        admitted_after=spread([trip.admitted_after for trip in trips]),
        bound=spread([trip.bound for trip in trips]),
        detect_ms=spread([trip.detect_ms for trip in trips]),
        contain_ms=spread([trip.contain_ms for trip in trips]),
        verify_ms=spread([trip.verify_ms for trip in trips]),
        problems=problems[:10],
    )


def _one(plan: Plan, sandbox: Sandbox, number: int, busy: BoundedSemaphore, progress: Callable[[], None]) -> Trip | str:
    rogue = Rogue(
        sandbox.url, sandbox.person, f"{PREFIX}{number:04d}", gates=plan.gates, credits_=plan.credits, rate=plan.rate,
        has_partition=plan.has_partition, seed=plan.seed + number, cut_secs=plan.cut_secs, busy=busy,
    )  # fmt: skip
    try:
        return rogue.run(plan.scenario)
    except (RuntimeError, httpx.HTTPError) as problem:
        return f"{rogue.agent_id}: {problem!r}" if isinstance(problem, httpx.HTTPError) else str(problem)
    finally:
        progress()
