"""Serves a proxy with uvicorn, on a socket that is bound already."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from console.bounds import BoundedProtocol
from console.quiet import QuietServer

STOP_SECS = 3


class _Server(QuietServer):
    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            await asyncio.to_thread(self._on_started)


def server_of(app: Any, tls: tuple[Path, Path] | None, on_started: Callable[[], None]) -> uvicorn.Server:
    """A server for an ASGI application; ``run(sockets=[…])`` serves until a signal, or ``should_exit``."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,  # llhttp refuses a request of which the end is not certain
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_SECS,
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )
    return _Server(config, on_started)


def serve(app: Any, bound: socket.socket, tls: tuple[Path, Path] | None, on_started: Callable[[], None]) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    server_of(app, tls, on_started).run(sockets=[bound])
