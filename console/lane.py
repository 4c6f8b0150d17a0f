"""The lane: hot routes answered straight from the socket, without a task, a scope or a stack of callables a request.

uvicorn's own protocol reads every request. One that asks for a hot route in the plainest way is let in by the guard's
own rules, handed to the runtime, and its answer written when that is done. Whatever is not plain (refused, not known
from memory, a body that is large or slow, pipelining, HTTP/1.0, a connection that ends) goes on, untouched, the
ordinary way through the guard and the application, which answers it as if there were no lane.

The lane leans on a few names of ``uvicorn.protocols.http.httptools_impl``; ``tests/unit/console/test_lane.py`` says
whether they still mean the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from console.answers import Answer, Renderer
from console.bounds import BoundedProtocol
from console.errors import Refused
from console.heads import Head, read_head
from console.hot import HotRoute, Reply
from console.security import Guard

PATIENCE_SECS = 1.0
"""How long the lane waits for the rest of a body; then the guard does, and counts it."""
MOST_BYTES = 32 * 1024
"""A larger body is not worth the lane, and the guard may want to refuse it before it has come."""
HEADS_KEPT = 16
"""Heads that a connection remembers; a client's differ by their Content-Length."""


class Lane:
    """What all connections share. Parameters: the guard whose rules hold, and the hot routes by path."""

    def __init__(self, guard: Guard, routes: Mapping[str, HotRoute]) -> None:
        self.routes = {path.encode(): (path, route) for path, route in routes.items()}
        self.renderer = Renderer()
        self.unheard = asyncio.Event()
        self._guard = guard

    def begin(self, url: bytes, head: Head, body: bytes, reply: Reply) -> bool:
        """Let a request in and hand it over; False when it must go the ordinary way."""
        path, route = self.routes[url]
        try:
            caller = self._guard.admit_known("POST", path, head)
            return caller is not None and route(body, head, caller, reply)
        except Exception:  # nothing was done; the ordinary way comes to the same, counts it, and knows how to say it
            return False


class _Known(NamedTuple):
    """What a head of exactly these bytes says, as it was read before on the same connection."""

    url: bytes
    head: Head
    length: int


class _Waiting(RequestResponseCycle):
    """A request in the lane that is not answered yet, as uvicorn looks at its requests."""

    def __init__(self, unheard: asyncio.Event) -> None:
        self.disconnected = False
        self.response_complete = False
        self.keep_alive = True
        self.message_event = unheard


class LaneProtocol(BoundedProtocol):
    """A connection. Requests that fit are kept off uvicorn's way until their body is whole."""

    lane: ClassVar[Lane]

    _parts: list[bytes] | None = None  # the body so far of a request that fits
    _size = 0
    _patience: asyncio.TimerHandle | None = None
    _data = b""  # what the parser is reading, when a request began with it
    _is_between = True  # the parser is between two requests

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._heads: dict[bytes, _Known] = {}

    def on_headers_complete(self) -> None:
        """A head was read: does this request fit?"""
        if self._fits():
            self.head_is_over()
            self._parts, self._size = [], 0
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body was read."""
        if self._parts is None:
            super().on_body(body)
            return
        self._parts.append(body)
        self._size += len(body)
        if self._size > MOST_BYTES:
            self._leave()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_between = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """A request was read."""
        self._is_between = True
        self.message_is_over()
        if self._parts is None or not self._begin_read(b"".join(self._parts)):
            self._leave()
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes came in: a request like one before on this connection, or whatever uvicorn makes of them."""
        if self._begin_known(data):
            self._unset_keepalive_if_required()
            return
        self._data = data if self._is_between else b""
        super().data_received(data)
        if self._parts is not None and self._patience is None:
            self._patience = self.loop.call_later(PATIENCE_SECS, self._leave)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._forget()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: what has begun is finished the ordinary way."""
        self._leave()
        super().shutdown()

    def _begin_known(self, data: bytes) -> bool:
        """Begin a request whose head, byte for byte, was read before, and which is all there is: no parsing again."""
        if not (self._is_between and self._heads and self._is_free()):
            return False
        end = data.find(b"\r\n\r\n") + 4
        known = self._heads.get(data[:end])
        if known is None or len(data) - end != known.length:
            return False
        return self._begin(known.url, known.head, data[end:])

    def _begin_read(self, body: bytes) -> bool:
        """Begin a request that was just parsed, and remember its head when it came in one piece."""
        try:
            head = read_head(self.headers)
        except Refused:
            return False
        if not self._begin(self.url, head, body):
            return False
        self._forget()
        end = self._data.find(b"\r\n\r\n") + 4
        if len(self._data) - end == len(body) and head.get(b"content-length") == str(len(body)):
            if len(self._heads) >= HEADS_KEPT:
                self._heads.clear()
            self._heads[self._data[:end]] = _Known(self.url, head, len(body))
        return True

    def _begin(self, url: bytes, head: Head, body: bytes) -> bool:
        waiting = _Waiting(self.lane.unheard)
        if not self.lane.begin(url, head, body, partial(self._answer, waiting)):
            return False
        self.cycle = waiting
        return True

    def _is_free(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def _fits(self) -> bool:
        parser = self.parser
        return (
            self.url in self.lane.routes
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and self._is_free()
            and not any(name == b"content-length" and int(value) > MOST_BYTES for name, value in self.headers)
        )

    def _leave(self) -> None:
        """Give a request that was kept back to uvicorn."""
        parts = self._parts
        self._forget()
        if parts is None or self.transport.is_closing():
            return
        super().on_headers_complete()
        for part in parts:
            super().on_body(part)

    def _forget(self) -> None:
        self._parts = None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _answer(self, waiting: _Waiting, answer: Answer) -> None:
        waiting.response_complete = True
        if waiting.disconnected or self.transport.is_closing():
            return
        headers, is_kept = self.server_state.default_headers, waiting.keep_alive
        self.transport.write(self.lane.renderer.render(answer, headers, is_kept))
        if not is_kept:
            self.transport.close()
        self.on_response_complete()


def protocol_for(lane: Lane) -> type[LaneProtocol]:
    """The class of connections for one application; uvicorn makes them."""
    return type("LaneProtocolOfOne", (LaneProtocol,), {"lane": lane})
