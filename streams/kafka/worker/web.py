"""The worker's own small server: ``/metrics``, ``/healthz``, ``/readyz``, in a thread that the loop can't hold up."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from msgspec import Struct

from dashboards.registry import CONTENT_TYPE
from governance.settings_types import Worker as WorkerSettings
from streams.kafka.connect import KafkaProblem


class Health(Struct, frozen=True):
    """How a worker is. ``wrong``: why it needs somebody, in words; ``waiting``: why it is not ready, no fault yet."""

    wrong: list[str]
    waiting: list[str]
    lanes: dict[str, int]


class Page(Struct, frozen=True):
    """What is answered."""

    status: int
    content_type: str
    body: bytes


class Watched(Protocol):
    """What the server asks; both are called in its threads."""

    def metrics(self) -> bytes:
        """The exposition text."""

    def health(self) -> Health:
        """How the worker is now."""


class Web:
    """Serves one worker. Raises KafkaProblem when the address can't be listened on."""

    def __init__(self, settings: WorkerSettings, watched: Watched) -> None:
        handler = type("Handler", (_Handler,), {"watched": watched})
        try:
            self._server = ThreadingHTTPServer((settings.host, settings.port), handler)
        except OSError as problem:
            why = problem.strerror or str(problem)
            raise KafkaProblem(
                f"can't listen on {settings.host}:{settings.port} ({why})",
                "give each worker of a machine a worker.port of its own (tripline worker --port), or 0 for a free one",
            ) from None
        self._server.daemon_threads = True
        self.url = f"http://{settings.host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="worker-web", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End, and give the port back."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


def page_of(path: str, watched: Watched) -> Page:
    """The answer to a path."""
    path = path.partition("?")[0]
    if path == "/metrics":
        return Page(200, CONTENT_TYPE, watched.metrics())
    if path not in ("/healthz", "/readyz"):
        body = b'{"error":"not_found","message":"there are /metrics, /healthz and /readyz"}'
        return Page(404, "application/json", body)
    health = watched.health()
    reasons = health.wrong if path == "/healthz" else [*health.wrong, *health.waiting]
    said = {"status": "degraded" if reasons else "ok", "reasons": reasons, "lanes": health.lanes}
    return Page(503 if reasons else 200, "application/json", json.dumps(said).encode())


class _Handler(BaseHTTPRequestHandler):
    watched: Watched
    server_version = "tripline-worker"
    sys_version = ""
    timeout = 10

    def do_GET(self) -> None:
        page = page_of(self.path, self.watched)
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        self.wfile.write(page.body)

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape each few seconds is no news."""
