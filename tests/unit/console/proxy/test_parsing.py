"""What a request of a CRM's API amounts to; and that whatever can be read in two ways is not read at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.proxy.asked import Asked, NotParsed
from console.proxy.crm import CRMS
from console.proxy.outcomes import judge
from console.proxy.reading import Call, read_call, read_path

LEAD, LEAD_2, ACCOUNT = "00Q000000000001", "00Q000000000002EAA", "001000000000001"
BASE = "/services/data/v65.0"
JSON = [(b"content-type", b"application/json")]


def call(method: str, url: str, body: Any = None, headers: Any = JSON) -> Call:
    path, _, query = url.partition("?")
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return read_call(method, path.encode(), query.encode(), headers, raw)


def asked(crm: str, method: str, url: str, body: Any = None) -> Asked:
    found = CRMS[crm](call(method, url, body))
    assert isinstance(found, Asked)
    return found


def sobject(id_: str = LEAD, type_: str = "Lead", **fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": type_}, **({"id": id_} if id_ else {}), **fields}


SALESFORCE: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("GET", f"/sobjects/Lead/{LEAD}?fields=Id,Name", None, {"action": "record.read", "record_ids": (LEAD,)}),
    ("GET", "/sobjects/Lead/describe", None, {"action": "record.read", "record_ids": ()}),
    ("POST", "/sobjects/Lead/", {"Name": "x"}, {"action": "record.create", "created": ({"Name": "x"},)}),
    (
        "PATCH", f"/sobjects/Lead/{LEAD}", {"Rating": None},
        {"action": "record.update", "record_ids": (LEAD,), "changes": {LEAD: {"Rating": None}}},
    ),
    ("DELETE", f"/sobjects/Lead/{LEAD}", None, {"action": "record.delete", "record_ids": (LEAD,)}),
    (
        "PATCH", "/composite/sobjects", {"allOrNone": False, "records": [sobject(A=1), sobject(LEAD_2, A=2)]},
        {"action": "record.update", "record_ids": (LEAD, LEAD_2), "changes": {LEAD: {"A": 1}, LEAD_2: {"A": 2}}},
    ),
    (
        "POST", "/composite/sobjects", {"records": [sobject("", A=1), sobject("", A=1)]},
        {"action": "record.create", "created": ({"A": 1}, {"A": 1}), "records": 2},
    ),
    ("DELETE", f"/composite/sobjects?ids={LEAD},{LEAD_2}", None, {"record_ids": (LEAD, LEAD_2), "object": "Lead"}),
    ("GET", f"/composite/sobjects/Lead?ids={LEAD}&fields=Name", None, {"record_ids": (LEAD,)}),
    ("POST", "/composite/sobjects/Lead", {"ids": [LEAD], "fields": ["Name"]}, {"action": "record.read"}),
    (
        "GET", "/query/?q=SELECT+Name+FROM+Lead+WHERE+Name+%3D+'it\\'s+FROM+x'+ORDER+BY+A,+B+LIMIT+20", None,
        {"action": "record.read", "object": "Lead", "records": 20},
    ),
]  # fmt: skip
HUBSPOT: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("GET", "/deals?limit=50&properties=amount", None, {"action": "record.read", "object": "deals", "records": 50}),
    ("GET", "/0-3/123", None, {"action": "record.read", "object": "deals", "record_ids": ("123",)}),
    ("POST", "/contact", {"properties": {"a": "1"}}, {"action": "record.create", "object": "contacts"}),
    ("PATCH", "/deals/9", {"properties": {"amount": "5"}}, {"changes": {"9": {"amount": "5"}}, "record_ids": ("9",)}),
    ("DELETE", "/Deal/9", None, {"action": "record.delete", "object": "deals"}),
    ("POST", "/deals/search", {"filterGroups": [], "limit": 200}, {"action": "record.read", "records": 200}),
    ("POST", "/deals/batch/read", {"inputs": [{"id": "1"}, {"id": "2"}]}, {"record_ids": ("1", "2")}),
    (
        "POST", "/deals/batch/update", {"inputs": [{"id": "1", "properties": {"a": "x"}}]},
        {"action": "record.update", "changes": {"1": {"a": "x"}}},
    ),
    ("POST", "/deals/batch/archive", {"inputs": [{"id": "1"}]}, {"action": "record.delete", "record_ids": ("1",)}),
    (
        "POST", "/notes/batch/create",
        {"inputs": [{"properties": {"hs_note_body": "x"}, "associations": [{"to": {"id": "7"}, "types": []}]}]},
        {"action": "note.create", "created": ({"hs_note_body": "x"},), "record_ids": ("7",)},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("crm", "method", "url", "body", "wanted"),
    [("salesforce", m, BASE + u, b, w) for m, u, b, w in SALESFORCE]
    + [("hubspot", m, "/crm/v3/objects" + u, b, w) for m, u, b, w in HUBSPOT],
)
def test_a_request_is_read_as_the_operation_that_it_is(crm: str, method: str, url: str, body: Any, wanted: Any):
    found = asked(crm, method, url, body)
    assert {name: getattr(found, name) for name in wanted} == wanted
    assert found.system == crm


@pytest.mark.parametrize(
    ("crm", "url", "body", "action"),
    [
        ("salesforce", "/sobjects/contract", {"A": 1}, "contract.create"),
        ("salesforce", "/sobjects/EmailMessage", {"ToAddress": "a@x.com; b@x.com"}, "email.send"),
        ("salesforce", "/sobjects/Event", {"WhoId": LEAD}, "meeting.schedule"),
        ("hubspot", "/0-49", {"properties": {"hs_email_to_email": "a@x.com"}}, "email.send"),
        ("hubspot", "/0-47", {"properties": {}}, "meeting.schedule"),
    ],
)
def test_a_record_whose_making_reaches_people_is_no_harmless_create(crm: str, url: str, body: Any, action: str):
    found = asked(crm, "POST", (BASE if crm == "salesforce" else "/crm/v3/objects") + url, body)
    assert found.action == action
    if "ToAddress" in body:
        assert found.recipient_ids == ("a@x.com", "b@x.com")


NOT_READ: list[tuple[str, str, str, Any]] = [
    # bulk, scripts, GraphQL, tooling, composites, upserts, invocable actions, what is not known
    ("salesforce", "POST", f"{BASE}/jobs/ingest", {"object": "Lead"}),
    ("salesforce", "POST", "/services/async/65.0/job", {}),
    ("salesforce", "POST", f"{BASE}/graphql", {"query": "{}"}),
    ("salesforce", "GET", f"{BASE}/tooling/executeAnonymous?anonymousBody=x", None),
    ("salesforce", "PATCH", f"{BASE}/tooling/sobjects/Lead/{LEAD}", {"A": 1}),
    ("salesforce", "POST", "/services/apexrest/Lead", {"A": 1}),
    ("salesforce", "POST", f"{BASE}/composite", {"compositeRequest": []}),
    ("salesforce", "POST", f"{BASE}/composite/batch", {"batchRequests": []}),
    ("salesforce", "POST", f"{BASE}/composite/graph", {"graphs": []}),
    ("salesforce", "POST", f"{BASE}/composite/tree/Lead", {"records": []}),
    ("salesforce", "PATCH", f"{BASE}/sobjects/Lead/Ext__c/5", {"A": 1, "ext__C": "6"}),
    ("salesforce", "PATCH", f"{BASE}/sobjects/Lead/{LEAD}/Account", {"A": 1}),
    ("salesforce", "PATCH", f"{BASE}/sobjects/Thing__c/a01000000000001/Owner__r", {"A": 1}),
    ("salesforce", "PATCH", f"{BASE}/sobjects/Lead/id/{LEAD}", {"A": 1}),
    ("salesforce", "PATCH", f"{BASE}/sobjects/User/Ext__c/5", {"A": 1}),
    ("salesforce", "PATCH", f"{BASE}/sobjects/Lead/Ext__c/5?updateOnly=true", {"A": 1}),
    ("salesforce", "POST", f"{BASE}/sobjects/Lead/Ext__c/5?_HttpMethod=PATCH", {"A": 1}),
    ("salesforce", "PATCH", f"{BASE}/sobjects/Lead/Ext__c/describe", {"A": 1}),
    ("salesforce", "PATCH", f"{BASE}/composite/sobjects/Lead/Ext__c", {"records": [sobject(A=1)]}),
    ("salesforce", "POST", f"{BASE}/actions/standard/emailSimple", {"inputs": []}),
    ("salesforce", "POST", f"{BASE}/process/approvals", {"requests": []}),
    ("salesforce", "POST", f"{BASE}/sobjects/PermissionSetAssignment", {"A": 1}),
    ("salesforce", "POST", f"{BASE}/sobjects/leadshare", {"A": 1}),
    ("salesforce", "DELETE", f"{BASE}/sobjects/AuthSession/{LEAD}", None),
    ("salesforce", "GET", "/services/oauth2/userinfo", None),
    ("hubspot", "POST", "/crm/v3/imports", {}),
    ("hubspot", "POST", "/crm/v3/objects/deals/merge", {"primaryObjectId": "1", "objectIdToMerge": "2"}),
    ("hubspot", "POST", "/crm/v3/objects/contacts/gdpr-delete", {"objectId": "1"}),
    ("hubspot", "POST", "/crm/v3/objects/contacts/batch/upsert", {"inputs": [{"id": "1", "properties": {}}]}),
    ("hubspot", "PUT", "/crm/v4/objects/deals/1/associations/contacts/2", {}),
    ("hubspot", "POST", "/automation/v4/flows", {}),
    ("hubspot", "POST", "/marketing/v3/transactional/single-email/send", {}),
    ("hubspot", "PATCH", "/crm/v3/objects/users/5", {"properties": {"a": "b"}}),
    # parameters and keys that change what is done, or whom it names
    ("salesforce", "POST", f"{BASE}/sobjects/Lead/{LEAD}?_HttpMethod=PATCH", {"A": 1}),
    ("salesforce", "POST", f"{BASE}/sobjects/Lead?_HttpMethod=DELETE", {"A": 1}),
    ("hubspot", "PATCH", "/crm/v3/objects/contacts/1?idProperty=email", {"properties": {"a": "b"}}),
    ("hubspot", "GET", "/crm/v3/objects/contacts/1?hapikey=secret", None),
    ("hubspot", "PATCH", "/crm/v3/objects/contacts/1", {"properties": {"a": "b"}, "idProperty": "email"}),
    ("hubspot", "PATCH", "/crm/v3/objects/contacts/01", {"properties": {"a": "b"}}),
    ("hubspot", "PATCH", "/crm/v3/objects/contacts/a@x.com", {"properties": {"a": "b"}}),
    ("hubspot", "POST", "/crm/v3/objects/deals/batch/update", {"inputs": [{"id": 1, "properties": {"a": "x"}}]}),
    ("salesforce", "PATCH", f"{BASE}/sobjects/Lead/{LEAD}", {"Id": LEAD_2, "A": 1}),
    ("salesforce", "PATCH", f"{BASE}/sobjects/Lead/{LEAD}", {"attributes": {"type": "Account"}, "A": 1}),
    ("salesforce", "PATCH", f"{BASE}/sobjects/Lead/{LEAD}", {"Owner": {"Username": "x"}}),
    ("salesforce", "PATCH", f"{BASE}/sobjects/Lead/00Q000000000002AAB", {"A": 1}),
    ("salesforce", "DELETE", f"{BASE}/composite/sobjects?ids={LEAD},{ACCOUNT}", None),
    ("salesforce", "DELETE", f"{BASE}/composite/sobjects?ids=a01000000000001", None),
    ("salesforce", "PATCH", f"{BASE}/composite/sobjects", {"records": [sobject(), sobject(ACCOUNT, "Account")]}),
    ("salesforce", "PATCH", f"{BASE}/composite/sobjects", {"records": [sobject(A=1), sobject(A=2)]}),
    ("salesforce", "PATCH", f"{BASE}/composite/sobjects", {"records": [{"id": LEAD, "A": 1}]}),
    ("salesforce", "PATCH", f"{BASE}/composite/sobjects", {"records": [], "allOrNone": True}),
    # more than 200 records, or nobody knows how many
    ("salesforce", "POST", f"{BASE}/composite/sobjects", {"records": [sobject("", A=1)] * 201}),
    ("salesforce", "DELETE", f"{BASE}/composite/sobjects?ids={','.join([LEAD] * 201)}", None),
    ("hubspot", "POST", "/crm/v3/objects/deals/batch/archive", {"inputs": [{"id": str(n + 1)} for n in range(101)]}),
    ("hubspot", "GET", "/crm/v3/objects/deals?limit=201", None),
    ("hubspot", "POST", "/crm/v3/objects/deals/search", {"limit": 10_000}),
    ("salesforce", "GET", f"{BASE}/query?q=SELECT+Name+FROM+Lead", None),
    ("salesforce", "GET", f"{BASE}/query?q=SELECT+Name+FROM+Lead+LIMIT+201", None),
    ("salesforce", "GET", f"{BASE}/query/01g000000000001-2000", None),
    # queries that read something else, too, or write
    ("salesforce", "GET", f"{BASE}/query?q=SELECT+(SELECT+Id+FROM+Contacts)+FROM+Account+LIMIT+5", None),
    ("salesforce", "GET", f"{BASE}/query?q=SELECT+Id+FROM+Lead+WHERE+Id+IN+(SELECT+x+FROM+y)+LIMIT+5", None),
    ("salesforce", "GET", f"{BASE}/query?q=SELECT+Owner.Email+FROM+Lead+LIMIT+5", None),
    ("salesforce", "GET", f"{BASE}/query?q=SELECT+Id+FROM+Lead+a,+Contact+b+LIMIT+5", None),
    ("salesforce", "GET", f"{BASE}/query?q=SELECT+Id+FROM+Lead+LIMIT+5+FOR+UPDATE", None),
    ("salesforce", "GET", f"{BASE}/query?q=SELECT+Id+FROM+Lead+WHERE+Name='LIMIT+5'", None),
    ("salesforce", "GET", f"{BASE}/query?q=SELECT+Id+FROM+Lead+WHERE+Name='open+LIMIT+5", None),
]


@pytest.mark.parametrize(("crm", "method", "url", "body"), NOT_READ)
def test_what_nobody_can_tell_for_certain_is_not_read(crm: str, method: str, url: str, body: Any):
    with pytest.raises(NotParsed):
        asked(crm, method, url, body)


@pytest.mark.parametrize(
    ("method", "url", "body", "headers", "word"),
    [
        ("GET", "/a/../b", None, JSON, "path"),
        ("GET", "/a/./b", None, JSON, "path"),
        ("GET", "/a/%2e%2e/b", None, JSON, "path"),
        ("GET", "/a%2fb", None, JSON, "path"),
        ("GET", "//a/b", None, JSON, "path"),
        ("GET", "/a//b", None, JSON, "path"),
        ("GET", "/a/b//", None, JSON, "path"),
        ("GET", "/a;x=1/b", None, JSON, "path"),
        ("GET", "/a\\b", None, JSON, "path"),
        ("GET", "a/b", None, JSON, "path"),
        ("GET", "*", None, JSON, "path"),
        ("GET", "/ａ", None, JSON, "path"),
        ("GET", "/a\x00", None, JSON, "path"),
        ("GET", "/a?b=1&b=2", None, JSON, "twice"),
        ("GET", "/a?b=1&B=2", None, JSON, "twice"),
        ("GET", "/a?b=%ff", None, JSON, "query"),
        ("GET", "/a?b=%00", None, JSON, "plain"),
        ("GET", "/a?b", None, JSON, "query"),
        ("GET", "/a", b"{}", JSON, "body"),
        ("DELETE", "/a", b"{}", JSON, "body"),
        ("PUT", "/a", b"{}", JSON, "method"),
        ("TRACE", "/a", None, JSON, "method"),
        ("POST", "/a", b"{}", [*JSON, (b"X-HTTP-Method-Override", b"DELETE")], "override"),
        ("POST", "/a", b"{}", [*JSON, (b"x_http_method_override", b"DELETE")], "override"),
        ("POST", "/a", b"{}", [*JSON, (b"x-original-url", b"/b")], "original"),
        ("POST", "/a", b"{}", [*JSON, (b"content-length", b"2"), (b"transfer-encoding", b"chunked")], "certain"),
        ("POST", "/a", b"{}", [*JSON, (b"content-length", b"2"), (b"Content-Length", b"9")], "twice"),
        ("POST", "/a", b"{}", [*JSON, *JSON], "twice"),
        ("POST", "/a", b"{}", [*JSON, (b"content-encoding", b"gzip")], "Encoding"),
        ("POST", "/a", b"{}", [(b"content-type", b"text/csv")], "text/csv"),
        ("POST", "/a", b"{}", [(b"content-type", b"application/json; charset=utf-16")], "utf-16"),
        ("POST", "/a", b"{}", [], "type"),
        ("POST", "/a", b'{"A":1,"A":2}', JSON, "twice"),
        ("POST", "/a", b'{"OwnerId":1,"ownerid":2}', JSON, "capitals"),
        ("POST", "/a", b'{"A":{"b":1,"B":2}}', JSON, "capitals"),
        ("POST", "/a", b'{"A":1,"\\u0041":2}', JSON, "twice"),
        ("POST", "/a", b'{"A":' * 100 + b"1" + b"}" * 100, JSON, "nested"),
        ("POST", "/a", b'{"A":"\xff"}', JSON, ""),
        ("POST", "/a", b'\xef\xbb\xbf{"A":1}', JSON, "JSON"),
        ("POST", "/a", b"[1]", JSON, "object"),
        ("POST", "/a", b'{"A":NaN}', JSON, "JSON"),
        ("POST", "/a", b'{"A":1} {}', JSON, "JSON"),
    ],
)  # fmt: skip
def test_a_request_that_can_be_read_in_two_ways_is_refused(method: str, url: str, body: Any, headers: Any, word: str):
    with pytest.raises(NotParsed, match=f"(?i){word}"):
        call(method, url, body, headers)


@settings(max_examples=25)
@given(st.text(alphabet="aZ09./%;\\_-~é\x00 ?#", max_size=12))
def test_a_path_is_sent_on_as_it_was_judged_or_not_at_all(text: str):
    raw = f"/a{text}".encode()
    try:
        segments = read_path(raw)
    except NotParsed:
        return
    again = "/" + "/".join(segments)
    assert again.encode() == raw.removesuffix(b"/")
    assert not {".", "..", ""} & set(segments)


@pytest.mark.parametrize(
    ("status", "body", "code", "made"),
    [
        (201, {"id": "00Q1", "success": True, "errors": []}, None, ("00Q1",)),
        (204, None, None, ()),
        (201, {"status": "COMPLETE", "results": [{"id": "1"}, {"id": "2"}]}, None, ("1", "2")),
        (400, [{"message": "bad", "errorCode": "FIELD_INTEGRITY_EXCEPTION"}], "FIELD_INTEGRITY_EXCEPTION", ()),
        (404, {"status": "error", "message": "no", "category": "OBJECT_NOT_FOUND"}, "OBJECT_NOT_FOUND", ()),
        (
            200, [{"id": "a", "success": True}, {"success": False, "errors": [{"statusCode": "LOCKED"}]}],
            "LOCKED", ("a",),
        ),
        (207, {"results": [{"id": "1"}], "errors": [{"status": "error", "category": "CONFLICT"}]}, "CONFLICT", ("1",)),
        (429, None, "HTTP 429", ()),
        (500, [{"message": "x", "errorCode": "UNKNOWN_EXCEPTION"}], "outcome_unknown", ()),
        (408, None, "outcome_unknown", ()),
        (302, None, "outcome_unknown", ()),
    ],
)  # fmt: skip
def test_an_answer_is_success_a_definite_failure_or_not_known(status: int, body: Any, code: str | None, made: Any):
    problem, ids = judge(status, b"" if body is None else json.dumps(body).encode())
    assert (problem.code if problem is not None else None, ids) == (code, made)
