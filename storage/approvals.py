"""Approvals as the store keeps them: each with what it is bound to, the records it is about, and its history."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

import msgspec

from governance.approvals import OPEN, Approval, Verdict
from governance.operation import canonical_id
from storage.link import Link
from storage.sql import insert, upsert
from storage.tables import approval, approval_record

Who = tuple[Literal["human", "agent", "system"], str]
"""What sort of somebody did a step, and the name."""
_PUT = upsert(approval)
_PUT_RECORD = insert(approval_record, or_ignore=True)
_ONE = "SELECT body FROM approval WHERE id = ?"
_OPEN = "state IN ('pending', 'approved', 'edited')"
_OF_CONTENT = (
    "SELECT body FROM approval WHERE key = ? AND state IN ('pending', 'approved', 'edited', 'refused') "
    "AND (hash = ? OR asked_hash = ?) AND expires_ms > ? ORDER BY asked_ms DESC, id DESC LIMIT 1"
)
_COUNT_OPEN = f"SELECT count(*) FROM approval WHERE key = ? AND {_OPEN}"  # noqa: S608 - our own text
_DUE = f"SELECT body FROM approval WHERE {_OPEN} AND expires_ms <= ? ORDER BY expires_ms, id LIMIT ?"  # noqa: S608
_GIVEN = "SELECT count(*) FROM approval WHERE answered_by = ? AND answered_ms > ? AND state <> 'refused'"
_WATCHED = "SELECT tenant, record_id FROM approval_record"
_ABOUT = (
    "SELECT body FROM approval WHERE id IN (SELECT approval_id FROM approval_record WHERE tenant = ? AND record_id = ?)"
)
_OLD = f"SELECT id FROM approval WHERE id < ? AND NOT {_OPEN} ORDER BY id LIMIT ?"  # noqa: S608
_FORGET = "DELETE FROM approval_record WHERE tenant = ? AND approval_id = ? AND record_id = ?"
_HISTORY = (
    "INSERT INTO approval_history (approval_id, seq, at_ms, state_before, state, by_kind, by_id, why, reason, hash) "
    "SELECT ?, coalesce(max(seq), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ? FROM approval_history WHERE approval_id = ?"
)
_decode = msgspec.json.Decoder(Approval).decode
_encode = msgspec.json.Encoder().encode


def read(body: str) -> Approval:
    """An approval from its row."""
    return _decode(body)


def find(link: Link, id_: str) -> Approval | None:
    """An approval by its id."""
    row = link.execute(_ONE, (id_,)).fetchone()
    return None if row is None else _decode(row[0])


def of_content(link: Link, key: str, hash_: str, now_ms: int) -> Approval | None:
    """The newest approval of an agent for this content that still says something: yes, no, or wait."""
    row = link.execute(_OF_CONTENT, (key, hash_, hash_, now_ms)).fetchone()
    return None if row is None else _decode(row[0])


def count_open(link: Link, key: str) -> int:
    """How many approvals of an agent are open."""
    return int(link.execute(_COUNT_OPEN, (key,)).fetchone()[0])


def due(link: Link, now_ms: int, most: int = 200) -> list[Approval]:
    """Open approvals whose time is over."""
    return [_decode(row[0]) for row in link.execute(_DUE, (now_ms, most)).fetchall()]


def given_since(link: Link, name: str, since_ms: int) -> int:
    """How many approvals somebody gave after a time; what was refused does not count."""
    return int(link.execute(_GIVEN, (name, since_ms)).fetchone()[0])


def keep(link: Link, verdict: Verdict, before: str, by: Who, at_ms: int, reason: str = "") -> None:
    """Keep an approval as it is now, and in its history what led there. ``before``: its state until now, "" if new."""
    now = verdict.approval
    if verdict.is_changed:
        link.execute(
            _PUT,
            (
                now.id, now.key, now.state, now.hash, now.asked_hash, now.asked_ms, now.expires_ms, now.by,
                now.answered_ms, _encode(now).decode(),
            ),
        )  # fmt: skip
        _watch(link, now)
    link.execute(_HISTORY, (now.id, at_ms, before, now.state, *by, str(verdict.why), reason, now.hash, now.id))


def watched(link: Link) -> set[tuple[str, str]]:
    """The records (tenant, id) that open approvals are about."""
    return set(link.execute(_WATCHED).fetchall())


def about(link: Link, tenant: str, record_id: str) -> list[Approval]:
    """The open approvals about a record."""
    return [_decode(row[0]) for row in link.execute(_ABOUT, (tenant, record_id)).fetchall()]


def records_of(of: Approval) -> list[tuple[str, str]]:
    """The records (tenant, canonical id) that an approval is about, before an edit and after."""
    tenant = of.request.tenant
    named: Iterable[str] = (
        *of.asked.record_ids, *of.asked.changes, *of.request.record_ids, *of.request.changes,
    )  # fmt: skip
    return [(tenant, each) for each in dict.fromkeys(map(canonical_id, named))]


def drop_before(link: Link, prefix: str, most: int = 200) -> None:
    """Drop some of the oldest approvals that are over, with their history; ``prefix``: their ids begin below it."""
    found = link.execute(_OLD, (prefix, most)).fetchall()
    link.executemany("DELETE FROM approval_history WHERE approval_id = ?", found)
    link.executemany("DELETE FROM approval WHERE id = ?", found)


def _watch(link: Link, now: Approval) -> None:
    records: Collection[tuple[str, str]] = records_of(now)
    if now.state in OPEN:
        link.executemany(_PUT_RECORD, [(tenant, each, now.id) for tenant, each in records])
    else:
        link.executemany(_FORGET, [(tenant, now.id, each) for tenant, each in records])
