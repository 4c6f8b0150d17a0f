"""Whether a stop holds, as pages and the API show it: what was seen outside the gate, the feed, the gates."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import Connection, func, select

from events.times import DAY_MS
from storage import tables as t

_SHOWN = 20


class OutsideRow(Struct, frozen=True, kw_only=True, gc=False):
    """A change in the CRM by an agent's identity, not let pass. ``kind``: leaked, in_flight or shadow."""

    kind: str
    at_ms: int
    effect_ms: int
    identity: str
    object: str
    record_id: str
    op: str


class FeedRow(Struct, frozen=True, kw_only=True):
    """The change feed of one system ("": not named): the newest change that it told of, and when it told that."""

    system: str
    alive_ms: int
    heard_ms: int
    gap_ms: int | None = None
    canary_sent_ms: int | None = None
    canary_back_ms: int | None = None
    canary_error: str | None = None


class Containment(Struct, frozen=True, kw_only=True):
    """What was seen of an agent outside the gate.

    ``stop_ms``: the stop that lasts, None when it is not stopped; ``leaked`` and ``in_flight`` are since then.
    ``shadow_48h`` of the last 48 hours. ``writes``: the newest twenty.
    """

    stop_ms: int | None
    leaked: int = 0
    in_flight: int = 0
    last_leaked_ms: int | None = None
    shadow_48h: int = 0
    writes: list[OutsideRow] = []
    feeds: list[FeedRow] = []


def of_agent(connection: Connection, tenant: str, key: str, stop_ms: int | None, now_ms: int) -> Containment:
    """One agent. ``stop_ms``: when the stop that lasts was caused."""
    counts = _counts(connection, key, stop_ms) if stop_ms is not None else {}
    leaked, last = counts.get("leaked", (0, None))
    return Containment(
        stop_ms=stop_ms,
        leaked=leaked,
        in_flight=counts.get("in_flight", (0, None))[0],
        last_leaked_ms=last,
        shadow_48h=_counts(connection, key, now_ms - 2 * DAY_MS).get("shadow", (0, None))[0],
        writes=_writes(connection, key, now_ms - 2 * DAY_MS),
        feeds=feeds(connection, tenant),
    )


def feeds(connection: Connection, tenant: str) -> list[FeedRow]:
    """The feeds of all systems that were ever heard of."""
    f = t.crm_feed
    return [
        FeedRow(**{name: value for name, value in row._mapping.items() if name != "tenant"})
        for row in connection.execute(select(f).where(f.c.tenant == tenant).order_by(f.c.system))
    ]


def _counts(connection: Connection, key: str, since_ms: int) -> dict[str, tuple[int, int | None]]:
    c = t.outside_count
    query = (
        select(c.c.kind, func.sum(c.c.number), func.max(c.c.last_ms))
        .where(c.c.key == key, c.c.since_ms >= since_ms)
        .group_by(c.c.kind)
    )
    return {kind: (int(number), last) for kind, number, last in connection.execute(query)}


def _writes(connection: Connection, key: str, since_ms: int) -> list[OutsideRow]:
    w = t.outside_write
    shown = (w.c.kind, w.c.at_ms, w.c.effect_ms, w.c.identity, w.c.object, w.c.record_id, w.c.op)
    found = []
    for kind in ("leaked", "in_flight", "shadow"):
        query = (
            select(*shown)
            .where(w.c.key == key, w.c.kind == kind, w.c.effect_ms > since_ms)
            .order_by(w.c.effect_ms.desc())
            .limit(_SHOWN)
        )
        found += [OutsideRow(**row._mapping) for row in connection.execute(query)]
    return sorted(found, key=lambda row: row.effect_ms, reverse=True)[:_SHOWN]
