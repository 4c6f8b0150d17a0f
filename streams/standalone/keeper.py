"""The thread that keeps time and keeps the write-ahead log short.

Ticks come from the runtime's clock. Checkpoints run on a connection of their own, so that the writer does not pay for
them; the writer's next transaction then starts the write-ahead log from its beginning.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

import structlog

from governance.ports import Clock
from storage.background import Background
from storage.store import Store

CHECKPOINT_BYTES = 4 * 1024 * 1024
_CHECKPOINT_SECS = 0.5
_log = structlog.get_logger("tripline.keeper")


class Ticker(Background):
    """Calls ``on_tick`` with each boundary of ``tick_ms`` that the clock reaches; boundaries slept through are one."""

    def __init__(self, clock: Clock, tick_ms: int, on_tick: Callable[[int], None]) -> None:
        super().__init__("tripline-ticker")
        self.clock = clock
        self.tick_ms = tick_ms
        self._on_tick = on_tick

    def _run(self) -> None:
        last = self.clock.now_ms() // self.tick_ms * self.tick_ms
        while not self._stop.is_set():
            now = self.clock.now_ms() // self.tick_ms * self.tick_ms
            if now > last:
                last = now
                self._on_tick(now)
            self._stop.wait(min(0.5, max(0.002, self.clock.wait_secs(last + self.tick_ms))))


class Checkpointer(Background):
    """Copies the write-ahead log into the store's file, away from the writer's thread."""

    def __init__(self, store: Store) -> None:
        super().__init__("tripline-checkpointer", stop_secs=10.0)
        self.store = store

    def _run(self) -> None:
        while not self._stop.wait(_CHECKPOINT_SECS):
            try:
                if self.store.wal_bytes() > CHECKPOINT_BYTES:
                    self._checkpoint()
            except (sqlite3.Error, OSError) as problem:
                _log.warning("checkpoint_failed", problem=str(problem))
                time.sleep(_CHECKPOINT_SECS)

    def _checkpoint(self) -> None:
        link = sqlite3.connect(self.store.path, isolation_level=None, timeout=1.0)
        try:
            link.execute("PRAGMA synchronous=FULL")
            link.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            link.close()
