"""Agents: their rows on the overview, their five-minute counts, their stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from events.times import DAY_MS, HOUR_MS, MINUTE_MS
from storage import tables as t
from storage.read import rows
from storage.read.actions import READS
from storage.read.tenants import keys_of
from storage.read.types import AgentRow, Bin, ControlEntry, FindingRow, StopCounts

BIN_MS = 5 * MINUTE_MS
SPARK_MS = 4 * HOUR_MS
STOPPED = ("suspended", "releasing", "held", "throttled")
_MAX_BURST_RECORDS = 20_000


def stop_all(connection: Connection, tenant: str) -> ControlEntry | None:
    """The organisation's row that overrides every agent's, if anybody ever stopped all."""
    row = connection.execute(select(t.control).where(t.control.c.key == f"{tenant}/*")).first()
    return rows.control_entry(row) if row else None


def agent_rows(connection: Connection, tenant: str, now_ms: int, only: str | None = None) -> list[AgentRow]:
    """Every agent that was ever seen or controlled (or only one), by id; the caller sorts."""
    seen = connection.execute(select(t.agent).where(*keys_of(t.agent.c.key, tenant, only))).all()
    controls = {
        row.key: rows.control_entry(row)
        for row in connection.execute(select(t.control).where(*keys_of(t.control.c.key, tenant, only)))
        if row.agent_id != "*"
    }
    bins = _bins_of(connection, tenant, now_ms, only)
    records = _records_48h(connection, tenant, now_ms, only)
    known = {row.key: row for row in seen}
    past = _shadow_48h(connection, tenant, now_ms, only)
    keys = sorted(known.keys() | controls.keys())
    found = [
        _row(connection, key, known.get(key), controls.get(key), bins.get(key, {}), records.get(key, 0), now_ms)
        for key in keys
    ]
    return [replace(row, shadow_48h=past.get(key, 0)) for key, row in zip(keys, found, strict=True)]


def unseen(agent_id: str) -> AgentRow:
    """The row of an agent of which nothing is known but its name."""
    return AgentRow(agent_id=agent_id, control=None, bins=[], records_48h=0, last_write_ms=None, last_seen_ms=None)


def _row(
    connection: Connection,
    key: str,
    seen: Any | None,
    control: ControlEntry | None,
    bins: dict[int, Bin],
    records_48h: int,
    now_ms: int,
) -> AgentRow:
    stopped = control is not None and control.state in STOPPED
    finding = finding_by_id(connection, control.finding_id) if stopped and control else None
    counts = None
    if control is not None and control.state in ("suspended", "releasing"):
        counts = stop_counts(connection, key, stop_of(connection, key, control), finding)
    return AgentRow(
        agent_id=key.split("/", 1)[1],
        control=control,
        bins=fill(bins, now_ms - SPARK_MS, now_ms),
        records_48h=records_48h,
        last_write_ms=seen.last_write_ms if seen else None,
        last_seen_ms=seen.last_seen_ms if seen else None,
        first_seen_ms=seen.first_seen_ms if seen else None,
        agent_version=seen.agent_version if seen else None,
        stop=counts,
        finding=finding,
        asked=seen.admitted + seen.denied if seen else 0,
        acted=seen.actions + seen.changes if seen else 0,
    )


def _bins_of(connection: Connection, tenant: str, now_ms: int, only: str | None) -> dict[str, dict[int, Bin]]:
    query = select(t.agent_bin).where(
        *keys_of(t.agent_bin.c.key, tenant, only),
        t.agent_bin.c.bin_ms > now_ms - SPARK_MS - BIN_MS,
        t.agent_bin.c.bin_ms <= now_ms,
    )
    found: dict[str, dict[int, Bin]] = {}
    for row in connection.execute(query):
        found.setdefault(row.key, {})[row.bin_ms] = _bin(row)
    return found


def _bin(row: Any) -> Bin:
    return Bin(row.bin_ms, row.actions, row.denied, row.expected, row.limit)


def bins(connection: Connection, key: str, since_ms: int, until_ms: int) -> list[Bin]:
    """One agent's counts, without a gap, from the bin that holds ``since_ms`` to the one that holds ``until_ms``."""
    query = select(t.agent_bin).where(
        t.agent_bin.c.key == key, t.agent_bin.c.bin_ms > since_ms - BIN_MS, t.agent_bin.c.bin_ms <= until_ms
    )
    return fill({row.bin_ms: _bin(row) for row in connection.execute(query)}, since_ms, until_ms)


