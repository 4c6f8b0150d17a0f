"""What agents did, as rows: a projection of topic agent.actions, kept in a file of its own.

``ActionRows`` gathers rows from records of the log and writes them, sorted by agent, in one transaction together
with its position in the log, so that after a crash it goes on exactly where it stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy import Table

from events.catalogue import CATALOGUE, kind_of
from events.times import BadTime, parse_ms
from events.types import DEFAULT_TENANT, ActionEvent, AdmissionEvent, ChangeEvent, Event
from storage.link import Link
from storage.sql import insert_flat, insert_many, quoted
from storage.tables import action, action_record, agent, agent_bin, projection

BIN_MS = 300_000
MAX_RECORDS_INDEXED = 1_000
"""Records of one operation that are found by their own id; an operation on more is found by its agent and time."""
VERSION = 1
MOST = 10**9
"""Records or recipients of one operation that a row shows at most; what an agent claims has no limit."""

_encode = msgspec.json.Encoder().encode
_ids = msgspec.json.Decoder(list[str]).decode
_BIN_COUNTS = ("actions", "records", "errors", "denied", "admitted", "changes")
_AGENT_COUNTS = ("actions", "records", "errors", "external", "admitted", "denied", "changes")


def _adding(table: Table, names: Iterable[str], replaced: Iterable[str]) -> str:
    sums = [f'"{name}" = "{table.name}"."{name}" + excluded."{name}"' for name in names]
    sets = [f'"{name}" = coalesce(excluded."{name}", "{table.name}"."{name}")' for name in replaced]
    keys = quoted(column.name for column in table.primary_key.columns)
    return f"ON CONFLICT ({keys}) DO UPDATE SET {', '.join([*sums, *sets])}"


_BIN_TAIL = _adding(agent_bin, _BIN_COUNTS, ("expected", "limit"))
_AGENT_TAIL = _adding(
    agent,
    _AGENT_COUNTS,
    ("agent_version", "last_seen_ms", "last_write_ms", "last_action"),
)
_POSITION = (
    f"INSERT INTO projection ({quoted(c.name for c in projection.columns)}) VALUES (?, ?, ?, ?) "  # noqa: S608
    "ON CONFLICT (topic) DO UPDATE SET topic_id = excluded.topic_id, next_offset = excluded.next_offset, "
    "version = excluded.version"
)


def position(link: Link, topic: str, topic_id: str) -> int:
    """The next offset that the rows do not hold yet; rows of another log are dropped first."""
    row = link.execute("SELECT topic_id, next_offset, version FROM projection WHERE topic = ?", (topic,)).fetchone()
    if row is not None and row[0] == topic_id and row[2] == VERSION:
        return int(row[1])
    if row is not None:
        link.execute("BEGIN IMMEDIATE")
        for table in (action, action_record, agent, agent_bin, projection):
            link.execute(f'DELETE FROM "{table.name}"')  # noqa: S608 - names are our own
        link.execute("COMMIT")
    return 0


class _Agent:
    """What is to be written of one agent: its rows' values in log order, what is to be added to its totals and bins."""

    __slots__ = (
        "bin",
        "bins",
        "counts",
        "first_ms",
        "last_action",
        "last_ms",
        "last_write_ms",
        "until",
        "values",
        "version",
    )

    def __init__(self, at_ms: int) -> None:
        self.values: list[Any] = []
        self.counts = [0] * len(_AGENT_COUNTS)
        self.bins: dict[int, list[Any]] = {}
        self.bin: list[Any] = []
        self.until = 0
        self.first_ms = self.last_ms = at_ms
        self.last_write_ms: int | None = None
        self.last_action: str | None = None
        self.version: str | None = None

    def bin_at(self, at_ms: int) -> list[Any]:
        """The counts of the five minutes that hold a time."""
        if not self.until - BIN_MS <= at_ms < self.until:
            start = at_ms - at_ms % BIN_MS
            self.until = start + BIN_MS
            found = self.bins.get(start)
            if found is None:
                found = self.bins[start] = [0, 0, 0, 0, 0, 0, None, None]
            self.bin = found
        return self.bin


