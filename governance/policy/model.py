"""A policy as it decides: everything resolved per agent, so that a check looks up instead of searching."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

from governance.policy.shape import (
    ActionEntry,
    Approval,
    BudgetTable,
    Bulk,
    Ceiling,
    Delegation,
    Exclusions,
    FieldEntry,
    Mode,
    Route,
)

FORMAT = "tripline-policy-1"


class Place(Struct, frozen=True, kw_only=True):
    """A scope as it is compared: names without regard to capitals. ``path``: where it is written."""

    path: str
    objects: frozenset[str]
    fields: frozenset[str]
    owners: frozenset[str]
    segments: frozenset[str]
    systems: frozenset[str]

    def covers(self, other: Place) -> bool:
        """Whether all that the other allows is allowed here, too."""
        return all(
            _covers(mine, theirs)
            for mine, theirs in (
                (self.objects, other.objects),
                (self.owners, other.owners),
                (self.segments, other.segments),
                (self.systems, other.systems),
            )
        ) and all(self.has_field(*field.rpartition(".")[::2]) for field in other.fields)

    def has_field(self, object_: str, field: str) -> bool:
        """Whether a field of an object may be changed; both without capitals. "*" asks for all fields."""
        return "*" in self.fields or f"{object_}.*" in self.fields or f"{object_}.{field}" in self.fields


class Limits(Struct, frozen=True, kw_only=True):
    """A budget, and where it is written."""

    path: str
    table: BudgetTable


class Right(Struct, frozen=True, kw_only=True):
    """What some people may do themselves. ``path``: its table. ``places``: one of them must fit."""

    path: str
    people: frozenset[str]
    actions: frozenset[str]
    places: tuple[Place, ...]


class Grant(Struct, frozen=True, kw_only=True):
    """All that one agent may. ``path``: its table. ``inside``: scopes, of each group of which one must fit."""

    agent_id: str
    path: str
    role: str
    owner: str
    level: int
    level_path: str
    mode: Mode
    mode_path: str
    actions: frozenset[str]
    actions_path: str
    inside: tuple[tuple[Place, ...], ...]
    limits: tuple[Limits, ...]
    triggers: frozenset[str]
    triggers_path: str
    approval: str
    routes: tuple[str, ...]
    parent: str


class Policy(Struct, frozen=True, kw_only=True):
    """A policy in force. ``hash`` is its version: the same for every file that means the same."""

    bulk: Bulk
    exclusions: Exclusions
    delegation: Delegation
    actions: dict[str, ActionEntry]
    fields: dict[str, FieldEntry]
    approvals: dict[str, Approval]
    routes: dict[str, Route]
    agents: dict[str, Grant]
    rights: dict[str, Right] = {}
    ceiling: Ceiling | None = None
    organisation: str = ""
    hash: str = ""
    memo: dict[Any, Any] = {}
    """Questions that were worked out before; says nothing of the policy, see ``governance.policy.rules``."""

    @property
    def short(self) -> str:
        """The version as people read it."""
        return self.hash[:12]


def nothing_allowed() -> Policy:
    """A policy without agents."""
    return with_hash(
        Policy(
            bulk=Bulk(), exclusions=Exclusions(), delegation=Delegation(), actions={}, fields={}, approvals={},
            routes={}, agents={},
        )
    )  # fmt: skip


def with_hash(policy: Policy) -> Policy:
    """The policy with its version: SHA-256 over its meaning in canonical JSON, 64 hex digits."""
    meaning = [FORMAT, msgspec.structs.replace(policy, hash="", organisation="", memo={})]
    text = msgspec.json.encode(_sorted(msgspec.to_builtins(meaning, order="deterministic")), order="deterministic")
    return msgspec.structs.replace(policy, hash=hashlib.sha256(text).hexdigest(), memo={})


def _sorted(of: Any) -> Any:
    """Lists of names are sets: their order means nothing; nor does where something is written."""
    if isinstance(of, dict):
        return {name: _sorted(value) for name, value in of.items() if not name.endswith("path")}
    if isinstance(of, list | tuple | set | frozenset):
        return sorted(map(_sorted, of), key=msgspec.json.encode)
    return of


def _covers(mine: frozenset[str], theirs: frozenset[str]) -> bool:
    return "*" in mine or theirs <= mine
