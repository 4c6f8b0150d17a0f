"""Rules between settings: names that must exist, lists that must fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from detectors.discovery import MODES, OF_EVERY_DETECTOR, DetectorSettingsError, discover, own_modes, parse_config
from events.catalogue import CATALOGUE
from governance.quiet import problems
from governance.settings_crm import credential_problems
from governance.settings_errors import suggest
from governance.settings_types import AgentSettings, Kafka, Settings, StoreSettings

Path = tuple[str, ...]
Found = Iterator[tuple[Path, str]]

FIRST_CONTACT = "first_contact"
"""In an agent's ``irreversible``: it may write to people whom nobody wrote to before."""


def cross_check(settings: Settings) -> Found:
    """Every contradiction between settings, as its path and what is wrong."""
    for name, agent in settings.agents.items():
        yield from _agent(settings, name, agent)
    yield from _targets(settings)
    yield from _stages(settings)
    yield from _detectors(settings)
    yield from _shares(settings)
    yield from _crm_users(settings)
    yield from credential_problems(settings)
    yield from _zone(("deals", "time_zone"), settings.deals.time_zone)
    for name, person in settings.people.items():
        if person.time_zone:
            yield from _zone(("people", name, "time_zone"), person.time_zone)
    for key, problem in problems(settings.quiet):
        yield ("quiet", key), problem
    yield from _kafka(settings.kafka)
    yield from _store(settings.store)


def _kafka(kafka: Kafka) -> Found:
    for address in kafka.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65_536:
            yield ("kafka", "bootstrap"), f"{address!r} is not host:port, such as 127.0.0.1:9092"
    if kafka.min_in_sync > kafka.replication:
        yield (
            ("kafka", "min_in_sync"),
            f"must not be more than replication, which is {kafka.replication}",
        )
    if kafka.security.startswith("SASL") and not (kafka.sasl_user and kafka.sasl_password):
        yield ("kafka", "sasl_user"), f"and sasl_password are needed with security = {kafka.security!r}"
    if bool(kafka.cert_file) != bool(kafka.key_file):
        yield ("kafka", "key_file" if kafka.cert_file else "cert_file"), "is needed with the other one"


def _store(store: StoreSettings) -> Found:
    scheme, _, rest = store.url.partition("://")
    if store.url and (scheme not in ("postgresql", "postgres") or not rest.partition("?")[0].partition("/")[2]):
        yield ("store", "url"), "is not postgresql://user@host:port/database"
    if store.password and not store.url:
        yield ("store", "password"), "is of no use without url"


def _agent(settings: Settings, name: str, agent: AgentSettings) -> Found:
    path = ("agents", name)
    known = {*CATALOGUE, *settings.gate.other_actions}
    nouns = {action.partition(".")[0] + ".*" for action in known}
    for action in agent.actions:
        if action not in known and action not in nouns and action != "*":
            yield (*path, "actions"), _no_such_action(action, known | nouns)
    for action in agent.irreversible:
        yield from _irreversible((*path, "irreversible"), action, agent, known)
    targets = {target.name for target in settings.notifications.targets}
    for wanted in agent.notify:
        if wanted not in targets:
            yield (*path, "notify"), f"no notification target is called {wanted!r}" + _also(wanted, targets)
    if agent.parent:
        yield from _parent(settings, name)
    if agent.records_per_day < agent.records_per_10_min:
        yield (*path, "records_per_day"), "must not be less than records_per_10_min"
    if agent.contacts_per_day < agent.contacts_per_10_min:
        yield (*path, "contacts_per_day"), "must not be less than contacts_per_10_min"
    if agent.reads_per_day < agent.reads_per_10_min:
        yield (*path, "reads_per_day"), "must not be less than reads_per_10_min"


def _parent(settings: Settings, name: str) -> Found:
    above, seen = settings.agents[name].parent, {name}
    while above:
        if above in seen:
            yield ("agents", name, "parent"), "goes round in a circle"
            return
        if above not in settings.agents:
            yield ("agents", name, "parent"), f"no agent is called {above!r}" + _also(above, set(settings.agents))
            return
        seen.add(above)
        above = settings.agents[above].parent


def _irreversible(path: Path, action: str, agent: AgentSettings, known: set[str]) -> Found:
    if action == FIRST_CONTACT:
        return
    if action not in known:
        yield path, _no_such_action(action, known)
    elif action in CATALOGUE and CATALOGUE[action].is_reversible:
        yield path, f"{action} can be undone, so it needs no line here"
    elif not {action, action.partition(".")[0] + ".*", "*"} & set(agent.actions):
        yield path, f"{action} is not among this agent's actions"


