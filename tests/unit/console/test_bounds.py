"""Over real sockets: heads that are endless or slow end their connection, and nobody else's."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from console import bounds
from console.proxy.serving import server_of

HEAD = b"POST /a HTTP/1.1\r\nHost: x\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers 200 with the body's length; with the path /now before the body has come."""
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    size, more = 0, scope["path"] != "/now"
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(bounds, "HEAD_SECS", 0.3)
    bound = socket.create_server(("127.0.0.1", 0))
    started = threading.Event()
    server = server_of(app, None, started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    assert started.wait(10)
    yield bound.getsockname()[1]
    server.should_exit = True
    thread.join(10)


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 5)


def ends(link: socket.socket) -> bytes:
    """What comes until the other side ends it. Raises TimeoutError when it does not."""
    said = b""
    try:
        while part := link.recv(65_536):
            said += part
    except ConnectionError:
        pass
    return said


def dribble(link: socket.socket, said: bytes) -> None:
    for each in said:
        link.sendall(bytes([each]))
        time.sleep(0.05)


def asks(port: int) -> bytes:
    with connected(port) as link:
        link.sendall(HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\nab")
        return ends(link)


@pytest.mark.parametrize("piece", [b"x-a: " + b"y" * 1_000 + b"\r\n", b"z" * 1_000])
def test_an_endless_head_ends_its_connection(port: int, piece: bytes) -> None:
    with connected(port) as link:
        sent = 0
        link.sendall(HEAD + b"x-first: ")
        try:
            while sent < 50_000_000:
                link.sendall(piece * 64)
                sent += 64 * len(piece)
        except ConnectionError:
            pass
    assert sent < 20_000_000
    assert asks(port).endswith(b"\r\n\r\n2")


@pytest.mark.parametrize("begin", [b"", b"PO", HEAD])
def test_a_slow_head_ends_its_connection(port: int, begin: bytes) -> None:
    with connected(port) as link:
        link.sendall(begin)
        began = time.monotonic()
        assert ends(link) == b""
    assert time.monotonic() - began < 4


def test_a_head_that_dribbles_is_no_quicker(port: int) -> None:
    began = time.monotonic()
    with connected(port) as link, pytest.raises(ConnectionError):
        dribble(link, HEAD[:-2] + b"X-A: " + b"y" * 100)
    assert time.monotonic() - began < 4


def test_a_body_that_nobody_waits_for_any_more_may_not_dribble(port: int) -> None:
    with connected(port) as link:
        link.sendall(b"POST /now HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            dribble(link, b"x" * 100)
    assert time.monotonic() - began < 4


def test_requests_on_one_connection_and_slow_bodies_go_on(port: int) -> None:
    with connected(port) as link:
        for _ in range(3):
            link.sendall(HEAD + b"Content-Length: 4\r\n\r\nab")
            time.sleep(0.4)  # longer than a head may take: bodies are the application's
            link.sendall(b"cd")
            assert link.recv(65_536).endswith(b"\r\n\r\n4")
        time.sleep(0.4)
        link.sendall(HEAD + b"Content-Length: 1\r\n\r\na")
        assert link.recv(65_536).endswith(b"\r\n\r\n1")
