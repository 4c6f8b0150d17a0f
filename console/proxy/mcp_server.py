"""The tool server behind the MCP proxy over HTTP: its address, the credential for it, and its sessions."""

from __future__ import annotations

import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from msgspec import Struct

from console.proxy.asked import UNKNOWN, NotParsed, Problem
from console.proxy.credential import BadCredential, Credential
from console.proxy.frames import Message, check_message, read_frame
from console.proxy.front import CONNECT_SECS, holds
from console.proxy.gatekeeper import MOST_AT_ONCE

MOST_SESSIONS, MOST_STREAMS = 1_000, 16
MOST_ANSWER_BYTES = 16 * 1024 * 1024
JSON, EVENTS = "application/json", "text/event-stream"
_SESSION = re.compile(r"[!-~]{1,1024}")
_WRITE_SECS = 30.0
_ACCEPTED, _NOT_FOUND, _TIMED_OUT, _ERROR, _SERVER_ERROR = 202, 404, 408, 400, 500


class Link(Struct, kw_only=True):
    """What a request of the agent belongs to. ``session``: the proxy's own id of it, "" without one; ``theirs``: the
    server's, which the agent is never told; ``version``: of the protocol, "" where the agent says none."""

    session: str = ""
    theirs: str = ""
    version: str = ""


class Sessions:
    """The server's session ids by the proxy's own; the longest unused goes when there are more than 1,000."""

    def __init__(self) -> None:
        self._theirs: OrderedDict[str, str] = OrderedDict()

    def open(self, theirs: str) -> str:
        """A new id for a session of the server. Raises NotParsed for one that is not plain."""
        if not _SESSION.fullmatch(theirs):
            raise NotParsed("the server's session id is not of plain characters")
        own = secrets.token_urlsafe(24)
        self._theirs[own] = theirs
        if len(self._theirs) > MOST_SESSIONS:
            self._theirs.popitem(last=False)
        return own

    def find(self, own: str) -> str | None:
        """The server's id; None when there is no such session."""
        if own in self._theirs:
            self._theirs.move_to_end(own)
        return self._theirs.get(own)

    def end(self, own: str) -> None:
        """It is over."""
        self._theirs.pop(own, None)


class EventIds:
    """Ids of events as the agent is told them: each opens the stream of its own session only, here alone."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def told(self, session: str, theirs: str) -> str:
        """The server's id, marked with its session."""
        return f"{self._mark(session, theirs)}.{theirs}"

    def theirs(self, session: str, told: str) -> str:
        """The server's id. Raises NotParsed for one that was told in another session, or not by this proxy."""
        mark, _, theirs = told.partition(".")
        if not hmac.compare_digest(mark.encode(), self._mark(session, theirs).encode()):
            raise NotParsed("Last-Event-ID was not told in this session")
        return theirs

    def _mark(self, session: str, theirs: str) -> str:
        return hmac.new(self._key, f"{session}\n{theirs}".encode(), "sha256").hexdigest()[:32]


class Opened(Struct, kw_only=True):
    """An answer of the server whose body is still to come."""

    response: httpx.Response
    secret: str

    @property
    def status(self) -> int:
        """The status."""
        return self.response.status_code

    @property
    def kind(self) -> str:
        """The media type of the body."""
        return str(self.response.headers.get("content-type", "")).partition(";")[0].strip().lower()

    @property
    def session(self) -> str:
        """The session that the server opened with it; "" when it opened none."""
        return str(self.response.headers.get("mcp-session-id", ""))

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, as it comes. Raises Problem for one that is encoded."""
        if self.response.headers.get("content-encoding", "identity") != "identity":
            raise Problem(UNKNOWN, "the tool server's answer is encoded")
        async for chunk in self.response.aiter_raw():
            yield chunk

    async def whole(self) -> bytes:
        """The body. Raises Problem when it is too large."""
        found = bytearray()
        async for chunk in self.chunks():
            found += chunk
            if len(found) > MOST_ANSWER_BYTES:
                raise Problem(UNKNOWN, "the tool server's answer is too large")
        return bytes(found)

    def message(self, raw: bytes) -> Message:
        """One message. Raises NotParsed: for a batch as well, which the agent did not send either."""
        if raw.lstrip().startswith(b"["):
            raise NotParsed("a batch")
        (found,) = read_frame(raw, is_answer=True)
        return check_message(found)

    def words(self, problem: Exception) -> str:
        """What was wrong with the answer, for the log: never with the credential in it."""
        name, text = type(problem).__name__, str(problem)[:200]
        return name if self.tells(str(problem).encode()) or self.tells(text.encode()) else f"{name}: {text}"

    def tells(self, *parts: bytes) -> bool:
        """Whether one of them has the credential in it."""
        return holds(self.secret, *parts)


class ToolServer:
    """Sends requests to it, with its credential."""

    def __init__(self, url: str, credential: Credential) -> None:
        self._url = url
        self._credential = credential
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECT_SECS, write=_WRITE_SECS, pool=CONNECT_SECS),
            limits=httpx.Limits(max_connections=2 * MOST_AT_ONCE + MOST_STREAMS),
            follow_redirects=False,
            trust_env=False,  # no proxy of the environment gets the credential
        )

    async def close(self) -> None:
        """End the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def ask(self, method: str, link: Link, frame: bytes = b"", after: str = "") -> AsyncIterator[Opened]:
        """Send a request made anew: ``frame`` is its body, ``after`` the last event's id.

        Raises NotSent when it did not get there for certain, httpx.HTTPError when nobody knows.
        """
        try:
            secret = self._credential.secret()
        except BadCredential as problem:
            raise NotSent("no_credential", f"nothing was sent: {problem}") from None
        headers = {
            "accept": EVENTS if method == "GET" else f"{JSON}, {EVENTS}",
            "accept-encoding": "identity",
            "authorization": f"Bearer {secret}",
            **({"content-type": JSON} if frame else {}),
            **({"mcp-session-id": link.theirs} if link.theirs else {}),
            **({"mcp-protocol-version": link.version} if link.version else {}),
            **({"last-event-id": after} if after else {}),
        }
        request = self._client.build_request(method, self._url, headers=headers, content=frame or None)
        try:
            response = await self._client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as problem:
            raise NotSent("server_unreachable", f"nothing was sent: {type(problem).__name__}") from None
        try:
            yield Opened(response=response, secret=secret)
        finally:
            await response.aclose()


class NotSent(Problem):
    """It did not get to the server, for certain."""


def status_problem(status: int) -> Problem | None:
    """What an answer's status alone says: a definite failure, or that nobody knows; None when the body says it."""
    if status in (200, _ACCEPTED):
        return None
    if _ERROR <= status < _SERVER_ERROR and status != _TIMED_OUT:
        text = "the session is over: begin a new one" if status == _NOT_FOUND else f"the tool server answered {status}"
        return Problem(f"HTTP {status}", text)
    return Problem(UNKNOWN, f"the tool server answered {status}")
