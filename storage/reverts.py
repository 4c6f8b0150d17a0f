"""What agents wrote in the CRM of late, as hashes, so that a person who changes it back is noticed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from governance.reverts import Counted, Value
from storage.link import Link
from storage.sql import insert_many, quoted, upsert
from storage.tables import agent_value, agent_value_count

_TOGETHER = 200
_NAMES = quoted(column.name for column in agent_value.columns)
_OF_RECORDS = f"SELECT {_NAMES} FROM agent_value WHERE record IN ({{}})"  # noqa: S608 - names are our own
_COUNTED = "SELECT key, changes, told, vals FROM agent_value_count WHERE key IN ({})"
_KEEP = ", ".join(f"{name} = excluded.{name}" for name in ("record", "field", "before", "after", "at_ms"))


def is_empty(link: Link) -> bool:
    """Whether no agent was ever seen to write."""
    return link.execute("SELECT 1 FROM agent_value_count LIMIT 1").fetchone() is None


def values_of(link: Link, records: Sequence[str]) -> list[Value]:
    """What agents wrote of late to these records ("tenant/id")."""
    found = []
    for start in range(0, len(records), _TOGETHER):
        some = records[start : start + _TOGETHER]
        for key, slot, record, field, before, after, at_ms in link.execute(
            _OF_RECORDS.format(", ".join("?" * len(some))), some
        ):
            found.append(Value(key, record, field, before, after, at_ms, slot))
    return found


def counted_of(link: Link, keys: Sequence[str]) -> dict[str, Counted]:
    """What was counted of these agents."""
    found = {}
    for start in range(0, len(keys), _TOGETHER):
        some = keys[start : start + _TOGETHER]
        for key, *numbers in link.execute(_COUNTED.format(", ".join("?" * len(some))), some):
            found[key] = Counted(*numbers)
    return found


def write(link: Link, kept: Iterable[Value], gone: Iterable[tuple[str, int]], counted: Mapping[str, Counted]) -> None:
    """Remember values at their places, which takes those of old ones; forget others; and what was counted."""
    link.executemany("DELETE FROM agent_value WHERE key = ? AND slot = ?", sorted(gone))
    places = {(one.key, one.slot): one for one in kept}
    rows = [(one.key, one.slot, one.record, one.field, one.before, one.after, one.at_ms) for one in places.values()]
    if rows:
        insert_many(link, agent_value, rows, f"ON CONFLICT (key, slot) DO UPDATE SET {_KEEP}")
    link.executemany(
        upsert(agent_value_count),
        [(key, one.changes, one.told, one.values) for key, one in sorted(counted.items())],
    )
