"""The MCP proxy over HTTP: an agent talks to it as to the tool server, which it reaches with a credential of its own.

Model Context Protocol, "Transports: Streamable HTTP" (2025-03-26 and later): one address; POST sends one message, and
is answered with JSON or a stream of events; GET listens; DELETE ends a session. Calls of tools and reads of resources
pass the gate as over standard input and output. What is sent on, and what is answered, is written anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from litestar.types import Receive, Send

from console.answers import Answer, answer_of
from console.errors import Refused
from console.incoming import read_body
from console.proxy.asked import NotParsed
from console.proxy.calls import CALL, MOST_CALLS, READ, operation_of, refused_answer, unknown_method
from console.proxy.context import read_context
from console.proxy.credential import Credential
from console.proxy.exchange import Exchange, Exchanges
from console.proxy.frames import INVALID_REQUEST, MOST_BYTES, REFUSED, Message, check_message, error, read_frame
from console.proxy.front import BODY_SECS, Front, ProxyConfig, Scope, send_plain
from console.proxy.mapping import ToolMap
from console.proxy.mcp_heads import check_place, checked_link, read_after
from console.proxy.mcp_server import Link, Sessions, ToolServer
from console.proxy.outbox import Told
from console.proxy.question import not_parsed
from console.proxy.reading import Headers, check_head, check_type

PATH = b"/mcp"
SETTLE_SECS = 2.0
MOST_READ_AT_ONCE, MOST_OPEN_BYTES = 16, 32 * 1024 * 1024
"""Bodies that are read at once, and what all open requests have together: more are asked for again later."""
_log = structlog.get_logger("tripline.proxy")


class McpHttpProxy(Front):
    """An ASGI application. ``config.upstream``: the tool server; ``is_near``: it listens on loopback alone."""

    def __init__(self, config: ProxyConfig, tools: ToolMap, credential: Credential, *, is_near: bool = True) -> None:
        super().__init__(config)
        self._tools = tools
        self._credential = credential
        self._is_near = is_near
        self._sessions = Sessions()
        self._server: ToolServer
        self._exchanges: Exchanges
        self._tasks: set[asyncio.Task[Told]] = set()
        self._reading = asyncio.Semaphore(MOST_READ_AT_ONCE)
        self._open_bytes = 0

    async def begin(self) -> None:
        """Open the connections; on the loop that serves."""
        await super().begin()
        self._server = ToolServer(self._config.upstream, self._credential)
        self._exchanges = Exchanges(self._server, self._sessions, self._config.upstream_secs)

    async def end(self) -> None:
        """Close them, once what is under way was answered or waited for; what waits to be reported is sent."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SETTLE_SECS)
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().end()
        await self._server.close()

    async def answer_to(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the agent."""
        method, headers = str(scope["method"]), scope["headers"]
        try:
            if scope.get("raw_path", b"").partition(b"?")[0] != PATH or scope["query_string"]:
                raise Refused(404, "not_found", f"the proxy's only address is {PATH.decode()}, without a query")
            check_place(headers, is_near=self._is_near)
            self.check_agent(headers)
            if method not in ("POST", "GET", "DELETE"):
                raise Refused(405, "method_not_allowed", "POST, GET and DELETE", headers={"Allow": "POST, GET, DELETE"})
            check_head(method, headers)
            link = checked_link(method, headers, self._sessions)
            if method == "POST":
                await self._post(link, headers, receive, send)
            elif method == "GET":
                await self._exchanges.listen(link, read_after(headers), receive, send)
            else:
                await send_plain(send, await self._exchanges.end_session(link))
        except NotParsed as problem:
            self._metrics.requests.add("not_parsed", "unread")
            await send_plain(send, _bad(error(None, INVALID_REQUEST, f"refused: {problem}")))
        except Refused as refused:
            self._metrics.requests.add(refused.code if refused.status in _COUNTED else "bad_request", "unread")
            await send_plain(send, answer_of(refused))

    # --- POST ---------------------------------------------------------------------------------------------------------

    async def _post(self, link: Link, headers: Headers, receive: Receive, send: Send) -> None:
        check_type(headers)
        said = read_context(headers, self._config.fixed)
        async with self._reading:
            raw = await read_body(receive, MOST_BYTES, BODY_SECS)
        if raw.lstrip().startswith(b"["):
            raise NotParsed("a batch; send each message by itself")
        message = check_message(read_frame(raw)[0])
        method = message.get("method")
        is_known = method is None or method in (CALL, READ) or self._exchanges.passes(method, self._tools.methods)
        if method is not None and "id" in message:
            if not is_known:
                await send_plain(send, Answer(200, _body(unknown_method(message))))
                return
            await self._request(Exchange(link=link, message=message, size=len(raw)), said, send)
        elif not is_known or method in (CALL, READ):
            raise NotParsed("a notification that nobody knows, or a call that wants no answer")
        else:
            async with self._room(len(raw)):
                await send_plain(send, await self._exchanges.tell(link, message))

    @asynccontextmanager
    async def _room(self, size: int) -> AsyncIterator[None]:
        """Holds so many bytes of what may be open. Raises Refused (503)."""
        if self._open_bytes + size > MOST_OPEN_BYTES:
            raise Refused(503, "too_many_calls", "too many messages are open, or too large ones")
        self._open_bytes += size
        try:
            yield
        finally:
            self._open_bytes -= size

    async def _request(self, one: Exchange, said: dict[str, Any], send: Send) -> None:
        is_full = len(self._tasks) >= MOST_CALLS or self._open_bytes + one.size > MOST_OPEN_BYTES
        if is_full or not self._exchanges.begin(one):
            why = "too many calls are open, or too large ones" if is_full else "this id is in use"
            await send_plain(send, Answer(200, _body(error(one.message["id"], INVALID_REQUEST, f"refused: {why}"))))
            return
        self._open_bytes += one.size
        one.task = asyncio.create_task(self._work(one, said))
        self._tasks.add(one.task)
        one.task.add_done_callback(lambda task: self._over(one, task))
        await one.outbox.send_all(send)

    async def _work(self, one: Exchange, said: dict[str, Any]) -> Told:
        """Ask the gate where it has to be asked, send it on, and answer; it goes on when the agent has gone."""
        began, answer, route = time.perf_counter(), "crm_failed", "unread"
        try:
            if one.message["method"] in (CALL, READ):
                asked = operation_of(self._tools, one.message)
                route = "write" if asked.is_write else "read"
                done = await self._keeper.let(asked, said, lambda _: self._exchanges.send(one))
            else:
                route, done = "read", await self._exchanges.send(one)
            told: Told = done.answer
            answer = "crm_failed" if told.is_ours else "passed"
        except NotParsed as problem:
            told, answer = Told(refused_answer(one.message, not_parsed(problem))), "not_parsed"
        except Refused as refused:
            told, answer = Told(refused_answer(one.message, refused)), refused.code
        finally:
            self._metrics.requests.add(answer, route)
            self._metrics.seconds.observe(time.perf_counter() - began)
        return told

    def _over(self, one: Exchange, task: asyncio.Task[Told]) -> None:
        """Answer a request whose work has ended, or was cancelled, perhaps before it began."""
        self._tasks.discard(task)
        self._open_bytes -= one.size
        self._exchanges.close(one)
        if not task.cancelled() and task.exception() is None:
            one.outbox.finish(task.result())
            return
        if not task.cancelled():
            _log.error("proxy.call_failed", problem=type(task.exception()).__name__)
        was = "before it was sent" if one.waiting is None else "and nobody knows whether it was done"
        what = "cancelled" if task.cancelled() else "the proxy failed"
        one.outbox.finish(Told(error(one.message["id"], REFUSED, f"{what} {was}"), is_ours=True))


_COUNTED = (401, 408, 413)


def _bad(message: Message) -> Answer:
    return Answer(400, _body(message))


def _body(message: Message) -> bytes:
    return Told(message).body()
