"""Drills in the store: nothing is taken out, so that the history is whole."""

from __future__ import annotations

import msgspec

from events.times import parse_ms
from governance.drills import DrillResult
from storage.link import Link
from storage.sql import insert
from storage.tables import drill

_PUT = insert(drill, or_ignore=True)


def put(link: Link, result: DrillResult) -> None:
    """Keep a result, once."""
    body = msgspec.json.encode(result).decode()
    link.execute(_PUT, (result.id, parse_ms(result.at), result.scenario, result.passed, body))
