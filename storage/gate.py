"""What the gate decided: decisions, request ids, contacts that are known, and each agent's count of admissions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from governance.gate import GateDecision, GateRequest, Remembered, Rule, content_hash
from governance.gate_types import Outcome
from governance.operation import Operation, describe
from storage.link import Link
from storage.projections import to_json
from storage.sql import insert, insert_many, quoted
from storage.tables import gate_agent, gate_decision, gate_unfiled, known_contact

Row = tuple[Any, ...]
"""A row of gate_decision, in the order of its columns."""

_SEQ_TAIL = 'ON CONFLICT ("key") DO UPDATE SET "seq" = excluded."seq"'
_CONTACT = insert(known_contact, or_ignore=True)
_UNFILED = insert(gate_unfiled)
_TOGETHER = 10
"""Rows that one statement inserts: each statement gives other threads a chance to keep this one waiting."""
_ONE = insert(gate_decision)
_SEVERAL = ", ".join([_ONE] + [_ONE[_ONE.rindex("(") :]] * (_TOGETHER - 1))
_NAMES = [column.name for column in gate_decision.columns]
_KEY, _SEQ, _RULE, _REQUEST_ID, _AT_MS = map(_NAMES.index, ("key", "seq", "rule", "request_id", "at_ms"))
_TOLD = ("content_hash", "at_ms", "decision_id", "decision", "rule", "reason", "epoch", "policy")
_PLACES = [_NAMES.index(name) for name in _TOLD]
LAST_ANSWER = (
    f"SELECT {quoted(_TOLD)} FROM gate_decision "  # noqa: S608 - names are our own
    "WHERE key = {key} AND request_id = {id} AND rule <> ? ORDER BY at_ms DESC LIMIT 1"
)
"""The answer last given under an id; its columns are what ``remembered_as`` takes."""
_REMEMBERED = LAST_ANSWER.format(key="?", id="?")
_ADMITTED = ("at_ms", "action", "record_ids", "recipient_ids", "records", "recipients")
_ADMITTED_PLACES = [_NAMES.index(name) for name in _ADMITTED]
_DECISION = _NAMES.index("decision")
_OF_ALL = (
    f"SELECT decision_id, {quoted(_ADMITTED)} FROM gate_decision "  # noqa: S608 - names are our own
    "WHERE key >= ? AND key < ? AND at_ms > ? AND decision_id >= ? AND decision = 'allow' ORDER BY at_ms, decision_id"
)
_OF_LEASE = (
    f"SELECT decision_id, {quoted(_ADMITTED)} FROM gate_decision "  # noqa: S608 - names are our own
    "WHERE decision_id >= ? AND decision_id < ? AND at_ms > ? AND decision = 'allow' ORDER BY at_ms, decision_id"
)
_ids_decoder = msgspec.json.Decoder(list[str])
_rows_encoder = msgspec.msgpack.Encoder()
_rows_decoder = msgspec.msgpack.Decoder(list[tuple[str | int | None, ...]])


def decision_row(
    request: GateRequest,
    key: str,
    operation: Operation,
    decision: GateDecision,
    at_ms: int,
    *,
    offset: int | None = None,
    seq: int | None = None,
) -> Row:
    """A decision as a row; ``offset`` and ``seq`` are those of its admission."""
    return (
        decision.decision_id,
        key,
        request.agent_id,
        at_ms,
        offset,
        seq,
        decision.decision,
        decision.rule.value,
        decision.reason,
        decision.epoch,
        request.action,
        request.object,
        to_json(operation.record_ids) if operation.record_ids else None,
        to_json(request.changes) if request.changes else None,
        to_json(operation.recipient_ids) if operation.recipient_ids else None,
        operation.records,
        operation.recipients,
        request.authorized_by,
        to_json(request.trigger) if request.trigger is not None else None,
        request.request_id,
        content_hash(request) if request.request_id is not None else None,
        decision.policy or None,
    )


def file_decisions(link: Link, rows: Sequence[Row]) -> None:
    """Put decisions, the oldest first, where they are looked for, and count the admissions among them."""
    whole = len(rows) - len(rows) % _TOGETHER
    for start in range(0, whole, _TOGETHER):
        link.execute(_SEVERAL, [value for row in rows[start : start + _TOGETHER] for value in row])
    insert_many(link, gate_decision, rows[whole:])
    seqs = {row[_KEY]: row[_SEQ] for row in rows if row[_SEQ] is not None}
    insert_many(link, gate_agent, list(seqs.items()), _SEQ_TAIL)


def keep_unfiled(link: Link, number: int, rows: Sequence[Row]) -> None:
    """Make decisions durable as one blob; ``number`` is above those of the blobs before it."""
    link.execute(_UNFILED, (number, _rows_encoder.encode(rows)))


def file_all(link: Link) -> None:
    """File what an earlier process left unfiled."""
    link.execute("BEGIN IMMEDIATE")
    for number, blob in link.execute("SELECT seq, blob FROM gate_unfiled ORDER BY seq").fetchall():
        rows = [_completed(row) for row in _rows_decoder.decode(blob)]
        file_decisions(link, [row for row in rows if not _is_filed(link, row)])
        forget_unfiled(link, number)
    link.execute("COMMIT")


def _is_filed(link: Link, row: Row) -> bool:
    """A blob is deleted when the last of its rows is filed; others of them may have been filed before."""
    return link.execute("SELECT 1 FROM gate_decision WHERE decision_id = ?", (row[0],)).fetchone() is not None


def _completed(row: Row) -> Row:
    """A row of an earlier version, which knew fewer columns."""
    return (*row, *(None,) * (len(_NAMES) - len(row)))


def forget_unfiled(link: Link, number: int) -> None:
    """All blobs up to this number are filed."""
    link.execute("DELETE FROM gate_unfiled WHERE seq <= ?", (number,))


def key_of(row: Row) -> str:
    """Whose decision it is."""
    key: str = row[_KEY]
    return key


def age(row: Row) -> tuple[int, str]:
    """What puts decisions into their order."""
    return row[_AT_MS], row[0]


def seq_of(link: Link, key: str) -> int:
    """How many operations of an agent were admitted so far."""
    row = link.execute("SELECT seq FROM gate_agent WHERE key = ?", (key,)).fetchone()
    return int(row[0]) if row else 0


def admitted_since(link: Link, key: str, at_ms: int) -> Iterator[tuple[int, Operation]]:
    """When and what was admitted for an agent after a time, oldest first."""
    return operations(
        link.execute(
            "SELECT at_ms, action, record_ids, recipient_ids, records, recipients FROM gate_decision "
            "WHERE key = ? AND at_ms > ? AND decision = 'allow' ORDER BY at_ms, seq",
            (key, at_ms),
        )
    )


def admitted_by_all(link: Link, tenant: str, at_ms: int, *, is_first: bool) -> Iterator[tuple[str, int, Operation]]:
    """Id, time and what was admitted to all agents of a tenant after a time, oldest first.

    ``is_first``: whatever their ids; else those whose ids were made since then, which is quick.
    """
    rows = link.execute(_OF_ALL, (tenant + "/", tenant + "0", at_ms, "" if is_first else decision_prefix(at_ms)))
    yield from _named(rows)


def admitted_under(link: Link, lease_id: str, at_ms: int) -> Iterator[tuple[str, int, Operation]]:
    """The same of one lease: ids of its decisions are as old as the lease, whenever they were reported."""
    yield from _named(link.execute(_OF_LEASE, (f"{lease_id}.", f"{lease_id}/", at_ms)))


def _named(rows: Iterable[Any]) -> Iterator[tuple[str, int, Operation]]:
    for id_, *row in rows:
        ((when, operation),) = operations([row])
        yield id_, when, operation


def admitted_in(rows: Iterable[Row], tenant: str) -> Iterator[tuple[str, int, Operation]]:
    """The same of rows that are not in the table yet."""
    for row in rows:
        if row[_KEY].startswith(tenant + "/") and row[_DECISION] == "allow":
            ((when, operation),) = operations([[row[place] for place in _ADMITTED_PLACES]])
            yield row[0], when, operation


def operations(rows: Iterable[Any]) -> Iterator[tuple[int, Operation]]:
    """Rows of decisions as when and what: at_ms, action, record_ids, recipient_ids, records, recipients."""
    for when, action, ids, contacts, records, recipients in rows:
        listed = _ids_decoder.decode(ids) if ids else []
        reached = _ids_decoder.decode(contacts) if contacts else []
        yield when, describe(action, listed, {}, reached, records, recipients)


def asked_since(link: Link, key: str, at_ms: int) -> Iterator[tuple[str, int]]:
    """Request ids that an agent used after a time, and when."""
    query = "SELECT request_id, at_ms FROM gate_decision WHERE key = ? AND at_ms > ? AND request_id IS NOT NULL"
    return iter(link.execute(query, (key, at_ms)))


def remembered(link: Link, key: str, id_: str) -> Remembered | None:
    """The answer last given under a request id of an agent, not counting refusals of the id itself."""
    row = link.execute(_REMEMBERED, (key, id_, Rule.REQUEST_ID.value)).fetchone()
    return None if row is None else remembered_as(*row)


def asked_as(row: Row) -> tuple[str, str] | None:
    """Under which key and request id a decision is remembered; None when it is not."""
    request_id = row[_REQUEST_ID]
    return None if request_id is None or row[_RULE] == Rule.REQUEST_ID.value else (row[_KEY], request_id)


def remembered_row(row: Row) -> Remembered:
    """A decision that is not filed yet, as ``remembered`` gives it."""
    return remembered_as(*[row[place] for place in _PLACES])


def remembered_as(
    content: str,
    at_ms: int,
    decision_id: str,
    decision: Outcome,
    rule: str,
    reason: str,
    epoch: int,
    policy: str | None,
) -> Remembered:
    """The columns that ``LAST_ANSWER`` asks for, as an answer."""
    answer = GateDecision(
        decision=decision,
        reason=reason,
        rule=Rule(rule),
        epoch=epoch,
        decision_id=decision_id,
        policy=policy or "",
    )
    return Remembered(content_hash=content, decision=answer, at_ms=at_ms)


def unknown_contacts(link: Link, tenant: str, contact_ids: Sequence[str]) -> list[str]:
    """Those contacts with whom nobody of the tenant was in touch."""
    query = "SELECT 1 FROM known_contact WHERE tenant = ? AND contact_id = ?"
    return [each for each in contact_ids if link.execute(query, (tenant, each)).fetchone() is None]


def know_contacts(link: Link, found: Iterable[tuple[str, str, int]]) -> None:
    """Remember (tenant, contact, since when) of people that somebody was in touch with."""
    link.executemany(_CONTACT, found)


def drop_before(link: Link, at_ms: int, most: int = 200) -> None:
    """Drop some of the oldest decisions."""
    link.execute(
        "DELETE FROM gate_decision WHERE decision_id IN "
        "(SELECT decision_id FROM gate_decision WHERE decision_id < ? ORDER BY decision_id LIMIT ?)",
        (decision_prefix(at_ms), most),
    )


def decision_prefix(at_ms: int) -> str:
    """How the ids of decisions made at a time begin: they grow with time, so that old ones lie together."""
    return f"{max(0, at_ms):012x}"
