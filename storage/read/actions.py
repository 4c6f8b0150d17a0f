"""What agents did: reports, admissions not yet reported, and what the gate refused, newest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from events.catalogue import CATALOGUE
from storage import tables as t
from storage.read import rows
from storage.read.tenants import keys_of
from storage.read.types import ActionPage, ActionRow

MAX_LIMIT = 5_000
READS = tuple(name for name, kind in CATALOGUE.items() if not kind.is_write)


class BadCursor(ValueError):
    """A cursor that no answer of ours contained."""


def actions(
    connection: Connection,
    *,
    tenant: str,
    agent_id: str | None,
    since_ms: int,
    until_ms: int,
    object: str | None = None,
    action: str | None = None,
    record: str | None = None,
    deal_id: str | None = None,
    without_reads: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> ActionPage:
    """A page of actions with at_ms in [since_ms, until_ms].

    ``object`` and ``action`` are exact names; an action that ends in ``.*`` stands for all of its noun. ``record``
    is an id among those that the operation names. ``without_reads`` leaves out what changed nothing by its nature,
    unless the gate refused it.
    """
    limit = max(1, min(limit, MAX_LIMIT))
    after = _parse(cursor) if cursor else None
    a, g = t.action, t.gate_decision
    shared = {"object": object, "action": action, "record": record}
    reports = _where(a, tenant, agent_id, since_ms, until_ms, after, **shared)
    refusals = [*_where(g, tenant, agent_id, since_ms, until_ms, after, **shared), g.c.decision != "allow"]
    refusals.append(
        ~exists(select(a.c.key).where(a.c.key == g.c.key, a.c.at_ms >= g.c.at_ms, a.c.decision_id == g.c.decision_id))
    )
    if without_reads:
        reports.append(a.c.action.not_in(READS))
    if deal_id is not None:
        reports.append(a.c.deal_id == deal_id)
    by_report = connection.execute(
        select(a).where(*reports).order_by(a.c.at_ms.desc(), a.c.offset.desc()).limit(limit + 1)
    )
    found: list[ActionRow] = [rows.report_row(row) for row in by_report]
    if deal_id is None:
        by_refusal = connection.execute(
            select(g).where(*refusals).order_by(g.c.at_ms.desc(), g.c.decision_id.desc()).limit(limit + 1)
        )
        found += [rows.refusal_row(row) for row in by_refusal]
    found.sort(key=_order, reverse=True)
    page = found[:limit]
    return ActionPage(page, page[-1].cursor if len(found) > limit else None)


DEAL_OBJECTS = ("Opportunity", "opportunity", "Deal", "deal", "deals")
"""What CRMs call the record of a deal."""


def touches(
    connection: Connection, tenant: str, deal_id: str, since_ms: int, until_ms: int, limit: int
) -> list[ActionRow]:
    """What agents did to a deal's own record, newest first, by the index of records."""
    a, r = t.action, t.action_record
    query = (
        select(a)
        .join(r, and_(r.c.key == a.c.key, r.c.at_ms == a.c.at_ms, r.c.offset == a.c.offset))
        .where(
            r.c.tenant == tenant,
            r.c.object.in_(DEAL_OBJECTS),
            r.c.record_id == deal_id,
            r.c.at_ms >= since_ms,
            r.c.at_ms <= until_ms,
        )
        .order_by(r.c.at_ms.desc(), r.c.offset.desc())
        .limit(limit)
    )
    return [rows.report_row(row) for row in connection.execute(query)]


def _order(row: ActionRow) -> tuple[int, int, int, str]:
    if row.kind == "refusal":
        return row.at_ms, 0, 0, row.decision_id or ""
    return row.at_ms, 1, row.offset or 0, ""


def _parse(cursor: str) -> tuple[int, int, str]:
    at_ms, kind, place = [*cursor.split(".", 2), "", ""][:3]
    is_ours = is_count(at_ms) and (is_count(place) if kind == "1" else kind == "0" and place != "")
    if not is_ours:
        raise BadCursor(f"{cursor[:80]!r} is not a cursor of an answer of ours")
    return int(at_ms), int(kind), place


def is_count(text: str) -> bool:
    """Whether a text is a whole number that the store can hold."""
    return text.isascii() and text.isdigit() and len(text) <= 18


def _where(
    table: Any,
    tenant: str,
    agent_id: str | None,
    since_ms: int,
    until_ms: int,
    after: tuple[int, int, str] | None,
    *,
    object: str | None,
    action: str | None,
    record: str | None,
) -> list[ColumnElement[bool]]:
    c = table.c
    where: list[ColumnElement[bool]] = [c.at_ms >= since_ms, c.at_ms <= until_ms]
    where += keys_of(c.key, tenant, agent_id)
    if object:
        where.append(c.object == object)
    if action:
        where.append(c.action.startswith(action[:-1], autoescape=True) if action.endswith(".*") else c.action == action)
    if record:
        quoted = '"' + record.replace("\\", "\\\\").replace('"', '\\"') + '"'
        where.append(c.record_ids.contains(quoted, autoescape=True))
    if after is not None:
        where.append(_older(table, after))
    return where


def _older(table: Any, after: tuple[int, int, str]) -> ColumnElement[bool]:
    """Rows that come after the cursor in the order (time, reports before refusals, place), newest first."""
    at_ms, kind, place = after
    c = table.c
    earlier: ColumnElement[bool] = c.at_ms < at_ms
    if table is t.action:
        return or_(earlier, and_(c.at_ms == at_ms, c.offset < int(place))) if kind == 1 else earlier
    if kind == 1:
        return or_(earlier, c.at_ms == at_ms)
    return or_(earlier, and_(c.at_ms == at_ms, c.decision_id < place))
