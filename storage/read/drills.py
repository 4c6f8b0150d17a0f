"""Drills as pages, metrics and the API show them."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, select

from governance.drills import DrillResult
from storage.tables import drill

_decoder = msgspec.json.Decoder(DrillResult)


def newest(connection: Connection, most: int) -> list[DrillResult]:
    """The newest results first."""
    query = select(drill.c.body).order_by(drill.c.at_ms.desc(), drill.c.id.desc()).limit(most)
    return [_decoder.decode(body) for (body,) in connection.execute(query)]
