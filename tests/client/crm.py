"""A CRM in this process: Salesforce's REST contract as far as the proxy uses it, with faults."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "00D!crm-secret-token"
MOODS: dict[str, tuple[int, Any]] = {
    "refuses": (400, [{"message": "Industry: bad value", "errorCode": "FIELD_INTEGRITY_EXCEPTION", "fields": []}]),
    "blabs": (400, [{"message": f"bad session {SECRET}", "errorCode": f"SESSION_{SECRET}"}]),
    "makes it an id": (201, {"id": SECRET, "success": True, "errors": []}),
    "fails": (500, [{"message": "oops", "errorCode": "UNKNOWN_EXCEPTION"}]),
}
"""What is answered to everything."""


class Crm(ThreadingHTTPServer):
    """``seen``: requests in their order, (method, path, headers, body). ``mood``: how the next ones are answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []
        self.mood = "well"
        self.hang = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def writes(self) -> list[str]:
        return [method for method, *_ in self.seen if method != "GET"]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """As the REST API Developer Guide has it."""
        if self.mood in MOODS:
            return MOODS[self.mood]
        if path.endswith("/composite"):
            names = [each["referenceId"] for each in body["compositeRequest"]][: 1 if self.mood == "forgets" else None]
            status = {"half": 500, "unsure": 300}.get(self.mood, 204)
            said = [{"referenceId": name, "httpStatusCode": status if at else 204} for at, name in enumerate(names)]
            return 200, {"compositeResponse": said}
        if "/composite/sobjects" in path:
            records = body["records"] if body else path.partition("ids=")[2].split("%2C")
            return 200, [{"id": f"00Q0000000001{at:02}", "success": True, "errors": []} for at, _ in enumerate(records)]
        if method == "POST":
            return 201, {"id": f"00Q00000000{len(self.seen):04}", "success": True, "errors": []}
        return (200, {"Id": path, "Name": "Ada"}) if method == "GET" else (204, None)


class _Handler(BaseHTTPRequestHandler):
    server: Crm
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536  # head and body in one packet: two would wait for one another

    def _do(self) -> None:
        crm = self.server
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(raw) if raw else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("authorization") != f"Bearer {SECRET}":
            self._send(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
            return
        crm.seen.append((self.command, self.path, headers, body))
        if crm.mood == "hangs":
            crm.hang.wait(5)
        if crm.mood == "drops":
            self.close_connection = True
            self.connection.close()
        elif crm.mood == "redirects":
            self._send(302, None, location="http://127.0.0.1:1/")
        elif crm.mood == "leaks":
            self._send(200, {"you": self.headers["authorization"]})
        elif crm.mood == "shows a page":
            self._send(503, "<html>", kind="text/html")
        else:
            self._send(*crm.answer(self.command, self.path, body))

    do_GET = do_POST = do_PATCH = do_DELETE = _do

    def _send(self, status: int, said: Any, kind: str = "application/json;charset=UTF-8", **more: str) -> None:
        content = b"" if said is None else json.dumps(said).encode()
        self.send_response(status)
        for name, value in {**more, "set-cookie": f"sid={SECRET}", "sforce-limit-info": "api-usage=1/100"}.items():
            self.send_header(name, value)
        if content:
            self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        with contextlib.suppress(OSError):  # who asked may be gone
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def a_crm() -> Iterator[Crm]:
    """One that runs."""
    with Crm() as crm:
        thread = threading.Thread(target=crm.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield crm
        finally:
            crm.hang.set()
            crm.shutdown()
            thread.join(5)


def until(told: Any, secs: float = 10.0) -> Any:
    """What ``told()`` says, once it is true. Fails when it never is."""
    end = time.monotonic() + secs
    while not (found := told()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found
