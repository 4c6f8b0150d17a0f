"""The shape of a policy file: what may be written where, its range, and what holds when it is left out.

What a file does not grant is not granted: a default is never more than the least.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from governance.consent import Consent

Verdict = Literal["autonomous", "approval", "human_only"]
"""May the agent do it by itself, may it do it when a person approves, or is it for people alone."""
Mode = Literal["active", "approval", "read_only", "off"]
"""``active``: as the policy says; ``approval``: each write waits for a person; ``read_only``; ``off``: nothing."""
Reversibility = Literal["reversible", "irreversible"]
Radius = Literal["record", "downstream", "external"]
"""How far an action reaches: its records, what follows from them inside (reports, flows), or people outside."""
FieldKind = Literal["plain", "deal_value", "price", "owner"]
Authorizer = Literal["active", "inactive", "unknown"]

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Names = Annotated[list[Name], Meta(min_length=1, max_length=1_000)]
Few = Annotated[list[Name], Meta(max_length=1_000)]
Level = Annotated[int, Meta(ge=1, le=4)]
Amount = Annotated[int, Meta(ge=0, le=10_000_000)]
Of = Annotated[int, Meta(ge=0, le=200)]

MOST_TOGETHER = 50
"""No policy lets an agent change or reach more than this at once without a person."""
MOST_IN_10_MIN = 200
MOST_DEAL_VALUES = 5


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Include(_Table, frozen=True, kw_only=True):
    """A team's file, and what the main file grants it; the team can only take away from that."""

    file: Name
    roles: Names
    max_level: Level = 1
    most_agents: Annotated[int, Meta(ge=1, le=1_000)] = 10
    budget: str = ""


class Bulk(_Table, frozen=True, kw_only=True):
    """From how many on something is bulk: more than that is never done without a person."""

    records: Annotated[int, Meta(ge=1, le=MOST_TOGETHER)] = 1
    records_in_10_min: Annotated[int, Meta(ge=1, le=MOST_IN_10_MIN)] = 1
    deal_values: Annotated[int, Meta(ge=1, le=MOST_DEAL_VALUES)] = 1
    recipients: Annotated[int, Meta(ge=1, le=MOST_TOGETHER)] = 1


Excluded = Literal["approval", "human_only"]


class Exclusions(_Table, frozen=True, kw_only=True):
    """What no agent does by itself, whatever a file says; a file only chooses who does it instead."""

    first_contact: Excluded = "human_only"
    contract_creation: Excluded = "human_only"
    call_recording: Excluded = "human_only"
    bulk_modification: Excluded = "human_only"
    bulk_deal_values: Excluded = "human_only"
    price_approval: Excluded = "human_only"
    owner_reassignment: Excluded = "human_only"
    many_recipients: Excluded = "human_only"
    no_consent: Excluded = "human_only"


class Volumes(_Table, frozen=True, kw_only=True):
    """The verdict for one record or person, for a few, and for many."""

    one: Verdict = "human_only"
    few: Verdict = "human_only"
    many: Verdict = "human_only"


class Radii(_Table, frozen=True, kw_only=True):
    """The verdicts by how far an action reaches."""

    record: Volumes = Volumes()
    downstream: Volumes = Volumes()
    external: Volumes = Volumes()


class Delegation(_Table, frozen=True, kw_only=True):
    """Volume × reversibility × blast radius. What can't be undone is never autonomous."""

    reversible: Radii = Radii()
    irreversible: Radii = Radii()


class ActionEntry(_Table, frozen=True, kw_only=True):
    """One action of the catalogue. ``least``: at least this verdict. ``own``: a name that the contract doesn't know."""

    reversibility: Reversibility = "irreversible"
    blast_radius: Radius = "external"
    few: Annotated[int, Meta(ge=1, le=MOST_TOGETHER)] = 1
    at_most: Of = 1
    at_most_recipients: Of = 0
    least: Verdict = "autonomous"
    own: bool = False


class FieldEntry(_Table, frozen=True, kw_only=True):
    """What changing a field means; the table's name is ``Object.Field`` or ``*.Field``."""

    kind: FieldKind = "plain"
    reversibility: Reversibility = "reversible"
    blast_radius: Radius = "record"


