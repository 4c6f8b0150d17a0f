"""Findings and dead letters, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from storage import tables as t
from storage.read import rows
from storage.read.actions import BadCursor, is_count
from storage.read.tenants import keys_of
from storage.read.types import DeadLetterRow, FindingPage, FindingRow

as_row = rows.finding_row


def findings(
    connection: Connection,
    *,
    tenant: str,
    since_ms: int,
    agent_id: str | None,
    severity: str | None,
    mode: str | None,
    detector: str | None,
    without_info: bool,
    limit: int,
    cursor: str | None,
) -> FindingPage:
    """A page of findings that match every given filter."""
    f = t.finding
    limit = max(1, min(limit, 1_000))
    where: list[ColumnElement[bool]] = [f.c.at_ms >= since_ms]
    where += keys_of(f.c.key, tenant, agent_id or None)
    for column, wanted in ((f.c.severity, severity), (f.c.mode, mode), (f.c.detector, detector)):
        if wanted:
            where.append(column == wanted)
    if without_info:
        where.append(f.c.severity != "info")
    if cursor:
        at_ms, id_ = _parse(cursor)
        where.append(or_(f.c.at_ms < at_ms, and_(f.c.at_ms == at_ms, f.c.id < id_)))
    query = select(f).where(*where).order_by(f.c.at_ms.desc(), f.c.id.desc()).limit(limit + 1)
    found = connection.execute(query).all()
    page = found[:limit]
    following = f"{page[-1].at_ms}.{page[-1].id}" if len(found) > limit else None
    return FindingPage(_readable(page), following)


def _parse(cursor: str) -> tuple[int, str]:
    at_ms, dot, id_ = cursor.partition(".")
    if not dot or not is_count(at_ms):
        raise BadCursor(f"{cursor[:80]!r} is not a cursor of an answer of ours")
    return int(at_ms), id_


def _readable(found: Any) -> list[FindingRow]:
    return [row for row in map(rows.finding_row, found) if row is not None]


def of_agent(connection: Connection, key: str, since_ms: int, limit: int = 50) -> list[FindingRow]:
    """An agent's findings since a moment, newest first; what was only a notice is left out."""
    f = t.finding
    query = (
        select(f)
        .where(f.c.key == key, f.c.at_ms >= since_ms, f.c.severity != "info")
        .order_by(f.c.at_ms.desc(), f.c.id)
        .limit(limit)
    )
    return _readable(connection.execute(query).all())


def warnings_since(connection: Connection, tenant: str, since_ms: int) -> int:
    """How many findings of at least a warning there were."""
    f = t.finding
    where = (f.c.at_ms >= since_ms, *keys_of(f.c.key, tenant), f.c.severity != "info")
    return int(connection.execute(select(func.count()).select_from(f).where(*where)).scalar_one())


def dead_letters_since(connection: Connection, tenant: str, since_ms: int) -> int:
    """How many records could not be read and wait to be re-driven."""
    d = t.dead_letter
    where = (d.c.state == "new", d.c.at_ms >= since_ms, d.c.tenant == tenant)
    return int(connection.execute(select(func.count()).select_from(d).where(*where)).scalar_one())


def dead_letters(
    connection: Connection, tenant: str, state: str | None, limit: int, before_id: int | None
) -> list[DeadLetterRow]:
    """Records that could not be read, newest first, of one state or of all."""
    d = t.dead_letter
    query = select(d).where(d.c.tenant == tenant)
    if state is not None:
        query = query.where(d.c.state == state)
    if before_id is not None:
        query = query.where(d.c.id < before_id)
    found: list[Any] = list(connection.execute(query.order_by(d.c.id.desc()).limit(min(limit, 1_000))))
    return [rows.dead_letter_row(row) for row in found]


def dead_letters_that_wait(connection: Connection, tenant: str, limit: int, after_id: int) -> list[DeadLetterRow]:
    """Those that nobody has re-driven, oldest first, beyond a number."""
    d = t.dead_letter
    query = select(d).where(d.c.tenant == tenant, d.c.state == "new", d.c.id > after_id)
    found: list[Any] = list(connection.execute(query.order_by(d.c.id).limit(limit)))
    return [rows.dead_letter_row(row) for row in found]


def dead_letters_of(connection: Connection, tenant: str, ids: Sequence[int]) -> list[DeadLetterRow]:
    """Those of these numbers that there are, in whatever state, oldest first."""
    d = t.dead_letter
    query = select(d).where(d.c.tenant == tenant, d.c.id.in_(ids))
    found: list[Any] = list(connection.execute(query.order_by(d.c.id)))
    return [rows.dead_letter_row(row) for row in found]
