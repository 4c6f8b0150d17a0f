"""The MCP proxy in memory: what passes, what is asked for, what is refused and how; and what a mapping says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from console.proxy.asked import Asked, NotParsed
from console.proxy.frames import MOST_BYTES, lines_of
from console.proxy.gatekeeper import Gatekeeper
from console.proxy.mapping import BadMapping, ToolMap, read_mapping
from console.proxy.mcp import McpProxy
from tripline_client import AsyncTripline

TOML = """
own_actions = ["sync.push"]
methods = ["crm/refresh"]
[resources]
object = "Document"
[tools.update_lead]
action = "record.update"
object = "Lead"
records_from = "id"
fields = { industry = "Industry", rating = "Rating" }
harmless = ["note"]
[tools.update_many]
action = "record.update"
object_from = "kind"
records_from = "records[].id"
changes_from = "records[].values"
[tools.create]
action = "record.create"
object = "Lead"
created_from = "records"
[tools.mail]
action = "email.send"
recipients_from = ["to", "cc"]
fields = { text = "Body" }
[tools.find]
action = "record.read"
object = "Lead"
limit_from = "page.size"
limit = 10
harmless = ["text", "page.after"]
[tools.sync]
action = "sync.push"
[tools.drop_all]
never = "it drops everything"
"""
TOOLS = read_mapping(TOML, "tools.toml")


def read(name: str, **arguments: Any) -> Asked:
    return TOOLS.read(name, arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "wanted"),
    [
        (
            "update_lead", {"id": "1", "industry": "x", "note": "why"},
            {"action": "record.update", "object": "Lead", "record_ids": ("1",), "changes": {"1": {"Industry": "x"}}},
        ),
        ("update_lead", {"id": [1, "2"], "rating": None}, {"changes": {"1": {"Rating": None}, "2": {"Rating": None}}}),
        (
            "update_many", {"kind": "Deal", "records": [{"id": 1, "values": {"a": 1}}, {"id": 2, "values": {"b": 2}}]},
            {"object": "Deal", "changes": {"1": {"a": 1}, "2": {"b": 2}}},
        ),
        ("create", {"records": [{"a": 1}, {"a": 1}]}, {"created": ({"a": 1}, {"a": 1}), "record_ids": ()}),
        ("create", {"records": {"a": 1}}, {"created": ({"a": 1},)}),
        ("mail", {"to": ["a", "b"], "cc": "c"}, {"recipient_ids": ("a", "b", "c"), "created": ()}),
        ("mail", {"to": ["a"], "text": "t"}, {"recipient_ids": ("a",), "created": ({"Body": "t"},)}),
        ("find", {"page": {"size": 50, "after": "x"}}, {"records": 50}),
        ("find", {}, {"records": 10}),
        ("sync", {}, {"action": "sync.push", "is_write": True}),
    ],
)  # fmt: skip
def test_a_call_is_the_operation_that_its_tools_table_says(name: str, arguments: Any, wanted: Any):
    found = TOOLS.read(name, arguments)
    assert {field: getattr(found, field) for field in wanted} == wanted
    assert found.tool == name


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        ("other", {}, "nobody said what the tool"),
        ("drop_all", {}, "drops everything"),
        ("update_lead", {"id": "1", "cascade": True}, "cascade"),
        ("update_lead", {"ID": "1"}, "ID"),
        ("update_lead", {"id": {"x": 1}}, "an id"),
        ("update_lead", {"id": True}, "an id"),
        ("update_lead", {"id": ["1", "1"], "industry": "x"}, "belong together"),
        ("update_many", {"kind": "Deal", "records": [{"id": 1, "values": {}, "hard": 1}]}, "records\\[\\].hard"),
        ("update_many", {"kind": ["a", "b"], "records": []}, "one kind"),
        ("update_many", {"records": [{"id": 1, "values": {"a": 1}}, {"id": 2}, {"id": 3, "values": {}}]}, "belong"),
        ("update_many", {"kind": "x", "records": {"id": 1}}, "no list"),
        ("create", {"records": [1]}, "no object"),
        ("create", {"records": [{}] * 201}, "201"),
        ("find", {"page": {"size": 1_000}}, "1,000"),
        ("find", {"page": {"size": "5"}}, "no number"),
        ("find", {"page": 5}, "another shape"),
        ("find", {"page": {"size": 5, "all": True}}, "page.all"),
    ],
)
def test_a_call_that_its_table_does_not_explain_is_not_read(name: str, arguments: Any, word: str):
    with pytest.raises(NotParsed, match=word):
        TOOLS.read(name, arguments)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[tools.a]\naction = 'record.updat'", ('tools."a".action', "did you mean record.update?")),
        ("[tools.a]\naction = 'record.read'\nobjekt = 'x'", ("tools", "objekt")),
        ("[tools.a]\naction = 'record.read'\nrecords_from = 'a b'", ("records_from", "records[].id")),
        ("[tools.a]\naction = 'record.update'\nchanges_from = 'a'", ("changes_from", "records_from")),
        ("[tools.a]\naction = 'record.read'\nobject = 'a'\nobject_from = 'b'", ("object_from", "keep one")),
        ("[tools.a]\naction = 'record.create'\nrecords_from = 'a'\ncreated_from = 'b'", ("created_from",)),
        ("[tools.a]\nlimit = 201\naction = 'record.read'", ("limit", "200")),
        ("[tools", ("no TOML",)),
    ],
)
def test_a_mistake_in_a_mapping_is_named_with_its_place(toml: str, words: tuple[str, ...]):
    with pytest.raises(BadMapping) as bad:
        read_mapping(toml, "tools.toml")
    assert [word for word in ("tools.toml", *words) if word not in str(bad.value)] == []


def test_the_example_can_be_used():
    text = (Path(__file__).parents[4] / "docs" / "examples" / "mcp-tools.toml").read_text()
    found = read_mapping(text, "mcp-tools.toml").read("send_mail", {"to": "a@x.com", "subject": "hello"})
    assert (found.action, found.recipient_ids, found.created) == ("email.send", ("a@x.com",), ({"Subject": "hello"},))


class Session:
    """A proxy with a gate and a tool server in memory. ``holds``: the server does not answer until ``go``."""

    def __init__(self, tools: ToolMap = TOOLS, call_secs: float = 5.0) -> None:
        self.asked: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.server: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.agent: list[Any] = []
        self.is_stopped = self.is_away = self.holds = False
        self._from_server = asyncio.StreamReader()
        self._gate = AsyncTripline("http://gate", agent_id="bot")
        self._gate._http = httpx.AsyncClient(base_url="http://gate", transport=httpx.MockTransport(self._answer))
        self._proxy = McpProxy(Gatekeeper(self._gate), tools, self._told_agent, self._told_server, call_secs)

    async def play(self, *lines: Any, then: Callable[[], Awaitable[None]] | None = None) -> list[Any]:
        """Send these, do ``then``, and everything that the agent was told."""
        reader = asyncio.StreamReader()
        serving = asyncio.create_task(self._proxy.from_server(self._from_server))
        for line in lines:
            reader.feed_data((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
        if then is not None:
            reading = asyncio.create_task(self._proxy.from_agent(reader))
            await then()
            reader.feed_eof()
            await reading
        else:
            reader.feed_eof()
            await self._proxy.from_agent(reader)
        await self._proxy.settle(5)
        self._from_server.feed_eof()
        await serving
        await self._gate.close()
        return self.agent

    def go(self) -> None:
        self.holds = False
        for message in self.server:
            self._reply(message)

    def say(self, message: Any) -> None:
        self._from_server.feed_data(json.dumps(message).encode() + b"\n")

    def _reply(self, message: dict[str, Any]) -> None:
        if message.get("method") == "tools/call":
            is_bad = message["params"].get("arguments", {}).get("industry") == "bad"
            self.say({"jsonrpc": "2.0", "id": message["id"], "result": {"content": [], "isError": is_bad}})
        elif "id" in message and "method" in message:
            self.say({"jsonrpc": "2.0", "id": message["id"], "result": {}})

    async def _told_agent(self, frame: bytes) -> None:
        assert frame.endswith(b"\n")
        assert frame.isascii()
        self.agent.append(json.loads(frame))

    async def _told_server(self, frame: bytes) -> None:
        self.raw.append(frame)
        self.server.append(json.loads(frame))
        if not self.holds:
            self._reply(self.server[-1])

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.is_away:
            raise httpx.ConnectError("away")
        said = json.loads(request.content)
        if request.url.path == "/v1/events":
            self.reports.append(said["data"])
            return httpx.Response(200, json={})
        self.asked.append(said)
        told = {"decision_id": f"d{len(self.asked)}", "epoch": 1, "rule": "allowed", "reason": "allowed"}
        refused = {"decision": "deny", "rule": "suspended", "reason": "denied: suspended", "stanza": "[agents.bot]"}
        return httpx.Response(200, json={**told, "decision": "allow", **(refused if self.is_stopped else {})})


def call(id_: Any, name: str = "update_lead", **arguments: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


def by_id(told: list[Any]) -> dict[Any, Any]:
    return {each["id"]: each for each in told}


def test_a_call_is_asked_for_sent_on_and_its_outcome_reported():
    async def story() -> None:
        session = Session()
        told = by_id(await session.play(call(1, id="7", industry="Retail"), call("1", id="8", industry="bad")))
        assert told[1]["result"] == {"content": [], "isError": False}
        assert told["1"]["result"]["isError"] is True
        assert session.asked[0]["changes"] == {"7": {"Industry": {"after": "Retail"}}}
        outcomes = {each["record_ids"][0]: (each["outcome"], each["tool"]) for each in session.reports}
        assert outcomes == {"7": ("ok", "update_lead"), "8": ("error", "update_lead")}
        assert {each["decision_id"] for each in session.reports} == {"d1", "d2"}

    asyncio.run(story())


@pytest.mark.parametrize(
    ("message", "word"),
    [
        (call(5, "unknown_tool"), "nobody said what the tool"),
        (call(5, "drop_all"), "people only"),
        (call(5, cascade=True), "cascade"),
        ({**call(5), "params": {"name": "update_lead", "task": {"ttl": 1}}}, "other parameters"),
        ({**call(5), "params": ["update_lead"]}, "other parameters"),
    ],
)
def test_a_call_that_can_not_be_read_is_a_result_that_a_model_reads(message: Any, word: str):
    async def story() -> None:
        session = Session()
        (told,) = await session.play(message)
        assert (told["id"], told["result"]["isError"]) == (5, True)
        assert word in told["result"]["content"][0]["text"]
        assert (session.server, session.asked) == ([], [])

    asyncio.run(story())


def test_a_stopped_agents_calls_and_reads_are_refused_and_the_rest_goes_on():
    async def story() -> None:
        session = Session()
        session.is_stopped = True
        uri = {"jsonrpc": "2.0", "id": 2, "method": "resources/read", "params": {"uri": "crm://lead/1"}}
        told = by_id(await session.play(call(1, id="1"), uri, {"jsonrpc": "2.0", "id": 3, "method": "tools/list"}))
        text = told[1]["result"]["content"][0]["text"]
        assert "denied: suspended" in text
        assert "[agents.bot]" in text
        assert told[2]["error"]["message"] == "denied: suspended"
        assert [each["method"] for each in session.server] == ["tools/list"]

    asyncio.run(story())


def test_without_the_gate_nothing_is_called():
    async def story() -> None:
        session = Session()
        session.is_away = True
        (told,) = await session.play(call(1, id="1"))
        assert told["result"]["_meta"]["tripline/refused"]["error"] == "gate_unavailable"
        assert session.server == []

    asyncio.run(story())


def test_calls_that_wait_when_the_agent_is_stopped_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.proxy.gatekeeper.MOST_AT_ONCE", 1)

    async def story() -> None:
        session = Session()
        session.holds = True

        async def stop() -> None:
            while not session.server:
                await asyncio.sleep(0)
            session.is_stopped = True
            session.go()

        told = by_id(await session.play(*(call(at, id=str(at)) for at in range(4)), then=stop))
        assert [told[at]["result"]["isError"] for at in range(4)] == [False, True, True, True]
        assert [each["id"] for each in session.server] == [0]

    asyncio.run(story())


def test_a_call_that_is_cancelled_before_it_was_sent_is_never_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.proxy.gatekeeper.MOST_AT_ONCE", 1)

    async def story() -> None:
        session = Session()
        session.holds = True
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}

        async def go() -> None:
            while not session.server:
                await asyncio.sleep(0)
            session.go()

        told = by_id(await session.play(call(1, id="1"), call(2, id="2"), cancel, then=go))
        assert [each.get("id") for each in session.server] == [1]
        assert "cancelled" in told[2]["error"]["message"]
        assert [each["outcome"] for each in session.reports] == ["ok"]

    asyncio.run(story())


def test_a_server_that_does_not_answer_in_time_leaves_an_outcome_that_nobody_knows():
    async def story() -> None:
        session = Session(call_secs=0.05)
        session.holds = True
        (told,) = await session.play(call(1, id="1"))
        assert "nobody knows whether it was done" in told["error"]["message"]
        assert session.reports[0]["error"]["code"] == "outcome_unknown"

    asyncio.run(story())


def test_a_call_that_is_cancelled_while_the_server_works_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.proxy.mcp.CANCELLED_SECS", 0.01)

    async def story() -> None:
        session = Session()
        session.holds = True
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}

        async def sent() -> None:
            while not session.server:
                await asyncio.sleep(0)
            await session._proxy._pass(cancel)

        await session.play(call(1, id="1"), then=sent)
        assert [each["method"] for each in session.server] == ["tools/call", "notifications/cancelled"]
        assert session.reports[0]["error"]["code"] == "outcome_unknown"

    asyncio.run(story())


def test_a_servers_answer_may_hold_keys_that_differ_in_capitals():
    async def story() -> None:
        session = Session()
        session.holds = True

        async def answer() -> None:
            while not session.server:
                await asyncio.sleep(0)
            session.say({"jsonrpc": "2.0", "id": 1, "result": {"structuredContent": {"Id": 1, "id": 2}}})

        (told,) = await session.play(call(1, id="1"), then=answer)
        assert told["result"]["structuredContent"] == {"Id": 1, "id": 2}

    asyncio.run(story())


def test_a_server_that_is_gone_leaves_an_outcome_that_nobody_knows():
    async def story() -> None:
        session = Session()
        session.holds = True

        async def end() -> None:
            while not session.server:
                await asyncio.sleep(0)
            session._from_server.feed_eof()

        (told,) = await session.play(call(1, id="1"), then=end)
        assert "ended before it answered" in told["error"]["message"]
        assert session.reports[0]["error"]["code"] == "outcome_unknown"

    asyncio.run(story())


def test_a_batch_is_judged_call_by_call_and_answered_together():
    async def story() -> None:
        session = Session()
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        (told,) = await session.play([call(1, id="1"), note, call("x", "unknown"), call(2, id="2")])
        assert {each["id"]: each["result"]["isError"] for each in told} == {1: False, "x": True, 2: False}
        assert len(session.asked) == 2

    asyncio.run(story())


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", -32700),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1,"A":2}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":NaN}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":1e999}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","x":"\xff"}', -32700),
        (b'{"x":\r{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"update_lead"}}\r}', -32600),
        (b'{"jsonrpc":"2.0","id":[],"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', -32600),
        (b'{"id":1,"method":"tools/call"}', -32600),
        (b"7", -32600),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call/"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"tasks/result"}', -32601),
    ],
)
def test_a_frame_that_is_not_plain_never_reaches_the_server(line: bytes, code: int):
    async def story() -> None:
        session = Session()
        told = await session.play(line, {"jsonrpc": "2.0", "id": "after", "method": "ping"})
        first = told[0][0] if isinstance(told[0], list) else told[0]
        assert first["error"]["code"] == code
        assert [each["id"] for each in session.server] == ["after"]

    asyncio.run(story())


def test_what_some_servers_take_for_the_end_of_a_line_is_not_sent_on():
    async def story() -> None:
        session = Session()
        hidden = json.dumps(call(9, "drop_all"), separators=(",", ":"))
        frame = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": f"\u2028{hidden}\u2028\x85{hidden}"}}
        await session.play(json.dumps(frame, ensure_ascii=False).replace(", ", ",\r ").encode())
        (raw,) = session.raw
        assert len(raw.decode().splitlines()) == 1
        assert json.loads(raw) == frame

    asyncio.run(story())


def test_an_id_in_use_and_a_call_that_wants_no_answer_are_refused():
    async def story() -> None:
        session = Session()
        session.holds = True
        silent = {key: value for key, value in call(3, id="3").items() if key != "id"}

        async def go() -> None:
            while len(session.agent) < 1 or not session.server:
                await asyncio.sleep(0)
            session.go()

        told = await session.play(call(1, id="1"), call(1, id="2"), silent, then=go)
        assert "in use" in told[0]["error"]["message"]
        assert [each["params"]["arguments"]["id"] for each in session.server] == ["1"]

    asyncio.run(story())


def test_the_servers_own_requests_and_the_agents_answers_pass():
    async def story() -> None:
        session = Session()
        session.say({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
        session._from_server.feed_data(b"not json\n")
        answer = {"jsonrpc": "2.0", "id": 1, "result": {"roots": []}}
        told = await session.play(answer, {"jsonrpc": "2.0", "id": 4, "method": "crm/refresh"})
        assert [each.get("method", each["id"]) for each in told] == ["roots/list", 4]
        assert session.server[0] == answer

    asyncio.run(story())


def test_a_frame_that_is_too_long_is_dropped_whole():
    async def story() -> list[bytes | None]:
        reader = asyncio.StreamReader()
        reader.feed_data(b"x" * (MOST_BYTES + 1) + b'{"hidden": 1}\n{"a": 1}\r\n\nlast')
        reader.feed_eof()
        return [line async for line in lines_of(reader)]

    assert asyncio.run(story()) == [None, b'{"a": 1}\r']
