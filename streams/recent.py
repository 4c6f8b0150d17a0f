"""The last 1,024 event ids of one key, so that a producer's retry is not judged twice.

Ids are kept as 64-bit hashes in a ring, with 32 bits of the content's hash beside each: the same id with another
content is told apart from a retry. A short ring is searched; from 64 ids on a table of counts by the hash's low bits
answers "never seen" (the usual case) without a search. About 28 kB for a key that has filled its ring, under 2 kB for
one that has seen fewer than 64 events.

Limits: a retry after more than 1,024 other events of its key is taken for new, unless the producer numbers its
events (CloudEvents ``sequence``). The hash is fast, not cryptographic: who can choose ids freely can make two of
them collide, which shows as a re-used id.
"""

from __future__ import annotations

from array import array
from enum import IntEnum
from sys import byteorder

CAPACITY = 1024
_ID_BYTES = 8
_CONTENT_BYTES = 4
_SLOTS = 8192
_FULL = CAPACITY * _ID_BYTES
_SHORT = 64 * _ID_BYTES
_NO_FILTER = array("H")


class Seen(IntEnum):
    """What the ring knows of an id: never seen, the same event again, or the id with another content."""

    NEW = 0
    DUPLICATE = 1
    CONFLICT = 2


class Recent:
    """A ring of id hashes with a counting filter in front."""

    __slots__ = ("_contents", "_filter", "_ids", "_next")

    def __init__(self) -> None:
        self._ids = bytearray()
        self._contents = bytearray()
        self._filter = _NO_FILTER
        self._next = 0

    def admit(self, id_hash: int, content_hash: int) -> int:
        """Remember an id (64-bit hash) with its content (32 bits of it are kept) and say whether it was known."""
        counts, ids = self._filter, self._ids
        if not counts:
            return self._admit_short(id_hash, content_hash)
        slot = id_hash & (_SLOTS - 1)
        if counts[slot]:
            known = self._known(id_hash, content_hash)
            if known:
                return known
        place = self._next
        if len(ids) < _FULL:
            ids += id_hash.to_bytes(_ID_BYTES, "little")
            self._contents += (content_hash & 0xFFFFFFFF).to_bytes(_CONTENT_BYTES, "little")
        else:
            at = place * _ID_BYTES
            counts[(ids[at] | ids[at + 1] << 8) & (_SLOTS - 1)] -= 1
            ids[at : at + _ID_BYTES] = id_hash.to_bytes(_ID_BYTES, "little")
            at = place * _CONTENT_BYTES
            kept = (content_hash & 0xFFFFFFFF).to_bytes(_CONTENT_BYTES, "little")
            self._contents[at : at + _CONTENT_BYTES] = kept
        counts[slot] += 1
        self._next = (place + 1) & (CAPACITY - 1)
        return Seen.NEW

    def dump(self) -> bytes:
        """The ring as bytes: its position, the ids, the contents."""
        return self._next.to_bytes(2, "little") + bytes(self._ids) + bytes(self._contents)

    @classmethod
    def load(cls, blob: bytes) -> Recent:
        """The ring from its bytes."""
        recent = cls()
        recent._next = int.from_bytes(blob[:2], "little")
        count = (len(blob) - 2) // (_ID_BYTES + _CONTENT_BYTES)
        split = 2 + count * _ID_BYTES
        recent._ids += blob[2:split]
        recent._contents += blob[split:]
        if len(recent._ids) >= _SHORT:
            recent._count()
        return recent

    def _admit_short(self, id_hash: int, content_hash: int) -> int:
        ids = self._ids
        if ids:
            known = self._known(id_hash, content_hash)
            if known:
                return known
        ids += id_hash.to_bytes(_ID_BYTES, "little")
        self._contents += (content_hash & 0xFFFFFFFF).to_bytes(_CONTENT_BYTES, "little")
        self._next += 1
        if len(ids) >= _SHORT:
            self._count()
        return Seen.NEW

    def _count(self) -> None:
        ids = self._ids
        self._filter = array("H", bytes(2 * _SLOTS))
        counts = self._filter
        low = array("H", bytes(ids))
        if byteorder == "big":
            low.byteswap()
        for start in low[:: _ID_BYTES // 2]:
            counts[start & (_SLOTS - 1)] += 1

    def _known(self, id_hash: int, content_hash: int) -> int:
        needle = id_hash.to_bytes(_ID_BYTES, "little")
        at = self._ids.find(needle)
        while at >= 0 and at % _ID_BYTES:
            at = self._ids.find(needle, at + 1)
        if at < 0:
            return Seen.NEW
        at = at // _ID_BYTES * _CONTENT_BYTES
        kept = int.from_bytes(self._contents[at : at + _CONTENT_BYTES], "little")
        return Seen.DUPLICATE if kept == content_hash & 0xFFFFFFFF else Seen.CONFLICT
