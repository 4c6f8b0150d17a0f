"""Salesforce's REST API: sobjects, collections, composites and queries. All else is not parsed, so it is denied.

Paths and bodies follow the REST API Developer Guide (``resources_sobject_retrieve``, ``resources_composite_sobjects``).
Objects and fields have no capitals there, and an id of 18 characters names the same record as its first 15.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from console.proxy.asked import Asked, Fields, NotParsed, Together, at_most
from console.proxy.composite import read_composite
from console.proxy.reading import Call, read_fields, read_name
from console.proxy.soql import read_query
from console.proxy.upserts import Kinds, upserted
from governance.operation import canonical_id, keyed_id

SYSTEM = "salesforce"
KNOWN = (
    "/services/data/vNN.N/sobjects/OBJECT[/ID][/describe], sobjects/OBJECT/FIELD/VALUE, composite of these, "
    "composite/sobjects[/OBJECT[/FIELD]] of one kind of record, query?q=, queryAll?q="
)
_VERSION = re.compile(r"v[0-9]{2,3}\.0")
_ID = re.compile(r"[A-Za-z0-9]{15}|[A-Za-z0-9]{18}")
_LONG, _SHORT = 18, 15
_CREATES = {
    "contract": "contract.create", "emailmessage": "email.send", "event": "meeting.schedule", "note": "note.create",
    "contentnote": "note.create", "quote": "quote.create", "task": "task.create",
}  # fmt: skip
_REACHES = {"emailmessage": "email.send", "event": "meeting.schedule"}
"""What a change of these amounts to: those invited, and those written to, hear of it."""
_UPSERTS = Kinds(creates=_CREATES, reaches=_REACHES)
_LEAST_UPSERT_MANY = 46
_KEY_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,254}")
_RECIPIENTS = ("whoid", "toaddress", "ccaddress", "bccaddress")
_OBJECT_OF_PREFIX = {
    "001": "Account", "003": "Contact", "006": "Opportunity", "00Q": "Lead", "00T": "Task", "00U": "Event",
    "00k": "OpportunityLineItem", "0Q0": "Quote", "500": "Case", "701": "Campaign", "800": "Contract", "801": "Order",
}  # fmt: skip
_SETUP = frozenset({
    "apexclass", "apextrigger", "apexpage", "apexcomponent", "authsession", "connectedapplication", "crontrigger",
    "customobject", "customfield", "emailservicesfunction", "emailservicesaddress", "emailtemplate", "flow",
    "flowdefinition", "group", "groupmember", "loginip", "namedcredential", "oauthtoken", "organization",
    "permissionset", "permissionsetassignment", "permissionsetgroup", "permissionsetlicenseassign", "processdefinition",
    "processinstanceworkitem", "profile", "queuesobject", "setupentityaccess", "territory2", "user", "userlogin",
    "userrole", "userterritory2association", "validationrule", "workflowrule",
})  # fmt: skip
"""What they change is who may do what, or what happens by itself; an agent has no business there."""


def parse(call: Call) -> Asked | Together:
    """The operation behind a request, or several. Raises NotParsed."""
    if call.method == "POST" and call.segments[3:] == ("composite",) and _is_data(call):
        return read_composite(call, _parse_one)
    return _parse_one(call)


def _parse_one(call: Call) -> Asked | Together:
    segments = call.segments
    if not _is_data(call):
        raise NotParsed("this path is not known", KNOWN)
    rest = segments[3:]
    route = _ROUTES.get((call.method, _shape(rest)))
    if route is None:
        raise NotParsed(f"{call.method} of this path is not known", KNOWN)
    return route(call)


def _is_data(call: Call) -> bool:
    segments = call.segments
    return segments[:2] == ("services", "data") and len(segments) > 3 and _VERSION.fullmatch(segments[2]) is not None


def _shape(rest: tuple[str, ...]) -> str:
    fixed = ("sobjects", "composite", "query", "queryAll", "describe")
    return "/".join(each if each in fixed else "*" for each in rest)


def _create(call: Call) -> Asked:
    call.take()
    return _created(_object(call.segments[4], is_write=True), (_fields_of(call.object(), call.segments[4]),))


def _update(call: Call) -> Asked:
    call.take()
    return _changed(
        _object(call.segments[4], is_write=True), {_id(call.segments[5]): _fields_of(call.object(), call.segments[4])}
    )


def _delete(call: Call) -> Asked:
    call.take()
    return _asked("record.delete", _object(call.segments[4], is_write=True), record_ids=(_id(call.segments[5]),))


def _read(call: Call) -> Asked:
    call.take("fields")
    _names(call.query.get("fields"))
    return _asked("record.read", _object(call.segments[4]), record_ids=(_id(call.segments[5]),))


def _describe(call: Call) -> Asked:
    call.take()
    return _asked("record.read", _object(call.segments[4]))


def _create_many(call: Call) -> Asked:
    object_, records = _collection(call)
    return _created(object_, tuple(_fields_of(each, object_) for each in records))


def _update_many(call: Call) -> Asked:
    object_, records = _collection(call)
    changes: dict[str, Fields] = {}
    seen: set[str] = set()
    for each in records:
        (name,) = [key for key in each if key.casefold() == "id"] or [""]
        record_id = _id(each.get(name))
        if canonical_id(record_id) in seen:
            raise NotParsed(f"the record {record_id} is there twice", "send each record once")
        seen.add(canonical_id(record_id))
        changes[record_id] = _fields_of({key: value for key, value in each.items() if key != name}, object_)
    return _changed(object_, changes)


def _upsert(call: Call) -> Together:
    call.take()
    object_, field = _object(call.segments[4], is_write=True), _key_field(call.segments[5])
    if call.segments[6].casefold().endswith((".json", ".xml")):
        raise NotParsed("the path's end may say how to answer instead of naming the record", "send a collection of one")
    fields = _fields_of(call.object(), call.segments[4])
    if any(name.casefold() == field.casefold() for name in fields):
        raise NotParsed(f"the body names {field}, as the path does", "name it once, in the path")
    changes = {_key(object_, field, call.segments[6]): fields}
    return upserted(SYSTEM, object_, changes, _UPSERTS, _recipients((fields,)))


def _upsert_many(call: Call) -> Together:
    if int(call.segments[2][1:-2]) < _LEAST_UPSERT_MANY:
        raise NotParsed(f"{call.segments[2]} has no upserts of collections")
    object_, records = _collection(call)
    field = _key_field(call.segments[6])
    if object_.casefold() != call.segments[5].casefold():
        raise NotParsed("attributes.type is another object than the path's")
    changes: dict[str, Fields] = {}
    for each in records:
        fields = dict(_fields_of(each, object_))
        named = [fields.pop(name) for name in tuple(fields) if name.casefold() == field.casefold()]
        key = _key(object_, field, named[0] if named else None)
        if key in changes:
            raise NotParsed(f"{key} is there twice", "send each record once")
        changes[key] = fields
    return upserted(SYSTEM, object_, changes, _UPSERTS, _recipients(tuple(changes.values())))


def _delete_many(call: Call) -> Asked:
    call.take("ids", "allOrNone")
    ids = _ids((call.query.get("ids") or "").split(","))
    objects = {_OBJECT_OF_PREFIX.get(each[:3], "") for each in ids}
    if len(objects) != 1 or "" in objects:
        raise NotParsed(
            "what kind of records these ids name is not known, or it is several",
            "delete one kind at a time, and custom objects by sobjects/OBJECT/ID",
        )
    return _asked("record.delete", objects.pop(), record_ids=ids)


def _read_many(call: Call) -> Asked:
    if call.method == "GET":
        call.take("ids", "fields")
        ids, names = (call.query.get("ids") or "").split(","), (call.query.get("fields") or "").split(",")
    else:
        call.take()
        body = call.object("ids", "fields")
        ids, names = body.get("ids") or [], body.get("fields") or []
    if not isinstance(ids, list) or not isinstance(names, list):
        raise NotParsed("ids and fields are lists")
    for name in names:
        read_name(name, "a field")
    return _asked("record.read", _object(call.segments[5]), record_ids=_ids(ids))


def _query(call: Call) -> Asked:
    call.take("q")
    object_, limit = read_query(call.query.get("q", ""))
    return _asked("record.read", object_, records=limit)


_ROUTES: dict[tuple[str, str], Callable[[Call], Asked | Together]] = {
    ("POST", "sobjects/*"): _create,
    ("GET", "sobjects/*/*"): _read,
    ("PATCH", "sobjects/*/*"): _update,
    ("PATCH", "sobjects/*/*/*"): _upsert,
    ("DELETE", "sobjects/*/*"): _delete,
    ("GET", "sobjects/*/describe"): _describe,
    ("POST", "composite/sobjects"): _create_many,
    ("PATCH", "composite/sobjects"): _update_many,
    ("PATCH", "composite/sobjects/*/*"): _upsert_many,
    ("DELETE", "composite/sobjects"): _delete_many,
    ("GET", "composite/sobjects/*"): _read_many,
    ("POST", "composite/sobjects/*"): _read_many,
    ("GET", "query"): _query,
    ("GET", "queryAll"): _query,
}


def _created(object_: str, records: tuple[Fields, ...]) -> Asked:
    action = _CREATES.get(object_.casefold(), "record.create")
    return _asked(action, object_, created=records, recipient_ids=_recipients(records), records=len(records))


def _changed(object_: str, changes: dict[str, Fields]) -> Asked:
    action = _REACHES.get(object_.casefold(), "record.update")
    recipients = _recipients(tuple(changes.values())) if object_.casefold() in _REACHES else ()
    return _asked(action, object_, record_ids=tuple(changes), changes=changes, recipient_ids=recipients)


def _asked(action: str, object_: str, **more: Any) -> Asked:
    return Asked(action=action, object=object_, system=SYSTEM, **more)


def _object(name: str, *, is_write: bool = False) -> str:
    object_ = read_name(name, "the object")
    plain = object_.casefold()
    if is_write and (plain in _SETUP or plain.endswith(("share", "__mdt"))):
        raise NotParsed(f"{object_} says who may do what, or what happens by itself", "people do that")
    return object_


def _id(value: Any) -> str:
    """A record's id; one of 18 characters must have the check characters of its first 15. Raises NotParsed."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise NotParsed(f"no id of a record: {str(value)[:40]!r}", "15 or 18 letters and digits; no external ids")
    if len(value) == _LONG and len(canonical_id(value)) != _SHORT:
        raise NotParsed(f"{value} is no id: its last three characters do not fit the others")
    return value


