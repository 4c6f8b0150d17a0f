"""What callers of the runtime send and get."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from events.types import Event

Status = Literal["accepted", "duplicate", "refused"]


class Busy(Exception):
    """The runtime is behind; send the same again after ``retry_after_secs``."""

    def __init__(self, why: str, retry_after_secs: float = 1.0) -> None:
        super().__init__(why)
        self.retry_after_secs = retry_after_secs


class Closed(Exception):
    """The runtime is stopping and takes nothing any more."""


class ItemResult(Struct, frozen=True, gc=False):
    """What became of one event: accepted (durable and judged), a duplicate of an accepted one, or refused and why."""

    status: Status
    reason: str = ""
    message: str = ""


ACCEPTED = ItemResult("accepted")
DUPLICATE = ItemResult("duplicate")


class Changed(Struct, frozen=True, gc=False):
    """Something that a page may show has changed: kind is agent, control, finding, deal, alert or top."""

    kind: str
    key: str


class Prepared(Struct, gc=False):
    """An event as the writer takes it: decoded and hashed by the caller's thread."""

    raw: bytes
    event: Event
    effect_ms: int
    id_hash: int
    content_hash: int
    ids: bytes
    topics: tuple[str, ...]


class RuntimeStatus(Struct, frozen=True, kw_only=True):
    """How the runtime is doing. ``degraded`` lists what is wrong, empty when nothing is."""

    now_ms: int
    judged_to_ms: int
    oldest_unjudged_ms: int | None
    queued: int
    wal_bytes: int
    free_bytes: int
    projection_lag: int
    degraded: list[str]
    offsets: dict[str, int]
    counts: dict[str, int]
    is_writing: bool

    @property
    def is_healthy(self) -> bool:
        """Whether writes can be judged and kept."""
        return not self.degraded
