"""How far a stop binds an agent, and the most that it can do before one: what its page and the API say of it. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from events.catalogue import kind_of
from governance.kin import under_parents
from governance.policy.model import Grant, Policy
from governance.settings_types import AgentSettings, Settings

Grade = Literal["enforced", "cooperative", "observed"]


class Seen(Struct, frozen=True, gc=False):
    """What was seen of an agent: decisions of the gate, actions and changes, and writes of 48 hours past the gate."""

    asked: int = 0
    acted: int = 0
    shadow_48h: int = 0


class Graded(Struct, frozen=True, gc=False):
    """An agent's grade, why, and its worst case: at most so many distinct records written and people reached in any 24
    hours. None: nothing bounds it. Limits: the bound is the gate's; what goes past the gate is seen, not bounded."""

    grade: Grade
    why: str
    records_24h: int | None
    contacts_24h: int | None


def grade_of(agent_id: str, settings: Settings, policy: Policy | None, seen: Seen) -> Graded:
    """The grade by what was seen, never better than it: a proxy that is declared counts while nothing passes it by."""
    table = under_parents(agent_id, settings)
    if seen.acted and not seen.asked:
        return Graded("observed", "it acts and never asked the gate: nothing here stops it", None, None)
    records, contacts = _worst(agent_id, table, settings, policy)
    passed = f"{seen.shadow_48h:,} changes past the gate in 48 hours" if seen.shadow_48h else ""
    if table is not None and table.is_proxied:
        if not passed:
            return Graded("enforced", "a proxy holds the CRM's credential, as its table says", records, contacts)
        return Graded("cooperative", f"its table names a proxy, but there were {passed}", records, contacts)
    why = "it asks the gate" if seen.asked else "it has done nothing yet"
    return Graded("cooperative", f"{why}, with {passed}" if passed else why, records, contacts)


def _worst(agent_id: str, table: AgentSettings | None, settings: Settings, policy: Policy | None) -> tuple[int, int]:
    if table is None:
        if settings.gate.unknown_agents == "deny":
            return 0, 0
        table = AgentSettings(actions=["*"])
    records = table.records_per_day if table.actions else 0
    contacts = table.contacts_per_day if table.actions else 0
    if policy is None:
        return records, contacts
    grant = policy.agents.get(agent_id)
    if grant is None or grant.mode in ("off", "read_only"):
        return 0, 0
    records, contacts = min(records, _by_policy(grant, "records")), min(contacts, _by_policy(grant, "contacts"))
    ceiling = policy.ceiling
    if ceiling is None:
        return records, contacts
    return min(records, ceiling.records_per_day), min(contacts, ceiling.contacts_per_day)


def _by_policy(grant: Grant, what: Literal["records", "contacts"]) -> int:
    kinds = [kind_of(action) for action in grant.actions]
    if not any(kind.is_write if what == "records" else kind.is_write or kind.is_external for kind in kinds):
        return 0
    tables = [limits.table for limits in grant.limits]
    return min(table.records_per_day if what == "records" else table.contacts_per_day for table in tables)
