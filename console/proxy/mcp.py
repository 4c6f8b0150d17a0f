"""The MCP proxy: between an agent and a tool server on standard input and output; each call of a tool passes the gate.

Model Context Protocol, "Transports: stdio" and "Server features: tools": one JSON-RPC message a line. A refused call is
answered with a result that has ``isError``, which a model gets to read. Ids stay as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from console.errors import Refused
from console.proxy.asked import UNKNOWN, Done, NotParsed, Problem
from console.proxy.calls import (
    CALL,
    CALL_SECS,
    CANCELLED,
    CANCELLED_SECS,
    MOST_CALLS,
    PASSING,
    READ,
    cancelled_key,
    key_of,
    operation_of,
    problem_of,
    refused_answer,
    unknown_method,
)
from console.proxy.frames import (
    INVALID_REQUEST,
    MOST_FROM_SERVER,
    PARSE_ERROR,
    REFUSED,
    Message,
    check_message,
    error,
    lines_of,
    read_frame,
    write_frame,
)
from console.proxy.gatekeeper import Gatekeeper
from console.proxy.mapping import ToolMap
from console.proxy.question import not_parsed

_log = structlog.get_logger("tripline.proxy")

Write = Callable[[bytes], Awaitable[None]]


class McpProxy:
    """One session. Parameters: ``to_agent`` and ``to_server`` write a frame; ``call_secs``: so long may a call take."""

    def __init__(
        self, keeper: Gatekeeper, tools: ToolMap, to_agent: Write, to_server: Write, call_secs: float = CALL_SECS
    ) -> None:
        self._keeper = keeper
        self._tools = tools
        self._to_agent = to_agent
        self._to_server = to_server
        self._call_secs = call_secs
        self._passing = PASSING | set(tools.methods)
        self._calls: dict[Any, asyncio.Task[None]] = {}
        self._unsent: set[Any] = set()
        self._sent: dict[Any, asyncio.Future[Message]] = {}
        self._batches: dict[Any, _Batch] = {}
        self._writing = asyncio.Lock()

    async def from_agent(self, reader: asyncio.StreamReader) -> None:
        """Read what the agent sends, until it ends."""
        async for line in lines_of(reader):
            try:
                messages = read_frame(line)
            except NotParsed as problem:
                await self._answer(error(None, PARSE_ERROR, f"refused: {problem}"))
                continue
            if line is not None and line.lstrip().startswith(b"["):
                await self._batch(messages)
            else:
                await self._one(messages[0])

    async def from_server(self, reader: asyncio.StreamReader) -> None:
        """Read what the server sends, until it ends; then nobody knows of the calls that have no answer."""
        async for line in lines_of(reader, MOST_FROM_SERVER):
            try:
                messages = [check_message(each) for each in read_frame(line, is_answer=True)]
            except NotParsed as problem:
                _log.error("proxy.server_frame_dropped", problem=str(problem))
                continue
            for message in messages:
                waiting = None if "method" in message else self._sent.get(key_of(message))
                if waiting is None:
                    await self._answer(message)
                elif not waiting.done():
                    waiting.set_result(message)
        for waiting in self._sent.values():
            if not waiting.done():
                waiting.set_exception(Problem(UNKNOWN, "the tool server ended before it answered"))

    async def settle(self, secs: float) -> None:
        """Wait until each call that was begun is answered and reported, for so long at most."""
        if self._calls:
            await asyncio.wait(self._calls.values(), timeout=secs)

    # --- from the agent -----------------------------------------------------------------------------------------------

    async def _batch(self, messages: list[Any]) -> None:
        """Each message by itself; the answers go back together, when all are there."""
        keys: list[Any] = []
        wrong: list[Message] = []
        for each in messages:
            try:
                if "method" in check_message(each) and "id" in each:
                    keys.append(key_of(each))
            except NotParsed as problem:
                wrong.append(_invalid(each, problem))
        if (
            not messages
            or len(set(keys)) != len(keys)
            or any(key in self._batches or self._is_open(key) for key in keys)
        ):
            await self._answer(error(None, INVALID_REQUEST, "refused: an empty batch, or an id that is used twice"))
            return
        if wrong:  # of what comes together, all is well or nothing is done
            await self._to_agent_whole(wrong)
            return
        self._batches.update(dict.fromkeys(keys, _Batch(len(keys))))
        for each in messages:
            await self._one(each)

    async def _one(self, raw: Any) -> None:
        try:
            message = check_message(raw)
        except NotParsed as problem:
            await self._answer(_invalid(raw, problem))
            return
        method = message.get("method")
        if method in (CALL, READ):
            await self._begin(message)
        elif method is None or method in self._passing:
            await self._pass(message)
        elif "id" in message:
            await self._answer(unknown_method(message))

    async def _pass(self, message: Message) -> None:
        if message.get("method") == CANCELLED:
            key = cancelled_key(message)
            if key is not None and key in self._unsent:
                self._calls[key].cancel()  # it was not sent, and will not be
                await self._answer(error(key[1], REFUSED, "cancelled before it was sent"))
                return
            if key in self._sent:  # a server need not answer it any more
                asyncio.get_running_loop().call_later(CANCELLED_SECS, _give_up, self._sent[key])
        await self._to_server(write_frame(message))

    async def _begin(self, message: Message) -> None:
        """Begin a call, in a task of its own: others need not wait for it."""
        if "id" not in message:
            _log.warning("proxy.call_without_id")  # nobody could be told what came of it
            return
        key = key_of(message)
        if self._is_open(key) or len(self._calls) >= MOST_CALLS:
            why = "too many calls are open" if len(self._calls) >= MOST_CALLS else "this id is in use"
            await self._answer(error(message["id"], INVALID_REQUEST, f"refused: {why}"))
            return
        self._unsent.add(key)
        task = self._calls[key] = asyncio.create_task(self._call(key, message))
        task.add_done_callback(lambda _: self._close(key))

    def _close(self, key: Any) -> None:
        self._calls.pop(key, None)
        self._unsent.discard(key)

    async def _call(self, key: Any, message: Message) -> None:
        try:
            asked = operation_of(self._tools, message)
            answer = (await self._keeper.let(asked, {}, lambda _: self._send(key, message))).answer
        except NotParsed as problem:
            answer = refused_answer(message, not_parsed(problem))
        except Refused as refused:
            answer = refused_answer(message, refused)
        self._unsent.discard(key)
        await self._answer(answer)

    async def _send(self, key: Any, message: Message) -> Done:
        """Send an allowed call, and wait for its answer."""
        self._unsent.discard(key)
        waiting = self._sent[key] = asyncio.get_running_loop().create_future()
        try:
            await self._to_server(write_frame(message))
            async with asyncio.timeout(self._call_secs):
                answer = await waiting
        except (TimeoutError, OSError, Problem) as failed:
            why = f"no answer within {self._call_secs:g} s" if isinstance(failed, TimeoutError) else str(failed)
            problem = Problem(UNKNOWN, f"{why}: nobody knows whether it was done")
            return Done(answer=error(message["id"], REFUSED, str(problem)), problem=problem)
        finally:
            del self._sent[key]
        return Done(answer=answer, problem=problem_of(answer))

    # --- to the agent -------------------------------------------------------------------------------------------------

    async def _answer(self, message: Message) -> None:
        batch = None if "method" in message else self._batches.pop(key_of(message), None)
        if batch is None:
            await self._to_agent_whole(message)
        elif batch.is_whole_with(message):
            await self._to_agent_whole(batch.answers)

    async def _to_agent_whole(self, message: Any) -> None:
        async with self._writing:
            await self._to_agent(write_frame(message))

    def _is_open(self, key: Any) -> bool:
        return key in self._calls or key in self._sent


class _Batch:
    """The answers of a batch, until all are there."""

    def __init__(self, wanted: int) -> None:
        self.answers: list[Message] = []
        self._wanted = wanted

    def is_whole_with(self, message: Message) -> bool:
        self.answers.append(message)
        return len(self.answers) >= self._wanted


def _give_up(waiting: asyncio.Future[Message]) -> None:
    if not waiting.done():
        waiting.set_exception(Problem(UNKNOWN, "its client cancelled it"))


def _invalid(raw: Any, problem: NotParsed) -> Message:
    known = raw.get("id") if isinstance(raw, dict) else None
    id_ = known if isinstance(known, str | int) and not isinstance(known, bool) else None
    return error(id_, INVALID_REQUEST, f"refused: {problem}")
