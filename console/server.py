"""Serves the console with uvicorn: its own socket, so that a taken port is a clear message, and a quiet stop."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from litestar import Litestar

from console.lane import protocol_for
from console.quiet import QuietServer
from console.services import LANE_KEY, STATE_KEY, Services

STOP_SECS = 3
BACKLOG = 1024
COLLECT_AFTER = (50_000, 20, 100)


class CannotListen(Exception):
    """The address can't be listened on; the message says what to do."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as problem:
        bound.close()
        why = problem.strerror or str(problem)
        raise CannotListen(f"can't listen on {host}:{port} ({why}); choose another port with --port") from None
    return bound


def url_of(bound: socket.socket, is_tls: bool = False) -> str:
    """The address of a bound socket as people open it."""
    host, port = bound.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{'https' if is_tls else 'http'}://{shown}:{port}"


class Server(QuietServer):
    """A uvicorn server for one application, in this thread (``serve``) or in another (``start``)."""

    def __init__(
        self,
        app: Litestar,
        bound: socket.socket,
        tls: tuple[Path, Path] | None = None,
        on_started: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_for(app.state[LANE_KEY]),
                access_log=False,
                log_config=None,
                lifespan="on",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=STOP_SECS,
                timeout_keep_alive=75,
                h11_max_incomplete_event_size=64 * 1024,
                backlog=BACKLOG,
                ssl_certfile=tls[0] if tls else None,
                ssl_keyfile=tls[1] if tls else None,
            )
        )
        self.url = url_of(bound, tls is not None)
        self._bound = bound
        self._on_started = on_started
        self._services: Services = app.state[STATE_KEY]
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()

    def serve_here(self) -> None:
        """Serve until a signal (Ctrl-C, SIGTERM) or ``stop``."""
        self.run(sockets=[self._bound])

    def start(self) -> str:
        """Serve in a thread; returns the URL when requests are answered."""
        self._thread = threading.Thread(target=self.serve_here, name="http", daemon=True)
        self._thread.start()
        self._ready.wait(30)
        return self.url

    def stop(self) -> None:
        """End serving, and wait for it."""
        self.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_SECS + 10)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, then say so."""
        await super().startup(sockets)
        if self.started:
            self._calm_collector()
            self._ready.set()
            if self._on_started is not None:
                await asyncio.to_thread(self._on_started, self.url)

    @staticmethod
    def _calm_collector() -> None:
        """Take what was made at the start out of garbage collection, and collect less often.

        A full collection walks every object of the engine's state and stalls all threads meanwhile, for longer than a
        check at the gate may take; records hold no cycles, so there is next to nothing to find.
        """
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams of changes first: they would never end by themselves."""
        self._services.hub.close()
        await super().shutdown(sockets)
