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

_MOST_WAITING = 64
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
        self._room = asyncio.Semaphore(_MOST_WAITING)
        self._is_over = False

    async def put(self, event: bytes) -> None:
        """An event, before the answer; waits while 64 of them are not sent."""
        if not self._is_over:
            await self._room.acquire()
            self._items.put_nowait(event)

    def finish(self, told: Told) -> None:
        """The end; what comes after it counts no more."""
        if not self._is_over:
            self._is_over = True
            self._items.put_nowait(told)

    async def send_all(self, send: Send) -> None:
        """Send what comes, until the end. Raises TimeoutError for a client that does not read."""
        item = await self._items.get()
        headers = ((b"mcp-session-id", self.session.encode()),) if self.session else ()
        if isinstance(item, Told):
            await send_plain(send, Answer(item.status, item.body() if item.message is not None else b"", headers))
            return
        await send_part(send, {"type": "http.response.start", "status": 200, "headers": [*STREAM_HEADERS, *headers]})
        while isinstance(item, bytes):
            self._room.release()
            await send_part(send, {"type": "http.response.body", "body": item, "more_body": True})
            item = await self._items.get()
        last = Event().write(item.body()) if item.message is not None else b""
        await send_part(send, {"type": "http.response.body", "body": last, "more_body": False})


async def send_part(send: Send, message: Any) -> None:
    """Send a part of an answer. Raises TimeoutError when its client does not read."""
    async with asyncio.timeout(STUCK_SECS):
        await send(message)
