"""What was decided in the store and is still to be written to Kafka: put in the deciding transaction, taken out after.

A row stays until its record is acknowledged, so a decision that is durable is published, whoever dies in between; its
record may come twice, under the same event id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from storage.link import Cursor, Link
from storage.sql import quoted

Kind = Literal["decision", "admission", "letter"]
"""Decisions go out in the order of deciding; an admission is sent by the gate that made it; a letter is a dead one."""
_COLUMNS = ("kind", "topic", "key", "partition", "event_id", "body", "created_ms")
_ROW = f"({', '.join('?' * len(_COLUMNS))})"
_PUT = f"INSERT INTO publication ({quoted(_COLUMNS)}) VALUES "  # noqa: S608 - names are our own
_TAKEN = f"SELECT seq, {quoted(_COLUMNS)} FROM publication"  # noqa: S608 - names are our own
_TOGETHER = 100


class Publication(Struct, frozen=True, kw_only=True, gc=False):
    """A record for Kafka; ``topic`` is without the prefix, ``created_ms`` when it was decided, ``seq`` 0 = not put."""

    kind: Kind
    topic: str
    key: str
    partition: int
    event_id: str
    body: bytes
    created_ms: int
    seq: int = 0


def put(link: Link, wanted: Sequence[Publication]) -> list[Cursor]:
    """Put records into the table, inside the caller's transaction; ``numbers`` waits for the answers."""
    asked = []
    for start in range(0, len(wanted), _TOGETHER):
        some = wanted[start : start + _TOGETHER]
        values = [value for one in some for value in _values(one)]
        asked.append(link.execute(f"{_PUT}{', '.join([_ROW] * len(some))} RETURNING seq", values))
    return asked


def numbers(asked: Sequence[Cursor]) -> list[int]:
    """The numbers of what was put, in order."""
    return sorted(seq for one in asked for (seq,) in one.fetchall())


def decided(link: Link, most: int) -> list[Publication]:
    """Decisions and letters that wait, in order."""
    return _read(link.execute(f"{_TAKEN} WHERE kind <> 'admission' ORDER BY seq LIMIT ?", (most,)))


def admitted_before(link: Link, before_ms: int, most: int) -> list[Publication]:
    """Admissions made before a time that wait still: their gate has died, or its broker is slow."""
    query = f"{_TAKEN} WHERE kind = 'admission' AND created_ms < ? ORDER BY seq LIMIT ?"
    return _read(link.execute(query, (before_ms, most)))


def admitted_to(link: Link, keys: Sequence[str]) -> list[Publication]:
    """Admissions of these agents that wait."""
    marks = ", ".join("?" * len(keys))
    query = f"{_TAKEN} WHERE kind = 'admission' AND key IN ({marks}) ORDER BY seq"
    return _read(link.execute(query, keys))


def done(link: Link, seqs: Sequence[int]) -> None:
    """Their records are acknowledged."""
    for start in range(0, len(seqs), _TOGETHER):
        some = seqs[start : start + _TOGETHER]
        link.execute(f"DELETE FROM publication WHERE seq IN ({', '.join('?' * len(some))})", some)  # noqa: S608


def _values(one: Publication) -> tuple[Any, ...]:
    return one.kind, one.topic, one.key, one.partition, one.event_id, one.body, one.created_ms


def _read(rows: Any) -> list[Publication]:
    return [
        Publication(
            kind=kind, topic=topic, key=key, partition=partition, event_id=event_id, body=bytes(body),
            created_ms=created_ms, seq=seq,
        )
        for seq, kind, topic, key, partition, event_id, body, created_ms in rows
    ]  # fmt: skip
