"""The event log: segments, each a blob of records of one topic, without an index by event.

A segment's blob is a MessagePack pair [times, records]: when the log took each record, and its bytes as JSON. Its
``ids`` are 16 bytes a record: the hash of (source, id) and the hash of the bytes, so that what was accepted lately is
known again after a restart without decoding anything. Retention drops whole segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from storage.errors import StoreMismatch
from storage.link import Link
from storage.sql import insert
from storage.tables import log_segment

FORMAT = 1
ID_BYTES = 16
PARTITION = 0

_INSERT = insert(log_segment)
_READ = (
    "SELECT base_offset, count, format, blob FROM log_segment "
    "WHERE topic = ? AND partition = ? AND base_offset >= "
    "(SELECT coalesce(max(base_offset), 0) FROM log_segment WHERE topic = ? AND partition = ? AND base_offset <= ?) "
    "ORDER BY base_offset"
)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[list[int], list[bytes]])


class Record(Struct, frozen=True, gc=False):
    """One record of the log."""

    offset: int
    at_ms: int
    raw: bytes


def append(link: Link, topic: str, base_offset: int, times: Sequence[int], raws: Sequence[bytes], ids: bytes) -> None:
    """Write one segment. ``times`` (ms) never fall; ``ids`` holds 16 bytes a record, or nothing."""
    blob = _encoder.encode((times, raws))
    link.execute(_INSERT, (topic, PARTITION, base_offset, len(raws), times[0], times[-1], FORMAT, blob, ids))


def read(link: Link, topic: str, from_offset: int = 0) -> Iterator[Record]:
    """The records from an offset on, in order. A gap or an unknown format refuses to go on."""
    expected = None
    for base, count, format_, blob in link.execute(_READ, (topic, PARTITION, topic, PARTITION, from_offset)):
        if format_ != FORMAT:
            raise StoreMismatch(f"a segment of {topic} has format {format_}; this version reads {FORMAT}")
        if expected is not None and base != expected:
            raise StoreMismatch(f"the log of {topic} has a gap: {expected} is missing, {base} follows")
        times, raws = _decoder.decode(blob)
        expected = base + count
        for index in range(max(0, from_offset - base), count):
            yield Record(base + index, times[index], raws[index])


def read_one(link: Link, topic: str, offset: int) -> Record | None:
    """The record at an offset, None when retention has dropped it."""
    for record in read(link, topic, offset):
        return record if record.offset == offset else None
    return None


def bounds(link: Link, topic: str) -> tuple[int, int]:
    """The first offset still kept, and the next one to be written."""
    row = link.execute(
        "SELECT min(base_offset), max(base_offset + count) FROM log_segment WHERE topic = ? AND partition = ?",
        (topic, PARTITION),
    ).fetchone()
    return (row[0], row[1]) if row[0] is not None else (0, 0)


def last_at_ms(link: Link, topic: str) -> int:
    """When the log took its last record of a topic, 0 when there is none."""
    row = link.execute(
        "SELECT last_at_ms FROM log_segment WHERE topic = ? AND partition = ? ORDER BY base_offset DESC LIMIT 1",
        (topic, PARTITION),
    ).fetchone()
    return row[0] if row else 0


def recent_ids(link: Link, topic: str, count: int) -> list[tuple[int, bytes]]:
    """(base offset, ids) of the newest segments that together hold ``count`` records, oldest first."""
    found: list[tuple[int, bytes]] = []
    for base, held, ids in link.execute(
        "SELECT base_offset, count, ids FROM log_segment WHERE topic = ? AND partition = ? ORDER BY base_offset DESC",
        (topic, PARTITION),
    ):
        found.append((base, ids))
        count -= held
        if count <= 0:
            break
    found.reverse()
    return found


def drop_before(link: Link, topic: str, at_ms: int, below_offset: int, most: int = 100) -> int:
    """Drop up to ``most`` whole segments whose last record is older than ``at_ms`` and below an offset.

    The newest segment stays, so that offsets never start again. Returns how many were dropped.
    """
    cursor = link.execute(
        "DELETE FROM log_segment WHERE topic = ? AND partition = ? AND base_offset IN ("
        "SELECT base_offset FROM log_segment WHERE topic = ? AND partition = ? AND last_at_ms < ? "
        "AND base_offset + count <= ? AND base_offset < "
        "(SELECT max(base_offset) FROM log_segment WHERE topic = ? AND partition = ?) ORDER BY base_offset LIMIT ?)",
        (topic, PARTITION, topic, PARTITION, at_ms, below_offset, topic, PARTITION, most),
    )
    return cursor.rowcount
