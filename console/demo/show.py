"""Puts the demo together and runs it: past, live feed, gate, console; and takes everything away at the end."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import uvicorn
from msgspec import Struct

from console.app import create_app, open_auth
from console.auth import AuthStore
from console.demo.clock import DemoClock
from console.demo.live import Live
from console.demo.organisation import (
    LIVE_FROM_MS,
    PERSON,
    ROGUE,
    demo_org,
    demo_settings,
    start_ms,
)
from console.demo.past import fill
from console.demo.routes import demo_routes
from console.demo.script import Buyers, Demo
from console.demo.teller import Teller
from console.services import STATE_KEY
from console.web.look import zone_of
from governance.gate import GateDecision, GateRequest
from governance.settings import Settings
from simulator import Simulation
from simulator.names import MANAGERS, user
from storage.read import Reader
from streams.standalone.runtime import Runtime

HOST = "127.0.0.1"
DEFAULT_PORT = 8787
LINK_MINUTES = 12 * 60
SHUTDOWN_SECS = 2


class Options(Struct, frozen=True, kw_only=True):
    """What the command was asked for. ``port`` None: 8787, or a free one. ``auto_secs`` None: only by the button."""

    port: int | None = None
    speed: float = 60.0
    seed: int = 1
    auto_secs: float | None = 45.0
    opens_browser: bool = True


class AsAgent:
    """The runtime as the console sees it: it also tells the demo what somebody who plays the agent is answered."""

    def __init__(self, runtime: Runtime, demo: Demo) -> None:
        self._runtime = runtime
        self._demo = demo

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def check(self, request: GateRequest) -> Future[GateDecision]:
        """Ask the gate, over HTTP: not the simulated agents, they ask directly."""
        future = self._runtime.check(request)
        if request.agent_id == ROGUE:
            future.add_done_callback(self._tell)
        return future

    def _tell(self, future: Future[GateDecision]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._demo.answered(self._runtime.now_ms(), future.result())


class _Server(uvicorn.Server):
    """A server that says when it is up, and ends the pages' streams before it waits for them."""

    def __init__(self, config: uvicorn.Config, is_up: Callable[[], None], is_ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._is_up = is_up
        self._is_ending = is_ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._is_up()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then the server."""
        self._is_ending()
        await super().shutdown(sockets)


def run(options: Options) -> None:
    """The whole demo, until Ctrl-C. Leaves nothing behind: no thread, no file, no port."""
    listening = listen(options.port)
    folder = Path(tempfile.mkdtemp(prefix="tripline-demo-"))
    try:
        with _interruptible():
            _run(options, listening, folder)
    except KeyboardInterrupt:
        pass
    finally:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        listening.close()
        shutil.rmtree(folder, ignore_errors=True)
        click.echo("\nThe demo has ended; its data are deleted.")


def listen(port: int | None) -> socket.socket:
    """A listening socket: on ``port``, or on 8787, or (if that is taken and no port was asked for) on a free one."""
    for candidate in (port,) if port is not None else (DEFAULT_PORT, 0):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, candidate))
            sock.listen(128)
        except OSError as problem:
            sock.close()
            if port is not None:
                raise click.ClickException(
                    f"port {port} of {HOST} can't be used ({problem.strerror}); take another with --port, or leave "
                    "--port out and a free one is found"
                ) from None
            continue
        return sock
    raise click.ClickException(f"no port of {HOST} could be opened")


def _run(options: Options, listening: socket.socket, folder: Path) -> None:
    port = int(listening.getsockname()[1])
    settings = demo_settings(str(folder), HOST, port)
    simulation = Simulation(demo_org(), options.seed, start_ms())
    clock = DemoClock(start_ms())
    with _running(settings, clock) as runtime:
        _write_past(runtime, simulation)
        clock.stand(LIVE_FROM_MS)
        with _reading(runtime) as reader:
            _serve(options, listening, settings, runtime, reader, simulation, clock)


def _serve(
    options: Options,
    listening: socket.socket,
    settings: Settings,
    runtime: Runtime,
    reader: Reader,
    simulation: Simulation,
    clock: DemoClock,
) -> None:
    url = f"http://{HOST}:{settings.server.port}"
    demo = Demo(simulation, options.seed, options.speed, options.auto_secs)
    buyers = Buyers(simulation, options.seed, LIVE_FROM_MS, lambda: _top_five(reader))
    live = Live(runtime, simulation, clock, (demo.rogue_actions, buyers.mails), demo.heard)
    auth = open_auth(settings)
    app = create_app(AsAgent(runtime, demo), settings, reader, auth)
    app.state["demo"] = demo
    for route in demo_routes(demo):
        app.register(route)
    lines, link = prepare_people(auth, url)
    teller = Teller(demo, reader, clock, url, link, zone_of(settings))

    def begin() -> None:
        clock.run(options.speed)
        live.start()
        demo.begin(lines)
        teller.start()
        if options.opens_browser and sys.stdout.isatty():
            threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=SHUTDOWN_SECS
    )
    server = _Server(config, begin, app.state[STATE_KEY].hub.close)
    try:
        server.run([listening])
    finally:
        teller.stop()
        live.stop()


def prepare_people(auth: AuthStore, url: str) -> tuple[list[str], str]:
    """The lines to paste as the agent, with a token of its own; and a link that logs the manager in, once."""
    auth.add_user(PERSON, "operator")
    token, _ = auth.create_token(ROGUE, ("gate", "ingest", "read"), agent_id=ROGUE)
    check = {
        "agent_id": ROGUE,
        "action": "record.update",
        "object": "Account",
        "record_ids": ["acc-nordwind-logistik"],
        "changes": {"acc-nordwind-logistik": {"industry": ["Transport", "Unknown"]}},
        "authorized_by": user("Ines Faber"),
    }
    release = {"epoch": 1, "reason": "I am fine, really"}
    lines = [
        _curl(f"{url}/v1/gate/check", token, check),
        _curl(f"{url}/v1/agents/{ROGUE}/release", token, release),
    ]
    return lines, f"{url}/login/link/{auth.make_login_link(PERSON, LINK_MINUTES)}"


def _curl(url: str, token: str, body: dict[str, Any]) -> str:
    text = json.dumps(body, separators=(",", ":"))
    return f"curl -s {url} -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{text}'"


def _write_past(runtime: Runtime, simulation: Simulation) -> None:
    begin, end = simulation.start_ms, LIVE_FROM_MS
    with click.progressbar(length=100, label="Simulating six weeks of a sales team", file=sys.stderr) as bar:
        shown = 0

        def progress(at_ms: int) -> None:
            nonlocal shown
            share = (at_ms - begin) * 100 // (end - begin)
            bar.update(share - shown)
            shown = share

        fill(runtime, simulation, LIVE_FROM_MS, progress)
        bar.update(100 - shown)
    if runtime.projector is not None:
        runtime.projector.wait_until_idle(30.0)


def _top_five(reader: Reader) -> list[str]:
    with suppress(Exception):  # a page's query that fails must not end the show
        return [row.deal_id for row in reader.top_deals(user(MANAGERS[0]), LIVE_FROM_MS).rows]
    return []


@contextmanager
def _running(settings: Settings, clock: DemoClock) -> Iterator[Runtime]:
    runtime = Runtime(settings, clock=clock)
    runtime.start()
    try:
        yield runtime
    finally:
        runtime.close()


@contextmanager
def _reading(runtime: Runtime) -> Iterator[Reader]:
    reader = Reader.open(runtime.store.path)
    try:
        yield reader
    finally:
        reader.close()


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and a closed terminal end the demo like Ctrl-C, so that it cleans up."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    names = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(name, interrupt) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