class Scope(_Table, frozen=True, kw_only=True):
    """Where something may be done. ``fields``: ``Object.Field``, ``Object.*`` or ``*``; empty: none may be changed."""

    objects: Names
    fields: Few = []
    owners: Names = field(default_factory=lambda: ["*"])
    segments: Names = field(default_factory=lambda: ["*"])
    systems: Names = field(default_factory=lambda: ["*"])


class BudgetTable(_Table, frozen=True, kw_only=True):
    """How many distinct records and people in any 10 minutes and 24 hours; reads by volume."""

    records_per_10_min: Amount = 0
    records_per_day: Amount = 0
    contacts_per_10_min: Amount = 0
    contacts_per_day: Amount = 0
    reads_per_10_min: Amount = 0
    reads_per_day: Amount = 0


class Ceiling(_Table, frozen=True, kw_only=True):
    """How many distinct records all agents together may write, and people they may reach, in any 24 hours."""

    records_per_day: Amount
    contacts_per_day: Amount


class Approval(_Table, frozen=True, kw_only=True):
    """Who may approve: people, or ``role:NAME``; never the agent's owner. ``people``: how many it takes."""

    approvers: Names
    people: Annotated[int, Meta(ge=1, le=2)] = 1
    expires_minutes: Annotated[int, Meta(ge=1, le=10_080)] = 60


class Rights(_Table, frozen=True, kw_only=True):
    """What people may do themselves: an agent that acts for them may do no more. ``people``: keys, or ``role:NAME``."""

    people: Names
    actions: Names
    scopes: Names


Occasion = Literal["held", "denied", "above_level", "bulk", "external"]


class Route(_Table, frozen=True, kw_only=True):
    """Who is told of what: notification targets of the settings."""

    targets: Names
    on: Annotated[list[Occasion], Meta(min_length=1)]


class Role(_Table, frozen=True, kw_only=True):
    """What a kind of agent may do. ``actions``: names of the catalogue, or ``noun.*``. ``triggers``: its rules."""

    actions: Names
    scopes: Names
    budget: Name
    approval: Name
    level: Level = 1
    routes: Few = []
    triggers: Few = []
    mode: Mode = "active"


class Agent(_Table, frozen=True, kw_only=True):
    """One agent: a role, who answers for it, and what it may not do of what the role may."""

    role: Name
    owner: Name
    level: Level = 1
    actions: Few | None = None
    scope: Scope | None = None
    budget: str = ""
    triggers: Few | None = None
    mode: Mode = "active"
    parent: str = ""


class Case(_Table, frozen=True, kw_only=True):
    """An expectation: what is asked, what is known, and what the policy must say, by which rule."""

    agent: Name
    action: Name
    expect: Verdict
    rule: Name
    object: str = ""
    fields: Few | None = None
    records: Annotated[int, Meta(ge=0, le=10_000)] = 1
    recipients: Annotated[int, Meta(ge=0, le=10_000)] = 0
    trigger: str = "prompt"
    authorizer: Authorizer = "active"
    acts_for: Few = field(default_factory=lambda: ["*"])
    consent: Consent = "granted"
    approved: bool = False
    first_contact: bool = False
    system: str = ""
    owner: str = ""
    segment: str = ""
    records_in_10_min: Amount = 0
    contacts_in_10_min: Amount = 0
    records_of_all: Amount = 0
    contacts_of_all: Amount = 0
    why: str = ""


class PolicyFile(_Table, frozen=True, kw_only=True):
    """The main file."""

    format: Literal[1]
    organisation: str = ""
    mode: Mode = "active"
    max_level: Level = 1
    include: list[Include] = []
    ceiling: Ceiling | None = None
    bulk: Bulk = Bulk()
    exclusions: Exclusions = Exclusions()
    delegation: Delegation = Delegation()
    actions: dict[str, ActionEntry] = {}
    fields: dict[str, FieldEntry] = {}
    scopes: dict[str, Scope] = {}
    budgets: dict[str, BudgetTable] = {}
    approvals: dict[str, Approval] = {}
    routes: dict[str, Route] = {}
    rights: dict[str, Rights] = {}
    roles: dict[str, Role] = {}
    agents: dict[str, Agent] = {}
    cases: list[Case] = []


class TeamFile(_Table, frozen=True, kw_only=True):
    """A team's file: agents in roles that the including file granted."""

    format: Literal[1]
    mode: Mode = "active"
    max_level: Level = 4
    include: list[Include] = []
    agents: dict[str, Agent] = {}
    cases: list[Case] = []
