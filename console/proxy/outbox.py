"""What one POST of MCP is answered with: events, then the answer; in JSON when there is only the answer."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar.types import Send
from msgspec import Struct

from console.answers import Answer
from console.proxy.frames import Message, write_frame
from console.proxy.front import send_plain
from console.proxy.sse import Event

_MOST_WAITING, _MOST_WAITING_BYTES = 64, 1024 * 1024
STUCK_SECS = 60.0
"""A client that reads nothing for so long is given up."""
STREAM_HEADERS = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


class Told(Struct, frozen=True):
    """The end of an answer. ``message``: None where the stream just ends, so that its client may go on by another;
    ``is_ours``: the proxy says it, not the server."""

    message: Message | None
    status: int = 200
    is_ours: bool = False

    def body(self) -> bytes:
        """The message in JSON."""
        return write_frame(self.message).rstrip()


class Outbox:
    """``session``: the id that the agent is told with the head of the answer."""

    def __init__(self) -> None:
        self.session = ""
        self._items: asyncio.Queue[bytes | Told] = asyncio.Queue()
        self._bytes = 0
        self._sent = asyncio.Event()
        self._is_over = False

    async def put(self, event: bytes) -> None:
        """An event, before the answer; waits while 64 of them, or 1 MiB, are not sent. Dropped when nobody reads."""
        while not self._is_over and self._is_full(len(event)):
            self._sent.clear()
            await self._sent.wait()
        if not self._is_over:
            self._bytes += len(event)
            self._items.put_nowait(event)

    def finish(self, told: Told) -> None:
        """The end; what comes after it counts no more."""
        if not self._is_over:
            self._is_over = True
            self._sent.set()
            self._items.put_nowait(told)

    async def send_all(self, send: Send) -> None:
        """Send what comes, until the end. Raises TimeoutError for a client that does not read."""
        try:
            await self._send_all(send)
        finally:
            self._is_over = True  # what comes now is for nobody: who puts it must not wait
            self._sent.set()

    # --- parts ------------------------------------------------------------------------------------------------------

    async def _send_all(self, send: Send) -> None:
        item = await self._items.get()
        headers = ((b"mcp-session-id", self.session.encode()),) if self.session else ()
        if isinstance(item, Told):
            await send_plain(send, Answer(item.status, item.body() if item.message is not None else b"", headers))
            return
        await send_part(send, {"type": "http.response.start", "status": 200, "headers": [*STREAM_HEADERS, *headers]})
        while isinstance(item, bytes):
            await send_part(send, {"type": "http.response.body", "body": item, "more_body": True})
            self._bytes -= len(item)
            self._sent.set()
            item = await self._items.get()
        last = Event().write(item.body()) if item.message is not None else b""
        await send_part(send, {"type": "http.response.body", "body": last, "more_body": False})

    def _is_full(self, more: int) -> bool:
        waiting = self._items.qsize()
        return waiting >= _MOST_WAITING or (waiting > 0 and self._bytes + more > _MOST_WAITING_BYTES)


async def send_part(send: Send, message: Any) -> None:
    """Send a part of an answer. Raises TimeoutError when its client does not read."""
    async with asyncio.timeout(STUCK_SECS):
        await send(message)
