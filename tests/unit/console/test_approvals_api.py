"""Approvals over HTTP, on a real runtime: who answers, how, and each way round it refused with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from litestar import Litestar
from litestar.testing import TestClient

from console.app import PEOPLE_FILE, create_app, wall_ms
from console.auth import AuthStore, csrf_of
from governance.settings import parse_settings
from governance.settings_types import Settings
from storage.people import open_people
from storage.read import Reader
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.standalone.fakes import tiny_stages
from tests.unit.console.conftest import BASE, PASSWORD
from tests.unit.console.fakes import NOW_MS

Client = TestClient[Litestar]
CHECK: dict[str, Any] = {
    "agent_id": "mailer", "action": "email.send", "record_ids": ["r1"], "recipient_ids": ["new@example.com"],
    "authorized_by": "user:005J", "request_id": "q1",
}  # fmt: skip
SETTINGS = """
[people.maya]
[people.jo]
crm_user = "user:005J"
[people.ada]
[agents.mailer]
owner = "ada"
actions = ["email.send"]
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return parse_settings(SETTINGS, {}, {"server.data_dir": str(tmp_path_factory.mktemp("data"))})


@pytest.fixture(scope="module")
def auth(settings: Settings) -> AuthStore:
    store = AuthStore(open_people(Path(settings.server.data_dir) / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
    for name, role in (("maya", "operator"), ("jo", "operator"), ("vera", "viewer"), ("ada", "admin")):
        store.add_user(name, role, PASSWORD)  # type: ignore[arg-type]
    return store


@pytest.fixture(scope="module")
def wall() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture(scope="module")
def client(settings: Settings, auth: AuthStore, wall: ManualClock) -> Iterator[Client]:
    """One server for all tests: each has an hour of its own, and people of its own to write to."""
    with Runtime(settings, clock=wall, make_stages=partial(tiny_stages, limit=61), with_ticker=False) as runtime:
        reader = Reader.open(runtime.store.path)
        app = create_app(runtime, settings, reader, auth)
        with TestClient(app, base_url=BASE, raise_server_exceptions=False) as made:
            yield made
        reader.close()


@pytest.fixture(autouse=True)
def clock(wall: ManualClock) -> ManualClock:
    wall.move(3_600_000)
    hour = (wall.now_ms() - NOW_MS) // 3_600_000
    CHECK.update(recipient_ids=[f"new{hour}@example.com"], request_id=f"q{hour}")
    return wall


class Session:
    """A person's browser."""

    def __init__(self, client: Client, auth: AuthStore, settings: Settings, name: str) -> None:
        self.client = client
        secret = auth.open_session(name, 1.0)
        self.cookie = {"Cookie": f"tripline_{settings.server.port}={secret}"}
        self.headers = self.cookie | {"X-CSRF-Token": csrf_of(secret)}

    def look(self, id_: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/v1/approvals/{id_}", headers=self.cookie).json()
        return found

    def body(self, id_: str, **more: Any) -> dict[str, Any]:
        page = self.look(id_)
        return {"reason": "she asked for it", "hash": page["approval"]["hash"], "seen": page["seen"]} | more

    def post(self, id_: str, how: str = "approve", **more: Any) -> Any:
        return self.client.post(f"/v1/approvals/{id_}/{how}", json=self.body(id_, **more), headers=self.headers)


@pytest.fixture
def maya(client: Client, auth: AuthStore, settings: Settings) -> Session:
    return Session(client, auth, settings, "maya")


def ask(client: Client, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/v1/gate/check", json=CHECK | more).json()
    return answer


def state(client: Client, id_: str) -> str:
    return str(client.get(f"/v1/approvals/{id_}").json()["approval"]["state"])


def test_what_waits_is_listed_and_lets_pass_once_when_a_person_approves(
    client: Client, maya: Session, clock: ManualClock
) -> None:
    held = ask(client)
    assert (held["decision"], held["rule"]) == ("hold", "first_contact")
    (waiting,) = client.get("/v1/approvals").json()["approvals"]
    assert (waiting["id"], waiting["state"]) == (held["approval_id"], "pending")
    assert waiting["content"]["recipient_ids"] == CHECK["recipient_ids"]
    assert "\ntripline_approvals_waiting 1.0\n" in client.get("/metrics").text
    answered = maya.post(held["approval_id"])
    told = client.get("/metrics").text
    assert "\ntripline_approvals_waiting 0.0\n" in told
    assert "\ntripline_oldest_approval_timestamp_seconds 0.0\n" in told
    assert '\ntripline_approvals_total{outcome="approved"} 1.0\n' in told
    assert (answered.status_code, answered.json()["state"]) == (200, "approved")
    clock.move(1)
    allowed = ask(client)
    assert (allowed["decision"], allowed["approved_by"]) == ("allow", "maya")
    replayed = ask(client, request_id="again", approval_id=held["approval_id"])
    assert (replayed["decision"], replayed["rule"]) == ("deny", "approval")
    assert client.get("/v1/approvals").json()["approvals"] == []
    page = maya.look(held["approval_id"])
    assert [step["why"] for step in page["steps"]] == ["waits", "approved", "used"]


def test_refused_with_the_reason_that_the_agent_is_told(client: Client, maya: Session) -> None:
    id_ = ask(client)["approval_id"]
    assert maya.post(id_, "refuse", reason="she said no").json()["state"] == "refused"
    assert ask(client)["reason"].endswith("she said no")
    assert maya.post(id_).json()["error"] == "not_pending"


def test_an_edited_one_is_judged_and_told_to_the_agent(client: Client, maya: Session, clock: ManualClock) -> None:
    id_ = ask(client)["approval_id"]
    too_many = maya.post(id_, "edit", recipient_ids=[f"c{n}@example.com" for n in range(60)])
    assert (too_many.status_code, too_many.json()["error"]) == (422, "edit_refused")
    assert "60 people at once" in too_many.json()["message"]
    assert maya.post(id_, "edit", recipient_ids=["other@example.com"]).json()["state"] == "edited"
    told = ask(client)
    assert told["approved_content"] == {k: v for k, v in CHECK.items() if k != "request_id"} | {
        "recipient_ids": ["other@example.com"]
    }
    clock.move(1)
    again = client.post("/v1/gate/check", json=told["approved_content"] | {"approval_id": id_}).json()
    assert again["decision"] == "allow"


@pytest.mark.parametrize("how", ["approve", "refuse", "edit"])
def test_no_token_and_no_password_answers_only_a_session(client: Client, auth: AuthStore, how: str) -> None:
    id_ = ask(client)["approval_id"]
    secret, _ = auth.create_token("ci", ["read", "gate", "ingest"])
    path, body = f"/v1/approvals/{id_}/{how}", {"reason": "ok", "hash": "0" * 64, "seen": ""}
    by_token = client.post(path, json=body, headers={"Authorization": f"Bearer {secret}"})
    assert (by_token.status_code, by_token.json()["error"]) == (403, "only_a_person")
    by_password = client.post(path, json=body, auth=("maya", PASSWORD))
    assert (by_password.status_code, by_password.json()["error"]) == (403, "only_in_session")
    assert client.post(path, json=body).status_code == 401
    assert state(client, id_) == "pending"


@pytest.mark.parametrize(("name", "code"), [("jo", "requester"), ("ada", "not_the_owner"), ("vera", "no_right")])
def test_neither_who_asks_nor_the_owner_nor_anybody_without_the_right(
    client: Client, auth: AuthStore, settings: Settings, name: str, code: str
) -> None:
    id_ = ask(client)["approval_id"]
    answer = Session(client, auth, settings, name).post(id_)
    assert (answer.status_code, answer.json()["error"]) == (403, code)
    assert state(client, id_) == "pending"


def test_looking_changes_nothing_whoever_looks_however_often(client: Client, maya: Session) -> None:
    id_ = ask(client)["approval_id"]
    before = maya.look(id_)["steps"]
    page = f"/approvals/{id_}"
    for path in (page, f"{page}/approve", f"/v1{page}", f"/v1{page}/approve"):
        for method in ("GET", "HEAD"):
            client.request(method, path, headers=maya.cookie | {"Sec-Purpose": "prefetch"})
    assert (state(client, id_), maya.look(id_)["steps"]) == ("pending", before)


def test_another_sites_page_an_old_form_and_a_page_never_opened_are_refused(
    client: Client, auth: AuthStore, settings: Settings, maya: Session
) -> None:
    id_ = ask(client)["approval_id"]
    body, path = maya.body(id_), f"/v1/approvals/{id_}/approve"
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post(path, json=body, headers=maya.headers | headers).json()["error"] == "foreign_origin"
    assert client.post(path, json=body, headers=maya.cookie).json()["error"] == "csrf"
    assert client.post(path, json=body | {"seen": ""}, headers=maya.headers).json()["error"] == "not_opened"
    other = Session(client, auth, settings, "ada").body(id_)["seen"]
    assert client.post(path, json=body | {"seen": other}, headers=maya.headers).json()["error"] == "not_opened"
    of_another = maya.body(ask(client, recipient_ids=["b@example.com"], request_id="b")["approval_id"])
    assert client.post(path, json=of_another, headers=maya.headers).json()["error"] == "not_opened"
    assert state(client, id_) == "pending"


def test_too_late_is_no(client: Client, maya: Session, clock: ManualClock) -> None:
    id_ = ask(client)["approval_id"]
    clock.move(30 * 60_000)
    late = maya.post(id_)
    assert (late.status_code, late.json()["error"]) == (409, "too_late")
    assert (state(client, id_), client.get("/v1/approvals").json()["approvals"]) == ("expired", [])
    newest = client.get("/v1/approvals?all=true&limit=1").json()["approvals"]
    assert [each["id"] for each in newest] == [id_]


def test_what_is_not_there_or_not_readable_is_said(client: Client, maya: Session) -> None:
    assert client.get("/v1/approvals/none").status_code == 404
    id_ = ask(client)["approval_id"]
    assert maya.post(id_, reason="").status_code == 400
    assert maya.post(id_, colour="red").status_code == 400
