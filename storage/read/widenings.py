"""Mutes, expectations, and the ledger of stops that people called wrong."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from governance.widening import Widening
from storage import tables as t
from storage.read.tenants import keys_of
from storage.widenings import read

MOST = 200
STOPS = ("suspend", "hold")
"""What counts as a stop when it was acted on."""


class Stops(Struct, frozen=True, kw_only=True):
    """Of one detector: stops that were acted on, those called wrong by people, those agreed to be expected."""

    detector: str
    stops: int
    wrong: int
    expected: int


class Ledger(Struct, frozen=True, kw_only=True):
    """Stops by detector since a moment, and how long agents were seen since then, together (ms)."""

    agent_ms: int
    agents: int
    stops: list[Stops]


def widenings(
    connection: Connection, tenant: str, agent_id: str | None, now_ms: int, *, with_over: bool
) -> list[Widening]:
    """Mutes and expectations, newest first; by default those that wait or hold."""
    w = t.widening
    where = [*keys_of(w.c.key, tenant, agent_id or None), w.c.kind != "policy"]
    return _found(connection, where, now_ms, with_over=with_over)


def policy_changes(connection: Connection, tenant: str, now_ms: int, *, with_over: bool) -> list[Widening]:
    """Wider policies that people asked for, newest first; by default those that wait or hold."""
    w = t.widening
    where = [*keys_of(w.c.key, tenant, "*policy"), w.c.kind == "policy"]
    return _found(connection, where, now_ms, with_over=with_over)


def _found(
    connection: Connection, where: Sequence[ColumnElement[bool]], now_ms: int, *, with_over: bool
) -> list[Widening]:
    w = t.widening
    if not with_over:
        where = [*where, w.c.until_ms > now_ms, w.c.state.in_(("waiting", "agreed"))]
    query = select(w.c.body).where(*where).order_by(w.c.asked_ms.desc(), w.c.id).limit(MOST)
    found = [read(body) for (body,) in connection.execute(query)]
    return [one for one in found if with_over or one.state_at(now_ms) in ("waiting", "agreed")]


def verdicts(connection: Connection, finding_ids: list[str]) -> dict[str, str]:
    """What was said of findings; "expected" goes before "wrong" where both were."""
    v = t.finding_verdict
    query = select(v.c.finding_id, v.c.verdict).where(v.c.finding_id.in_(finding_ids)).order_by(v.c.verdict.desc())
    return {row.finding_id: row.verdict for row in connection.execute(query)}


def ledger(connection: Connection, tenant: str, since_ms: int, now_ms: int) -> Ledger:
    """What the budget of false stops is held against. An agent counts from its first action to its last."""
    a, f, v = t.agent, t.finding, t.finding_verdict
    first = case((a.c.first_seen_ms > since_ms, a.c.first_seen_ms), else_=since_ms)
    seen = select(func.count(), func.coalesce(func.sum(a.c.last_seen_ms - first), 0)).where(
        a.c.tenant == tenant, a.c.last_seen_ms > since_ms
    )
    agents, agent_ms = connection.execute(seen).one()
    wrong = and_(v.c.finding_id == f.c.id, v.c.verdict == "wrong")
    expected = v.alias("expected")
    is_expected = and_(expected.c.finding_id == f.c.id, expected.c.verdict == "expected")
    query = (
        select(f.c.detector, func.count(), func.count(v.c.finding_id), func.count(expected.c.finding_id))
        .select_from(f.outerjoin(v, wrong).outerjoin(expected, is_expected))
        .where(f.c.at_ms >= since_ms, f.c.at_ms <= now_ms, *keys_of(f.c.key, tenant))
        .where(f.c.status == "applied", f.c.action_taken.in_(STOPS))
        .group_by(f.c.detector)
        .order_by(f.c.detector)
    )
    found = [
        Stops(detector=name, stops=stops, wrong=wrong_ones, expected=expected_ones)
        for name, stops, wrong_ones, expected_ones in connection.execute(query)
    ]
    return Ledger(agent_ms=max(0, int(agent_ms)), agents=int(agents), stops=found)
