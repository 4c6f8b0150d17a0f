"""The part that all stages share: state by key, duplicates, stream time, snapshots and recovery.

The rules are those of docs/guarantees.md: a record is applied to a key once (``next_offset``), whatever the batch
boundaries; stream time never runs more than five minutes ahead of the last tick; a snapshot is taken between two
records (the barrier) and covers every key that changed since the last one, so that recovery resumes at the barrier.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct
from xxhash import xxh3_64_intdigest

from events.times import parse_ms
from events.types import Event, LogEvent, TickEvent
from streams.recent import Recent, Seen
from streams.records import Entry, Output, OutputKind, Partition, Snapshot, output_id

S = TypeVar("S")

AHEAD_OF_TICK_MS = 300_000
"""How far a record may move stream time beyond the last tick."""
META_KEY = ""
"""The key under which a partition's own state is kept: the clock and what all keys share."""
_MAX_SOURCES = 16
_FORMAT = 1

_pack = msgspec.msgpack.Encoder()
_canonical = msgspec.msgpack.Encoder(order="deterministic")


class Keyed(Generic[S]):
    """One key's state and how far it got."""

    __slots__ = ("body", "is_dirty", "key", "next_offset", "recent", "sequences")

    def __init__(self, key: str, body: S) -> None:
        self.key = key
        self.body = body
        self.next_offset = 0
        self.recent = Recent()
        self.sequences: dict[str, int] = {}
        self.is_dirty = False


class KeyBlob(Struct, array_like=True):
    """A key's state as it is written; ``body`` is the stage's own."""

    format: int
    version: int
    recent: bytes
    sequences: dict[str, int]
    body: bytes


class _MetaBlob(Struct, array_like=True):
    format: int
    tick_ms: int
    stream_ms: int
    shared: bytes


