"""The real thing: uvicorn on a free port, the embedded runtime, and clients that misbehave."""

from __future__ import annotations

import json
import socket
import threading
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from console.app import PEOPLE_FILE, create_app, wall_ms
from console.auth import AuthStore
from console.server import CannotListen, Server, listen
from governance.settings import parse_settings
from storage.people import open_people
from storage.read import Reader
from streams.standalone.runtime import Runtime
from tests.unit.console.conftest import PASSWORD
from tests.unit.console.samples import LINES, action, lines

TOML = """
[agents.dealbot]
level = 3
owner = "sam"
actions = ["record.*"]
"""
MAYA, JO = ("maya", PASSWORD), ("jo", PASSWORD)
CHECK = {"agent_id": "dealbot", "action": "record.update", "object": "Opportunity", "record_ids": ["006A1"]}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    settings = parse_settings(TOML, {}, {"server.data_dir": str(folder), "server.port": 0})
    auth = AuthStore(open_people(Path(folder) / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
    for name in ("maya", "jo"):
        auth.add_user(name, "operator", PASSWORD)
    with Runtime(settings) as runtime:
        reader = Reader.open(runtime.store.path)
        server = Server(create_app(runtime, settings, reader, auth), listen("127.0.0.1", 0))
        try:
            yield server.start()
        finally:
            server.stop()
            reader.close()


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as made:
        yield made


def raw(url: str, content: bytes) -> bytes:
    """Send bytes as they are, and read until the server has nothing more to say."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as link:
        link.sendall(content)
        got = b""
        while chunk := link.recv(65536):
            got += chunk
            if b"\r\n\r\n" in got:
                break
    return got


def test_events_are_judged_and_shown(client: httpx.Client) -> None:
    answer = client.post("/v1/events", content=lines(action("s-1"), action("s-2"), {"no": "event"}), headers=LINES)
    assert (answer.json()["accepted"], answer.json()["refused_count"]) == (2, 1)
    again = client.post("/v1/events", content=lines(action("s-1")), headers=LINES)
    assert again.json()["duplicates"] == 1
    letters = client.get("/v1/dead-letters").json()["dead_letters"]
    assert any(json.dumps({"no": "event"}).encode() == b64decode(row["raw"]) for row in letters)


def test_suspend_deny_release_allow(client: httpx.Client) -> None:
    assert client.post("/v1/gate/check", json=CHECK).json()["decision"] == "allow"
    stopped = client.post("/v1/agents/dealbot/suspend", json={"reason": "looks wrong"}, auth=MAYA).json()
    assert stopped["state"] == "suspended"
    denied = client.post("/v1/gate/check", json=CHECK).json()
    assert (denied["decision"], denied["rule"], denied["epoch"]) == ("deny", "suspended", stopped["epoch"])
    page = client.get("/v1/agents/dealbot").json()
    assert page["row"]["control"]["reason"] == "looks wrong"
    stale = client.post("/v1/agents/dealbot/release", json={"reason": "fine", "epoch": stopped["epoch"] - 1}, auth=JO)
    assert (stale.status_code, stale.json()["epoch"]) == (409, stopped["epoch"])
    freed = client.post("/v1/agents/dealbot/release", json={"reason": "fine", "epoch": stopped["epoch"]}, auth=JO)
    assert freed.status_code == 200
    assert freed.json()["state"] in ("releasing", "active")
    assert client.post("/v1/gate/check", json=CHECK).json()["decision"] == "allow"


def test_stop_all_takes_one_person_and_its_end_two(client: httpx.Client) -> None:
    client.post("/v1/stop-all", json={"reason": "unclear"}, auth=MAYA)
    assert client.post("/v1/gate/check", json=CHECK).json()["rule"] == "stop_all"
    epoch = client.get("/v1/stop-all").json()["epoch"]
    first = client.post("/v1/release-all", json={"reason": "clear", "epoch": epoch}, auth=MAYA)
    assert first.status_code == 202
    second = client.post("/v1/release-all", json={"confirm": first.json()["waiting_confirm"]}, auth=JO)
    assert second.json()["state"] == "active"
    assert client.post("/v1/gate/check", json=CHECK).json()["decision"] == "allow"


def test_an_agent_that_nobody_configured_is_denied_with_the_lines_that_would_allow_it(client: httpx.Client) -> None:
    told = client.post("/v1/gate/check", json={**CHECK, "agent_id": "stranger"}).json()
    assert (told["decision"], told["rule"]) == ("deny", "unknown_agent")
    assert "[agents.stranger]" in told["stanza"]


def test_a_foreign_host_is_refused_on_the_wire(url: str) -> None:
    assert b"421" in raw(url, b"GET /v1/agents HTTP/1.1\r\nHost: evil.example\r\n\r\n").split(b"\r\n")[0]
    assert b"421" in raw(url, b"GET /v1/agents HTTP/1.0\r\n\r\n").split(b"\r\n")[0]


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
    ],
)
def test_smuggled_and_malformed_heads_get_400_and_the_server_goes_on(
    url: str, client: httpx.Client, head: bytes
) -> None:
    assert raw(url, head).startswith(b"HTTP/1.1 400")
    assert client.get("/healthz").status_code == 200


TRICKS = ["/static/../people.db", "/static/%2e%2e/people.db", "/static//etc/passwd", "/static/../v1/agents", "/v1/../x"]


@pytest.mark.parametrize("path", TRICKS)
def test_path_tricks_lead_nowhere(url: str, path: str) -> None:
    for method in (b"GET", b"POST"):
        got = raw(url, method + b" " + path.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
        assert int(got.split(b" ")[1]) in (400, 401, 403, 404, 405)


SPELLINGS = [
    "//v1/stop-all", "/v1//stop-all", "/v1/stop-all/", "/v1/./stop-all", "/v1/events/../stop-all",
    "/v1/gate/ext-authz/../../stop-all",
]  # fmt: skip


@pytest.mark.parametrize("path", SPELLINGS)
def test_no_spelling_of_a_path_gets_past_the_login(url: str, path: str) -> None:
    head = b"POST " + path.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
    assert raw(url, head).startswith(b"HTTP/1.1 401")


def test_a_chunked_body_that_never_ends_is_cut_off_at_the_limit(url: str, client: httpx.Client) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    head = b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert raw(url, head + chunk * 140).startswith(b"HTTP/1.1 413")
    assert client.get("/healthz").status_code == 200


def test_the_gate_answers_while_bodies_trickle_in(url: str, client: httpx.Client) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(50)]
    try:
        for link in slow:
            link.sendall(b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{")
        assert client.post("/v1/gate/check", json=CHECK).status_code == 200
    finally:
        for link in slow:
            link.close()


def test_the_stream_tells_of_a_change(url: str, client: httpx.Client) -> None:
    heard = threading.Event()

    def listen_to() -> None:
        with httpx.stream("GET", f"{url}/v1/stream?agent=streamed", timeout=20) as answer:
            for line in answer.iter_lines():
                if line == ": listening":
                    ready.set()
                if line == "event: agent":
                    heard.set()
                    return

    ready = threading.Event()
    thread = threading.Thread(target=listen_to, daemon=True)
    thread.start()
    assert ready.wait(10)
    client.post("/v1/events", content=lines(action("st-1", agent="streamed")), headers=LINES)
    assert heard.wait(10)
    thread.join(5)


def test_pages_are_served_without_an_outside_network(client: httpx.Client) -> None:
    page = client.get("/", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "//cdn" not in page.text
    assert "https://" not in page.text.replace("https://www.w3.org", "")


def test_a_taken_port_is_a_clear_message(url: str) -> None:
    with pytest.raises(CannotListen, match="choose another port"):
        listen("127.0.0.1", int(url.rpartition(":")[2])).listen()


def test_many_at_once_are_all_answered(url: str) -> None:
    def ask(results: list[Any], number: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as one:
            for turn in range(20):
                told = one.post("/v1/gate/check", json={**CHECK, "request_id": f"many-{number}-{turn}"}).json()
                results.append((told["decision"], told["decision_id"]))

    results: list[Any] = []
    threads = [threading.Thread(target=ask, args=(results, number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {decision for decision, _ in results} <= {"allow", "hold", "deny"}, "a burst may well be stopped"
    assert len({decision_id for _, decision_id in results}) == 160
