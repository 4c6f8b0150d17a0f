"""Containment inside an open transaction, shared by the runtimes: what the CRM tells of agents, against the gate.

What it means is ``governance.containment``'s; here decisions are looked up, and what comes of it is kept, told and
counted. An agent that is stopped and has no leases is judged at once; everything else may still get its decision, as
leases are reported later, and is looked at again when the grace period is over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec import UNSET
from xxhash import xxh3_128_hexdigest

from events.times import HOUR_MS, MINUTE_MS, format_ms
from events.types import ChangeEvent, Event, EvidenceData, tenant_of
from governance.containment import (
    Admitted,
    Kind,
    SeenWrite,
    Stop,
    by_key,
    canaries_of,
    effect_ms,
    is_covered,
    seen_in,
    stop_at,
    stops_in,
)
from governance.control import stop_all_key
from governance.operation import canonical_id
from storage import containment as store
from storage.gate import Row
from streams import levers
from streams.authority import Authority
from streams.envelopes import split_key

SPAN_MS = 10 * MINUTE_MS
"""One finding of a sort about an agent in so long; all are counted."""
LATE_MS = HOUR_MS
"""What the feed tells later than this is looked at for leaked actions alone: it may be history that is read again."""
Unfiled = Callable[[], Iterable[Row]]
"""Decisions that the store has not filed yet."""


def look(authority: Authority, events: Sequence[Event], known: Mapping[str, str], unfiled: Unfiled = tuple) -> None:
    """Take events of the CRM's feed: its life, and what agents did. ``known``: their users in the CRM."""
    _hear(authority, events)
    canaries = canaries_of(authority.settings)
    if canaries:
        events = [event for event in events if not _is_canary(authority, event, canaries)]
    seen = [one for event in events if (one := seen_in(event, known)) is not None]
    if seen:
        take(authority, seen, unfiled)


def take(authority: Authority, seen: Iterable[SeenWrite], unfiled: Unfiled = tuple) -> None:
    """Judge writes of agents that are stopped; the others wait for their decision."""
    waits = authority.settings.containment
    for key, writes in by_key(seen):
        stops = _stops(authority, key)
        agent = authority.settings.agents.get(writes[0].agent_id)
        has_leases = agent is not None and agent.lease_actions > 0
        after = [(one, stop) for one in writes if (stop := stop_at(stops, one.effect_ms)) is not None]
        at_once = [] if has_leases else after
        if at_once:
            _judge(authority, key, at_once, unfiled)
        is_watched = waits.shadow_writes == "all" or (waits.shadow_writes == "configured" and agent is not None)
        stopped = {one.event_id for one, _ in after}
        rest = [
            one
            for one in writes
            if (has_leases if one.event_id in stopped else is_watched and authority.now_ms - one.effect_ms < LATE_MS)
        ]
        if rest:
            store.wait(authority.link, key, authority.now_ms + _grace_ms(authority), rest)


def settle(authority: Authority, keys: Collection[str] | None = None, unfiled: Unfiled = tuple) -> None:
    """Look again at what is due. ``keys``: of these agents alone, which are locked."""
    for key in store.due_keys(authority.link, authority.now_ms) if keys is None else keys:
        writes = store.take_due(authority.link, key, authority.now_ms)
        if not writes:
            continue
        stops = _stops(authority, key)
        after = [(one, stop_at(stops, one.effect_ms)) for one in writes]
        _judge(authority, key, after, unfiled)


def stop_alls(keys: Iterable[str]) -> set[str]:
    """The rows that stop all agents of these agents' tenants."""
    return {stop_all_key(split_key(key)[0]) for key in keys}


