"""Requests of MCP over HTTP on their way to the tool server and back: streams, cut ones, and cancelled ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx
import structlog
from litestar.types import Receive, Send
from msgspec import Struct, field

from console.answers import Answer
from console.errors import Refused
from console.proxy.asked import UNKNOWN, Done, NotParsed, Problem
from console.proxy.calls import CANCELLED, CANCELLED_SECS, PASSING, cancelled_key, key_of, problem_of
from console.proxy.frames import REFUSED, Message, error, write_frame
from console.proxy.front import safe_problem
from console.proxy.mcp_server import (
    EVENTS,
    JSON,
    MOST_ANSWER_BYTES,
    MOST_STREAMS,
    EventIds,
    Link,
    Opened,
    Sessions,
    ToolServer,
    status_problem,
)
from console.proxy.outbox import STREAM_HEADERS, Outbox, Told, send_part
from console.proxy.sse import BadStream, Event, events_of

RESUME_SECS, STREAM_SECS, TELL_SECS = 60.0, 3600.0, 30.0
_OK, _REDIRECT, _NOT_FOUND, _NOT_ALLOWED = 200, 300, 404, 405
_log = structlog.get_logger("tripline.proxy")


class Exchange(Struct, kw_only=True, eq=False):
    """One request of the agent that wants an answer. ``size``: its body's, in bytes; ``key``: what tells it from
    others, set when it begins."""

    link: Link
    message: Message
    size: int = 0
    outbox: Outbox = field(default_factory=Outbox)
    key: Any = None
    task: asyncio.Task[Told] | None = None
    waiting: asyncio.Future[Done] | None = None
    """Set once it is sent: what came of it."""


class Exchanges:
    """All that are under way. ``secs``: so long may one take."""

    def __init__(self, server: ToolServer, sessions: Sessions, secs: float) -> None:
        self._server = server
        self._sessions = sessions
        self._secs = secs
        self._open: dict[Any, Exchange] = {}
        self._ids = EventIds()
        self._streams = 0

    @staticmethod
    def passes(method: str, more: Sequence[str]) -> bool:
        """Whether it may pass without the gate being asked."""
        return method in PASSING or method in more

    def begin(self, one: Exchange) -> bool:
        """False when its id is in use in its session. Without a session, ids are those of several clients."""
        one.key = (one.link.session, key_of(one.message)) if one.link.session else object()
        if one.key in self._open:
            return False
        self._open[one.key] = one
        return True

    def close(self, one: Exchange) -> None:
        """It is answered."""
        self._open.pop(one.key, None)

    async def send(self, one: Exchange) -> Done:
        """Send a request that may pass, and wait for its answer."""
        waiting: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        one.waiting = waiting
        stream = asyncio.create_task(self._stream(one, waiting))
        try:
            async with asyncio.timeout(self._secs):
                return await waiting
        except TimeoutError:
            return _failed(one, Problem(UNKNOWN, f"no answer within {self._secs:g} s"))
        except Problem as problem:
            return _failed(one, problem)
        finally:
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)

    async def tell(self, link: Link, message: Message) -> Answer:
        """Send a notification, or the agent's answer to a request of the server. Raises Refused."""
        if message.get("method") == CANCELLED and link.session:
            one = self._open.get((link.session, cancelled_key(message)))
            if one is not None and one.task is not None and one.waiting is None:
                one.task.cancel()  # it was not sent, and will not be
                return Answer(202, b"")
            if one is not None and one.waiting is not None:  # a server need not answer it any more
                gone = Problem(UNKNOWN, "its client cancelled it")
                asyncio.get_running_loop().call_later(CANCELLED_SECS, _fail, one.waiting, gone)
        await self._short("POST", link, write_frame(message).rstrip())
        return Answer(202, b"")

    async def end_session(self, link: Link) -> Answer:
        """End a session here and at the server. Raises Refused."""
        if not link.session:
            raise Refused(400, "bad_request", "which session? Send Mcp-Session-Id")
        await self._short("DELETE", link)
        self._sessions.end(link.session)
        return Answer(200, b"{}")

    async def listen(self, link: Link, after: str, receive: Receive, send: Send) -> None:
        """What the server says by itself, or what a stream that was cut still owes, until one side ends it.

        Raises Refused when there is no such stream, NotParsed for an id that was not told in this session.
        """
        theirs = self._ids.theirs(link.session, after) if after else ""
        if self._streams >= MOST_STREAMS:
            raise Refused(503, "too_many_streams", f"at most {MOST_STREAMS} streams are open at once")
        self._streams += 1
        both = asyncio.create_task(self._listen(link, theirs, send)), asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._streams -= 1
            is_heard = both[0].done()
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        if is_heard:
            both[0].result()

    # --- parts ------------------------------------------------------------------------------------------------------

    async def _listen(self, link: Link, after: str, send: Send) -> None:
        """Raises Refused as long as nothing was answered."""
        is_begun = False
        try:
            async with asyncio.timeout(STREAM_SECS), self._server.ask("GET", link, after=after) as opened:
                self._check(link, opened)
                if opened.kind != EVENTS:
                    raise Refused(502, "server_failed", "the tool server's answer is no stream of events")
                await send_part(send, {"type": "http.response.start", "status": 200, "headers": list(STREAM_HEADERS)})
                is_begun = True
                await self._pump(link, opened, send)
        except (Problem, httpx.HTTPError, BadStream, TimeoutError) as problem:
            if not is_begun:
                raise _not_reached(problem) from None
            _log.info("proxy.stream_ended", problem=type(problem).__name__)
        with suppress(TimeoutError):  # who does not read is cut off
            await send_part(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _short(self, method: str, link: Link, frame: bytes = b"") -> None:
        try:
            async with asyncio.timeout(TELL_SECS), self._server.ask(method, link, frame) as opened:
                self._check(link, opened)
        except (Problem, httpx.HTTPError, TimeoutError) as problem:
            raise _not_reached(problem) from None

    def _check(self, link: Link, opened: Opened) -> None:
        """Raises Refused unless the status says that all is well; a session that is gone is forgotten."""
        if opened.status == _NOT_FOUND and link.session:
            self._sessions.end(link.session)
            raise Refused(404, "no_session", "the session is over: begin a new one")
        if opened.status == _NOT_ALLOWED:
            raise Refused(405, "method_not_allowed", "the tool server does not offer this")
        if not _OK <= opened.status < _REDIRECT:
            raise Refused(502, "server_failed", f"the tool server answered {opened.status}")

    async def _stream(self, one: Exchange, waiting: asyncio.Future[Done]) -> None:
        try:
            async with self._server.ask("POST", one.link, write_frame(one.message).rstrip()) as opened:
                await self._read(one, waiting, opened)
        except Problem as problem:
            _fail(waiting, problem)
        except (httpx.HTTPError, BadStream, NotParsed) as problem:  # their texts may repeat what the server said
            _log.error("proxy.server_failed", problem=type(problem).__name__)
            _fail(waiting, Problem(UNKNOWN, f"the tool server's answer can't be read ({type(problem).__name__})"))

    async def _read(self, one: Exchange, waiting: asyncio.Future[Done], opened: Opened) -> None:
        problem = status_problem(opened.status)
        if problem is not None:
            if opened.status == _NOT_FOUND:
                self._sessions.end(one.link.session)
            raise problem
        if opened.session and one.message["method"] == "initialize":
            one.outbox.session = self._sessions.open(opened.session)
        if opened.kind == EVENTS:
            await self._events(one, waiting, opened)
        elif opened.kind != JSON or not _arrived(one, waiting, opened, await opened.whole()):
            raise Problem(UNKNOWN, "the tool server answered something else")

    async def _events(self, one: Exchange, waiting: asyncio.Future[Done], opened: Opened) -> None:
        """Pass on what comes before the answer. Raises Problem when the stream ends before it, for good."""
        may_go_on, session = False, one.outbox.session or one.link.session
        try:
            async for event in events_of(opened.chunks(), MOST_ANSWER_BYTES):
                if _arrived(one, waiting, opened, event.data):
                    return
                passed = self._passed(opened, event, session)
                if passed is not None:
                    await one.outbox.put(passed)
                    may_go_on = may_go_on or event.id is not None
        except httpx.HTTPError:
            if not may_go_on:
                raise
        if not may_go_on:
            raise Problem(UNKNOWN, "the tool server's stream ended before the answer")
        one.outbox.finish(Told(None))  # its client may go on with GET and Last-Event-ID
        gone = Problem(UNKNOWN, "the tool server's stream ended before the answer, and nobody went on with it")
        asyncio.get_running_loop().call_later(RESUME_SECS, _fail, waiting, gone)

    async def _pump(self, link: Link, opened: Opened, send: Send) -> None:
        async for event in events_of(opened.chunks(), MOST_ANSWER_BYTES):
            passed = self._passed(opened, event, link.session, is_own_stream=True)
            if passed is not None:
                await send_part(send, {"type": "http.response.body", "body": passed, "more_body": True})

    def _passed(self, opened: Opened, event: Event, session: str, *, is_own_stream: bool = False) -> bytes | None:
        """An event as the agent gets it; None for one that it does not get. On a stream of its own there may be answers
        to what was cut before."""
        if opened.tells(event.data, (event.id or "").encode()):
            _log.error("proxy.answer_withheld", reason="held the credential")
            return None
        id_ = self._ids.told(session, event.id) if event.id is not None else None
        if not event.data:
            return event.write(b"", id_) if id_ is not None or event.retry is not None else None
        try:
            message = opened.message(event.data)
        except NotParsed as problem:
            _log.error("proxy.server_frame_dropped", problem=opened.words(problem))
            return None
        frame = write_frame(message).rstrip()
        if opened.tells(frame) or ("method" not in message and not is_own_stream):
            _log.error("proxy.server_frame_dropped", problem="an answer that nobody asked for, or the credential")
            return None
        if "method" not in message:
            _settle(self._open.get((session, key_of(message))), message)
        return event.write(frame, id_)


def _arrived(one: Exchange, waiting: asyncio.Future[Done], opened: Opened, raw: bytes) -> bool:
    """Whether this is the answer that the request waits for; then it has it."""
    try:
        message = opened.message(raw) if raw else {"method": ""}
    except NotParsed:
        return False
    if "method" in message or key_of(message) != key_of(one.message):
        return False
    told, problem = Told(message), problem_of(message)
    if opened.tells(raw, write_frame(message)):
        _log.error("proxy.answer_withheld", reason="held the credential")
        told = Told(error(message["id"], REFUSED, "the tool server's answer held its credential; it is not shown"))
        problem = safe_problem(opened.secret, problem)
    if not waiting.done():
        waiting.set_result(Done(answer=told, problem=problem))
    return True


def _settle(one: Exchange | None, message: Message) -> None:
    """The answer came on another stream."""
    if one is not None and one.waiting is not None and not one.waiting.done():
        one.waiting.set_result(Done(answer=Told(message), problem=problem_of(message)))


def _fail(waiting: asyncio.Future[Done], problem: Problem) -> None:
    if not waiting.done():
        waiting.set_exception(problem)


def _failed(one: Exchange, problem: Problem) -> Done:
    is_gone = problem.code == f"HTTP {_NOT_FOUND}" and bool(one.link.session)
    text = f"{problem}: nobody knows whether it was done" if problem.code == UNKNOWN else str(problem)
    told = Told(error(one.message["id"], REFUSED, text), _NOT_FOUND if is_gone else _OK, is_ours=True)
    return Done(answer=told, problem=Problem(problem.code, text))


def _not_reached(problem: Exception) -> Refused:
    _log.warning("proxy.server_unreachable", problem=type(problem).__name__)
    return Refused(502, "server_failed", "the tool server can't be reached, or did not answer")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