class ActionRows:
    """Rows gathered and not yet written. Not safe to share between threads."""

    def __init__(self) -> None:
        self.records: list[tuple[Any, ...]] = []
        self.next_offset: int | None = None
        self._count = 0
        self._agents: dict[str, _Agent] = {}
        self._open: dict[str, tuple[str, int, int]] = {}
        self._reported: list[tuple[str, int, int]] = []

    def __len__(self) -> int:
        return self._count

    def agents(self) -> frozenset[str]:
        """Ids of the agents of which something is gathered."""
        return frozenset(key.partition("/")[2] for key in self._agents)

    def take(self, offset: int, at_ms: int, event: Event) -> None:
        """Take one record of agent.actions; what is no action only moves the position."""
        self.next_offset = offset + 1
        if type(event) is ActionEvent:
            self._report(offset, at_ms, event)
        elif type(event) is AdmissionEvent:
            self._admission(offset, at_ms, event)
        elif type(event) is ChangeEvent:
            self._change(offset, at_ms, event)

    def denied(self, key: str, at_ms: int) -> None:
        """Count an operation that the gate refused."""
        self._count += 1
        found = self._agent(key, at_ms)
        found.counts[5] += 1
        found.bin_at(at_ms)[3] += 1

    def band(self, key: str, bin_ms: int, expected: float, limit: float) -> None:
        """What the rate detector expects of an agent in five minutes, and its limit."""
        self._count += 1
        found = self._agent(key, bin_ms).bin_at(bin_ms)
        found[6], found[7] = expected, limit

    # --- one kind of record each ---------------------------------------------------------------------------------

    def _report(self, offset: int, at_ms: int, event: ActionEvent) -> None:
        data = event.data
        tenant = DEFAULT_TENANT if event.tenant is UNSET else event.tenant
        key = f"{tenant}/{data.agent_id}"
        kind = CATALOGUE.get(data.action) or kind_of(data.action)
        ids: Sequence[str] = data.record_ids or ()
        records = min(MOST, max(len(ids), data.records or 0, 1 if kind.is_write else 0))
        is_external = kind.is_external or data.external is True
        recipients = min(MOST, max(len(data.recipient_ids or ()), data.recipients or 0, 1 if is_external else 0))
        decision_id = data.decision_id or None
        was_admitted = decision_id is not None and self._close(decision_id)
        try:
            effect_ms = parse_ms(event.time)
        except (BadTime, TypeError):
            effect_ms = at_ms
        found = self._agents.get(key) or self._agent(key, at_ms)
        self._count += 1
        found.values.extend(
            (
                key,
                at_ms,
                offset,
                effect_ms,
                data.agent_id,
                "report",
                data.action,
                data.object or None,
                _encode(ids).decode() if ids else None,
                _encode(data.changes).decode() if data.changes else None,
                data.outcome,
                _encode(data.error).decode() if data.error else None,
                records,
                recipients,
                is_external,
                data.authorized_by or None,
                _encode(data.trigger).decode() if data.trigger else None,
                data.reviewed_by or None,
                decision_id,
                data.deal_id or None,
                data.run_id or None,
                event.source,
                event.id,
            )
        )
        if len(ids) == 1:
            self.records.append((tenant, data.object or "", ids[0], at_ms, offset, key))
        elif ids:
            self._index(tenant, data.object or "", ids, key, at_ms, offset)
        found.last_ms = at_ms
        counts = found.counts
        bin_ = found.bin if found.until - BIN_MS <= at_ms < found.until else found.bin_at(at_ms)
        if not was_admitted:
            counts[0] += 1
            counts[1] += records
            counts[3] += is_external
            bin_[0] += 1
            bin_[1] += records
        if data.outcome == "ok":
            if kind.is_write:
                found.last_write_ms = at_ms
        elif data.outcome == "error":
            counts[2] += 1
            bin_[2] += 1
        elif decision_id is None:
            counts[5] += 1
            bin_[3] += 1
        found.last_action = data.action
        if data.agent_version:
            found.version = data.agent_version

    def _admission(self, offset: int, at_ms: int, event: AdmissionEvent) -> None:
        data = event.data
        tenant = DEFAULT_TENANT if event.tenant is UNSET else event.tenant
        key = f"{tenant}/{data.agent_id}"
        found = self._agent(key, at_ms)
        self._count += 1
        found.values.extend(
            (
                key, at_ms, offset, at_ms, data.agent_id, "admission", data.action, data.object or None,
                _text(data.record_ids) if data.record_ids else None,
                _text(data.changes) if data.changes else None,
                "admitted", None, data.records, data.recipients, data.external, data.authorized_by or None,
                _text(data.trigger) if data.trigger else None,
                data.reviewed_by or None, data.decision_id, None, None, event.source, event.id,
            )
        )  # fmt: skip
        self._open[data.decision_id] = (key, at_ms, offset)
        self._index(tenant, data.object or "", data.record_ids, key, at_ms, offset)
        bin_ = found.bin_at(at_ms)
        for place, number in ((0, 1), (1, data.records), (3, int(data.external)), (4, 1)):
            found.counts[place] += number
        bin_[0] += 1
        bin_[1] += data.records
        bin_[4] += 1
        found.last_action = data.action
        if kind_of(data.action).is_write:
            found.last_write_ms = at_ms

    def _change(self, offset: int, at_ms: int, event: ChangeEvent) -> None:
        data = event.data
        if data.actor is UNSET:
            return
        tenant = DEFAULT_TENANT if event.tenant is UNSET else event.tenant
        key = f"{tenant}/{data.actor.id}"
        changes = {data.record_id: data.changes} if data.changes else None
        found = self._agent(key, at_ms)
        self._count += 1
        found.values.extend(
            (
                key, at_ms, offset, _effect_ms(data.committed_at or event.time, at_ms), data.actor.id, "change",
                f"record.{data.op}", data.object, _text([data.record_id]),
                _text(changes) if changes else None, "ok", None, 1, 0, False, None, None, None, None,
                data.deal_id or None, None, event.source, event.id,
            )
        )  # fmt: skip
        self._index(tenant, data.object, (data.record_id,), key, at_ms, offset)
        found.counts[6] += 1
        found.bin_at(at_ms)[5] += 1

    # --- parts ---------------------------------------------------------------------------------------------------

    def _index(self, tenant: str, object_: str, ids: Iterable[str], key: str, at_ms: int, offset: int) -> None:
        for place, record_id in enumerate(ids):
            if place >= MAX_RECORDS_INDEXED:
                break
            self.records.append((tenant, object_, record_id, at_ms, offset, key))

    def _close(self, decision_id: str) -> bool:
        """The report of an admitted operation: its admission's row goes. True when it was counted then."""
        found = self._open.pop(decision_id, None)
        if found is not None:
            self._reported.append(found)
        return found is not None

    def _agent(self, key: str, at_ms: int) -> _Agent:
        found = self._agents.get(key)
        if found is None:
            found = self._agents[key] = _Agent(at_ms)
        found.last_ms = at_ms
        return found

    # --- writing -------------------------------------------------------------------------------------------------

    def load_open(self, link: Link, since_ms: int, most: int = 100_000) -> None:
        """Remember the admissions whose report may still come."""
        query = "SELECT decision_id, key, at_ms, \"offset\" FROM action WHERE kind = 'admission' AND at_ms >= ? LIMIT ?"
        self.know_open(link.execute(query, (since_ms, most)))

    def know_open(self, found: Iterable[tuple[str, str, int, int]]) -> None:
        """Remember admissions whose report may still come: decision id, and key, at_ms and offset of the row."""
        for decision_id, key, at_ms, offset in found:
            self._open[decision_id] = (key, at_ms, offset)

    def write(self, link: Link, topic: str, topic_id: str) -> None:
        """Write what was gathered, and the position, in one transaction."""
        link.execute("BEGIN IMMEDIATE")
        try:
            self.write_rows(link)
            if self.next_offset is not None:
                link.execute(_POSITION, (topic, topic_id, self.next_offset, VERSION))
            link.execute("COMMIT")
        except BaseException:
            if link.in_transaction:
                link.execute("ROLLBACK")
            raise
        self._forget()

    def write_rows(self, link: Link) -> None:
        """Write what was gathered inside the caller's transaction; rows of several agents go in order of their keys."""
        agents = sorted(self._agents.items())
        values: list[Any] = []
        for _, found in agents:
            values += found.values
        insert_flat(link, action, values, "ON CONFLICT DO NOTHING")
        self.records.sort()
        insert_many(link, action_record, self.records, "ON CONFLICT DO NOTHING")
        if self._reported:
            link.executemany('DELETE FROM action WHERE key = ? AND at_ms = ? AND "offset" = ?', self._reported)
        totals = [
            (
                key, *key.split("/", 1), found.version, found.first_ms, found.last_ms, found.last_write_ms,
                found.last_action, *found.counts,
            )
            for key, found in agents
        ]  # fmt: skip
        insert_many(link, agent, totals, _AGENT_TAIL)
        bins = [(key, start, *counts) for key, found in agents for start, counts in sorted(found.bins.items())]
        insert_many(link, agent_bin, bins, _BIN_TAIL)

    def _forget(self) -> None:
        self._count = 0
        self.records.clear()
        self._agents.clear()
        self._reported.clear()
        while len(self._open) > 100_000:
            del self._open[next(iter(self._open))]


