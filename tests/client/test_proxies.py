"""The proxies, with a real gate: before a CRM that follows Salesforce's contract, with faults, and a tool server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from structlog.testing import capture_logs

from console.app import PEOPLE_FILE, create_app, wall_ms
from console.auth import AuthStore
from console.drill.proxy import Proxy as Link
from console.proxy.credential import BadCredential, Credential
from console.proxy.crm import CRMS
from console.proxy.front import Front, ProxyConfig
from console.proxy.gatekeeper import Gatekeeper
from console.proxy.http import HttpProxy
from console.proxy.mapping import read_mapping
from console.proxy.mcp_http import McpHttpProxy
from console.proxy.serving import server_of
from console.server import Server, listen
from events.types import By
from governance.approvals import Answer, Approver
from governance.control import ControlRequest
from governance.settings import parse_settings
from storage import approvals
from storage.people import open_people
from storage.read import Reader
from streams.standalone.runtime import Runtime
from tests.client.crm import SECRET, Crm, a_crm, until
from tests.client.tool_http import SECRET as TOOLS_SECRET
from tests.client.tool_http import a_tool_server

BASE, LEAD = "/services/data/v65.0", "00Q000000000001"
AGENTS = ("dealbot", "stopped", "queued", "frozen", "reader", "tooler", "caller")
TOML = "".join(
    f"""
[agents.{name}]
owner = "sam"
actions = ["record.read", "record.create", "record.update", "email.send"]
objects = ["Lead", "EmailMessage"]
records_per_10_min = 1000
records_per_day = 1000
"""
    for name in AGENTS
)
RETAIL = {"Industry": "Retail"}


class Gate:
    """A Tripline that runs."""

    def __init__(self, url: str, runtime: Runtime, auth: AuthStore) -> None:
        self.url, self.runtime = url, runtime
        self.tokens = {name: auth.create_token(name, ("ingest", "gate"), name)[0] for name in AGENTS}

    def suspend(self, agent: str) -> None:
        request = ControlRequest(
            key=f"default/{agent}", agent_id=agent, wanted="suspended", basis_epoch=0, by=By("human", "maya"),
            reason="a test", at_ms=wall_ms(),
        )  # fmt: skip
        assert self.runtime.control(request).result(10).row.state == "suspended"

    def approve(self, id_: str) -> None:
        kept = self.runtime.call(lambda round_: approvals.find(round_.link, id_)).result(10)
        maya = Approver(name="maya", roles=frozenset({"operator"}))
        said = Answer(approval_id=id_, says="approve", who=maya, reason="ok", hash=kept.hash, opened_ms=0)
        self.runtime.answer_approval(said).result(10)

    def reported(self, agent: str = "dealbot", **wanted: Any) -> dict[str, Any]:
        """The newest report with these values, once it is there."""

        def found() -> list[dict[str, Any]]:
            query = {"agent": agent, "last": "1h", "limit": "100"}
            rows = httpx.get(f"{self.url}/v1/actions", params=query).json()["rows"]
            return [row for row in rows if row["outcome"] and all(row[name] == each for name, each in wanted.items())]

        return dict(until(found)[0])


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("served")
    settings = parse_settings(TOML, {}, {"server.data_dir": str(folder), "server.port": 0})
    auth = AuthStore(open_people(Path(folder) / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
    with Runtime(settings) as runtime:
        reader = Reader.open(runtime.store.path)
        server = Server(create_app(runtime, settings, reader, auth), listen("127.0.0.1", 0))
        try:
            yield Gate(server.start(), runtime, auth)
        finally:
            server.stop()
            reader.close()


@pytest.fixture(scope="module")
def crm_server() -> Iterator[Crm]:
    with a_crm() as made:
        yield made


@pytest.fixture
def crm(crm_server: Crm) -> Crm:
    crm_server.seen.clear()
    crm_server.mood = "well"
    return crm_server


@contextmanager
def a_proxy(gate: Gate, crm: Crm, agent: str = "dealbot", **more: Any) -> Iterator[httpx.Client]:
    """A proxy of an agent, and a client of it with the agent's own token."""
    config = ProxyConfig(
        **{
            "agent_id": agent, "token": gate.tokens[agent], "gate_url": gate.url, "upstream": crm.url,
            "fixed": {"authorized_by": "user:005B2"}, "upstream_secs": 0.4, **more,
        }
    )  # fmt: skip
    with served(HttpProxy(config, CRMS["salesforce"], Credential(value=SECRET)), config.token) as client:
        yield client


