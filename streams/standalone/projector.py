"""The thread that follows topic agent.actions and keeps the rows of what agents did.

It takes committed records from memory as long as it keeps up, and reads them from the log after a restart or when it
fell behind. Its position is stored with its rows. Quiet times are written at once; under load it gathers for a second,
because many rows of one agent written together cost a fraction of what they cost one by one: 500 rows at once cost
twice as much each as 10,000.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from events.times import DAY_MS
from storage import actions, log
from storage.actions import ActionRows
from storage.store import Store
from streams.records import Entry
from streams.routing import ACTIONS
from streams.standalone.bands import Band
from streams.standalone.recovery import read_logged

ROWS_AT_ONCE = 10_000
PAUSE_SECS = 0.1
"""Between two looks: what comes meanwhile is taken together. The first after a lull is written at once."""
FEW_ROWS = 50
"""So many are written at each look; when there are more, and more are coming, they are gathered."""
GATHER_SECS = 1.0
MAX_WAITING = 50_000
_KEEP_MS = 8 * DAY_MS
"""How long rows are kept: the pages show 48 hours, a stop is looked into for some days."""
_CLEAN_SECS = 20.0
_RETRY_SECS = 0.5
_log = structlog.get_logger("tripline.projector")

Denial = tuple[str, int]


class Projector:
    """Follows the log. Parameters: the store, the topic's id, and who hears of which agents there are new rows."""

    def __init__(self, store: Store, topic_id: str, on_written: Callable[[frozenset[str]], None]) -> None:
        self.store = store
        self.topic_id = topic_id
        self._on_written = on_written
        self.position = 0
        self._taken = 0
        self.trouble = ""
        self._waiting: deque[list[Entry]] = deque()
        self._waiting_records = 0
        self._denials: deque[Denial] = deque()
        self._bands: deque[Band] = deque()
        self._missed = False
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._pause = threading.Event()
        self._stop = False
        self._now_ms = 0
        self._cleaned = time.monotonic()
        self._written = self._cleaned
        self._thread = threading.Thread(target=self._run, name="tripline-projector", daemon=True)

    def start(self) -> None:
        """Start the thread; it first reads what it missed from the log."""
        self._missed = True
        self._thread.start()

    def take(self, entries: list[Entry]) -> None:
        """Records of agent.actions that are durable now. Called by the writer; never waits."""
        if self._waiting_records > MAX_WAITING:
            self._missed = True  # read from the log instead of growing without end
            return
        self._waiting.append(entries)
        self._waiting_records += len(entries)
        self._now_ms = entries[-1][1]
        self._idle.clear()
        if not self._wake.is_set():
            self._wake.set()

    def take_denials(self, denials: Sequence[Denial]) -> None:
        """Operations that the gate refused: (agent's key, when)."""
        self._denials.extend(denials)
        self._idle.clear()
        self._wake.set()

    def take_bands(self, bands: Sequence[Band]) -> None:
        """What the rate detector expects: (agent's key, start of the five minutes, expected, limit)."""
        self._bands.extend(bands)
        self._idle.clear()
        self._wake.set()

    def wait_until_idle(self, timeout_secs: float) -> bool:
        """Wait until every record taken so far has its row."""
        return self._idle.wait(timeout_secs)

    def stop(self, timeout_secs: float = 10.0) -> None:
        """Write what is gathered and end the thread."""
        self._stop = True
        self._pause.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_secs)

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                self._follow()
                return
            except Exception as problem:  # whatever it is, the log has it all: say so and begin again
                self.trouble = str(problem)
                _log.warning("projections_not_written", problem=self.trouble, kind=type(problem).__name__)
                if self._stop:
                    return
                time.sleep(_RETRY_SECS)

    def _follow(self) -> None:
        out, source = self.store.connect_projections(), self.store.connect()
        try:
            self.position = self._taken = actions.position(out, ACTIONS, self.topic_id)
            rows = ActionRows()
            last = log.last_at_ms(source, ACTIONS)
            rows.load_open(out, last - _KEEP_MS)
            self._missed = True
            while True:
                if self._missed:
                    self._read_log(out, source, rows)
                self._wake.wait(PAUSE_SECS if len(rows) else 1.0)
                is_more_coming = self._wake.is_set()
                self._wake.clear()
                self._take_waiting(rows)
                if not (is_more_coming and self._may_gather(rows)):
                    self._write(out, rows)
                    self.trouble = ""
                    if self._waiting or self._missed:
                        self._wake.set()
                        continue
                    if self._is_idle() and self._stop:
                        return
                self._pause.wait(PAUSE_SECS)
                if time.monotonic() - self._cleaned > _CLEAN_SECS:
                    self._clean(out)
        finally:
            out.close()
            source.close()

    def _read_log(self, out: sqlite3.Connection, source: sqlite3.Connection, rows: ActionRows) -> None:
        """Catch up from the log; one short read transaction for each piece."""
        self._missed = False
        while not self._stop:
            count = 0
            for record in log.read(source, ACTIONS, self._taken):
                rows.take(record.offset, record.at_ms, read_logged(ACTIONS, record))
                count += 1
                if count >= ROWS_AT_ONCE:
                    break
            if rows.next_offset is not None:
                self._taken = rows.next_offset
            self._write(out, rows)
            if count < ROWS_AT_ONCE:
                return

    def _take_waiting(self, rows: ActionRows) -> None:
        waiting = self._waiting
        taken = 0
        while waiting and taken < ROWS_AT_ONCE and not self._missed:
            entries = waiting.popleft()
            self._waiting_records -= len(entries)
            if entries[0][0] > self._taken:
                self._missed = True  # some were dropped while it was far behind
                return
            for offset, at_ms, event in entries:
                if offset >= self._taken:
                    rows.take(offset, at_ms, event)
                    taken += 1
            self._taken = max(self._taken, entries[-1][0] + 1)
        while self._denials:
            rows.denied(*self._denials.popleft())
        while self._bands:
            rows.band(*self._bands.popleft())

    def _is_idle(self) -> bool:
        """Say that every record has its row, unless one came just now."""
        self._idle.set()
        if self._waiting or self._denials or self._bands:
            self._idle.clear()
            self._wake.set()
            return False
        return True

    def _may_gather(self, rows: ActionRows) -> bool:
        """Whether what was taken may wait for more."""
        if self._stop or self._missed or not FEW_ROWS < len(rows) < ROWS_AT_ONCE:
            return False
        return time.monotonic() - self._written < GATHER_SECS

    def _write(self, out: sqlite3.Connection, rows: ActionRows) -> None:
        self._written = time.monotonic()
        if rows.next_offset is None and not len(rows):
            return
        agents = rows.agents()
        rows.write(out, ACTIONS, self.topic_id)
        rows.next_offset = None
        self.position = self._taken
        if agents:
            self._on_written(agents)

    def _clean(self, out: sqlite3.Connection) -> None:
        """Drop some rows that are too old; when there were many, go on soon."""
        dropped = actions.drop_before(out, self._now_ms - _KEEP_MS)
        self._cleaned = time.monotonic() - (_CLEAN_SECS - 0.2 if dropped else 0.0)
