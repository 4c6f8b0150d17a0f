"""Populations of agents for measuring detectors: many agents of all kinds, with rough edges.

Written without a look at the generators on which detectors are tuned: load swings slowly and sometimes fast, office
agents differ in hours and time zones, some work in long runs, batches vary in start, length and size and skip
nights, quarters end in a surge, and the CRM is down once.
"""

from __future__ import annotations

from collections.abc import Iterator

from events.times import DAY_MS, HOUR_MS
from simulator import names
from simulator.draws import Draws
from simulator.load import AgentLoad
from simulator.spec import KINDS, ROLES, AgentKind, AgentSpec, JobSpec, OrgSpec, Role

_ZONES = (-480, -300, 0, 60, 60, 60, 120, 330, 480)
_SHARES: tuple[tuple[AgentKind, float], ...] = (
    ("office", 0.40),
    ("always_on", 0.25),
    ("trickle", 0.20),
    ("batch", 0.15),
)


def population(agents: int, seed: int, *, surge_factor: float = 2.0, has_outage: bool = True) -> OrgSpec:
    """An organisation of this many agents without deals and change records: only actions, as fast as possible.

    30 agents over 30 days are 30 agent-months. The kinds' shares are fixed: .40 office, .25 always on,
    .20 trickle, .15 nightly batch.
    """
    return OrgSpec(
        name=f"population-{seed}",
        agents=tuple(_agent(index, agents, seed) for index in range(agents)),
        accounts=200,
        surge_factor=surge_factor,
        has_deals=False,
        mirrors="none",
        outages=_outage(seed) if has_outage else (),
    )


def hour_times(spec: OrgSpec, agent: AgentSpec, seed: int, start_ms: int, days: int) -> Iterator[list[int]]:
    """Only the times (ms) at which one agent acts, a list for each hour: for detectors of rates alone."""
    load = AgentLoad(spec, agent, seed, start_ms)
    for hour_ms in range(start_ms, start_ms + days * DAY_MS, HOUR_MS):
        yield [at_ms for at_ms, _ in load.hour(hour_ms)]


def _agent(index: int, agents: int, seed: int) -> AgentSpec:
    draws = Draws(seed, "population", index)
    kind = _kind((index + 0.5) / agents)
    role: Role = ROLES[draws.below(len(ROLES))]
    # Rates spread over more than a decade, low ones more often: between the ends on a squared scale.
    low, high = {"office": (8, 320), "always_on": (10, 260), "trickle": (0.6, 2.0), "batch": (1, 15)}[kind]
    share = draws.random()
    begins = draws.between(6, 10)
    return AgentSpec(
        agent_id=f"{kind.replace('_', '-')}-{index + 1:04d}",
        kind=kind,
        role=role,
        actions_per_hour=low + (high - low) * share * share,
        owner=draws.pick(names.OWNERS),
        authorizers=(draws.pick(names.REPS),),
        error_probability=draws.uniform(0.001, 0.03),
        utc_offset_minutes=draws.pick(_ZONES),
        office_hours=(begins, begins + draws.between(7, 12)),
        weekend_factor=draws.pick((0.0, 0.02, 0.1, 0.3)),
        noise_sd=draws.uniform(0.08, 0.38),
        noise_hours=draws.uniform(0.3, 8.0),
        run_actions=1.0 + 4.0 * draws.random() * draws.random(),
        jobs=(_job(draws),) if kind == "batch" else (),
        follows_surge=draws.chance(0.8),
    )


def _job(draws: Draws) -> JobSpec:
    size = draws.between(80, 1500)
    shortest = draws.between(6, 25)
    return JobSpec(
        start_minute=draws.between(20, 330),
        start_jitter_minutes=draws.between(2, 35),
        length_minutes=(shortest, shortest + draws.between(3, 30)),
        actions=(size * 6 // 10, size * 17 // 10),
        skip_probability=draws.uniform(0.0, 0.15),
        weekdays=(0, 1, 2, 3, 4) if draws.chance(0.3) else (0, 1, 2, 3, 4, 5, 6),
    )


def _kind(place: float) -> AgentKind:
    for kind, share in _SHARES:
        if place < share:
            return kind
        place -= share
    return KINDS[-1]


def _outage(seed: int) -> tuple[tuple[int, int], ...]:
    draws = Draws(seed, "outage")
    begin = draws.between(9 * 1440, 25 * 1440)
    return ((begin, begin + draws.between(20, 90)),)