class KeyedStage(ABC, Generic[S]):
    """A stage whose state is kept by key. Subclasses say what a key is and what a record does to it."""

    name: ClassVar[str]
    topic: ClassVar[str]
    state_version: ClassVar[int] = 1

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.keys: dict[str, Keyed[S]] = {}
        self._resting: dict[str, Snapshot] = {}
        self.next_offset = 0
        self.tick_ms = 0
        self.stream_ms = 0
        self.duplicates = 0
        self.faults: Counter[str] = Counter()
        self._dirty: list[Keyed[S]] = []
        self._free_until_ms = 0
        self._scratch = bytearray(1024)

    # --- what a stage decides -----------------------------------------------------------------------------------

    @abstractmethod
    def key_of(self, event: Any) -> str | None:
        """The state key of a record ("tenant/id"); None when this stage has nothing to do with it."""

    @abstractmethod
    def new_body(self, key: str) -> S:
        """The state of a key never seen before."""

    @abstractmethod
    def apply(self, offset: int, at_ms: int, event: Any, keyed: Keyed[S], out: list[Output]) -> None:
        """Judge one record that is not a duplicate. ``at_ms`` is bounded stream time."""

    def on_tick(self, offset: int, tick_ms: int, out: list[Output]) -> None:
        """The clock reached ``tick_ms``. For each key that changes, ask ``self.begin(keyed, offset)`` first."""

    def on_system(self, offset: int, at_ms: int, event: Any, out: list[Output]) -> bool:
        """A record for the whole partition; True when it was one and is done."""
        return False

    def on_conflict(self, offset: int, at_ms: int, event: Any, keyed: Keyed[S], out: list[Output]) -> None:
        """The id of this record was used before with another content. The record is judged all the same."""

    @abstractmethod
    def dump_body(self, body: S) -> bytes:
        """A key's state as bytes; equal states give equal bytes."""

    @abstractmethod
    def load_body(self, key: str, blob: bytes, version: int) -> S:
        """A key's state from bytes of this or an older ``state_version``."""

    def dump_shared(self) -> bytes:
        """What all keys share, as bytes."""
        return b""

    def load_shared(self, blob: bytes) -> None:
        """Take back what all keys share."""

    # --- the engine's part --------------------------------------------------------------------------------------

    def process(self, entries: Sequence[Entry]) -> list[Output]:
        """Judge records in log order; the same records in other batches give the same outputs."""
        out: list[Output] = []
        for entry in entries:
            self.process_entry(entry, out)
        return out

    def process_entry(self, entry: Entry, out: list[Output]) -> None:
        """Judge one record: the clock, the partition's own records, then the key's."""
        offset, at_ms, event = entry
        if offset < self.next_offset:
            return
        self.next_offset = offset + 1
        if type(event) is TickEvent:
            self.take_tick(offset, event, out)
            return
        at = self.advance(at_ms)
        if self.on_system(offset, at, event, out):
            return
        key = self.key_of(event)
        if key is None:
            return
        keyed = self.keyed(key)
        if self.begin(keyed, offset) and not self.is_duplicate(offset, at, event, keyed, out):
            self.apply(offset, at, event, keyed, out)

    def take_tick(self, offset: int, event: TickEvent, out: list[Output]) -> None:
        """Move the clock and fire timers; a tick at or before the last one is a no-op."""
        tick_ms = parse_ms(event.data.at)
        if tick_ms <= self.tick_ms:
            return
        self.tick_ms = tick_ms
        self.stream_ms = max(self.stream_ms, tick_ms)
        self._free_until_ms = tick_ms + AHEAD_OF_TICK_MS
        self.on_tick(offset, tick_ms, out)

    def advance(self, at_ms: int) -> int:
        """Stream time of a record: never back, and at most five minutes beyond the last tick."""
        at = at_ms if at_ms > self.stream_ms else self.stream_ms
        if self.tick_ms and at > self.tick_ms + AHEAD_OF_TICK_MS:
            at = max(self.stream_ms, self.tick_ms + AHEAD_OF_TICK_MS)
        self.stream_ms = at
        self._free_until_ms = self.tick_ms + AHEAD_OF_TICK_MS if self.tick_ms else at
        return at

    def keyed(self, key: str) -> Keyed[S]:
        """The state of a key, made when it is new."""
        known = self.keys.get(key)
        if known is None:
            resting = self._resting.get(key)
            if resting is not None:
                return self._load(key, resting)
            known = self.keys[key] = Keyed(key, self.new_body(key))
        return known

    def begin(self, keyed: Keyed[S], offset: int) -> bool:
        """Whether this record is still to be applied to the key; marks the key as changed if so."""
        if offset < keyed.next_offset:
            return False
        keyed.next_offset = offset + 1
        if not keyed.is_dirty:
            self.mark(keyed)
        return True

    def mark(self, keyed: Keyed[S]) -> None:
        """The key has changed since the last snapshot."""
        keyed.is_dirty = True
        self._dirty.append(keyed)

    def is_duplicate(self, offset: int, at_ms: int, event: Any, keyed: Keyed[S], out: list[Output]) -> bool:
        """Whether (source, id) was judged before; a re-used id with other content is reported, and judged."""
        try:
            _canonical.encode_into(event.data, self._scratch)
        except OverflowError:  # a field's value beyond 64 bits: JSON has room for it
            self._scratch[:] = msgspec.json.encode(event.data, order="deterministic")
        known = xxh3_64_intdigest(f"{event.source}\0{event.id}".encode())
        seen = keyed.recent.admit(known, xxh3_64_intdigest(self._scratch))
        if seen == Seen.NEW:
            if event.sequence is UNSET or not self._is_old_number(event, keyed):
                return False
            self.duplicates += 1
            return True
        if seen == Seen.DUPLICATE:
            self.duplicates += 1
            return True
        self.on_conflict(offset, at_ms, event, keyed, out)
        return False

    def count_keys(self) -> int:
        """How many keys have a state."""
        return len(self.keys) + len(self._resting)

    def output_id(self, key: str, offset: int, kind: OutputKind, detector: str = "", subject: str = "") -> str:
        """The identity of an output of this stage."""
        return output_id(self.partition, self.name, key, offset, kind, detector, subject)

    def snapshot(self) -> list[Snapshot]:
        """The keys that changed since the last call, encoded now, then the partition's own state (the barrier)."""
        return list(self.snapshots())

    def snapshots(self) -> Iterator[Snapshot]:
        """The same, each key encoded when it is asked for, so that records may be judged in between.

        A key may then be newer than the barrier, which is where the first is asked for; the partition's own state is
        of the barrier and comes last.
        """
        dirty, self._dirty = self._dirty, []
        meta = _MetaBlob(_FORMAT, self.tick_ms, self.stream_ms, self.dump_shared())
        barrier = Snapshot(META_KEY, self.next_offset, _pack.encode(meta))
        for keyed in dirty:
            keyed.is_dirty = False
            blob = KeyBlob(
                _FORMAT, self.state_version, keyed.recent.dump(), keyed.sequences, self.dump_body(keyed.body)
            )
            yield Snapshot(keyed.key, keyed.next_offset, _pack.encode(blob))
        yield barrier

    def restore(self, snapshots: Iterable[Snapshot], *, lazily: bool = False) -> int:
        """Take states back; of several snapshots of a key the highest next_offset wins. Returns where to resume.

        ``lazily``: a state may stay as bytes until its key is needed, where the stage can tell when that is.
        """
        best: dict[str, Snapshot] = {}
        for snapshot in snapshots:
            known = best.get(snapshot.key)
            if known is None or snapshot.next_offset >= known.next_offset:
                best[snapshot.key] = snapshot
        meta = best.pop(META_KEY, None)
        for key, snapshot in best.items():
            if lazily and self.may_rest(key, _opened(snapshot)):
                self._resting[key] = snapshot
            else:
                self._load(key, snapshot)
        if meta is not None:
            clock = msgspec.msgpack.decode(meta.blob, type=_MetaBlob)
            self.tick_ms, self.stream_ms = clock.tick_ms, clock.stream_ms
            self.load_shared(clock.shared)
            self.next_offset = meta.next_offset
        self.restored()
        return self.next_offset

    def wake(self, most: int) -> int:
        """Read up to ``most`` of the states that are still bytes; returns how many are left."""
        for key in list(islice(self._resting, most)):
            self.keyed(key)
        return len(self._resting)

    def may_rest(self, key: str, blob: KeyBlob) -> bool:
        """Whether this state may stay as bytes until ``keyed`` is asked for its key."""
        return False

    def is_common(self, event: LogEvent) -> bool:
        """Whether a record reads or changes the states of many keys together."""
        return False

    def restored(self) -> None:
        """Called after restore: rebuild what is derived from the states (timers)."""

    def _load(self, key: str, snapshot: Snapshot) -> Keyed[S]:
        blob = _opened(snapshot)
        keyed = Keyed(key, self.load_body(key, blob.body, blob.version))
        keyed.next_offset = snapshot.next_offset
        keyed.recent = Recent.load(blob.recent)
        keyed.sequences = blob.sequences
        self.keys[key] = keyed
        self._resting.pop(key, None)
        return keyed

    def _is_old_number(self, event: Event, keyed: Keyed[S]) -> bool:
        """A producer that numbers its events: a number far behind the highest seen is a late retry."""
        try:
            number = int(event.sequence)  # type: ignore[arg-type]
        except ValueError:
            return False
        highest = keyed.sequences.get(event.source, -1)
        if number > highest:
            if highest < 0 and len(keyed.sequences) >= _MAX_SOURCES:
                del keyed.sequences[next(iter(keyed.sequences))]
            keyed.sequences[event.source] = number
            return False
        return number <= highest - 1024


def _opened(snapshot: Snapshot) -> KeyBlob:
    return msgspec.msgpack.decode(snapshot.blob, type=KeyBlob)
