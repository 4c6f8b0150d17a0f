"""Snapshots of the stages' states, and how far each topic is judged."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from storage.errors import StoreMismatch
from storage.link import Link
from storage.log import PARTITION
from storage.sql import upsert
from storage.tables import snapshot, watermark

_SAVE = upsert(snapshot) + ' WHERE excluded."next_offset" >= "snapshot"."next_offset"'
_MARK = upsert(watermark)


class Kept(Struct, frozen=True, gc=False):
    """One key's state as it was stored."""

    key: str
    next_offset: int
    blob: bytes


class Mark(Struct, frozen=True):
    """Everything below ``next_offset`` is judged and its outputs stored; snapshots hold all below ``resume``."""

    next_offset: int
    resume_offset: int
    at_ms: int


def save(link: Link, stage: str, topic_id: str, taken: Iterable[tuple[str, int, bytes]]) -> None:
    """Store (key, next_offset, blob) of a stage; an older state never replaces a newer one."""
    link.executemany(_SAVE, ((stage, PARTITION, key, offset, topic_id, blob) for key, offset, blob in taken))


def load(link: Link, stage: str, topic_id: str) -> list[Kept]:
    """The stored states of a stage. States of another incarnation of the topic refuse to be loaded."""
    found = []
    for key, next_offset, of_topic, blob in link.execute(
        "SELECT key, next_offset, topic_id, blob FROM snapshot WHERE stage = ? AND partition = ?", (stage, PARTITION)
    ):
        if of_topic != topic_id:
            raise StoreMismatch(
                f"the states of stage {stage} belong to topic {of_topic}, not to {topic_id}: the log was made anew; "
                "restore the whole store from one backup, or start with an empty data_dir"
            )
        found.append(Kept(key, next_offset, blob))
    return found


def forget(link: Link, stage: str, keys: Iterable[str]) -> None:
    """Drop the states of keys that are gone for good."""
    link.executemany(
        "DELETE FROM snapshot WHERE stage = ? AND partition = ? AND key = ?", ((stage, PARTITION, key) for key in keys)
    )


def mark(link: Link, topic: str, topic_id: str, found: Mark) -> None:
    """Store how far a topic is judged."""
    link.execute(_MARK, (topic, PARTITION, topic_id, found.next_offset, found.resume_offset, found.at_ms))


def marked(link: Link, topic: str, topic_id: str) -> Mark | None:
    """How far a topic is judged, None when it was never marked."""
    row = link.execute(
        "SELECT topic_id, next_offset, resume_offset, at_ms FROM watermark WHERE topic = ? AND partition = ?",
        (topic, PARTITION),
    ).fetchone()
    if row is None:
        return None
    if row[0] != topic_id:
        raise StoreMismatch(f"the watermark of {topic} belongs to topic {row[0]}, not to {topic_id}")
    return Mark(*row[1:])
