"""From a decoder's complaint to an error that a producer's author can act on: field, what came, what would be right."""

from __future__ import annotations

import difflib
import json
import math
import re
from typing import Any

import msgspec

from events.errors import BadEvent, BadReason
from events.place import candidates, path_at, told_place
from events.strict import check_depth, check_utf8

HINTS: dict[str, str] = {
    "specversion": 'the string "1.0"',
    "id": "a text of 1 to 512 characters, unique with source",
    "source": "a URI reference such as /crm/salesforce/00D1",
    "time": "an RFC 3339 date-time with a zone, such as 2026-03-02T09:14:03.120Z",
    "data": "an object with the fields of the event's type",
    "tenant": "a text of 1 to 128 characters without a slash",
    "data.agent_id": "the agent's name, 1 to 256 characters",
    "data.action": 'noun.verb, such as "record.update", at most 128 characters',
    "data.outcome": "one of ok, error, denied",
    "data.changes": 'record id → field → [before, after] or {"after": …}; for a CRM change: field → the same',
    "data.object": 'the kind of record, such as "Opportunity"',
    "data.record_id": "the record's id, 1 to 256 characters",
    "data.op": "one of create, update, delete, undelete, merge, gap",
    "data.kind": "one of email, call, meeting, task, note",
    "data.direction": "one of inbound, outbound, internal",
    "data.status": "one of the type's known states",
}
"""What would be right, for the fields that are missed or mistaken most."""

_AT = re.compile(r" - at `(?:key in )?\$(?P<path>.*)`$", re.DOTALL)
_GOT = re.compile(r"got `(?P<kind>\w+)`$")
_KINDS = {"object": dict, "array": list, "str": str, "bool": bool, "int": int, "float": float, "null": type(None)}
_PAIR = '[before, after], each a flat value, or {"after": …}'
_AGENT = re.compile(rb'"agent_id"\s*:\s*"([^"\\\x00-\x1f]{1,256})"')
_BYTE = re.compile(r"\(byte (\d+)\)")
_SHOWN = 60
_anything = msgspec.json.Decoder()


def explain(raw: bytes, problem: Exception, types: list[str]) -> BadEvent:
    """The BadEvent for what msgspec raised while decoding ``raw``; ``types`` are the known event types."""
    agent_id = guess_agent(raw)
    if isinstance(problem, RecursionError):
        return _unreadable(raw, agent_id, BadReason.TOO_DEEP, "the event is nested too deep; send flat values")
    if isinstance(problem, UnicodeDecodeError):
        message = f"a string holds bytes that are not UTF-8 ({problem.reason}); JSON must be UTF-8"
        return _unreadable(raw, agent_id, BadReason.NOT_UTF8, message)
    if isinstance(problem, msgspec.ValidationError):
        return _invalid(raw, str(problem), types, agent_id)
    found = _BYTE.search(str(problem))
    place = path_at(raw, int(found.group(1)) if found else len(raw))
    message = _not_json(raw, str(problem))
    return BadEvent(BadReason.NOT_JSON, f"{place}: {message}" if place else message, place, agent_id)


def _unreadable(raw: bytes, agent_id: str | None, reason: BadReason, message: str) -> BadEvent:
    """Bytes that no decoder takes; the strict checks know the place."""
    try:
        check_utf8(raw)
        check_depth(raw)
    except BadEvent as found:
        found.agent_id = agent_id
        return found
    return BadEvent(reason, message, "", agent_id)


def guess_agent(raw: bytes) -> str | None:
    """The agent id that unreadable bytes seem to name, or None; for counting only, never for a decision."""
    found = _AGENT.search(raw, 0, 65_536)
    return found.group(1).decode("utf-8", "replace") if found else None


def _not_json(raw: bytes, text: str) -> str:
    place = _BYTE.search(text)
    if place is None:
        return f"not JSON: {text}; send one complete CloudEvents object"
    at = int(place.group(1))
    around = raw[at : at + 12]
    if around.lstrip(b"-").startswith((b"NaN", b"Inf")):
        return f"not JSON: NaN and Infinity (byte {at}) are not JSON numbers; leave the field out or send null"
    seen = around.decode("utf-8", "replace")
    return f"not JSON: {text.removeprefix('JSON is malformed: ')}, at {seen!r}"


def _invalid(raw: bytes, text: str, types: list[str], agent_id: str | None) -> BadEvent:
    what, field = told_place(text)
    if what.startswith("Object missing required field"):
        return BadEvent(BadReason.MISSING_FIELD, f"{field} is missing; it must be {_hint(field)}", field, agent_id)
    told = _AT.search(text)
    field, value = _found(_document(raw), told["path"] if told else "", what, field)
    if field == "type":
        return BadEvent(BadReason.UNKNOWN_TYPE, _unknown_type(value, types), field, agent_id)
    if field == "specversion":
        message = f'specversion: {_show(value)} is not supported; send "1.0"'
        return BadEvent(BadReason.UNSUPPORTED_SPECVERSION, message, field, agent_id)
    return BadEvent(_reason(what), _sentence(field, what, value), field, agent_id)


def _reason(what: str) -> BadReason:
    if what.startswith("Expected") and ("got" in what or what in ("Expected `str`", "Expected `int`")):
        return BadReason.WRONG_TYPE
    return BadReason.BAD_VALUE


def _sentence(field: str, what: str, value: Any) -> str:
    name = field or "the event"
    shown = "" if value is _UNKNOWN else f"; it came as {_show(value)}"
    hint = HINTS.get(field) or (_PAIR if name.startswith("data.changes.") else None)
    return f"{name}: {what[:1].lower()}{what[1:]}{shown}" + (f"; it must be {hint}" if hint else "")


def _unknown_type(value: Any, types: list[str]) -> str:
    if not isinstance(value, str):
        return f"type: {_show(value)} is not a text; it must be an event type such as {types[0]}"
    near = difflib.get_close_matches(value[:128], types, 1, 0.6)
    advice = f"did you mean {near[0]}?" if near else f"known are {', '.join(types)}"
    return f"type: {_show(value)} is not known here; {advice}"


def _hint(field: str) -> str:
    if field == "type":
        return "an event type such as tripline.agent.action.v1"
    return HINTS.get(field, "given, see docs/events.md")


_UNKNOWN: Any = object()


def _document(raw: bytes) -> Any:
    try:
        return _anything.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(raw)  # it takes numbers out of range, as infinite
    except (ValueError, RecursionError):
        return _UNKNOWN


def _found(document: Any, told: str, what: str, field: str) -> tuple[str, Any]:
    """The path that is meant, and its value. A decoder names no keys of a map, so each may be the one."""
    places = candidates(document, told)
    if "[...]" not in told:
        return next(places, (field, _UNKNOWN))
    return next((place for place in places if _is_wrong(what, place[1])), (field, _UNKNOWN))


def _is_wrong(what: str, value: Any) -> bool:
    """Whether a decoder may say this of the value."""
    got = _GOT.search(what)
    if got:
        kind = _KINDS.get(got["kind"])
        return kind is not None and type(value) is kind
    if "of length 2" in what:
        return isinstance(value, list) and len(value) != 2
    return "out of range" in what and isinstance(value, float) and not math.isfinite(value)


def _show(value: Any) -> str:
    if value is _UNKNOWN:
        return "the value"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that 64 bits can't hold"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
