"""Envoy's questions: what it sends, and what it is told; with a gate that decides, and one that can't."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from console.api.ext_authz import PREFIX
from console.auth import AuthStore
from console.proxy.crm import CRMS
from console.proxy.reading import MOST_BODY_BYTES
from tests.unit.console.fakes import FakeRuntime

Client = TestClient[Litestar]
LEAD = "/services/data/v65.0/sobjects/Lead/00Q000000000001"
UPDATE = json.dumps({"Industry": "Retail"}).encode()


def check(client: Client, method: str, path: str, body: bytes = b"", crm: str = "salesforce", **headers: str) -> Any:
    """As Envoy asks (raw_http_client_impl.cc): the prefix before the request's path, its method, headers and body."""
    sent = {"x-envoy-auth-partial-body": "false", "content-type": "application/json", "x-forwarded-for": "10.0.0.7"}
    return client.request(method, f"/v1/gate/ext-authz/{crm}{path}", content=body, headers={**sent, **headers})


def test_envoy_is_told_yes_or_no_and_everything_unclear_is_no(
    client: Client, runtime: FakeRuntime, auth: AuthStore, monkeypatch: pytest.MonkeyPatch
):
    token = {"authorization": f"Bearer {auth.create_token('bot', ('gate',), 'dealbot')[0]}"}
    told = check(client, "PATCH", LEAD, UPDATE, **token, **{"x-tripline-trigger": "rule:flow:enrich"})
    assert (told.status_code, told.headers["x-tripline-decision"]) == (200, "d-1")
    asked = runtime.checks[-1]
    assert (asked.agent_id, asked.action, asked.object, asked.system) == (
        "dealbot",
        "record.update",
        "Lead",
        "salesforce",
    )
    assert asked.changes["00Q000000000001"]["Industry"].after == "Retail"
    assert (asked.trigger.kind, asked.trigger.ref, asked.request_id) == ("rule", "flow:enrich", None)
    created = json.dumps({"properties": {"dealname": "x"}}).encode()
    for _ in range(2):
        assert check(client, "POST", "/crm/v3/objects/deals", created, "hubspot", **token).status_code == 200
    first, second = ([*one.changes] for one in runtime.checks[-2:])
    assert first != second, "two new records are two, however alike"
    assert check(client, "GET", f"{LEAD}?fields=Name", **token).status_code == 200

    seen = len(runtime.checks)
    unclear: list[tuple[Any, ...]] = [
        ("PATCH", LEAD, b""),  # Envoy was not told to send bodies
        ("PATCH", LEAD, UPDATE[:-3]),
        ("PATCH", LEAD, UPDATE, "salesforce", {"x-envoy-auth-partial-body": "true"}),
        ("PATCH", LEAD, UPDATE, "salesforce", {"content-type": "text/plain"}),
        ("PATCH", LEAD, UPDATE, "salesforce", {"x-http-method-override": "DELETE"}),
        ("PATCH", LEAD, UPDATE, "salesforce", {"x-tripline-agent": "other"}),
        ("PATCH", LEAD, UPDATE, "hubspot"),
        ("PATCH", LEAD, UPDATE, "pipedrive"),
        ("PUT", LEAD, UPDATE),
        ("DELETE", LEAD, UPDATE),
        ("POST", "/services/data/v65.0/composite", b"{}"),
        ("GET", "/services/data/v65.0/sobjects/Lead/%2e%2e"),
        ("GET", "/services/data//v65.0/sobjects/Lead/x"),
        ("GET", "/services%2Fdata/v65.0/sobjects/Lead/00Q000000000001"),
    ]
    for method, path, *rest in unclear:
        body, crm, headers = (*rest, *(b"", "salesforce", {})[len(rest) :])
        told = check(client, method, path, body, crm, **token, **headers)
        assert (told.status_code, told.json()["error"]) == (403, "not_parsed"), (method, path, rest)
    assert check(client, "GET", "", **token).status_code == 404
    assert len(runtime.checks) == seen, "the gate was not asked"

    runtime.suspend("dealbot")
    for method, body in (("GET", b""), ("PATCH", UPDATE)):
        told = check(client, method, LEAD, body, **token)
        assert (told.status_code, told.json()["rule"]) == (403, "suspended")
    runtime.is_broken = True
    told = check(client, "PATCH", LEAD, UPDATE, **token)
    assert (told.status_code, told.json()["rule"]) == (403, "not_available")


def test_who_acts_is_the_agent_whose_token_came(client: Client, runtime: FakeRuntime, auth: AuthStore):
    tokens = {
        "of nobody": auth.create_token("any", ("gate",))[0],
        "without the scope": auth.create_token("feeds", ("ingest",), "dealbot")[0],
    }
    assert check(client, "GET", LEAD).status_code == 401
    assert check(client, "GET", LEAD, authorization="Bearer tl_wrong").status_code == 401
    for token in tokens.values():
        assert check(client, "GET", LEAD, authorization=f"Bearer {token}").status_code == 403
    assert runtime.checks == []


def test_the_example_asks_where_it_is_answered_and_for_no_more_than_is_read():
    text = (Path(__file__).parents[4] / "docs" / "examples" / "envoy.yaml").read_text()
    (prefix,), (most,) = (re.findall(f"{name}: ([^, \n]+)", text) for name in ("path_prefix", "max_request_bytes"))
    assert prefix.removeprefix(PREFIX) in CRMS
    assert int(most) == MOST_BODY_BYTES
    assert "failure_mode_allow: false" in text
