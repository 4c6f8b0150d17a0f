"""Who may do what: each agent against the kinds of action, by the rules that decide at the gate. Pure.

A cell is what the policy says to the mildest thing of its sort: one record in the agent's scope, somebody whom it knows
and who agreed, set off as its level allows. More at once, or a stranger, is never less strict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, product

from msgspec import Struct

from events.catalogue import kind_of
from governance.policy.asks import Ask, Facts, Ruling
from governance.policy.decide import rule_on
from governance.policy.model import Grant, Place, Policy
from governance.policy.paths import dotted
from governance.policy.scopes import ANYBODY
from governance.policy.shape import Verdict
from governance.policy.worst import SETS_FIELDS, VERDICTS
from governance.stanza import quote

COLUMNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Read", ("record.read", "report.run", "suggestion.make", "brief.write", "call.summarize", "email.draft")),
    ("Change", ("record.update", "record.enrich", "record.undelete")),
    ("Create", ("record.create", "task.create", "note.create")),
    ("Delete, merge", ("record.delete", "record.merge")),
    ("Reach people", ("email.send", "sms.send", "call.place", "meeting.schedule", "sequence.enroll")),
    ("Quotes, contracts", ("quote.create", "contract.create", "discount.approve")),
    ("Owners", ("owner.reassign",)),
    ("Record calls", ("call.record",)),
    ("Other", ()),
)
"""Kinds of action; the last one is what has no column of its own."""
_NAMED = frozenset(name for _, names in COLUMNS for name in names)
_MOST_TRIED = 12
LEAST_ANSWERED = 30
"""So many approvals, all given as they were asked, before more autonomy is proposed."""


class Seen(Struct, frozen=True, kw_only=True):
    """What one agent did with one action in the time looked at. ``done``: by the log, whether or not it asked the gate;
    ``errors`` of these. ``given``: approved as asked; ``edited``: otherwise."""

    done: int = 0
    allowed: int = 0
    held: int = 0
    denied: int = 0
    errors: int = 0
    given: int = 0
    edited: int = 0
    refused: int = 0

    @property
    def used(self) -> bool:
        """Whether it did it, or asked to."""
        return bool(self.done or self.allowed or self.held)


class Cell(Struct, frozen=True, kw_only=True):
    """``may`` "none": no such action is granted. ``rule``, ``path`` and ``why`` say why it is not more."""

    kind: str
    may: Verdict | str
    rule: str = ""
    path: str = ""
    why: str = ""
    actions: dict[str, str] = {}
    seen: Seen = Seen()


class Row(Struct, frozen=True, kw_only=True):
    """One agent. ``reverts``: what people changed back, as far as it was found."""

    agent_id: str
    role: str
    owner: str
    level: int
    mode: str
    cells: list[Cell]
    reverts: int = 0


class Proposal(Struct, frozen=True, kw_only=True):
    """Lines for the policy's file. ``is_wider``: they take two people; nothing is ever applied by itself."""

    agent_id: str
    is_wider: bool
    why: str
    lines: str


Counts = Mapping[str, Mapping[str, Seen]]
"""What was seen, by agent and action."""


def rows(policy: Policy, seen: Counts, reverts: Mapping[str, int]) -> list[Row]:
    """The board, by agent's name."""
    return [
        Row(
            agent_id=name, role=grant.role, owner=grant.owner, level=grant.level, mode=grant.mode,
            cells=list(_cells(policy, grant, seen.get(name, {}))), reverts=reverts.get(name, 0),
        )
        for name, grant in sorted(policy.agents.items())
    ]  # fmt: skip


def proposals(
    policy: Policy, seen: Counts, reverts: Mapping[str, int], old: frozenset[str], level: int
) -> list[Proposal]:
    """What the policy could say instead. ``old``: agents that were seen all the time; ``level``: what is ready for."""
    found: list[Proposal] = []
    for name, grant in sorted(policy.agents.items()):
        own = seen.get(name, {})
        if level >= 3 and not reverts.get(name):
            found += _wider(policy, grant, own)
        if name in old and (unused := sorted(each for each in grant.actions if not own.get(each, Seen()).used)):
            used = [quote(each) for each in sorted(grant.actions - set(unused))]
            lines = f"[{dotted(('agents', name))}]\nactions = [{', '.join(used)}]"
            why = f"{name} never used {', '.join(unused)} in 30 days: it needs {'no action' if not used else 'less'}"
            found.append(Proposal(agent_id=name, is_wider=False, why=why, lines=lines))
    return found


