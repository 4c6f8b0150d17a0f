"""The lane for hot routes: its answers are the ordinary ones, byte for byte, and it takes only what is plain."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from litestar import Litestar

import console.api.events as events_module
import console.api.gate as gate_module
import console.lane as lane_module
from console.app import create_app
from console.auth import AuthStore, csrf_of
from console.server import Server, listen
from governance.settings_types import Settings
from storage.errors import StoreUnavailable
from storage.read import Reader
from streams.standalone.mailbox import Mailbox
from streams.standalone.types import Closed
from tests.unit.console.fakes import FakeRuntime, done, gate_decision
from tests.unit.console.samples import action, change, lines

CHECK = {"agent_id": "dealbot", "action": "record.update", "object": "Opportunity", "record_ids": ["006A1"]}
GATE, EVENTS = "/v1/gate/check", "/v1/events"
JSON, LINES = {"Content-Type": "application/json"}, {"Content-Type": "application/x-ndjson"}
PLAIN = {GATE: (json.dumps(CHECK).encode(), JSON), EVENTS: (lines(action()), LINES)}


class Waiting(FakeRuntime):
    """A runtime whose checks and batches wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[Mailbox, Any]] = []
        self.has_begun = threading.Event()

    def ask(self, request: Any, box: Mailbox, token: Any) -> None:
        self.checks.append(request)
        self.waiting.append((box, token))
        self.has_begun.set()

    def go_on(self) -> None:
        """Answer the oldest that waits."""
        box, token = self.waiting.pop(0)
        box.put(token, gate_decision(None, len(self.checks)))
        box.deliver()


class Served:
    """A server on a fake runtime; ``ordinary`` are the paths of the requests that did not take the lane."""

    def __init__(self, app: Litestar, runtime: Any) -> None:
        self.runtime = runtime
        self.ordinary: list[str] = []
        inner = app.asgi_handler

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                self.ordinary.append(scope["path"])
            await inner(scope, receive, send)

        app.asgi_handler = counted
        self.server = Server(app, listen("127.0.0.1", 0))
        self.port = int(self.server.start().rpartition(":")[2])

    def connect(self) -> Link:
        return Link(socket.create_connection(("127.0.0.1", self.port), timeout=10))

    def ask(self, request: bytes) -> bytes:
        """The answer to one request on a connection of its own, without its date and random ids."""
        with self.connect() as link:
            link.send(request)
            return link.answer()

    def asks(self, path: str, body: bytes, headers: dict[str, str], **more: str) -> bytes:
        return self.ask(request_of(path, body, headers, **more))


