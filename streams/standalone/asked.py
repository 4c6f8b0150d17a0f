"""Which request ids may have been used: says "no" without a look into the store, which most checks need to hear.

Two Bloom filters (Bloom 1970), each for one span of the time that request ids are remembered: an id that is in neither
was not used within that time. About one in a hundred new ids is looked up in vain at a million ids, more beyond; the
answer is the store's in any case.
"""

from __future__ import annotations

from xxhash import xxh3_128_intdigest

_BITS = 1 << 24
"""2 MiB a filter."""
_MASK = _BITS - 1


class Asked:
    """Request ids used in the last ``keep_ms``, and at most twice that."""

    __slots__ = ("_before", "_now", "_since_ms", "keep_ms")

    def __init__(self, keep_ms: int) -> None:
        self.keep_ms = keep_ms
        self._since_ms = 0
        self._now = bytearray(_BITS // 8)
        self._before = bytearray(_BITS // 8)

    def add(self, key: str, request_id: str, at_ms: int) -> None:
        """Remember that an agent used a request id at a time; times of different agents may come in any order."""
        if at_ms - self._since_ms > self.keep_ms:
            self._since_ms, self._before, self._now = at_ms, self._now, bytearray(_BITS // 8)
        now = self._now
        for place in _places(key, request_id):
            now[place >> 3] |= 1 << (place & 7)

    def may_hold(self, key: str, request_id: str) -> bool:
        """Whether the id may have been used; False is certain."""
        places = _places(key, request_id)
        for bits in (self._now, self._before):
            for place in places:
                if not bits[place >> 3] >> (place & 7) & 1:
                    break
            else:
                return True
        return False


def _places(key: str, request_id: str) -> tuple[int, int, int, int]:
    found = xxh3_128_intdigest(f"{key}\0{request_id}".encode())
    return found & _MASK, found >> 24 & _MASK, found >> 48 & _MASK, found >> 72 & _MASK
