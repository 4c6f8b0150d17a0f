"""What the forecast needs of all deals: owner, amount, chances, end, and since when they are known."""

from __future__ import annotations

from datetime import UTC, date, datetime

from msgspec import Struct
from sqlalchemy import Connection, select

from storage import tables as t
from storage.read import rows
from storage.read.reader import Reader
from storage.read.store import reading


class BookDeal(Struct, frozen=True, kw_only=True, gc=False):
    """One deal, open or closed. ``first_ms``: its first score; ``at_ms``: the last that was told of it.

    ``amount_minor`` is in minor units of ``currency``; ``p_lost`` None: never scored.
    """

    deal_id: str
    manager_id: str | None
    owner_id: str | None
    stage: str
    is_open: bool
    amount_minor: int | None
    currency: str | None
    p_lost: float | None
    p_won_by: dict[str, float]
    is_proven: bool
    first_ms: int
    at_ms: int
    account: str = ""
    close_text: str = ""

    @property
    def close_date(self) -> date | None:
        """The close date that was told, None where it is none."""
        try:
            return date.fromisoformat(self.close_text)
        except ValueError:
            return None

    @property
    def closed_day(self) -> date:
        """The day (UTC) of what was told last."""
        return datetime.fromtimestamp(self.at_ms / 1000, UTC).date()


class _Model(Struct):
    proven: bool = False


def book(reader: Reader) -> list[BookDeal]:
    """Every deal of the reader's tenant, by id, in one short transaction."""
    with reading(reader.engine) as connection:
        return _book(connection, reader.tenant)


def _book(connection: Connection, tenant: str) -> list[BookDeal]:
    d, s = t.deal, t.deal_score
    first = select(s.c.at_ms).where(s.c.key == d.c.key).order_by(s.c.at_ms).limit(1).correlate(d).scalar_subquery()
    columns = (
        d.c.deal_id, d.c.manager_id, d.c.owner_id, d.c.stage, d.c.is_open, d.c.amount_minor, d.c.currency, d.c.p_lost,
        d.c.p_won_by, d.c.model, d.c.at_ms, d.c.account, d.c.close_date, first.label("first_ms"),
    )  # fmt: skip
    query = select(*columns).where(d.c.tenant == tenant).order_by(d.c.deal_id)
    return [
        BookDeal(
            deal_id=row.deal_id,
            manager_id=row.manager_id,
            owner_id=row.owner_id,
            stage=row.stage or "",
            is_open=row.is_open is not False,
            amount_minor=row.amount_minor,
            currency=row.currency,
            p_lost=row.p_lost,
            p_won_by=rows.parse(row.p_won_by, dict[str, float], {}),
            is_proven=rows.parse(row.model, _Model, _Model()).proven,
            first_ms=row.first_ms if row.first_ms is not None else row.at_ms,
            at_ms=row.at_ms,
            account=row.account or "",
            close_text=row.close_date or "",
        )
        for row in connection.execute(query)
    ]