class Link:
    """A connection that sends bytes as they are."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, content: bytes) -> None:
        self.sock.sendall(content)

    def answer(self) -> bytes:
        while b"\r\n\r\n" not in self.rest:
            self._more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head).group(1))  # type: ignore[union-attr]
        while len(self.rest) < length:
            self._more()
        body, self.rest = self.rest[:length], self.rest[length:]
        shown = re.sub(rb"date: [^\r]*", b"date: -", head) + b"\r\n\r\n" + body
        return re.sub(rb'"decision_id":"[^"]*"', b'"decision_id":"-"', shown)

    def is_at_end(self) -> bool:
        return self.rest == b"" and self.sock.recv(100) == b""

    def _more(self) -> None:
        chunk = self.sock.recv(65536)
        assert chunk, f"the connection ended after {self.rest!r}"
        self.rest += chunk


def request_of(path: str, body: bytes, headers: dict[str, str], host: str = "127.0.0.1") -> bytes:
    told = {"Host": host, "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value != "absent")
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


@pytest.fixture
def serve(reader: Reader, auth: AuthStore, settings: Settings) -> Iterator[Callable[..., Served]]:
    servers: list[Server] = []

    def make(runtime: FakeRuntime, other: Settings | None = None) -> Served:
        served = Served(create_app(runtime, other or settings, reader, auth), runtime)
        servers.append(served.server)
        return served

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def served(serve: Callable[..., Served], runtime: FakeRuntime) -> Served:
    return serve(runtime)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def both(served: Served, path: str, body: bytes, headers: dict[str, str], **more: str) -> bytes:
    """Ask for the path, and for the same with an empty query, which the lane never takes; they must agree."""
    straight = served.asks(path, body, headers, **more)
    around = served.asks(f"{path}?", body, headers, **more)
    assert straight == around
    return straight


# --- the same answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PLAIN)
def test_the_lane_answers_as_the_ordinary_way_does_and_goes_past_it(served: Served, path: str) -> None:
    body, headers = PLAIN[path]
    served.asks(path, body, headers)  # so that the event is known, and the next two answers are the same
    assert served.ordinary == []
    assert status_of(both(served, path, body, headers)) == 200
    assert served.ordinary == [path]


@pytest.mark.parametrize("path", PLAIN)
def test_a_token_is_looked_up_the_ordinary_way_and_then_known_to_the_lane(
    served: Served, auth: AuthStore, path: str
) -> None:
    body, headers = PLAIN[path]
    secret, _ = auth.create_token("bot", ["gate", "ingest"], agent_id="dealbot")
    told = {**headers, "Authorization": f"Bearer {secret}"}
    assert status_of(served.asks(path, body, told)) == 200
    assert status_of(served.asks(path, body, told)) == 200
    assert served.ordinary == [path]


WRONG: dict[str, tuple[int, dict[str, Any]]] = {
    "a foreign host": (421, {"host": "evil.example"}),
    "no host": (421, {"host": "absent"}),
    "a foreign origin": (403, {"Origin": "https://evil.example"}),
    "a cross-site request": (403, {"Sec-Fetch-Site": "cross-site"}),
    "an unknown token": (401, {"Authorization": "Bearer nonsense"}),
    "a wrong password": (401, {"Authorization": "Basic eDp5"}),
    "another scheme": (401, {"Authorization": "Digest x"}),
    "a proxy's request without a token": (401, {"X-Forwarded-For": "1.2.3.4"}),
    "a session without its CSRF token": (403, {"Cookie": "SESSION"}),
    "another content type": (415, {"Content-Type": "application/xml"}),
    "a compressed body": (415, {"Content-Encoding": "gzip"}),
    "a header given twice": (400, {"X-CSRF-Token": "1\r\nX-CSRF-Token: 2"}),
}


@pytest.mark.parametrize("path", PLAIN)
@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused_is_refused_alike_and_never_reaches_the_runtime(
    served: Served, auth: AuthStore, settings: Settings, path: str, name: str
) -> None:
    status, changed = WRONG[name]
    body, headers = PLAIN[path]
    told = {**headers, **changed}
    if "Cookie" in told:
        told["Cookie"] = f"tripline_{settings.server.port}={auth.open_session('maya', 1)}"
    answer = both(served, path, body, told, **({"host": told.pop("host")} if "host" in told else {}))
    assert status_of(answer) == status
    assert served.runtime.checks == []
    assert served.runtime.taken == {}
    assert served.ordinary == [path, path]


@pytest.mark.parametrize(
    ("scopes", "bound"), [(["read"], None), (["gate", "ingest"], "another-bot")], ids=["no scope", "another agent"]
)
@pytest.mark.parametrize("path", PLAIN)
def test_a_token_may_do_no_more_in_the_lane(
    served: Served, auth: AuthStore, path: str, scopes: list[str], bound: str | None
) -> None:
    body, headers = PLAIN[path]
    secret, _ = auth.create_token("bot", scopes, agent_id=bound)
    for _ in range(2):  # first read from the store, then known
        assert status_of(both(served, path, body, {**headers, "Authorization": f"Bearer {secret}"})) == 403
    assert (served.runtime.checks, served.runtime.taken) == ([], {})


BAD_BODIES = {
    "empty": b"",
    "cut off": b"{",
    "a list": b"[]",
    "unknown field": json.dumps({**CHECK, "first_contakt": True}).encode(),
    "duplicate key": json.dumps(CHECK).encode().replace(b'"action"', b'"action": "record.read", "action"'),
    "not UTF-8": json.dumps(CHECK).encode().replace(b"dealbot", b"\xff"),
    "deep": b'{"a":' * 3_000,
    "too large": b" " * 300_000,
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_check_is_answered_alike(served: Served, name: str) -> None:
    assert status_of(both(served, GATE, BAD_BODIES[name], JSON)) == (413 if name == "too large" else 400)
    assert served.runtime.checks == []


BAD_EVENTS = {
    "not JSON": (b"{not json", 400),
    "one of three is bad": (lines(action("b-1"), {"no": "event"}, change("b-2")), 200),
    "a type that only Tripline writes": (
        lines({**action(), "type": "tripline.system.tick.v1", "data": {"at": "2026-03-02T09:14:03Z"}}),
        400,
    ),
    "an empty record id": (lines(action(record_ids=["006A1", ""])), 400),
    "nothing": (b"", 200),
    "more than the lane takes": (lines(*(action(f"m-{n}") for n in range(1_000))), 200),
}


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_events_that_are_not_plain_are_answered_and_kept_the_ordinary_way(served: Served, name: str) -> None:
    body, status = BAD_EVENTS[name]
    served.asks(EVENTS, body, LINES)
    before = len(served.runtime.letters)
    assert status_of(both(served, EVENTS, body, LINES)) == status
    assert len(served.runtime.letters) == before * 3
    assert served.ordinary == [EVENTS] * 3


def test_binary_mode_goes_the_ordinary_way(served: Served) -> None:
    event = action("bin")
    headers = {f"ce-{name}": str(value) for name, value in event.items() if name != "data"}
    answer = served.asks(EVENTS, json.dumps(event["data"]).encode(), {**JSON, **headers})
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["accepted"] == 1
    assert served.ordinary == [EVENTS]


def test_a_session_with_its_csrf_token_goes_the_ordinary_way(
    served: Served, auth: AuthStore, settings: Settings
) -> None:
    session = auth.open_session("maya", 1)
    headers = {"Cookie": f"tripline_{settings.server.port}={session}", "X-CSRF-Token": csrf_of(session)}
    assert status_of(served.asks(GATE, PLAIN[GATE][0], {**JSON, **headers})) == 200
    assert served.ordinary == [GATE]


def test_a_busy_runtime_gets_429_with_retry_after_either_way(served: Served) -> None:
    served.runtime.is_busy = True
    answer = both(served, EVENTS, *PLAIN[EVENTS])
    assert status_of(answer) == 429
    assert b"\r\nretry-after: 1\r\n" in answer


def test_a_check_that_fails_is_denied_with_503_either_way(served: Served) -> None:
    served.runtime.is_broken = True
    answer = both(served, GATE, *PLAIN[GATE])
    assert status_of(answer) == 503
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["decision"] == "deny"


@pytest.mark.parametrize(
    ("problem", "status"), [(Closed("it stops"), 503), (StoreUnavailable("the disk is full"), 500)]
)
def test_events_that_fail_late_are_answered_alike(
    served: Served, monkeypatch: pytest.MonkeyPatch, problem: Exception, status: int
) -> None:
    monkeypatch.setattr(served.runtime, "ingest", lambda events, origin_of: done(problem=problem))
    answer = both(served, EVENTS, *PLAIN[EVENTS])
    assert status_of(answer) == status
    assert b"the disk is full" not in answer
    assert served.ordinary == [EVENTS]


def test_an_open_server_does_not_ask_for_tokens_and_a_closed_one_does_in_the_lane_too(
    serve: Callable[..., Served], runtime: FakeRuntime, settings_of: Callable[..., Settings], auth: AuthStore
) -> None:
    closed = serve(runtime, settings_of(require_tokens="always"))
    body, headers = PLAIN[GATE]
    assert status_of(both(closed, GATE, body, headers)) == 401
    assert runtime.checks == []
    secret, _ = auth.create_token("gate", ["gate"])
    assert status_of(closed.asks(GATE, body, {**headers, "Authorization": f"Bearer {secret}"})) == 200


# --- connections ---------------------------------------------------------------------------------------------------


def test_a_connection_serves_many_requests_of_both_ways_in_turn(served: Served) -> None:
    body, headers = PLAIN[GATE]
    with served.connect() as link:
        for path in (GATE, f"{GATE}?", GATE, GATE, f"{GATE}?"):
            link.send(request_of(path, body, headers))
            assert status_of(link.answer()) == 200
    assert len(served.runtime.checks) == 5
    assert served.ordinary == [GATE, GATE]


def test_a_head_seen_before_is_not_parsed_again_and_its_body_is_its_own(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    read = lane_module.read_head
    monkeypatch.setattr(lane_module, "read_head", lambda headers: parsed.append(b"") or read(headers))
    with served.connect() as link:
        for agent in ("dealbot", "mailbot", "longer-bot", "dealbot", "another-b"):
            link.send(request_of(GATE, json.dumps({**CHECK, "agent_id": agent}).encode(), JSON))
            assert status_of(link.answer()) == 200
    assert [check.agent_id for check in served.runtime.checks] == [
        "dealbot", "mailbot", "longer-bot", "dealbot", "another-b"
    ]  # fmt: skip
    assert len(parsed) == 3, "one for each length of the body"
    assert served.ordinary == []


def test_a_head_seen_before_counts_for_its_connection_only_and_not_for_ever(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    read = lane_module.read_head
    monkeypatch.setattr(lane_module, "read_head", lambda headers: parsed.append(b"") or read(headers))
    monkeypatch.setattr(lane_module, "HEADS_KEPT", 2)
    for _ in range(2):
        with served.connect() as link:
            for space in (0, 1, 2, 0):
                link.send(request_of(GATE, PLAIN[GATE][0] + b" " * space, JSON))
                assert status_of(link.answer()) == 200
    assert len(parsed) == 8


def test_a_head_seen_before_lets_nobody_in_whose_token_is_revoked(
    serve: Callable[..., Served],
    runtime: FakeRuntime,
    settings_of: Callable[..., Settings],
    auth: AuthStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = serve(runtime, settings_of(require_tokens="always"))
    secret, token = auth.create_token("gate", ["gate"])
    whole = request_of(GATE, PLAIN[GATE][0], {**JSON, "Authorization": f"Bearer {secret}"})
    with served.connect() as link:
        for _ in range(3):
            link.send(whole)
            assert status_of(link.answer()) == 200
        auth.revoke_token(token.token_id)
        monkeypatch.setattr("console.auth.identify.REFRESH_SECS", -1.0)  # as if some seconds had gone by
        link.send(whole)
        assert status_of(link.answer()) == 401
    assert len(runtime.checks) == 3


def test_a_head_seen_before_with_more_or_less_behind_it_is_parsed(served: Served) -> None:
    whole = request_of(GATE, *PLAIN[GATE])
    with served.connect() as link:
        link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.send(whole)
        link.answer()
        link.send(whole + whole + whole[:-9])
        assert status_of(link.answer()) == status_of(link.answer()) == 200
        link.send(whole[-9:])
        assert status_of(link.answer()) == 200
    assert [check.agent_id for check in served.runtime.checks] == ["dealbot"] * 4


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_request_that_comes_in_pieces_is_put_together(served: Served, size: int) -> None:
    whole = request_of(GATE, *PLAIN[GATE])
    with served.connect() as link:
        link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(whole), size):
            link.send(whole[at : at + size])
        assert status_of(link.answer()) == 200
    assert [check.agent_id for check in served.runtime.checks] == ["dealbot"]


def test_a_slow_body_is_waited_for_by_the_guard(
    served: Served, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(lane_module, "PATIENCE_SECS", 0.0)
    body, headers = PLAIN[GATE]
    whole = request_of(GATE, body, headers)
    with served.connect() as link:
        link.send(whole[:-5])
        for _ in range(1_000):
            if served.ordinary:
                break
            assert status_of(served.ask(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")) == 200
            served.ordinary = [path for path in served.ordinary if path != "/healthz"]
        assert served.ordinary == [GATE]
        link.send(whole[-5:])
        assert status_of(link.answer()) == 200
    assert len(served.runtime.checks) == 1


def test_a_body_that_is_announced_as_too_large_is_refused_before_it_comes(served: Served) -> None:
    whole = request_of(GATE, b"", {**JSON, "Content-Length": "300000"})
    with served.connect() as link:
        link.send(whole)
        assert status_of(link.answer()) == 413
        assert link.is_at_end()


@pytest.mark.parametrize("size", [lane_module.MOST_BYTES, lane_module.MOST_BYTES + 1])
def test_a_body_is_taken_up_to_a_size_and_larger_ones_the_ordinary_way(served: Served, size: int) -> None:
    body = PLAIN[GATE][0].ljust(size)
    assert status_of(both(served, GATE, body, JSON)) == 200
    assert len(served.ordinary) == 1 + (size > lane_module.MOST_BYTES)
    chunked = {**JSON, "Content-Length": "absent", "Transfer-Encoding": "chunked"}
    head = request_of(GATE, b"", chunked)
    assert status_of(served.ask(head + b"%x\r\n%b\r\n0\r\n\r\n" % (size, body))) == 200
    assert len(served.ordinary) == 1 + 2 * (size > lane_module.MOST_BYTES)


def test_a_chunked_check_is_read(served: Served) -> None:
    body, headers = PLAIN[GATE]
    head = request_of(GATE, b"", {**headers, "Content-Length": "absent", "Transfer-Encoding": "chunked"})
    assert status_of(served.ask(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))) == 200
    assert served.ordinary == []


def test_a_chunked_check_without_an_end_is_cut_off_at_the_limit(served: Served) -> None:
    head = request_of(GATE, b"", {**JSON, "Content-Length": "absent", "Transfer-Encoding": "chunked"})
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    assert status_of(served.ask(head + chunk * 6)) == 413
    assert served.runtime.checks == []


def test_pipelined_requests_are_answered_in_their_order(serve: Callable[..., Served]) -> None:
    runtime = Waiting()
    served = serve(runtime)
    body, headers = PLAIN[GATE]
    health = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with served.connect() as link:
        link.send(request_of(GATE, body, headers) + health + request_of(GATE, body, headers))
        assert runtime.has_begun.wait(10)
        runtime.has_begun.clear()
        assert len(runtime.checks) == 1
        runtime.go_on()
        assert b'"allow"' in link.answer()
        assert b'"ok"' in link.answer()
        assert runtime.has_begun.wait(10)
        runtime.go_on()
        assert b'"allow"' in link.answer()
    assert served.ordinary == ["/healthz", GATE]


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_connection_that_is_to_end_ends_after_the_answer(served: Served, version: str) -> None:
    whole = request_of(GATE, PLAIN[GATE][0], {**JSON, "Connection": "close"})
    with served.connect() as link:
        link.send(whole.replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        assert b"\r\nconnection: close\r\n" in link.answer()
        assert link.is_at_end()


def test_expect_100_continue_is_answered(served: Served) -> None:
    whole = request_of(GATE, PLAIN[GATE][0], {**JSON, "Expect": "100-continue"})
    head, _, body = whole.partition(b"\r\n\r\n")
    with served.connect() as link:
        link.send(head + b"\r\n\r\n")
        assert link.sock.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        link.send(body)
        assert status_of(link.answer()) == 200


def test_nonsense_after_a_request_ends_the_connection_with_400(serve: Callable[..., Served]) -> None:
    runtime = Waiting()
    served = serve(runtime)
    with served.connect() as link:
        link.send(request_of(GATE, *PLAIN[GATE]))
        assert runtime.has_begun.wait(10)
        link.send(b"NONSENSE\r\n\r\n")
        assert status_of(link.answer()) == 400
        runtime.go_on()
        assert link.is_at_end()
    assert status_of(served.ask(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")) == 200


def test_a_client_that_goes_away_costs_nobody_else_an_answer(serve: Callable[..., Served]) -> None:
    runtime = Waiting()
    served = serve(runtime)
    with served.connect() as link:
        link.send(request_of(GATE, *PLAIN[GATE]))
        assert runtime.has_begun.wait(10)
        runtime.has_begun.clear()
    with served.connect() as link:
        link.send(request_of(GATE, *PLAIN[GATE]))
        assert runtime.has_begun.wait(10)
        runtime.go_on()
        runtime.go_on()
        assert status_of(link.answer()) == 200


def test_what_takes_too_long_is_denied_and_the_connection_goes_on(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "CHECK_SECS", 0.0)
    runtime = Waiting()
    served = serve(runtime)
    with served.connect() as link:
        link.send(request_of(GATE, *PLAIN[GATE]))
        assert status_of(link.answer()) == 503
        runtime.go_on()  # too late: nobody hears it
        link.send(request_of(GATE, *PLAIN[GATE]))
        assert status_of(link.answer()) == 503
    assert served.ordinary == []


def test_a_server_that_stops_answers_what_has_begun(serve: Callable[..., Served]) -> None:
    runtime = Waiting()
    served = serve(runtime)
    with served.connect() as link, served.connect() as half:
        half.send(request_of(GATE, *PLAIN[GATE])[:-5])
        link.send(request_of(GATE, *PLAIN[GATE]))
        assert runtime.has_begun.wait(10)
        runtime.has_begun.clear()
        stopping = threading.Thread(target=served.server.stop)
        stopping.start()
        while not served.ordinary:  # the half request was given to the guard: the server has told its connections
            stopping.join(0.01)
        runtime.go_on()
        assert b"\r\nconnection: close\r\n" in link.answer()
        half.send(request_of(GATE, *PLAIN[GATE])[-5:])
        assert runtime.has_begun.wait(10)
        runtime.go_on()
        assert b"\r\nconnection: close\r\n" in half.answer()
        stopping.join(20)
        assert not stopping.is_alive()


def test_a_decision_that_can_not_be_told_is_a_denial(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "_answer", lambda decision: 1 / 0)
    answer = both(served, GATE, *PLAIN[GATE])
    assert status_of(answer) == 503
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["decision"] == "deny"


def test_an_answer_about_events_that_can_not_be_told_is_an_error(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "_status", lambda answer: 1 / 0)
    assert status_of(both(served, EVENTS, *PLAIN[EVENTS])) == 500
