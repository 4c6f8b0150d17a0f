"""What a changelog partition holds, and which of it a recovery takes.

Two kinds of records: the snapshot of one key, and a barrier. A barrier says up to which offset of the input partition
all snapshots before it hold everything, and carries the partition's own state. Rules (docs/adr/0010):

- a snapshot's Kafka key names its owner's term and its barrier's number, so that nobody overwrites another's, and an
  unfinished barrier nothing that is still needed;
- the barrier with the highest resume offset counts; of a key the snapshot with the highest next_offset that does not
  lie beyond its reach. A late record of an owner that lost the partition changes nothing, nor does half a barrier;
- what is superseded gets a tombstone, only after a barrier that covers it was acknowledged.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec
from msgspec import Struct

from events.types import MAIN_ENGINE
from streams.kafka.connect import KafkaProblem
from streams.keyed import META_KEY
from streams.records import Partition, Snapshot

FORMAT = 1
_TERM_BYTES, _NUMBER_BYTES = 8, 4
_KEY, _BARRIER, _PART = b"k", b"b", b"p"
_KEY_START = len(_KEY) + _TERM_BYTES + _NUMBER_BYTES
_PART_START = len(_PART) + 8 + 2 + 2
PART_BYTES = 1024 * 1024
"""A larger value is written in parts, each a record of its own: brokers and clients refuse larger ones."""
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

    ``reach``: snapshots were taken while records went on being judged, up to this offset; all outputs below it are
    acknowledged as well. 0: up to ``resume``. ``meta``: the partition's own state as its stage encoded it, as of the
    stage's offset ``meta_next``; when that is large it is written like a key's snapshot, under barrier number
    ``meta_number`` of the same term, and ``meta`` is empty. ``sent``: how many records were fed to input partitions;
    ``fed``: of each source, the number of the last fed record taken. ``active``: the engine that is active from
    ``resume`` on, by the ``switches``-th switch.
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
    reach: int = 0
    meta_number: int = 0
    active: str = MAIN_ENGINE
    switches: int = 0


class Written(Struct, frozen=True):
    """What a later barrier may remove of the changelog: the Kafka keys of one snapshot, and how far it reaches."""

    keys: tuple[bytes, ...]
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


def snapshot_records(term: bytes, number: int, topic_id: str, snapshot: Snapshot) -> dict[bytes, bytes]:
    """A key's snapshot as records: one, or several parts of a large one."""
    key = key_of(term, number, snapshot.key)
    value = _pack.encode(_KeyRecord(topic_id, snapshot.next_offset, snapshot.blob))
    if len(value) <= PART_BYTES:
        return {key: value}
    parts = [value[start : start + PART_BYTES] for start in range(0, len(value), PART_BYTES)]
    head = _PART + snapshot.next_offset.to_bytes(8, "big")
    return {
        head + place.to_bytes(2, "big") + len(parts).to_bytes(2, "big") + key: part for place, part in enumerate(parts)
    }


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
            if key is None or key[:1] not in (_KEY, _BARRIER, _PART):
                raise self._corrupt(offset, "its key is none of Tripline's")
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value

    def finish(self) -> Recovered:
        """Choose; raises KafkaProblem for a record that can't be read or belongs to another topic or partition."""
        barriers = self._barriers()
        best_key, best = max(barriers, key=lambda found: found[1].resume, default=(b"", None))
        reach = max(best.resume, best.reach) if best is not None else 0
        meta_key = b"" if best is None else key_of(best_key[len(_BARRIER) :], best.meta_number, META_KEY)
        chosen: dict[str, tuple[Written, bytes]] = {}
        superseded = [Written((key,), barrier.resume) for key, barrier in barriers]
        for raw_key, written, blob in self._snapshots(superseded):
            key = raw_key[_KEY_START:].decode("utf-8", "surrogatepass")
            known = chosen.get(key)
            is_others = key == META_KEY and raw_key != meta_key
            is_old = known is not None and known[0].next_offset >= written.next_offset
            if written.next_offset > reach or is_others or is_old:
                superseded.append(written)
                continue
            if known is not None:
                superseded.append(known[0])
            chosen[key] = (written, blob)
        places = {key: written for key, (written, _) in chosen.items()}
        meta = chosen.pop(META_KEY, None)
        if best is not None and best.meta_number:
            if meta is None:
                raise self._corrupt(None, "a barrier's own state is not there")
            best.meta = meta[1]
        return Recovered(
            barrier=best,
            snapshots=[Snapshot(key, written.next_offset, blob) for key, (written, blob) in chosen.items()],
            places=places,
            superseded=superseded,
        )

    def _snapshots(self, torn: list[Written]) -> Iterator[tuple[bytes, Written, bytes]]:
        """Every whole snapshot: key, where it lies, its bytes. Parts of which others are missing go to ``torn``."""
        parts: dict[bytes, list[bytes]] = defaultdict(list)
        for raw_key, raw in self._values.items():
            if raw_key[:1] == _KEY:
                record = self._read_snapshot(raw)
                yield raw_key, Written((raw_key,), record.next_offset), record.blob
            elif raw_key[:1] == _PART:
                parts[raw_key[_PART_START:]].append(raw_key)
        for whole_key, keys in parts.items():
            keys.sort()
            count = int.from_bytes(keys[0][_PART_START - 2 : _PART_START], "big")
            written = Written(tuple(keys), int.from_bytes(keys[0][len(_PART) : len(_PART) + 8], "big"))
            if len(keys) < count:
                torn.append(written)
            else:
                record = self._read_snapshot(b"".join(self._values[key] for key in keys))
                yield whole_key, written, record.blob

    def _read_snapshot(self, raw: bytes) -> _KeyRecord:
        record = self._read(raw, _KeyRecord)
        self._check_topic(record.topic_id)
        return record

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
