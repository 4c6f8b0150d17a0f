"""What goes into a stage and what comes out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal, Protocol

from msgspec import Struct
from xxhash import xxh3_128_hexdigest

from events.types import Event, LogEvent

Entry = tuple[int, int, LogEvent]
"""One record of an input partition: offset, at_ms (knowledge time: when the log took it), the event."""

OutputKind = Literal[
    "finding", "risk", "alert", "score", "marker", "report", "failing", "peers_report", "peers", "stray", "top"
]
READ_BACK: tuple[OutputKind, ...] = ("report", "peers_report", "peers")
"""What the stage of agents says to itself: records for its own topic."""


class Partition(Struct, frozen=True):
    """Where a stage reads: which engine, which topic (by its id, new when it is re-created), which partition."""

    engine_id: str
    topic: str
    topic_id: str
    index: int = 0


class Output(Struct, frozen=True, gc=False):
    """One output of a stage. ``id`` depends on the record that caused it, never on batch boundaries."""

    kind: OutputKind
    id: str
    key: str
    at_ms: int
    event: Event


class Snapshot(Struct, frozen=True, gc=False):
    """State of one key up to (not including) ``next_offset``."""

    key: str
    next_offset: int
    blob: bytes


class Stage(Protocol):
    """A pure processor of one input partition: no clock, no I/O, no randomness."""

    name: ClassVar[str]
    topic: ClassVar[str]
    faults: Counter[str]
    """By detector, for how many agents it raised and was switched off, since somebody cleared this."""
    next_offset: int
    """The record after the one that was judged last, or that is being judged."""

    def process(self, entries: Sequence[Entry]) -> list[Output]:
        """Judge records in log order; the same records in other batches give the same outputs."""

    def snapshot(self) -> list[Snapshot]:
        """The states that changed since the last call, encoded now (the barrier)."""

    def snapshots(self) -> Iterator[Snapshot]:
        """The same, one at a time, the one that says where to resume last; records may be judged in between."""

    def count_keys(self) -> int:
        """How many keys have a state."""

    def restore(self, snapshots: Iterable[Snapshot], *, lazily: bool = False) -> int:
        """Take states back (the highest next_offset of a key wins); returns the offset to resume from.

        ``lazily``: a state may stay as bytes until its key is needed.
        """

    def wake(self, most: int) -> int:
        """Read up to ``most`` of the states that are still bytes; returns how many are left."""

    def is_common(self, event: LogEvent) -> bool:
        """Whether a record reads or changes the states of many keys together, so that no sweep may go across it."""


def output_id(
    partition: Partition, stage: str, key: str, offset: int, kind: str, detector: str = "", subject: str = ""
) -> str:
    """The identity of an output: 32 hex digits, stable across batches, restarts and upgrades."""
    parts: tuple[Any, ...] = (
        partition.engine_id, stage, key, partition.topic_id, partition.index, offset, kind, detector, subject
    )  # fmt: skip
    return xxh3_128_hexdigest("\x1f".join(map(str, parts)).encode())
