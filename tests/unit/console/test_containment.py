"""How far a stop has got, on its page and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from argon2 import PasswordHasher
from litestar import Litestar
from litestar.testing import TestClient

from console.app import PEOPLE_FILE, create_app
from console.auth import AuthStore
from events.times import format_ms
from governance.containment import SeenWrite
from governance.settings import parse_settings
from storage import cancellations, containment
from storage.cancellations import Try
from storage.people import open_people
from storage.read import Reader
from storage.sql import insert_many
from storage.store import Store
from storage.tables import action
from tests.browser.seed import NOW_MS, STOP_MS, seed_morning
from tests.unit.console.conftest import BASE, PASSWORD
from tests.unit.console.fakes import FakeRuntime, done

BOT = "enrich-bot"
CREDENTIAL = """
[agents.enrich-bot]
[crm.hub]
kind = "hubspot"
url = "https://api.example"
token = "ours"
[credentials.app]
agent = "enrich-bot"
crm = "hub"
lever = "delete_refresh_token"
token = "theirs"
"""
SETTINGS = parse_settings(CREDENTIAL, {})


class Morning(FakeRuntime):
    def now_ms(self) -> int:
        return NOW_MS

    folder: Path

    def decide(self, key: str, function: Any) -> Future[Any]:
        link = Store(self.folder).connect()
        found = function(SimpleNamespace(link=link, now_ms=NOW_MS, settings=SETTINGS, changed=set()))
        link.close()
        return done(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seed_morning(tmp_path_factory.mktemp("contain")).parent


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient[Litestar]]:
    settings = parse_settings(CREDENTIAL, {}, {"server.data_dir": str(folder)})
    Morning.folder = folder
    auth = AuthStore(open_people(folder / PEOPLE_FILE), lambda: NOW_MS, PasswordHasher(1, 8, 1))
    auth.add_user("maya", "operator", PASSWORD)
    reader = Reader.open(Store(folder).path)
    with TestClient(create_app(Morning(), settings, reader, auth), base_url=BASE) as made:
        yield made
    reader.close()


def test_the_steps_of_a_stop_follow_what_the_crm_tells(client: TestClient[Litestar], folder: Path) -> None:
    link = Store(folder).connect()
    found = client.get(f"/v1/agents/{BOT}/containment").json()["stop"]
    assert (found["state"], found["enforced_by"], found["gates"], found["seen_to"]) == ("enforced", 1, 1, None)
    page = client.get(f"/agents/{BOT}").text
    assert "Enforced by 1 of 1 gate" in page
    assert "Not yet seen to hold" in page
    assert "no change feed of a CRM is connected" in page

    containment.heard(link, "default", "sf", NOW_MS - 1_000, NOW_MS)
    found = client.get(f"/v1/agents/{BOT}/containment").json()["stop"]
    assert (found["state"], found["seen_to"]) == ("contained", format_ms(NOW_MS - 1_000))
    assert "feed alive" in client.get(f"/agents/{BOT}").text

    write = SeenWrite(
        key=f"default/{BOT}", agent_id=BOT, event_id="/crm c1", identity="agent <b>", effect_ms=NOW_MS - 500,
        object="Lead", ids=("r1",), op="update",
    )  # fmt: skip
    containment.keep(link, "leaked", STOP_MS, [write], NOW_MS)
    answer = client.get(f"/v1/agents/{BOT}/containment").json()
    assert (answer["stop"]["state"], answer["stop"]["leaked"], answer["writes"][0]["record_id"]) == ("leaking", 1, "r1")
    page = client.get(f"/agents/{BOT}").text
    assert "Does not hold in the CRM" in page
    assert "agent &lt;b&gt;" in page
    link.close()


def test_taking_credentials_away_takes_a_person_a_reason_and_credentials(client: TestClient[Litestar]) -> None:
    path, maya = f"/v1/agents/{BOT}/revoke", ("maya", PASSWORD)
    assert client.post(path, json={"reason": "it leaks"}).status_code == 401
    assert client.post(path, json={"reason": ""}, auth=maya).status_code == 400
    none = client.post("/v1/agents/stage-sync/revoke", json={"reason": "it leaks"}, auth=maya)
    assert (none.status_code, none.json()["error"]) == (409, "no_credentials")
    asked = client.post(path, json={"reason": "it leaks"}, auth=maya)
    assert (asked.status_code, asked.json()["credentials"]) == (202, ["app"])


def test_an_agent_that_is_not_stopped_has_no_steps_and_one_that_nobody_knows_is_404(
    client: TestClient[Litestar],
) -> None:
    assert client.get("/v1/agents/stage-sync/containment").json()["stop"] is None
    other = client.get("/v1/agents/nobody/containment")
    assert (other.status_code, other.json()["error"]) == (404, "not_found")


def test_what_it_had_set_up_is_cancelled_when_a_person_asks_and_shown_with_what_came_of_it(
    client: TestClient[Litestar], folder: Path
) -> None:
    def did(number: int, at_ms: int, **more: Any) -> tuple[Any, ...]:
        values = {
            "key": f"default/{BOT}", "at_ms": at_ms, "offset": 900_000 + number, "effect_ms": at_ms, "agent_id": BOT,
            "kind": "report", "action": "meeting.schedule", "object": "meetings", "outcome": "ok", "records": 1,
            "recipients": 0, "is_external": False, "source": "/a", "event_id": f"later-{number}", **more,
        }  # fmt: skip
        return tuple(values.get(column.name) for column in action.columns)

    projected = Store(folder).connect_projections()
    insert_many(projected, action, [did(1, STOP_MS - 10, record_ids='["70","71"]'), did(2, STOP_MS - 20)])
    projected.close()
    path, maya = f"/v1/agents/{BOT}/cancel-pending", ("maya", PASSWORD)
    assert client.post(path, json={"reason": "wrong people"}).status_code == 401
    assert client.post(path, json={"reason": ""}, auth=maya).status_code == 400
    other = client.post("/v1/agents/stage-sync/cancel-pending", json={"reason": "wrong"}, auth=maya)
    assert (other.status_code, other.json()["error"]) == (409, "not_stopped")
    page = client.get(f"/agents/{BOT}", auth=maya).text
    assert "Cancel what is pending" in page
    asked = client.post(path, json={"reason": "wrong people"}, auth=maya)
    assert (asked.status_code, asked.json()["effects"]) == (202, 3)
    again = client.post(path, json={"reason": "wrong people"}, auth=maya)
    assert (again.status_code, again.json()["error"]) == (409, "nothing_pending")

    link = Store(folder).connect()
    found = {one.record_id: one for one in cancellations.due(link, NOW_MS)}
    assert {one.by_id for one in found.values()} == {"maya"}
    cancellations.note(link, found["70"], Try(NOW_MS, "cancelled", "meeting deleted"), NOW_MS)
    cancellations.note(link, found["71"], Try(NOW_MS, "refused", "403 <b>"), NOW_MS)
    link.close()
    stop = client.get(f"/v1/agents/{BOT}/containment").json()["stop"]
    assert stop["cancellations"] == {"asked": 1, "cancelled": 1, "refused": 1}
    assert {(one["record_id"], one["state"]) for one in stop["pending"]} == {
        ("70", "cancelled"), ("71", "refused"), ("", "asked"),
    }  # fmt: skip
    page = client.get(f"/agents/{BOT}", auth=maya).text
    assert "meetings 70 · cancelled: meeting deleted" in page
    assert "the CRM refused to cancel it: 403 &lt;b&gt;" in page
