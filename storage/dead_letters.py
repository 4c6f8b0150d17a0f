"""What becomes of dead letters after they were stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

_REDRIVEN = "UPDATE dead_letter SET state = 'redriven', redriven_ms = ? WHERE id = ? AND state = 'new'"


def mark_redriven(link: sqlite3.Connection, ids: Iterable[int], now_ms: int) -> None:
    """Within an open transaction, note that these were taken after all."""
    link.executemany(_REDRIVEN, [(now_ms, id_) for id_ in ids])
