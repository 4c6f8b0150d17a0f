"""Credentials that somebody wants taken away, and what became of it: nothing is taken out."""

from __future__ import annotations

from msgspec import Struct

from storage.link import Link
from storage.sql import insert, quoted
from storage.tables import revocation

_PUT = insert(revocation, or_ignore=True)
_NAMES = quoted(column.name for column in revocation.columns)
_ASKED = f"SELECT {_NAMES} FROM revocation WHERE state = 'asked' ORDER BY asked_ms, id LIMIT 50"  # noqa: S608
_OPEN = "SELECT 1 FROM revocation WHERE key = ? AND credential = ? AND (state = 'asked' OR asked_ms > ?)"
_DONE = "UPDATE revocation SET state = ?, done_ms = ?, result = ? WHERE id = ? AND state = 'asked'"


class Revocation(Struct, frozen=True, kw_only=True):
    """One credential of an agent. ``state``: asked, done or failed; ``result``: what was done, or why not."""

    id: str
    key: str
    credential: str
    state: str
    asked_ms: int
    done_ms: int | None
    by_kind: str
    by_id: str
    reason: str
    result: str


def ask(link: Link, one: Revocation) -> None:
    """Keep that somebody wants it."""
    values = (
        one.id, one.key, one.credential, one.state, one.asked_ms, one.done_ms, one.by_kind, one.by_id, one.reason,
        one.result,
    )  # fmt: skip
    link.execute(_PUT, values)


def is_asked(link: Link, key: str, credential: str, since_ms: int) -> bool:
    """Whether it waits to be done, or was asked for after a time."""
    return link.execute(_OPEN, (key, credential, since_ms)).fetchone() is not None


def asked(link: Link) -> list[Revocation]:
    """What waits to be done, the oldest first."""
    names = [column.name for column in revocation.columns]
    return [Revocation(**dict(zip(names, row, strict=True))) for row in link.execute(_ASKED).fetchall()]


def settle(link: Link, id_: str, state: str, now_ms: int, result: str) -> bool:
    """It was done, or could not be; False when somebody else said so before."""
    return link.execute(_DONE, (state, now_ms, result, id_)).rowcount > 0
