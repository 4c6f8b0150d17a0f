"""Real Prometheus and Alertmanager servers for the tests, a receiver of webhooks and a target; loopback, free ports."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.components import MAY_SKIP

START_SECS, STOP_SECS = 20.0, 20.0
PACKAGES = {"prometheus": "prometheus", "promtool": "prometheus", "docker-compose": "docker-compose"}
"""Debian's package of each program; the others come with prometheus-alertmanager."""


def tool(*names: str) -> str:
    """The path of the first program that is here; without any the test is skipped, where that is allowed."""
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    missing = f"{names[0]} is missing: apt-get install {PACKAGES.get(names[0], 'prometheus-alertmanager')}"
    if not MAY_SKIP:
        raise FileNotFoundError(missing)
    pytest.skip(missing)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(is_so: Callable[[], Any], what: str, secs: float = 30.0, pause_secs: float = 0.1) -> Any:
    """Wait for something true and return it; fails with its name."""
    end = time.monotonic() + secs
    while True:
        found = is_so()
        if found:
            return found
        assert time.monotonic() < end, f"not in {secs:g} s: {what}"
        time.sleep(pause_secs)


def fetch(url: str, body: Any = None) -> Any:
    """GET, or POST of JSON; the answer read as JSON where it is that, else its text."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"} if data else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        text = answer.read().decode()
    try:
        return json.loads(text)
    except ValueError:
        return text


class Program:
    """A server in a process of its own, ended by its own id."""

    def __init__(self, folder: Path, command: list[str], port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._said = folder / f"{Path(command[0]).name}.log"
        with self._said.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder)
        try:
            until(self._is_ready, f"{command[0]} is ready", START_SECS, 0.05)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it and wait."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECS)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._said.read_text()[-2000:]
        try:
            fetch(f"{self.url}/-/ready")
        except OSError:
            return False
        return True


class Prometheus(Program):
    """A Prometheus with this configuration file; its data die with the folder."""

    def __init__(self, folder: Path, config: Path) -> None:
        port = free_port()
        command = [
            tool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
            "--storage.tsdb.retention.time=1h", f"--web.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle",
            "--rules.alert.resend-delay=1s",  # at the start it knows no Alertmanager yet
            "--log.level=warn",
        ]  # fmt: skip
        super().__init__(folder, command, port)

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        return self._ask("query", query=expression, **({} if at is None else {"time": at}))

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of a range query."""
        return self._ask("query_range", query=expression, start=start, end=end, step=step)

    def firing(self) -> dict[str, list[dict[str, Any]]]:
        """The alerts that fire, by name."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in fetch(f"{self.url}/api/v1/alerts")["data"]["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    def troubles(self) -> list[str]:
        """Rules whose last evaluation failed, and why."""
        groups = fetch(f"{self.url}/api/v1/rules")["data"]["groups"]
        return [
            f"{rule['name']}: {rule['lastError']}"
            for group in groups
            for rule in group["rules"]
            if rule.get("lastError")
        ]

    def _ask(self, what: str, **asked: Any) -> list[dict[str, Any]]:
        try:
            answer = fetch(f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(asked)}")
        except urllib.error.HTTPError as problem:
            raise AssertionError(f"{asked['query']}: {problem.read().decode()}") from None
        return list(answer["data"]["result"])


class Alertmanager(Program):
    """An Alertmanager with this configuration file, alone."""

    def __init__(self, folder: Path, config: Path) -> None:
        port = free_port()
        command = [
            tool("prometheus-alertmanager", "alertmanager"), f"--config.file={config}",
            f"--storage.path={folder / 'alertmanager'}", f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=", "--log.level=warn",
        ]  # fmt: skip
        super().__init__(folder, command, port)

    def post(self, *labels: dict[str, str]) -> None:
        """Alerts that fire now."""
        fetch(f"{self.url}/api/v2/alerts", [{"labels": one} for one in labels])

    def alerts(self) -> list[dict[str, Any]]:
        """What it knows, with what inhibits it."""
        return list(fetch(f"{self.url}/api/v2/alerts"))


class Small:
    """A small HTTP server in a thread: makes a page at each GET, keeps what is posted, by path."""

    def __init__(self, pages: dict[str, Callable[[], str]] | None = None) -> None:
        self.pages = pages or {}
        self.posted: list[tuple[str, Any]] = []
        small = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = small.pages.get(self.path)
                self._answer(404 if page is None else 200, "" if page is None else page())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                small.posted.append((self.path, json.loads(body)))
                self._answer(200, "")

            def _answer(self, status: int, text: str) -> None:
                body = text.encode()
                self.send_response(status)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
