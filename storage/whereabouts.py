"""Where records belong and what contacts allowed, as the CRM's events said last: what scopes at the gate look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from governance.consent import Said
from storage.link import Link
from storage.sql import insert
from storage.tables import consent, known_record

Belonging = tuple[str, str, str, str | None, int]
"""Tenant, record (canonical), "owner" or "segment", which one (None: the source lost it), and when."""
Allowed = tuple[str, str, str, str, str, int]
"""Tenant, contact (canonical), channel, purpose, status, and from when on."""

_BELONGING = (
    f"{insert(known_record)} ON CONFLICT (tenant, record_id, what) DO UPDATE SET value = excluded.value, "
    "at_ms = excluded.at_ms WHERE excluded.at_ms >= known_record.at_ms"
)
_ALLOWED = (
    f"{insert(consent)} ON CONFLICT (tenant, contact_id, channel, purpose) DO UPDATE "
    "SET status = excluded.status, at_ms = excluded.at_ms WHERE excluded.at_ms > consent.at_ms "
    "OR (excluded.at_ms = consent.at_ms AND excluded.status <> 'granted')"
)
_TOGETHER = 200
_SAID = "SELECT contact_id, channel, status, at_ms FROM consent WHERE tenant = ? AND contact_id IN ({})"
_KNOWN = "SELECT record_id, what, value FROM known_record WHERE tenant = ? AND value IS NOT NULL AND record_id IN ({})"


def know(link: Link, belonging: Iterable[Belonging], allowed: Iterable[Allowed]) -> None:
    """Remember what events said, in the order of the log; what is older than what is known changes nothing."""
    for text, rows in ((_BELONGING, [*belonging]), (_ALLOWED, [*allowed])):
        if rows:
            link.executemany(text, rows)


def said_by(link: Link, tenant: str, contact_ids: Sequence[str]) -> list[Said]:
    """What these contacts allowed and refused."""
    return [
        Said(contact_id=contact_id, channel=channel, status=status, at_ms=at_ms)
        for contact_id, channel, status, at_ms in _asked(link, _SAID, tenant, contact_ids)
    ]


def known_of(link: Link, tenant: str, record_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Owner and segment of these records, as far as they are known."""
    found: dict[str, dict[str, str]] = {}
    for record_id, what, value in _asked(link, _KNOWN, tenant, record_ids):
        found.setdefault(record_id, {})[what] = value
    return found


def _asked(link: Link, text: str, tenant: str, ids: Sequence[str]) -> Iterator[Any]:
    for start in range(0, len(ids), _TOGETHER):
        some = ids[start : start + _TOGETHER]
        yield from link.execute(text.format(", ".join("?" * len(some))), (tenant, *some))
