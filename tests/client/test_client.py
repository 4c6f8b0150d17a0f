"""The client that agent builders import, against a real server and one that misbehaves."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

import tripline_client
from console.app import PEOPLE_FILE, create_app, wall_ms
from console.auth import AuthStore
from console.server import Server, listen
from governance.approvals import Answer, Approver
from governance.settings import parse_settings
from storage import approvals
from storage.people import open_people
from storage.read import Reader
from streams.standalone.runtime import Runtime
from tripline_client import AsyncTripline, BadRequest, Denied, Held, Tripline, Unavailable

TOML = """
[agents.dealbot]
level = 3
owner = "sam"
actions = ["record.*", "email.send"]
"""
LEAD = {"object": "Lead", "record_ids": ["00Q1"]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Runtime]]:
    folder = tmp_path_factory.mktemp("served")
    settings = parse_settings(TOML, {}, {"server.data_dir": str(folder), "server.port": 0})
    auth = AuthStore(open_people(Path(folder) / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
    with Runtime(settings) as runtime:
        reader = Reader.open(runtime.store.path)
        server = Server(create_app(runtime, settings, reader, auth), listen("127.0.0.1", 0))
        try:
            yield server.start(), runtime
        finally:
            server.stop()
            reader.close()


@pytest.fixture
def gate(served: tuple[str, Runtime]) -> Iterator[Tripline]:
    with Tripline(served[0], agent_id="dealbot", authorized_by="user:005B2") as made:
        yield made


def reported(served: tuple[str, Runtime], count: int, **wanted: Any) -> list[dict[str, Any]]:
    """The reported actions with these values, once there are so many: rows are written a moment later."""
    end = time.monotonic() + 20
    while True:
        answer = httpx.get(f"{served[0]}/v1/actions", params={"agent": "dealbot", "last": "1h", "limit": 100})
        rows: list[dict[str, Any]] = answer.json()["rows"]
        found = [row for row in rows if row["outcome"] and all(row[name] == value for name, value in wanted.items())]
        if len(found) >= count:
            return found
        assert time.monotonic() < end, rows
        time.sleep(0.05)


def test_an_allowed_action_is_done_and_its_outcome_is_reported(served: Any, gate: Tripline):
    done = []
    with gate.act("record.update", changes={"00Q1": {"Industry": [None, "Retail"]}}, **LEAD) as act:
        done.append(act.decision.decision_id)
    assert act.decision.is_allowed
    assert (gate.unreported, gate.lost) == (gate.unreported.__class__(), 0)
    (row,) = reported(served, 1, decision_id=done[0], outcome="ok")
    assert (row["action"], row["record_ids"]) == ("record.update", ["00Q1"])


def test_what_only_the_record_has_is_not_asked_and_is_reported(served: Any, gate: Tripline):
    more = {"run_id": "run-7", "tool": "crm.update", "agent_version": "2.1"}
    with gate.act("record.update", object="Lead", record_ids=["00Q7"], **more) as act:
        assert act.decision.is_allowed
    (row,) = reported(served, 1, run_id="run-7")
    assert row["records"] == 1


def test_an_error_leaves_the_block_and_is_reported_with_its_class(served: Any, gate: Tripline):
    with pytest.raises(LookupError, match="no such lead"), gate.act("record.update", **LEAD) as act:
        raise LookupError("no such lead")
    (row,) = reported(served, 1, decision_id=act.decision.decision_id, outcome="error")
    assert (row["error"]["code"], row["error"]["message"]) == ("LookupError", "no such lead")


def test_what_is_not_allowed_is_not_done_and_says_what_would_allow_it(gate: Tripline):
    with (
        pytest.raises(Denied, match="may not create contracts") as denied,
        gate.act("contract.create", record_ids=["c"]),
    ):
        pytest.fail("it was done")
    assert denied.value.decision.stanza
    with pytest.raises(Held), gate.act("email.send", recipient_ids=["new@example.com"]):
        pytest.fail("it was done")
    assert gate.check("contract.create", record_ids=["c"]).decision == "deny"


def test_what_a_person_approved_is_done_once_when_it_is_asked_again(served: Any, gate: Tripline):
    mail = {"object": "Email", "recipient_ids": ["first@example.com"]}
    with pytest.raises(Held) as held, gate.act("email.send", **mail):
        raise AssertionError("it was held")
    id_ = held.value.decision.approval_id
    kept = served[1].call(lambda round_: approvals.find(round_.link, id_)).result(10)
    maya = Approver(name="maya", roles=frozenset({"operator"}))
    said = Answer(approval_id=id_, says="approve", who=maya, reason="ok", hash=kept.hash, opened_ms=0)
    served[1].answer_approval(said).result(10)
    with gate.act("email.send", approval_id=id_, **mail):
        pass
    with pytest.raises(Denied, match="used already"), gate.act("email.send", approval_id=id_, **mail):
        raise AssertionError("it was used before")


def test_a_decorated_function_is_asked_for_by_its_arguments(served: Any, gate: Tripline):
    @gate.guarded("record.update", object="Lead", record_ids=lambda lead_id, **_: [lead_id])
    def enrich(lead_id: str, industry: str = "Retail") -> str:
        """Enrich a lead."""
        return f"{lead_id} is in {industry}"

    assert enrich("00Q7") == "00Q7 is in Retail"
    assert (enrich.__name__, enrich.__doc__) == ("enrich", "Enrich a lead.")
    assert reported(served, 1, record_ids=["00Q7"], outcome="ok")


def test_a_mistake_of_the_caller_names_the_field(gate: Tripline):
    with pytest.raises(BadRequest, match="rekord_ids"):
        gate.check("record.update", rekord_ids=["1"])
    with pytest.raises(BadRequest, match="record_ids: give a list"):
        gate.check("record.update", record_ids="00Q1")
    with pytest.raises(BadRequest, match="can't be sent"):
        gate.check("record.update", changes={"1": {"when": [None, object()]}})


def test_the_same_for_asyncio(served: Any):
    async def story() -> None:
        async with AsyncTripline(served[0], agent_id="dealbot", authorized_by="user:005B2") as gate:
            async with gate.act("record.update", object="Lead", record_ids=["00Q9"]) as act:
                assert act.decision.is_allowed
            with pytest.raises(ZeroDivisionError):
                async with gate.act("record.update", object="Lead", record_ids=["00Q9"]):
                    raise ZeroDivisionError
            with pytest.raises(Denied):
                async with gate.act("contract.create", record_ids=["c"]):
                    pytest.fail("it was done")

            @gate.guarded("record.update", object="Lead", record_ids=lambda one: [one])
            async def enrich(one: str) -> str:
                return one

            assert await enrich("00Q10") == "00Q10"
            assert (await gate.check("record.read", object="Lead", record_ids=["1"])).is_allowed
            assert not gate.unreported

    asyncio.run(story())
    for records, outcome in ((["00Q9"], "ok"), (["00Q9"], "error"), (["00Q10"], "ok")):
        assert reported(served, 1, record_ids=records, outcome=outcome)


class Faulty:
    """A server that answers what a test wants."""

    def __init__(self) -> None:
        self.answers: Callable[[str, Any], tuple[int, bytes] | None] = lambda path, body: (500, b"")
        self.asked: list[tuple[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.asked.append((self.path, body))
                answer = outer.answers(self.path, body)
                if answer is None:
                    self.connection.close()
                    return
                self.send_response(answer[0])
                self.send_header("content-length", str(len(answer[1])))
                self.end_headers()
                self.wfile.write(answer[1])

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


ALLOW = b'{"decision": "allow", "decision_id": "d1", "reason": "allowed", "rule": "allowed", "epoch": 1}'


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    made = Faulty()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        (500, b"oops"),
        (503, b'{"decision": "deny", "message": "the store is away"}'),
        (503, ALLOW),
        (200, b"[]"),
        (200, b'{"decision": "yes"}'),
        (200, b"\xff"),
        (429, b"{}"),
    ],
)
def test_nothing_but_a_plain_allow_lets_an_action_begin(faulty: Faulty, answer: tuple[int, bytes] | None):
    faulty.answers = lambda path, body: answer
    gate = Tripline(faulty.url, agent_id="dealbot")
    with pytest.raises((Unavailable, Denied)), gate.act("record.update", **LEAD):
        pytest.fail("it was done")
    assert not gate.unreported


def test_a_question_without_an_answer_is_asked_again_under_the_same_id(faulty: Faulty):
    faulty.answers = lambda path, body: None if len(faulty.asked) == 1 else (200, ALLOW)
    assert Tripline(faulty.url, agent_id="dealbot").check("record.update", **LEAD).is_allowed
    (_, first), (_, second) = faulty.asked
    assert first == second
    assert first["request_id"]


def test_a_report_that_is_not_taken_waits_and_goes_first_next_time(faulty: Faulty):
    is_down = True

    def answer(path: str, body: Any) -> tuple[int, bytes]:
        return (200, ALLOW) if path == "/v1/gate/check" else (429 if is_down else 200, b"{}")

    faulty.answers = answer
    gate = Tripline(faulty.url, agent_id="dealbot")
    for _ in range(2):
        with gate.act("record.update", **LEAD):
            pass
    assert len(gate.unreported) == 2
    is_down = False
    faulty.asked.clear()
    assert gate.flush() == 0
    reports = [body for _, body in faulty.asked]
    assert [report["data"]["decision_id"] for report in reports] == ["d1", "d1"]
    assert len({report["id"] for report in reports}) == 2
    assert reports[0]["time"] <= reports[1]["time"]


def test_a_report_that_is_refused_for_good_is_counted_and_told(faulty: Faulty):
    faulty.answers = lambda path, body: (200, ALLOW) if path == "/v1/gate/check" else (403, b'{"error": "no token"}')
    gate = Tripline(faulty.url, agent_id="dealbot")
    with gate.act("record.update", **LEAD):
        pass
    assert (len(gate.unreported), gate.lost) == (0, 1)
    assert "403" in gate.problem


def test_nobody_there_is_unavailable():
    gate = Tripline("http://127.0.0.1:9", agent_id="dealbot", timeout_secs=0.5)
    with pytest.raises(Unavailable, match="can't be asked"):
        gate.check("record.update", **LEAD)


def test_it_is_a_small_distribution_of_its_own(tmp_path: Path):
    folder = Path(tripline_client.__file__).parent
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=folder, check=True
    )
    (wheel,) = tmp_path.glob("tripline_client-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if name.startswith("tripline_client/")}
        told = packed.read(next(name for name in packed.namelist() if name.endswith("METADATA"))).decode()
    assert names == {f"tripline_client/{path.name}" for path in (*folder.glob("*.py"), folder / "py.typed")}
    assert [line for line in told.splitlines() if line.startswith("Requires-Dist")] == ["Requires-Dist: httpx>=0.27"]
