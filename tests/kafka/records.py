"""Records as a consumer gives them, made by hand."""

from __future__ import annotations

from collections.abc import Sequence


class FakeRecord:
    """One record."""

    def __init__(
        self, offset: int, timestamp: int, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        self.offset, self.timestamp, self.value, self.headers = offset, timestamp, value, headers
        self.key: bytes | None = None
