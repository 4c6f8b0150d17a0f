"""The MCP proxy over HTTP, in memory, before a tool server that follows the specification, with faults."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import structlog

from console.proxy.credential import Credential
from console.proxy.front import ProxyConfig, holds
from console.proxy.mapping import read_mapping
from console.proxy.mcp_http import McpHttpProxy
from console.proxy.outbox import Outbox
from console.proxy.sse import BadStream, Event, events_of

SECRET, TOKEN, THEIRS = "tools-own-secret", "tl_agent", "their-session"
BOTH = "application/json, text/event-stream"
TOOLS = read_mapping(
    """
[resources]
object = "Document"
[tools.update_lead]
action = "record.update"
object = "Lead"
records_from = "id"
fields = { industry = "Industry" }
""",
    "tools.toml",
)


class Body(httpx.AsyncByteStream):
    """Chunks of an answer; a None in them is where the connection breaks, a callable is waited for."""

    def __init__(self, *chunks: Any) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            if chunk is None:
                raise httpx.ReadError("cut")
            if callable(chunk):
                await chunk()
            else:
                yield chunk


def said(value: Any, status: int = 200, **headers: str) -> httpx.Response:
    body = b"" if value is None else json.dumps(value).encode()
    return httpx.Response(status, headers={"content-type": "application/json", **headers}, stream=Body(body))


def streamed(*chunks: Any) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(*chunks))


def event(value: Any, id_: str = "") -> bytes:
    head = f"id: {id_}\n" if id_ else ""
    return f"{head}data: {json.dumps(value) if value is not None else ''}\n\n".encode()


def result(id_: Any = 1, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "result": {"content": [], "isError": False, **more}}


PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 5}}


class World:
    """A proxy, its gate and its tool server. ``calls``: answers of the server to calls, one after the other; after the
    last it answers well. ``seen``: (method, headers, message) of what reached it."""

    def __init__(self, **config: Any) -> None:
        self.seen: list[tuple[str, httpx.Headers, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.calls: list[Any] = []
        self.listening: httpx.Response | None = None
        self.is_stopped, self.session = False, ""
        told = ProxyConfig(agent_id="bot", token=TOKEN, gate_url="http://gate", upstream="http://tools/mcp", **config)
        self.app = McpHttpProxy(told, TOOLS, Credential(value=SECRET))

    def play(self, story: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await self.app.begin()
            self.app._gate._http = httpx.AsyncClient(base_url="http://gate", transport=httpx.MockTransport(self._gate))
            self.app._server._client = httpx.AsyncClient(transport=httpx.MockTransport(self._tools))
            self.client = httpx.AsyncClient(
                transport=httpx.ASGITransport(self.app), base_url="http://127.0.0.1:8791",
                headers={"authorization": f"Bearer {TOKEN}", "accept": BOTH, "mcp-protocol-version": "2025-06-18"},
            )  # fmt: skip
            await story()
            await self.app.end()

        asyncio.run(run())

    async def post(self, message: Any, **headers: str) -> httpx.Response:
        session = {"mcp-session-id": self.session} if self.session else {}
        content = message if isinstance(message, bytes) else json.dumps(message).encode()
        head = {"content-type": "application/json", **session, **{n.replace("_", "-"): v for n, v in headers.items()}}
        return await self.client.post("/mcp", content=content, headers=head)

    async def start(self) -> httpx.Response:
        self.session = ""
        hello = await self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}})
        self.session = hello.headers["mcp-session-id"]
        return hello

    async def get(self, **headers: str) -> httpx.Response:
        return await self.client.get("/mcp", headers={"mcp-session-id": self.session, **headers})

    def _tools(self, request: httpx.Request) -> httpx.Response:
        message = json.loads(request.content) if request.content else None
        self.seen.append((request.method, request.headers, message))
        if request.headers["authorization"] != f"Bearer {SECRET}":
            return said(None, 401)
        if request.method != "POST":
            return said(None, 200) if request.method == "DELETE" else self.listening or said(None, 405)
        if message.get("method") == "initialize":
            return said(result(0, protocolVersion="2025-06-18"), **{"mcp-session-id": THEIRS})
        if "id" not in message or "method" not in message:
            return said(None, 202)
        if message["method"] in ("tools/call", "resources/read") and self.calls:
            return self._next()
        return said(result(message["id"]))

    def _next(self) -> httpx.Response:
        answer = self.calls.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    def _gate(self, request: httpx.Request) -> httpx.Response:
        told = json.loads(request.content)
        if request.url.path == "/v1/events":
            self.reports.append(told["data"])
            return httpx.Response(200, json={})
        self.asked.append(told)
        yes = {"decision": "allow", "decision_id": f"d{len(self.asked)}", "epoch": 1, "rule": "allowed", "reason": "ok"}
        no = {"decision": "deny", "rule": "suspended", "reason": "denied: suspended"}
        return httpx.Response(200, json={**yes, **(no if self.is_stopped else {})})


def call(id_: Any = 1, name: str = "update_lead", **arguments: Any) -> dict[str, Any]:
    given = arguments or {"id": "7", "industry": "Retail"}
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": {"name": name, "arguments": given}}


def test_a_call_is_asked_for_sent_with_the_stored_credential_and_reported():
    world = World()

    async def story() -> None:
        hello = await world.start()
        assert THEIRS not in str(hello.headers) + hello.text
        answer = await world.post(call(), x_tripline_trigger="rule:flow:enrich", cookie="mine=1", x_api_key="mine")
        assert (answer.status_code, answer.json()) == (200, result())
        assert (await world.post({"jsonrpc": "2.0", "method": "notifications/initialized"})).status_code == 202
        method, headers, message = world.seen[1]
        assert (method, message) == ("POST", call())
        assert headers["authorization"] == f"Bearer {SECRET}"
        assert (headers["mcp-session-id"], headers["mcp-protocol-version"]) == (THEIRS, "2025-06-18")
        assert not {"cookie", "x-api-key", "x-tripline-trigger"} & set(headers)

    world.play(story)
    (asked,) = world.asked
    assert asked["changes"] == {"7": {"Industry": {"after": "Retail"}}}
    assert asked["trigger"] == {"kind": "rule", "ref": "flow:enrich"}
    assert [(each["outcome"], each["tool"]) for each in world.reports] == [("ok", "update_lead")]


def test_a_stopped_agents_call_is_a_result_that_a_model_reads_and_is_not_sent():
    world = World()
    world.is_stopped = True
    uri = {"jsonrpc": "2.0", "id": 2, "method": "resources/read", "params": {"uri": "crm://lead/1"}}

    async def story() -> None:
        await world.start()
        told = (await world.post(call())).json()["result"]
        assert (told["isError"], "denied: suspended" in told["content"][0]["text"]) == (True, True)
        assert (await world.post(uri)).json()["error"]["message"] == "denied: suspended"
        assert (await world.post(call(3, "unmapped"))).json()["result"]["isError"] is True
        assert (await world.post({"jsonrpc": "2.0", "id": 4, "method": "tools/list"})).json() == result(4)

    world.play(story)
    assert [message["method"] for _, _, message in world.seen] == ["initialize", "tools/list"]
    assert world.reports == []


def test_a_stream_is_passed_on_event_by_event_written_anew():
    world = World()
    world.calls = [
        streamed(b": ping\n\nid: e1\r\ndata:\n\n" + event(PROGRESS, "e2")[:20], event(PROGRESS, "e2")[20:],
                 b'event: endpoint\ndata: /elsewhere\n\ndata: not json\n\n', event(result(99)),
                 b'event: message\ndata: {"jsonrpc": "2.0", "id": 1,\ndata:  "result": {"content": []}}\n\n')
    ]  # fmt: skip

    async def story() -> None:
        await world.start()
        answer = await world.post(call())
        assert answer.headers["content-type"] == "text/event-stream"
        parts = answer.text.removesuffix("\n\n").split("\n\n")
        assert re.fullmatch(r"event: message\nid: [0-9a-f]{32}\.e1\ndata: ", parts[0])
        assert re.match(r"event: message\nid: [0-9a-f]{32}\.e2\ndata: ", parts[1])
        assert json.loads(parts[1].partition("data: ")[2]) == PROGRESS
        assert json.loads(parts[2].partition("data: ")[2]) == {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}
        assert len(parts) == 3

    world.play(story)
    assert world.reports[0]["outcome"] == "ok"


FAULTS: list[tuple[Any, str | None]] = [
    (lambda: said({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no"}}), "-32602"),
    (lambda: said(result(isError=True)), "tool_error"),
    (lambda: said(None, 401), "HTTP 401"),
    (lambda: said(None, 429), "HTTP 429"),
    (lambda: httpx.ConnectError("away"), "server_unreachable"),
    (lambda: said(None, 500), "outcome_unknown"),
    (lambda: said(None, 408), "outcome_unknown"),
    (lambda: said(None, 307, location="http://elsewhere/"), "outcome_unknown"),
    (lambda: said(None, 202), "outcome_unknown"),
    (lambda: said([result()]), "outcome_unknown"),
    (lambda: said(result("1")), "outcome_unknown"),
    (lambda: httpx.ReadError("cut"), "outcome_unknown"),
    (lambda: streamed(event(PROGRESS), None), "outcome_unknown"),
    (lambda: streamed(event(PROGRESS)), "outcome_unknown"),
    (lambda: streamed(b"data: {}\rdata: {}\n\n"), "outcome_unknown"),
    (lambda: streamed(lambda: asyncio.sleep(60)), "outcome_unknown"),
]


def test_what_comes_of_a_call_is_told_apart_whatever_the_server_does():
    world = World(upstream_secs=0.05)
    world.calls = [make() for make, _ in FAULTS]

    async def story() -> None:
        await world.start()
        for _, code in FAULTS:
            answer = await world.post(call())
            text = (
                answer.text.rpartition("data: ")[2] if "event-stream" in answer.headers["content-type"] else answer.text
            )
            told = json.loads(text)
            assert (answer.status_code, told["id"]) == (200, 1)
            assert ("nobody knows whether it was done" in answer.text) == (code == "outcome_unknown"), code

    world.play(story)
    assert [each["error"]["code"] for each in world.reports] == [code for _, code in FAULTS]
    assert world.calls == [], "each is sent once, whatever comes of it"


def test_a_stream_that_was_cut_is_gone_on_with_and_the_outcome_is_what_came_then():
    world = World()
    world.calls = [streamed(event(None, "e1"), None)]
    world.listening = streamed(event(PROGRESS, "e2"), event(result(), "e3"))

    async def story() -> None:
        await world.start()
        cut = await world.post(call())
        assert cut.text.startswith("event: message\nid: ")
        assert (await world.post(call())).json()["error"]["message"] == "refused: this id is in use"
        rest = await world.get(**{"last-event-id": ids_in(cut)[-1]})
        assert [id_.partition(".")[2] for id_ in ids_in(rest)] == ["e2", "e3"]
        assert world.seen[-1][1]["last-event-id"] == "e1"
        assert (await world.post(call())).json() == result()

    world.play(story)
    assert [each["outcome"] for each in world.reports] == ["ok", "ok"]


def ids_in(answer: httpx.Response) -> list[str]:
    return [line.removeprefix("id: ") for line in answer.text.splitlines() if line.startswith("id: ")]


def test_an_events_id_opens_nothing_in_another_session():
    world = World()
    world.calls = [streamed(event(None, "e1"), event(result()))]
    world.listening = streamed(event(PROGRESS, "e2"))

    async def story() -> None:
        await world.start()
        (told,) = ids_in(await world.post(call()))
        mine = world.session
        await world.start()
        for other in (told, "e1", told[:-1] + "2", f"{'0' * 32}.e1", "." + told):
            assert (await world.get(**{"last-event-id": other})).status_code == 400
        world.session = mine
        assert (await world.get(**{"last-event-id": told})).status_code == 200

    world.play(story)
    assert [headers.get("last-event-id") for method, headers, _ in world.seen if method == "GET"] == ["e1"]


def test_nobody_knows_of_a_stream_that_was_cut_and_not_gone_on_with(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.proxy.exchange.RESUME_SECS", 0.01)
    world = World()
    world.calls = [streamed(event(None, "e1"))]

    async def story() -> None:
        await world.start()
        await world.post(call())

    world.play(story)
    assert world.reports[0]["error"]["code"] == "outcome_unknown"


def test_a_session_that_the_server_has_forgotten_is_over_here_as_well():
    world = World()
    world.calls = [said(None, 404)]

    async def story() -> None:
        await world.start()
        assert (await world.post(call())).status_code == 404
        assert (await world.post(call())).status_code == 404
        assert len(world.seen) == 2
        await world.start()
        assert (await world.client.delete("/mcp", headers={"mcp-session-id": world.session})).status_code == 200
        assert world.seen[-1][1]["mcp-session-id"] == THEIRS
        assert (await world.post(call())).status_code == 404
        world.session = THEIRS
        assert (await world.post(call())).status_code == 404, "the server's own id opens nothing"

    world.play(story)
    assert world.reports[0]["error"]["code"] == "HTTP 404"


def test_the_credential_is_in_no_answer():
    world = World()
    leak = {"content": [{"type": "text", "text": SECRET}]}
    noted = {**PROGRESS, "params": {"x": SECRET}}
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": f"bad {SECRET}"}}
    world.calls = [
        said(error),
        said(result(**leak, isError=True)),
        said(result(**leak)),
        streamed(event(noted, "e1"), event(PROGRESS, SECRET), event(result(**leak))),
    ]
    world.listening = streamed(event(noted), event(PROGRESS))

    async def story() -> None:
        await world.start()
        for answer in [*[await world.post(call()) for _ in range(4)], await world.get()]:
            assert SECRET not in answer.text + str(answer.headers)
        assert answer.text.count("data:") == 1

    world.play(story)
    assert [each["outcome"] for each in world.reports] == ["error", "error", "ok", "ok"], "though it is not shown"
    assert [each["error"]["code"] for each in world.reports[:2]] == ["-1", "tool_error"]
    assert SECRET not in json.dumps(world.reports)


@pytest.mark.parametrize(
    ("secret", "part", "is_there"),
    [
        ("tools/own-secret", rb'{"a":"tools\/own-secret"}', True),
        ("tools-own-secret", rb'{"a":"\u0074ools-own\u002dsecret"}', True),
        ("tools-own-secret", rb'{"a":"{\"b\":\"\\u0074ools-own-secret\"}"}', True),
        ('tools"own-secret', rb'{"a":"tools\"own-secret"}', True),
        ("tools\\own-secret", rb'{"a":"tools\\own-secret"}', True),
        ("tools-own-secret", rb'{"a":"tools-own \u2028 secret \u0000"}', False),
    ],
)
def test_the_credential_is_found_however_json_escapes_it(secret: str, part: bytes, is_there: bool):
    assert holds(secret, b"other", part) == is_there


def test_the_credential_is_in_no_log():
    world = World()
    world.calls = [
        streamed(f"{SECRET}: x\n\n".encode()),
        streamed(f'data: {{"jsonrpc":"2.0","{SECRET}":1,"{SECRET}":2}}\n\n'.encode(), event(result())),
        httpx.RemoteProtocolError(f"illegal header line: bytearray(b'authorization : Bearer {SECRET}')"),
    ]
    world.listening = streamed(f"{SECRET}: x\n\n".encode())

    async def story() -> None:
        await world.start()
        for _ in range(3):
            await world.post(call())
        await world.get()

    with structlog.testing.capture_logs() as logs:
        world.play(story)
    assert len([each for each in logs if each["log_level"] != "info"]) >= 3
    assert SECRET not in str(logs)


def test_a_client_that_reads_nothing_does_not_keep_the_answer_from_being_known(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.proxy.outbox.STUCK_SECS", 0.01)

    async def stuck(_: Any) -> None:
        await asyncio.sleep(60)

    async def story() -> None:
        box = Outbox()
        sending = asyncio.create_task(box.send_all(stuck))
        for _ in range(200):
            await asyncio.wait_for(box.put(b"x" * 100_000), 2)
        with pytest.raises(TimeoutError):
            await sending
        assert box._items.qsize() <= 64

    asyncio.run(story())


def test_who_hangs_up_before_the_server_answers_gives_its_stream_back():
    world = World()

    async def story() -> None:
        await world.start()
        world.app._server._client = httpx.AsyncClient(transport=httpx.MockTransport(silent))
        head = [(b"authorization", f"Bearer {TOKEN}".encode()), (b"accept", b"text/event-stream"),
                (b"host", b"127.0.0.1"), (b"mcp-session-id", world.session.encode())]  # fmt: skip
        scope = {"type": "http", "method": "GET", "raw_path": b"/mcp", "query_string": b"", "headers": head}
        for _ in range(20):
            await asyncio.wait_for(world.app(scope, gone, never), 2)

    async def silent(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def never(message: Any) -> None:
        raise AssertionError(message)

    world.play(story)


def test_open_calls_have_so_many_bytes_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.proxy.mcp_http.MOST_OPEN_BYTES", 3_000)
    world, go = World(), asyncio.Event()
    world.calls = [streamed(go.wait, event(result()))]

    async def story() -> None:
        await world.start()
        first = asyncio.create_task(world.post(call(1, id="7", industry="x" * 2_000)))
        while len(world.seen) < 2:
            await asyncio.sleep(0)
        assert "too large ones" in (await world.post(call(2, id="7", industry="x" * 2_000))).text
        told = {"jsonrpc": "2.0", "id": 5, "result": {"content": "x" * 2_000}}
        assert (await world.post(told)).status_code == 503
        go.set()
        assert (await first).status_code == 200
        assert (await world.post(call(2, id="7", industry="x" * 2_000))).json() == result(2)

    world.play(story)


def test_a_call_that_is_cancelled_before_it_was_sent_is_never_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.proxy.gatekeeper.MOST_AT_ONCE", 1)
    world, go = World(), asyncio.Event()
    world.calls = [streamed(go.wait, event(result()))]
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}

    async def story() -> None:
        await world.start()
        first = asyncio.create_task(world.post(call()))
        while len(world.seen) < 2:
            await asyncio.sleep(0)
        second = asyncio.create_task(world.post(call(2)))
        while (await world.post(cancel)).status_code == 202 and not second.done():
            await asyncio.sleep(0)
        assert "cancelled before it was sent" in (await second).text
        go.set()
        assert (await first).json() == result()

    world.play(story)
    assert [message["id"] for _, _, message in world.seen if message.get("method") == "tools/call"] == [1]


BAD: list[tuple[Any, dict[str, str], int]] = [
    (b"{", {}, 400),
    ([call()], {}, 400),
    (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', {}, 400),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}', {}, 400),
    ({key: value for key, value in call().items() if key != "id"}, {}, 400),
    ({"jsonrpc": "2.0", "method": "notifications/tasks"}, {}, 400),
    (b"x" * 5_000_000, {}, 413),
    (call(), {"content_type": "text/plain"}, 400),
    (call(), {"accept": "application/json"}, 406),
    (call(), {"mcp_protocol_version": "2024-11-05"}, 400),
    (call(), {"mcp_session_id": "made-up"}, 404),
    (call(), {"origin": "https://evil.example"}, 403),
    (call(), {"origin": "http://[evil"}, 403),
    (call(), {"origin": "null"}, 403),
    (call(), {"origin": "http://127.0.0.1@evil.example"}, 403),
    (call(), {"host": "evil.example:8791"}, 403),
    (call(), {"authorization": f"Bearer {SECRET}"}, 401),
    (call(), {"authorization": ""}, 401),
    (call(), {"x_http_method_override": "DELETE"}, 400),
    (call(), {"x_tripline_agent": "other"}, 400),
    (call(), {"content_encoding": "gzip"}, 400),
]


def test_what_is_not_plain_never_reaches_the_server():
    world = World()

    async def story() -> None:
        await world.start()
        for message, headers, status in BAD:
            answer = await world.post(message, **headers)
            assert (answer.status_code, SECRET in answer.text) == (status, False), (message, headers)
        unknown = await world.post({"jsonrpc": "2.0", "id": 1, "method": "tasks/result"})
        assert unknown.json()["error"]["code"] == -32601
        for path in ("/", "/mcp/", "/mcp?session=1", "/.well-known/oauth-protected-resource", "//mcp"):
            assert (await world.client.post(path, json=call())).status_code == 404
        assert (await world.client.put("/mcp", json=call())).status_code == 405
        assert (await world.get()).status_code == 405
        assert (await world.get(**{"last-event-id": "a\tb"})).status_code == 400

    world.play(story)
    assert [method for method, _, _ in world.seen] == ["POST", "GET"]
    assert world.asked == []


@pytest.mark.parametrize(
    "raw",
    [b"\xef\xbb\xbfdata: x\n\n", b"data: a\rb\n\n", b"Data: x\n\n", b"id: \xe9\ndata: x\n\n", b"retry: 1e9\n\n",
     b"data\x00: x\n\n", b"data: " + b"x" * 200, b"data: x\n" * 40],
)  # fmt: skip
def test_a_stream_that_could_be_read_in_two_ways_is_not_read(raw: bytes):
    async def read() -> list[Event]:
        return [each async for each in events_of(aiter(Body(raw)), 100)]

    with pytest.raises(BadStream):
        asyncio.run(read())
