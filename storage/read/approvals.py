"""Approvals as pages and GET endpoints read them."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import Connection, func, select

from governance.approvals import OPEN, Approval
from storage import tables as t
from storage.approvals import read
from storage.read.tenants import keys_of


class ApprovalStep(Struct, frozen=True, kw_only=True):
    """One step of an approval: who did what, when, and from which state to which."""

    at_ms: int
    state_before: str
    state: str
    by_kind: str
    by_id: str
    why: str
    reason: str


class ApprovalCounts(Struct, frozen=True):
    """How many wait for an answer, and since when the oldest does; 0 when none does."""

    waiting: int
    oldest_ms: int


def listed(
    connection: Connection, tenant: str, now_ms: int, *, is_open: bool, agent_id: str | None, limit: int
) -> list[Approval]:
    """Those that wait for an answer, by deadline; or else all of them, the newest first."""
    a = t.approval
    query = select(a.c.body).where(*keys_of(a.c.key, tenant, agent_id or None)).limit(max(1, min(limit, 1_000)))
    if is_open:
        query = query.where(a.c.state == "pending", a.c.expires_ms > now_ms).order_by(a.c.expires_ms, a.c.id)
    else:
        query = query.order_by(a.c.id.desc())  # ids grow with time
    return [read(body) for (body,) in connection.execute(query)]


def one(connection: Connection, tenant: str, id_: str) -> tuple[Approval, list[ApprovalStep]] | None:
    """An approval with its steps, the oldest first."""
    a, h = t.approval, t.approval_history
    body = connection.execute(select(a.c.body).where(a.c.id == id_, a.c.key.startswith(f"{tenant}/"))).scalar()
    if body is None:
        return None
    columns = (h.c.at_ms, h.c.state_before, h.c.state, h.c.by_kind, h.c.by_id, h.c.why, h.c.reason)
    rows = connection.execute(select(*columns).where(h.c.approval_id == id_).order_by(h.c.seq)).mappings()
    return read(body), [ApprovalStep(**row) for row in rows]


def counts(connection: Connection, now_ms: int) -> ApprovalCounts:
    """What waits now, of all tenants."""
    a = t.approval
    where = (a.c.state == "pending", a.c.expires_ms > now_ms)
    number, oldest = connection.execute(select(func.count(), func.min(a.c.asked_ms)).where(*where)).one()
    return ApprovalCounts(number, oldest or 0)


def state_at(of: Approval, now_ms: int) -> str:
    """Its state at a time: what nobody has answered or used in time is over, also before that is written down."""
    return "expired" if of.state in OPEN and of.expires_ms <= now_ms else of.state
