"""What to simulate: the organisation, its agents and how busy each of them is."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from simulator import names
from simulator.draws import Draws

AgentKind = Literal["office", "always_on", "trickle", "batch"]
Role = Literal["enrich", "notes", "outreach", "stage", "route", "quote"]
ROLES: tuple[Role, ...] = ("enrich", "notes", "outreach", "stage", "route", "quote")
KINDS: tuple[AgentKind, ...] = ("office", "always_on", "trickle", "batch")


class JobSpec(Struct, frozen=True, kw_only=True):
    """A recurring batch job: when it starts, how long it runs, how much it does. Minutes are of the local day."""

    start_minute: int = 120
    start_jitter_minutes: int = 20
    length_minutes: tuple[int, int] = (10, 40)
    actions: tuple[int, int] = (300, 900)
    skip_probability: float = 0.05
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)


class AgentSpec(Struct, frozen=True, kw_only=True):
    """One agent: what it does, how often, when, and on whose authority.

    ``actions_per_hour`` is the mean of a busy hour. ``noise_sd`` is the deviation of the logarithm of its slowly
    varying load, which forgets itself over ``noise_hours``. ``run_actions`` is the mean length of a run: actions
    of a run follow each other within seconds. ``read_share`` is how often the role "enrich" only looks.
    ``active_from_day`` counts from the start of the simulation.
    """

    agent_id: str
    kind: AgentKind = "office"
    role: Role = "enrich"
    actions_per_hour: float = 60.0
    owner: str = "Tomas Reuter"
    authorizers: tuple[str, ...] = ("Ines Faber",)
    version: str = "1.4.0"
    error_probability: float = 0.01
    utc_offset_minutes: int = 60
    office_hours: tuple[int, int] = (8, 18)
    weekend_factor: float = 0.04
    noise_sd: float = 0.15
    noise_hours: float = 2.0
    run_actions: float = 2.0
    read_share: float = 0.1
    jobs: tuple[JobSpec, ...] = ()
    follows_surge: bool = True
    active_from_day: int = 0


class OrgSpec(Struct, frozen=True, kw_only=True):
    """A sales organisation. The same spec, seed and dates give the same bytes.

    ``surge_factor`` multiplies everyone's load in the last ``surge_days`` working days of a quarter.
    ``mirrors`` says of which writes of agents the CRM's own change records come too, as change data capture does.
    ``outages`` are (start, end) in minutes from the start of the simulation: the CRM is down, agents stand still.
    """

    name: str = "demo"
    tenant: str = "default"
    agents: tuple[AgentSpec, ...] = ()
    managers: tuple[str, ...] = ("Jo Berger",)
    reps_per_manager: int = 6
    open_deals_per_rep: int = 14
    accounts: int = 120
    currency: str = "EUR"
    utc_offset_minutes: int = 60
    surge_factor: float = 1.0
    surge_days: int = 5
    has_deals: bool = True
    mirrors: Literal["all", "deals", "none"] = "all"
    outages: tuple[tuple[int, int], ...] = ()


def mixed_org(agents: int, seed: int = 0, *, has_deals: bool = True) -> OrgSpec:
    """An organisation with this many agents of all kinds and roles, and a manager for each 24 of them."""
    people = tuple(names.MANAGERS[i % len(names.MANAGERS)] for i in range(max(1, min(5, agents // 24))))
    return OrgSpec(
        name=f"mixed-{agents}",
        agents=tuple(_mixed_agent(index, seed) for index in range(agents)),
        managers=people,
        surge_factor=1.8,
        has_deals=has_deals,
    )


def _mixed_agent(index: int, seed: int) -> AgentSpec:
    draws = Draws(seed, "spec", index)
    kind = KINDS[index % len(KINDS)]
    role = ROLES[(index // len(KINDS)) % len(ROLES)]
    busy = {"office": (20, 240), "always_on": (20, 160), "trickle": (1, 3), "batch": (2, 12)}[kind]
    size = draws.between(150, 900)
    return AgentSpec(
        agent_id=f"{role}-{index + 1:03d}",
        kind=kind,
        role=role,
        actions_per_hour=draws.uniform(*busy),
        owner=draws.pick(names.OWNERS),
        authorizers=(draws.pick(names.REPS), draws.pick(names.REPS)),
        error_probability=draws.uniform(0.002, 0.02),
        noise_sd=draws.uniform(0.1, 0.3),
        noise_hours=draws.uniform(0.5, 4.0),
        run_actions=draws.uniform(1.0, 3.0),
        jobs=(JobSpec(start_minute=draws.between(0, 300), actions=(size, size * 2)),) if kind == "batch" else (),
    )
