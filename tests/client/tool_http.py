"""A tool server of MCP over Streamable HTTP in this process, as the specification has it, with streams that are cut."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "tools-own-secret-token"


class ToolHttp(ThreadingHTTPServer):
    """``called``: arguments of the calls that were done. ``cuts``: so many calls' streams break before the answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.called: list[dict[str, Any]] = []
        self.sessions: set[str] = set()
        self.owed: dict[str, dict[str, Any]] = {}
        self.cuts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/mcp"


class _Handler(BaseHTTPRequestHandler):
    server: ToolHttp
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self._is_let_in(begins=message.get("method") == "initialize"):
            return
        if "id" not in message or "method" not in message:
            self._send(202)
        elif message["method"] == "initialize":
            session = secrets.token_hex(8)
            self.server.sessions.add(session)
            said = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "crm", "version": "1"}}
            self._send(200, self._result(message, said), **{"mcp-session-id": session})
        elif message["method"] == "tools/call":
            self._call(message)
        else:
            self._send(200, self._result(message, {}))

    def do_GET(self) -> None:
        if not self._is_let_in():
            return
        after = self.headers.get("last-event-id", "")
        if after not in self.server.owed:
            self._send(405)
            return
        self._begin_stream()
        self._event(self.server.owed.pop(after), f"{after}-2")

    def do_DELETE(self) -> None:
        if self._is_let_in():
            self.server.sessions.discard(self.headers["mcp-session-id"])
            self._send(200)

    def _call(self, message: dict[str, Any]) -> None:
        """Progress, then the answer, or the end of the connection; what was not said is owed."""
        self.server.called.append(message["params"]["arguments"])
        self._begin_stream()
        told = {"progressToken": 1, "progress": 50}
        event = secrets.token_hex(4)
        self._event({"jsonrpc": "2.0", "method": "notifications/progress", "params": told}, event)
        answer = self._result(message, {"content": [{"type": "text", "text": "done"}], "isError": False})
        if self.server.cuts:
            self.server.cuts -= 1
            self.server.owed[event] = answer
        else:
            self._event(answer, f"{event}-2")

    def _is_let_in(self, *, begins: bool = False) -> bool:
        if self.headers.get("authorization") != f"Bearer {SECRET}":
            self._send(401)
        elif not begins and self.headers.get("mcp-session-id") not in self.server.sessions:
            self._send(404)
        else:
            return True
        return False

    def _result(self, message: dict[str, Any], said: Any) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": message["id"], "result": said}

    def _begin_stream(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()

    def _event(self, message: Any, id_: str) -> None:
        self.wfile.write(f"id: {id_}\ndata: {json.dumps(message)}\n\n".encode())

    def _send(self, status: int, said: Any = None, **more: str) -> None:
        content = b"" if said is None else json.dumps(said).encode()
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def a_tool_server() -> Iterator[ToolHttp]:
    """One that runs."""
    with ToolHttp() as tools:
        thread = threading.Thread(target=tools.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield tools
        finally:
            tools.shutdown()
            thread.join(5)
