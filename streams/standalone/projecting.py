"""The projector as a process: ``python -m streams.standalone.projecting FOLDER TOPIC_ID``, with a socket as input.

``streams.standalone.projector_process`` starts it and ends it. It follows the log by itself and only hears how far the
log reaches. It ends when told to, and at once when the other end of the socket closes: its server is gone. Signals
that go to a whole group of processes are not for it, since the server has rows to be written while it stops.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time

from storage.store import Store
from streams.standalone.line import RECV_BYTES, News, Report, Unframer, framed
from streams.standalone.projection import PAUSE_SECS, RETRY_SECS, Rows, open_rows
from streams.standalone.tuning import tune_gc

_LOOK_SECS = 1.0
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NICENESS = 5
"""Rows may be late; judging and the gate may not."""


class ServerGone(Exception):
    """The server closed the line, or died."""


class Projecting:
    """Follows the log until told to end. Parameters: the store, the topic's id, and the line to the server."""

    def __init__(self, store: Store, topic_id: str, line: socket.socket) -> None:
        self.store = store
        self.topic_id = topic_id
        self._line = line
        self._unframer = Unframer(News)
        self._selector = selectors.DefaultSelector()
        self._selector.register(line, selectors.EVENT_READ)
        self._position = 0
        self._upto = 0
        self._number = self._done = 0
        """The newest message that was heard, and the newest of which everything is written."""
        self._is_ending = False

    def run(self) -> None:
        """Follow; whatever goes wrong, say so and begin again. Raises ServerGone."""
        while True:
            try:
                with open_rows(self.store, self.topic_id) as rows:
                    self._follow(rows)
                return
            except ServerGone:
                raise
            except Exception as problem:  # the log has it all
                self._report(frozenset(), str(problem) or type(problem).__name__)
                if self._is_ending:
                    return
                time.sleep(RETRY_SECS)

    def _follow(self, rows: Rows) -> None:
        self._write(rows)
        while not self._is_ending:
            has_work = self._done < self._number
            has_news = self._listen(rows, PAUSE_SECS if has_work else _LOOK_SECS)
            if self._done < self._number and not (has_news and self._may_gather(rows)):
                self._write(rows)
                if not self._is_ending:
                    time.sleep(PAUSE_SECS)
            rows.clean()

    def _may_gather(self, rows: Rows) -> bool:
        return not self._is_ending and rows.may_gather(max(0, self._upto - rows.taken))

    def _write(self, rows: Rows) -> None:
        """Write the rows of everything that is in the log now."""
        number = self._number
        while rows.take_logged():
            self._written(rows)
            self._listen(rows, 0.0)
        agents = rows.write()
        self._position, self._done = rows.position, number
        self._report(agents)

    def _written(self, rows: Rows) -> None:
        agents = rows.write()
        self._position = rows.position
        self._report(agents)

    # --- the line -----------------------------------------------------------------------------------------------

    def _listen(self, rows: Rows, wait_secs: float) -> bool:
        """Take what the server says, after waiting for it; False when it said nothing."""
        has_news = False
        while self._selector.select(0.0 if has_news else wait_secs):
            for news in self._unframer.take(self._received()):
                self._number, self._upto = news.number, news.upto
                self._is_ending = news.is_end
                for denial in news.denials:
                    rows.denied(denial)
                for band in news.bands:
                    rows.band(band)
            has_news = True
        return has_news

    def _received(self) -> bytes:
        try:
            piece = self._line.recv(RECV_BYTES)
        except OSError:
            piece = b""
        if not piece:
            raise ServerGone
        return piece

    def _report(self, agents: frozenset[str], trouble: str = "") -> None:
        try:
            self._line.sendall(framed(Report(self._done, self._position, sorted(agents), trouble)))
        except OSError:
            raise ServerGone from None


def main(folder: str, topic_id: str) -> None:
    """Run with the socket that is this process's standard input."""
    for ignored in _IGNORED:
        signal.signal(ignored, signal.SIG_IGN)
    os.nice(_NICENESS)
    tune_gc()
    with socket.socket(fileno=os.dup(0)) as line:
        try:
            Projecting(Store(folder), topic_id, line).run()
        except ServerGone:
            sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
