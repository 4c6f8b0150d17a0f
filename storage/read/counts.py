"""Counts for the metrics."""

from __future__ import annotations

from sqlalchemy import func, or_, select

from storage import tables as t
from storage.read.reader import Reader
from storage.read.store import reading


def deals_by_band(reader: Reader) -> dict[str, int]:
    """Open deals of the reader's tenant by risk band; deals without a score are left out."""
    d = t.deal
    scored = select(d.c.band, func.count()).where(d.c.tenant == reader.tenant, d.c.is_open, d.c.band.is_not(None))
    with reading(reader.engine) as connection:
        return {row[0]: row[1] for row in connection.execute(scored.group_by(d.c.band))}


def oldest_unsent_ms(reader: Reader, wall_ms: int) -> int:
    """When the oldest notice that nobody has been told of yet was put into the outbox; 0 when none waits.

    What waits for a digest that is still to come (``wall_ms``: now) is not late.
    """
    o = t.outbox
    waiting = select(func.min(o.c.created_ms)).where(
        o.c.state == "new",
        o.c.kind == "notification",
        or_(o.c.attempts > 0, o.c.next_try_ms <= wall_ms, o.c.next_try_ms <= o.c.created_ms),
    )
    with reading(reader.engine) as connection:
        return connection.execute(waiting).scalar() or 0
