"""What changes between two policies, in words: what widens, and what narrows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from governance.policy.model import Grant, Place, Policy, Right
from governance.policy.paths import dotted
from governance.policy.rules import EXCLUSIONS
from governance.policy.shape import ActionEntry, Approval, BudgetTable, Ceiling, FieldEntry, Route
from governance.policy.worst import MODES, RADII, REVERSIBILITIES, VERDICTS, VOLUMES
from governance.words import listed

Direction = Literal["widens", "narrows", "changes"]


class Change(Struct, frozen=True, kw_only=True):
    """One difference. ``direction``: "changes" is neither more nor less, such as another owner."""

    direction: Direction
    path: str
    words: str


def compare(old: Policy, new: Policy) -> list[Change]:
    """Every difference that can matter to a verdict, to who approves, or to who is told.

    When none of them widens, nothing is allowed by the new policy that the old one did not allow.
    """
    found = [
        *_ceiling(old.ceiling, new.ceiling),
        *_bulk(old, new),
        *_exclusions(old, new),
        *_delegation(old, new),
        *_actions(old, new),
        *_fields(old, new),
    ]
    found += [*_approvals(old, new), *_routes(old, new), *_people(old, new)]
    for name in sorted(old.agents.keys() | new.agents.keys()):
        found += _agent(name, old.agents.get(name), new.agents.get(name))
    order = ("widens", "changes", "narrows")
    return sorted(found, key=lambda change: order.index(change.direction))


def _number(path: str, old: int, new: int, what: str) -> Iterator[Change]:
    """A number of which more is wider."""
    if old != new:
        yield Change(direction="widens" if new > old else "narrows", path=path, words=f"{what}: {old:,} → {new:,}")


def _word(path: str, old: str, new: str, strictest_last: tuple[str, ...], what: str) -> Iterator[Change]:
    if old != new:
        is_wider = strictest_last.index(new) < strictest_last.index(old)
        yield Change(direction="widens" if is_wider else "narrows", path=path, words=f"{what}: {old} → {new}")


def _names(path: str, old: frozenset[str], new: frozenset[str], what: str) -> Iterator[Change]:
    """Names of which more is wider."""
    if more := sorted(new - old):
        yield Change(direction="widens", path=path, words=f"{what}: {listed(more)} {_verb(more, 'come')} in")
    if fewer := sorted(old - new):
        yield Change(direction="narrows", path=path, words=f"{what}: {listed(fewer)} {_verb(fewer, 'go')}")


def _verb(names: list[str], verb: str) -> str:
    return verb if len(names) > 1 else {"go": "goes"}.get(verb, f"{verb}s")


def _ceiling(old: Ceiling | None, new: Ceiling | None) -> Iterator[Change]:
    if old is None or new is None:
        if old is not new:
            words = f"a ceiling for all agents together {'comes in' if old is None else 'goes'}"
            yield Change(direction="narrows" if old is None else "widens", path="ceiling", words=words)
        return
    for name in Ceiling.__struct_fields__:
        words = f"all agents together, {name.replace('_', ' ')}"
        yield from _number(f"ceiling.{name}", getattr(old, name), getattr(new, name), words)


def _bulk(old: Policy, new: Policy) -> Iterator[Change]:
    for name in type(old.bulk).__struct_fields__:
        words = f"{name.replace('_', ' ')} from which on it is bulk"
        yield from _number(f"bulk.{name}", getattr(old.bulk, name), getattr(new.bulk, name), words)


def _exclusions(old: Policy, new: Policy) -> Iterator[Change]:
    for name in EXCLUSIONS:
        before, after = getattr(old.exclusions, name), getattr(new.exclusions, name)
        yield from _word(f"exclusions.{name}", before, after, VERDICTS, name.replace("_", " "))


def _delegation(old: Policy, new: Policy) -> Iterator[Change]:
    for kind in REVERSIBILITIES:
        for radius in RADII:
            before = getattr(getattr(old.delegation, kind), radius)
            after = getattr(getattr(new.delegation, kind), radius)
            for volume in VOLUMES:
                path, words = f"delegation.{kind}.{radius}.{volume}", f"{kind}, {radius}, {volume}"
                yield from _word(path, getattr(before, volume), getattr(after, volume), VERDICTS, words)


def _actions(old: Policy, new: Policy) -> Iterator[Change]:
    for name, path, before, after in _pairs("actions", old.actions, new.actions):
        if before is None or after is None:
            direction: Direction = "widens" if before is None else "narrows"
            words = f"the catalogue {'gets' if before is None else 'loses'} {name}"
            yield Change(direction=direction, path=path, words=words)
        else:
            yield from _action(name, path, before, after)


def _action(name: str, path: str, before: ActionEntry, after: ActionEntry) -> Iterator[Change]:
    for setting, order in (("reversibility", REVERSIBILITIES), ("blast_radius", RADII), ("least", VERDICTS)):
        values = getattr(before, setting), getattr(after, setting)
        yield from _word(f"{path}.{setting}", *values, order, f"{name}, {setting.replace('_', ' ')}")
    for setting in ("few", "at_most", "at_most_recipients"):
        values = getattr(before, setting), getattr(after, setting)
        yield from _number(f"{path}.{setting}", *values, f"{name}, {setting.replace('_', ' ')}")


def _fields(old: Policy, new: Policy) -> Iterator[Change]:
    for name, path, before, after in _pairs("fields", old.fields, new.fields):
        was, now = before or FieldEntry(), after or FieldEntry()
        if was.kind != now.kind:
            direction: Direction = "narrows" if was.kind == "plain" else "widens"
            yield Change(direction=direction, path=f"{path}.kind", words=f"{name}, kind: {was.kind} → {now.kind}")
        for setting, order in (("reversibility", REVERSIBILITIES), ("blast_radius", RADII)):
            values = getattr(was, setting), getattr(now, setting)
            yield from _word(f"{path}.{setting}", *values, order, f"{name}, {setting.replace('_', ' ')}")


def _approvals(old: Policy, new: Policy) -> Iterator[Change]:
    for name, path, before, after in _pairs("approvals", old.approvals, new.approvals):
        if before is None or after is None:
            words = f"a way to approve, {name}, {'comes in' if before is None else 'goes'}"
            yield Change(direction="changes", path=path, words=words)
        else:
            yield from _approval(name, path, before, after)


def _approval(name: str, path: str, before: Approval, after: Approval) -> Iterator[Change]:
    who = frozenset(before.approvers), frozenset(after.approvers)
    yield from _names(f"{path}.approvers", *who, f"{name}, who approves")
    if before.people != after.people:
        direction: Direction = "widens" if after.people < before.people else "narrows"
        words = f"{name}, people that it takes: {before.people} → {after.people}"
        yield Change(direction=direction, path=f"{path}.people", words=words)
    minutes = before.expires_minutes, after.expires_minutes
    yield from _number(f"{path}.expires_minutes", *minutes, f"{name}, minutes until it expires")


def _routes(old: Policy, new: Policy) -> Iterator[Change]:
    for name, path, before, after in _pairs("routes", old.routes, new.routes):
        told_before, told_after = told_of(before), told_of(after)
        if fewer := sorted(told_before - told_after):
            words = f"{name}: nobody is told of {listed(fewer)} any more"
            yield Change(direction="widens", path=path, words=words)
        if more := sorted(told_after - told_before):
            yield Change(direction="narrows", path=path, words=f"{name}: told of {listed(more)}")


def _people(old: Policy, new: Policy) -> Iterator[Change]:
    """Rights of people: without any table nobody's are limited."""
    if bool(old.rights) != bool(new.rights):
        is_limited = bool(new.rights)
        words = f"what people may do themselves is {'limited' if is_limited else 'not limited any more'}"
        yield Change(direction="narrows" if is_limited else "widens", path="rights", words=words)
        return
    for name, path, before, after in _pairs("rights", old.rights, new.rights):
        if before is None or after is None:
            words = f"rights of people, {name}, {'come in' if before is None else 'go'}"
            yield Change(direction="widens" if before is None else "narrows", path=path, words=words)
        else:
            yield from _right(name, path, before, after)


