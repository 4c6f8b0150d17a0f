"""Writes the input partitions as files that ``tripline replay`` reads: what was live can be judged again, exactly."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from storage import log
from storage.store import Store
from streams.replay.dump import MANIFEST, Manifest, dump_line
from streams.routing import INPUT_TOPICS

_PIECE = 5_000
_encode = msgspec.json.Encoder().encode


def dump(store: Store, folder: Path) -> dict[str, int]:
    """Write one file a topic and the manifest into ``folder``; returns how many records each topic has.

    Reads in pieces, so that no read transaction holds back the checkpoint. Records that come meanwhile may or may
    not be in it. The replay starts from nothing: a log whose beginning retention has dropped can't be replayed to
    the same outputs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    link = store.connect()
    try:
        found = dict(link.execute("SELECT name, value FROM meta"))
        topic_ids = {topic: found.get(f"topic_id:{topic}", topic) for topic in INPUT_TOPICS}
        counts = {topic: _dump_topic(link, topic, folder / f"{topic}.jsonl") for topic in INPUT_TOPICS}
    finally:
        link.close()
    manifest = Manifest(engine_id=found.get("engine_id", "main"), topic_ids=topic_ids)
    (folder / MANIFEST).write_bytes(msgspec.json.format(_encode(manifest)) + b"\n")
    return counts


def _dump_topic(link: sqlite3.Connection, topic: str, path: Path) -> int:
    count, end = 0, log.bounds(link, topic)[1]
    with path.open("wb") as out:
        for lines in _pieces(link, topic, end):
            out.writelines(lines)
            count += len(lines)
    return count


def _pieces(link: sqlite3.Connection, topic: str, end: int) -> Iterator[list[bytes]]:
    start = log.bounds(link, topic)[0]
    while start < end:
        lines: list[bytes] = []
        for record in log.read(link, topic, start):
            if record.offset >= end or len(lines) >= _PIECE:
                break
            lines.append(dump_line(record.raw, topic, 0, record.offset, record.at_ms))
            start = record.offset + 1
        if not lines:
            return
        yield lines
