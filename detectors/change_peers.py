"""What agents of a role write to: the uses, fields and owners of each as numbers, and what is usual among all of them.

An agent's numbers are, for each kind of thing: its writes, how many things follow, and of each thing 48 bits of its
digest and one that says whether it was met more than once. A role's are: of how many agents, the chance of another
thing from one write to the next in a million, how many things follow, and their digests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

LEAST_AGENTS = 5
TOO_MANY = -1
MOST_OF_AN_AGENT = (48, 96, 48)
"""An agent that met more uses, fields or owners is an agent to whom new ones come."""
MOST_OF_A_ROLE = (96, 192, 96)
_LEAST_WRITES = 50
_MOST_WRITES = 1_000
"""An agent's weight in the chance of something new: no more than so many writes."""
_LEAST_SHARING = 2
_TOLD_AT = 2
"""An agent with so many touches of things of its own would have been told of, had it been the new one."""
_PART = 1_000_000
_CUT_BITS = 16


class Usual(Struct, frozen=True):
    """What is usual for one kind of thing: of how many agents, how likely another thing is, and the things."""

    agents: int
    chance: float
    things: frozenset[int]


class Told(Struct):
    """What one agent said of one kind: writes, things met more than once, and those met once; None: too many."""

    writes: int
    often: set[int] | None
    once: set[int]


def short(digest: int) -> int:
    """The bits of a digest that travel: JSON's readers keep 53 of a number."""
    return digest >> _CUT_BITS


def describe(counts: Sequence[int], known: Sequence[Mapping[int, int]]) -> list[int]:
    """One agent's numbers: by kind its writes, and its things with how often they were met."""
    told: list[int] = []
    for writes, things, most in zip(counts, known, MOST_OF_AN_AGENT, strict=True):
        if len(things) > most:
            told += [writes, TOO_MANY]
        else:
            told += [writes, len(things), *sorted(short(one) << 1 | (met > 1) for one, met in things.items())]
    return told


def common(described: list[list[int]]) -> list[int] | None:
    """A role's numbers; None when its agents are too few or all write to things of their own.

    A thing is usual when two agents met it more than once. A kind is left out when agents would have been told of by
    what the others do: one of them, or a tenth, may be odd without that, so that none alone can blind it.
    """
    agents = [_read_agent(one) for one in described]
    if len(agents) < LEAST_AGENTS:
        return None
    kinds = range(len(MOST_OF_AN_AGENT))
    sharing = [Counter(one for agent in agents for one in agent[kind].often or ()) for kind in kinds]
    own = [[_own_touches(agent[kind], sharing[kind]) for kind in kinds] for agent in agents]
    excused = odd_ones([sum(touches >= _TOLD_AT for touches in one) for one in own])
    told: list[int] = []
    for kind in kinds:
        said = [(agent[kind], own[at][kind]) for at, agent in enumerate(agents) if agent[kind].writes >= _LEAST_WRITES]
        judged = [one for at, one in enumerate(own) if at not in excused]
        usual = sorted(one for one, count in sharing[kind].items() if count >= _LEAST_SHARING)
        if (
            len(said) < LEAST_AGENTS
            or any(one[kind] >= _TOLD_AT for one in judged)
            or not 0 < len(usual) <= MOST_OF_A_ROLE[kind]
        ):
            told += [0, 0, 0]
            continue
        writes = sum(min(one.writes, _MOST_WRITES) for one, _ in said)
        told += [len(said), _PART * (1 + sum(one[kind] for one in judged)) // writes, len(usual), *usual]
    return told if any(told) else None


def odd_ones(oddities: Sequence[int]) -> set[int]:
    """The places of those agents that don't count: the oddest, one or a tenth."""
    order = sorted((-count, at) for at, count in enumerate(oddities) if count)
    return {at for _, at in order[: max(1, len(oddities) // 10)]}


def read(values: Sequence[int]) -> tuple[Usual | None, ...]:
    """A role's numbers taken apart, by kind; None where nothing is usual."""
    found: list[Usual | None] = []
    at = 0
    while at < len(values):
        agents, part, count = values[at : at + 3]
        things = frozenset(values[at + 3 : at + 3 + count])
        found.append(Usual(agents, part / _PART, things) if agents else None)
        at += 3 + count
    return tuple(found)


def _read_agent(numbers: list[int]) -> list[Told]:
    found, at = [], 0
    while at < len(numbers):
        writes, count = numbers[at : at + 2]
        things = numbers[at + 2 : at + 2 + max(count, 0)]
        often = {one >> 1 for one in things if one & 1} if count != TOO_MANY else None
        found.append(Told(writes, often, {one >> 1 for one in things if not one & 1}))
        at += 2 + len(things)
    return found


def _own_touches(told: Told, sharing: Mapping[int, int]) -> int:
    """How many touches, two of a thing at most, are of things that are not usual among the others."""
    if told.often is None:
        return _TOLD_AT
    often = sum(sharing[one] - 1 < _LEAST_SHARING for one in told.often)
    return 2 * often + sum(sharing[one] < _LEAST_SHARING for one in told.once)


class Profiles:
    """Profiles taken apart, by group, so that none is read twice."""

    def __init__(self, reader: Any) -> None:
        self._read = reader
        self._known: dict[str, tuple[tuple[int, ...], Any]] = {}

    def of(self, group: str, values: tuple[int, ...]) -> Any:
        """What ``reader`` makes of a group's numbers."""
        known = self._known.get(group)
        if known is None or known[0] is not values:
            if len(self._known) >= _MOST_GROUPS:
                self._known.clear()
            known = self._known[group] = (values, self._read(values))
        return known[1]


_MOST_GROUPS = 64