@contextmanager
def served(app: Front, token: str, **more: str) -> Iterator[httpx.Client]:
    """A client of a proxy, with the agent's own token."""
    is_up = threading.Event()
    with listen("127.0.0.1", 0) as bound:
        server = server_of(app, None, is_up.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        assert is_up.wait(10)
        url, headers = f"http://127.0.0.1:{bound.getsockname()[1]}", {"authorization": f"Bearer {token}", **more}
        try:
            with httpx.Client(base_url=url, headers=headers, timeout=10) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture(scope="module")
def shared(gate: Gate, crm_server: Crm) -> Iterator[httpx.Client]:
    with a_proxy(gate, crm_server) as client:
        yield client


@pytest.fixture
def proxy(shared: httpx.Client, crm: Crm) -> httpx.Client:
    return shared


def test_what_the_gate_allows_is_done_with_the_stored_credential_alone(proxy: httpx.Client, crm: Crm, gate: Gate):
    mine = {"x-api-key": "mine", "cookie": "sid=1", "sforce-auto-assign": "x", "x-forwarded-for": "1.2.3.4"}
    answer = proxy.patch(f"{BASE}/sobjects/Lead/{LEAD}", json=RETAIL, headers=mine)
    assert (answer.status_code, answer.content) == (204, b"")
    ((method, path, headers, body),) = crm.seen
    assert (method, path, body) == ("PATCH", f"{BASE}/sobjects/Lead/{LEAD}", RETAIL)
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert not mine.keys() & headers.keys()
    row = gate.reported(decision_id=answer.headers["x-tripline-decision"], outcome="ok")
    assert (row["action"], row["object"], row["outcome"]) == ("record.update", "Lead", "ok")
    assert (row["record_ids"], row["authorized_by"]) == ([LEAD], "user:005B2")
    assert (answer.headers["sforce-limit-info"], "set-cookie" in answer.headers) == ("api-usage=1/100", False)


def test_a_read_and_a_collection_of_new_records(proxy: httpx.Client, crm: Crm, gate: Gate):
    assert proxy.get(f"{BASE}/query/", params={"q": "SELECT Id FROM Lead LIMIT 5"}).status_code == 200
    records = [{"attributes": {"type": "Lead"}, "LastName": f"x{at}"} for at in range(2)]
    answer = proxy.post(f"{BASE}/composite/sobjects", json={"records": records})
    assert [each["success"] for each in answer.json()] == [True, True]
    row = gate.reported(decision_id=answer.headers["x-tripline-decision"], outcome="ok")
    assert (row["action"], row["record_ids"]) == ("record.create", ["00Q000000000100", "00Q000000000101"])


def test_a_denial_says_why_and_what_would_allow_it_and_nothing_is_sent(proxy: httpx.Client, crm: Crm):
    answer = proxy.delete(f"{BASE}/sobjects/Lead/{LEAD}")
    said = answer.json()
    assert (answer.status_code, said["error"], said["rule"]) == (403, "denied", "action")
    assert "may not delete records" in said["message"]
    assert "record.delete" in said["allowed_by"]
    assert crm.seen == []


def test_what_was_held_passes_once_a_person_approved_it(proxy: httpx.Client, crm: Crm, gate: Gate):
    mail = {"ToAddress": "new@example.com", "Subject": "hello"}
    held = proxy.post(f"{BASE}/sobjects/EmailMessage", json=mail)
    assert (held.status_code, held.json()["error"]) == (403, "held")
    id_ = held.json()["approval_id"]
    gate.approve(id_)
    by, path = {"x-tripline-approval": id_}, f"{BASE}/sobjects/EmailMessage"
    assert proxy.post(path, json={**mail, "Subject": "x"}, headers=by).status_code == 403
    assert proxy.post(path, json=mail, headers=by).status_code == 201
    assert proxy.post(path, json=mail, headers=by).json()["rule"] == "approval"
    assert crm.writes == ["POST"]


def test_a_held_part_of_a_composite_passes_with_all_others_once_a_person_approved_it(
    proxy: httpx.Client, crm: Crm, gate: Gate
):
    def composite(subject: str, **headers: str) -> httpx.Response:
        lead = {"method": "PATCH", "url": f"{BASE}/sobjects/Lead/{LEAD}", "referenceId": "lead", "body": RETAIL}
        body = {"ToAddress": "part@example.com", "Subject": subject}
        mail = {"method": "POST", "url": f"{BASE}/sobjects/EmailMessage", "referenceId": "mail", "body": body}
        return proxy.post(f"{BASE}/composite", json={"compositeRequest": [lead, mail]}, headers=headers)

    held = composite("hello")
    assert (held.status_code, held.json()["error"]) == (403, "held")
    assert composite("hello").json()["approval_id"] == held.json()["approval_id"], "asked again, it is the same"
    gate.approve(held.json()["approval_id"])
    other = composite("another")
    assert (other.json()["error"], other.json()["approval_id"] != held.json()["approval_id"]) == ("held", True)
    named = composite("hello", **{"x-tripline-approval": held.json()["approval_id"]})
    assert (named.status_code, named.json()["error"]) == (403, "not_parsed")
    assert crm.writes == []
    assert composite("hello").status_code == 200
    assert crm.writes == ["POST"]


@pytest.mark.parametrize(("mood", "status"), [("half", 200), ("unsure", 200), ("forgets", 502)])
def test_a_composite_of_which_a_part_is_unknown_is_shown_when_the_answer_is_one(
    proxy: httpx.Client, crm: Crm, gate: Gate, mood: str, status: int
):
    crm.mood = mood
    body = [
        {"method": "PATCH", "url": f"{BASE}/sobjects/Lead/{LEAD}", "referenceId": "one", "body": RETAIL},
        {"method": "POST", "url": f"{BASE}/sobjects/Lead", "referenceId": "two", "body": {"LastName": mood}},
    ]
    answer = proxy.post(f"{BASE}/composite", json={"compositeRequest": body})
    assert (answer.status_code, "compositeResponse" in answer.json()) == (status, status == 200)
    rows = [
        gate.reported(action=action, outcome=said)
        for action, said in (("record.update", "ok"), ("record.create", "error"))
    ]
    assert rows[1]["error"]["code"] == "outcome_unknown"


def test_only_the_agents_own_token_is_let_in(proxy: httpx.Client, crm: Crm, gate: Gate):
    others = (SECRET, gate.tokens["stopped"])
    for given in ("", f"Basic {gate.tokens['dealbot']}", *(f"Bearer {each}" for each in others)):
        answer = proxy.get(f"{BASE}/sobjects/Lead/{LEAD}", headers={"authorization": given})
        assert (answer.status_code, SECRET in answer.text) == (401, False)
    assert crm.seen == []


def test_what_is_answered_is_counted_by_answer_and_kind_of_route(gate: Gate, crm: Crm):
    with a_proxy(gate, crm) as client:
        client.get(f"{BASE}/sobjects/Lead/{LEAD}")
        client.patch(f"{BASE}/sobjects/Lead/{LEAD}", json=RETAIL)
        client.post(f"{BASE}/composite/graph", json={})
        client.get(f"{BASE}/sobjects/Lead/{LEAD}", headers={"authorization": "Bearer another"})
        told = httpx.get(str(client.base_url.join("/-/metrics"))).text
    lines = [line for line in told.splitlines() if line.startswith("tripline_proxy_requests_total")]
    counted = {line for line in lines if not line.endswith(" 0.0")}
    assert counted == {
        f'tripline_proxy_requests_total{{answer="{answer}",route="{route}"}} 1.0'
        for answer, route in (
            ("passed", "read"), ("passed", "write"), ("not_parsed", "unread"), ("unauthorized", "unread")
        )
    }  # fmt: skip
    assert "tripline_proxy_request_seconds_count 4.0" in told


@pytest.mark.parametrize(
    ("mood", "status", "code"),
    [
        ("refuses", 400, "FIELD_INTEGRITY_EXCEPTION"), ("fails", 500, "outcome_unknown"),
        ("drops", 504, "outcome_unknown"), ("hangs", 504, "outcome_unknown"), ("redirects", 502, "outcome_unknown"),
        ("shows a page", 502, "outcome_unknown"),
    ],
)  # fmt: skip
def test_a_definite_failure_and_an_unknown_outcome_are_told_apart(
    proxy: httpx.Client, crm: Crm, gate: Gate, mood: str, status: int, code: str
):
    crm.mood = mood
    answer = proxy.patch(f"{BASE}/sobjects/Lead/{LEAD}", json=RETAIL)
    assert answer.status_code == status
    assert crm.writes == ["PATCH"], "it is sent once, whatever comes of it"
    decision = answer.headers.get("x-tripline-decision") or answer.json()["decision_id"]
    assert gate.reported(decision_id=decision, outcome="error")["error"]["code"] == code


def test_the_credential_is_in_no_answer_and_in_no_log(proxy: httpx.Client, crm: Crm, tmp_path: Path):
    crm.mood = "leaks"
    with capture_logs() as logs:
        answer = proxy.get(f"{BASE}/sobjects/Lead/{LEAD}")
    assert (answer.status_code, answer.json()["error"]) == (502, "answer_withheld")
    assert logs
    assert SECRET not in answer.text + str(answer.headers) + str(logs) + repr(Credential(value=SECRET))
    (tmp_path / "token").write_text(f"{SECRET}\nx")
    with pytest.raises(BadCredential, match="token") as bad:
        Credential(tmp_path / "token")
    assert SECRET not in str(bad.value)


@pytest.mark.parametrize(("mood", "outcome"), [("blabs", "error"), ("makes it an id", "ok")])
def test_the_credential_is_in_no_report(proxy: httpx.Client, crm: Crm, gate: Gate, mood: str, outcome: str):
    crm.mood = mood
    with capture_logs() as logs:
        answer = proxy.post(f"{BASE}/sobjects/Lead", json={"LastName": mood})
    assert (answer.status_code, answer.json()["error"]) == (502, "answer_withheld")
    row = gate.reported(action="record.create", outcome=outcome, decision_id=answer.json()["decision_id"])
    assert SECRET not in json.dumps(row) + str(logs)


def test_a_credential_that_was_renewed_is_taken_from_its_file(tmp_path: Path):
    path = tmp_path / "token"
    path.write_text("first-token\n")
    credential = Credential(path)
    (tmp_path / "new").write_text("second-token\n")
    (tmp_path / "new").rename(path)
    assert credential.secret() == "second-token"
    path.unlink()
    with pytest.raises(BadCredential):
        credential.secret()


def test_a_stopped_agent_neither_writes_nor_reads(gate: Gate, crm: Crm):
    with a_proxy(gate, crm, "stopped") as proxy:
        assert proxy.get(f"{BASE}/sobjects/Lead/{LEAD}").status_code == 200
        gate.suspend("stopped")
        for answer in (
            proxy.get(f"{BASE}/sobjects/Lead/{LEAD}"),
            proxy.get(f"{BASE}/query", params={"q": "SELECT Id FROM Lead LIMIT 200"}),
            proxy.patch(f"{BASE}/sobjects/Lead/{LEAD}", json=RETAIL),
        ):
            assert (answer.status_code, answer.json()["rule"]) == (403, "suspended")
    assert len(crm.seen) == 1


def test_what_waits_for_its_turn_when_the_agent_is_stopped_is_never_sent(
    gate: Gate, crm: Crm, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("console.proxy.gatekeeper.MOST_AT_ONCE", 1)
    crm.mood = "hangs"
    with a_proxy(gate, crm, "queued", upstream_secs=5) as proxy, ThreadPoolExecutor(4) as pool:

        def write(at: int) -> int:
            return proxy.patch(f"{BASE}/sobjects/Lead/00Q00000000000{at}", json=RETAIL).status_code

        asked = [pool.submit(write, at) for at in range(4)]
        until(lambda: crm.seen)
        gate.suspend("queued")
        crm.mood = "well"
        crm.hang.set()
        answered = sorted(each.result(10) for each in asked)
        crm.hang.clear()
    assert (len(crm.seen), answered[1:]) == (1, [403, 403, 403])


def test_an_agent_stopped_between_the_gates_answer_and_the_write_writes_nothing(
    gate: Gate, crm: Crm, monkeypatch: pytest.MonkeyPatch
):
    """As when the machine sleeps there: the answer is old, so the gate is asked again, for the same operation."""
    monkeypatch.setattr("console.proxy.gatekeeper.RECHECK_SECS", -1.0)
    with a_proxy(gate, crm, "frozen") as proxy:
        again = proxy.patch(f"{BASE}/sobjects/Lead/{LEAD}", json=RETAIL)
        assert again.status_code == 204, "asked twice, it is one operation"
        heard = Gatekeeper._heard

        def stop(keeper: Gatekeeper, decision: Any) -> None:
            heard(keeper, decision)
            if decision.is_allowed:
                gate.suspend("frozen")

        monkeypatch.setattr(Gatekeeper, "_heard", stop)
        answer = proxy.patch(f"{BASE}/sobjects/Lead/{LEAD}", json=RETAIL)
    assert (answer.status_code, answer.json()["rule"]) == (403, "suspended")
    assert len(crm.seen) == 1


@pytest.mark.parametrize("is_stopped", [False, True])
def test_without_the_gate_writes_are_denied_and_reads_pass_only_where_that_was_chosen(
    gate: Gate, crm: Crm, is_stopped: bool
):
    link = Link(int(gate.url.rpartition(":")[2]))
    read, more = f"{BASE}/sobjects/Lead/{LEAD}", {"gate_url": link.url}
    try:
        with (
            a_proxy(gate, crm, "reader", **more) as strict,
            a_proxy(gate, crm, "reader", reads_without_gate=True, **more) as lax,
        ):
            if is_stopped:
                gate.suspend("reader")
            before = [each.get(read).status_code for each in (strict, lax)]
            link.close()
            assert strict.get(read).json()["error"] == "gate_unavailable"
            assert (lax.get(read).status_code, before) == ((403, [403, 403]) if is_stopped else (200, [200, 200]))
            for each in (strict, lax):
                assert each.patch(read, json=RETAIL).json()["error"] == "gate_unavailable"
    finally:
        link.close()
    assert crm.writes == []


def raw(proxy: httpx.Client, request: bytes) -> bytes:
    """What the proxy says to these bytes."""
    with socket.create_connection((proxy.base_url.host, proxy.base_url.port or 0), 5) as link:
        link.sendall(request)
        return link.recv(65_536)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 2\r\nContent-Length: 20\r\n\r\n{}",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"X-HTTP-Method-Override: DELETE\r\nContent-Length: 2\r\n\r\n{}",
        b"Content-Length: 999999\r\n\r\n" + b"x" * 999_999,
    ],
)
def test_smuggled_and_oversized_requests_are_refused_and_the_proxy_lives_on(proxy: httpx.Client, crm: Crm, head: bytes):
    auth = proxy.headers["authorization"].encode()
    path = f"{BASE}/sobjects/Lead".encode()
    begin = (
        b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: " + auth + b"\r\n"
    )
    try:
        said = raw(proxy, begin + head)
    except ConnectionError:
        said = b"HTTP/1.1 4"  # it hung up while the body was still coming
    assert said.startswith(b"HTTP/1.1 4"), said[:200]
    assert crm.seen == []
    assert proxy.get(f"{BASE}/sobjects/Lead/{LEAD}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [b"/services/data/v65.0/sobjects/Lead/../../tooling", b"//services/data", b"/services/%2e%2e/x", b"http://evil/x"],
)
def test_path_tricks_are_refused(proxy: httpx.Client, crm: Crm, path: bytes):
    auth = proxy.headers["authorization"].encode()
    said = raw(proxy, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nAuthorization: " + auth + b"\r\n\r\n")
    assert said.startswith((b"HTTP/1.1 403", b"HTTP/1.1 400")), said[:200]
    assert crm.seen == []


def test_envoys_question_is_judged_by_the_path_as_it_came_over_the_wire(proxy: httpx.Client, gate: Gate):
    tripline, token = httpx.Client(base_url=gate.url), proxy.headers["authorization"].encode()

    def ask(path: str) -> bytes:
        head = f"GET /v1/gate/ext-authz/salesforce{path} HTTP/1.1\r\nHost: 127.0.0.1:10000\r\nContent-Length: 0\r\n"
        return raw(tripline, head.encode() + b"x-forwarded-for: 10.0.0.7\r\nAuthorization: " + token + b"\r\n\r\n")

    assert ask(f"{BASE}/sobjects/Lead/{LEAD}").startswith(b"HTTP/1.1 200 ")
    for path in ("/../../agents/dealbot", f"{BASE}/sobjects/../tooling", f"{BASE}//sobjects/Lead", "/%2e%2e/x"):
        assert ask(path).startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 404 ")), path
    tripline.close()


def test_what_the_agent_claims_beside_its_request_can_not_change_what_was_fixed(proxy: httpx.Client, crm: Crm):
    for header in (
        {"x-tripline-authorized-by": "user:boss"},
        {"x-tripline-agent": "other"},
        {"x-tripline-trigger": "x"},
    ):
        answer = proxy.patch(f"{BASE}/sobjects/Lead/{LEAD}", json=RETAIL, headers=header)
        assert (answer.status_code, answer.json()["error"]) == (403, "not_parsed")
    assert crm.seen == []


ROOT = Path(__file__).parents[2]
TOOLS = """
[tools.update_lead]
action = "record.update"
object = "Lead"
records_from = "id"
fields = { industry = "Industry" }
"""


def test_calls_of_tools_pass_the_gate_and_a_stop_ends_them(gate: Gate, tmp_path: Path):
    (tmp_path / "tools.toml").write_text(TOOLS)
    command = [sys.executable, "-m", "console", "proxy", "mcp", "--agent", "tooler", "--url", gate.url]
    command += ["--mapping", str(tmp_path / "tools.toml"), "--", sys.executable, "-m", "tests.client.tool_server"]
    with subprocess.Popen(
        [*command, str(tmp_path / "seen")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd=ROOT, env={**os.environ, "TRIPLINE_TOKEN": gate.tokens["tooler"], "CRM_SECRET": "x"},
    ) as served:  # fmt: skip
        assert served.stdin is not None
        assert served.stdout is not None

        def ask(id_: Any, method: str, **params: Any) -> Any:
            served.stdin.write(json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}) + "\n")
            served.stdin.flush()
            told = json.loads(served.stdout.readline())
            assert told["id"] == id_
            return told["result"]

        update = {"name": "update_lead", "arguments": {"id": "L7", "industry": "Retail"}}
        assert ask(0, "initialize", protocolVersion="2025-06-18")["serverInfo"]["name"] == "crm"
        listed = ask("list", "tools/list")
        assert "unmapped" in [tool["name"] for tool in listed["tools"]]
        environment = listed["_meta"]["env"]
        assert ("CRM_SECRET" in environment, [name for name in environment if name.startswith("TRIPLINE")]) == (
            True,
            [],
        )
        assert ask(1, "tools/call", **update)["content"][0]["text"] == "update_lead done"
        assert ask(2, "tools/call", name="unmapped")["isError"] is True
        row = gate.reported("tooler", outcome="ok")
        assert (row["object"], row["record_ids"], row["action"]) == ("Lead", ["L7"], "record.update")
        gate.suspend("tooler")
        refused = ask(3, "tools/call", **update)
        assert (refused["isError"], "only a person can release" in refused["content"][0]["text"]) == (True, True)
        served.stdin.close()
        assert served.wait(10) == 0
    seen = [json.loads(line)["method"] for line in (tmp_path / "seen").read_text().splitlines()]
    assert seen == ["initialize", "tools/list", "tools/call"]


