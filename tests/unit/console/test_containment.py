"""How far a stop has got, on its page and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
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
from storage import containment
from storage.people import open_people
from storage.read import Reader
from storage.store import Store
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


class Morning(FakeRuntime):
    def now_ms(self) -> int:
        return NOW_MS

    def decide(self, key: str, function: Any) -> Future[Any]:
        self.decided = key
        return done(["app"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seed_morning(tmp_path_factory.mktemp("contain")).parent


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient[Litestar]]:
    settings = parse_settings(CREDENTIAL, {}, {"server.data_dir": str(folder)})
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
