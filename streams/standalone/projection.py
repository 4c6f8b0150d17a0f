"""The rows of what agents did, as a projection of topic agent.actions: what its two drivers have in common.

A driver is a thread (``projector``) or a process of its own (``projector_process``). Either gathers rows here and has
them written together with their position in the log. Quiet times are written at once; under load a driver gathers for
a second, because many rows of one agent written together cost a fraction of what they cost one by one: 500 rows at
once cost twice as much each as 10,000.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Protocol

from events.times import DAY_MS
from storage import actions, log
from storage.actions import ActionRows
from storage.errors import StoreInUse
from storage.store import Store
from streams.records import Entry
from streams.routing import ACTIONS
from streams.standalone.bands import Band
from streams.standalone.recovery import read_logged

ROWS_AT_ONCE = 10_000
PIECE_BYTES = 1 << 24
"""So much of the log is held at once, however few records that is."""
PAUSE_SECS = 0.1
"""Between two looks: what comes meanwhile is taken together. The first after a lull is written at once."""
FEW_ROWS = 50
"""So many are written at each look; when there are more, and more are coming, they are gathered."""
GATHER_SECS = 1.0
MAX_WAITING = 50_000
RETRY_SECS = 0.5
LOCK = "projections.lock"
_KEEP_MS = 8 * DAY_MS
"""How long rows are kept: the pages show 48 hours, a stop is looked into for some days."""
_CLEAN_SECS = 20.0
_LOCK_SECS, _LOCK_LOOK_SECS = 2.0, 0.02

Denial = tuple[str, int]
"""An operation that the gate refused: the agent's key, and when (ms)."""


class Projection(Protocol):
    """A driver, as the runtime sees it. ``take…`` never wait.

    ``position`` is the next offset that has no row yet; ``trouble`` says in words why rows can't be written, and is
    empty when all is well.
    """

    position: int
    trouble: str

    def start(self) -> None:
        """Begin; it first reads what it missed from the log."""

    def take(self, entries: list[Entry]) -> None:
        """Records of agent.actions that are durable now; at least one."""

    def take_denials(self, denials: Sequence[Denial]) -> None:
        """Operations that the gate refused."""

    def take_bands(self, bands: Sequence[Band]) -> None:
        """What the rate detector expects: (agent's key, start of the five minutes, expected, limit)."""

    def wait_until_idle(self, timeout_secs: float) -> bool:
        """Wait until everything taken so far is written; False when that took too long."""

    def stop(self, timeout_secs: float = 10.0) -> None:
        """Write what was taken and end."""


MakeProjection = Callable[[Store, str, Callable[[frozenset[str]], None]], Projection]
"""Makes one. Arguments: the store, the topic's id, and who hears of which agents there are new rows."""


class Rows:
    """Rows gathered from the log or from memory, and the connections to write and to read. Not for several threads."""

    def __init__(self, out: sqlite3.Connection, source: sqlite3.Connection, topic_id: str) -> None:
        self.topic_id = topic_id
        self.position = self.taken = actions.position(out, ACTIONS, topic_id)
        """The next offsets that are not written yet, and not gathered yet."""
        self._out = out
        self._source = source
        self._gathered = ActionRows()
        self._now_ms = log.last_at_ms(source, ACTIONS)
        self._gathered.load_open(out, self._now_ms - _KEEP_MS)
        self._cleaned = self._written = time.monotonic()

    def __len__(self) -> int:
        return len(self._gathered)

    def take(self, entries: Sequence[Entry]) -> int:
        """Gather records; those that were taken before are passed over. Returns how many were new."""
        gathered, first = self._gathered, self.taken
        new = 0
        for offset, at_ms, event in entries:
            if offset >= first:
                gathered.take(offset, at_ms, event)
                new += 1
        self.taken = max(first, entries[-1][0] + 1)
        self._now_ms = entries[-1][1]
        return new

    def take_logged(self) -> bool:
        """Gather the next records from the log; True when there may be more. The read transaction is short."""
        held, size = [], 0
        for record in log.read(self._source, ACTIONS, self.taken):
            held.append(record)
            size += len(record.raw)
            if len(held) >= ROWS_AT_ONCE or size >= PIECE_BYTES:
                break
        if not held:
            return False
        self.take([(record.offset, record.at_ms, read_logged(ACTIONS, record)) for record in held])
        return len(held) >= ROWS_AT_ONCE or size >= PIECE_BYTES

    def denied(self, denial: Denial) -> None:
        """Count an operation that the gate refused."""
        self._gathered.denied(*denial)

    def band(self, band: Band) -> None:
        """Note what the rate detector expects."""
        self._gathered.band(*band)

    def may_gather(self, waiting: int = 0) -> bool:
        """Whether what was taken, and ``waiting`` records that were not taken yet, may wait for more."""
        if not FEW_ROWS < len(self) + waiting < ROWS_AT_ONCE:
            return False
        return time.monotonic() - self._written < GATHER_SECS

    def write(self) -> frozenset[str]:
        """Write what was gathered, with the position; returns the ids of the agents that have new rows."""
        self._written = time.monotonic()
        gathered = self._gathered
        if gathered.next_offset is None and not len(gathered):
            return frozenset()
        agents = gathered.agents()
        gathered.write(self._out, ACTIONS, self.topic_id)
        gathered.next_offset = None
        self.position = self.taken
        return agents

    def clean(self) -> None:
        """Drop some rows that are too old, if it is time to; when there were many, it soon is again."""
        if time.monotonic() - self._cleaned > _CLEAN_SECS:
            dropped = actions.drop_before(self._out, self._now_ms - _KEEP_MS)
            self._cleaned = time.monotonic() - (_CLEAN_SECS - 0.2 if dropped else 0.0)


@contextmanager
def open_rows(store: Store, topic_id: str) -> Iterator[Rows]:
    """The rows' file, for this caller alone, and the log. Raises StoreInUse while somebody else keeps it.

    Totals are added up, so two that write from the same position would count twice. It can happen: a process that
    lost its parent ends by itself, but the next server may be quicker.
    """
    with ExitStack() as stack:
        stack.callback(os.close, _lock(store))
        out = stack.enter_context(closing(store.connect_projections()))
        source = stack.enter_context(closing(_reader(store)))
        yield Rows(out, source, topic_id)


def _reader(store: Store) -> sqlite3.Connection:
    """Reads the log. One that may write would tidy up the store's file when it is closed last, locking others out."""
    where = f"{store.path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(where, uri=True, isolation_level=None, check_same_thread=False, timeout=1.0)


def _lock(store: Store) -> int:
    handle = os.open(store.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + _LOCK_SECS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            if time.monotonic() > until:
                os.close(handle)
                raise StoreInUse(f"another process still writes the rows in {store.folder}") from problem
            time.sleep(_LOCK_LOOK_SECS)
        else:
            return handle
