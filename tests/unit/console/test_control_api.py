"""Stopping and releasing over HTTP."""

from __future__ import annotations

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from console.auth import AuthStore
from tests.unit.console.conftest import PASSWORD
from tests.unit.console.fakes import FakeRuntime

Client = TestClient[Litestar]
MAYA, JO, VERA = ("maya", PASSWORD), ("jo", PASSWORD), ("vera", PASSWORD)
RELEASE = "/v1/agents/dealbot/release"


def test_a_person_suspends_with_a_reason(client: Client, runtime: FakeRuntime) -> None:
    answer = client.post("/v1/agents/dealbot/suspend", json={"reason": "it writes nonsense"}, auth=MAYA)
    assert answer.status_code == 200
    assert answer.json()["state"] == "suspended"
    assert answer.json()["by"] == {"kind": "human", "id": "maya"}
    assert runtime.rows["default/dealbot"].reason == "it writes nonsense"


def test_suspending_without_a_login_is_refused(client: Client, runtime: FakeRuntime) -> None:
    answer = client.post("/v1/agents/dealbot/suspend", json={"reason": "x"})
    assert answer.status_code == 401
    assert runtime.rows == {}


def test_a_viewer_may_not_suspend(client: Client) -> None:
    answer = client.post("/v1/agents/dealbot/suspend", json={"reason": "x"}, auth=VERA)
    assert (answer.status_code, answer.json()["error"]) == (403, "missing_role")


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "   "}, {"reason": 5}, [], "x"])
def test_suspending_needs_a_reason(client: Client, body: object) -> None:
    answer = client.post("/v1/agents/dealbot/suspend", json=body, auth=MAYA)
    assert answer.status_code == 400
    assert "reason" in answer.json()["message"] or "object" in answer.json()["message"]


def test_a_release_names_the_epoch_that_was_seen(client: Client, runtime: FakeRuntime) -> None:
    runtime.suspend("dealbot", epoch=7)
    answer = client.post(RELEASE, json={"reason": "mended", "epoch": 7}, auth=MAYA)
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["epoch"]) == ("releasing", 8)


def test_a_stale_epoch_gets_409_with_the_current_one(client: Client, runtime: FakeRuntime) -> None:
    runtime.suspend("dealbot", epoch=7)
    answer = client.post(RELEASE, json={"reason": "mended", "epoch": 6}, auth=MAYA)
    assert answer.status_code == 409
    assert (answer.json()["epoch"], answer.json()["state"]) == (7, "suspended")
    assert runtime.rows["default/dealbot"].state == "suspended"


def test_no_api_token_releases_or_stops(client: Client, runtime: FakeRuntime, auth: AuthStore) -> None:
    runtime.suspend("dealbot", epoch=7)
    for bound in ("dealbot", None):
        secret, _ = auth.create_token(f"t-{bound}", ["ingest", "gate", "read"], agent_id=bound)
        headers = {"authorization": f"Bearer {secret}"}
        for path in (RELEASE, "/v1/agents/x/suspend", "/v1/stop-all", "/v1/release-all", "/v1/dead-letters/redrive"):
            answer = client.post(path, json={"reason": "please", "epoch": 7}, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (403, "only_a_person")
    assert runtime.rows["default/dealbot"].state == "suspended"


def test_the_agents_owner_may_not_release_it(client: Client, runtime: FakeRuntime) -> None:
    runtime.suspend("dealbot", epoch=7)
    runtime.owners["dealbot"] = "maya"
    answer = client.post(RELEASE, json={"reason": "mine", "epoch": 7}, auth=MAYA)
    assert (answer.status_code, answer.json()["error"]) == (403, "not_the_owner")


def test_one_person_stops_all_and_two_end_it(client: Client, runtime: FakeRuntime) -> None:
    assert client.post("/v1/stop-all", json={"reason": "unclear"}, auth=MAYA).json()["state"] == "suspended"
    first = client.post("/v1/release-all", json={"reason": "clear", "epoch": 1}, auth=MAYA)
    assert first.status_code == 202
    confirm = {"confirm": first.json()["waiting_confirm"]}
    assert client.post("/v1/release-all", json=confirm, auth=MAYA).json()["error"] == "needs_two"
    assert state_of_all(runtime) == "suspended"
    second = client.post("/v1/release-all", json=confirm, auth=JO)
    assert second.status_code == 200
    assert state_of_all(runtime) == "active"
    assert client.post("/v1/release-all", json=confirm, auth=JO).status_code == 403


def test_a_form_goes_back_to_its_page(client: Client) -> None:
    answer = client.post("/v1/agents/dealbot/suspend", data={"reason": "nonsense"}, auth=MAYA, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/agents/dealbot")
    answer = client.post("/v1/agents/a b/suspend", data={"reason": "x"}, auth=MAYA, headers={"hx-request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (204, "/agents/a%20b")


def test_too_many_wrong_passwords_have_to_wait(client: Client) -> None:
    for _ in range(10):
        assert client.post("/v1/stop-all", json={"reason": "x"}, auth=("maya", "wrong")).status_code == 401
    answer = client.post("/v1/stop-all", json={"reason": "x"}, auth=MAYA)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 900


def state_of_all(runtime: FakeRuntime) -> str:
    return runtime.rows["default/*"].state


def test_an_agents_id_may_have_a_slash(client: Client, runtime: FakeRuntime) -> None:
    answer = client.post("/v1/agents/acme%2Fenrich-bot/suspend", json={"reason": "x"}, auth=MAYA)
    assert answer.json()["agent_id"] == "acme/enrich-bot"
    assert list(runtime.rows) == ["default/acme/enrich-bot"]
    assert client.get("/v1/agents/acme%2Fother").json()["message"] == "no agent 'acme/other' was ever seen"
    assert client.post("/v1%2Fstop-all", json={"reason": "x"}, auth=MAYA).status_code == 404
