"""Server-sent events as MCP uses them, read so that only one reading is possible, and written anew.

WHATWG HTML, "Server-sent events", but stricter: a line ends with a line feed (before it a carriage return or none), no
byte order mark, no field that nobody knows, ids of plain characters.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from msgspec import Struct

_ID = re.compile(r"[!-~](?:[ -~]{0,1022}[!-~])?")
_MOST_RETRY_DIGITS, _MOST_LINES = 7, 100_000


class BadStream(Exception):
    """A stream that is not read on: what comes next is not certain."""


class Event(Struct, frozen=True, kw_only=True):
    """``id``: where a client may go on after it, None without; ``retry``: milliseconds until it may connect again."""

    data: bytes = b""
    id: str | None = None
    retry: int | None = None

    def write(self, data: bytes, id_: str | None = None) -> bytes:
        """The event over the wire, with other data, which has no line end, and with another id."""
        head = b"event: message\n"
        head += b"id: %b\n" % id_.encode() if id_ is not None else b""
        head += b"retry: %d\n" % self.retry if self.retry is not None else b""
        return head + b"data: %b\n\n" % data


async def events_of(chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[Event]:
    """The whole events of a stream, until it ends; other kinds than "message" are left out.

    Raises BadStream for what can't be read, or an event of more than ``most`` bytes.
    """
    fields: list[tuple[str, bytes]] = []
    size = 0
    async for line in _lines(chunks, most):
        if not line:
            event = _event(fields)
            fields, size = [], 0
            if event is not None:
                yield event
            continue
        size += len(line)
        if size > most or len(fields) >= _MOST_LINES:
            raise BadStream("an event is too long")
        if not line.startswith(b":"):
            name, _, value = line.partition(b":")
            fields.append((name.decode("latin-1"), value.removeprefix(b" ")))


async def _lines(chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    kept, seen = bytearray(), 0
    async for chunk in chunks:
        kept += chunk
        while (end := kept.find(b"\n", seen)) >= 0:
            line = bytes(kept[:end]).removesuffix(b"\r")
            del kept[: end + 1]
            seen = 0
            if b"\r" in line or line.startswith(b"\xef\xbb\xbf"):
                raise BadStream("a carriage return within a line, or a byte order mark")
            yield line
        seen = len(kept)
        if seen > most:
            raise BadStream("a line is too long")


def _event(fields: list[tuple[str, bytes]]) -> Event | None:
    data: list[bytes] = []
    id_: str | None = None
    retry: int | None = None
    is_message = True
    for name, value in fields:
        if name == "data":
            data.append(value)
        elif name == "event":
            is_message = value == b"message"
        elif name == "id":
            id_ = _id(value)
        elif name == "retry" and value.isdigit() and len(value) <= _MOST_RETRY_DIGITS:
            retry = int(value)
        else:
            raise BadStream(f"nobody knows what the line {name[:40]!r} does")
    if not fields or not is_message:
        return None
    return Event(data=b"\n".join(data), id=id_, retry=retry)


def _id(value: bytes) -> str:
    text = value.decode("latin-1")
    if not _ID.fullmatch(text):
        raise BadStream("an event's id is not of plain characters")
    return text
