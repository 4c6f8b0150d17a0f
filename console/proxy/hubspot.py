"""HubSpot's CRM objects API (``crm/v3/objects``): single records, batches, lists and searches. Nothing else is parsed.

Paths and bodies follow "CRM API | Objects" of HubSpot's developer documentation. A kind of record has several names
(``deal``, ``deals``, ``0-3``): the gate is asked for the plural one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from console.proxy.asked import Asked, Fields, NotParsed, Together, at_most
from console.proxy.reading import Call, read_count, read_fields, read_name
from console.proxy.upserts import Kinds, upserted
from governance.operation import keyed_id

SYSTEM = "hubspot"
KNOWN = "/crm/v3/objects/TYPE[/ID], …/TYPE/batch/read|create|update|upsert|archive, …/TYPE/search"
_TYPE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,99}|[0-9]{1,3}-[0-9]{1,12}|p[0-9]{1,20}_[a-zA-Z][a-zA-Z0-9_]{0,99}")
_ID = re.compile(r"[1-9][0-9]{0,19}")
_MOST_INPUTS = 100
_USUAL_PAGE = 10
_KINDS = {
    "contacts": ("contact", "0-1"), "companies": ("company", "0-2"), "deals": ("deal", "0-3"),
    "tickets": ("ticket", "0-5"), "products": ("product", "0-7"), "line_items": ("line_item", "0-8"),
    "quotes": ("quote", "0-14"), "communications": ("communication", "0-18"), "tasks": ("task", "0-27"),
    "notes": ("note", "0-46"), "meetings": ("meeting_event", "meeting", "0-47"), "calls": ("call", "0-48"),
    "emails": ("email", "0-49"), "postal_mail": ("0-116",), "leads": ("lead", "0-136"),
    "users": ("user", "0-115"), "contracts": ("contract",),
}  # fmt: skip
_NAMES = {alias: name for name, aliases in _KINDS.items() for alias in (name, *aliases)}
_CREATES = {
    "calls": "call.place", "communications": "sms.send", "contracts": "contract.create", "emails": "email.send",
    "meetings": "meeting.schedule", "notes": "note.create", "postal_mail": "email.send", "quotes": "quote.create",
    "tasks": "task.create",
}  # fmt: skip
_REACHES = {name: _CREATES[name] for name in ("communications", "emails", "meetings")}
_RECIPIENTS = ("hs_email_to_email", "hs_email_cc_email", "hs_email_bcc_email")
_UPSERTS = Kinds(creates=_CREATES, reaches=_REACHES)
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,254}")
_READS = ("properties", "propertiesWithHistory", "associations", "archived", "limit", "after")


def parse(call: Call) -> Asked | Together:
    """The operation behind a request. Raises NotParsed."""
    if call.segments[:3] != ("crm", "v3", "objects") or len(call.segments) < 4:
        raise NotParsed("this path is not known", KNOWN)
    kind, *rest = call.segments[3:]
    words = ("batch", "search", "read", "create", "update", "upsert", "archive")
    route = _ROUTES.get((call.method, "/".join(each if each in words else "*" for each in rest)))
    if route is None or not _TYPE.fullmatch(kind):
        raise NotParsed(f"{call.method} of this path is not known", KNOWN)
    object_ = _NAMES.get(kind.casefold(), kind.casefold())
    if object_ == "users" and call.method != "GET":
        raise NotParsed("users says who may do what", "people do that")
    return route(call, object_)


def _list(call: Call, object_: str) -> Asked:
    call.take(*_READS)
    return _asked("record.read", object_, records=at_most(read_count(call.query.get("limit"), _USUAL_PAGE)))


def _read(call: Call, object_: str) -> Asked:
    call.take(*_READS[:4])
    return _asked("record.read", object_, record_ids=(_id(call.segments[4]),))


def _create(call: Call, object_: str) -> Asked:
    call.take()
    return _created(object_, [_input(call.object("properties", "associations"))])


def _update(call: Call, object_: str) -> Asked:
    call.take()
    return _changed(object_, {_id(call.segments[4]): _properties(call.object("properties"))})


def _archive(call: Call, object_: str) -> Asked:
    call.take()
    return _asked("record.delete", object_, record_ids=(_id(call.segments[4]),))


def _search(call: Call, object_: str) -> Asked:
    call.take()
    body = call.object("filterGroups", "sorts", "query", "properties", "limit", "after")
    return _asked("record.read", object_, records=at_most(read_count(body.get("limit"), _USUAL_PAGE)))


def _batch_read(call: Call, object_: str) -> Asked:
    call.take("archived")
    inputs = _inputs(call, "properties", "propertiesWithHistory")
    return _asked("record.read", object_, record_ids=tuple(_only_id(each) for each in inputs))


def _batch_create(call: Call, object_: str) -> Asked:
    call.take()
    return _created(object_, [_input(_known(each, "properties", "associations")) for each in _inputs(call)])


def _batch_update(call: Call, object_: str) -> Asked:
    call.take()
    changes: dict[str, Fields] = {}
    for each in _inputs(call):
        record_id = _id(_known(each, "id", "properties").get("id"))
        if record_id in changes:
            raise NotParsed(f"the record {record_id} is there twice", "send each record once")
        changes[record_id] = _properties(each)
    return _changed(object_, changes)


def _batch_upsert(call: Call, object_: str) -> Together:
    call.take()
    changes: dict[str, Fields] = {}
    fields: set[str] = set()
    for each in _inputs(call):
        one = _known(each, "id", "idProperty", "properties", "objectWriteTraceId")
        field, value = read_name(one.get("idProperty"), "idProperty"), one.get("id")
        if field.casefold() in ("id", "hs_object_id") or not isinstance(value, str) or not _KEY.fullmatch(value):
            raise NotParsed("idProperty is the name of a unique property, and id its value", "for ids: batch/update")
        key = keyed_id(object_, field, value)
        if key in changes:
            raise NotParsed(f"{key} is there twice", "send each record once")
        changes[key] = _properties(one)
        if any(name.casefold() == field.casefold() and new != value for name, new in changes[key].items()):
            raise NotParsed(f"{field} is to be two things", "id and properties say the same, or id alone says it")
        fields.add(field.casefold())
    if len(fields) != 1:
        raise NotParsed("several properties that name records", "send the inputs of each by themselves")
    return upserted(SYSTEM, object_, changes, _UPSERTS, _recipients(tuple(changes.values())))


def _batch_archive(call: Call, object_: str) -> Asked:
    call.take()
    return _asked("record.delete", object_, record_ids=tuple(_only_id(each) for each in _inputs(call)))


_ROUTES: dict[tuple[str, str], Callable[[Call, str], Asked | Together]] = {
    ("GET", ""): _list,
    ("POST", ""): _create,
    ("GET", "*"): _read,
    ("PATCH", "*"): _update,
    ("DELETE", "*"): _archive,
    ("POST", "search"): _search,
    ("POST", "batch/read"): _batch_read,
    ("POST", "batch/create"): _batch_create,
    ("POST", "batch/update"): _batch_update,
    ("POST", "batch/upsert"): _batch_upsert,
    ("POST", "batch/archive"): _batch_archive,
}


def _created(object_: str, inputs: list[tuple[Fields, tuple[str, ...]]]) -> Asked:
    records = tuple(fields for fields, _ in inputs)
    return _asked(
        _CREATES.get(object_, "record.create"),
        object_,
        record_ids=tuple(dict.fromkeys(each for _, linked in inputs for each in linked)),
        created=records,
        recipient_ids=_recipients(records),
    )


def _changed(object_: str, changes: dict[str, Fields]) -> Asked:
    recipients = _recipients(tuple(changes.values())) if object_ in _REACHES else ()
    action = _REACHES.get(object_, "record.update")
    return _asked(action, object_, record_ids=tuple(changes), changes=changes, recipient_ids=recipients)


def _asked(action: str, object_: str, **more: Any) -> Asked:
    return Asked(action=action, object=object_, system=SYSTEM, **more)


def _id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise NotParsed(f"no id of a record: {str(value)[:40]!r}", "digits, as text; no other unique property")
    return value


def _only_id(one: dict[str, Any]) -> str:
    return _id(_known(one, "id").get("id"))


def _known(one: dict[str, Any], *names: str) -> dict[str, Any]:
    other = sorted(one.keys() - set(names))
    if other:
        raise NotParsed(f"inputs: nobody knows what {other[0]!r} does here", f"known here: {names}")
    return one


def _inputs(call: Call, *more: str) -> list[dict[str, Any]]:
    inputs = call.object("inputs", *more).get("inputs")
    if not isinstance(inputs, list) or not inputs or not all(isinstance(each, dict) for each in inputs):
        raise NotParsed("inputs is not a list of objects")
    if len(inputs) > _MOST_INPUTS:
        raise NotParsed(f"{len(inputs)} inputs in one request", f"HubSpot takes {_MOST_INPUTS}: send smaller ones")
    return inputs


def _input(one: dict[str, Any]) -> tuple[Fields, tuple[str, ...]]:
    """A new record's properties, and the ids of the records that it is linked to. Raises NotParsed."""
    links = one.get("associations") or []
    if not isinstance(links, list) or not all(isinstance(each, dict) for each in links):
        raise NotParsed("associations is not a list of objects")
    ids = []
    for link in links:
        to = _known(link, "to", "types").get("to")
        ids.append(_id(to.get("id") if isinstance(to, dict) and to.keys() == {"id"} else None))
    return _properties(one), tuple(ids)


def _properties(one: dict[str, Any]) -> Fields:
    properties = one.get("properties")
    if not isinstance(properties, dict):
        raise NotParsed("properties is not an object")
    return read_fields(properties)


def _recipients(records: tuple[Fields, ...]) -> tuple[str, ...]:
    found: list[str] = []
    for fields in records:
        for name, value in fields.items():
            if read_name(name, "a field").casefold() in _RECIPIENTS and isinstance(value, str):
                found += [each.strip() for each in re.split("[;,]", value) if each.strip()]
    return tuple(found)
