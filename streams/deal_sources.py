"""Where a history of deals is read from: files (raw, or dumps of input partitions), or the store's own log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from msgspec import UNSET

from events.types import ActivityEvent, ChangeEvent
from governance.settings import Deals
from scoring.training.rows import History
from storage import log
from storage.store import Store
from streams.deal_history import Batch, read_history
from streams.records import Entry
from streams.replay.dump import is_dump, records_of
from streams.replay.reader import BadLine, OutOfOrder, read
from streams.routing import CRM
from streams.standalone.recovery import read_logged

_BATCH = 5_000


def history_of_files(
    paths: Sequence[Path], settings: Deals, bad: list[BadLine], until_ms: int | None = None
) -> History:
    """The deals of log files. Raises OSError, and NotADump for a damaged dump.

    A dump is read as it was live; raw files in the order of time, source and id, as ``tripline replay`` does; those
    that are far out of it are sorted on disk.
    """
    if any(is_dump(path) for path in paths):
        return read_history(_dumped(paths), settings, until_ms)
    try:
        return read_history(_raw(paths, bad, is_external=False), settings, until_ms)
    except OutOfOrder:
        bad.clear()
        return read_history(_raw(paths, bad, is_external=True), settings, until_ms)


def history_of_store(store: Store, settings: Deals, until_ms: int | None = None) -> History:
    """The deals of a standalone store's log, also while its server runs. Raises StoreError."""
    return read_history(_stored(store), settings, until_ms)


def _dumped(paths: Sequence[Path]) -> Iterator[Batch]:
    for path in paths:
        found = ((_partition(event), at_ms, event) for at_ms, event in records_of(path) if event.logtopic == CRM)
        for index, records in groupby(found, lambda one: one[0]):
            entries: list[Entry] = []
            for _, at_ms, event in records:
                entries.append((event.logoffset, at_ms, event))  # type: ignore[arg-type]
                if len(entries) >= _BATCH:
                    yield index, entries
                    entries = []
            yield index, entries


def _stored(store: Store) -> Iterator[Batch]:
    link = store.connect()
    try:
        start, end = log.bounds(link, CRM)
        while start < end:
            entries: list[Entry] = []
            for record in log.read(link, CRM, start):
                if record.offset >= end or len(entries) >= _BATCH:
                    break
                entries.append((record.offset, record.at_ms, read_logged(CRM, record)))
            if not entries:
                return
            start = entries[-1][0] + 1
            yield log.PARTITION, entries
    finally:
        link.close()


def _raw(paths: Sequence[Path], bad: list[BadLine], *, is_external: bool) -> Iterator[Batch]:
    offset = 0
    for items in read(paths, bad, external=is_external):
        entries: list[Entry] = []
        for at_ms, _, _, _, event in items:
            if type(event) is ChangeEvent or type(event) is ActivityEvent:
                entries.append((offset, at_ms, event))
                offset += 1
        yield 0, entries


def _partition(event: object) -> int:
    index = getattr(event, "logpartition", UNSET)
    return 0 if index is UNSET else int(index)
