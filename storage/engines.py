"""Which engine's findings count: one row of the store, changed together with the records that tell the engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from events.types import MAIN_ENGINE
from storage import publication, shared
from storage.link import Link
from storage.postgres import lock_keys
from storage.publication import Publication
from storage.sql import upsert
from storage.tables import meta

_LOCK = "tripline: engines"
_ROW = "active_engine"
_READ = "SELECT value FROM meta WHERE name = ?"
_KEEP = upsert(meta)


class Engines(Struct, frozen=True, kw_only=True):
    """The active engine, and how it came to be that: the ``version``-th switch, by whom, why, when (Unix ms)."""

    active: str = MAIN_ENGINE
    previous: str = MAIN_ENGINE
    version: int = 0
    by: str = ""
    reason: str = ""
    at_ms: int = 0

    @property
    def obeyed(self) -> frozenset[str]:
        """Engines whose findings count. The previous one's do when they are about what lies before the switch, and
        others it does not write where findings are obeyed."""
        return frozenset((self.active, self.previous))


def engines(link: Link) -> Engines:
    """What the store says now."""
    row = link.execute(_READ, (_ROW,)).fetchone()
    return Engines() if row is None else msgspec.json.decode(row[0], type=Engines)


def switch(
    link: Link, engine: str, by: str, reason: str, records: Callable[[Engines, int], Iterable[Publication]]
) -> Engines:
    """Make an engine the active one, in one transaction with the ``records`` that tell all engines so (made of what
    will be, and the time in Unix ms). Raises StoreError; then nothing has changed."""
    link.execute("BEGIN IMMEDIATE")
    lock_keys(link, (_LOCK,))
    was, now_ms = engines(link), shared.now_ms(link)
    previous = was.previous if was.active == engine else was.active
    made = Engines(active=engine, previous=previous, version=was.version + 1, by=by, reason=reason, at_ms=now_ms)
    link.execute(_KEEP, (_ROW, msgspec.json.encode(made).decode()))
    publication.put(link, list(records(made, now_ms)))
    link.execute("COMMIT")
    return made
