"""What consoles that share one PostgreSQL ask it at the beginning of a transaction, with the agents' keys locked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from governance.gate import Remembered, Rule
from governance.operation import Operation
from storage.gate import LAST_ANSWER, operations, remembered_as
from storage.link import Cursor, Link

_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_SEQS = "SELECT key, seq FROM gate_agent WHERE key = ANY(?::text[])"
_LAST = LAST_ANSWER.format(key="asked.key", id="asked.id")
_ANSWERS = (
    "SELECT asked.key, asked.id, found.* FROM unnest(?::text[], ?::text[]) AS asked (key, id), "  # noqa: S608
    f"LATERAL ({_LAST}) AS found"
)
_ADMITTED = (
    "SELECT at_ms, action, record_ids, recipient_ids, records, recipients FROM gate_decision "
    "WHERE key = ? AND at_ms > ? AND seq > ? AND decision = 'allow' ORDER BY seq"
)
_KNOWN = "SELECT contact_id FROM known_contact WHERE tenant = ? AND contact_id = ANY(?::text[])"
_EXPIRED = "SELECT key FROM control WHERE state = 'throttled' AND expires_ms <= ?"
_COUNTS = "SELECT state, by_kind, key LIKE '%/*', count(*) FROM control GROUP BY 1, 2, 3"

_ON_ITS_WAY_MS = 3_000


def ask_now(link: Link) -> Cursor:
    """The store's clock, one for all consoles: milliseconds since 1970 in one row of one column."""
    return link.execute(_NOW)


def now_ms(link: Link) -> int:
    """The same, at once."""
    return int(ask_now(link).fetchone()[0])


def ask_seqs(link: Link, keys: Collection[str]) -> Cursor:
    """How many operations of each agent were admitted so far, as (key, number); an agent never admitted is missing."""
    return link.execute(_SEQS, (list(keys),))


def ask_answers(link: Link, asked: Collection[tuple[str, str]]) -> Cursor:
    """The answers last given under these (key, request id); see ``answers``."""
    return link.execute(_ANSWERS, ([key for key, _ in asked], [id_ for _, id_ in asked], Rule.REQUEST_ID.value))


def answers(found: Cursor) -> dict[tuple[str, str], Remembered]:
    """What ``ask_answers`` asked for."""
    return {(key, id_): remembered_as(*row) for key, id_, *row in found}


def admitted_after(link: Link, key: str, at_ms: int, seq: int) -> Iterator[tuple[int, Operation]]:
    """When and what was admitted for an agent after a time and a number, in the order of admission."""
    return operations(link.execute(_ADMITTED, (key, at_ms, seq)))


def unknown_contacts(link: Link, tenant: str, contact_ids: Sequence[str]) -> list[str]:
    """Those contacts with whom nobody of the tenant was in touch."""
    known = {row[0] for row in link.execute(_KNOWN, (tenant, list(contact_ids)))}
    return [each for each in contact_ids if each not in known]


def judged_to(link: Link, key: str, saved_ms: int) -> int:
    """Up to when all admissions of an agent are judged, when the workers have saved all that came before a time.

    Never too late as long as an admission is in the log within three seconds of its transaction, or is still known
    to be on its way.
    """
    oldest = link.execute("SELECT min(created_ms) FROM publication WHERE key = ?", (key,)).fetchone()[0]
    known = saved_ms - _ON_ITS_WAY_MS
    return known if oldest is None else min(known, int(oldest) - 1)


def expired(link: Link, at_ms: int) -> list[str]:
    """Keys of the throttles whose time was over at a time."""
    return [row[0] for row in link.execute(_EXPIRED, (at_ms,))]


def control_counts(link: Link) -> list[tuple[str, str, bool, int]]:
    """How many control rows there are by state, by what sort of decider, and whether they stop all."""
    return link.execute(_COUNTS).fetchall()
