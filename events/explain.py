"""From a decoder's complaint to an error that a producer's author can act on: field, what came, what would be right."""

from __future__ import annotations

import difflib
import re
from typing import Any

import msgspec

from events.errors import BadEvent, BadReason

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

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<key>key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]*)`")
_AGENT = re.compile(rb'"agent_id"\s*:\s*"([^"\\\x00-\x1f]{1,256})"')
_BYTE = re.compile(r"\(byte (\d+)\)")
_SHOWN = 60
_anything = msgspec.json.Decoder()


def explain(raw: bytes, problem: Exception, types: list[str]) -> BadEvent:
    """The BadEvent for what msgspec raised while decoding ``raw``; ``types`` are the known event types."""
    agent_id = guess_agent(raw)
    if isinstance(problem, RecursionError):
        return BadEvent(BadReason.TOO_DEEP, "the event is nested too deep; send flat values", "", agent_id)
    if isinstance(problem, UnicodeDecodeError):
        message = f"a string holds bytes that are not UTF-8 ({problem.reason}); JSON must be UTF-8"
        return BadEvent(BadReason.NOT_UTF8, message, "", agent_id)
    if isinstance(problem, msgspec.ValidationError):
        return _invalid(raw, str(problem), types, agent_id)
    return BadEvent(BadReason.NOT_JSON, _not_json(raw, str(problem)), "", agent_id)


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
    found = _AT.match(text)
    what, path = (found["what"], found["path"] or "") if found else (text, "")
    field = path.lstrip(".").replace("[...]", "[]")
    document = _document(raw)
    missing = _MISSING.match(what)
    if missing:
        field = f"{field}.{missing['field']}".lstrip(".")
        return BadEvent(BadReason.MISSING_FIELD, f"{field} is missing; it must be {_hint(field)}", field, agent_id)
    value = _value_at(document, path)
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
    hint = HINTS.get(field)
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
        return _UNKNOWN


def _value_at(node: Any, path: str) -> Any:
    """The value at a decoder's path such as ``.data.record_ids[3]``; unknown when the path has wildcards."""
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path):
        if name and isinstance(node, dict) and name in node:
            node = node[name]
        elif index.isdigit() and isinstance(node, list) and int(index) < len(node):
            node = node[int(index)]
        else:
            return _UNKNOWN
    return node


def _show(value: Any) -> str:
    if value is _UNKNOWN:
        return "the value"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
