"""How many events a replay read, and from when to when."""

from __future__ import annotations


class Span:
    """Counts producers' events; ticks and what Tripline itself wrote are not counted."""

    def __init__(self) -> None:
        self.events = 0
        self.first_ms: int | None = None
        self.last_ms: int | None = None

    def take(self, first_ms: int, last_ms: int, count: int) -> None:
        """Some events, the earliest and the latest of them."""
        self.events += count
        self.first_ms = first_ms if self.first_ms is None else min(self.first_ms, first_ms)
        self.last_ms = last_ms if self.last_ms is None else max(self.last_ms, last_ms)
