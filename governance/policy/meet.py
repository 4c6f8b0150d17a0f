"""What two policies both allow: how a new version's narrower parts take force while its wider ones wait. Pure.

``meet(old, new)`` allows nothing that ``old`` does not allow. Nor what ``new`` does not, but for a field that each of
them calls another kind of money or owner: there the old kind stays until the new one is agreed to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from governance.policy.compare import group_is_inside, told_of
from governance.policy.model import Grant, Limits, Place, Policy, Right, with_hash
from governance.policy.shape import (
    ActionEntry,
    Approval,
    Ceiling,
    Delegation,
    Exclusions,
    FieldEntry,
    Radii,
    Route,
    Volumes,
)
from governance.policy.worst import MODES, RADII, REVERSIBILITIES, VERDICTS, VOLUMES

S = TypeVar("S")
T = TypeVar("T", bound=Struct)


def meet(old: Policy, new: Policy) -> Policy:
    """The policy that holds while somebody has yet to agree to what ``new`` adds; ``old`` itself when nothing goes."""
    names = old.agents.keys() & new.agents.keys()
    both = with_hash(
        Policy(
            organisation=new.organisation,
            ceiling=_ceiling(old.ceiling, new.ceiling),
            bulk=_least(old.bulk, new.bulk),
            exclusions=Exclusions(
                **{each: _last(VERDICTS, getattr(old.exclusions, each), getattr(new.exclusions, each))
                   for each in Exclusions.__struct_fields__}
            ),
            delegation=Delegation(
                **{each: _radii(getattr(old.delegation, each), getattr(new.delegation, each))
                   for each in REVERSIBILITIES}
            ),
            actions={
                name: _action(entry, new.actions[name]) for name, entry in old.actions.items() if name in new.actions
            },
            fields={
                name: _field(old.fields.get(name, FieldEntry()), new.fields.get(name, FieldEntry()))
                for name in old.fields.keys() | new.fields.keys()
            },
            approvals=dict(_approvals(old.approvals, new.approvals)),
            routes=dict(_routes(old.routes, new.routes)),
            rights=_rights(old.rights, new.rights),
            agents={name: _grant(old.agents[name], new.agents[name]) for name in names},
        )
    )  # fmt: skip
    return old if both.hash == old.hash else both


def _least(old: T, new: T) -> T:
    """Numbers of which less is narrower."""
    return type(old)(**{name: min(getattr(old, name), getattr(new, name)) for name in old.__struct_fields__})


def _last(order: tuple[Any, ...], *values: Any) -> Any:
    return max(values, key=order.index)


def _ceiling(old: Ceiling | None, new: Ceiling | None) -> Ceiling | None:
    if old is None or new is None:
        return new if old is None else old
    return _least(old, new)


def _radii(old: Radii, new: Radii) -> Radii:
    return Radii(**{radius: _volumes(getattr(old, radius), getattr(new, radius)) for radius in RADII})


def _volumes(old: Volumes, new: Volumes) -> Volumes:
    return Volumes(**{each: _last(VERDICTS, getattr(old, each), getattr(new, each)) for each in VOLUMES})


def _action(old: ActionEntry, new: ActionEntry) -> ActionEntry:
    return ActionEntry(
        reversibility=_last(REVERSIBILITIES, old.reversibility, new.reversibility),
        blast_radius=_last(RADII, old.blast_radius, new.blast_radius),
        least=_last(VERDICTS, old.least, new.least),
        few=min(old.few, new.few),
        at_most=min(old.at_most, new.at_most),
        at_most_recipients=min(old.at_most_recipients, new.at_most_recipients),
        own=old.own,
    )


def _field(old: FieldEntry, new: FieldEntry) -> FieldEntry:
    return FieldEntry(
        kind=new.kind if old.kind == "plain" else old.kind,
        reversibility=_last(REVERSIBILITIES, old.reversibility, new.reversibility),
        blast_radius=_last(RADII, old.blast_radius, new.blast_radius),
    )


def _approvals(old: Mapping[str, Approval], new: Mapping[str, Approval]) -> Iterator[tuple[str, Approval]]:
    """A table that went stays while somebody's approvals hang on it; one that came in hangs on nothing yet."""
    for name, before in old.items():
        after = new.get(name)
        if after is None:
            yield name, before
            continue
        both = [each for each in before.approvers if each in set(after.approvers)]
        least = min(before.expires_minutes, after.expires_minutes)
        yield name, Approval(approvers=both, people=_most(before.people, after.people), expires_minutes=least)


