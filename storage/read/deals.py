"""Deals: a manager's five, one deal, its score over time."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import Connection, func, select

from storage import tables as t
from storage.read import rows
from storage.read.tenants import keys_of
from storage.read.types import CloseOut, DealRow, ScorePoint, TopDeals

MAX_POINTS = 2_000
MAX_CLOSE_OUT = 50


def managers(connection: Connection, tenant: str) -> list[str]:
    """Everybody who has a top list or an open deal, by id."""
    d = t.deal
    query = (
        select(d.c.manager_id)
        .where(d.c.tenant == tenant, d.c.manager_id.is_not(None), d.c.is_open.is_not(False))
        .group_by(d.c.manager_id)
        .order_by(d.c.manager_id)
    )
    return [name for (name,) in connection.execute(query)]


def top_deals(connection: Connection, tenant: str, manager_id: str | None, since_ms: int, size: int = 5) -> TopDeals:
    """A manager's five as the portfolio stage chose them; without a manager, the first of everybody's lists.

    ``since_ms`` is the moment against which the change of risk is shown.
    """
    chosen = select(t.top).where(*keys_of(t.top.c.key, tenant))
    if manager_id is not None:
        chosen = chosen.where(t.top.c.key == f"{tenant}/{manager_id}")
    ranked = connection.execute(chosen.order_by(t.top.c.rank, t.top.c.key).limit(size)).all()
    keys = [f"{tenant}/{row.deal_id}" for row in ranked]
    known = {row.key: row for row in connection.execute(select(t.deal).where(t.deal.c.key.in_(keys)))}
    before = {key: _p_lost_at(connection, key, since_ms) for key in keys}
    shown = [rows.deal_row(known[key], place, before[key]) for place, key in enumerate(keys, 1) if key in known]
    count, sums = _open(connection, tenant, manager_id)
    at_ms = max((row.at_ms for row in ranked), default=None)
    top_sums: dict[str, int] = defaultdict(int)
    for row in shown:
        if row.amount_minor is not None:
            top_sums[row.currency or ""] += row.amount_minor
    return TopDeals(manager_id, shown, count, at_ms, managers(connection, tenant), dict(top_sums), sums)


def close_out(connection: Connection, tenant: str, manager_id: str | None) -> CloseOut:
    """The deals that a manager should close out, of all managers without one; those that closed since are left out."""
    c, d = t.close_out, t.deal
    query = (
        select(d)
        .join(c, d.c.key == f"{tenant}/" + c.c.deal_id)
        .where(*keys_of(c.c.key, tenant, manager_id), d.c.is_open.is_not(False))
        .order_by(c.c.rank, c.c.key)
        .limit(MAX_CLOSE_OUT)
    )
    return CloseOut(manager_id, [rows.deal_row(row, place) for place, row in enumerate(connection.execute(query), 1)])


def _open(connection: Connection, tenant: str, manager_id: str | None) -> tuple[int, dict[str, int]]:
    d = t.deal
    where = [d.c.tenant == tenant, d.c.is_open.is_not(False)]
    if manager_id is not None:
        where.append(d.c.manager_id == manager_id)
    query = select(d.c.currency, func.count(), func.sum(d.c.amount_minor)).where(*where).group_by(d.c.currency)
    found = connection.execute(query).all()
    sums = {currency or "": int(total) for currency, _, total in found if total is not None}
    return sum(int(count) for _, count, _ in found), sums


def open_deals(connection: Connection, tenant: str, manager_id: str | None, limit: int = 200) -> list[DealRow]:
    """Open deals, the riskiest first."""
    d = t.deal
    query = select(d).where(d.c.tenant == tenant, d.c.is_open.is_not(False))
    if manager_id is not None:
        query = query.where(d.c.manager_id == manager_id)
    query = query.order_by(d.c.p_lost.is_(None), d.c.p_lost.desc(), d.c.deal_id).limit(limit)
    return [rows.deal_row(row) for row in connection.execute(query)]


def deal(connection: Connection, tenant: str, deal_id: str, since_ms: int) -> DealRow | None:
    """One deal with its last score, its place in its manager's five, and its risk at ``since_ms``."""
    key = f"{tenant}/{deal_id}"
    row = connection.execute(select(t.deal).where(t.deal.c.key == key)).first()
    if row is None:
        return None
    place = connection.execute(
        select(t.top.c.rank).where(t.top.c.key == f"{tenant}/{row.manager_id}", t.top.c.deal_id == deal_id)
    ).scalar()
    return rows.deal_row(row, place, _p_lost_at(connection, key, since_ms))


def score_at(connection: Connection, key: str, at_ms: int) -> ScorePoint | None:
    """The score that held at a moment."""
    s = t.deal_score
    query = select(s).where(s.c.key == key, s.c.at_ms <= at_ms).order_by(s.c.at_ms.desc(), s.c.offset.desc()).limit(1)
    row = connection.execute(query).first()
    return rows.score_point(row) if row else None


def _p_lost_at(connection: Connection, key: str, at_ms: int) -> float | None:
    found = score_at(connection, key, at_ms)
    return found.p_lost if found else None


def scores(connection: Connection, key: str, since_ms: int, limit: int = MAX_POINTS) -> list[ScorePoint]:
    """A deal's scores, oldest first, at most the newest ``limit``."""
    s = t.deal_score
    query = select(s).where(s.c.key == key, s.c.at_ms >= since_ms)
    newest = connection.execute(query.order_by(s.c.at_ms.desc(), s.c.offset.desc()).limit(limit)).all()
    return [rows.score_point(row) for row in reversed(newest)]
