"""The thread that follows topic agent.actions and keeps the rows of what agents did.

It takes committed records from memory as long as it keeps up, and reads them from the log after a restart or when it
fell behind. Its position is stored with its rows.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from storage.store import Store
from streams.records import Entry
from streams.standalone.bands import Band
from streams.standalone.projection import MAX_WAITING, PAUSE_SECS, RETRY_SECS, ROWS_AT_ONCE, Denial, Rows, open_rows

_log = structlog.get_logger("tripline.projector")


class Projector:
    """Follows the log in this process (``Projection``).

    Parameters: the store, the topic's id, and who hears of which agents there are new rows.
    """

    def __init__(self, store: Store, topic_id: str, on_written: Callable[[frozenset[str]], None]) -> None:
        self.store = store
        self.topic_id = topic_id
        self._on_written = on_written
        self.position = 0
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
                with open_rows(self.store, self.topic_id) as rows:
                    self._follow(rows)
                return
            except Exception as problem:  # whatever it is, the log has it all: say so and begin again
                self.trouble = str(problem)
                _log.warning("projections_not_written", problem=self.trouble, kind=type(problem).__name__)
                if self._stop:
                    return
                time.sleep(RETRY_SECS)

    def _follow(self, rows: Rows) -> None:
        self.position = rows.position
        self._missed = True
        while True:
            if self._missed:
                self._read_log(rows)
            self._wake.wait(PAUSE_SECS if len(rows) else 1.0)
            is_more_coming = self._wake.is_set()
            self._wake.clear()
            self._take_waiting(rows)
            if not (is_more_coming and self._may_gather(rows)):
                self._write(rows)
                self.trouble = ""
                if self._waiting or self._missed:
                    self._wake.set()
                    continue
                if self._is_idle() and self._stop:
                    return
            self._pause.wait(PAUSE_SECS)
            rows.clean()

    def _read_log(self, rows: Rows) -> None:
        """Catch up from the log."""
        self._missed = False
        while not self._stop:
            has_more = rows.take_logged()
            self._write(rows)
            if not has_more:
                return

    def _take_waiting(self, rows: Rows) -> None:
        waiting = self._waiting
        taken = 0
        while waiting and taken < ROWS_AT_ONCE and not self._missed:
            entries = waiting.popleft()
            self._waiting_records -= len(entries)
            if entries[0][0] > rows.taken:
                self._missed = True  # some were dropped while it was far behind
                return
            taken += rows.take(entries)
        while self._denials:
            rows.denied(self._denials.popleft())
        while self._bands:
            rows.band(self._bands.popleft())

    def _is_idle(self) -> bool:
        """Say that every record has its row, unless one came just now."""
        self._idle.set()
        if self._waiting or self._denials or self._bands:
            self._idle.clear()
            self._wake.set()
            return False
        return True

    def _may_gather(self, rows: Rows) -> bool:
        """Whether what was taken may wait for more."""
        return not self._stop and not self._missed and rows.may_gather()

    def _write(self, rows: Rows) -> None:
        agents = rows.write()
        self.position = rows.position
        if agents:
            self._on_written(agents)
