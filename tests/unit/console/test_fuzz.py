"""Random bytes and near-valid bodies never bring a 500, and the server goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient

from tests.unit.console.conftest import PASSWORD
from tests.unit.console.fakes import FakeRuntime
from tests.unit.console.samples import BATCH, LINES, ONE, action

Client = TestClient[Litestar]
TYPES = [ONE, BATCH, LINES, {"content-type": "application/json"}, {"content-type": ""}, {"content-type": ";;"}]
CHECK = {"agent_id": "dealbot", "action": "record.update", "record_ids": ["1"], "changes": {"1": {"a": [1, 2]}}}
relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@st.composite
def near(draw: st.DrawFn, of: dict[str, Any]) -> bytes:
    """A valid object with one field replaced, dropped or added, and maybe a byte changed."""
    changed = dict(of)
    name = draw(st.sampled_from(list(of)) | st.text(max_size=10))
    if draw(st.booleans()):
        changed.pop(name, None)
    else:
        changed[name] = draw(values)
    body = bytearray(json.dumps(changed).encode())
    if draw(st.booleans()) and body:
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body)


@relaxed
@given(body=st.binary(max_size=400), kind=st.sampled_from(TYPES))
def test_random_bytes_as_events(client: Client, body: bytes, kind: dict[str, str]) -> None:
    assert client.post("/v1/events", content=body, headers=kind).status_code in (200, 400, 415)


@relaxed
@given(body=near(action()), kind=st.sampled_from([ONE, LINES]))
def test_near_valid_events_are_answered_item_by_item(
    client: Client, runtime: FakeRuntime, body: bytes, kind: dict[str, str]
) -> None:
    before = len(runtime.letters)
    answer = client.post("/v1/events", content=body, headers=kind)
    assert answer.status_code in (200, 400)
    told = answer.json()
    assert told["refused_count"] == len(runtime.letters) - before
    for refused in told["refused"]:
        assert refused["reason"]
        assert refused["message"]


@relaxed
@given(body=st.binary(max_size=400) | near(CHECK))
def test_random_and_near_valid_checks(client: Client, body: bytes) -> None:
    answer = client.post("/v1/gate/check", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400)


@relaxed
@given(body=st.binary(max_size=200) | near({"reason": "x", "epoch": 1, "confirm": "c"}), form=st.booleans())
def test_random_control_bodies(client: Client, body: bytes, form: bool) -> None:
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    for path in ("/v1/agents/a/suspend", "/v1/agents/a/release", "/v1/release-all", "/v1/dead-letters/redrive"):
        answer = client.post(
            path, content=body, headers={"content-type": kind}, auth=("maya", PASSWORD), follow_redirects=False
        )
        assert answer.status_code < 500


@relaxed
@given(query=st.dictionaries(
    st.sampled_from(["agent", "since", "until", "last", "object", "type", "record", "limit", "cursor"]),
    st.text(max_size=30), max_size=4,
))  # fmt: skip
def test_random_questions(client: Client, query: dict[str, str]) -> None:
    for path in ("/v1/actions", "/v1/findings"):
        assert client.get(path, params=query).status_code in (200, 400)


@relaxed
@given(path=st.text(max_size=40))
def test_random_paths(client: Client, path: str) -> None:
    from urllib.parse import quote  # noqa: PLC0415

    for prefix in ("/", "/v1/agents/", "/v1/deals/", "/agents/", "/deals/", "/static/", "/login/link/"):
        assert client.get(prefix + quote(path, safe=""), follow_redirects=False).status_code < 500


@relaxed
@given(values=st.lists(st.tuples(
    st.sampled_from(["host", "origin", "cookie", "authorization", "accept", "referer", "ce-id", "content-type"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30),
), max_size=5))  # fmt: skip
def test_random_headers(client: Client, values: list[tuple[str, str]]) -> None:
    headers = {name: value.encode("latin-1") for name, value in values}
    assert client.post("/v1/events", content=b"{}", headers=headers).status_code < 500  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1_000, 300_000])
def test_deep_nesting_everywhere(client: Client, size: int) -> None:
    for opening in (b"[", b'{"a":'):
        for path in ("/v1/events", "/v1/gate/check"):
            assert client.post(path, content=opening * (size // 5), headers=ONE).status_code in (400, 413, 415)
