"""The control rows, their history, and the outbox that tells others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import msgspec

from events.types import By
from governance.control import ControlRequest, ControlRow, Decision
from storage.link import Cursor, Link
from storage.sql import quoted, upsert
from storage.tables import control

_COLUMNS = [column.name for column in control.columns]
_SELECT = f"SELECT {quoted(_COLUMNS)} FROM control"  # noqa: S608 - names are our own
_UPSERT = upsert(control)
_CHANGES = (
    "SELECT state, by_kind, decided_ms FROM control_history WHERE key = ? AND changed AND decided_ms > ? ORDER BY seq"
)
_OUTBOX = ("id", "kind", "key", "at_ms", "created_ms", "body", "next_try_ms")
_PUT = f"INSERT INTO outbox ({quoted(_OUTBOX)}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608


def load(link: Link) -> Iterator[tuple[ControlRow, int | None]]:
    """Every control row, and while it is releasing the offset of its release record."""
    return _rows(link.execute(_SELECT))


def ask_rows(link: Link, keys: Collection[str]) -> Cursor:
    """Ask for the control rows of some keys, at least one; ``read_rows`` waits for the answer."""
    return link.execute(f"{_SELECT} WHERE key IN ({', '.join('?' * len(keys))})", tuple(keys))


def read_rows(asked: Cursor) -> dict[str, ControlRow]:
    """Control rows by key; keys never controlled are missing."""
    return {row.key: row for row, _ in _rows(asked)}


def _rows(found: Iterable[Any]) -> Iterator[tuple[ControlRow, int | None]]:
    for row in found:
        named = dict(zip(_COLUMNS, row, strict=True))
        yield (
            ControlRow(
                key=named["key"],
                agent_id=named["agent_id"],
                state=named["state"],
                epoch=named["epoch"],
                last_release_epoch=named["last_release_epoch"],
                at_ms=named["at_ms"],
                by=By(named["by_kind"], named["by_id"]),
                reason=named["reason"],
                finding_id=named["finding_id"],
                expires_ms=named["expires_ms"],
            ),
            named["release_offset"],
        )


def store(link: Link, row: ControlRow, release_offset: int | None) -> None:
    """Write a control row."""
    link.execute(
        _UPSERT,
        (
            row.key,
            row.agent_id,
            row.state,
            row.epoch,
            row.last_release_epoch,
            row.at_ms,
            row.by.kind,
            row.by.id,
            row.reason,
            row.finding_id,
            row.expires_ms,
            release_offset,
        ),
    )


def remember(link: Link, request: ControlRequest, decision: Decision, decided_ms: int) -> None:
    """Add a request and its decision to the history; nothing is ever taken out of it."""
    link.execute(
        "INSERT INTO control_history (key, seq, agent_id, epoch, state, wanted, changed, why, at_ms, decided_ms, "
        "by_kind, by_id, reason, finding_id) SELECT ?, coalesce(max(seq), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? "
        "FROM control_history WHERE key = ?",
        (
            request.key,
            request.agent_id,
            decision.row.epoch,
            decision.row.state,
            request.wanted,
            decision.changed,
            str(decision.why),
            request.at_ms,
            decided_ms,
            request.by.kind,
            request.by.id,
            request.reason,
            request.finding_id,
            request.key,
        ),
    )


def changes_since(link: Link, key: str, at_ms: int) -> list[tuple[str, str, int]]:
    """The changes of a row after a time, the oldest first: state, what sort of decider, when it was decided."""
    return link.execute(_CHANGES, (key, at_ms)).fetchall()


def put(link: Link, id_: str, kind: str, key: str, at_ms: int, now_ms: int, event: object) -> None:
    """Put an event into the outbox once; the same id again changes nothing."""
    body = msgspec.json.encode(event).decode()
    link.execute(_PUT, (id_, kind, key, at_ms, now_ms, body, now_ms))
