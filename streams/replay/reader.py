"""Reading logs: lines to events, in (time, source, id) order, whatever order the files have.

A log is "roughly in time order": a window of two blocks is sorted in memory and its first half handed on. A log
that is further out of order raises OutOfOrder, and is then sorted outside memory (``external=True``): sorted runs
in a temporary folder, merged. Both ways give the same order, so the same bytes.
"""

from __future__ import annotations

import gzip
import heapq
import itertools
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from events.codec import BadEvent, Refusal, decode_lines
from events.rows import ROWS, scanner
from events.times import BadTime, parse_ms
from events.types import InputEvent

Item = tuple[int, str, str, int, InputEvent | Any]
"""Time in ms, source, id, line in the file (so that events are never compared), the event or its row."""

BLOCK_BYTES = 1 << 18
BLOCK_EVENTS = 50_000
_RUN_EVENTS = 200_000


class OutOfOrder(Exception):
    """The log is further out of time order than the window that is sorted in memory."""


class BadLine:
    """A line that could not be read: where it stands, why, and its bytes."""

    __slots__ = ("after_ms", "line", "path", "problem", "raw")

    def __init__(self, path: str, line: int, raw: bytes, problem: BadEvent, after_ms: int) -> None:
        self.path, self.line, self.raw, self.problem, self.after_ms = path, line, raw, problem, after_ms


def open_log(path: Path) -> IO[bytes]:
    """A log file for reading, unpacked when its name ends in .gz."""
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def blocks_of_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The stream in blocks of about a quarter of a megabyte that end where a line ends."""
    rest = b""
    while block := stream.read(BLOCK_BYTES):
        end = block.rfind(b"\n") + 1
        if end == 0:
            rest += block
            continue
        yield b"".join((rest, memoryview(block)[:end]))  # one copy
        rest = block[end:]
    if rest:
        yield rest


class Reader:
    """Reads one log file; what could not be read is collected in ``bad``.

    ``with_deal_rows``: plain changes and activities may come as rows, too, not only actions.
    """

    def __init__(self, path: Path, bad: list[BadLine], *, with_deal_rows: bool = False) -> None:
        self.path = path
        self.bad = bad
        self._line = 0
        self._latest_ms = 0
        self._scanner = scanner(with_deals=with_deal_rows)

    def blocks(self) -> Iterator[list[Item]]:
        """The file's events in file order, some tens of thousands at a time."""
        with open_log(self.path) as stream:
            held: list[Item] = []
            for block in blocks_of_lines(stream):
                self._decode(block, held)
                if len(held) >= BLOCK_EVENTS:
                    yield held
                    held = []
            if held:
                yield held

    def ordered(self) -> Iterator[list[Item]]:
        """The file's events in (time, source, id) order, sorted in a window; raises OutOfOrder."""
        window: list[Item] = []
        last: Item | None = None
        for block in self.blocks():
            block.sort()
            if last is not None and block[0] < last:
                raise OutOfOrder(str(self.path))
            if window and block[0] < window[-1]:
                merged = window + block
                merged.sort()
                ready, window = merged[: len(window)], merged[len(window) :]
            else:
                ready, window = window, block
            if ready:
                last = ready[-1]
                yield ready
        if window:
            yield window

    def _decode(self, block: bytes, held: list[Item]) -> None:
        """Read a block: plain lines as rows where that is built, all others as events."""
        found = None if self._scanner is None else self._scanner.scan(block, self._line + 1)
        if found is None or None in found:
            lines = block.split(b"\n")
            if lines[-1] == b"":
                lines.pop()
            found = found or [None] * len(lines)
            if not self._take_events(block, found, held):
                self._weave(lines, found, held)
        else:
            held += found  # type: ignore[arg-type]
        self._line += len(found)
        self._latest_ms = held[-1][0] if held else self._latest_ms

    def _take_events(self, block: bytes, found: list[Item | None], held: list[Item]) -> bool:
        """Take a block of lines none of which is a row, blank or wrong; False when there is such a line."""
        if found.count(None) != len(found):
            return False
        read = decode_lines(block)
        if len(read.events) != len(found):
            return False
        places = range(self._line + 1, self._line + len(found) + 1)
        held += [
            (at_ms, event.source, event.id, place, event)
            for at_ms, place, event in zip(read.times_ms, places, read.events, strict=True)
        ]
        return True

    def _weave(self, lines: list[bytes], found: list[Item | None], held: list[Item]) -> None:
        """Rows, the events of lines that are no rows, and what is wrong, each in its place; blank lines are skipped."""
        others = [at for at, item in enumerate(found) if item is None and lines[at].strip()]
        lines_read = decode_lines(b"\n".join([lines[at] for at in others]))
        read, times = dict(zip(others, lines_read.in_order(), strict=True)), iter(lines_read.times_ms)
        for at, item in enumerate(found):
            other, place = read.get(at), self._line + at + 1
            if item is not None:
                held.append(item)
            elif isinstance(other, Refusal):
                after_ms = held[-1][0] if held else self._latest_ms
                self.bad.append(BadLine(self.path.name, place, other.raw, other.error, after_ms))
            elif other is not None:
                held.append((next(times), other.source, other.id, place, other))


def read(
    paths: Iterable[Path], bad: list[BadLine], *, external: bool = False, with_deal_rows: bool = False
) -> Iterator[list[Item]]:
    """All events of the files in (time, source, id) order, in lists; raises OutOfOrder unless ``external``.

    ``with_deal_rows``: see ``Reader``.
    """
    readers = [Reader(path, bad, with_deal_rows=with_deal_rows) for path in paths]
    if external:
        yield from _external(readers, with_deal_rows=with_deal_rows)
    elif len(readers) == 1:
        yield from readers[0].ordered()
    else:
        streams = [itertools.chain.from_iterable(reader.ordered()) for reader in readers]
        yield from _lists(heapq.merge(*streams, key=_order))


def _order(item: Item) -> tuple[int, str, str]:
    return item[:3]


def _lists(items: Iterator[Item]) -> Iterator[list[Item]]:
    while taken := list(itertools.islice(items, BLOCK_EVENTS)):
        yield taken


def _external(readers: list[Reader], *, with_deal_rows: bool) -> Iterator[list[Item]]:
    """Sorted runs on disk, merged: any order, any size."""
    with tempfile.TemporaryDirectory(prefix="tripline-sort-") as folder:
        runs: list[Path] = []
        for number, reader in enumerate(readers):
            held: list[Item] = []
            for block in reader.blocks():
                held += block
                if len(held) >= _RUN_EVENTS:
                    runs.append(_spill(Path(folder) / f"{number}-{len(runs)}", held))
                    held = []
            if held:
                runs.append(_spill(Path(folder) / f"{number}-{len(runs)}", held))
        again = (_run(path, with_deal_rows=with_deal_rows) for path in runs)
        yield from _lists(heapq.merge(*again, key=_order))


def _spill(path: Path, held: list[Item]) -> Path:
    held.sort()
    encode = msgspec.json.encode
    with path.open("wb") as out:
        for item in held:
            event: Any = item[4]
            out.write(event.raw if type(event) in ROWS else encode(event))
            out.write(b"\n")
    return path


def _run(path: Path, *, with_deal_rows: bool) -> Iterator[Item]:
    reader = Reader(path, [], with_deal_rows=with_deal_rows)
    return itertools.chain.from_iterable(reader.blocks())


def first_time_ms(raw: bytes) -> int | None:
    """The time of an event that could not be used, where it has a readable one."""
    try:
        return parse_ms(str(msgspec.json.decode(raw)["time"]))
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, BadTime, RecursionError):
        return None
