"""What a JSON decoder lets pass and we don't: duplicate keys, deep nesting, invalid UTF-8 in skipped fields.

The cheap check rests on one count. Each key of a JSON text has one colon outside of strings; a decoder keeps
one key of several equal ones. So a text whose colons are as many as those of its decoded value, encoded anew,
has no duplicate key. (Colons inside strings count alike on both sides unless written as an escape.)
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from events.errors import BadEvent, BadReason
from events.place import path_at

MAX_DEPTH = 64

_ANY = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()


def check_strictly(raw: bytes) -> None:
    """Refuse duplicate keys at any depth, nesting beyond MAX_DEPTH and text that is not UTF-8.

    ``raw`` is JSON that a lenient decoder has accepted. Costs about as much as decoding it once more.
    """
    check_utf8(raw)
    check_depth(raw)
    try:
        again = _ENCODER.encode(_ANY.decode(raw))
    except msgspec.MsgspecError as problem:
        raise BadEvent(BadReason.NOT_JSON, f"the event has a value that can't be read: {problem}") from None
    if not same_colons(raw, again):
        _look_for_duplicates(raw)


def are_strict(block: bytes, lines: list[bytes]) -> bool:
    """Whether ``check_strictly`` would pass each of the lines that make up the block; cheaper for many lines."""
    if any(line.count(b"[") + line.count(b"{") > MAX_DEPTH for line in lines):
        return False
    try:
        check_utf8(block)
        again = bytearray(len(block) + 64)
        _ENCODER.encode_into(list(map(_ANY.decode, lines)), again)
    except (msgspec.MsgspecError, BadEvent):
        return False
    return same_colons(block, again)


def same_colons(raw: bytes, again: bytes | bytearray) -> bool:
    """Whether ``again``, the decoded ``raw`` encoded anew, proves that no key of ``raw`` was given twice.

    True proves it. False may only mean unknown fields, which the decoder skipped, or an unusual escape.
    """
    if b"\\" in raw and b"\\u003" in raw:
        return False
    return raw.count(b":") == again.count(b":")


def check_utf8(raw: bytes) -> None:
    """Refuse text that is not UTF-8, naming the byte."""
    if raw.isascii():
        return
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as problem:
        place = path_at(raw, problem.start)
        message = f"byte {problem.start} is not UTF-8 ({problem.reason}); JSON must be UTF-8"
        raise BadEvent(BadReason.NOT_UTF8, f"{place}: {message}" if place else message, place) from None


def check_depth(raw: bytes, limit: int = MAX_DEPTH) -> None:
    """Refuse JSON nested deeper than ``limit``, without recursion."""
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return
    at = _too_deep_at(raw, limit)
    if at is not None:
        place = path_at(raw, at)
        message = f"the event is nested more than {limit} deep; send flat values"
        raise BadEvent(BadReason.TOO_DEEP, f"{place}: {message}" if place else message, place)


def _too_deep_at(raw: bytes, limit: int) -> int | None:
    """The byte where the containers of a JSON text lie too deep in one another; brackets in strings don't count."""
    depth = 0
    in_string = is_escaped = False
    for at, byte in enumerate(raw):
        if in_string:
            if is_escaped:
                is_escaped = False
            elif byte == 0x5C:
                is_escaped = True
            else:
                in_string = byte != 0x22
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            if depth > limit:
                return at
        elif byte in b"]}":
            depth -= 1
    return None


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs, duplicates kept."""


def _look_for_duplicates(raw: bytes) -> None:
    """Find the first duplicate key exactly and name its place; silent when there is none."""
    tree = json.loads(raw, object_pairs_hook=_Object, parse_int=str, parse_float=str)
    path = _duplicate_in(tree, "")
    if path is not None:
        message = f"{path}: the key appears twice in one object; keep one of them"
        raise BadEvent(BadReason.DUPLICATE_KEY, message, path)


def _duplicate_in(node: Any, path: str) -> str | None:
    if isinstance(node, _Object):
        keys = [key for key, _ in node]
        if len(set(keys)) != len(keys):
            twice = next(key for at, key in enumerate(keys) if key in keys[:at])
            return _join(path, twice)
        children = [(_join(path, key), child) for key, child in node]
    elif isinstance(node, list):
        children = [(f"{path}[{at}]", child) for at, child in enumerate(node)]
    else:
        return None
    found = (_duplicate_in(child, place) for place, child in children)
    return next((place for place in found if place is not None), None)


def _join(path: str, key: str) -> str:
    key = key[:80]
    return f"{path}.{key}" if path else key
