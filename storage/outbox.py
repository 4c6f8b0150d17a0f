"""The outbox as the notifier sees it: what waits, and what became of it at each target.

``created_ms`` and ``at_ms`` are by the runtime's clock (the demo runs it faster); ``next_try_ms``, ``done_ms`` and
``accepted_ms`` are by the wall, since that is what targets and people live by. A row never tried is due at once, or
waits for a digest until ``next_try_ms``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from storage.link import Link

TargetState = Literal["trying", "sent", "failed", "skipped"]
RowState = Literal["new", "sent", "failed", "dropped"]

_WAITING = "SELECT seq, id, kind, key, at_ms, body FROM outbox WHERE state = 'new' AND seq > ? ORDER BY seq LIMIT ?"
_TRIED = (
    "SELECT n.outbox_seq, n.target, n.state, n.attempts FROM notification n JOIN outbox o ON o.seq = n.outbox_seq "
    "WHERE o.state = 'new'"
)
_RECENT = "SELECT seq, id, kind, key, at_ms, body, done_ms FROM outbox WHERE state = 'sent' AND done_ms > ?"
_NOTE = (
    "INSERT INTO notification (outbox_seq, target, at_ms, state, attempts, accepted_ms, error) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (outbox_seq, target) DO UPDATE SET at_ms = excluded.at_ms, "
    "state = excluded.state, attempts = excluded.attempts, accepted_ms = excluded.accepted_ms, error = excluded.error"
)
_TRY = "UPDATE outbox SET attempts = attempts + 1, next_try_ms = ?, error = ? WHERE seq = ?"
_HOLD = "UPDATE outbox SET next_try_ms = ? WHERE seq = ? AND attempts = 0"
_END = "UPDATE outbox SET state = ?, done_ms = ?, error = ? WHERE seq = ?"


class OutboxRow(Struct, frozen=True, kw_only=True):
    """A row that waits to be told. ``key`` is tenant/agent or tenant/manager."""

    seq: int
    id: str
    kind: str
    key: str
    at_ms: int
    body: str


class Attempt(Struct, frozen=True, kw_only=True):
    """What became of one attempt at one target, for every row that the message told."""

    seqs: tuple[int, ...]
    target: str
    at_ms: int
    state: TargetState
    attempts: int
    accepted_ms: int | None = None
    next_try_ms: int = 0
    error: str | None = None


class Hold(Struct, frozen=True, kw_only=True):
    """Rows that wait for a digest: nobody is told of them before ``until_ms``, and that is meant."""

    seqs: tuple[int, ...]
    until_ms: int


class End(Struct, frozen=True, kw_only=True):
    """Rows that are done with: told, given up, or never to be told."""

    seqs: tuple[int, ...]
    state: RowState
    at_ms: int
    error: str | None = None


News = Attempt | Hold | End


def waiting(link: Link, after_seq: int = 0, most: int = 1000) -> list[OutboxRow]:
    """Rows that are not done with, in order, from the one after ``after_seq``."""
    found = link.execute(_WAITING, (after_seq, most)).fetchall()
    return [
        OutboxRow(seq=seq, id=id_, kind=kind, key=key, at_ms=at_ms, body=body)
        for seq, id_, kind, key, at_ms, body in found
    ]


def tried(link: Link) -> dict[tuple[int, str], tuple[TargetState, int]]:
    """For rows that are not done with: state and attempts by (seq, target)."""
    return {(seq, target): (state, attempts) for seq, target, state, attempts in link.execute(_TRIED)}


def recently_told(link: Link, since_ms: int) -> list[tuple[OutboxRow, int]]:
    """Rows told after a wall time, with that time: what a restart must know to hold repeats back."""
    return [
        (OutboxRow(seq=seq, id=id_, kind=kind, key=key, at_ms=at_ms, body=body), done_ms)
        for seq, id_, kind, key, at_ms, body, done_ms in link.execute(_RECENT, (since_ms,))
    ]


def record(link: Link, news: Iterable[News]) -> None:
    """Write what became of attempts and rows; the caller commits."""
    for item in news:
        if isinstance(item, End):
            link.executemany(_END, [(item.state, item.at_ms, item.error, seq) for seq in item.seqs])
        elif isinstance(item, Hold):
            link.executemany(_HOLD, [(item.until_ms, seq) for seq in item.seqs])
        else:
            _record_attempt(link, item)


def _record_attempt(link: Link, item: Attempt) -> None:
    told: Sequence[tuple[object, ...]] = [
        (seq, item.target, item.at_ms, item.state, item.attempts, item.accepted_ms, item.error) for seq in item.seqs
    ]
    link.executemany(_NOTE, told)
    link.executemany(_TRY, [(item.next_try_ms, item.error, seq) for seq in item.seqs])
