"""A day's quality of the CRM data: a row for all, each team and each owner, written again when it changes."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import select

from storage.link import Link
from storage.read.reader import Reader
from storage.read.store import reading
from storage.sql import upsert
from storage.tables import deal_quality, snapshot

_KEEP = upsert(deal_quality)
MAX_DAYS = 400


class QualityRow(Struct, frozen=True):
    """One row of ``deal_quality``; ``scope`` is all, team or owner."""

    tenant: str
    day: str
    scope: str
    name: str
    score: float
    deals: int
    flaws: int


class QualityPoint(Struct, frozen=True):
    """All deals' score on a day."""

    day: str
    score: float
    deals: int
    flaws: int


def keep(link: Link, rows: Sequence[QualityRow]) -> None:
    """Store a day's rows; later ones of the same day take their place."""
    link.executemany(_KEEP, [(r.tenant, r.day, r.scope, r.name, r.score, r.deals, r.flaws) for r in rows])


def trend(reader: Reader) -> list[QualityPoint]:
    """The score of all deals, a point a day, the oldest first."""
    q = deal_quality.c
    query = (
        select(q.day, q.score, q.deals, q.flaws)
        .where(q.tenant == reader.tenant, q.scope == "all")
        .order_by(q.day.desc())
        .limit(MAX_DAYS)
    )
    with reading(reader.engine) as connection:
        return [QualityPoint(*row) for row in reversed(connection.execute(query).all())]


def deal_states(reader: Reader) -> list[tuple[str, bytes]]:
    """The states of the tenant's deals as the engine last wrote them: (key, blob). None are kept here on Kafka."""
    query = select(snapshot.c.key, snapshot.c.blob).where(
        snapshot.c.stage == "deals", snapshot.c.key > f"{reader.tenant}/", snapshot.c.key < f"{reader.tenant}0"
    )
    with reading(reader.engine) as connection:
        return [(key, bytes(blob)) for key, blob in connection.execute(query.order_by(snapshot.c.key))]
