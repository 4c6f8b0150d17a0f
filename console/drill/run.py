"""Many trips, a few at a time, and what they come to."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from msgspec import Struct

from console.drill.rogue import Rogue
from console.drill.sandbox import PREFIX, Sandbox
from events.times import format_ms
from governance.drills import DrillResult, Scenario, Trip, exceeds, spread
from governance.settings_types import LeaseSettings


class Plan(Struct, frozen=True, kw_only=True):
    """How a drill is set up. ``rate``: operations a second of one agent, over all its gates. ``credits``: of each
    lease; 0: without leases, each operation is asked for. ``at_once``: agents that go rogue at the same time."""

    scenario: Scenario
    trips: int
    gates: int
    credits: int
    rate: float
    has_partition: bool
    at_once: int
    seed: int
    leases: LeaseSettings


def run(plan: Plan, by: str, now_ms: int, progress: Callable[[], None]) -> DrillResult:
    """Run it on a server of its own. Raises RuntimeError when that does not start."""
    with (
        Sandbox(plan.trips, plan.credits, plan.scenario, plan.leases) as sandbox,
        ThreadPoolExecutor(plan.at_once) as pool,
    ):
        done = list(pool.map(lambda number: _one(plan, sandbox, number, progress), range(plan.trips)))
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


def _one(plan: Plan, sandbox: Sandbox, number: int, progress: Callable[[], None]) -> Trip | str:
    rogue = Rogue(
        sandbox.url, sandbox.person, f"{PREFIX}{number:04d}", gates=plan.gates, credits_=plan.credits, rate=plan.rate,
        has_partition=plan.has_partition, seed=plan.seed + number,
    )  # fmt: skip
    try:
        return rogue.run(plan.scenario)
    except (RuntimeError, httpx.HTTPError) as problem:
        return str(problem) or f"{rogue.agent_id}: {problem!r}"
    finally:
        progress()
