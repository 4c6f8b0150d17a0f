"""People who change in the CRM what an agent wrote there shortly before: told apart in the CRM's change feed alone.

The feed tells of both: what an agent's identity changed is remembered as hashes of the values before and after; a
person's change of the same field within 72 hours undid it (the value before again) or overwrote it (another value). A
record that the agent made is deleted, one that it deleted is brought back. All of it is data in, data out;
``streams.reverting`` looks things up and puts what comes of it into the agent's input partition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct
from xxhash import xxh3_64_intdigest

from events.times import HOUR_MS
from events.types import Actor, After, ChangeEvent, tenant_of
from governance.containment import agent_of
from governance.operation import canonical_id

WATCHED_MS = 72 * HOUR_MS
"""What a person changes later than this is no answer to what the agent wrote."""
MOST_VALUES = 4_096
"""The newest values of an agent that are watched."""
MOST_FIELDS = 8
_MOST_NAME_CHARS = 60
_WHOLE = ""
"""The field of a record as a whole: made, or deleted, by the agent."""
_MADE, _DELETED, _UNKNOWN = 1, 2, 3

Kind = Literal["undone", "overwritten", "deleted"]
_RANK: dict[Kind, int] = {"overwritten": 0, "undone": 1, "deleted": 2}


class Value(Struct, frozen=True):
    """What an agent (its key) wrote: record ("tenant/id"), field, hashes of before and after, when, and its place."""

    key: str
    record: str
    field: str
    before: int
    after: int
    at_ms: int
    slot: int = -1


class Counted(Struct):
    """Of an agent: changes of records that the feed told of, how many of these were said, and values so far."""

    changes: int = 0
    told: int = 0
    values: int = 0


class Found(Struct, frozen=True, kw_only=True):
    """A person's change of what an agent wrote; ``written``: changes by the agent since the one said before."""

    key: str
    event: ChangeEvent
    kind: Kind
    fields: tuple[str, ...]
    after_ms: int
    written: int


def record_of(event: ChangeEvent) -> str:
    """The record that a change is about, as "tenant/id"."""
    return f"{tenant_of(event)}/{canonical_id(event.data.record_id)}"


def is_by_a_person(event: ChangeEvent, known: Mapping[str, str]) -> bool:
    """Whether the feed says that a person did it, and it is no agent's user."""
    actor = event.data.actor
    return isinstance(actor, Actor) and actor.kind == "human" and bool(actor.id) and agent_of(actor, known) is None


class Book:
    """What is remembered of some records and agents in one transaction.

    Parameters: the values that are known of the records that are about to be changed; what was counted of agents.
    ``take`` each change in the order of the feed; then ``kept`` and ``gone`` are to be stored.
    """

    def __init__(self, values: Iterable[Value], counted: Mapping[str, Counted]) -> None:
        self.counted: defaultdict[str, Counted] = defaultdict(Counted, counted)
        self.gone: set[tuple[str, int]] = set()
        self._known: dict[str, dict[str, Value]] = {}
        self._new: dict[tuple[str, str], Value] = {}
        for value in sorted(values, key=lambda one: (one.at_ms, one.key, one.slot)):
            self._known.setdefault(value.record, {})[value.field] = value

    @property
    def kept(self) -> Iterable[Value]:
        """What is to be remembered, each with its place."""
        return self._new.values()

    def by_agent(self, event: ChangeEvent, agent_id: str, now_ms: int) -> None:
        """An agent's identity changed a record."""
        key, record = f"{tenant_of(event)}/{agent_id}", record_of(event)
        counted, of_record = self.counted[key], self._known.setdefault(record, {})
        counted.changes += 1
        for field, before, after in _written(event):
            old = of_record.get(field)
            is_mine = old is not None and old.key == key and now_ms - old.at_ms < WATCHED_MS
            if old is not None and not is_mine:
                self._forget(old)
            slot = old.slot if old is not None and is_mine else counted.values % MOST_VALUES
            if not is_mine:
                counted.values += 1
            first = old.before if old is not None and is_mine else before
            value = Value(key, record, field, first, after, now_ms, slot)
            of_record[field] = self._new[record, field] = value
            self.gone.discard((key, slot))

    def by_person(self, event: ChangeEvent, now_ms: int) -> list[Found]:
        """A person changed a record: what of agents that undid, by agent."""
        of_record = self._known.get(record_of(event))
        if not of_record:
            return []
        hit: dict[str, list[tuple[Kind, Value]]] = {}
        for value, kind in self._answers(event, of_record):
            del of_record[value.field]
            self._forget(value)
            if kind is not None and now_ms - value.at_ms < WATCHED_MS:
                hit.setdefault(value.key, []).append((kind, value))
        return [self._found(event, key, those, now_ms) for key, those in sorted(hit.items())]

    def _answers(self, event: ChangeEvent, of_record: dict[str, Value]) -> list[tuple[Value, Kind | None]]:
        """The values that this change ends, and how; None: they end, and nobody is to blame."""
        op, whole = event.data.op, of_record.get(_WHOLE)
        if op == "delete":
            made = whole is not None and whole.after == _MADE
            return [(one, "deleted" if made and one is whole else None) for one in list(of_record.values())]
        if op == "undelete":
            return [(whole, "undone")] if whole is not None and whole.after == _DELETED else []
        found: list[tuple[Value, Kind | None]] = []
        for field, _, after in _values_of(event):
            value = of_record.get(field)
            if value is not None and after != value.after:
                found.append((value, "undone" if after == value.before else "overwritten"))
        return found

    def _found(self, event: ChangeEvent, key: str, those: list[tuple[Kind, Value]], now_ms: int) -> Found:
        counted = self.counted[key]
        written, counted.told = counted.changes - counted.told, counted.changes
        return Found(
            key=key,
            event=event,
            kind=max((kind for kind, _ in those), key=_RANK.__getitem__),
            fields=tuple(value.field for _, value in those if value.field != _WHOLE),
            after_ms=max(0, now_ms - max(value.at_ms for _, value in those)),
            written=written,
        )

    def _forget(self, value: Value) -> None:
        self._new.pop((value.record, value.field), None)
        self.gone.add((value.key, value.slot))


def _written(event: ChangeEvent) -> Iterator[tuple[str, int, int]]:
    op = event.data.op
    if op in ("create", "delete"):
        yield _WHOLE, _UNKNOWN, _MADE if op == "create" else _DELETED
    elif op == "update":
        yield from _values_of(event)


def _values_of(event: ChangeEvent) -> Iterator[tuple[str, int, int]]:
    """The first fields of a change with hashes of the values before (or that it is not known) and after."""
    changes = event.data.changes
    if changes is UNSET or event.data.op != "update":
        return
    for number, (field, change) in enumerate(changes.items()):
        if number == MOST_FIELDS:
            return
        before, after = (UNSET, change.after) if isinstance(change, After) else change
        yield field[:_MOST_NAME_CHARS] or "?", _hash(before), _hash(after)


def _hash(value: Any) -> int:
    """A hash of a value that an SQL integer holds; the numbers below ten are kept for other meanings."""
    if value is UNSET:
        return _UNKNOWN
    return max(10, xxh3_64_intdigest(msgspec.json.encode(value, order="deterministic")) >> 1)
