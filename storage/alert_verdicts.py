"""What people said of deals' alerts: useful, known before, or wrong. A person's last word on an alert stands."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct
from sqlalchemy import and_, case, func, select

from events.types import Alert, AlertEvent
from storage.link import Link
from storage.read.reader import Reader
from storage.read.store import reading
from storage.read.tenants import keys_of
from storage.sql import upsert
from storage.tables import alert, alert_verdict, outbox

Verdict = Literal["useful", "known", "wrong"]
VERDICTS: tuple[Verdict, ...] = ("useful", "known", "wrong")
_PUT = upsert(alert_verdict)
_FIND = "SELECT id, key, kind, deal_id FROM alert WHERE id = ?"
_NEWEST = "SELECT id, key, kind, deal_id FROM alert WHERE deal_id = ? AND key > ? AND key < ? ORDER BY at_ms DESC, id"
_IS_HELD = and_(outbox.c.state == "new", outbox.c.attempts == 0, outbox.c.next_try_ms > outbox.c.created_ms)
_HELD = case((_IS_HELD, outbox.c.next_try_ms))
_decode = msgspec.json.Decoder(AlertEvent).decode
MOST_SHOWN = 5
MEASURED_DAYS = 90
"""What people said is measured over so many last days."""


class Named(Struct, frozen=True):
    """An alert, as far as feedback needs it; ``key`` is tenant/manager."""

    alert_id: str
    key: str
    kind: str
    deal_id: str


class Said(Struct, frozen=True, kw_only=True):
    """What a person said of an alert."""

    alert_id: str
    verdict: Verdict
    by: str
    reason: str
    at_ms: int


class AlertRow(Struct, frozen=True, kw_only=True):
    """An alert of a deal: when it was decided; ``held_ms``, the digest that it waits for, while it does; what people
    said of it, the last first."""

    id: str
    at_ms: int
    alert: Alert
    held_ms: int | None
    said: list[Said]


class Counts(Struct, frozen=True, kw_only=True):
    """Alerts given since a moment, and those of them that people judged, by their last word. ``kind`` "" = all.

    ``precision``: useful of the judged; None without any.
    """

    kind: str
    given: int
    judged: int
    useful: int
    known: int
    wrong: int
    precision: float | None


def find(link: Link, alert_id: str) -> Named | None:
    """An alert by its id."""
    row = link.execute(_FIND, (alert_id,)).fetchone()
    return None if row is None else Named(*row)


def newest(link: Link, tenant: str, deal_id: str) -> Named | None:
    """The last alert about a deal."""
    row = link.execute(_NEWEST, (deal_id, f"{tenant}/", f"{tenant}0")).fetchone()
    return None if row is None else Named(*row)


def say(link: Link, about: Named, said: Said) -> None:
    """Keep what a person said; what the same person said of it before is replaced."""
    link.execute(
        _PUT,
        (said.alert_id, said.by, said.verdict, about.key, about.kind, about.deal_id, said.reason, said.at_ms),
    )


def alerts_of(reader: Reader, deal_id: str) -> list[AlertRow]:
    """The last alerts about a deal, the newest first."""
    a, v = alert.c, alert_verdict.c
    with reading(reader.engine) as connection:
        query = (
            select(a.id, a.at_ms, a.body, _HELD.label("held_ms"))
            .select_from(alert.outerjoin(outbox, outbox.c.id == a.id))
            .where(a.deal_id == deal_id, *keys_of(a.key, reader.tenant))
            .order_by(a.at_ms.desc(), a.id)
            .limit(MOST_SHOWN)
        )
        found = connection.execute(query).all()
        words = select(alert_verdict).where(v.alert_id.in_([row.id for row in found])).order_by(v.at_ms.desc(), v.by_id)
        said: dict[str, list[Said]] = {}
        for row in connection.execute(words):
            one = Said(alert_id=row.alert_id, verdict=row.verdict, by=row.by_id, reason=row.reason, at_ms=row.at_ms)
            said.setdefault(row.alert_id, []).append(one)
    return [
        AlertRow(
            id=row.id,
            at_ms=row.at_ms,
            alert=_decode(row.body).data,
            held_ms=row.held_ms,
            said=said.get(row.id, []),
        )
        for row in found
    ]


def counts(reader: Reader, since_ms: int, manager_id: str | None = None) -> list[Counts]:
    """All alerts given since a moment, then those of each kind: how many, and what people said of them.

    Where several people spoke of an alert, the last word counts.
    """
    a, v = alert.c, alert_verdict.c
    where = [a.at_ms >= since_ms, *keys_of(a.key, reader.tenant, manager_id)]
    with reading(reader.engine) as connection:
        given = {
            kind: int(number)
            for kind, number in connection.execute(select(a.kind, func.count()).where(*where).group_by(a.kind))
        }
        query = (
            select(v.alert_id, v.kind, v.verdict)
            .select_from(alert_verdict.join(alert, a.id == v.alert_id))
            .where(*where)
            .order_by(v.at_ms, v.by_id)
        )
        last = {row.alert_id: (row.kind, row.verdict) for row in connection.execute(query)}
    kinds = sorted(given)
    return [_counts(kind, given, list(last.values())) for kind in ("", *kinds)]


def _counts(kind: str, given: dict[str, int], last: list[tuple[str, str]]) -> Counts:
    words = [verdict for of, verdict in last if kind in ("", of)]
    useful, known, wrong = (words.count(verdict) for verdict in VERDICTS)
    return Counts(
        kind=kind,
        given=given.get(kind, 0) if kind else sum(given.values()),
        judged=len(words),
        useful=useful,
        known=known,
        wrong=wrong,
        precision=useful / len(words) if words else None,
    )
