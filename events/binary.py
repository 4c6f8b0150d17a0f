"""Binary-mode CloudEvents: the attributes in ``ce_`` (Kafka) or ``ce-`` (HTTP) headers, the data as the body.

Which mode a message is in is decided by its content type alone: a structured message may carry ``ce_`` headers too.
Source: CloudEvents 1.0.2, Kafka protocol binding §3 and HTTP protocol binding §3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from events.errors import BadEvent, BadReason
from events.explain import explain, guess_agent
from events.structured import DEFAULT_LIMITS, EVENT_TYPES, Limits, decode, is_json, too_large

Headers = Mapping[str, str | bytes] | Iterable[tuple[str | bytes, str | bytes]]
_WHOLE_NUMBERS = frozenset(("logpartition", "logoffset"))
_MAX_NAME, _MAX_VALUE = 80, 1024
_one_value = msgspec.json.Decoder(msgspec.Raw)
_ENCODE = msgspec.json.Encoder().encode


def decode_binary(headers: Headers, body: bytes, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Read one event of a Kafka record or an HTTP request, in binary or structured mode. Raises BadEvent."""
    return decode(to_structured(headers, body, limits), limits)


def to_structured(headers: Headers, body: bytes, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The message as structured-mode bytes, for the log: a structured message's body as it came.

    Raises BadEvent for headers that can't be read, a content type that isn't JSON, and a body that isn't JSON.
    """
    pairs = _texts(headers)
    content_type = next((value for name, value in pairs if name == "content-type"), "application/json")
    if content_type.strip().lower().startswith("application/cloudevents"):
        return body
    if not is_json(content_type):
        message = f"content-type: {content_type[:60]!r} is not supported; send JSON or application/cloudevents+json"
        raise BadEvent(BadReason.UNSUPPORTED_CONTENT_TYPE, message, "content-type", guess_agent(body))
    attributes = _attributes(pairs)
    return b"".join((_ENCODE(attributes)[:-1], b"," if attributes else b"", b'"data":', _data(body, limits), b"}"))


def kept_of(headers: Headers, body: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[bytes, dict[str, str]]:
    """What a dead letter keeps of a binary-mode message: structured-mode bytes, which can be tried again.

    Where they can't be made: the body, and the attributes and content type by the names of their headers, as text.
    """
    try:
        return to_structured(headers, body, limits), {}
    except BadEvent:
        pass
    found: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        told, text = _anyhow(name).lower()[:_MAX_NAME], _anyhow(value)[:_MAX_VALUE]
        if told.startswith(("ce_", "ce-")) or told == "content-type":
            found[told] = f"{found[told]}, {text}" if told in found else text
    return body, found


def _anyhow(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def _texts(headers: Headers) -> list[tuple[str, str]]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(_text(name, "a header's name").lower(), _text(value, name)) for name, value in pairs]


def _text(value: str | bytes, where: str | bytes) -> str:
    if isinstance(value, str):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        message = f"header {where!r:.60}: its bytes are not UTF-8"
        raise BadEvent(BadReason.BAD_HEADER, message, "headers") from None


def _attributes(pairs: list[tuple[str, str]]) -> dict[str, str | int]:
    found: dict[str, str | int] = {"datacontenttype": "application/json"}
    for name, value in pairs:
        if not name.startswith(("ce_", "ce-")):
            continue
        attribute = name[3:]
        if attribute in found or attribute == "data":
            message = f"{name}: the attribute is given twice, or may not be a header"
            raise BadEvent(BadReason.BAD_HEADER, message, attribute)
        text = unquote(value) if name[2] == "-" else value
        is_number = attribute in _WHOLE_NUMBERS and text.isascii() and text.isdigit() and len(text) < 20
        found[attribute] = int(text) if is_number else text
    return found


def _data(body: bytes, limits: Limits) -> bytes:
    """The body, proven to be one JSON value: else it could smuggle attributes into the envelope."""
    if len(body) > limits.max_event_bytes:
        raise too_large(body, limits)
    if not body.strip():
        message = "data: the body is empty (a tombstone says nothing); send the event's data as JSON"
        raise BadEvent(BadReason.EMPTY, message, "data")
    try:
        return bytes(_one_value.decode(body))
    except (msgspec.MsgspecError, RecursionError) as problem:
        raise explain(body, problem, list(EVENT_TYPES)) from None
