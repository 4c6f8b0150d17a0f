"""What agents set up is taken back at servers that follow the CRMs' documented contracts, with their faults."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from governance.effects import Effect, Kind, NotPossible
from governance.settings_containment import CrmSettings
from streams.crm.calls import Calls
from streams.crm.hubspot_effects import HubSpotEffects
from streams.crm.ports import CrmFailed, Gone
from streams.crm.salesforce_effects import SalesforceEffects
from tests.unit.streams.test_crm import ACCESS, Answer, Handler

NOW_MS = 1_772_443_200_000
MINE, OTHER = "0055g00000abcde", "0055g00000other"
LEAD, EVENT, VERSION, FLOW, JOB = (f"{prefix}5g00000abcde"[:15] for prefix in ("00Q", "00U", "301", "300", "08e"))
DATA = "/services/data/v62.0"


class Crm(ThreadingHTTPServer):
    """Salesforce's and HubSpot's routes. ``faults`` are answered first; then as often ``after`` what was done."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[Answer | None] = []
        self.asked: list[str] = []
        self.done: list[str] = []
        by = {"CreatedById": MINE + "AAA", "LastModifiedById": MINE}
        self.rows: dict[str, list[dict[str, Any]]] = {
            "ActionCadenceTracker": [{"State": "Complete", "CreatedById": OTHER}, {"State": "Running", **by}],
            "Event": [{"EndDateTime": "2099-01-01T10:00:00.000+0000", **by}],
            "Flow": [{"DefinitionId": FLOW, "Status": status, **by} for status in ("Obsolete", "Active")],
            "CronTrigger": [{"State": "WAITING", "OwnerId": MINE}],
        }
        self.objects: dict[str, dict[str, Any]] = {
            "/crm/v3/objects/meetings/7": {
                "id": "7",
                "properties": {
                    "hs_created_by_user_id": "55", "hs_updated_by_user_id": "55",
                    "hs_meeting_end_time": "2099-01-01T10:00:00Z",
                },
            },
            "/marketing/v3/emails/8": {"id": "8", "createdById": "55", "updatedById": "55", "state": "SCHEDULED"},
        }  # fmt: skip
        self.action: Any = [{"actionName": "removeTargetFromSalesCadence", "isSuccess": True, "errors": None}]
        self.apex: Any = {"compiled": True, "success": True, "line": -1, "exceptionMessage": None}

    def answer(self, method: str, path: str, bearer: str, body: bytes) -> Answer:
        place = urlsplit(path)
        if bearer != f"Bearer {ACCESS}":
            return 401, [{"errorCode": "INVALID_SESSION_ID"}], {}
        if method == "GET" and place.path in (f"{DATA}/query", f"{DATA}/tooling/query"):
            (query,) = parse_qs(place.query)["q"]
            found = re.fullmatch(r"SELECT [\w, ]+ FROM (\w+) WHERE \w+ = '[0-9A-Za-z]{15}'", query)
            assert found is not None, query
            assert ("tooling" in place.path) == (found[1] == "Flow")
            return 200, {"totalSize": 1, "done": True, "records": self.rows[found[1]]}, {}
        if method == "GET" and place.path in self.objects:
            return 200, self.objects[place.path], {}
        said = self.written(method, place.path, parse_qs(place.query), json.loads(body) if body else None)
        if said is None:
            return 404, {"category": "OBJECT_NOT_FOUND"}, {}
        self.done.append(f"{method} {place.path}")
        return said

    def written(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer | None:
        if (method, path) == ("POST", f"{DATA}/actions/standard/removeTargetFromSalesCadence"):
            assert body == {"inputs": [{"targetId": LEAD, "completionReasonCode": "ManuallyRemoved"}]}
            return 200, self.action, {}
        if (method, path) == ("PATCH", f"{DATA}/tooling/sobjects/FlowDefinition/{FLOW}"):
            assert body == {"Metadata": {"activeVersionNumber": 0}}
            return 204, None, {}
        if (method, path) == ("GET", f"{DATA}/tooling/executeAnonymous/"):
            assert query == {"anonymousBody": [f"System.abortJob('{JOB}');"]}
            return 200, self.apex, {}
        if (method, path) == ("POST", "/marketing/v3/emails/8/unpublish"):
            return 204, None, {}
        if method == "DELETE" and path in (f"{DATA}/sobjects/Event/{EVENT}", "/crm/v3/objects/meetings/7"):
            self.objects.pop(path, None)
            return 204, None, {}
        return None


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
def cancel(crm: Crm) -> Iterator[Callable[..., str]]:
    """Cancel one thing at either CRM."""
    url, made = f"http://127.0.0.1:{crm.server_port}", []

    def ask(kind: Kind, record_id: str, token: str = ACCESS, timeout_secs: float = 5.0) -> str:
        calls = Calls(url, "crm", attempts=1, timeout_secs=timeout_secs)
        made.append(calls)
        is_hubspot = record_id.isdigit()
        settings = CrmSettings(kind="hubspot" if is_hubspot else "salesforce", url=url, token=token)
        port = (HubSpotEffects if is_hubspot else SalesforceEffects)(settings, "crm", calls)
        return port.cancel(Effect(kind=kind, record_id=record_id, made_by="55" if is_hubspot else MINE), NOW_MS)

    yield ask
    for calls in made:
        calls.close()


ALL: list[tuple[Kind, str, str, str]] = [
    ("enrolment", LEAD, "taken out", f"POST {DATA}/actions/standard/removeTargetFromSalesCadence"),
    ("meeting", EVENT, "recycle bin", f"DELETE {DATA}/sobjects/Event/{EVENT}"),
    ("flow", VERSION, "turned off", f"PATCH {DATA}/tooling/sobjects/FlowDefinition/{FLOW}"),
    ("flow", FLOW, "turned off", f"PATCH {DATA}/tooling/sobjects/FlowDefinition/{FLOW}"),
    ("job", JOB, "aborted", f"GET {DATA}/tooling/executeAnonymous/"),
    ("meeting", "7", "deleted", "DELETE /crm/v3/objects/meetings/7"),
    ("mail", "8", "cancelled", "POST /marketing/v3/emails/8/unpublish"),
]


@pytest.mark.parametrize(("kind", "id_", "said", "done"), ALL)
def test_each_sort_is_cancelled_by_its_documented_call(
    crm: Crm, cancel: Any, kind: Kind, id_: str, said: str, done: str
) -> None:
    assert said in cancel(kind, id_)
    assert crm.done == [done]


@pytest.mark.parametrize(("kind", "id_", "said", "done"), ALL)
@pytest.mark.parametrize("which", ["made", "changed"])
def test_what_a_person_made_or_changed_is_never_touched(
    crm: Crm, cancel: Any, kind: Kind, id_: str, said: str, done: str, which: str
) -> None:
    theirs = {"made": ("CreatedById", "OwnerId"), "changed": ("LastModifiedById",)}[which]
    for row in (row for rows in crm.rows.values() for row in rows):
        row.update({name: OTHER for name in theirs if name in row})
    name = {"made": "hs_created_by_user_id", "changed": "hs_updated_by_user_id"}[which]
    crm.objects["/crm/v3/objects/meetings/7"]["properties"][name] = "66"
    crm.objects["/marketing/v3/emails/8"][{"made": "createdById", "changed": "updatedById"}[which]] = "66"
    if which == "changed" and kind in ("enrolment", "job"):
        cancel(kind, id_)  # these are changed by the CRM itself, step by step
        return
    with pytest.raises(NotPossible, match="made or changed it: left as it is"):
        cancel(kind, id_)
    assert crm.done == []


def test_a_flow_with_one_version_of_a_persons_is_left(crm: Crm, cancel: Any) -> None:
    crm.rows["Flow"][0]["CreatedById"] = OTHER
    with pytest.raises(NotPossible, match=OTHER):
        cancel("flow", VERSION)
    assert crm.done == []


def test_what_the_crm_does_not_say_the_maker_of_is_left(crm: Crm, cancel: Any) -> None:
    crm.objects["/marketing/v3/emails/8"] = {"id": "8", "state": "SCHEDULED"}
    with pytest.raises(NotPossible, match="does not say who made it"):
        cancel("mail", "8")
    assert crm.done == []


def test_what_can_not_happen_any_more_is_gone(crm: Crm, cancel: Any) -> None:
    cancel("meeting", "7")
    crm.rows["ActionCadenceTracker"].pop()
    crm.rows["Event"][0]["EndDateTime"] = "2020-01-01T10:00:00.000+0000"
    crm.rows["Flow"].pop()
    crm.rows["CronTrigger"][0]["State"] = "DELETED"
    crm.objects["/marketing/v3/emails/8"]["state"] = "PUBLISHED"
    gone: list[tuple[Kind, str]] = [
        ("meeting", "7"), ("enrolment", LEAD), ("meeting", EVENT), ("flow", FLOW), ("job", JOB), ("mail", "8"),
    ]  # fmt: skip
    for kind, id_ in gone:
        with pytest.raises(Gone):
            cancel(kind, id_)
    assert crm.done == ["DELETE /crm/v3/objects/meetings/7"]


def test_faults_that_pass_are_told_from_refusals(crm: Crm, cancel: Any) -> None:
    crm.faults = [(429, None, {"Retry-After": "7"}), (503, None, {}), None]
    found = []
    for _ in range(3):
        with pytest.raises(CrmFailed) as failed:
            cancel("meeting", EVENT)
        found.append((failed.value.is_passing, failed.value.wait_secs))
    assert found == [(True, 7.0), (True, 0.5), (True, 0.5)]
    with pytest.raises(CrmFailed, match=r"401 INVALID_SESSION_ID; the token of \[crm.crm\] is not accepted") as refused:
        cancel("meeting", EVENT, token="old")
    assert (refused.value.is_passing, refused.value.status) == (False, 401)
    assert len(crm.asked) == 4
    assert crm.done == []


def test_an_answer_that_is_no_success_is_none(crm: Crm, cancel: Any) -> None:
    crm.action = [{"isSuccess": False, "errors": [{"statusCode": "INVALID"}]}]
    with pytest.raises(CrmFailed, match="the action was not a success"):
        cancel("enrolment", LEAD)
    crm.action = "<html>maintenance</html>"
    with pytest.raises(CrmFailed, match="the action was not a success"):
        cancel("enrolment", LEAD)
    crm.apex = {"compiled": True, "success": False, "exceptionMessage": "no such job"}
    with pytest.raises(CrmFailed, match="Author Apex"):
        cancel("job", JOB)