def drop_oldest(link: Link, at_ms: int, most: int = 2_000) -> int:
    """As ``drop_before``, on PostgreSQL, where an index of all actions by time says which; the caller commits."""
    old = link.execute(
        'SELECT key, at_ms, "offset", object, record_ids FROM action WHERE at_ms < ? ORDER BY at_ms LIMIT ?',
        (at_ms, most),
    ).fetchall()
    _drop(link, old)
    return len(old)


def drop_before(link: Link, at_ms: int, most: int = 2_000) -> int:
    """Drop up to ``most`` actions that are older than ``at_ms``, with their index; returns how many."""
    dropped = 0
    link.execute("BEGIN IMMEDIATE")
    for (key,) in link.execute("SELECT key FROM agent").fetchall():
        old = link.execute(
            'SELECT key, at_ms, "offset", object, record_ids FROM action WHERE key = ? AND at_ms < ? '
            "ORDER BY at_ms LIMIT ?",
            (key, at_ms, most - dropped),
        ).fetchall()
        _drop(link, old)
        dropped += len(old)
        if dropped >= most:
            break
    link.execute("COMMIT")
    return dropped


def _drop(link: Link, old: Sequence[tuple[str, int, int, str | None, str | None]]) -> None:
    """Drop rows, each (key, at_ms, offset, object, record_ids), and their index."""
    link.executemany('DELETE FROM action WHERE key = ? AND at_ms = ? AND "offset" = ?', [row[:3] for row in old])
    link.executemany(
        'DELETE FROM action_record WHERE tenant = ? AND object = ? AND record_id = ? AND at_ms = ? AND "offset" = ?',
        [
            (key.partition("/")[0], object_ or "", record_id, when, offset)
            for key, when, offset, object_, ids in old
            for record_id in (_ids(ids) if ids else ())
        ],
    )


def _text(value: Any) -> str:
    return _encode(value).decode()


def _effect_ms(text: str | Any, at_ms: int) -> int:
    try:
        return parse_ms(text)
    except (BadTime, TypeError):
        return at_ms