def _no_such_action(action: str, known: set[str]) -> str:
    return f"no action is called {action!r}" + (
        _also(action, known) or "; if it is one of your own, name it in gate.other_actions"
    )


def _also(word: str, known: set[str]) -> str:
    near = suggest(word, sorted(known))
    return f"; {near}" if near else ""


def _targets(settings: Settings) -> Found:
    targets = settings.notifications.targets
    stands_in = {target.name: target.fallback_of for target in targets}
    seen: set[str] = set()
    for index, target in enumerate(targets):
        path = ("notifications", f"targets[{index}]")
        if target.name in seen:
            yield (*path, "name"), f"two targets are called {target.name!r}"
        seen.add(target.name)
        if "://" not in target.url:
            yield (*path, "url"), "is not an address such as slack://… or mailtos://…"
        if target.fallback_of and target.fallback_of not in stands_in:
            yield (
                (*path, "fallback_of"),
                f"no target is called {target.fallback_of!r}" + _also(target.fallback_of, set(stands_in)),
            )
        elif _is_circle(target.name, stands_in):
            yield (*path, "fallback_of"), "goes round in a circle"


def _is_circle(name: str, stands_in: dict[str, str]) -> bool:
    seen = {name}
    while name := stands_in.get(name, ""):
        if name in seen:
            return True
        seen.add(name)
    return False


def _stages(settings: Settings) -> Found:
    seen: set[str] = set()
    for index, stage in enumerate(settings.deals.stages):
        path = ("deals", f"stages[{index}]")
        if stage.name in seen:
            yield (*path, "name"), f"two stages are called {stage.name!r}"
        seen.add(stage.name)
        if stage.is_won and stage.is_lost:
            yield path, "a stage cannot be both won and lost"
    if settings.deals.link and "{deal_id}" not in settings.deals.link:
        yield ("deals", "link"), "has no {deal_id}, so every deal would have the same link"


def _detectors(settings: Settings) -> Found:
    known = discover() if settings.detectors else {}
    for name, table in settings.detectors.items():
        path = ("detectors", name)
        if name not in known:
            yield path, f"no detector is called {name!r}" + _also(name, set(known))
            continue
        if table.get("mode", MODES[0]) not in MODES:
            yield (*path, "mode"), f"may not be {table['mode']!r}; it is one of {', '.join(MODES)}"
        if not isinstance(table.get("is_enabled", True), bool):
            yield (*path, "is_enabled"), "must be true or false"
        try:
            parse_config(known[name], {key: value for key, value in table.items() if key not in OF_EVERY_DETECTOR})
            own_modes({name: table})
        except DetectorSettingsError as problem:
            yield tuple(problem.path.split(".")), problem.problem
            continue
        yield from _mode_names(settings, path, table)


def _mode_names(settings: Settings, path: Path, table: dict[str, Any]) -> Found:
    """A mode for an agent or a role that nobody has would silently do nothing."""
    known = {"agents": set(settings.agents), "roles": {agent.role for agent in settings.agents.values() if agent.role}}
    for key, names in known.items():
        for of in table.get(key, {}):
            if of not in names and (key == "roles" or settings.gate.unknown_agents == "deny"):
                yield (
                    (*path, key, of),
                    f"no agent {'has this role' if key == 'roles' else 'is called so'}" + _also(of, names),
                )


def _shares(settings: Settings) -> Found:
    shares = settings.budget.shares
    known = discover() if shares else {}
    for name in shares:
        if name not in known:
            yield ("budget", "shares", name), f"no detector is called {name!r}" + _also(name, set(known))
    if sum(shares.values()) > 1.0 + 1e-9:
        yield ("budget", "shares"), f"add up to {sum(shares.values()):g}; all shares together are at most 1"


def _crm_users(settings: Settings) -> Found:
    seen: dict[str, str] = {}
    for name, agent in settings.agents.items():
        if agent.crm_user and agent.crm_user in seen:
            yield ("agents", name, "crm_user"), f"{agent.crm_user} is also {seen[agent.crm_user]}'s"
        if agent.crm_user:
            seen[agent.crm_user] = name
    for name, person in settings.people.items():
        if person.crm_user and person.crm_user in seen:
            yield ("people", name, "crm_user"), f"{person.crm_user} is also {seen[person.crm_user]}'s"
        seen[person.crm_user] = name


def _zone(path: Path, name: str) -> Found:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        yield path, f"no time zone is called {name!r}" + _also(name, available_timezones())