def _right(name: str, path: str, before: Right, after: Right) -> Iterator[Change]:
    yield from _names(f"{path}.people", before.people, after.people, f"{name}, whose rights these are")
    yield from _names(f"{path}.actions", before.actions, after.actions, f"{name}, rights to")
    yield from _scope(f"{name}, rights", path, (before.places,), (after.places,))


def told_of(route: Route | None) -> set[str]:
    """Who is told of what, in words."""
    return set() if route is None else {f"“{on}” at {target}" for on in route.on for target in route.targets}


def _agent(name: str, old: Grant | None, new: Grant | None) -> Iterator[Change]:
    path = dotted(("agents", name))
    if new is None:
        yield Change(direction="narrows", path=path, words=f"{name} goes: it may nothing any more")
    elif old is None:
        words = f"{name} comes in: role {new.role}, level {new.level}, {listed(sorted(new.actions)) or 'no actions'}"
        yield Change(direction="widens", path=path, words=words)
    else:
        yield from _rights(name, path, old, new)
        for what in ("owner", "role", "parent"):
            before, after = getattr(old, what) or "none", getattr(new, what) or "none"
            if before != after:
                is_wider = what == "parent" and bool(old.parent)  # a stop of the one above would not stop it any more
                direction: Direction = "widens" if is_wider else "changes"
                yield Change(direction=direction, path=f"{path}.{what}", words=f"{name}, {what}: {before} → {after}")
        if old.approval != new.approval:
            words = f"{name}, who approves: {old.approval} → {new.approval}"
            yield Change(direction="widens", path=path, words=words)
        if fewer := sorted(set(old.routes) - set(new.routes)):
            yield Change(direction="widens", path=path, words=f"{name}: {listed(fewer)} is not told any more")
        if more := sorted(set(new.routes) - set(old.routes)):
            yield Change(direction="narrows", path=path, words=f"{name}: {listed(more)} is told")


