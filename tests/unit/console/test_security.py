"""Who may ask for what: hosts, origins, sessions, tokens, sizes."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy.exc import OperationalError

from console.app import create_app
from console.auth import NOBODY, AuthStore, Identifier
from console.auth.throttle import Throttle
from console.errors import Refused
from console.heads import read_head
from console.security import host_name
from governance.settings_types import Settings
from storage.errors import StoreUnavailable
from storage.people import open_people
from storage.read import Reader
from tests.unit.console.conftest import BASE, PASSWORD
from tests.unit.console.fakes import FakeRuntime
from tests.unit.console.samples import LINES, ONE, action, change, lines

Client = TestClient[Litestar]
CHECK = {"agent_id": "dealbot", "action": "record.update", "object": "Opportunity", "record_ids": ["006A1"]}
SUSPEND = "/v1/agents/dealbot/suspend"


@pytest.fixture
def closed(
    runtime: FakeRuntime, settings_of: Callable[..., Settings], reader: Reader, auth: AuthStore
) -> Callable[..., Client]:
    """A client of a server that asks for tokens."""

    def make(**more: Any) -> Client:
        settings = settings_of(require_tokens="always", **more)
        return TestClient(create_app(runtime, settings, reader, auth), base_url=BASE, raise_server_exceptions=False)

    return make


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "a b", "[::1"]
)
def test_a_foreign_host_name_is_refused_so_that_dns_rebinding_reads_nothing(client: Client, host: str) -> None:
    answer = client.get("/v1/agents", headers={"host": host})
    assert (answer.status_code, answer.json()["error"]) == (421, "unknown_host")


@pytest.mark.parametrize("host", ["localhost:8787", "127.0.0.1", "[::1]:9", "LOCALHOST"])
def test_the_names_of_this_machine_are_known(client: Client, host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1:8787", "127.0.0.1"), ("[::1]:80", "::1"), ("Tripline.Example.", "tripline.example"),
        ("a:b", ""), ("a/b", ""), ("user@a", ""), ("a?b", ""), ("a:99999", ""),
    ],
)  # fmt: skip
def test_a_hosts_name_is_read_strictly(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize("name", [b"host", b"content-length", b"authorization", b"origin", b"x-csrf-token"])
def test_a_header_that_decides_may_not_be_given_twice(name: bytes) -> None:
    with pytest.raises(Refused, match="twice"):
        read_head([(name, b"1"), (b"accept", b"*/*"), (name, b"2")])
    assert read_head([(b"cookie", b"a=1"), (b"cookie", b"b=2")]).get(b"cookie") == "a=1; b=2"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://127.0.0.1:1", "ftp://127.0.0.1:8787"])
def test_another_sites_page_changes_nothing(client: Client, runtime: FakeRuntime, origin: str) -> None:
    answer = client.post("/v1/events", content=lines(action()), headers={**LINES, "origin": origin})
    assert (answer.status_code, answer.json()["error"]) == (403, "foreign_origin")
    assert runtime.taken == {}


def test_a_cross_site_request_without_origin_changes_nothing(client: Client) -> None:
    answer = client.post("/v1/gate/check", json=CHECK, headers={"sec-fetch-site": "cross-site"})
    assert (answer.status_code, answer.json()["error"]) == (403, "foreign_origin")


def log_in(client: Client, name: str = "maya") -> None:
    answer = client.post(
        "/login", data={"name": name, "password": PASSWORD, "next": "/agents"}, follow_redirects=False,
        headers={"origin": BASE},
    )  # fmt: skip
    assert (answer.status_code, answer.headers["location"]) == (303, "/agents")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" in cookie


def csrf_on(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


def test_a_session_needs_the_token_of_its_own_forms(client: Client, runtime: FakeRuntime) -> None:
    log_in(client)
    body = {"reason": "x"}
    assert client.post(SUSPEND, json=body).json()["error"] == "csrf"
    assert client.post(SUSPEND, json=body, headers={"x-csrf-token": "0" * 64}).json()["error"] == "csrf"
    assert runtime.rows == {}
    token = csrf_on(client.get("/account").text)
    assert client.post(SUSPEND, json=body, headers={"x-csrf-token": token}).status_code == 200
    form = client.post(SUSPEND, data={"reason": "y", "csrf_token": token}, follow_redirects=False)
    assert form.status_code == 303


def test_logging_out_ends_the_session(client: Client) -> None:
    log_in(client)
    token = csrf_on(client.get("/account").text)
    assert client.post("/logout", data={"csrf_token": token}, follow_redirects=False).status_code == 303
    assert client.get("/account").status_code == 401


def test_a_wrong_password_opens_no_session(client: Client) -> None:
    answer = client.post("/login", data={"name": "maya", "password": "wrong"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "/x\n", "javascript:1"]
)
def test_logging_in_never_leads_to_another_site(client: Client, target: str) -> None:
    answer = client.post("/login", data={"name": "maya", "password": PASSWORD, "next": target}, follow_redirects=False)
    assert answer.headers["location"] == "/"


def test_a_login_link_is_opened_safely_and_used_once(client: Client, auth: AuthStore) -> None:
    path = f"/login/link/{auth.make_login_link('maya', 15)}"
    assert client.get(path).status_code == 200
    assert client.get(path).status_code == 200
    assert client.post(path, follow_redirects=False).status_code == 303
    assert client.get("/account").status_code == 200
    client.cookies.clear()
    assert client.post(path, follow_redirects=False).status_code == 401


def test_a_login_link_expires(tmp_path: Path) -> None:
    now = [1_000_000]
    auth = AuthStore(open_people(tmp_path / "people.db"), lambda: now[0])
    auth.add_user("maya", "viewer")
    secret = auth.make_login_link("maya", 15)
    now[0] += 15 * 60_000
    assert auth.use_login_link(secret) is None


def test_a_password_is_set_and_ends_other_sessions(client: Client, auth: AuthStore) -> None:
    log_in(client)
    other = auth.open_session("maya", 12)
    token = csrf_on(client.get("/account").text)
    short = client.post("/account/password", data={"csrf_token": token, "password": "short"})
    assert short.status_code == 400
    done = client.post(
        "/account/password", data={"csrf_token": token, "password": "a new long password"}, follow_redirects=False
    )
    assert done.status_code == 303
    assert auth.session_person(other) is None
    assert auth.check_password("maya", "a new long password") is not None


def test_disabling_a_person_ends_what_they_may(client: Client, auth: AuthStore) -> None:
    auth.disable_user("maya")
    assert client.post(SUSPEND, json={"reason": "x"}, auth=("maya", PASSWORD)).status_code == 401


def test_an_agents_token_speaks_for_that_agent_alone(client: Client, auth: AuthStore, runtime: FakeRuntime) -> None:
    secret, _ = auth.create_token("dealbot", ["ingest", "gate"], agent_id="dealbot")
    mine = client.post("/v1/events", content=lines(action()), headers={**LINES, **bearer(secret)})
    assert mine.status_code == 200
    both = lines(action("a-2"), action("a-3", agent="other"))
    answer = client.post("/v1/events", content=both, headers={**LINES, **bearer(secret)})
    assert (answer.status_code, answer.json()["error"], answer.json()["index"]) == (403, "not_yours", 1)
    answer = client.post("/v1/events", content=json.dumps(change()), headers={**ONE, **bearer(secret)})
    assert (answer.status_code, answer.json()["error"]) == (403, "not_yours")
    assert len(runtime.taken) == 1
    assert client.post("/v1/gate/check", json=CHECK, headers=bearer(secret)).status_code == 200
    answer = client.post("/v1/gate/check", json={**CHECK, "agent_id": "other"}, headers=bearer(secret))
    assert (answer.status_code, answer.json()["error"]) == (403, "not_yours")


def test_a_sources_token_sends_as_that_source_alone(client: Client, auth: AuthStore) -> None:
    secret, _ = auth.create_token("sf", ["ingest"], source="/crm/salesforce/00D1")
    assert client.post("/v1/events", content=lines(change()), headers={**LINES, **bearer(secret)}).status_code == 200
    foreign = {**change(), "source": "/crm/hubspot/1"}
    answer = client.post("/v1/events", content=lines(foreign), headers={**LINES, **bearer(secret)})
    assert answer.json()["error"] == "not_yours"


def test_a_token_may_do_what_its_scopes_say(closed: Callable[..., Client], auth: AuthStore) -> None:
    with closed() as client:
        reads, _ = auth.create_token("prometheus", ["read"])
        gate, _ = auth.create_token("gate", ["gate"])
        assert client.get("/metrics", headers=bearer(reads)).status_code == 200
        assert client.get("/metrics", headers=bearer(gate)).json()["error"] == "missing_scope"
        answer = client.post("/v1/events", content=lines(action()), headers={**LINES, **bearer(gate)})
        assert answer.json()["error"] == "missing_scope"
        assert client.post("/v1/gate/check", json=CHECK, headers=bearer(reads)).json()["error"] == "missing_scope"


def test_where_tokens_are_asked_for_nothing_is_open_but_health_and_login(closed: Callable[..., Client]) -> None:
    with closed() as client:
        for path in ("/v1/agents", "/v1/findings", "/metrics", "/schema", "/v1/stream", "/"):
            assert client.get(path, headers={"accept": "*/*"}).status_code == 401
        assert client.post("/v1/events", content=lines(action()), headers=LINES).status_code == 401
        assert client.post("/v1/gate/check", json=CHECK).status_code == 401
        for path in ("/healthz", "/readyz", "/login"):
            assert client.get(path).status_code == 200
        page = client.get("/agents", headers={"accept": "text/html"}, follow_redirects=False)
        assert (page.status_code, page.headers["location"]) == (303, "/login?next=/agents")


def test_a_proxy_does_not_make_the_world_local(client: Client, runtime: FakeRuntime) -> None:
    for header in ("x-forwarded-for", "forwarded"):
        answer = client.get("/v1/agents", headers={header: "203.0.113.9"})
        assert answer.status_code == 401


def test_a_public_host_name_is_not_local(
    settings_of: Callable[..., Settings], runtime: FakeRuntime, reader: Reader, auth: AuthStore
) -> None:
    app = create_app(runtime, settings_of(allowed_hosts=["tripline.example"]), reader, auth)
    with TestClient(app, base_url="https://tripline.example") as client:
        assert client.get("/v1/agents", headers={"accept": "*/*"}).status_code == 401


@pytest.mark.parametrize("value", ["Bearer nonsense", "Bearer ", "Basic !!!", "Basic bWF5YQ==", "Digest x", "x"])
def test_credentials_that_are_presented_are_checked(client: Client, value: str) -> None:
    assert client.get("/v1/agents", headers={"authorization": value}).status_code == 401


def test_a_revoked_or_expired_token_is_refused(client: Client, auth: AuthStore) -> None:
    expired, _ = auth.create_token("old", ["read"], days=1e-9)
    assert "expired" in client.get("/v1/agents", headers=bearer(expired)).json()["message"]
    revoked, token = auth.create_token("gone", ["read"])
    auth.revoke_token(token.token_id)
    assert client.get("/v1/agents", headers=bearer(revoked)).status_code == 401


def test_passwords_are_not_taken_in_the_clear_from_elsewhere(app: Litestar) -> None:
    with TestClient(app, base_url="http://127.0.0.1:8787") as client:  # its address is no loopback address
        answer = client.post(SUSPEND, json={"reason": "x"}, auth=("maya", PASSWORD))
    assert answer.status_code == 401
    assert "TLS" in answer.json()["message"]


def test_every_answer_carries_the_security_headers(client: Client) -> None:
    for answer in (client.get("/"), client.get("/v1/nothing"), client.post(SUSPEND), client.get("/healthz")):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"


def test_secrets_are_kept_hashed(auth: AuthStore, settings: Settings) -> None:
    secret, _ = auth.create_token("t", ["read"])
    session = auth.open_session("maya", 1)
    link = auth.make_login_link("maya", 1)
    kept = b"".join(path.read_bytes() for path in Path(settings.server.data_dir).glob("people.db*"))
    for each in (secret, session, link, PASSWORD):
        assert each.encode() not in kept
    assert b"$argon2id$" in kept


def test_failures_are_forgotten_after_a_quarter_of_an_hour() -> None:
    now = [0]
    throttle = Throttle(3, lambda: now[0])
    for _ in range(3):
        assert throttle.wait_secs("a") == 0
        throttle.failed("a")
        now[0] += 1_000
    assert throttle.wait_secs("a") == 15 * 60 - 3
    assert throttle.wait_secs("b") == 0
    now[0] += 15 * 60_000
    assert throttle.wait_secs("a") == 0


def test_memory_knows_good_tokens_read_just_now_and_nothing_else(
    auth: AuthStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms, clock = [0], [100.0]
    monkeypatch.setattr("console.auth.identify.time.monotonic", lambda: clock[0])
    identifier = Identifier(auth, Throttle(10, lambda: 0), False, lambda: now_ms[0])
    secret, token = auth.create_token("bot", ["gate"], days=1)
    assert token.expires_ms is not None
    now_ms[0] = token.expires_ms - 1
    told = f"Bearer {secret}"
    assert identifier.known(told, "") is None, "it has not been read yet"
    asyncio.run(identifier.caller(told, "", "", False))
    known = identifier.known(told, "")
    assert known is not None
    assert known.token == token
    assert identifier.known("Bearer tl_other", "") is None
    assert identifier.known(f"Basic {secret}", "") is None
    assert identifier.known("", "a-session") is None
    assert identifier.known("", "") == NOBODY
    now_ms[0] += 1
    assert identifier.known(told, "") is None, "it has expired"
    now_ms[0] -= 1
    clock[0] += 2.5
    assert identifier.known(told, "") is None, "it may have been revoked meanwhile"


@pytest.mark.parametrize("problem", [StoreUnavailable("gone"), OperationalError("SELECT", {}, Exception("gone"))])
def test_while_the_store_cannot_be_read_nobody_is_known_and_a_token_is_let_in_nowhere(
    closed: Callable[..., Client], auth: AuthStore, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    secret, _ = auth.create_token("bot", ["gate", "ingest"])

    def gone() -> Any:
        raise problem

    monkeypatch.setattr(auth, "tokens_by_hash", gone)
    with closed() as client:
        for path, body in (("/v1/gate/check", CHECK), ("/v1/events", action("a-1"))):
            answer = client.post(path, json=body, headers=bearer(secret))
            assert (answer.status_code, answer.json()["error"]) == (503, "not_available")
            assert answer.headers["retry-after"] == "1"


def test_a_store_that_hangs_is_not_waited_for_when_a_check_comes(
    closed: Callable[..., Client], auth: AuthStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, _ = auth.create_token("bot", ["gate"])
    over = threading.Event()
    monkeypatch.setattr(auth, "tokens_by_hash", lambda: over.wait(20) and {})
    monkeypatch.setattr("console.auth.identify.REFRESH_LIMIT_SECS", 0.05)
    with closed() as client:
        answer = client.post("/v1/gate/check", json=CHECK, headers=bearer(secret))
        over.set()
    assert (answer.status_code, answer.json()["error"]) == (503, "not_available")
