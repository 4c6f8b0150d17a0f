"""What was decided in the store and is still to be written to Kafka: put in the deciding transaction, taken out after.

A row stays until its record is acknowledged, so a decision that is durable is published, whoever dies in between; its
record may come twice, under the same event id.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from storage.link import Link
from storage.sql import quoted

_COLUMNS = ("topic", "key", "partition", "event_id", "body", "created_ms")
_ROW = f"({', '.join('?' * len(_COLUMNS))})"
_PUT = f"INSERT INTO publication ({quoted(_COLUMNS)}) VALUES "  # noqa: S608 - names are our own
_TAKEN = f"SELECT seq, {quoted(_COLUMNS)} FROM publication "  # noqa: S608 - names are our own
_TOGETHER = 100


class Publication(Struct, frozen=True, gc=False):
    """A record for Kafka. ``topic`` is without the prefix, ``created_ms`` is when it was decided; ``seq`` 0 = not put
    yet."""

    topic: str
    key: str
    partition: int
    event_id: str
    body: bytes
    created_ms: int
    seq: int = 0


def put(link: Link, wanted: Sequence[Publication]) -> list[int]:
    """Put records into the table, inside the caller's transaction; returns their numbers, in order."""
    seqs: list[int] = []
    for start in range(0, len(wanted), _TOGETHER):
        some = wanted[start : start + _TOGETHER]
        values = [
            value
            for one in some
            for value in (one.topic, one.key, one.partition, one.event_id, one.body, one.created_ms)
        ]
        found = link.execute(f"{_PUT}{', '.join([_ROW] * len(some))} RETURNING seq", values)
        seqs += [seq for (seq,) in found.fetchall()]
    return sorted(seqs)


def waiting(
    link: Link, *, topics: Sequence[str] = (), before_ms: int | None = None, most: int = 500
) -> list[Publication]:
    """Records that wait, in order. ``topics``: only of these; ``before_ms``: only those decided before."""
    conditions, values = ["1 = 1"], list[object]()
    if topics:
        conditions.append(f"topic IN ({', '.join('?' * len(topics))})")
        values += topics
    if before_ms is not None:
        conditions.append("created_ms < ?")
        values.append(before_ms)
    where = " AND ".join(conditions)
    found = link.execute(f"{_TAKEN} WHERE {where} ORDER BY seq LIMIT ?", (*values, most))
    return [
        Publication(topic, key, partition, event_id, bytes(body), created_ms, seq)
        for seq, topic, key, partition, event_id, body, created_ms in found
    ]


def done(link: Link, seqs: Sequence[int]) -> None:
    """Their records are acknowledged."""
    for start in range(0, len(seqs), _TOGETHER):
        some = seqs[start : start + _TOGETHER]
        link.execute(f"DELETE FROM publication WHERE seq IN ({', '.join('?' * len(some))})", some)  # noqa: S608
