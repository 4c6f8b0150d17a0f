"""What goes back over the wire: one place for the headers of every answer, whichever way it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus

from litestar.types import Message, Send
from msgspec import Struct

from console.errors import Refused

Headers = Sequence[tuple[bytes, bytes]]
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
NO_STORE = (b"cache-control", b"no-store")


class Answer(Struct, frozen=True):
    """An answer in JSON: its status, its body, and headers beyond those that every answer has."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


def answer_of(refused: Refused) -> Answer:
    """A refusal as an answer."""
    return Answer(refused.status, refused.body(), encoded(refused.headers))


def encoded(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Headers as they go over the wire."""
    return tuple((name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items())


async def send_answer(send: Send, answer: Answer, more: Headers = ()) -> None:
    """Send it the ASGI way, with ``more`` headers; ``secured`` adds what every answer carries."""
    length = (b"content-length", b"%d" % len(answer.body))
    headers = [*answer.headers, (b"content-type", b"application/json"), *more, length]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


def secured(send: Send, is_static: bool) -> Send:
    """A ``send`` that adds the headers that every answer carries."""

    async def outgoing(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *SECURITY_HEADERS]
            if not is_static and not any(name == b"cache-control" for name, _ in headers):
                headers.append(NO_STORE)
            message["headers"] = headers
        await send(message)

    return outgoing


class Renderer:
    """Answers as bytes, for who writes to the socket without ASGI; the same bytes as uvicorn makes of the other way.

    uvicorn keeps one list of headers (the date) for a second; what is made of it is kept as long as it is that list.
    """

    def __init__(self) -> None:
        self._defaults: Headers = ()
        self._common = b""
        self._last = _lines((*SECURITY_HEADERS, NO_STORE))

    def render(self, answer: Answer, defaults: Headers, is_kept: bool) -> bytes:
        """Head and body. ``defaults`` come first; without ``is_kept`` the answer says that the connection ends."""
        if defaults is not self._defaults:
            self._defaults, self._common = defaults, _lines(defaults)
        parts = (
            _status_line(answer.status),
            self._common,
            _lines(answer.headers) if answer.headers else b"",
            b"content-type: application/json\r\ncontent-length: %d\r\n" % len(answer.body),
            self._last,
            b"\r\n" if is_kept else b"connection: close\r\n\r\n",
            answer.body,
        )
        return b"".join(parts)


@lru_cache(maxsize=100)
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()


def _lines(headers: Headers) -> bytes:
    return b"".join(b"%b: %b\r\n" % pair for pair in headers)
