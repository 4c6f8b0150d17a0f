"""The rules of a policy. Each says the most that it allows; the strictest of them all decides.

So no rule can loosen another, and a rule that is added can only narrow. What is not known counts as the worst.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from events.catalogue import kind_of
from governance.policy.asks import Ask, Facts, Step
from governance.policy.model import Grant, Limits, Place, Policy
from governance.policy.paths import dotted
from governance.policy.shape import ActionEntry, FieldEntry, Verdict
from governance.policy.worst import (
    MAKES_NEW,
    RADII,
    REVERSIBILITIES,
    SETS_FIELDS,
    VERDICTS,
    VOLUMES,
    kind_of_field,
    observed_level,
)
from governance.words import DOING, listed, plural

WORST_ENTRY = ActionEntry(at_most=0)
ANY_KIND = frozenset(("deal_value", "price", "owner"))


class Case:
    """One question, with what several rules need worked out once. ``fields`` is None when they are not known."""

    __slots__ = (
        "ask", "contacts", "entries", "entry", "facts", "fields", "grant", "is_external", "is_known", "is_write",
        "kinds", "level", "object", "policy", "records",
    )  # fmt: skip

    def __init__(self, policy: Policy, ask: Ask, facts: Facts, grant: Grant) -> None:
        self.policy, self.ask, self.facts, self.grant = policy, ask, facts, grant
        kind, entry = kind_of(ask.action), policy.actions.get(ask.action)
        self.is_known = entry is not None
        self.entry = entry if entry is not None else WORST_ENTRY
        self.is_write = kind.is_write
        self.is_external = kind.is_external or ask.recipients > 0
        self.object = ask.object.casefold() if ask.object else None
        self.fields = _fields(ask, kind.is_known)
        self.entries = tuple(_entries(policy.fields, self.object, self.fields or ()))
        named = [kind_of_field(field) for field in self.fields or ()] + [entry.kind for _, entry in self.entries]
        self.kinds = frozenset(named) if self.fields is not None else ANY_KIND
        is_authorized = facts.authorizer == "active"
        self.level = observed_level(ask.trigger, ask.trigger_ref, is_authorized, facts.is_approved, grant.triggers)
        self.records = None if facts.records_10_min is None else max(ask.records, facts.records_10_min)
        self.contacts = None if facts.contacts_10_min is None else max(ask.recipients, facts.contacts_10_min)

    @property
    def doing(self) -> str:
        """What it is about to do, in words."""
        return DOING.get(self.ask.action, f"do “{self.ask.action}”")


def _fields(ask: Ask, is_known: bool) -> tuple[str, ...] | None:
    sets_fields = ask.action in SETS_FIELDS or not is_known
    if not sets_fields:
        return ask.fields or ()
    return tuple(field.casefold() for field in ask.fields) if ask.fields else None


def _entries(
    known: dict[str, FieldEntry], object_: str | None, fields: tuple[str, ...]
) -> Iterator[tuple[str, FieldEntry]]:
    if not known:
        return
    for field in fields:
        for name in (f"{object_}.{field.casefold()}", f"*.{field.casefold()}"):
            entry = known.get(name)
            if entry is not None:
                yield name, entry


def steps_of(case: Case) -> Iterator[Step]:
    """What each rule says, in their order."""
    yield _mode(case)
    yield _action(case)
    yield from _scope(case)
    yield _authorizer(case)
    yield _level(case)
    yield _size(case)
    yield from _budget(case)
    if case.entry.least != "autonomous":
        yield Step(
            "least",
            case.entry.least,
            f"{_of_action(case.ask.action)}.least",
            f"whoever may {case.doing} needs at least this",
        )
    yield from _exclusions(case)
    yield _delegation(case)


@lru_cache(1024)
def _of_action(action: str) -> str:
    return dotted(("actions", action))


EXCLUSIONS = (
    "first_contact",
    "contract_creation",
    "call_recording",
    "bulk_modification",
    "bulk_deal_values",
    "price_approval",
    "owner_reassignment",
    "many_recipients",
)
RULE_NAMES = (
    "agent", "mode", "action", "scope", "authorizer", "level", "size", "budget", "least", *EXCLUSIONS, "delegation",
)  # fmt: skip
"""The rules, in their order; of several that allow equally little, the first is said to decide."""


def _mode(case: Case) -> Step:
    mode, path = case.grant.mode, case.grant.mode_path
    if mode == "off":
        return Step("mode", "human_only", path, "it is switched off")
    if mode == "read_only" and case.is_write:
        return Step("mode", "human_only", path, "it may only read at present")
    if mode == "approval" and case.is_write:
        return Step("mode", "approval", path, "all it writes waits for a person at present")
    return Step("mode", "autonomous", path, f"its mode is {mode}")


def _action(case: Case) -> Step:
    path = case.grant.actions_path
    if not case.is_known:
        why = f"“{case.ask.action}” is not in the catalogue, so it counts as a write of the highest risk"
        return Step("action", "human_only", "actions", why)
    missing = [name for name in (case.ask.action, *case.ask.implied) if name not in case.grant.actions]
    if missing:
        doing = listed([DOING.get(name, name) for name in missing], "or")
        return Step("action", "human_only", path, f"it may not {doing}")
    return Step("action", "autonomous", path, f"its role may {case.doing}")


def _scope(case: Case) -> Iterator[Step]:
    for places in case.grant.inside:
        lacks = [_outside(case, place) for place in places]
        fits = next((place for place, lack in zip(places, lacks, strict=True) if not lack), None)
        if fits is not None:
            yield Step("scope", "autonomous", fits.path, "what it touches is within its scope")
        else:  # the scope that came closest says best what is wrong
            near = max(range(len(places)), key=lambda at: _DIMENSIONS.index(lacks[at].partition(" ")[0]))
            yield Step("scope", "human_only", places[near].path, _outside_words(case, lacks[near]))


_DIMENSIONS = ("object", "system", "owner", "segment", "field")


def _outside(case: Case, place: Place) -> str:
    """In which respect it is outside, "" when it is inside; the first word is the respect."""
    ask = case.ask
    if "*" not in place.objects and (case.object is None or case.object not in place.objects):
        return f"object {ask.object or ''}"
    if "*" not in place.systems and (ask.system is None or ask.system.casefold() not in place.systems):
        return f"system {ask.system or ''}"
    for name, values, allowed in (("owner", ask.owners, place.owners), ("segment", ask.segments, place.segments)):
        if "*" not in allowed:
            strange = [value for value in values or ("",) if value.casefold() not in allowed]
            if strange:
                return f"{name} {strange[0]}"
    if case.is_write:
        for field in case.fields if case.fields is not None else ("*",):
            if not place.has_field(case.object or "", field.casefold()):
                return f"field {field}"
    return ""


def _outside_words(case: Case, lack: str) -> str:
    what, _, value = lack.partition(" ")
    nouns = {"object": "kind of record", "owner": "records of owner", "segment": "records of segment"}
    if what == "field":
        if value == "*":
            return "it does not say which fields it changes, and may not change all"
        return f"it may not change the field “{case.ask.object or '?'}.{value}”"
    if not value:
        return f"it is not known which {what} this concerns, and its scope is limited there"
    return f"the {nouns.get(what, what)} “{value}” is outside its scope"


def _authorizer(case: Case) -> Step:
    said = case.facts.authorizer
    if said == "active":
        return Step("authorizer", "autonomous", case.grant.path, "for whom it acts is known and active")
    why = "nobody knows for whom it acts" if said == "unknown" else "for whom it acts is no longer active"
    return Step("authorizer", "human_only", case.grant.path, why)


def _level(case: Case) -> Step:
    level, most, path = case.level, case.grant.level, case.grant.level_path
    if level <= most or not case.is_write:
        above = f" (seen: {level})" if level > most else ""
        return Step("level", "autonomous", path, f"within level {most}{above}")
    what = {2: "a rule", 3: "an approval"}.get(level, "nothing that we know")
    why = f"this is level {level}, set off by {what}; it has level {most}"
    return Step("level", "approval" if most == 3 else "human_only", path, why)


def _size(case: Case) -> Step:
    path = _of_action(case.ask.action)
    for what, count, limit in (
        ("record", case.ask.records, case.entry.at_most),
        ("recipient", case.ask.recipients, case.entry.at_most_recipients),
    ):
        if count > limit and (what == "record" or case.is_external):
            return Step("size", "human_only", path, f"{plural(count, what)} at once; at most {limit}")
    return Step("size", "autonomous", path, "not too much at once")


_WINDOWS = (("10_min", "in 10 minutes"), ("day", "in 24 hours"))


def _budget(case: Case) -> Iterator[Step]:
    drawn = ("records" if case.is_write else "reads", *(("contacts",) if case.is_external else ()))
    for limits in case.grant.limits:
        found = _exceeded(case, limits, drawn)
        yield found or Step("budget", "autonomous", limits.path, "within its budget")


def _exceeded(case: Case, limits: Limits, drawn: tuple[str, ...]) -> Step | None:
    for name in drawn:
        for window, words in _WINDOWS:
            setting, count = f"{name}_per_{window}", getattr(case.facts, f"{name}_{window}")
            limit: int = getattr(limits.table, setting)
            if case.facts.divisor > 1 and limit:
                limit = max(1, limit // case.facts.divisor)
            if count is None or count > limit:
                noun = {"contacts": "people", "reads": "records read"}.get(name, name)
                would = f"this would make {count:,}" if count is not None else "nobody knows how much it did"
                why = f"{would}; at most {limit:,} {noun} {words}"
                return Step("budget", "human_only", f"{limits.path}.{setting}", why)
    return None


def _exclusions(case: Case) -> Iterator[Step]:
    """What is never autonomous, whatever a policy says: a file only chooses between approval and people."""
    for name, why in _excluded(case):
        verdict: Verdict = getattr(case.policy.exclusions, name)
        if verdict == "autonomous":  # a policy that was made by other means than a file
            verdict = "approval"
        yield Step(name, verdict, f"exclusions.{name}", f"{why}: no agent does that by itself")


def _excluded(case: Case) -> Iterator[tuple[str, str]]:
    ask, facts, bulk = case.ask, case.facts, case.policy.bulk
    names = (ask.action, *ask.implied)
    perhaps = "" if case.fields is not None else "it does not say which fields it changes, so perhaps "
    if case.is_external and ask.recipients and facts.first_contact is not False:
        yield "first_contact", "a first message to somebody"
    if "contract.create" in names:
        yield "contract_creation", "a contract"
    if "call.record" in names:
        yield "call_recording", "recording a call"
    if case.is_write and (ask.records > bulk.records or case.records is None or case.records > bulk.records_in_10_min):
        yield "bulk_modification", "changing many records"
    if case.is_write and "deal_value" in case.kinds and (case.records is None or case.records > bulk.deal_values):
        yield "bulk_deal_values", "changing values of many deals"
    if "discount.approve" in names or (case.is_write and "price" in case.kinds):
        yield "price_approval", f"{perhaps}a price or discount"
    is_owner = case.is_write and "owner" in case.kinds and ask.action not in MAKES_NEW
    if "owner.reassign" in names or is_owner:
        yield (
            "owner_reassignment",
            "a change of owner" if case.fields is not None else "perhaps an owner: it does not say",
        )
    if case.is_external and (case.contacts is None or case.contacts > bulk.recipients):
        yield "many_recipients", "reaching many people"


def cell_of(case: Case) -> tuple[str, str, str]:
    """The cell of the table: reversibility, how far it reaches, how much it is."""
    entry, most = case.entry, max(case.ask.records, case.ask.recipients)
    volume = 0 if most <= 1 else 1 if most <= entry.few else 2
    radius, final = RADII.index(entry.blast_radius), REVERSIBILITIES.index(entry.reversibility)
    kind = kind_of(case.ask.action)
    if case.is_external:
        radius = len(RADII) - 1
    if not kind.is_reversible:
        final = 1
    for _, field in case.entries:
        radius = max(radius, RADII.index(field.blast_radius))
        final = max(final, REVERSIBILITIES.index(field.reversibility))
    return REVERSIBILITIES[final], RADII[radius], VOLUMES[volume]


def _delegation(case: Case) -> Step:
    if not case.is_write:
        return Step("delegation", "autonomous", "delegation", "it changes nothing")
    final, radius, volume = cell_of(case)
    verdict: Verdict = getattr(getattr(getattr(case.policy.delegation, final), radius), volume)
    if final == "irreversible" and verdict == "autonomous":  # a policy that was made by other means than a file
        verdict = "approval"
    words = f"{final}, reaches {_REACH[radius]}, {_MUCH[volume]}"
    return Step("delegation", verdict, f"delegation.{final}.{radius}.{volume}", words)


_REACH = {"record": "its records only", "downstream": "what follows from them", "external": "people outside"}
_MUCH = {"one": "one record or person", "few": "a few at once", "many": "many at once"}


_SEVERITY = {verdict: number for number, verdict in enumerate(VERDICTS)}


def severity(step: Step) -> int:
    """How little a step allows: 0 to 2."""
    return _SEVERITY[step.verdict]
