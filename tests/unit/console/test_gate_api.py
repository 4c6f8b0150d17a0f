"""Checks at the gate over HTTP: strict, and denied whenever nothing can be decided."""

from __future__ import annotations

import json

import pytest
from litestar import Litestar
from litestar.testing import TestClient

import console.api.gate as gate_module
from tests.unit.console.fakes import FakeRuntime

Client = TestClient[Litestar]
JSON = {"content-type": "application/json"}
CHECK = {
    "agent_id": "dealbot", "action": "record.update", "object": "Opportunity", "record_ids": ["006A1"],
    "changes": {"006A1": {"StageName": ["Proposal", "Negotiation"]}}, "recipient_ids": [],
    "authorized_by": "user:005B2", "trigger": {"kind": "rule", "ref": "flow:stage-sync"}, "request_id": "r-1",
}  # fmt: skip


def test_an_agent_within_its_limits_is_allowed(client: Client, runtime: FakeRuntime) -> None:
    answer = client.post("/v1/gate/check", json=CHECK)
    assert answer.status_code == 200
    assert answer.json() == {
        "decision": "allow", "decision_id": "d-1", "reason": "within its limits", "rule": "allowed", "epoch": 0
    }  # fmt: skip
    assert runtime.checks[0].record_ids == ["006A1"]


def test_a_suspended_agent_is_denied_with_the_epoch(client: Client, runtime: FakeRuntime) -> None:
    runtime.suspend("dealbot", epoch=7)
    told = client.post("/v1/gate/check", json=CHECK).json()
    assert (told["decision"], told["rule"], told["epoch"]) == ("deny", "suspended", 7)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"), (b"{", "JSON"), (b"[]", "object"), (b'"x"', "object"), (b"{}", "agent_id"),
        (json.dumps({**CHECK, "agent_id": ""}).encode(), "agent_id"),
        (json.dumps({**CHECK, "agent_id": 5}).encode(), "agent_id"),
        (json.dumps({**CHECK, "record_ids": "006A1"}).encode(), "record_ids"),
        (json.dumps({**CHECK, "first_contakt": True}).encode(), "first_contakt"),
        (json.dumps(CHECK).encode().replace(b'"action"', b'"action": "record.read", "action"'), "action"),
        (b'{"agent_id":' + b"[" * 100_000, ""),
        (json.dumps(CHECK).encode().replace(b"dealbot", b"\xff"), "UTF-8"),
    ],
)  # fmt: skip
def test_a_malformed_check_gets_400_that_names_the_place(
    client: Client, runtime: FakeRuntime, body: bytes, word: str
) -> None:
    answer = client.post("/v1/gate/check", content=body, headers=JSON)
    assert answer.status_code == 400
    assert word in answer.text
    assert runtime.checks == []
    assert client.post("/v1/gate/check", json=CHECK).status_code == 200


def test_what_an_agent_claims_is_taken_and_left_to_the_gate(client: Client, runtime: FakeRuntime) -> None:
    claims = {"records": 3, "recipients": 0, "external": False, "first_contact": False}
    assert client.post("/v1/gate/check", json={**CHECK, **claims}).status_code == 200
    assert [runtime.checks[0].records, runtime.checks[0].first_contact] == [3, False]


def test_another_content_type_gets_415(client: Client) -> None:
    answer = client.post("/v1/gate/check", content=json.dumps(CHECK), headers={"content-type": "text/plain"})
    assert answer.status_code == 415


def test_a_large_check_gets_413(client: Client) -> None:
    body = json.dumps({**CHECK, "object": "x" * 300_000})
    assert client.post("/v1/gate/check", content=body, headers=JSON).status_code == 413


def test_what_fails_is_denied(client: Client, runtime: FakeRuntime) -> None:
    runtime.is_broken = True
    answer = client.post("/v1/gate/check", json=CHECK)
    assert (answer.status_code, answer.json()["decision"], answer.json()["rule"]) == (503, "deny", "not_available")


def test_what_takes_too_long_is_denied(
    request: pytest.FixtureRequest, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "CHECK_SECS", 0.0)
    client: Client = request.getfixturevalue("client")
    runtime.is_stuck = True
    answer = client.post("/v1/gate/check", json=CHECK)
    assert (answer.status_code, answer.json()["decision"]) == (503, "deny")
    told = client.get("/metrics").text
    assert 'tripline_gate_errors_total{kind="timeout"} 1.0' in told
    assert 'tripline_gate_decisions_total{decision="deny",rule="not_available"} 1.0' in told


def test_the_gate_is_a_documented_route(app: Litestar) -> None:
    assert gate_module.PATH in {route.path for route in app.routes}
