"""What callers of the runtime send and get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from events.times import DAY_MS, format_ms
from events.types import Event

Status = Literal["accepted", "duplicate", "refused"]
OriginOf = Callable[[int], dict[str, Any]]
"""Where an event of a delivery came from, by its place in it from 0; kept with its dead letter."""


def no_origin(_: int) -> dict[str, Any]:
    """Nothing is known of where an event came from."""
    return {}


AHEAD_MS = DAY_MS
"""An event whose effect lies further ahead of now than this is refused; a clock is wrong somewhere."""
TIME_AHEAD, ID_REUSED, ENGINE_FAULT = "time_ahead", "id_reused", "engine_fault"
ENGINE_REASONS = (TIME_AHEAD, ID_REUSED, ENGINE_FAULT)
"""Why the runtime refuses an event that could be read; beside ``BadReason`` of the decoder."""


class Busy(Exception):
    """The runtime is behind; send the same again after ``retry_secs``."""

    def __init__(self, why: str, retry_secs: float = 1.0) -> None:
        super().__init__(why)
        self.retry_secs = retry_secs


class Closed(Exception):
    """The runtime is stopping and takes nothing any more."""


class ItemResult(Struct, frozen=True, gc=False):
    """What became of one event: accepted (durable and judged), a duplicate of an accepted one, or refused and why.

    ``field``: which field is wrong, "" when it is about the whole.
    """

    status: Status
    reason: str = ""
    message: str = ""
    field: str = ""

    @property
    def is_duplicate(self) -> bool:
        """Whether it had been taken before."""
        return self.status == "duplicate"


ACCEPTED = ItemResult("accepted")
DUPLICATE = ItemResult("duplicate")


def too_far_ahead(effect_ms: int, now_ms: int) -> ItemResult:
    """The answer to an event that is dated further ahead than AHEAD_MS."""
    message = (
        f"time: {format_ms(effect_ms)} is more than 24 hours ahead of the log's clock ({format_ms(now_ms)}); "
        "send when it happened, and check the sender's clock"
    )
    return ItemResult("refused", TIME_AHEAD, message, "time")


class Changes(Struct, frozen=True, kw_only=True):
    """What one round changed: ids of agents and deals, sorts of news, and how often what happened.

    ``kinds``: agent, control, finding, deal, alert, top, tick; "rows" comes by itself when the rows of what agents did
    have followed. ``counts`` by (what, labels…), such as ("finding", detector, mode) or ("control", state).
    ``wrong_records``: for each stop that a detector caused, the detector and how much it had counted until then.
    """

    agents: frozenset[str]
    deals: frozenset[str]
    kinds: frozenset[str]
    counts: dict[tuple[str, ...], int]
    wrong_records: list[tuple[str, int]]


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
    """How the runtime is doing.

    ``degraded_reasons``: store, disk, wal, backlog, ticks, writer, projections; empty when all is well, and
    ``troubles`` says each in words. ``oldest_unjudged_ms`` is when the oldest event that waits arrived.
    ``warnings``: what a person should mend, in words, although all works, such as a new policy with mistakes.
    ``projection_lag`` is by how many records "what it did" is behind.
    """

    now_ms: int
    judged_to_ms: int
    oldest_unjudged_ms: int | None
    queue: int
    wal_bytes: int
    log_bytes: int
    free_bytes: int
    projection_lag: int
    degraded_reasons: list[str]
    troubles: list[str]
    offsets: dict[str, int]
    counts: dict[str, int]
    control_counts: dict[str, int]
    suspended_by: dict[str, int]
    stop_all: bool
    restarts: int
    is_writing: bool
    warnings: list[str] = []
