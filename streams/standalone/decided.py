"""What the gate decided and what is not yet in the table of decisions.

A row of that table touches three trees of the store, two of them at a place of its agent, and writing the pages is what
costs: fifty rows of fifty agents are over a hundred pages. So under load a round writes its decisions as one blob.
They are filed later, agent by agent, a few rows in each round: an agent's rows lie on the same pages, and no round
has much more to write than another. Below that load they are filed at once.
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
FILED_TOGETHER = 500
"""So many are sorted by agent; the more, the more rows share their pages."""
FILED_AFTER_SECS = 0.5
FILED_A_ROUND = 10
"""At least so many rows are filed in a round, and twice as many as came in it: what waits can't grow."""
FILED_A_LULL = 50
FORGOTTEN_A_ROUND = 20
"""Blobs whose rows are all filed, deleted in a round."""
LULL_SECS, _NEXT_SECS = 0.05, 0.003


class Decided:
    """Decisions that are not filed: those of the open round, and durable ones of rounds before.

    Rows of an agent are filed in the order in which they were decided, so those of them that are filed are always the
    first ones. Thrown away with the rest of the writer's memory when a round fails; the blobs are filed when it is
    made again.
    """

    def __init__(self) -> None:
        self._fresh: list[Row] = []
        self._kept: list[Row] = []
        self._filing: dict[str, list[Row]] = {}
        self._latest: dict[tuple[str, str], Row] = {}
        self._blobs = self._sorted_blobs = self._forgotten_blobs = 0
        self._oldest = 0.0
        self._second = 0.0
        self._count = self._count_before = 0

    def __len__(self) -> int:
        """How many durable decisions are to be filed."""
        return len(self._kept) + sum(map(len, self._filing.values()))

    @property
    def has_work(self) -> bool:
        """Whether something is to be filed, or blobs of filed rows are to be deleted."""
        return bool(self._kept) or self._is_filing

    @property
    def wait_secs(self) -> float:
        """How long the writer waits for other work before it files."""
        return _NEXT_SECS if self._is_filing else LULL_SECS

    @property
    def _is_filing(self) -> bool:
        return bool(self._filing) or self._forgotten_blobs < self._sorted_blobs

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
        """All that is not in its table yet, the oldest first."""
        filing = sorted((row for rows in self._filing.values() for row in rows), key=gate_store.age)
        return (*filing, *self._kept, *self._fresh)

    def write(self, link: sqlite3.Connection) -> None:
        """Before a commit: make the round's decisions durable, and file what is due."""
        fresh, self._fresh = self._fresh, []
        if not fresh and not self.has_work:
            return
        now = time.monotonic()
        is_busy = self._is_busy(now, len(fresh))
        if not is_busy and not self.has_work:
            self._file(link, fresh)
            return
        if fresh:
            self._keep(link, fresh, now)
        has_enough = len(self._kept) >= FILED_TOGETHER or now - self._oldest >= FILED_AFTER_SECS
        self._go_on(link, max(FILED_A_ROUND, 2 * len(fresh)) if fresh else FILED_A_LULL, has_enough or not is_busy)

    def _keep(self, link: sqlite3.Connection, fresh: list[Row], now: float) -> None:
        if not self._kept:
            self._oldest = now
        self._blobs += 1
        gate_store.keep_unfiled(link, self._blobs, fresh)
        self._kept.extend(fresh)

    def _go_on(self, link: sqlite3.Connection, most: int, may_sort: bool) -> None:
        """A step of filing: up to ``most`` rows, or some blobs fewer."""
        if not self._filing and self._forgotten_blobs < self._sorted_blobs:
            self._forgotten_blobs = min(self._sorted_blobs, self._forgotten_blobs + FORGOTTEN_A_ROUND)
            gate_store.forget_unfiled(link, self._forgotten_blobs)
            return
        if not self._filing and may_sort:
            for row in self._kept:
                self._filing.setdefault(gate_store.key_of(row), []).append(row)
            self._kept, self._sorted_blobs = [], self._blobs
        if self._filing:
            self._file(link, self._take(most))

    def _take(self, most: int) -> list[Row]:
        """The next rows to be filed, those of one agent after those of another."""
        taken: list[Row] = []
        while self._filing and len(taken) < most:
            key, rows = next(iter(self._filing.items()))
            room = most - len(taken)
            taken.extend(rows[:room])
            if len(rows) > room:
                self._filing[key] = rows[room:]
            else:
                del self._filing[key]
        return taken

    def _file(self, link: sqlite3.Connection, rows: Sequence[Row]) -> None:
        gate_store.file_decisions(link, rows)
        for row in rows:
            asked_as = gate_store.asked_as(row)
            if asked_as is not None and self._latest.get(asked_as) is row:
                del self._latest[asked_as]

    def file(self, link: sqlite3.Connection) -> None:
        """Put every durable decision into its table, inside an open transaction."""
        gate_store.file_decisions(link, self.unfiled())
        if self._forgotten_blobs < self._blobs:
            gate_store.forget_unfiled(link, self._blobs)
        self._forgotten_blobs = self._sorted_blobs = self._blobs
        self._fresh, self._kept = [], []
        self._filing.clear()
        self._latest.clear()

    def _is_busy(self, now: float, count: int) -> bool:
        """Whether this second or the one before has many decisions."""
        if now - self._second >= 1.0:
            self._count_before = self._count if now - self._second < 2.0 else 0
            self._second, self._count = now, 0
        self._count += count
        return max(self._count, self._count_before) > AT_ONCE_PER_SEC
