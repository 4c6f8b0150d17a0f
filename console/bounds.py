"""Connections that end when a request's head is too large or too slow: uvicorn itself waits, and keeps it, for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 * 1024
HEAD_SECS = 20.0
"""So long may a connection take for a head, from its begin or from the head's first bytes; and so long may the rest of
a body come that nobody waits for any more, as its request was answered before."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection. A subclass that keeps uvicorn from hearing of a head or of a request's end says so here:
    ``head_is_over``, ``message_is_over``."""

    _in_head = True  # a head is awaited, or read
    _is_whole = True  # the request was read to its end
    _has_begun = False  # a head began in the bytes that are being read
    _head_bytes = 0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head, self._is_whole, self._has_begun = True, False, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head was read."""
        self.head_is_over()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request was read."""
        self.message_is_over()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request was answered, perhaps before its body had come."""
        super().on_response_complete()
        if not self._is_whole:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        self._has_begun = False
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes = 0 if self._has_begun else self._head_bytes + len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self.send_400_response("The request's head is too large.")
        else:
            self._wait()

    def head_is_over(self) -> None:
        """A head was read; what comes now is the body, for which the application waits as long as it wants."""
        self._in_head = False
        self._stop_waiting()

    def message_is_over(self) -> None:
        """A request was read to its end."""
        self._is_whole = True
        self._stop_waiting()

    def _wait(self) -> None:
        if self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(HEAD_SECS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