def test_calls_over_http_pass_the_gate_and_what_a_cut_stream_owes_is_known_once_it_came(gate: Gate):
    with a_tool_server() as tools:
        token = gate.tokens["caller"]
        config = ProxyConfig(agent_id="caller", token=token, gate_url=gate.url, upstream=tools.url)
        app = McpHttpProxy(config, read_mapping(TOOLS, "tools.toml"), Credential(value=TOOLS_SECRET))
        with served(app, token, accept="application/json, text/event-stream") as client:

            def post(id_: int, method: str, **params: Any) -> httpx.Response:
                return client.post("/mcp", json={"jsonrpc": "2.0", "id": id_, "method": method, "params": params})

            def told(answer: httpx.Response) -> Any:
                assert TOOLS_SECRET not in answer.text + str(answer.headers)
                return json.loads(answer.text.strip().rpartition("data: ")[2])

            session = post(0, "initialize").headers["mcp-session-id"]
            assert session not in tools.sessions
            client.headers["mcp-session-id"] = session
            update = {"name": "update_lead", "arguments": {"id": "L7", "industry": "Retail"}}
            done = post(1, "tools/call", **update)
            assert told(done)["result"]["content"][0]["text"] == "done"
            assert gate.reported("caller", outcome="ok")["record_ids"] == ["L7"]
            assert told(post(2, "tools/call", name="unmapped"))["result"]["isError"] is True
            tools.cuts = 1
            cut = post(3, "tools/call", name="update_lead", arguments={"id": "L8", "industry": "Retail"})
            assert told(cut)["method"] == "notifications/progress"
            event = cut.text.partition("id: ")[2].partition("\n")[0]
            assert told(client.get("/mcp", headers={"last-event-id": event}))["id"] == 3
            until(lambda: gate.reported("caller", outcome="ok")["record_ids"] == ["L8"])
            gate.suspend("caller")
            refused = told(post(4, "tools/call", **update))["result"]
            assert (refused["isError"], "only a person can release" in refused["content"][0]["text"]) == (True, True)
            assert client.delete("/mcp").status_code == 200
    assert ([each["id"] for each in tools.called], tools.sessions) == (["L7", "L8"], set())
