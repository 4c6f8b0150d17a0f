"""What agents of a role write into fields: the symbols of each agent as numbers, and what is usual among all of them.

An agent's numbers are, for each field, 48 bits of its digest, then for each aspect how many symbols follow, how many
changes in a thousand had others, and each symbol with its changes in a thousand. A role's are, for each field, the
digest, then for each aspect how many symbols follow (-1: anything is usual) and the symbols. That a field was blank
before is left out: it says how much was done already, which is less for a new agent than for others.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from math import exp, log
from typing import Any

from msgspec import Struct

from detectors.change_peers import LEAST_AGENTS, odd_ones, short
from events.value_codes import ASPECTS

MOST_FIELDS = 12
MOST_SYMBOLS = 16
ANYTHING = -1
FORM, _, STEP = range(len(ASPECTS))
_FROM_NOTHING = 3 << 10
_NO_STEPS = (0, 1)
_LEAST_CHANGES = 30
_WHOLE = 1_000
_LEAST_SHARE = 5
"""Symbols of fewer than so many in a thousand changes are others."""
_MOST_OTHER = 30
"""Of a thousand changes of an agent at most so many have a symbol that is not usual, or anything is usual there."""
_PRIOR, _PRIOR_CHANGES = 0.05, 100
_LEAST_CHANCE, _MOST_CHANCE = 0.02, 0.1
_BETS = (0.5, 0.15)
_FROZEN_AT = 3.0
_MOST_EVIDENCE = 200.0

Usual = Mapping[int, tuple[frozenset[int] | None, ...]]
"""By a field's short digest, for each aspect the usual symbols; None where anything is usual."""


class Shares(Struct):
    """One agent, one field, one aspect: of a thousand changes how many had each symbol, and how many another."""

    other: int
    symbols: dict[int, int]


class Judged:
    """A field of a new agent as its peers see it: evidence (logarithms) by aspect and bet, and counts by aspect.

    ``strange``: changes in the present evidence with a symbol that is not usual; ``own``: such ones that came while
    there was no evidence, so the agent's own habit; ``where``: the last but one event.
    """

    __slots__ = ("evidence", "next_told", "own", "strange", "told_ms", "where")

    def __init__(self) -> None:
        self.own = [0] * len(ASPECTS)
        self.clear()

    def clear(self) -> None:
        """No evidence at present."""
        self.evidence = array("d", bytes(8 * len(ASPECTS) * len(_BETS)))
        self.strange, self.next_told = [0] * len(ASPECTS), [0] * len(ASPECTS)
        self.told_ms = 0
        self.where: list[str] = []

    def weigh(self, aspect: int, changes: int, *, is_strange: bool) -> float:
        """Bet on one change after so many of the agent's own; the odds that its values are not as its peers'."""
        base = len(_BETS) * aspect
        chance = (_PRIOR_CHANGES * _PRIOR + self.own[aspect]) / (_PRIOR_CHANGES + changes)
        chance = max(chance, _LEAST_CHANCE)
        if chance > _MOST_CHANCE:
            self.evidence[base : base + len(_BETS)] = array("d", bytes(8 * len(_BETS)))
        else:
            for at, bet in enumerate(_BETS, base):
                gained = log(bet / chance) if is_strange else log((1.0 - bet) / (1.0 - chance))
                self.evidence[at] = min(max(self.evidence[at] + gained, 0.0), _MOST_EVIDENCE)
        logs = self.evidence[base : base + len(_BETS)]
        if is_strange:
            self.strange[aspect] += 1
            self.own[aspect] += max(logs) < _FROZEN_AT
        if not any(logs):
            self.strange[aspect] = self.next_told[aspect] = 0
        return sum(map(exp, logs)) / len(_BETS)

    def dump(self) -> list[Any]:
        """What is kept of it."""
        return [self.own, list(self.evidence), self.strange, self.next_told, self.told_ms, self.where]

    @classmethod
    def load(cls, kept: list[Any]) -> Judged:
        """From what ``dump`` gave."""
        judged = cls()
        judged.own, evidence, judged.strange, judged.next_told, judged.told_ms, judged.where = kept
        judged.evidence = array("d", evidence)
        return judged


# --- an agent's numbers ----------------------------------------------------------------------------------------------


def plain(aspect: int, code: int) -> int | None:
    """A symbol without whether the field was blank before; None where it says no more than that."""
    if aspect == FORM:
        return code & ~_FROM_NOTHING
    return None if aspect == STEP and code in _NO_STEPS else code