def _wider(policy: Policy, grant: Grant, own: Mapping[str, Seen]) -> Iterator[Proposal]:
    for action, one in sorted(own.items()):
        ruling = _mildest(policy, grant, action) if action in grant.actions else None
        is_clean = one.given >= LEAST_ANSWERED and not (one.edited or one.refused or one.errors)
        if ruling is not None and ruling.verdict == "approval" and is_clean and ruling.allows:
            why = (
                f"{grant.agent_id} asked {one.given:,} times for {action} in 30 days, was given all of it as it was "
                f"asked, without an error, and nobody changed anything back: one at a time could be autonomous. "
                f"The line {ruling.path} holds for every agent that it concerns"
            )
            yield Proposal(agent_id=grant.agent_id, is_wider=True, why=why, lines=ruling.allows)


def _cells(policy: Policy, grant: Grant, seen: Mapping[str, Seen]) -> Iterator[Cell]:
    own = sorted((grant.actions | seen.keys()) - _NAMED)
    for kind, names in COLUMNS:
        wanted = names or tuple(own)
        rulings = {name: _mildest(policy, grant, name) for name in wanted if name in grant.actions}
        did = _sum([seen[name] for name in wanted if name in seen])
        if not rulings:
            yield Cell(kind=kind, may="none", seen=did)
            continue
        best = min(rulings.values(), key=lambda ruling: VERDICTS.index(ruling.verdict))
        yield Cell(
            kind=kind, may=best.verdict, rule=best.rule, path=best.path, why=best.why, seen=did,
            actions={name: ruling.verdict for name, ruling in rulings.items()},
        )  # fmt: skip


def _sum(those: list[Seen]) -> Seen:
    return Seen(**{name: sum(getattr(one, name) for one in those) for name in Seen.__struct_fields__})


def _mildest(policy: Policy, grant: Grant, action: str) -> Ruling:
    """What the policy says to the mildest question about an action."""
    kind = kind_of(action)
    is_external, sets_fields = kind.is_external, action in SETS_FIELDS or not kind.is_known
    facts = Facts(
        first_contact=False, authorizer="active", acts_for=ANYBODY, consent="granted", records_10_min=1, records_day=1,
        contacts_10_min=1, contacts_day=1, reads_10_min=1, reads_day=1, records_of_all=1, contacts_of_all=1,
    )  # fmt: skip
    trigger, ref = ("rule", min(grant.triggers)) if grant.triggers and grant.level >= 2 else ("prompt", "")
    found = [
        rule_on(
            policy,
            Ask(
                agent_id=grant.agent_id,
                action=action,
                object=place.object,
                fields=place.fields if sets_fields else None,
                records=1,
                recipients=int(is_external),
                trigger=trigger,
                trigger_ref=ref,
                system=place.system,
                owners=(place.owner,),
                segments=(place.segment,),
            ),
            facts,
        )
        for place in islice(_places(grant), _MOST_TRIED)
    ]
    return min(found, key=lambda ruling: VERDICTS.index(ruling.verdict))


class _Point(Struct, frozen=True, kw_only=True):
    object: str
    fields: tuple[str, ...]
    owner: str
    segment: str
    system: str


def _places(grant: Grant) -> Iterator[_Point]:
    """Records inside one scope of each group, where there are any; else some that are outside."""
    for places in product(*grant.inside):
        for object_ in _some(places, "objects", "account"):
            yield _Point(
                object=object_, fields=(_field(places, object_),), owner=_one(places, "owners"),
                segment=_one(places, "segments"), system=_one(places, "systems"),
            )  # fmt: skip


def _some(places: tuple[Place, ...], what: str, otherwise: str) -> list[str]:
    sets = [names for place in places if "*" not in (names := getattr(place, what))]
    both = frozenset.intersection(*sets) if sets else frozenset({otherwise})
    return sorted(both) or sorted(sets[0])[:1]


def _one(places: tuple[Place, ...], what: str) -> str:
    return _some(places, what, "any")[0]


def _field(places: tuple[Place, ...], object_: str) -> str:
    """A field that may be changed; a plain one where all may."""
    for place in places:
        for field in sorted(place.fields):
            of, _, name = field.rpartition(".")
            if name != "*" and of == object_ and all(one.has_field(object_, name) for one in places):
                return name
    return "description"
