"""What the gate decided: decisions, request ids, contacts that are known, and each agent's count of admissions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from governance.gate import GateDecision, GateRequest, Remembered, Rule, content_hash
from governance.operation import Operation, describe
from storage.projections import to_json
from storage.sql import insert, upsert
from storage.tables import gate_agent, gate_decision, known_contact

_DECISION = insert(gate_decision)
_SEQ = upsert(gate_agent)
_CONTACT = insert(known_contact, or_ignore=True)
_REMEMBERED = (
    "SELECT content_hash, at_ms, decision_id, decision, rule, reason, epoch FROM gate_decision "
    "WHERE key = ? AND request_id = ? AND rule <> ? ORDER BY at_ms DESC LIMIT 1"
)
_ids_decoder = msgspec.json.Decoder(list[str])


def store_decision(
    link: sqlite3.Connection,
    request: GateRequest,
    operation: Operation,
    decision: GateDecision,
    at_ms: int,
    *,
    offset: int | None = None,
    seq: int | None = None,
) -> None:
    """Keep a decision; ``offset`` and ``seq`` are those of its admission. Its request id is known from then on."""
    link.execute(
        _DECISION,
        (
            decision.decision_id,
            request.key,
            request.agent_id,
            at_ms,
            offset,
            seq,
            decision.decision,
            str(decision.rule),
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
        ),
    )


def seq_of(link: sqlite3.Connection, key: str) -> int:
    """How many operations of an agent were admitted so far."""
    row = link.execute("SELECT seq FROM gate_agent WHERE key = ?", (key,)).fetchone()
    return int(row[0]) if row else 0


def store_seqs(link: sqlite3.Connection, seqs: Iterable[tuple[str, int]]) -> None:
    """Keep how many operations of some agents were admitted."""
    link.executemany(_SEQ, seqs)


def admitted_since(link: sqlite3.Connection, key: str, at_ms: int) -> Iterator[tuple[int, Operation]]:
    """When and what was admitted for an agent after a time, oldest first."""
    for when, action, ids, contacts, records, recipients in link.execute(
        "SELECT at_ms, action, record_ids, recipient_ids, records, recipients FROM gate_decision "
        "WHERE key = ? AND at_ms > ? AND decision = 'allow' ORDER BY at_ms, seq",
        (key, at_ms),
    ):
        listed = _ids_decoder.decode(ids) if ids else []
        reached = _ids_decoder.decode(contacts) if contacts else []
        yield when, describe(action, listed, {}, reached, records, recipients)


def remembered(link: sqlite3.Connection, key: str, id_: str) -> Remembered | None:
    """The answer last given under a request id of an agent, not counting refusals of the id itself."""
    row = link.execute(_REMEMBERED, (key, id_, str(Rule.REQUEST_ID))).fetchone()
    if row is None:
        return None
    content, at_ms, decision_id, decision, rule, reason, epoch = row
    answer = GateDecision(decision=decision, reason=reason, rule=Rule(rule), epoch=epoch, decision_id=decision_id)
    return Remembered(content_hash=content, decision=answer, at_ms=at_ms)


def unknown_contacts(link: sqlite3.Connection, tenant: str, contact_ids: Sequence[str]) -> list[str]:
    """Those contacts with whom nobody of the tenant was in touch."""
    query = "SELECT 1 FROM known_contact WHERE tenant = ? AND contact_id = ?"
    return [each for each in contact_ids if link.execute(query, (tenant, each)).fetchone() is None]


def know_contacts(link: sqlite3.Connection, found: Iterable[tuple[str, str, int]]) -> None:
    """Remember (tenant, contact, since when) of people that somebody was in touch with."""
    link.executemany(_CONTACT, found)


def drop_before(link: sqlite3.Connection, at_ms: int, most: int = 200) -> None:
    """Drop some of the oldest decisions."""
    link.execute(
        "DELETE FROM gate_decision WHERE decision_id IN "
        "(SELECT decision_id FROM gate_decision WHERE decision_id < ? ORDER BY decision_id LIMIT ?)",
        (decision_prefix(at_ms), most),
    )


def decision_prefix(at_ms: int) -> str:
    """How the ids of decisions made at a time begin: they grow with time, so that old ones lie together."""
    return f"{max(0, at_ms):012x}"