def _judge(authority: Authority, key: str, writes: Sequence[tuple[SeenWrite, Stop | None]], unfiled: Unfiled) -> None:
    """Leaked, in flight, shadow, or as it should be."""
    grace_ms = _grace_ms(authority)
    let_pass = _admitted(authority, key, [one for one, _ in writes], unfiled)
    found: dict[tuple[Kind, int], list[SeenWrite]] = {}
    for one, stop in writes:
        is_let = is_covered(one, let_pass, grace_ms)
        if stop is not None:
            found.setdefault(("in_flight" if is_let else "leaked", stop.since_ms), []).append(one)
        elif not is_let:
            found.setdefault(("shadow", authority.now_ms // SPAN_MS * SPAN_MS), []).append(one)
    for (kind, since_ms), those in found.items():
        new, number = store.keep(authority.link, kind, since_ms, those, authority.now_ms)
        if not new:
            continue
        authority.count("outside_write", kind, number=new)
        authority.changed.add(("agent", key))
        if kind == "leaked" and authority.settings.containment.revoke_on_leak:
            levers.ask_once(authority, key, since_ms, "an action leaked after the stop")
        if kind != "in_flight":
            _say(authority, kind, since_ms, min(those, key=lambda one: one.effect_ms), number)


def _admitted(authority: Authority, key: str, writes: Sequence[SeenWrite], unfiled: Unfiled) -> list[Admitted]:
    grace_ms, times = _grace_ms(authority), [one.effect_ms for one in writes]
    filed = store.admitted(authority.link, key, min(times) - grace_ms, max(times) + grace_ms)
    return [*filed, *store.admitted_in(unfiled(), key)]


def _stops(authority: Authority, key: str) -> list[Stop]:
    """When the agent, or all agents, were stopped."""
    rows = (key, stop_all_key(split_key(key)[0]))
    return [
        stop
        for each in rows
        if authority.row_of(each) is not None
        for stop in stops_in(store.history(authority.link, each))
    ]


def _grace_ms(authority: Authority) -> int:
    return int(1000 * authority.settings.containment.grace_secs)


def _hear(authority: Authority, events: Sequence[Event]) -> None:
    """The newest time that each system's feed tells of; never ahead of now."""
    alive: dict[tuple[str, str], int] = {}
    gaps: set[tuple[str, str]] = set()
    for event in events:
        if type(event) is not ChangeEvent:
            continue
        system = event.data.system
        place = (tenant_of(event), system if system is not UNSET and system else "")
        if event.data.op == "gap":
            gaps.add(place)
        else:
            alive[place] = max(alive.get(place, 0), effect_ms(event))
    now_ms = authority.now_ms
    for place in sorted(alive.keys() | gaps):
        gap_ms = now_ms if place in gaps else None
        store.heard(authority.link, *place, min(alive.get(place, 0), now_ms), now_ms, gap_ms)


def _is_canary(authority: Authority, event: Event, canaries: Mapping[str, str]) -> bool:
    """Whether it is a canary that has come back."""
    if type(event) is not ChangeEvent or event.data.op == "gap":
        return False
    system = canaries.get(canonical_id(event.data.record_id))
    if system is None or (event.data.system is not UNSET and event.data.system != system):
        return False
    store.canary_back(authority.link, tenant_of(event), system, authority.now_ms)
    return True


def _say(authority: Authority, kind: Kind, since_ms: int, first: SeenWrite, number: int) -> None:
    what = f"{first.op} of {first.object} {first.ids[0] if first.ids else ''}".strip()
    if kind == "leaked":
        text = f"its identity changed the CRM after it was stopped: {number} so far, such as {what}"
        would_clear = "no change under its identity after the stop"
    else:
        text = f"its identity changed the CRM without a decision of the gate: {number} in ten minutes, such as {what}"
        would_clear = "a decision of the gate on each change"
    span = authority.now_ms // SPAN_MS
    id_ = xxh3_128_hexdigest(f"{authority.engine_id}\x1f{kind}\x1f{first.key}\x1f{since_ms}\x1f{span}".encode())
    evidence = EvidenceData(
        summary=text,
        observed=number,
        expected=0,
        limit=0,
        unit="changes",
        events=[],
        would_clear=would_clear,
        details={"identity": first.identity, "first": format_ms(first.effect_ms), "kind": kind},
    )
    is_leaked = kind == "leaked"
    if authority.warn(id_, first.key, first.agent_id, evidence, severity="critical" if is_leaked else "warning"):
        authority.count("finding", "gate", "warn")
