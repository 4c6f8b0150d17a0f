"""What a message of MCP asks for, and how it is refused; the same over standard input and output and over HTTP."""

from __future__ import annotations

import json
from typing import Any

from console.errors import Refused
from console.proxy.asked import Asked, NotParsed, Problem
from console.proxy.frames import METHOD_NOT_FOUND, REFUSED, Message, error, tool_error
from console.proxy.mapping import ToolMap

CALL, READ, CANCELLED = "tools/call", "resources/read", "notifications/cancelled"
PASSING = frozenset({
    "initialize", "ping", "tools/list", "resources/list", "resources/templates/list", "prompts/list", "prompts/get",
    "logging/setLevel", "completion/complete", "notifications/initialized", CANCELLED,
    "notifications/progress", "notifications/roots/list_changed",
})  # fmt: skip
"""What a client may say unasked; ``methods`` of the mapping adds to it."""
CALL_SECS, CANCELLED_SECS = 300.0, 5.0
MOST_CALLS = 1_000
"""Calls that may be open at once; most of them wait for their turn."""
_MOST_TEXT = 300
_PARAMS = frozenset({"name", "arguments", "_meta"})


def operation_of(tools: ToolMap, message: Message) -> Asked:
    """The operation that a ``tools/call`` or a ``resources/read`` is. Raises NotParsed."""
    params = message.get("params")
    if message["method"] == CALL:
        if not isinstance(params, dict) or not params.keys() <= _PARAMS:
            raise NotParsed("the call has other parameters than name, arguments and _meta")
        name, arguments = params.get("name"), params.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise NotParsed("the call has no name, or its arguments are no object")
        return tools.read(name, arguments)
    table, uri = tools.resources, params.get("uri") if isinstance(params, dict) else None
    if table is None or not isinstance(uri, str) or not uri:
        raise NotParsed("nobody said what reading a resource is", "say it in [resources]")
    return Asked(action="record.read", object=table.object, record_ids=(uri,), system=table.system)


def key_of(message: Message) -> tuple[type, Any]:
    """What tells a request from others: 1 and "1" are two ids."""
    id_ = message.get("id")
    return type(id_), id_


def cancelled_key(message: Message) -> tuple[type, Any] | None:
    """The key of the request that a ``notifications/cancelled`` names; None when it names none."""
    params = message.get("params")
    id_ = params.get("requestId") if isinstance(params, dict) else None
    return key_of({"id": id_}) if isinstance(id_, str | int) and not isinstance(id_, bool) else None


def unknown_method(message: Message) -> Message:
    """The answer to a request of which nobody knows what it does."""
    name = message["method"][:100]
    text = f"refused: nobody knows what {name!r} does; the mapping's `methods` may say that it may pass"
    return error(message.get("id"), METHOD_NOT_FOUND, text)


def refused_answer(message: Message, refused: Refused) -> Message:
    """A refused call as a tool's result, in words for a model; a refused read as an error."""
    id_ = message["id"]
    if message["method"] != CALL:
        return error(id_, REFUSED, refused.message, refused.extra)
    told, lines = refused.message, refused.extra.get("allowed_by", "")
    if refused.extra.get("approval_id"):
        told += f" Ask the same again once a person has approved it (approval {refused.extra['approval_id']})."
    if lines:
        told += f"\nConfiguration that would allow it:\n{lines}"
    return tool_error(id_, told, {"error": refused.code, **refused.extra})


def problem_of(answer: Message) -> Problem | None:
    """What the server's answer says of the call; None when it was done."""
    if "error" in answer:
        said = answer["error"] if isinstance(answer["error"], dict) else {}
        return Problem(str(said.get("code", "error"))[:_MOST_TEXT], str(said.get("message", ""))[:_MOST_TEXT])
    result = answer["result"]
    if isinstance(result, dict) and result.get("isError") is True:
        return Problem("tool_error", json.dumps(result.get("content"))[:_MOST_TEXT])
    return None
