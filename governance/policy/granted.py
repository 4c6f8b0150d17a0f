"""What a policy grants each agent, as the few plain facts that go into the log, so that a replay judges by them."""

from __future__ import annotations

from events.catalogue import kind_of
from events.types import Granted
from governance.policy.model import Grant, Place, Policy
from governance.policy.shape import ActionEntry

_EXCLUDED = frozenset({"contract.create", "call.record", "discount.approve", "owner.reassign"})
"""What no agent does by itself, by the action's name alone."""


def granted(policy: Policy) -> dict[str, Granted]:
    """By agent, what it may do at all. Budgets, segments and systems are left to the gate."""
    return {agent_id: _granted(policy, grant) for agent_id, grant in sorted(policy.agents.items())}


def _granted(policy: Policy, grant: Grant) -> Granted:
    may = set() if grant.mode == "off" else {name for name in grant.actions if _may(grant, name)}
    with_person = {name for name in may if _needs_person(policy, grant, name)}
    fields = [frozenset[str]().union(*(place.fields for place in places)) for places in grant.inside]
    owners = [frozenset[str]().union(*(place.owners for place in places)) for places in grant.inside]
    return Granted(
        actions=sorted(may),
        objects=sorted(_objects(grant.inside)),
        with_person=sorted(with_person),
        fields=_limited(fields),
        owners=_limited(owners),
    )


def _limited(groups: list[frozenset[str]]) -> list[list[str]]:
    """Those groups that do not grant all."""
    return [sorted(group) for group in groups if "*" not in group]


def _may(grant: Grant, name: str) -> bool:
    return grant.mode != "read_only" or not kind_of(name).is_write


def _needs_person(policy: Policy, grant: Grant, name: str) -> bool:
    entry = policy.actions.get(name, ActionEntry())
    is_final = kind_of(name).is_write and entry.reversibility == "irreversible"
    by_mode = grant.mode == "approval" and kind_of(name).is_write
    return name in _EXCLUDED or entry.least != "autonomous" or is_final or by_mode


def _objects(inside: tuple[tuple[Place, ...], ...]) -> frozenset[str]:
    """The kinds of records that fit one scope of each group, in small letters; "*" is all."""
    found: frozenset[str] | None = None
    for places in inside:
        of = frozenset().union(*(place.objects for place in places))
        if "*" not in of:
            found = of if found is None else found & of
    return frozenset({"*"}) if found is None else found