def _rights(name: str, path: str, old: Grant, new: Grant) -> Iterator[Change]:
    yield from _number(f"{path}.level", old.level, new.level, f"{name}, level")
    yield from _word(f"{path}.mode", old.mode, new.mode, MODES, f"{name}, mode")
    yield from _names(f"{path}.actions", old.actions, new.actions, f"{name}, actions")
    yield from _names(f"{path}.triggers", old.triggers, new.triggers, f"{name}, registered rules")
    yield from _scope(name, path, old.inside, new.inside)
    for setting in BudgetTable.__struct_fields__:
        before, after = (min(getattr(each.table, setting) for each in one.limits) for one in (old, new))
        yield from _number(f"{path}.budget", before, after, f"{name}, {setting.replace('_', ' ')}")


def _scope(
    name: str, path: str, old: tuple[tuple[Place, ...], ...], new: tuple[tuple[Place, ...], ...]
) -> Iterator[Change]:
    is_wider, is_narrower = not _is_inside(new, old), not _is_inside(old, new)
    if is_wider or is_narrower:
        words = f"{name}, scope: {_in_words(old)} → {_in_words(new)}"
        yield Change(direction="widens" if is_wider else "narrows", path=f"{path}.scope", words=words)


def _is_inside(inner: tuple[tuple[Place, ...], ...], outer: tuple[tuple[Place, ...], ...]) -> bool:
    """Whether what fits the inner groups surely fits the outer ones: each outer group has an inner one within it."""
    return all(any(group_is_inside(one, group) for one in inner) for group in outer)


def group_is_inside(inner: tuple[Place, ...], outer: tuple[Place, ...]) -> bool:
    """Whether whatever fits one of the inner scopes fits one of the outer ones."""
    return all(any(big.covers(small) for big in outer) for small in inner)


def _in_words(groups: tuple[tuple[Place, ...], ...]) -> str:
    return " and ".join(" or ".join(_place_in_words(place) for place in group) for group in groups)


def _place_in_words(place: Place) -> str:
    parts = [f"{listed(sorted(place.objects))} with {listed(sorted(place.fields)) or 'no fields'}"]
    for what in ("owners", "segments", "systems"):
        values = getattr(place, what)
        if "*" not in values:
            parts.append(f"{what} {listed(sorted(values))}")
    return ", ".join(parts)


def _pairs(section: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before != after:
            yield name, dotted((section, name)), before, after


def widens(changes: list[Change]) -> bool:
    """Whether a second person is needed."""
    return any(change.direction == "widens" for change in changes)
