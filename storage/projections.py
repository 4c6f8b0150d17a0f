"""Write side of the read models that follow the stages' outputs: findings, deals, scores, top lists, alerts.

Everything here happens in the writer's transaction, and an output that comes again (same id) changes nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from events.times import parse_ms
from events.types import Alert, AlertEvent, FindingEvent, PortfolioScore, RiskEvent
from storage.link import Link
from storage.sql import insert, quoted, upsert
from storage.tables import alert, close_out, dead_letter, deal_score, finding, top

_FINDING = insert(finding, or_ignore=True)
_DEAL_SCORE = insert(deal_score, or_ignore=True)
_ALERT = insert(alert, or_ignore=True)
_TOP = upsert(top)
_CLOSE_OUT = upsert(close_out)
_RISK_COLUMNS = (
    "manager_id", "owner_id", "p_lost", "p_lost_14d", "p_slip", "p_won_by", "band", "base", "reasons", "model", "at_ms",
    "offset",
)  # fmt: skip
_NAME_COLUMNS = (
    "manager_id", "owner_id", "name", "account", "amount_minor", "currency", "stage", "close_date", "link", "is_open",
    "recommended_action", "at_ms",
)  # fmt: skip


def _deal_upsert(names: Sequence[str], condition: str = "") -> str:
    columns = ("key", "tenant", "deal_id", *names)
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in names)
    marks = ", ".join("?" * len(columns))
    return (
        f"INSERT INTO deal ({quoted(columns)}) VALUES ({marks}) "  # noqa: S608 - names are our own
        f"ON CONFLICT (key) DO UPDATE SET {sets}{condition}"
    )


_RISK = _deal_upsert(_RISK_COLUMNS, ' WHERE "deal"."offset" IS NULL OR excluded."offset" >= "deal"."offset"')
_NAMES = _deal_upsert(_NAME_COLUMNS)
_DEAD_COLUMNS = ("at_ms", "reason", "message", "origin", "raw", "tenant", "agent_id", "letter_id")
_DEAD = (
    f"INSERT INTO {dead_letter.name} ({quoted(_DEAD_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
    "ON CONFLICT (letter_id) DO NOTHING RETURNING id"
)
MOST = 10**15
_json = msgspec.json.Encoder()


def clamped(number: int | None) -> int | None:
    """A number that the database and its sums can hold; nobody means more than a thousand billion of anything."""
    return None if number is None else max(-MOST, min(MOST, number))


def to_json(value: Any) -> str:
    """A value as JSON text."""
    return _json.encode(value).decode()


def store_finding(link: Link, key: str, at_ms: int, offset: int, event: FindingEvent, status: str) -> bool:
    """Store a finding; False when it was there already."""
    data = event.data
    cursor = link.execute(
        _FINDING,
        (
            data.finding_id,
            key,
            data.agent_id,
            at_ms,
            offset,
            data.detector,
            data.mode,
            data.severity,
            data.action_taken,
            data.evidence.summary,
            status,
            to_json(event),
        ),
    )
    return cursor.rowcount > 0


def set_status(link: Link, finding_id: str, status: str) -> None:
    """Say what the authority did with a finding."""
    link.execute("UPDATE finding SET status = ? WHERE id = ?", (status, finding_id))


def store_risks(link: Link, risks: Sequence[tuple[str, str, int, RiskEvent]]) -> None:
    """Store deals' risks and their history. Each is (output id, key, at_ms, event)."""
    deals, scores = [], []
    for id_, key, at_ms, event in risks:
        data = event.data
        reasons = to_json(data.reasons)
        tenant, _, deal_id = key.partition("/")
        shared = (data.p_lost, data.p_lost_14d, data.p_slip)
        deals.append(
            (
                key, tenant, deal_id, data.manager_id, data.owner_id, *shared, to_json(data.p_won_by), data.band,
                data.base, reasons, to_json(data.model), at_ms, data.offset,
            )
        )  # fmt: skip
        scores.append((key, at_ms, id_, data.offset, *shared, data.band, data.base, reasons, data.cause))
    link.executemany(_RISK, deals)
    link.executemany(_DEAL_SCORE, scores)


def store_names(link: Link, scores: Sequence[tuple[str, int, PortfolioScore]]) -> None:
    """Store deals' names, money and stage. Each is (tenant, at_ms, score)."""
    link.executemany(
        _NAMES,
        [
            (
                f"{tenant}/{s.deal_id}", tenant, s.deal_id, s.manager_id or None, s.owner_id or None, s.deal or None,
                s.account or None, clamped(s.amount_minor), s.currency or None, s.stage or None, s.close_date or None,
                s.link or None, s.is_open, s.recommended_action or None, at_ms,
            )
            for tenant, at_ms, s in scores
        ],
    )  # fmt: skip


def store_top(link: Link, key: str, at_ms: int, rows: Sequence[Alert], hopeless: Sequence[Alert] = ()) -> None:
    """Replace a manager's list, and the list of what to close out."""
    _replace(link, "top", _TOP, key, at_ms, rows)
    _replace(link, "close_out", _CLOSE_OUT, key, at_ms, hopeless)


def _replace(link: Link, table: str, put: str, key: str, at_ms: int, rows: Sequence[Alert]) -> None:
    link.execute(f"DELETE FROM {table} WHERE key = ? AND rank > ?", (key, len(rows)))  # noqa: S608 - our own names
    link.executemany(
        put,
        [
            (key, rank, key.partition("/")[2], row.deal_id, at_ms, to_json(row))
            for rank, row in enumerate(rows, start=1)
        ],
    )


def store_alert(link: Link, id_: str, key: str, event: AlertEvent) -> bool:
    """Store an alert; False when it was there already."""
    data = event.data
    values = (id_, key, data.kind, data.manager_id, data.deal_id, parse_ms(data.at), "new", to_json(event))
    return link.execute(_ALERT, values).rowcount > 0


class Letter(Struct, frozen=True, kw_only=True):
    """A record that could not be read, as it is kept. ``letter_id``: of the event that told it and may come again."""

    at_ms: int
    reason: str
    message: str
    origin: dict[str, Any]
    raw: bytes
    tenant: str
    agent_id: str | None
    letter_id: str | None = None


def store_dead_letter(link: Link, letter: Letter) -> int | None:
    """Keep a record that could not be read; returns its number, None when that letter was there already."""
    values = (
        letter.at_ms, letter.reason, letter.message, to_json(letter.origin), letter.raw, letter.tenant,
        letter.agent_id, letter.letter_id,
    )  # fmt: skip
    found = link.execute(_DEAD, values).fetchall()
    return int(found[0][0]) if found else None


def settle_dead_letters(link: Link, ids: Sequence[int], now_ms: int) -> None:
    """Mark dead letters as re-driven."""
    link.executemany(
        "UPDATE dead_letter SET state = 'redriven', redriven_ms = ? WHERE id = ?", [(now_ms, each) for each in ids]
    )
