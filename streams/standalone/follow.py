"""Takes events from a file that grows, such as a log that another program writes.

Its position is stored in the transaction of the records it read, so that a crash neither loses nor repeats a line.
A file that was replaced (another inode, or shorter than before) is read from its beginning; events that it shares
with the old one are known as duplicates.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct

from events.codec import BadEvent, Limits, decode_input
from events.types import Event
from storage.background import Background
from streams.standalone.round import Round
from streams.standalone.runtime import Runtime
from streams.standalone.types import Closed

READ_BYTES = 1 << 21
_PAUSE_SECS = 0.25
_log = structlog.get_logger("tripline.follow")

_LOAD = "SELECT inode, byte_offset, line FROM follow_position WHERE path = ?"
_SAVE = (
    "INSERT INTO follow_position (path, inode, byte_offset, line) VALUES (?, ?, ?, ?) ON CONFLICT (path) "
    "DO UPDATE SET inode = excluded.inode, byte_offset = excluded.byte_offset, line = excluded.line"
)


class Position(Struct, frozen=True):
    """How far a file was taken: which file it was, the byte after the last line, and that line's number."""

    inode: int
    byte_offset: int
    line: int


class Follower(Background):
    """Follows one file with a thread of its own. ``is_caught_up`` is set while there is nothing left to read."""

    def __init__(self, runtime: Runtime, path: Path) -> None:
        super().__init__("tripline-follow", stop_secs=30.0)
        self.runtime = runtime
        self.path = path.absolute()
        self.is_caught_up = threading.Event()
        self._limits = Limits(max_event_bytes=runtime.settings.server.max_event_bytes)
        self.taken = 0
        self.refused = 0
        self.trouble = ""

    def read_to_end(self) -> int:
        """Take everything that is there now, in the caller's thread; returns how many lines were taken."""
        while self._read_some():
            pass
        return self.taken

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._read_some():
                    self.is_caught_up.clear()
                    continue
                self.trouble = ""
                self.is_caught_up.set()
            except Closed:
                return
            except Exception as problem:  # the store or the file may come back; the position tells where to go on
                self.trouble = str(problem)
                _log.warning("follow_failed", path=str(self.path), problem=self.trouble)
            self._stop.wait(_PAUSE_SECS)

    def _read_some(self) -> bool:
        """Take the next whole lines; False when there are none."""
        position = self.runtime.call(self._load).result(60)
        try:
            with self.path.open("rb") as stream:
                found = os.fstat(stream.fileno())
                if position is None or position.inode != found.st_ino or found.st_size < position.byte_offset:
                    position = Position(found.st_ino, 0, 0)
                stream.seek(position.byte_offset)
                piece = stream.read(READ_BYTES)
        except FileNotFoundError:
            self.trouble = f"{self.path} does not exist yet"
            return False
        end = piece.rfind(b"\n") + 1
        if not end and len(piece) < READ_BYTES:
            return False  # half a line: its writer is not done
        # A line longer than a piece is larger than any event may be: it is refused piece by piece.
        self._take(piece[: end or len(piece)], position)
        return True

    def _take(self, piece: bytes, position: Position) -> None:
        events: list[tuple[bytes, Event]] = []
        lines: list[int] = []
        bad: list[tuple[bytes, BadEvent, int]] = []
        line = position.line
        for raw in piece.split(b"\n")[: None if not piece.endswith(b"\n") else -1]:
            line += 1
            if not raw.strip():
                continue
            try:
                events.append((raw, decode_input(raw, self._limits)))
                lines.append(line)
            except BadEvent as problem:
                bad.append((raw, problem, line))
        reached = Position(position.inode, position.byte_offset + len(piece), line)

        def place(number: int) -> dict[str, Any]:
            return {"file": str(self.path), "line": number}

        def finish(round_: Round) -> None:
            for raw, problem, number in bad:
                round_.dead_letter(raw, str(problem.reason), problem.message, place(number), problem.agent_id)
            round_.core.link.execute(_SAVE, (str(self.path), reached.inode, reached.byte_offset, reached.line))

        if events:
            taken = self.runtime.ingest(
                events, after=finish, may_wait=True, origin_of=lambda index: place(lines[index])
            )
            taken.result(600)
        else:
            self.runtime.call(finish).result(60)
        self.taken += len(events)
        self.refused += len(bad)

    def _load(self, round_: Round) -> Position | None:
        row = round_.core.link.execute(_LOAD, (str(self.path),)).fetchone()
        return Position(*row) if row else None
