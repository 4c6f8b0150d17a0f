"""Credentials taken away at servers that follow the CRMs' documented contracts, with their faults."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from governance.settings import parse_settings
from streams.crm.calls import ATTEMPTS, Calls
from streams.crm.hubspot import HubSpot
from streams.crm.ports import CrmFailed
from streams.crm.salesforce import Salesforce

SECRET, ACCESS, USER = "5Aep861_agents.own/refresh", "00D_ours", "005B9000001abcd"
Answer = tuple[int, Any, dict[str, str]]


class Crm(ThreadingHTTPServer):
    """Salesforce's and HubSpot's routes. ``faults`` are answered first, one a request; None hangs up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[Answer | None] = []
        self.revoked: list[str] = []
        self.is_frozen = False
        self.canary: dict[str, Any] = {}
        self.asked: list[str] = []

    def answer(self, method: str, path: str, bearer: str, body: bytes) -> Answer:  # noqa: PLR0911 - one a route
        place = urlsplit(path)
        if method == "POST" and place.path == "/services/oauth2/revoke":
            (token,) = parse_qs(body.decode())["token"]
            if token != SECRET or token in self.revoked:
                return 400, {"error": "invalid_token", "error_description": f"invalid token: {token}"}, {}
            self.revoked.append(token)
            return 200, None, {}
        if method == "DELETE" and place.path.startswith("/oauth/v1/refresh-tokens/"):
            self.revoked.append(unquote(place.path.rpartition("/")[2]))
            return 204, None, {}
        if bearer != f"Bearer {ACCESS}":
            return 401, [{"errorCode": "INVALID_SESSION_ID", "message": f"{bearer} expired"}], {}
        if method == "GET" and place.path == "/services/data/v62.0/query":
            (query,) = parse_qs(place.query)["q"]
            login = {"Id": "0YwB90000000001", "IsFrozen": self.is_frozen}
            return 200, {"totalSize": 1, "records": [login] if f"'{USER}'" in query else []}, {}
        if method == "PATCH" and place.path == "/services/data/v62.0/sobjects/UserLogin/0YwB90000000001":
            self.is_frozen = json.loads(body)["IsFrozen"]
            return 204, None, {}
        if method == "PATCH" and place.path in (
            "/services/data/v62.0/sobjects/Task/00T1",
            "/crm/v3/objects/contacts/7",
        ):
            self.canary = json.loads(body)
            return 204, None, {}
        return 404, [{"errorCode": "NOT_FOUND"}], {}