def _most(one: int, other: int) -> int:
    return one if one > other else other


def _routes(old: Mapping[str, Route], new: Mapping[str, Route]) -> Iterator[tuple[str, Route]]:
    """Nobody is told less."""
    for name in old.keys() | new.keys():
        before, after = old.get(name), new.get(name)
        if before is None or (after is not None and told_of(before) <= told_of(after)):
            before = after
        if before is not None:
            yield name, before


def _rights(old: Mapping[str, Right], new: Mapping[str, Right]) -> dict[str, Right]:
    """Without any table nobody's rights are limited, so none is taken out: one that goes grants no action."""
    if not old or not new:
        return dict(old or new)
    none = frozenset[str]()
    return {
        name: _right(before, new[name]) if name in new else replace(before, actions=none)
        for name, before in old.items()
    }


def _right(old: Right, new: Right) -> Right:
    places = _places(old.places, new.places)
    actions = old.actions & new.actions if places else frozenset[str]()
    return Right(path=old.path, people=old.people & new.people, actions=actions, places=places or old.places)


def _grant(old: Grant, new: Grant) -> Grant:
    level = old if old.level <= new.level else new
    mode = old if MODES.index(old.mode) >= MODES.index(new.mode) else new
    return replace(
        new,
        path=old.path,
        owner=new.owner,
        level=level.level,
        level_path=level.level_path,
        mode=mode.mode,
        mode_path=mode.mode_path,
        actions=old.actions & new.actions,
        inside=tuple(_inside(old.inside, new.inside)),
        limits=tuple(_limits(old.limits, new.limits)),
        triggers=old.triggers & new.triggers,
        approval=old.approval,
        routes=tuple(dict.fromkeys((*old.routes, *new.routes))),
        parent=old.parent or new.parent,
    )


def _inside(old: tuple[tuple[Place, ...], ...], new: tuple[tuple[Place, ...], ...]) -> Iterator[tuple[Place, ...]]:
    """One scope of each group must fit, so both policies' groups together are what both allow; none without need."""
    return _together(old, new, group_is_inside)


def _limits(old: tuple[Limits, ...], new: tuple[Limits, ...]) -> Iterator[Limits]:
    """All budgets hold, so both policies' together; those that another one stays below go."""
    return _together(old, new, _is_below)


def _together(old: Sequence[S], new: Sequence[S], implies: Callable[[S, S], bool]) -> Iterator[S]:
    added = [each for each in new if not any(implies(one, each) for one in old)]
    yield from (one for one in old if not any(implies(each, one) for each in added))
    yield from added


def _is_below(one: Limits, other: Limits) -> bool:
    pairs = [(getattr(one.table, name), getattr(other.table, name)) for name in one.table.__struct_fields__]
    return all(mine <= theirs for mine, theirs in pairs)


def _places(old: tuple[Place, ...], new: tuple[Place, ...]) -> tuple[Place, ...]:
    """Of two lists of which one scope must fit each, the one list that says the same."""
    if group_is_inside(old, new):
        return old
    if group_is_inside(new, old):
        return new
    found = [both for one in old for other in new if (both := _place(one, other)) is not None]
    return tuple(
        place for at, place in enumerate(found)
        if not any(each.covers(place) for each in found[:at])
        and not any(each.covers(place) and not place.covers(each) for each in found[at + 1 :])
    )  # fmt: skip


def _place(old: Place, new: Place) -> Place | None:
    """Where both scopes are; None when nothing is."""
    names = {
        each: _names(getattr(old, each), getattr(new, each)) for each in ("objects", "owners", "segments", "systems")
    }
    if not all(names.values()):
        return None
    fields = frozenset((*_those_in(old.fields, new), *_those_in(new.fields, old)))
    return Place(path=old.path, fields=fields, **names)


def _names(old: frozenset[str], new: frozenset[str]) -> frozenset[str]:
    return new if "*" in old else old if "*" in new else old & new


def _those_in(fields: Iterable[str], place: Place) -> Iterator[str]:
    return (field for field in fields if place.has_field(*field.rpartition(".")[::2]))
