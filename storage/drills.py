"""Drills in the store: nothing is taken out, so that the history is whole."""

from __future__ import annotations

import msgspec

from events.times import parse_ms
from governance.drills import DrillResult
from storage.link import Link
from storage.sql import insert
from storage.tables import drill

_PUT = insert(drill, or_ignore=True)
_decoder = msgspec.json.Decoder(DrillResult)


def put(link: Link, result: DrillResult) -> None:
    """Keep a result, once."""
    body = msgspec.json.encode(result).decode()
    link.execute(_PUT, (result.id, parse_ms(result.at), result.scenario, result.passed, body))


def newest(link: Link, most: int) -> list[DrillResult]:
    """The newest results first."""
    rows = link.execute("SELECT body FROM drill ORDER BY at_ms DESC, id DESC LIMIT ?", (most,)).fetchall()
    return [_decoder.decode(body) for (body,) in rows]
