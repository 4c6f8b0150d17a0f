"""JSON-RPC frames of MCP over standard input and output: one line each, with one reading only.

What is sent on is written anew in ASCII: a server that ends lines elsewhere (at a carriage return, at U+2028) would
read other frames out of the same bytes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from console.proxy.asked import NotParsed
from console.proxy.reading import check_keys
from events.errors import BadEvent
from events.strict import check_strictly

MOST_BYTES, MOST_FROM_SERVER = 4 * 1024 * 1024, 64 * 1024 * 1024
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, REFUSED = -32700, -32600, -32601, -32001
_KEYS = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_CHUNK = 65_536

Message = dict[str, Any]


async def lines_of(reader: asyncio.StreamReader, most: int = MOST_BYTES) -> AsyncIterator[bytes | None]:
    """The lines, without their ends; None for one of more than ``most`` bytes. Blank ones are left out."""
    kept, is_too_long = bytearray(), False
    while chunk := await reader.read(_CHUNK):
        *whole, rest = (bytes(kept) + chunk).split(b"\n") if b"\n" in chunk else (kept + chunk,)
        for line in whole:
            if is_too_long or len(line) > most:
                yield None
            elif line.strip():
                yield bytes(line)
            is_too_long = False
        kept = bytearray(rest)
        if len(kept) > most:
            kept, is_too_long = bytearray(), True


def read_frame(line: bytes | None, *, is_answer: bool = False) -> list[Message]:
    """The messages of a line: one, or those of a batch. ``is_answer``: keys in it may differ in capitals alone, since
    nobody acts on it. Raises NotParsed."""
    if line is None:
        raise NotParsed("the frame is too long")
    try:
        value = json.loads(line, parse_constant=_no_constant)
        check_strictly(line)
        write_frame(value)
        if not is_answer:
            check_keys(value)
    except BadEvent as problem:
        raise NotParsed(problem.message.replace("the event", "the frame")) from None
    except (ValueError, RecursionError) as problem:
        raise NotParsed(f"the frame is not JSON: {str(problem)[:200]}") from None
    return value if isinstance(value, list) else [value]


def check_message(message: Any) -> Message:
    """A message of JSON-RPC 2.0. Raises NotParsed."""
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or not message.keys() <= _KEYS:
        raise NotParsed("not a message of JSON-RPC 2.0, or one with keys that nobody knows")
    id_ = message.get("id", "")
    if not isinstance(id_, str | int) or isinstance(id_, bool):
        raise NotParsed("the id is no text and no whole number")
    if "method" in message and (not isinstance(message["method"], str) or {"result", "error"} & message.keys()):
        raise NotParsed("a request has a method, a text, and neither result nor error")
    if "method" not in message and ("id" not in message or ("result" in message) == ("error" in message)):
        raise NotParsed("an answer has an id, and either a result or an error")
    return message


def write_frame(message: Any) -> bytes:
    """One line, in ASCII. Raises ValueError for a number that JSON has not."""
    return json.dumps(message, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def error(id_: Any, code: int, message: str, data: Any = None) -> Message:
    """An error as an answer; ``id_`` is None when it is not known."""
    said = {"code": code, "message": message, **({"data": data} if data else {})}
    return {"jsonrpc": "2.0", "id": id_, "error": said}


def tool_error(id_: Any, text: str, data: Any) -> Message:
    """A tool's result that says why nothing was done, so that a model reads it."""
    result = {"content": [{"type": "text", "text": text}], "isError": True, "_meta": {"tripline/refused": data}}
    return {"jsonrpc": "2.0", "id": id_, "result": result}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
