"""Where an agent may act: the scopes of its role, its own, and the rights of whom it acts for; all of them must fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from governance.policy.asks import Step
from governance.policy.model import Place, Policy, Right
from governance.policy.question import Question
from governance.policy.worst import shown
from governance.words import DOING, listed

ANYBODY = ("*",)
"""As ``Facts.acts_for``: somebody who has every right; only cases and ``explain`` say so."""
_DIMENSIONS = ("object", "system", "owner", "segment", "field")


def places_of(policy: Policy, agent_id: str) -> Iterator[Place]:
    """Every scope that may decide on an agent."""
    grant = policy.agents.get(agent_id)
    for group in grant.inside if grant is not None else ():
        yield from group
    for right in policy.rights.values():
        yield from right.places


def needs_whereabouts(policy: Policy, agent_id: str) -> bool:
    """Whether owners or segments of records matter for an agent, so that they are to be looked up."""
    return any("*" not in place.owners or "*" not in place.segments for place in places_of(policy, agent_id))


def scope_steps(of: Question) -> Iterator[Step]:
    """The scopes of the role, the agent's own, and those of each agent above it: one of each group must fit."""
    for places in of.grant.inside:
        place, lack = nearest(of, places)
        if lack:
            yield Step("scope", "human_only", place.path, _in_words(of, lack))
        else:
            yield Step("scope", "autonomous", place.path, "what it touches is within its scope")


def rights_step(of: Question) -> Step:
    """Whether the person for whom it acts may do this: by one table that grants the action and the place."""
    tables = of.policy.rights
    if not tables or of.acts_for == ANYBODY:
        return Step("rights", "autonomous", "rights", "nobody's rights are limited")
    own = [right for right in tables.values() if not right.people.isdisjoint(of.acts_for)]
    who = f"“{shown(of.acts_for[0])}”" if of.acts_for else "nobody known"
    if not own:
        return Step("rights", "human_only", "rights", f"no table names {who}, for whom it acts")
    able = [right for right in own if not _missing(of, right)]
    if not able:
        doing = listed([DOING.get(name, name) for name in _missing(of, own[0])], "or")
        return Step("rights", "human_only", f"{own[0].path}.actions", f"{who}, for whom it acts, may not {doing}")
    place, lack = nearest(of, [place for right in able for place in right.places])
    if lack:
        return Step(
            "rights", "human_only", place.path, f"{who}, for whom it acts, may not either: {_in_words(of, lack)}"
        )
    path = next(right.path for right in able if place in right.places)
    return Step("rights", "autonomous", path, f"{who}, for whom it acts, may do it")


def nearest(of: Question, places: Sequence[Place]) -> tuple[Place, str]:
    """The first scope that fits, with ""; else the one that came closest, and in which respect it does not."""
    lacks = [_outside(of, place) for place in places]
    at = max(range(len(places)), key=lambda at: (not lacks[at], _closeness(lacks[at]), -at))
    return places[at], lacks[at]


def _closeness(lack: str) -> int:
    return _DIMENSIONS.index(lack.partition(" ")[0]) if lack else 0


def _missing(of: Question, right: Right) -> list[str]:
    return [name for name in (of.ask.action, *of.ask.implied) if name not in right.actions]


def _outside(of: Question, place: Place) -> str:
    """In which respect it is outside, "" when it is inside; the first word is the respect."""
    ask = of.ask
    if "*" not in place.objects and (of.object is None or of.object not in place.objects):
        return f"object {ask.object or ''}"
    if "*" not in place.systems and (ask.system is None or ask.system.casefold() not in place.systems):
        return f"system {ask.system or ''}"
    for name, values, allowed in (("owner", ask.owners, place.owners), ("segment", ask.segments, place.segments)):
        if "*" not in allowed:
            strange = [value for value in values or ("",) if value.casefold() not in allowed]
            if strange:
                return f"{name} {strange[0]}"
    if of.is_write:
        for field in of.fields if of.fields is not None else ("*",):
            if not place.has_field(of.object or "", field.casefold()):
                return f"field {field}"
    return ""


def _in_words(of: Question, lack: str) -> str:
    what, _, value = lack.partition(" ")
    value = shown(value)
    if what == "field":
        if value == "*":
            return "it does not say which fields it changes, and may not change all"
        return f"it may not change the field “{of.ask.object or '?'}.{value}”"
    if not value:
        return f"it is not known which {what} this concerns, and its scope is limited there"
    return f"the {what} “{value}” is outside its scope"
