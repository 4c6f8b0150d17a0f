"""What agents did with what they may, as the delegation board shows it, and what is known of readiness."""

from __future__ import annotations

from collections import defaultdict

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, func, select

from governance.policy.board import Seen
from governance.readiness import Stated
from storage import tables as t
from storage.read.tenants import keys_of

MOST_APPROVALS = 20_000
_DECIDED = {"allow": "allowed", "hold": "held", "deny": "denied"}


class Observed(Struct, frozen=True, kw_only=True):
    """Since a moment: by agent and action, what was seen; reverts by agent; agents seen before that moment."""

    seen: dict[str, dict[str, Seen]]
    reverts: dict[str, int]
    old: frozenset[str]
    decisions: int
    shadow_writes: int
    stated: dict[str, Stated]


class _Request(Struct, frozen=True):
    action: str = ""


class _Asked(Struct, frozen=True):
    agent_id: str
    state: str
    hash: str
    asked_hash: str
    by: str = ""
    request: _Request = _Request()


_read = msgspec.json.Decoder(_Asked).decode


def observed(connection: Connection, tenant: str, since_ms: int) -> Observed:
    """All of it. Reads each decision since then: some seconds where there are millions."""
    numbers: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    decisions = _decisions(connection, tenant, since_ms, numbers)
    _actions(connection, tenant, since_ms, numbers)
    _approvals(connection, tenant, since_ms, numbers)
    seen: dict[str, dict[str, Seen]] = defaultdict(dict)
    for (agent_id, action), those in numbers.items():
        seen[agent_id][action] = Seen(**those)
    a, f, o = t.agent, t.finding, t.outside_count
    old = select(a.c.agent_id).where(a.c.tenant == tenant, a.c.first_seen_ms <= since_ms, a.c.last_seen_ms > since_ms)
    found = (
        select(f.c.agent_id, func.count())
        .where(*keys_of(f.c.key, tenant), f.c.at_ms >= since_ms, f.c.detector == "human_revert")
        .group_by(f.c.agent_id)
    )
    shadow = select(func.coalesce(func.sum(o.c.number), 0)).where(
        *keys_of(o.c.key, tenant), o.c.kind == "shadow", o.c.last_ms >= since_ms
    )
    return Observed(
        seen=dict(seen),
        reverts={row.agent_id: row[1] for row in connection.execute(found)},
        old=frozenset(connection.execute(old).scalars()),
        decisions=decisions,
        shadow_writes=int(connection.execute(shadow).scalar() or 0),
        stated=_stated(connection),
    )


def _decisions(
    connection: Connection, tenant: str, since_ms: int, numbers: dict[tuple[str, str], dict[str, int]]
) -> int:
    d, total = t.gate_decision, 0
    query = (
        select(d.c.agent_id, d.c.action, d.c.decision, func.count())
        .where(*keys_of(d.c.key, tenant), d.c.at_ms >= since_ms)
        .group_by(d.c.agent_id, d.c.action, d.c.decision)
    )
    for agent_id, action, decision, number in connection.execute(query):
        numbers[agent_id, action][_DECIDED[decision]] += number
        total += number
    return total


def _actions(
    connection: Connection, tenant: str, since_ms: int, numbers: dict[tuple[str, str], dict[str, int]]
) -> None:
    a = t.action
    query = (
        select(a.c.agent_id, a.c.action, a.c.outcome, func.count())
        .where(*keys_of(a.c.key, tenant), a.c.at_ms >= since_ms, a.c.kind != "change")
        .group_by(a.c.agent_id, a.c.action, a.c.outcome)
    )
    for agent_id, action, outcome, number in connection.execute(query):
        numbers[agent_id, action]["done"] += number
        numbers[agent_id, action]["errors"] += number if outcome == "error" else 0


def _approvals(
    connection: Connection, tenant: str, since_ms: int, numbers: dict[tuple[str, str], dict[str, int]]
) -> None:
    a = t.approval
    query = (
        select(a.c.body)
        .where(*keys_of(a.c.key, tenant), a.c.answered_ms >= since_ms)
        .order_by(a.c.answered_ms.desc())
        .limit(MOST_APPROVALS)
    )
    for (body,) in connection.execute(query):
        one = _read(body)
        kind = "refused" if one.state == "refused" else "given" if one.hash == one.asked_hash else "edited"
        numbers[one.agent_id, one.request.action][kind] += 1


def _stated(connection: Connection) -> dict[str, Stated]:
    """The newest word on each item."""
    s = t.attestation
    rows = connection.execute(select(s.c.item, s.c.by_id, s.c.at_ms, s.c.note).order_by(s.c.at_ms))
    return {item: Stated(item=item, by=by, at_ms=at_ms, note=note) for item, by, at_ms, note in rows}
