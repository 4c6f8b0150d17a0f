"""The projector in a process of its own, so that writing rows takes no turn of the interpreter that judges.

``ProjectorProcess`` is the server's half: a thread that starts the process (``projecting``), tells it some twenty
times a second at most how far the log reaches, hears what was written, and starts it again when it died.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import structlog

from storage.store import Store
from streams.records import Entry
from streams.standalone.bands import Band
from streams.standalone.line import RECV_BYTES, News, Report, Unframer, framed
from streams.standalone.projection import MAX_WAITING, Denial

TELL_SECS = 0.05
"""Between two messages; the first after a lull goes at once."""
FIRST_RETRY_SECS, LAST_RETRY_SECS = 0.2, 5.0
_AT_ONCE = 5_000
T = TypeVar("T")
_EXIT_SECS = 2.0
_log = structlog.get_logger("tripline.projector")


class ProjectorProcess:
    """Has the log followed by another process (``Projection``).

    Parameters: the store, the topic's id, and who hears of which agents there are new rows. Refusals of the gate and
    bands that were on their way when the process dies are lost, as they are when the server dies.
    """

    def __init__(self, store: Store, topic_id: str, on_written: Callable[[frozenset[str]], None]) -> None:
        self.store = store
        self.topic_id = topic_id
        self._on_written = on_written
        self.position = 0
        self.trouble = ""
        self.pid: int | None = None
        """The process's id while it runs."""
        self._upto = 0
        self._denials: deque[Denial] = deque(maxlen=MAX_WAITING)
        self._bands: deque[Band] = deque(maxlen=MAX_WAITING)
        self._told_upto = -1
        self._number = 0
        self._told_end = False
        self._idle = threading.Event()
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)
        self._is_rung = False
        self._stop = False
        self._stop_before = 0.0
        self._halt = threading.Event()
        self._retry_secs = FIRST_RETRY_SECS
        self._thread = threading.Thread(target=self._run, name="tripline-projector", daemon=True)

    def start(self) -> None:
        """Start the thread, which starts the process."""
        self._thread.start()

    def take(self, entries: list[Entry]) -> None:
        """Records of agent.actions that are durable now. Called by the writer; never waits."""
        self._upto = entries[-1][0] + 1
        self._ring()

    def take_denials(self, denials: Sequence[Denial]) -> None:
        """Operations that the gate refused: (agent's key, when)."""
        self._denials.extend(denials)
        self._ring()

    def take_bands(self, bands: Sequence[Band]) -> None:
        """What the rate detector expects: (agent's key, start of the five minutes, expected, limit)."""
        self._bands.extend(bands)
        self._ring()

    def wait_until_idle(self, timeout_secs: float) -> bool:
        """Wait until everything taken so far is written."""
        return self._idle.wait(timeout_secs)

    def stop(self, timeout_secs: float = 10.0) -> None:
        """Have everything written and the process end; one that has not ended after ``timeout_secs`` is killed."""
        self._stop_before = time.monotonic() + timeout_secs
        self._stop = True
        self._halt.set()
        self._is_rung = False  # it may wait for the process, which may hang
        self._ring()
        if self._thread.is_alive():
            self._thread.join(timeout_secs + 2 * _EXIT_SECS)
        if not self._thread.is_alive():
            self._bell.close()
            self._button.close()

    def _ring(self) -> None:
        """Wake the thread, unless it looks soon anyway."""
        self._idle.clear()
        if not self._is_rung:
            self._is_rung = True
            with suppress(OSError):  # the bell is full, and rings
                self._button.send(b"!")

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            is_last = self._stop
            try:
                problem = self._live()
            except Exception as unforeseen:  # the thread must outlive whatever happens
                _log.exception("projector_failed")
                problem = str(unforeseen) or type(unforeseen).__name__
            if not problem or is_last or (self._stop and time.monotonic() > self._stop_before):
                return
            self._in_trouble(problem)
            self._halt.wait(self._retry_secs)
            self._retry_secs = min(2 * self._retry_secs, LAST_RETRY_SECS)

    def _live(self) -> str:
        """One life of the process; returns why it ended, or nothing when it was told to."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                process = _start(self.store, self.topic_id, theirs)
            self.pid = process.pid
            try:
                with ours:
                    self._serve(ours)
                code = process.wait(_EXIT_SECS)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                process.kill()
                process.wait()
                self.pid = None
        if self._stop and code == 0:
            return ""
        return f"its process ended ({'killed' if code is None else code})"

    def _serve(self, line: socket.socket) -> None:
        """Talk with the process until it closes the line, or for as long as it may take to stop."""
        line.setblocking(False)
        self._told_upto, self._told_end = -1, False
        unframer = Unframer(Report)
        unsent = b""
        not_before = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(line, selectors.EVENT_READ)
            selector.register(self._bell, selectors.EVENT_READ)
            while True:
                now = time.monotonic()
                unsent = _send(line, unsent)
                if not unsent and (now >= not_before or self._stop) and self._has_news():
                    unsent, not_before = _send(line, framed(self._news())), now + TELL_SECS
                selector.modify(line, selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0))
                if self._stop and now > self._stop_before:
                    return
                for key, events in selector.select(self._wait_secs(now, not_before)):
                    if key.fileobj is self._bell:
                        _drain(self._bell)
                    elif events & selectors.EVENT_READ and not self._hear(line, unframer):
                        return

    def _has_news(self) -> bool:
        """Whether there is something to tell; if not, the next piece of news rings."""
        self._is_rung = False
        found = bool(
            self._upto > self._told_upto or self._denials or self._bands or (self._stop and not self._told_end)
        )
        self._is_rung = found
        return found

    def _news(self) -> News:
        self._number += 1
        self._told_upto = self._upto
        denials, bands = _taken(self._denials), _taken(self._bands)
        self._told_end = self._stop and not self._denials and not self._bands
        return News(self._number, self._told_upto, denials, bands, self._told_end)

    def _wait_secs(self, now: float, not_before: float) -> float | None:
        if self._stop:
            return max(0.0, self._stop_before - now) + 0.01
        return not_before - now if now < not_before else None

    def _hear(self, line: socket.socket, unframer: Unframer[Report]) -> bool:
        """Take what the process says; False when it closed the line."""
        try:
            piece = line.recv(RECV_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        for report in unframer.take(piece):
            self._take_report(report)
        return bool(piece)

    def _take_report(self, report: Report) -> None:
        self.position = report.position
        if report.trouble:
            self._in_trouble(report.trouble)
        else:
            self.trouble, self._retry_secs = "", FIRST_RETRY_SECS
        if report.agents:
            self._on_written(frozenset(report.agents))
        if report.number == self._number and not report.trouble:
            self._idle.set()
            if self._upto > self._told_upto or self._denials or self._bands:
                self._idle.clear()

    def _in_trouble(self, problem: str) -> None:
        if problem != self.trouble:
            _log.warning("projections_not_written", problem=problem)
        self.trouble = problem


def _start(store: Store, topic_id: str, line: socket.socket) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own, with this one's ways to find modules."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", "streams.standalone.projecting", str(store.folder.absolute()), topic_id],
        stdin=line.fileno(),
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )


def _send(line: socket.socket, content: bytes) -> bytes:
    """Send what goes; returns the rest. A line that broke is heard of when it is read."""
    if not content:
        return content
    try:
        return content[line.send(content) :]
    except BlockingIOError:
        return content
    except OSError:
        return b""


def _drain(bell: socket.socket) -> None:
    with suppress(BlockingIOError):
        while bell.recv(RECV_BYTES):
            pass


def _taken(waiting: deque[T]) -> list[T]:
    """Take up to some thousands from a queue."""
    return [waiting.popleft() for _ in range(min(len(waiting), _AT_ONCE))]