def describe_field(digest: int, tables: Sequence[tuple[int, Mapping[int, int]]]) -> list[int]:
    """One field's numbers, of how many changes each aspect had and how many of them each symbol.

    No symbols and no others: too few changes. No symbols and nothing but others: too many symbols.
    """
    told = [short(digest)]
    for aspect, (all_changes, all_counts) in enumerate(tables):
        total, counts = all_changes, dict[int, int]()
        for code, count in all_counts.items():
            symbol = plain(aspect, code)
            if symbol is None:
                total -= count
            else:
                counts[symbol] = counts.get(symbol, 0) + count
        if total < _LEAST_CHANGES:
            told += [0, 0]
            continue
        shares = {one: -(-_WHOLE * count // total) for one, count in counts.items()}
        first = sorted(shares, key=lambda one: (-shares[one], one))[:MOST_SYMBOLS]
        first = [one for one in first if shares[one] >= _LEAST_SHARE]
        other = -(-_WHOLE * (total - sum(counts[one] for one in first)) // total)
        if other > _MOST_OTHER:
            told += [0, _WHOLE]
            continue
        told += [len(first), other]
        for one in first:
            told += [one, shares[one]]
    return told


def _read_agent(numbers: Sequence[int]) -> dict[int, list[Shares]]:
    found: dict[int, list[Shares]] = {}
    at = 0
    while at < len(numbers):
        aspects = found[numbers[at]] = []
        at += 1
        for _ in ASPECTS:
            count, other = numbers[at : at + 2]
            pairs = numbers[at + 2 : at + 2 + 2 * count]
            aspects.append(Shares(other, dict(zip(pairs[::2], pairs[1::2], strict=True))))
            at += 2 + len(pairs)
    return found


# --- a role's numbers ------------------------------------------------------------------------------------------------


def common(described: list[list[int]]) -> list[int] | None:
    """A role's numbers; None when its agents are too few or all write in ways of their own.

    A symbol is usual when more agents than may be odd (one, or a tenth) write it. An aspect counts when nearly all that
    each agent writes would be usual if only the others were asked; one agent, or a tenth, may be odd in all of them.
    """
    agents = [_read_agent(one) for one in described]
    if len(agents) < LEAST_AGENTS:
        return None
    found: dict[tuple[int, int], tuple[list[int], set[int]]] = {}
    for field, writers in _fields(agents):
        for aspect in range(len(ASPECTS)):
            said = {at: agents[at][field][aspect] for at in writers}
            shares = {at: one for at, one in said.items() if one.symbols or one.other}
            found[field, aspect] = _usual_of(shares, max(1, len(shares) // 10))
    oddities = [sum(at in odd for _, odd in found.values()) for at in range(len(agents))]
    excused = odd_ones(oddities)
    told: list[int] = []
    for field, _ in _fields(agents):
        sets = [found[field, aspect] for aspect in range(len(ASPECTS))]
        kept = [sorted(usual) if usual and odd <= excused else None for usual, odd in sets]
        if any(kept):
            told.append(field)
            for usual in kept:
                told += [ANYTHING] if usual is None else [len(usual), *usual]
    return told or None


def _fields(agents: list[dict[int, list[Shares]]]) -> Iterator[tuple[int, list[int]]]:
    """The fields that most agents write, and the places of those who do."""
    writers: dict[int, list[int]] = {}
    for at, agent in enumerate(agents):
        for field in agent:
            writers.setdefault(field, []).append(at)
    order = sorted(writers, key=lambda field: (-len(writers[field]), field))
    return iter([(field, writers[field]) for field in order[:MOST_FIELDS] if len(writers[field]) >= LEAST_AGENTS])


def _usual_of(shares: Mapping[int, Shares], odd: int) -> tuple[list[int], set[int]]:
    """The fewest symbols that are nearly all of what nearly all agents write, and who writes something else.

    ``odd``: so many agents may. No symbols when it takes too many.
    """
    writing: dict[int, list[int]] = {}
    for one in shares.values():
        for symbol, share in one.symbols.items():
            writing.setdefault(symbol, []).append(share)
    shared = {symbol: sorted(found)[-1 - odd] for symbol, found in writing.items() if len(found) > odd}
    if len(shares) < LEAST_AGENTS:
        return [], set()
    first = sorted(shared, key=lambda one: (-shared[one], one))[:MOST_SYMBOLS]
    for count in range(1, len(first) + 1):
        others = {at: _WHOLE - _inside(one, first[:count], writing, odd) for at, one in shares.items()}
        if sorted(others.values())[-1 - odd] <= _MOST_OTHER:
            return first[:count], {at for at, other in others.items() if other > _MOST_OTHER}
    return [], set()


def _inside(one: Shares, usual: Sequence[int], writing: Mapping[int, list[int]], odd: int) -> int:
    """How much of what one agent writes is usual, were it not asked itself."""
    inside = 0
    for symbol in usual:
        share = one.symbols.get(symbol, 0)
        if share and len(writing[symbol]) - 1 > odd:
            inside += share
    return min(inside, _WHOLE)


def read(values: Sequence[int]) -> Usual:
    """A role's numbers taken apart."""
    found: dict[int, tuple[frozenset[int] | None, ...]] = {}
    at = 0
    while at < len(values):
        field, sets = values[at], list[frozenset[int] | None]()
        at += 1
        for _ in ASPECTS:
            count = values[at]
            sets.append(None if count == ANYTHING else frozenset(values[at + 1 : at + 1 + count]))
            at += 1 + max(count, 0)
        found[field] = tuple(sets)
    return found
