"""How many different ids were seen in the last 10 minutes and the last 24 hours, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from struct import iter_unpack, pack
from typing import Any

from msgspec import UNSET, UnsetType
from xxhash import xxh3_64_intdigest

_MINUTES = 11
_HOURS = 25
_RECORD = "<QI"


class DistinctCounter:
    """Counts different ids in two sliding windows.

    Each id is kept (as a 64-bit hash) with the minute of its last sight; rings count ids by that minute and hour.
    The oldest id is forgotten when more than ``cap`` are known: it stays counted, and counts again as new when it
    comes back, so that the count is never too small. Windows are 10 to 11 minutes and 24 to 25 hours long.
    """

    __slots__ = ("_hours", "_minute", "_minutes", "_seen", "cap", "day", "recent")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.recent = 0
        self.day = 0
        self._minute = 0
        self._seen: dict[int, int] = {}
        self._minutes = [0] * _MINUTES
        self._hours = [0] * _HOURS

    def add(self, at_ms: int, kind: Any, ids: Sequence[str] | UnsetType, count: int) -> int:
        """Take in one operation's ids, and ``count − len(ids)`` unnamed ones; returns the count of 10 minutes.

        ``kind`` (a record type, or unset) keeps the same id of two types apart. A time before the newest counts
        with the newest.
        """
        minute = at_ms // 60_000
        if minute > self._minute:
            self._advance(minute)
        if ids is UNSET:
            self._count(count)
            return self.recent
        seen, now = self._seen, self._minute
        for one in ids:
            digest = xxh3_64_intdigest(f"{kind}\x1f{one}".encode("utf-8", "surrogatepass"))
            last = seen.pop(digest, -1)
            seen[digest] = now
            if last < 0:
                self._minutes[now % _MINUTES] += 1
                self._hours[now // 60 % _HOURS] += 1
                self.recent += 1
                self.day += 1
                if len(seen) > self.cap:
                    del seen[next(iter(seen))]
            elif last != now:
                self._move(last, now)
        if count > len(ids):
            self._count(count - len(ids))
        return self.recent

    def _move(self, last: int, now: int) -> None:
        """An id seen before counts from now on with this minute and hour."""
        if last > now - _MINUTES:
            self._minutes[last % _MINUTES] -= 1
            self.recent -= 1
        if last // 60 > now // 60 - _HOURS:
            self._hours[last // 60 % _HOURS] -= 1
            self.day -= 1
        self._count(1)

    def _count(self, new: int) -> None:
        self._minutes[self._minute % _MINUTES] += new
        self._hours[self._minute // 60 % _HOURS] += new
        self.recent += new
        self.day += new

    def _advance(self, minute: int) -> None:
        old, minutes = self._minute, self._minutes
        if self.recent:
            for passed in range(old + 1 if minute - old < _MINUTES else minute - _MINUTES + 1, minute + 1):
                self.recent -= minutes[passed % _MINUTES]
                minutes[passed % _MINUTES] = 0
        hour, old_hour = minute // 60, old // 60
        if hour != old_hour:
            for passed in range(max(old_hour + 1, hour - _HOURS + 1), hour + 1):
                self.day -= self._hours[passed % _HOURS]
                self._hours[passed % _HOURS] = 0
            self._drop_old(hour)
        self._minute = minute

    def _drop_old(self, hour: int) -> None:
        seen = self._seen
        while seen:
            oldest = next(iter(seen))
            if seen[oldest] // 60 > hour - _HOURS:
                break
            del seen[oldest]

    def dump(self) -> tuple[int, list[int], list[int], bytes]:
        """Its content in plain values."""
        seen = b"".join([pack(_RECORD, digest, last & 0xFFFFFFFF) for digest, last in self._seen.items()])
        return self._minute, self._minutes, self._hours, seen

    @classmethod
    def load(cls, cap: int, dumped: tuple[int, list[int], list[int], bytes]) -> DistinctCounter:
        """From what ``dump`` gave."""
        counter = cls(cap)
        counter._minute, minutes, hours, seen = dumped
        counter._minutes, counter._hours = minutes, hours
        counter._seen = dict(iter_unpack(_RECORD, seen))
        counter.recent, counter.day = sum(minutes), sum(hours)
        return counter
