"""Whether a stop holds, as pages and the API show it: what was seen outside the gate, the feed, the gates."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, and_, func, or_, select

from events.times import DAY_MS
from governance.holding import FeedLife, GateBeat, Pending, StopFacts
from governance.leases import outstanding
from storage import tables as t
from storage.read.leases import living
from storage.revocations import Revocation

LATER = ("sequence.enroll", "meeting.schedule")
"""What goes on by itself after it was done."""
AUTOMATIONS = (
    "flow", "flowdefinition", "workflow", "workflowrule", "automation", "sequence", "apextrigger", "scheduledjob",
    "crontrigger", "scheduledemail", "marketingemail", "marketing_email", "validationrule", "assignmentrule",
)  # fmt: skip
_SHOWN = 20
_FEED = {"gap_ms": "lost_ms"}
_ids = msgspec.json.Decoder(list[str])


class OutsideRow(Struct, frozen=True, kw_only=True, gc=False):
    """A change in the CRM by an agent's identity, not let pass. ``kind``: leaked, in_flight or shadow."""

    kind: str
    at_ms: int
    effect_ms: int
    identity: str
    object: str
    record_id: str
    op: str


class Containment(Struct, frozen=True, kw_only=True):
    """What was seen of an agent outside the gate.

    ``stop_ms``: the stop that lasts, None when it is not stopped; ``leaked`` and ``in_flight`` are since then.
    ``shadow_48h`` of the last 48 hours. ``writes``: the newest twenty. ``stop``: what is known of that stop.
    ``revocations``: credentials that were to be taken away, the newest first.
    """

    stop_ms: int | None
    leaked: int = 0
    in_flight: int = 0
    last_leaked_ms: int | None = None
    shadow_48h: int = 0
    writes: list[OutsideRow] = []
    feeds: list[FeedLife] = []
    stop: StopFacts | None = None
    revocations: list[Revocation] = []


def of_agent(
    connection: Connection, tenant: str, key: str, stop_ms: int | None, now_ms: int, decided_ms: int | None = None
) -> Containment:
    """One agent. ``stop_ms``: when the stop that lasts was caused; ``decided_ms``: when it was decided."""
    counts = _counts(connection, key, stop_ms) if stop_ms is not None else {}
    leaked, last = counts.get("leaked", (0, None))
    found = Containment(
        stop_ms=stop_ms,
        leaked=leaked,
        in_flight=counts.get("in_flight", (0, None))[0],
        last_leaked_ms=last,
        shadow_48h=_counts(connection, key, now_ms - 2 * DAY_MS).get("shadow", (0, None))[0],
        writes=_writes(connection, key, now_ms - 2 * DAY_MS),
        feeds=feeds(connection, tenant),
        revocations=_revocations(connection, key),
    )
    if stop_ms is None:
        return found
    stop = facts(connection, key, found, stop_ms if decided_ms is None else decided_ms, now_ms)
    return replace(found, stop=stop)


def facts(connection: Connection, key: str, found: Containment, decided_ms: int, now_ms: int) -> StopFacts:
    """What is known of a stop that lasts."""
    stop_ms = found.stop_ms or decided_ms
    tenant, _, agent_id = key.partition("/")
    leases = [one for one in living(connection, tenant, now_ms) if one.ask.agent_id == agent_id]
    return StopFacts(
        stop_ms=stop_ms,
        decided_ms=decided_ms,
        now_ms=now_ms,
        gates=gates(connection),
        feeds=found.feeds,
        leaked=found.leaked,
        in_flight=found.in_flight,
        last_leaked_ms=found.last_leaked_ms,
        lease_actions=outstanding(leases, now_ms)[0],
        lease_end_ms=max((one.end_ms for one in leases), default=None),
        pending=_with_outcomes(connection, key, decided_ms, pending(connection, key, stop_ms)),
        cancellations=_cancellations(connection, key, decided_ms),
    )


def feeds(connection: Connection, tenant: str) -> list[FeedLife]:
    """The feeds of all systems that were ever heard of."""
    f = t.crm_feed
    return [
        FeedLife(**{_FEED.get(name, name): value for name, value in row._mapping.items() if name != "tenant"})
        for row in connection.execute(select(f).where(f.c.tenant == tenant).order_by(f.c.system))
    ]


def gates(connection: Connection) -> list[GateBeat]:
    """What the gates last said of themselves; none where one server is gate and authority."""
    return [GateBeat(**row._mapping) for row in connection.execute(select(t.gate_beat).order_by(t.gate_beat.c.gate))]


def pending(connection: Connection, key: str, stop_ms: int, most: int = _SHOWN) -> list[Pending]:
    """What an agent set up in the 48 hours before a stop, and what may still happen: the newest, each record once.

    People put into sequences, meetings, and automations that it made.
    """
    a = t.action
    query = (
        select(a.c.at_ms, a.c.action, a.c.object, a.c.record_ids, a.c.reviewed_by)
        .where(
            a.c.key == key,
            a.c.at_ms > stop_ms - 2 * DAY_MS,
            a.c.kind != "change",
            a.c.outcome.in_(("ok", "admitted")),
            or_(
                a.c.action.in_(LATER),
                and_(a.c.action == "record.create", func.lower(a.c.object).in_(AUTOMATIONS)),
            ),
        )
        .order_by(a.c.at_ms.desc(), a.c.offset.desc())
        .limit(most)
    )
    found: dict[tuple[str, str, str], Pending] = {}
    for at_ms, action, what, ids, reviewed_by in connection.execute(query):
        for id_ in (_ids.decode(ids) if ids else None) or [""]:
            one = Pending(
                at_ms=at_ms, action=action, object=what or "", record_id=id_, reviewed_by=reviewed_by or ""
            )  # fmt: skip
            found.setdefault((one.action, one.object, one.record_id), one)
    return list(found.values())[:most]


def _with_outcomes(connection: Connection, key: str, since_ms: int, found: list[Pending]) -> list[Pending]:
    """The same, with what came of cancelling each."""
    c = t.cancellation
    query = select(c.c.action, c.c.object, c.c.record_id, c.c.state, c.c.result).where(
        c.c.key == key, c.c.since_ms == since_ms, c.c.record_id.in_({one.record_id for one in found})
    )
    known = {(action, what, id_): (state, result) for action, what, id_, state, result in connection.execute(query)}
    outcomes = [known.get((one.action, one.object, one.record_id), ("", "")) for one in found]
    return [replace(one, state=state, result=result) for one, (state, result) in zip(found, outcomes, strict=True)]


def _cancellations(connection: Connection, key: str, since_ms: int) -> dict[str, int]:
    c = t.cancellation
    query = select(c.c.state, func.count()).where(c.c.key == key, c.c.since_ms == since_ms).group_by(c.c.state)
    return {state: int(number) for state, number in connection.execute(query.order_by(c.c.state))}


def _revocations(connection: Connection, key: str) -> list[Revocation]:
    r = t.revocation
    query = select(r).where(r.c.key == key).order_by(r.c.asked_ms.desc(), r.c.id).limit(_SHOWN)
    return [Revocation(**row._mapping) for row in connection.execute(query)]


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
