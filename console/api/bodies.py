"""Reads a request's JSON body into a struct, strictly: duplicate keys, deep nesting and wrong types are refused."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from console.errors import Refused, bad_request
from events import strict
from events.errors import BadEvent
from events.place import told_place

T = TypeVar("T")
JSON_TYPES = ("application/json", "")


def read_json(body: bytes, content_type: str, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as the decoder's type. Raises Refused: 415 for another content type, 400 for anything else."""
    check_json(content_type)
    if not body.strip():
        raise bad_request("the body is empty; send a JSON object")
    try:
        value = decoder.decode(body)
        strict.check_strictly(body)
    except msgspec.ValidationError as problem:
        raise bad_request(str(problem), told_place(str(problem))[1] or None) from None
    except msgspec.DecodeError as problem:
        raise bad_request(f"the body is not JSON: {problem}") from None
    except (UnicodeDecodeError, RecursionError):
        raise bad_request("the body is not UTF-8, or is nested too deep") from None
    except BadEvent as problem:
        raise bad_request(problem.message.replace("the event", "the body"), problem.field) from None
    return value


def check_json(content_type: str) -> None:
    """Raises Refused (415) where the header names another type than JSON."""
    media = content_type.partition(";")[0].strip().lower()
    if media not in JSON_TYPES:
        raise Refused(415, "unsupported_media_type", f"send application/json, not {media[:60]!r}")
