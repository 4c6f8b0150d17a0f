"""The demo's people, agents and deals, and the settings that Tripline runs them with."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from events.times import DAY_MS, parse_ms
from governance.settings import Settings, parse_settings
from simulator import AgentSpec, OrgSpec
from simulator.deals import STAGE_NORM_DAYS, STAGES
from simulator.names import MANAGERS, OWNERS, REPS, user

ROGUE = "enrich-bot"
PERSON = "Maya Lindqvist"
"""Who is logged in by the printed link."""
LIVE_FROM_MS = parse_ms("2026-03-04T08:00:00Z")
"""A Wednesday, 09:00 in Berlin: everybody is at work."""
AGENT_DAYS = 8
DEAL_DAYS = 42
ZONE = "Europe/Berlin"

_AGENTS: tuple[AgentSpec, ...] = (
    AgentSpec(
        agent_id=ROGUE, role="enrich", actions_per_hour=162, owner="Tomas Reuter", authorizers=("Ines Faber",),
        office_hours=(5, 23), weekend_factor=0.4, noise_sd=0.03, noise_hours=6, run_actions=1.0, read_share=0.0,
        error_probability=0.004,
    ),
    AgentSpec(
        agent_id="call-notes", role="notes", actions_per_hour=50, owner="Sami Okafor", authorizers=REPS[:6],
        office_hours=(7, 21), noise_sd=0.12, error_probability=0.006,
    ),
    AgentSpec(
        agent_id="outreach-drafter", role="outreach", actions_per_hour=55, owner="Ines Faber", authorizers=REPS[:6],
        office_hours=(7, 21), noise_sd=0.12, error_probability=0.006,
    ),
    AgentSpec(
        agent_id="stage-sync", role="stage", actions_per_hour=32, owner="Jo Berger", authorizers=("Jo Berger",),
        office_hours=(5, 23), weekend_factor=0.4, noise_sd=0.1, error_probability=0.006,
    ),
    AgentSpec(
        agent_id="lead-router", role="route", actions_per_hour=60, owner="Jo Berger", authorizers=("Jo Berger",),
        office_hours=(6, 22), noise_sd=0.1, error_probability=0.004,
    ),
    AgentSpec(
        agent_id="quote-helper", role="quote", actions_per_hour=35, owner="Ines Faber", authorizers=REPS[:6],
        office_hours=(7, 21), noise_sd=0.12, error_probability=0.006,
    ),
)  # fmt: skip
_DONE_BY = {
    "enrich": ("Fills in company data", 2, ["record.*"], ["Account", "Contact"]),
    "notes": ("Writes up calls", 1, ["call.summarize", "note.*", "task.*", "record.*"], ["*"]),
    "outreach": ("Drafts mails, answers those who wrote", 2, ["email.*", "record.read"], ["*"]),
    "stage": ("Keeps stages and next steps in step", 2, ["record.*", "report.run"], ["Opportunity"]),
    "route": ("Routes new leads", 2, ["record.*", "task.*"], ["Lead", "Task"]),
    "quote": ("Prepares quotes", 1, ["record.read", "brief.write", "quote.*"], ["*"]),
}


def demo_org() -> OrgSpec:
    """Six agents, one manager, six reps with 14 open deals each."""
    first_day = DEAL_DAYS - AGENT_DAYS
    return OrgSpec(
        name="demo",
        agents=tuple(replace(agent, active_from_day=first_day) for agent in _AGENTS),
        managers=MANAGERS[:1],
        reps_per_manager=6,
        open_deals_per_rep=14,
        accounts=400,
        mirrors="deals",
    )


def start_ms() -> int:
    """When the simulated past begins: a midnight (UTC); deals first, agents for the last eight days."""
    return LIVE_FROM_MS - LIVE_FROM_MS % DAY_MS - DEAL_DAYS * DAY_MS


def demo_settings(data_dir: str, host: str, port: int, environ: Mapping[str, str] | None = None) -> Settings:
    """The demo's settings, through the same parser as everybody's."""
    server = {"server.host": host, "server.port": port, "server.data_dir": data_dir}
    return parse_settings(settings_text(), environ or {}, server, where="the demo's settings")


def settings_text() -> str:
    """The demo's ``tripline.toml``."""
    lines = ["[deals]", 'currency = "EUR"', f'time_zone = "{ZONE}"', "stages = ["]
    for name, days in zip(STAGES, STAGE_NORM_DAYS, strict=True):
        lines.append(f'  {{ name = "{name}", norm_days = {days * 7 // 5} }},')
    lines.append('  { name = "Closed won", norm_days = 1, is_won = true },')
    lines.append('  { name = "Closed lost", norm_days = 1, is_lost = true },')
    lines.append("]")
    for agent in _AGENTS:
        lines.extend(_agent_lines(agent))
    for person in dict.fromkeys((*OWNERS, *MANAGERS[:1], *REPS[:6], PERSON)):
        lines.extend(_person_lines(person))
    lines += ["[notifications]", "log = false"]
    return "\n".join(lines) + "\n"


def _agent_lines(agent: AgentSpec) -> list[str]:
    role, level, actions, objects = _DONE_BY[agent.role]
    return [
        f"[agents.{agent.agent_id}]",
        f'owner = "{_key(agent.owner)}"',
        f'role = "{role}"',
        f"level = {level}",
        f"actions = {_toml(actions)}",
        f"objects = {_toml(objects)}",
        "records_per_10_min = 300",
        "records_per_day = 5000",
        "contacts_per_10_min = 30",
        "contacts_per_day = 200",
    ]


def _person_lines(person: str) -> list[str]:
    role = "operator" if person == PERSON else "manager" if person in MANAGERS else "viewer"
    crm_user = user(person)
    return [
        f'[people."{_key(person)}"]',
        f'name = "{person}"',
        f'role = "{role}"',
        f'crm_user = "{crm_user}"',
        f'email = "{crm_user.removeprefix("user:")}@tripline.example"',
    ]


def _key(person: str) -> str:
    return user(person).removeprefix("user:")


def _toml(items: list[str]) -> str:
    return "[" + ", ".join(f'"{item}"' for item in items) + "]"