def _key_field(name: str) -> str:
    """The field by which an upsert names its record. Raises NotParsed for an id: then the path may name what is related
    to that record (``sobjects/OBJECT/ID/RELATION``)."""
    if _ID.fullmatch(name) or name.casefold() == "id":
        raise NotParsed(f"{name!r} may be a record's id", "upserts name an external id field; its name is no id's")
    return read_name(name, "the external id field")


def _key(object_: str, field: str, value: Any) -> str:
    """What stands for a record that is known by a field's value. Raises NotParsed."""
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or not _KEY_VALUE.fullmatch(text):
        raise NotParsed(f"{field}: no plain value that names one record", "letters, digits and ._@+- , at most 255")
    return keyed_id(object_, field, text)


def _ids(values: list[Any]) -> tuple[str, ...]:
    at_most(len(values))
    return tuple(_id(each) for each in values)


def _names(text: str | None) -> None:
    for name in text.split(",") if text is not None else ():
        read_name(name, "a field")


def _collection(call: Call) -> tuple[str, list[dict[str, Any]]]:
    """The kind of record that a collection holds, and its records. Raises NotParsed."""
    call.take()
    body = call.object("allOrNone", "records")
    records = body.get("records")
    if not isinstance(records, list) or not records or not all(isinstance(each, dict) for each in records):
        raise NotParsed("records is not a list of objects")
    at_most(len(records))
    if not isinstance(body.get("allOrNone", False), bool):
        raise NotParsed("allOrNone is true or false")
    objects = {_type_of(each) for each in records}
    if len(objects) != 1:
        raise NotParsed("several kinds of records in one request", "send each kind by itself")
    return _object(objects.pop(), is_write=True), records


def _type_of(record: dict[str, Any]) -> str:
    attributes = record.get("attributes")
    if not isinstance(attributes, dict) or not attributes.keys() <= {"type", "url", "referenceId"}:
        raise NotParsed("a record without attributes.type, or with attributes that nobody knows")
    return read_name(attributes.get("type"), "attributes.type")


def _fields_of(record: dict[str, Any], object_: str) -> Fields:
    """The fields of one record, without its attributes. Raises NotParsed."""
    if "attributes" in record and _type_of(record) != object_:
        raise NotParsed("attributes.type is another object than the path's")
    fields = read_fields({name: value for name, value in record.items() if name != "attributes"})
    if any(name.casefold() in ("id", "attributes") for name in fields):
        raise NotParsed("a record's fields name an id", "the path has it, or nothing for a new record")
    return fields


def _recipients(records: tuple[Fields, ...]) -> tuple[str, ...]:
    found: list[str] = []
    for fields in records:
        for name, value in fields.items():
            if name.casefold() in _RECIPIENTS and isinstance(value, str):
                found += [each.strip() for each in re.split("[;,]", value) if each.strip()]
    return tuple(found)
