"""What producers send, and how each item is answered for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from tests.unit.console.fakes import FakeRuntime
from tests.unit.console.samples import BATCH, LINES, ONE, action, change, lines

Client = TestClient[Litestar]


def test_one_event_is_accepted_with_its_own_bytes(client: Client, runtime: FakeRuntime) -> None:
    body = json.dumps(action(), indent=1).encode()
    answer = client.post("/v1/events", content=body, headers=ONE)
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 1, "duplicates": 0, "refused": [], "refused_count": 0}
    assert runtime.taken == {("/crm/salesforce/00D1", "a-1"): body}


def test_a_batch_is_answered_item_by_item(client: Client, runtime: FakeRuntime) -> None:
    bad = action("a-2", records=-1)
    answer = client.post("/v1/events", content=json.dumps([action(), bad, change()]), headers=BATCH)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["accepted"], told["refused_count"]) == (2, 1)
    assert told["refused"][0]["index"] == 1
    assert told["refused"][0]["field"] == "data.records"
    assert [letter["agent_id"] for letter in runtime.letters] == ["dealbot"]
    assert json.loads(runtime.letters[0]["raw"]) == bad


def test_json_lines_of_two_sorts_are_accepted_and_repeats_counted(client: Client) -> None:
    client.post("/v1/events", content=lines(action()), headers=LINES)
    answer = client.post("/v1/events", content=lines(action(), change()), headers=LINES)
    assert answer.json()["accepted"] == 1
    assert answer.json()["duplicates"] == 1


def test_binary_mode_is_read_from_headers(client: Client, runtime: FakeRuntime) -> None:
    event = action()
    headers = {f"ce-{name}": str(value) for name, value in event.items() if name != "data"}
    answer = client.post(
        "/v1/events", content=json.dumps(event["data"]), headers={**headers, "content-type": "application/json"}
    )
    assert answer.json()["accepted"] == 1
    assert ("/crm/salesforce/00D1", "a-1") in runtime.taken


def test_a_busy_runtime_pushes_back_and_nothing_is_kept(client: Client, runtime: FakeRuntime) -> None:
    runtime.is_busy = True
    answer = client.post("/v1/events", content=lines(action(), {"specversion": "1.0"}), headers=LINES)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert runtime.letters == []


BAD: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"{not json", "not_json"),
    "empty": (b"", "empty"),
    "wrong type": (json.dumps(action(records="many")).encode(), "wrong_type"),
    "missing time": (json.dumps({k: v for k, v in action().items() if k != "time"}).encode(), "missing_field"),
    "zoneless time": (json.dumps({**action(), "time": "2026-03-02T09:14:03"}).encode(), "bad_time"),
    "unknown event type": (json.dumps({**action(), "type": "tripline.agent.akshun.v1"}).encode(), "unknown_type"),
    "NaN": (json.dumps(action(records=float("nan"))).encode(), "not_json"),
    "negative count": (json.dumps(action(records=-1)).encode(), "bad_value"),
    "deep nesting": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep"),
    "duplicate keys": (json.dumps(action()).encode().replace(b'"id"', b'"id": "x", "id"'), "duplicate_key"),
    "invalid UTF-8": (json.dumps(action()).encode().replace(b"dealbot", b"deal\xff\xfe"), "not_utf8"),
    "a type that only Tripline writes": (
        json.dumps({**action(), "type": "tripline.system.tick.v1", "data": {"at": "2026-03-02T09:14:03Z"}}).encode(),
        "type_not_allowed",
    ),
    "a larger event than allowed": (json.dumps(action(tool="x" * 1_100_000)).encode(), "too_large"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_its_reason_and_the_server_goes_on(
    client: Client, runtime: FakeRuntime, name: str
) -> None:
    body, reason = BAD[name]
    answer = client.post("/v1/events", content=lines_of(body), headers=LINES if reason == "too_large" else ONE)
    told: dict[str, Any] = answer.json()
    assert answer.status_code == 400, told
    assert told["refused"][0]["reason"] == reason
    assert told["refused"][0]["message"]
    assert [letter["reason"] for letter in runtime.letters] == [reason]
    assert client.post("/v1/events", content=json.dumps(action()), headers=ONE).status_code == 200


def lines_of(body: bytes) -> bytes:
    return body


def test_a_body_of_10_mb_is_refused_before_it_is_read(client: Client, runtime: FakeRuntime) -> None:
    answer = client.post("/v1/events", content=b"x" * 10_000_000, headers=LINES)
    assert answer.status_code == 413
    assert answer.json()["error"] == "too_large"
    assert "8388608" in answer.json()["message"]
    assert runtime.letters == []


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x"])
def test_another_content_type_gets_415_that_names_those_taken(client: Client, kind: str) -> None:
    answer = client.post("/v1/events", content=b"{}", headers={"content-type": kind})
    assert answer.status_code == 415
    assert "content-type" in answer.json()["message"]


def test_a_compressed_body_gets_415(client: Client) -> None:
    answer = client.post("/v1/events", content=b"\x1f\x8b", headers={**LINES, "content-encoding": "gzip"})
    assert answer.status_code == 415


def test_the_wrong_method_gets_405_in_our_shape(client: Client) -> None:
    answer = client.get("/v1/events")
    assert answer.status_code == 405
    assert answer.json()["error"] == "method_not_allowed"