def fill(known: dict[int, Bin], since_ms: int, until_ms: int) -> list[Bin]:
    """The bins of a span with zeros where nothing happened.

    An empty bin's limit is the last one known within the hour before it, as the detector writes a bin only when it
    sees an action.
    """
    filled, last = [], None
    for start in range(since_ms // BIN_MS * BIN_MS, until_ms + 1, BIN_MS):
        item = known.get(start)
        if item is not None and item.limit is not None:
            last = item
        near = last is not None and start - last.start_ms <= HOUR_MS
        expected, limit = (last.expected, last.limit) if near and last else (None, None)
        if item is None:
            item = Bin(start, 0, 0, expected, limit)
        elif item.limit is None:
            item = Bin(start, item.actions, item.refused, expected, limit)
        filled.append(item)
    return filled


def _records_48h(connection: Connection, tenant: str, now_ms: int, only: str | None) -> dict[str, int]:
    query = (
        select(t.agent_bin.c.key, func.sum(t.agent_bin.c.records))
        .where(*keys_of(t.agent_bin.c.key, tenant, only), t.agent_bin.c.bin_ms > now_ms - 2 * DAY_MS)
        .group_by(t.agent_bin.c.key)
    )
    return {key: int(total or 0) for key, total in connection.execute(query)}


def _shadow_48h(connection: Connection, tenant: str, now_ms: int, only: str | None) -> dict[str, int]:
    """Writes of the last 48 hours that the gate knew nothing of."""
    c = t.outside_count
    query = (
        select(c.c.key, func.sum(c.c.number))
        .where(*keys_of(c.c.key, tenant, only), c.c.kind == "shadow", c.c.since_ms >= now_ms - 2 * DAY_MS)
        .group_by(c.c.key)
    )
    return {key: int(number) for key, number in connection.execute(query)}


def history(connection: Connection, key: str, limit: int = 50) -> list[ControlEntry]:
    """What the authority decided about an agent, newest first, only what changed something."""
    h = t.control_history
    query = select(h).where(h.c.key == key, h.c.changed.is_(True)).order_by(h.c.seq.desc()).limit(limit)
    return [rows.control_entry(row) for row in connection.execute(query)]


def stop_of(connection: Connection, key: str, control: ControlEntry) -> ControlEntry:
    """The decision that stopped a stopped agent: the first of the run of suspensions that lasts until now."""
    found = control
    for entry in history(connection, key):
        if entry.state not in ("suspended", "releasing"):
            break
        if entry.state == "suspended":
            found = entry
    return found


def finding_by_id(connection: Connection, finding_id: str | None) -> FindingRow | None:
    """A finding with its evidence, or None when it is unknown."""
    if not finding_id:
        return None
    row = connection.execute(select(t.finding).where(t.finding.c.id == finding_id)).first()
    return rows.finding_row(row) if row else None


def stop_counts(connection: Connection, key: str, stop: ControlEntry, finding: FindingRow | None) -> StopCounts:
    """Records written in the burst before a stop, and what passed and what was refused after it."""
    from_ms = burst_start(stop.at_ms, finding)
    a, g = t.action, t.gate_decision
    before = connection.execute(
        select(a.c.object, a.c.record_ids, a.c.records)
        .where(a.c.key == key, a.c.at_ms >= from_ms, a.c.at_ms <= stop.at_ms, _wrote())
        .limit(_MAX_BURST_RECORDS)
    ).all()
    after = and_(a.c.key == key, a.c.at_ms > stop.at_ms)
    decided = connection.execute(
        select(g.c.decision, func.count()).where(g.c.key == key, g.c.at_ms > stop.at_ms).group_by(g.c.decision)
    ).all()
    passed: dict[str, int] = {row[0]: row[1] for row in decided}
    bypassed = _count(
        connection, after, a.c.kind == "report", a.c.decision_id.is_(None), _wrote(), a.c.effect_ms > stop.at_ms
    )
    refused = passed.get("deny", 0) + passed.get("hold", 0)
    told = _count(connection, after, a.c.outcome == "denied", a.c.decision_id.is_(None))
    in_flight = _count(connection, a.c.key == key, a.c.at_ms > stop.at_ms - DAY_MS, a.c.kind == "admission")
    return StopCounts(
        stop.at_ms, from_ms, distinct_records(before), passed.get("allow", 0), refused + told, bypassed, in_flight
    )


def _count(connection: Connection, *where: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(t.action).where(*where)).scalar_one())


def _wrote() -> ColumnElement[bool]:
    """Writes that went through or may have: a report that says ok, or an admission not yet reported.

    An action without records and without recipients is a read or a thought; it changes nothing.
    """
    a = t.action
    went = or_(a.c.outcome == "ok", a.c.kind == "admission")
    return and_(went, a.c.action.not_in(READS), a.c.records + a.c.recipients > 0)


def burst_start(stopped_ms: int, finding: FindingRow | None) -> int:
    """When the burst that led to a stop began: as the finding's details say, else five minutes before it."""
    details = finding.finding.evidence.details if finding else {}
    for name, size in (("window_ms", 1), ("window_secs", 1000), ("window_min", MINUTE_MS)):
        length = details.get(name)
        if isinstance(length, int | float) and 0 < length * size <= DAY_MS:
            return stopped_ms - int(length * size)
    since = details.get("since_ms")
    return since if isinstance(since, int) and 0 <= stopped_ms - since <= DAY_MS else stopped_ms - BIN_MS


def distinct_records(found: Sequence[Any]) -> int:
    """How many different records a set of actions touched; operations that list none count what they say."""
    ids: set[tuple[str, str]] = set()
    unlisted = 0
    for row in found:
        listed = rows.parse(row.record_ids, list[str], [])
        ids.update((row.object or "", one) for one in listed)
        unlisted += 0 if listed else int(row.records)
    return len(ids) + unlisted
