"""Reading over HTTP: clear answers to wrong questions, and the OpenAPI document."""

from __future__ import annotations

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from console.api.queries import monday_ms, window_ms
from console.errors import Refused
from console.public import money, public, public_schema
from storage.read.types import ScorePoint
from tests.unit.console.fakes import FakeRuntime

Client = TestClient[Litestar]
HOUR = 3_600_000
NOW = 1_772_442_843_120  # Monday 2026-03-02T09:14:03.120Z


def test_an_empty_store_gives_empty_lists(client: Client) -> None:
    assert client.get("/v1/agents").json() == {"agents": []}
    assert client.get("/v1/findings").json() == {"rows": [], "next_cursor": None}
    assert client.get("/v1/actions").json() == {"rows": [], "next_cursor": None}
    assert client.get("/v1/deals/top").json()["rows"] == []
    assert client.get("/v1/dead-letters").json() == {"dead_letters": []}
    assert client.get("/v1/stop-all").json()["state"] == "active"


@pytest.mark.parametrize("path", ["/v1/agents/nobody", "/v1/deals/none", "/v1/nothing"])
def test_what_is_not_there_is_404_in_our_shape(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("last=48", "last"), ("last=forever", "last"), ("since=yesterday", "since"),
        ("since=2026-03-02T09:00:00", "since"), ("until=x", "until"), ("limit=0", "limit"), ("limit=x", "limit"),
        ("limit=99999999", "limit"), ("cursor=nonsense", "cursor"), ("since=2026-03-02T09:00:00Z&last=1h", "last"),
        ("since=2026-03-02T09:00:00Z&until=2026-03-01T09:00:00Z", "since"),
    ],
)  # fmt: skip
def test_a_wrong_question_gets_400_that_names_the_field(client: Client, query: str, field: str) -> None:
    answer = client.get(f"/v1/actions?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == field


def test_the_time_asked_for_is_48_hours_unless_said_otherwise() -> None:
    assert window_ms(None, None, None, NOW) == (NOW - 48 * HOUR, NOW)
    assert window_ms(None, None, "90s", NOW) == (NOW - 90_000, NOW)
    assert window_ms("2026-03-02T08:14:03.120Z", None, None, NOW) == (NOW - HOUR, NOW)
    assert window_ms(None, "2026-03-02T08:14:03.120Z", "1h", NOW) == (NOW - 2 * HOUR, NOW - HOUR)
    assert window_ms("2026-03-02T10:14:03.120 01:00", None, None, NOW)[0] == NOW, "a + that became a space"
    with pytest.raises(Refused):
        window_ms(None, None, "1y", NOW)


def test_the_week_begins_on_monday() -> None:
    monday = 1_772_409_600_000  # 2026-03-02T00:00:00Z
    assert monday_ms(NOW) == monday
    assert monday_ms(NOW - 12 * HOUR) == monday - 7 * 24 * HOUR


def test_rows_are_shown_with_rfc_3339_times_and_decimal_money() -> None:
    assert public(ScorePoint(NOW, 0.5, 0.25))["at"] == "2026-03-02T09:14:03.120Z"
    assert public({"amount_minor": 14_800_050, "currency": "EUR"}) == {"amount": "148000.50", "currency": "EUR"}
    assert public({"amount_minor": None, "last_ms": None}) == {"amount": None, "last": None}
    assert public({"changes": {"r": {"x_ms": [1, 2]}}}) == {"changes": {"r": {"x_ms": [1, 2]}}}
    assert (money(-5, "EUR"), money(148, "JPY"), money(1_234, "KWD"), money(100, None)) == (
        "-0.05",
        "148",
        "1.234",
        "1.00",
    )


def test_schemas_are_renamed_as_rows_are() -> None:
    schema = {"type": "object", "properties": {"at_ms": {"type": "integer"}}, "required": ["at_ms"]}
    shown = public_schema(schema)
    assert shown["required"] == ["at"]
    assert shown["properties"]["at"]["type"] == "string"


def test_the_openapi_document_covers_the_api(client: Client) -> None:
    told = client.get("/schema/openapi.json").json()
    paths = told["paths"]
    for path in (
        "/v1/events", "/v1/gate/check", "/v1/agents", "/v1/agents/{agent_id}", "/v1/findings", "/v1/actions",
        "/v1/deals/top", "/v1/deals/{deal_id}", "/v1/dead-letters", "/v1/dead-letters/redrive",
        "/v1/agents/{agent_id}/suspend", "/v1/agents/{agent_id}/release", "/v1/stop-all", "/v1/release-all",
        "/healthz", "/readyz", "/metrics", "/v1/stream",
    ):  # fmt: skip
        assert path in paths, path
    release = paths["/v1/agents/{agent_id}/release"]["post"]["requestBody"]["content"]["application/json"]
    assert set(release["schema"]["required"]) == {"reason", "epoch"}
    row = paths["/v1/agents"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert "last_seen" in row["properties"]["agents"]["items"]["properties"]
    assert "application/x-ndjson" in paths["/v1/events"]["post"]["requestBody"]["content"]


def test_readiness_says_what_is_wrong(client: Client, runtime: FakeRuntime) -> None:
    assert client.get("/readyz").json()["status"] == "ok"
    runtime.degraded = ["wal"]
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["trouble with wal"]
    assert client.get("/healthz").status_code == 200
