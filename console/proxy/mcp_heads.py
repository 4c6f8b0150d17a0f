"""The heads of MCP over HTTP: from where a request came, which session and version it names, and what it takes."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from console.errors import Refused
from console.proxy.asked import NotParsed
from console.proxy.mcp_server import EVENTS, JSON, Link, Sessions
from console.proxy.reading import Headers

VERSIONS = ("2025-03-26", "2025-06-18", "2025-11-25")
_NEAR = ("127.0.0.1", "localhost", "::1")
_PLAIN = re.compile(r"[!-~](?:[ -~]{0,1100}[!-~])?")


def check_place(headers: Headers, *, is_near: bool) -> None:
    """Raises Refused (403) for a page of another origin, and for a name bound to this machine (DNS rebinding)."""
    origin = _one(headers, b"origin")
    if origin and _host(origin.partition("://")[2]) not in _NEAR:
        raise Refused(403, "wrong_origin", "a page of another origin may not talk to this proxy")
    if is_near and _host(_one(headers, b"host")) not in _NEAR:
        raise Refused(403, "wrong_host", "this proxy answers to 127.0.0.1 and localhost alone")


def checked_link(method: str, headers: Headers, sessions: Sessions) -> Link:
    """The session and the version that a request names.

    Raises NotParsed for a version that is not known, Refused: 404 for a session that is not there (the agent begins
    anew), 406 for a client that does not take what is answered.
    """
    taken = {part.partition(";")[0].strip().lower() for part in _one(headers, b"accept").split(",")}
    wanted = {"GET": {EVENTS}, "POST": {JSON, EVENTS}}.get(method, set())
    if not wanted <= taken and "*/*" not in taken:
        raise Refused(406, "not_acceptable", f"send Accept: {', '.join(sorted(wanted))}")
    version, session = _one(headers, b"mcp-protocol-version"), _one(headers, b"mcp-session-id")
    if version and version not in VERSIONS:
        raise NotParsed(f"the version {version[:20]!r} of the protocol is not known; known: {', '.join(VERSIONS)}")
    theirs = sessions.find(session) if session else ""
    if theirs is None:
        raise Refused(404, "no_session", "there is no such session (any more): begin a new one")
    return Link(session=session, theirs=theirs, version=version)


def read_after(headers: Headers) -> str:
    """The id of the last event that the agent got, as it was told, "" without one. Raises NotParsed."""
    return _one(headers, b"last-event-id")


def _host(text: str) -> str:
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return ""


def _one(headers: Headers, wanted: bytes) -> str:
    """The header's value, "" without it. Raises NotParsed when it is there twice, or not plain."""
    found = [value.decode("latin-1").strip() for name, value in headers if name.lower() == wanted]
    if len(found) > 1 or (found and found[0] and not _PLAIN.fullmatch(found[0])):
        raise NotParsed(f"the header {wanted.decode()!r} is there twice, or is not of plain characters")
    return found[0] if found else ""
