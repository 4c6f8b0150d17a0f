"""What the gate decided and what is not yet in the table of decisions.

A row of that table touches three trees of the store, most of them at a place of its own, which costs more than the
decision itself. So under load a round writes its decisions as one blob, and they are filed some dozens at a time, in
the transaction of a later round. Below that load they are filed at once.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from governance.gate import Remembered
from storage import gate as gate_store
from storage.gate import Row

AT_ONCE_PER_SEC = 200
"""Up to so many decisions a second are filed in the round that makes them."""
FILED_TOGETHER = 50
"""Filing takes about 20 µs a row, and checks that came meanwhile wait for it."""
FILED_AFTER_SECS = 0.05


class Decided:
    """Decisions that are not filed: those of the open round, and durable ones of rounds before.

    Thrown away with the rest of the writer's memory when a round fails; the blobs are filed when it is made again.
    """

    def __init__(self) -> None:
        self._fresh: list[Row] = []
        self._kept: list[Row] = []
        self._latest: dict[tuple[str, str], Row] = {}
        self._blobs = 0
        self._oldest = 0.0
        self._second = 0.0
        self._count = self._count_before = 0

    def __len__(self) -> int:
        """How many durable decisions are to be filed."""
        return len(self._kept)

    def add(self, row: Row) -> None:
        """Take a decision of the open round; its request id is known from now on."""
        self._fresh.append(row)
        asked_as = gate_store.asked_as(row)
        if asked_as is not None:
            self._latest[asked_as] = row

    def remembered(self, key: str, request_id: str) -> Remembered | None:
        """The answer that was given under a request id, if it is not filed yet."""
        row = self._latest.get((key, request_id))
        return None if row is None else gate_store.remembered_row(row)

    def unfiled(self) -> Sequence[Row]:
        """All that is not in its table yet."""
        return (*self._kept, *self._fresh)

    def write(self, link: sqlite3.Connection) -> None:
        """Before a commit: make the round's decisions durable, and file what is due."""
        fresh, kept = self._fresh, self._kept
        if not fresh and not kept:
            return
        now = time.monotonic()
        if not kept:
            self._oldest = now
        is_busy = self._is_busy(now, len(fresh))
        kept.extend(fresh)
        self._fresh = []
        if is_busy and len(kept) < FILED_TOGETHER and now - self._oldest < FILED_AFTER_SECS:
            if fresh:
                self._blobs += 1
                gate_store.keep_unfiled(link, self._blobs, fresh)
        else:
            self.file(link)

    def file(self, link: sqlite3.Connection) -> None:
        """Put every durable decision into its table, inside an open transaction."""
        gate_store.file_decisions(link, self._kept)
        if self._blobs:
            gate_store.forget_unfiled(link)
        self._blobs = 0
        self._kept.clear()
        self._latest.clear()

    def _is_busy(self, now: float, count: int) -> bool:
        """Whether this second or the one before has many decisions."""
        if now - self._second >= 1.0:
            self._count_before = self._count if now - self._second < 2.0 else 0
            self._second, self._count = now, 0
        self._count += count
        return max(self._count, self._count_before) > AT_ONCE_PER_SEC
