"""Whose stop an agent shares: those above it, and those that act by the same credential. Pure.

A stop that another name walks around is none. So the gate looks at the control rows of an agent's kin, too; the agent's
own row, and the pages, stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import UNSET, Struct, structs

from events.catalogue import CATALOGUE
from governance.gate_types import GateRequest
from governance.policy.model import Policy
from governance.settings_types import AgentSettings, Settings

_LEAST = (
    "level", "max_records_per_operation", "max_recipients_per_operation", "records_per_10_min", "records_per_day",
    "contacts_per_10_min", "contacts_per_day", "reads_per_10_min", "reads_per_day", "lease_actions", "lease_records",
)  # fmt: skip


class Kin(Struct, frozen=True, gc=False):
    """Another agent whose stop counts, and how they belong together, in words."""

    agent_id: str
    how: str


def kin_of(request: GateRequest, settings: Settings, policy: Policy | None) -> tuple[Kin, ...]:
    """Whose stops refuse this request, those above it first."""
    agent, binds = settings.agents.get(request.agent_id), settings.gate.stop_binds
    found: dict[str, str] = {}
    if "parent" in binds:
        claimed = request.parent_agent_id if request.parent_agent_id is not UNSET else None
        found |= dict.fromkeys(above(request.agent_id, settings, policy, claimed or ""), "above it")
    if agent is not None and "credential" in binds and agent.credential:
        found |= dict.fromkeys(_with("credential", agent.credential, settings, found), "with the same credential")
    if agent is not None and "owner" in binds and agent.owner:
        found |= dict.fromkeys(_with("owner", agent.owner, settings, found), "of the same owner")
    found.pop(request.agent_id, None)
    return tuple(Kin(agent_id, how) for agent_id, how in found.items())


def bound_by(agent_id: str, settings: Settings) -> tuple[str, ...]:
    """The other agents whose stop is this one's, too, as far as the settings tell."""
    asked = GateRequest(agent_id=agent_id, action="record.read")
    return tuple(each.agent_id for each in kin_of(asked, settings, None))


def above(agent_id: str, settings: Settings, policy: Policy | None, claimed: str = "") -> list[str]:
    """The agents above one, by the settings, by the policy, and by what it says itself, which can only add one."""
    found: dict[str, None] = {}
    waiting = [claimed, agent_id]
    while waiting:
        name = waiting.pop()
        known, grant = settings.agents.get(name), policy.agents.get(name) if policy is not None else None
        for parent in (known.parent if known is not None else "", grant.parent if grant is not None else ""):
            if parent and parent not in found:
                found[parent] = None
                waiting.append(parent)
    if claimed:
        found[claimed] = None
    return list(found)


def under_parents(agent_id: str, settings: Settings, claimed: str = "") -> AgentSettings | None:
    """What an agent may at most: its own table, and no more than the tables of all above it. None: it has no table."""
    own = settings.agents.get(agent_id)
    parents = above(agent_id, settings, None, claimed) if own is not None and (own.parent or claimed) else []
    if own is None or not parents:
        return own
    tables = [own, *(settings.agents.get(each) or AgentSettings(objects=[]) for each in parents if each != agent_id)]
    more: Mapping[str, Any] = {name: min(getattr(each, name) for each in tables) for name in _LEAST}
    known = (*CATALOGUE, *settings.gate.other_actions)
    return structs.replace(
        own,
        actions=[each for each in known if all(may_do(each, table.actions) for table in tables)],
        objects=_common(tables),
        irreversible=[each for each in own.irreversible if all(each in table.irreversible for table in tables)],
        **more,
    )


def may_do(action: str, allowed: list[str]) -> bool:
    """Whether a list of actions names one: itself, all of its noun, or all."""
    return action in allowed or f"{action.partition('.')[0]}.*" in allowed or "*" in allowed


def _common(tables: list[AgentSettings]) -> list[str]:
    limited = [table.objects for table in tables if "*" not in table.objects]
    return [each for each in limited[0] if all(each in objects for objects in limited)] if limited else ["*"]


def _with(what: str, value: str, settings: Settings, known: Mapping[str, str]) -> Iterator[str]:
    for name, agent in settings.agents.items():
        if getattr(agent, what) == value and name not in known:
            yield name
