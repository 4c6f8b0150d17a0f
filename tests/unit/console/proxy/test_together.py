"""Requests that are several operations: upserts and composites; all of them pass, or none, and each has its outcome."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from console.errors import Refused
from console.proxy.asked import Asked, Done, NotParsed, Problem, Together
from console.proxy.crm import CRMS
from console.proxy.gatekeeper import Gatekeeper
from console.proxy.outcomes import judge, judge_composite, listed
from console.proxy.reading import read_call
from governance.operation import checksum
from tripline_client import AsyncTripline

BASE, LEAD, LEAD_2 = "/services/data/v65.0", "00Q000000000001", "00Q000000000002"


def together(crm: str, method: str, path: str, body: Any) -> Together:
    head = [(b"content-type", b"application/json")]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = CRMS[crm](read_call(method, path.encode(), b"", head, raw))
    assert isinstance(found, Together)
    return found


def sub(method: str, url: str, name: str, body: Any = None) -> dict[str, Any]:
    return {"method": method, "url": BASE + url, "referenceId": name, **({"body": body} if body is not None else {})}


def composite(*subrequests: Any, path: str = f"{BASE}/composite", **more: Any) -> Together:
    return together("salesforce", "POST", path, {**more, "compositeRequest": list(subrequests)})


def record(value: Any, type_: str = "Lead", **fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": type_}, "Ext__c": value, **fields}


@pytest.mark.parametrize(
    ("crm", "method", "path", "body", "changes", "actions"),
    [
        (
            "salesforce", "PATCH", f"{BASE}/sobjects/Lead/Ext__c/A-5", {"Rating": "Hot"},
            {"lead:ext__c=A-5": {"Rating": "Hot"}}, ["record.update", "record.create"],
        ),
        (
            "salesforce", "PATCH", f"{BASE}/composite/sobjects/lead/ext__c",
            {"allOrNone": True, "records": [record(5, A=1), record("6", A=2)]},
            {"lead:ext__c=5": {"A": 1}, "lead:ext__c=6": {"A": 2}}, ["record.update", "record.create"],
        ),
        (
            "salesforce", "PATCH", f"{BASE}/sobjects/contract/Ext__c/5", {"A": 1},
            {"contract:ext__c=5": {"A": 1}}, ["record.update", "contract.create"],
        ),
        (
            "salesforce", "PATCH", f"{BASE}/sobjects/EmailMessage/Ext__c/5", {"ToAddress": "a@x.com"},
            {"emailmessage:ext__c=5": {"ToAddress": "a@x.com"}}, ["email.send"],
        ),
        (
            "hubspot", "POST", "/crm/v3/objects/0-1/batch/upsert",
            {"inputs": [{"id": "A@x.com", "idProperty": "email", "properties": {"city": "Bern"}}]},
            {"contacts:email=A@x.com": {"city": "Bern"}}, ["record.update", "record.create"],
        ),
    ],
)  # fmt: skip
def test_an_upsert_has_to_be_allowed_as_a_change_and_as_a_new_record(
    crm: str, method: str, path: str, body: Any, changes: Any, actions: list[str]
):
    found = together(crm, method, path, body)
    assert [part.action for part in found.parts] == actions
    for part in found.parts:
        assert (dict(part.changes), part.record_ids, part.is_keyed) == (changes, tuple(changes), True)
    if "email.send" in actions:
        assert found.parts[0].recipient_ids == ("a@x.com",)


def test_a_composite_is_one_operation_for_each_action_and_kind_and_is_written_anew():
    found = composite(
        sub("POST", "/sobjects/Account/", "acc", {"Name": "x"}),
        sub("POST", "/sobjects/Contact", "con", {"LastName": "y", "AccountId": "@{acc.id}"}),
        sub("PATCH", f"/sobjects/Lead/{LEAD}", "one", {"Rating": "Hot"}),
        sub("PATCH", "/composite/sobjects", "more", {"records": [
            {"attributes": {"type": "Lead"}, "id": LEAD_2, "Rating": "Cold"}]}),
        sub("PATCH", "/sobjects/Lead/Ext__c/5", "up", {"Rating": "Hot"}),
        sub("GET", "/query?q=SELECT+Id+FROM+Lead+LIMIT+5", "all"),
        allOrNone=True,
    )  # fmt: skip
    told = [(part.action, part.object, part.refs) for part in found.parts]
    assert told == [
        ("record.create", "Account", ("acc",)), ("record.create", "Contact", ("con",)),
        ("record.update", "Lead", ("one", "more")), ("record.update", "Lead", ("up",)),
        ("record.create", "Lead", ("up",)), ("record.read", "Lead", ("all",)),
    ]  # fmt: skip
    assert found.parts[2].changes == {LEAD: {"Rating": "Hot"}, LEAD_2: {"Rating": "Cold"}}
    assert [part.records for part in found.parts] == [1, 1, 2, 1, 1, 5]
    sent = json.loads(found.body or b"")
    assert (sent["allOrNone"], len(sent["compositeRequest"])) == (True, 6)
    assert sent["compositeRequest"][0]["url"] == f"{BASE}/sobjects/Account", "as it was judged"
    assert sent["compositeRequest"][1]["body"] == {"LastName": "y", "AccountId": "@{acc.id}"}


MAKE = sub("POST", "/sobjects/Account", "acc", {"Name": "x"})
FIND = sub("GET", "/query?q=SELECT+Id+FROM+Lead+LIMIT+5", "found")
HOSTILE: list[tuple[Any, ...]] = [
    (),
    (sub("POST", "/composite", "a", {"compositeRequest": [MAKE]}),),
    (sub("POST", "/composite/graph", "a", {"graphs": []}),),
    (sub("POST", "/composite/batch", "a", {"batchRequests": []}),),
    (MAKE, sub("PATCH", "/sobjects/Account/@{acc.id}", "b", {"Name": "y"})),
    (MAKE, sub("DELETE", "/sobjects/Account/@{acc.id}", "b")),
    (MAKE, sub("GET", "/query?q=SELECT+Id+FROM+Lead+WHERE+A='@{acc.id}'+LIMIT+1", "b")),
    (FIND, sub("POST", "/sobjects/Task", "b", {"WhoId": "@{found.records[0].Id}"})),
    (FIND, sub("POST", "/sobjects/Task", "b", {"WhoId": "@{found.id}"})),
    (sub("POST", "/sobjects/Task", "b", {"WhatId": "@{acc.id}"}), MAKE),
    (MAKE, sub("POST", "/sobjects/Task", "b", {"Subject": "for @{acc.id}"})),
    (MAKE, sub("POST", "/sobjects/Task", "b", {"WhatId": "@{ACC.id}"})),
    (MAKE, sub("POST", "/sobjects/Task", "b", {"WhatId": "@{acc.Id}"})),
    (MAKE, sub("POST", "/sobjects/Task", "ACC", {"A": 1})),
    (sub("POST", "/sobjects/../tooling/sobjects/ApexClass", "a", {"A": 1}),),
    (sub("POST", "/sobjects/%2e%2e/x", "a", {"A": 1}),),
    (sub("POST", "//sobjects/Lead", "a", {"A": 1}),),
    (sub("POST", "/sobjects/Lead?_HttpMethod=DELETE", "a", {"A": 1}),),
    (sub("POST", "/sobjects/Lead?", "a", {"A": 1}),),
    (sub("POST", "/sobjects/permissionSETassignment", "a", {"A": 1}),),
    (MAKE, sub("POST", "/actions/standard/emailSimple", "b", {"inputs": []})),
    (sub("PUT", "/sobjects/Lead", "a", {"A": 1}),),
    (sub("patch", f"/sobjects/Lead/{LEAD}", "a", {"A": 1}),),
    (sub("DELETE", f"/sobjects/Lead/{LEAD}", "a", {"A": 1}),),
    (sub("POST", "/sobjects/Lead", "a", [{"A": 1}]),),
    (sub("POST", "/sobjects/Lead", "a b", {"A": 1}),),
    ({**MAKE, "httpHeaders": {"X-HTTP-Method-Override": "DELETE"}},),
    ({**MAKE, "url": "/services/data/v64.0/sobjects/Account"},),
    ({**MAKE, "url": "https://other.example/services/data/v65.0/sobjects/Account"},),
    ({**MAKE, "url": "/services/data/v65.0/sobjects/Account\u2028"},),
    (sub("PATCH", f"/sobjects/Lead/{LEAD}", "a", {"A": 1}), sub("PATCH", f"/sobjects/Lead/{LEAD}", "b", {"A": 2})),
    (sub("PATCH", f"/sobjects/Lead/{LEAD}", "a", {"A": 1}),
     sub("PATCH", f"/sobjects/lead/{LEAD}{checksum(LEAD)}", "b", {"A": 2})),
    (sub("PATCH", "/sobjects/Lead/Ext__c/a", "a", {"A": 1}), sub("PATCH", "/sobjects/Lead/Ext__c/A", "b", {"A": 2})),
    (sub("POST", "/sobjects/Lead", "a", {"LastName": "x"}), sub("POST", "/sobjects/Event", "b", {"WhoId": "@{a.id}"})),
    (sub("POST", "/sobjects/Lead", "a", {"LastName": "x"}), sub("POST", "/composite/sobjects", "b", {"records": [
        {"attributes": {"type": "EmailMessage"}, "ToAddress": "@{a.id}"}]})),
    tuple(sub("POST", "/sobjects/Lead", f"a{at}", {"A": at}) for at in range(26)),
    tuple(sub("POST", f"/sobjects/Thing{at}__c", f"a{at}", {"A": at}) for at in range(11)),
    tuple(sub("POST", "/composite/sobjects", f"a{at}", {"records": [{"attributes": {"type": "Lead"}, "A": 1}] * 101})
          for at in range(2)),
    (7,),
]  # fmt: skip


@pytest.mark.parametrize("subrequests", HOSTILE)
def test_a_composite_of_which_one_part_can_not_be_read_is_not_read(subrequests: tuple[Any, ...]):
    with pytest.raises(NotParsed):
        composite(*subrequests)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/services/data/v37.0/composite", {"compositeRequest": [MAKE]}),
        ("/services/data/v9.0/composite", {"compositeRequest": [MAKE]}),
        (f"{BASE}/composite", {"compositeRequest": [MAKE], "allOrNone": "true"}),
        (f"{BASE}/composite", {"compositeRequest": [MAKE], "graphs": []}),
        (f"{BASE}/composite", {"compositeRequest": {"0": MAKE}}),
        (f"{BASE}/composite", b'{"compositeRequest":[],"CompositeRequest":[]}'),
        (f"{BASE}/composite", b'{"compositeRequest":[{"method":"GET","method":"DELETE"}]}'),
        (f"{BASE}/composite", b'{"compositeRequest":[{"url":"/a","URL":"/b"}]}'),
    ],
)
def test_a_composite_that_could_be_read_in_two_ways_is_not_read(path: str, body: Any):
    with pytest.raises(NotParsed):
        together("salesforce", "POST", path, body)


@pytest.mark.parametrize(
    ("crm", "path", "body"),
    [
        ("salesforce", f"{BASE}/composite/sobjects/Lead/Ext__c", {"records": [record("5"), record("5")]}),
        ("salesforce", f"{BASE}/composite/sobjects/Lead/Ext__c", {"records": [record("a"), record("A")]}),
        ("salesforce", f"{BASE}/composite/sobjects/Lead/Ext__c", {"records": [record("5", "Account")]}),
        ("salesforce", f"{BASE}/composite/sobjects/Lead/Ext__c", {"records": [record(None)]}),
        ("salesforce", f"{BASE}/composite/sobjects/Lead/Ext__c", {"records": [record(True)]}),
        ("salesforce", f"{BASE}/composite/sobjects/Lead/Ext__c", {"records": [record("5", Id=LEAD)]}),
        ("salesforce", f"{BASE}/composite/sobjects/Lead/Id", {"records": [record("5")]}),
        ("salesforce", "/services/data/v45.0/composite/sobjects/Lead/Ext__c", {"records": [record("5")]}),
        ("hubspot", "/crm/v3/objects/contacts/batch/upsert", {"inputs": [{"id": "1", "properties": {}}]}),
        ("hubspot", "/crm/v3/objects/contacts/batch/upsert", {"inputs": [
            {"id": "1", "idProperty": "hs_object_id", "properties": {}}]}),
        ("hubspot", "/crm/v3/objects/contacts/batch/upsert", {"inputs": [
            {"id": "a", "idProperty": "x", "properties": {}}, {"id": "A", "idProperty": "X", "properties": {}}]}),
        ("hubspot", "/crm/v3/objects/contacts/batch/upsert", {"inputs": [
            {"id": "a", "idProperty": "x", "properties": {}}, {"id": "b", "idProperty": "y", "properties": {}}]}),
        ("hubspot", "/crm/v3/objects/contacts/batch/upsert", {"inputs": [
            {"id": "a@x.com", "idProperty": "email", "properties": {"Email": "b@x.com"}}]}),
        ("hubspot", "/crm/v3/objects/users/batch/upsert", {"inputs": [
            {"id": "a", "idProperty": "x", "properties": {}}]}),
    ],
)  # fmt: skip
def test_an_upsert_that_does_not_name_each_record_once_is_not_read(crm: str, path: str, body: Any):
    with pytest.raises(NotParsed):
        together(crm, "PATCH" if crm == "salesforce" else "POST", path, body)


@pytest.mark.parametrize("key", ["5.json", "5.XML", "a.b.json"])
def test_a_key_whose_end_may_be_a_format_is_not_read_in_a_path_but_in_a_body(key: str):
    with pytest.raises(NotParsed):
        together("salesforce", "PATCH", f"{BASE}/sobjects/Lead/Ext__c/{key}", {"Rating": "Hot"})
    found = together("salesforce", "PATCH", f"{BASE}/composite/sobjects/Lead/Ext__c", {"records": [record(key)]})
    assert found.parts[0].record_ids == (f"lead:ext__c={key}",)


@pytest.mark.parametrize(
    ("status", "said", "records", "code"),
    [
        (200, [{"id": "1", "success": True}, {"id": "2", "success": True}], 2, None),
        (200, [{"id": "1", "success": True}], 2, "outcome_unknown"),
        (200, {"results": [{"id": "1"}]}, 2, "outcome_unknown"),
        (200, [], 2, "outcome_unknown"),
        (200, "done", 2, "outcome_unknown"),
        (204, None, 2, None),
        (200, {"id": "1"}, 1, None),
        (207, {"results": [{"id": "1"}], "errors": [{"status": "error", "category": "BAD"}]}, 3, "BAD"),
        (500, [], 2, "outcome_unknown"),
        (400, [{"errorCode": "LOCKED", "message": ""}], 2, "LOCKED"),
    ],
)
def test_of_several_records_each_has_to_be_named_by_the_answer(status: int, said: Any, records: int, code: str | None):
    problem, _ = judge(status, json.dumps(said).encode() if said is not None else b"", records)
    assert (problem.code if problem is not None else None) == code


def test_so_many_records_has_an_answer_to_name():
    ids = ("1", "2", "3")
    assert listed(Asked(action="record.delete", record_ids=ids)) == 3
    assert listed(Asked(action="record.read", record_ids=ids, records=9)) == 0
    assert listed(Asked(action="record.create", record_ids=ids, created=({"A": 1},))) == 1, "these it is linked to"
    assert listed(Asked(action="record.update", changes={"1": {}, "2": {}})) == 2


def answer(name: str, status: int, body: Any) -> dict[str, Any]:
    return {"referenceId": name, "httpStatusCode": status, "httpHeaders": {}, "body": body}


def test_each_part_of_a_composite_has_the_outcome_of_its_subrequests():
    parts = (Asked(action="record.create", refs=("a", "b")), Asked(action="record.update", refs=("c",)))
    made = answer("a", 201, {"id": "1", "success": True})
    bad = [{"message": "bad", "errorCode": "LOCKED"}]

    def told(*answers: Any, status: int = 200, **more: Any) -> list[tuple[str | None, tuple[str, ...]]]:
        whole = Together(parts=parts, is_composite=True, **more)
        found = judge_composite(status, json.dumps({"compositeResponse": answers}).encode(), whole)
        return [(problem.code if problem is not None else None, ids) for problem, ids in found]

    well = (made, answer("b", 201, {"id": "2", "success": True}), answer("c", 204, None))
    assert told(*well) == [(None, ("1", "2")), (None, ())]
    assert told(*well[:2], answer("c", 400, bad)) == [(None, ("1", "2")), ("LOCKED", ())]
    assert told(made, answer("b", 400, bad), answer("c", 500, bad)) == [("LOCKED", ("1",)), ("outcome_unknown", ())]
    assert told(*well[:2]) == [(None, ("1", "2")), ("outcome_unknown", ())]
    assert told(*well, status=500) == [("outcome_unknown", ())] * 2
    assert told(status=400) == [("HTTP 400", ())] * 2
    assert told(*well, well[0]) == [("outcome_unknown", ()), (None, ())], "two answers to one are none"
    halted = [{"message": "rolled back", "errorCode": "PROCESSING_HALTED"}]
    back = (answer("a", 400, halted), answer("b", 400, halted), answer("c", 400, bad))
    assert told(*back, is_atomic=True) == [("PROCESSING_HALTED", ()), ("LOCKED", ())]
    assert told(*well[:2], answer("c", 400, bad), is_atomic=True) == [("PROCESSING_HALTED", ()), ("LOCKED", ())]
    assert told(*well[:2], answer("c", 500, bad), is_atomic=True) == [("outcome_unknown", ())] * 2
    assert told(*well, is_atomic=True) == told(*well)


@pytest.mark.parametrize("said", [5, "a", {"referenceId": "a"}, [{"referenceId": ["a"]}], [None], None])
def test_an_answer_that_is_none_to_a_composite_leaves_an_unknown_outcome(said: Any):
    whole = Together(parts=(Asked(action="record.create", refs=("a",)),), is_composite=True)
    for body in ({"compositeResponse": said}, said):
        ((problem, made),) = judge_composite(200, json.dumps(body).encode(), whole)
        assert (problem.code if problem is not None else None, made) == ("outcome_unknown", ())


class World:
    """A gate in memory that says no to these actions."""

    def __init__(self, *refused: str, slow: dict[str, float] | None = None) -> None:
        self.refused = set(refused)
        self.slow = slow or {}
        self.after: Callable[[str], None] = lambda _: None
        self.asked: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.done = 0

    def let(self, whole: Together, done: Done) -> Any:
        async def do(_: str) -> Done:
            self.done += 1
            return done

        async def story() -> Any:
            client = AsyncTripline("http://gate", agent_id="bot")
            client._http = httpx.AsyncClient(base_url="http://gate", transport=httpx.MockTransport(self._gate))
            try:
                return (await Gatekeeper(client).let_all(whole.parts, {}, do)).answer
            except Refused as refused:
                return refused.code
            finally:
                await client.close()

        return asyncio.run(story())

    async def _gate(self, request: httpx.Request) -> httpx.Response:
        said = json.loads(request.content)
        if request.url.path == "/v1/events":
            self.reports.append(said["data"])
            return httpx.Response(200, json={})
        self.asked.append(said)
        verdict = "deny" if said["action"] in self.refused else "allow"
        await asyncio.sleep(self.slow.get(said["action"], 0))
        self.after(said["action"])
        told = {"decision": verdict, "decision_id": f"d{len(self.asked)}", "epoch": 1, "rule": "r", "reason": verdict}
        return httpx.Response(200, json=told)


@pytest.mark.parametrize(
    ("crm", "method", "path", "body"),
    [
        ("salesforce", "PATCH", f"{BASE}/sobjects/Lead/Ext__c/%s", {"Rating": "Hot"}),
        ("hubspot", "POST", "/crm/v3/objects/contacts/batch/upsert", "%s"),
    ],
)
def test_upserts_of_keys_in_other_capitals_count_as_other_records(crm: str, method: str, path: str, body: Any):
    def ids(key: str) -> tuple[str, ...]:
        inputs = {"inputs": [{"id": key, "idProperty": "code", "properties": {"code": key, "city": "Bern"}}]}
        whole = together(crm, method, path % key if "%s" in path else path, inputs if body == "%s" else body)
        return whole.parts[0].record_ids

    assert len({*ids("abc"), *ids("ABC"), *ids("aBc")}) == 3


def test_what_was_allowed_too_long_ago_is_asked_for_again_before_all_is_done(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.proxy.gatekeeper.RECHECK_SECS", 0.05)
    world = World(slow={"record.read": 0.1})
    whole = composite(sub("PATCH", f"/sobjects/Lead/{LEAD}", "one", {"Rating": "Hot"}), FIND)
    held = {"record.update"}

    def turn(action: str) -> None:  # its writes are to wait from now on; reads go on
        world.refused = held if action == "record.read" else set()

    world.after = turn
    assert world.let(whole, Done(answer="yes")) == "denied"
    assert world.done == 0
    assert [each["action"] for each in world.asked] == ["record.update", "record.read", "record.update"]
    assert {each["error"]["code"] for each in world.reports} == {"not_sent"}


def test_a_gate_that_answers_too_slowly_to_be_sure_lets_nothing_pass(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.proxy.gatekeeper.RECHECK_SECS", 0.05)
    monkeypatch.setattr("console.proxy.gatekeeper._QUICK_SECS", 0.1)
    world = World(slow={"record.read": 0.06, "record.update": 0.06})
    whole = composite(sub("PATCH", f"/sobjects/Lead/{LEAD}", "one", {"Rating": "Hot"}), FIND)
    assert (world.let(whole, Done(answer="yes")), world.done) == ("gate_unavailable", 0)


UPSERT = together("salesforce", "PATCH", f"{BASE}/sobjects/Lead/Ext__c/5", {"Rating": "Hot"})


def test_what_is_allowed_in_all_its_parts_is_done_once_and_each_is_reported_with_the_records_own_id():
    world = World()
    assert world.let(UPSERT, Done(answer="yes", made=(LEAD,))) == "yes"
    assert world.done == 1
    assert [(each["action"], each["changes"]) for each in world.asked] == [
        (action, {"lead:ext__c=5": {"Rating": {"after": "Hot"}}}) for action in ("record.update", "record.create")
    ]
    assert {(each["decision_id"], each["outcome"], *each["record_ids"]) for each in world.reports} == {
        ("d1", "ok", LEAD), ("d2", "ok", LEAD)
    }  # fmt: skip


@pytest.mark.parametrize("refused", ["record.update", "record.create"])
def test_when_one_part_is_refused_nothing_is_done(refused: str):
    world = World(refused)
    assert (world.let(UPSERT, Done(answer="yes")), world.done) == ("denied", 0)
    wanted = [] if refused == "record.update" else [("d1", "not_sent")]
    assert [(each["decision_id"], each["error"]["code"]) for each in world.reports] == wanted


def test_each_part_is_reported_with_an_outcome_of_its_own():
    world = World()
    whole = composite(MAKE, sub("PATCH", f"/sobjects/Lead/{LEAD}", "one", {"Rating": "Hot"}))
    problem = Problem("LOCKED", "locked")
    world.let(whole, Done(answer="yes", problem=problem, parts=((None, ("001000000000001",)), (problem, ()))))
    told = {each["decision_id"]: (each["outcome"], each["record_ids"]) for each in world.reports}
    assert told == {"d1": ("ok", ["001000000000001"]), "d2": ("error", [LEAD])}
