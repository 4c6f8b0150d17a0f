"""Which events the log accepted lately, so that a producer's retry is answered and not stored again.

Kept by hash: (source, id) → hash of the bytes. Rebuilt after a restart from the hashes that lie beside the log's
segments. Limit: the newest ``CAPACITY`` events over all producers; an older retry is caught by the stages as long as
fewer than 1,024 other events of its key came between, or its producer numbers its events.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence

from xxhash import xxh3_64_intdigest

from events.types import Event
from storage import log
from streams.standalone.types import Prepared

CAPACITY = 262_144
_pair = struct.Struct("<QQ")


class RecentEvents:
    """The newest accepted events, the oldest forgotten first: ``known`` maps hash of id to hash of content."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.known: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.known)

    def add(self, id_hash: int, content_hash: int) -> None:
        """Remember an accepted event."""
        known = self.known
        known[id_hash] = content_hash
        if len(known) > self.capacity:
            del known[next(iter(known))]

    def add_all(self, items: Sequence[Prepared]) -> bool:
        """Remember events that are all new; False, and nothing remembered, when one of them is known or comes twice."""
        new = {item.id_hash: item.content_hash for item in items}
        known = self.known
        if len(new) < len(items) or not known.keys().isdisjoint(new):
            return False
        known.update(new)
        while len(known) > self.capacity:
            del known[next(iter(known))]
        return True

    def load(self, link: sqlite3.Connection, topics: tuple[str, ...]) -> None:
        """Remember what the log's newest segments of some topics hold."""
        for topic in topics:
            for _, ids in log.recent_ids(link, topic, self.capacity):
                for id_hash, content_hash in _pair.iter_unpack(ids):
                    if id_hash:
                        self.add(id_hash, content_hash)


def id_hash(event: Event) -> int:
    """The 64-bit hash of (source, id), the identity of an event; never 0."""
    return xxh3_64_intdigest(f"{event.source}\0{event.id}".encode()) or 1


def pack(id_hash: int, content_hash: int) -> bytes:
    """The 16 bytes that lie beside a record."""
    return _pair.pack(id_hash, content_hash)


NOTHING = _pair.pack(0, 0)
"""Beside a record that no producer sends again: one that Tripline wrote itself."""
