"""What a changelog partition holds, and which of it a recovery takes.

Two kinds of records: the snapshot of one key, and a barrier. A barrier says up to which offset of the input partition
all snapshots before it hold everything, and carries the partition's own state. Rules (docs/adr/0010):

- a snapshot's Kafka key names its owner's term and its barrier's number, so that nobody overwrites another's, and an
  unfinished barrier nothing that is still needed;
- the barrier with the highest resume offset counts; of a key the snapshot with the highest next_offset that does not
  lie beyond it. A late record of an owner that lost the partition changes nothing, nor does half a barrier;
- what is superseded gets a tombstone, only after a barrier that covers it was acknowledged.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TypeVar

import msgspec
from msgspec import Struct

from streams.kafka.connect import KafkaProblem
from streams.keyed import META_KEY
from streams.records import Partition, Snapshot

FORMAT = 1
_TERM_BYTES, _NUMBER_BYTES = 8, 4
_KEY, _BARRIER = b"k", b"b"
_START_OVER = (
    "if the input topic was made anew on purpose, delete this state topic too and make it again (tripline topics "
    "create); else point kafka.prefix at the topics that belong together"
)

_T = TypeVar("_T")
_pack = msgspec.msgpack.Encoder()


class _KeyRecord(Struct, array_like=True):
    topic_id: str
    next_offset: int
    blob: bytes


class Barrier(Struct, array_like=True, kw_only=True):
    """One barrier: everything below ``resume`` is in the snapshots, and its outputs are acknowledged.

    ``meta``: the partition's own state as its stage encoded it, as of the stage's offset ``meta_next``. ``sent``: how
    many records were fed to input partitions; ``fed``: of each source, the number of the last fed record taken.
    """

    format: int = FORMAT
    engine_id: str
    topic: str
    topic_id: str
    index: int
    resume: int
    meta_next: int
    meta: bytes
    sent: int
    fed: dict[str, int]


class Written(Struct, frozen=True):
    """A record of the changelog that a later barrier may remove: its Kafka key and how far it reaches."""

    key: bytes
    next_offset: int


class Recovered(Struct, frozen=True, kw_only=True):
    """What a recovery takes: the barrier (None: nothing was saved yet), the keys' snapshots, where each lies."""

    barrier: Barrier | None
    snapshots: list[Snapshot]
    places: dict[str, Written]
    superseded: list[Written]

    def all_snapshots(self) -> list[Snapshot]:
        """For ``Stage.restore``: the keys', then the partition's own."""
        if self.barrier is None:
            return []
        return [*self.snapshots, Snapshot(META_KEY, self.barrier.meta_next, self.barrier.meta)]


def new_term() -> bytes:
    """A name for one ownership of a partition."""
    return secrets.token_bytes(_TERM_BYTES)


def key_of(term: bytes, number: int, key: str) -> bytes:
    """The Kafka key of a key's snapshot at a term's barrier ``number``."""
    return _KEY + term + number.to_bytes(_NUMBER_BYTES, "big") + key.encode("utf-8", "surrogatepass")


def barrier_key(term: bytes) -> bytes:
    """The Kafka key of a term's barriers; a later one replaces an earlier one."""
    return _BARRIER + term


def encode_snapshot(topic_id: str, snapshot: Snapshot) -> bytes:
    """The value of a key's snapshot."""
    return _pack.encode(_KeyRecord(topic_id, snapshot.next_offset, snapshot.blob))


def encode_barrier(barrier: Barrier) -> bytes:
    """The value of a barrier."""
    return _pack.encode(barrier)


class Reading:
    """Takes the records of one changelog partition in order; ``finish`` says what a recovery takes."""

    def __init__(self, partition: Partition, state_topic: str) -> None:
        self._partition = partition
        self._where = f"{state_topic}, partition {partition.index}"
        self._values: dict[bytes, bytes] = {}
        self.records = 0

    def take(self, records: Iterable[tuple[bytes, bytes | None, int]]) -> None:
        """Records as (key, value or None for a tombstone, offset)."""
        values = self._values
        for key, value, offset in records:
            self.records += 1
            if key is None or key[:1] not in (_KEY, _BARRIER):
                raise self._corrupt(offset, "its key is none of Tripline's")
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value

    def finish(self) -> Recovered:
        """Choose; raises KafkaProblem for a record that can't be read or belongs to another topic or partition."""
        barriers = self._barriers()
        best = max(barriers, key=lambda found: found[1].resume, default=None)
        resume = best[1].resume if best is not None else 0
        chosen: dict[str, tuple[Written, bytes]] = {}
        superseded = [Written(key, barrier.resume) for key, barrier in barriers]
        start = len(_KEY) + _TERM_BYTES + _NUMBER_BYTES
        for raw_key, raw in self._values.items():
            if raw_key[:1] != _KEY:
                continue
            record = self._read(raw, _KeyRecord)
            self._check_topic(record.topic_id)
            written = Written(raw_key, record.next_offset)
            key = raw_key[start:].decode("utf-8", "surrogatepass")
            known = chosen.get(key)
            if record.next_offset > resume or (known is not None and known[0].next_offset >= record.next_offset):
                superseded.append(written)
                continue
            if known is not None:
                superseded.append(known[0])
            chosen[key] = (written, record.blob)
        return Recovered(
            barrier=None if best is None else best[1],
            snapshots=[Snapshot(key, written.next_offset, blob) for key, (written, blob) in chosen.items()],
            places={key: written for key, (written, _) in chosen.items()},
            superseded=superseded,
        )

    def _barriers(self) -> list[tuple[bytes, Barrier]]:
        found = []
        for key, raw in self._values.items():
            if key[:1] == _BARRIER:
                barrier = self._read(raw, Barrier)
                self._check(barrier)
                found.append((key, barrier))
        return found

    def _read(self, raw: bytes, kind: type[_T]) -> _T:
        try:
            return msgspec.msgpack.decode(raw, type=kind)
        except msgspec.MsgspecError as problem:
            raise self._corrupt(None, str(problem)) from None

    def _check(self, barrier: Barrier) -> None:
        mine = self._partition
        if barrier.format != FORMAT:
            advice = "use the version of Tripline that wrote it, or rebuild under another kafka.prefix"
            raise KafkaProblem(f"{self._where}: state of format {barrier.format}; this is {FORMAT}", advice)
        self._check_topic(barrier.topic_id)
        said, own = (barrier.engine_id, barrier.topic, barrier.index), (mine.engine_id, mine.topic, mine.index)
        if said != own:
            raise KafkaProblem(
                f"{self._where} holds the state of engine {said[0]}, {said[1]}, partition {said[2]}; this is "
                f"{own[0]}, {own[1]}, partition {own[2]}",
                _START_OVER,
            )

    def _check_topic(self, topic_id: str) -> None:
        if topic_id != self._partition.topic_id:
            raise KafkaProblem(
                f"{self._where} holds state of another {self._partition.topic} (id {topic_id}); the topic now has id "
                f"{self._partition.topic_id}: it was made anew, so offsets in the state mean other records",
                _START_OVER,
            )

    def _corrupt(self, offset: int | None, why: str) -> KafkaProblem:
        place = f"{self._where}, offset {offset}" if offset is not None else self._where
        advice = "delete the state topic and make it again: the worker then judges the kept input from its beginning"
        return KafkaProblem(f"{place}: a record of the changelog can't be read: {why}", advice)
