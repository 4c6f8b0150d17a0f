"""Leases in the store, what is not settled of them, and who let a blind agent go on. Keys are locked by the caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from governance.lease_types import Lease, Owed, content_of
from governance.leases import FORGOTTEN_MS
from governance.operation import Operation
from storage.gate import decision_prefix
from storage.link import Link
from storage.projections import to_json
from storage.sql import insert, insert_many, upsert
from storage.tables import lease, lease_debit, lease_override

_UPSERT = upsert(lease, ("is_open", "end_ms", "body"))
_OVERRIDE = insert(lease_override)
_HELD = "SELECT body FROM lease WHERE key = ? AND is_open AND end_ms > ?"
_HELD_BY_ALL = "SELECT body FROM lease WHERE key > ? AND key < ? AND is_open AND end_ms > ?"
_OWED = "SELECT min(at_ms) FROM lease_debit WHERE key = ? AND at_ms > ?"
_SETTLED = "FROM lease_debit WHERE lease_id = ? AND outcome_ms IS NOT NULL AND at_ms <= ?"
_decoder = msgspec.json.Decoder(Lease)


class Row(Struct, frozen=True):
    """A debit that is not settled: its number, the operation, when it was reported, and when its outcome was."""

    number: int
    action: str
    record_ids: list[str]
    outcome_ms: int | None


def store(link: Link, one: Lease) -> None:
    """Write a lease."""
    body = msgspec.json.encode(one).decode()
    hash_ = content_of(one.ask)
    is_open = one.returned_ms is None
    link.execute(_UPSERT, (one.lease_id, one.key, one.ask.request_id, hash_, is_open, one.end_ms, body))


def find(link: Link, lease_id: str) -> Lease | None:
    """A lease by its id."""
    row = link.execute("SELECT body FROM lease WHERE lease_id = ?", (lease_id,)).fetchone()
    return None if row is None else _decoder.decode(row[0])


def asked_before(link: Link, key: str, request_id: str) -> tuple[Lease, str] | None:
    """The newest lease that an agent was granted under a request id, and the hash of what was asked."""
    row = link.execute(
        "SELECT body, content_hash FROM lease WHERE key = ? AND request_id = ? ORDER BY lease_id DESC LIMIT 1",
        (key, request_id),
    ).fetchone()
    return None if row is None else (_decoder.decode(row[0]), row[1])


def held(link: Link, key: str, after_ms: int) -> list[Lease]:
    """Leases of an agent that were not given back and end after a time, whether they live or not."""
    return [_decoder.decode(body) for (body,) in link.execute(_HELD, (key, after_ms))]


def held_by_all(link: Link, tenant: str, after_ms: int) -> list[Lease]:
    """The same of all agents of a tenant."""
    return [_decoder.decode(body) for (body,) in link.execute(_HELD_BY_ALL, (tenant + "/", tenant + "0", after_ms))]


def add_debits(link: Link, one: Lease, debits: Sequence[tuple[int, str, Operation]], at_ms: int) -> None:
    """Note debits of a lease, as (number, action, operation), that are to be settled."""
    rows = [
        (one.lease_id, number, one.key, at_ms, action, to_json(operation.record_ids), operation.records, None)
        for number, action, operation in debits
    ]
    insert_many(link, lease_debit, rows)


def debits(link: Link, lease_id: str) -> dict[int, Row]:
    """What is not settled of a lease, by number."""
    query = "SELECT number, action, record_ids, outcome_ms FROM lease_debit WHERE lease_id = ?"
    found = link.execute(query, (lease_id,))
    return {number: Row(number, action, msgspec.json.decode(ids), at_ms) for number, action, ids, at_ms in found}


def add_outcomes(link: Link, lease_id: str, numbers: Iterable[int], at_ms: int) -> None:
    """The outcomes of these debits were reported."""
    link.executemany(
        "UPDATE lease_debit SET outcome_ms = ? WHERE lease_id = ? AND number = ?",
        [(at_ms, lease_id, number) for number in numbers],
    )


def take_settled(link: Link, lease_id: str, judged_to_ms: int) -> tuple[int, int]:
    """Take out what is settled when all that was reported up to a time is judged: how many debits, and records."""
    found = link.execute(f"SELECT count(*), sum(records) {_SETTLED}", (lease_id, judged_to_ms)).fetchone()
    if found[0]:
        link.execute(f"DELETE {_SETTLED}", (lease_id, judged_to_ms))
    return int(found[0]), int(found[1] or 0)


def owed(link: Link, key: str, now_ms: int, judged_to_ms: int) -> Owed:
    """What an agent owes: see ``governance.leases.blindness``."""
    since_ms = now_ms - FORGOTTEN_MS
    unreported = link.execute(f"{_OWED} AND outcome_ms IS NULL", (key, since_ms)).fetchone()[0]
    unjudged = link.execute(_OWED, (key, max(since_ms, judged_to_ms))).fetchone()[0]
    return Owed(unreported_ms=unreported, unjudged_ms=unjudged)


def override(link: Link, key: str, at_ms: int, until_ms: int, by: str, reason: str) -> None:
    """A person lets a blind agent go on until a time."""
    link.execute(_OVERRIDE, (key, at_ms, until_ms, by, reason))


def overridden_until(link: Link, key: str, now_ms: int) -> int:
    """Until when a person lets it go on although it is blind; 0: nobody does."""
    query = "SELECT max(until_ms) FROM lease_override WHERE key = ? AND until_ms > ?"
    return int(link.execute(query, (key, now_ms)).fetchone()[0] or 0)


def drop_before(link: Link, at_ms: int, most: int = 200) -> None:
    """Drop some of the oldest leases, and what was never settled of them."""
    old = "SELECT lease_id FROM lease WHERE lease_id < ? ORDER BY lease_id LIMIT ?"
    bounds = (decision_prefix(at_ms), most)
    link.execute(f"DELETE FROM lease_debit WHERE lease_id IN ({old})", bounds)  # noqa: S608
    link.execute(f"DELETE FROM lease WHERE lease_id IN ({old})", bounds)  # noqa: S608