class Handler(BaseHTTPRequestHandler):
    server: Crm

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append(self.command)
        fault = self.server.faults.pop(0) if self.server.faults else ()
        if fault is None:
            self.connection.close()
            return
        bearer = self.headers.get("authorization", "")
        status, said, headers = fault or self.server.answer(self.command, self.path, bearer, body)
        data = b"" if said is None else json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def crm() -> Iterator[Crm]:
    server = Crm()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ports(crm: Crm, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """What the settings name, and the pauses that were made."""
    (tmp_path / "token").write_text(SECRET + "\n")
    made: list[Calls] = []

    def make(**more: Any) -> Any:
        url = f"http://127.0.0.1:{crm.server_port}"
        settings = parse_settings(
            f"""
[agents.bot]
[crm.sf]
kind = "salesforce"
url = "{url}"
token = "{more.get("token", ACCESS)}"
canary_object = "Task"
canary_record = "00T1"
canary_field = "Description"
[crm.hub]
kind = "hubspot"
url = "{url}"
token = "{ACCESS}"
canary_object = "contacts"
canary_record = "7"
canary_field = "note"
[credentials.refresh]
agent = "bot"
crm = "sf"
lever = "revoke_token"
token_file = "{tmp_path / "token"}"
[credentials.user]
agent = "bot"
crm = "sf"
lever = "freeze_user"
user = "{more.get("user", USER)}"
[credentials.app]
agent = "bot"
crm = "hub"
lever = "delete_refresh_token"
token_file = "{tmp_path / "token"}"
""",
            {},
        )
        pauses: list[float] = []
        calls = Calls(url, "sf", timeout_secs=more.get("timeout_secs", 5.0), sleep=pauses.append)
        made.append(calls)
        found = Salesforce(settings.crm["sf"], "sf", calls), HubSpot(settings.crm["hub"], "hub", calls)
        return *found, settings.credentials, pauses

    yield make
    for calls in made:
        calls.close()


def test_each_lever_does_what_it_says_and_may_be_pulled_twice(crm: Crm, ports: Any) -> None:
    salesforce, hubspot, credentials, _ = ports()
    assert "token revoked" in salesforce.take_away(credentials["refresh"])
    assert "user frozen" in salesforce.take_away(credentials["user"])
    assert crm.is_frozen
    assert "frozen already" in salesforce.take_away(credentials["user"])
    assert "up to 30 minutes" in hubspot.take_away(credentials["app"])
    assert crm.revoked == [SECRET, SECRET]
    salesforce.write_canary("now")
    assert crm.canary == {"Description": "now"}
    hubspot.write_canary("then")
    assert crm.canary == {"properties": {"note": "then"}}


def test_what_passes_by_itself_is_tried_again_with_the_pause_that_the_crm_asks_for(crm: Crm, ports: Any) -> None:
    salesforce, _, credentials, pauses = ports()
    crm.faults = [(429, None, {"Retry-After": "7"}), (503, None, {}), None, (429, None, {"Retry-After": "Thu"})]
    salesforce.take_away(credentials["refresh"])
    assert pauses == [7.0, 1.0, 2.0, 4.0]
    assert crm.revoked == [SECRET]


def test_who_never_answers_is_given_up_and_said_so(crm: Crm, ports: Any) -> None:
    _, hubspot, credentials, pauses = ports()
    crm.faults = [(500, {"category": "INTERNAL"}, {})] * ATTEMPTS
    with pytest.raises(CrmFailed, match=r"to delete a refresh token at sf: 500 INTERNAL, 5 times; ask again later"):
        hubspot.take_away(credentials["app"])
    assert (len(pauses), crm.revoked) == (ATTEMPTS - 1, [])
    crm.shutdown()
    with pytest.raises(CrmFailed, match=r"no answer \(ReadTimeout\), 5 times"):
        ports(timeout_secs=0.02)[1].take_away(credentials["app"])


@pytest.mark.parametrize(
    ("more", "credential", "said"),
    [
        ({"token": "old-one"}, "user", r"401 INVALID_SESSION_ID; the token of \[crm.sf\] is not accepted: renew it"),
        ({"user": "005000000000000"}, "user", "there is no login of 005000000000000"),
    ],
)
def test_a_refusal_is_final_and_says_what_to_do(crm: Crm, ports: Any, more: Any, credential: str, said: str) -> None:
    salesforce, _, credentials, pauses = ports(**more)
    with pytest.raises(CrmFailed, match=said):
        salesforce.take_away(credentials[credential])
    assert (pauses, len(crm.asked)) == ([], 1)


def test_no_secret_is_in_a_log_or_an_error(
    crm: Crm, ports: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    salesforce, hubspot, credentials, _ = ports()
    hubspot.take_away(credentials["app"])
    crm.revoked.append(SECRET)
    with pytest.raises(CrmFailed, match="400 invalid_token") as refused:
        salesforce.take_away(credentials["refresh"])
    (tmp_path / "token").write_text("two words")
    with pytest.raises(CrmFailed, match="holds no token") as unread:
        hubspot.take_away(credentials["app"])
    said = caplog.text + str(refused.value) + str(unread.value) + repr(refused.value)
    for secret in (SECRET, "refresh-tokens", "%2Frefresh", ACCESS, "two words"):
        assert secret not in said


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ('[crm.a]\nkind = "hubspot"\nurl = "http://crm.example"\ntoken = "x"', "crm.a.url"),
        ('[crm.a]\nkind = "hubspot"\nurl = "https://crm.example"', "crm.a.token_file"),
        ('[crm.a]\nkind = "hubspot"\nurl = "https://a.b"\ntoken = "x"\ncanary_record = "7"', "crm.a.canary_record"),
        ('[credentials.c]\nagent = "x"\ncrm = "a"\nlever = "freeze_user"\nuser = "005\'"', "credentials.c.user"),
        (
            '[agents.x]\n[crm.a]\nkind = "hubspot"\nurl = "https://a.b"\ntoken = "x"\n'
            '[credentials.c]\nagent = "x"\ncrm = "a"\nlever = "revoke_token"\ntoken = "y"', "credentials.c.lever",
        ),
    ],
)  # fmt: skip
def test_settings_that_can_not_work_are_refused(toml: str, problem: str) -> None:
    with pytest.raises(Exception, match=problem.replace(".", r"\.")):
        parse_settings(toml, {})
