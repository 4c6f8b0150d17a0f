"""Runs a tool server as a child process, with the MCP proxy between it and our own standard input and output."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import structlog

from console.proxy.frames import MOST_BYTES
from console.proxy.gatekeeper import Gatekeeper
from console.proxy.mapping import ToolMap
from console.proxy.mcp import McpProxy
from tripline_client import AsyncTripline

SETTLE_SECS, STOP_SECS = 10.0, 2.0
_HIDDEN = "TRIPLINE_"
_log = structlog.get_logger("tripline.proxy")


async def run(
    command: Sequence[str],
    gate: AsyncTripline,
    tools: ToolMap,
    *,
    reads_without_gate: bool = False,
    call_secs: float,
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
) -> int:
    """Serve one session, until the agent's side or the server ends; the server's exit code, 0 when we ended it.

    Raises OSError when the server can't be started.
    """
    server = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=server_environment(os.environ)
    )
    assert server.stdin is not None  # noqa: S101 - narrows: both are pipes
    assert server.stdout is not None  # noqa: S101
    reader, writer = await _own_pipes(stdin or sys.stdin.buffer, stdout or sys.stdout.buffer)
    proxy = McpProxy(
        Gatekeeper(gate, reads_without_gate=reads_without_gate),
        tools,
        _write_to(writer),
        _write_to(server.stdin),
        call_secs,
    )
    told = asyncio.create_task(proxy.from_server(server.stdout))
    asked = asyncio.create_task(proxy.from_agent(reader))
    try:
        await asyncio.wait([told, asked], return_when=asyncio.FIRST_COMPLETED)
        is_ours = not told.done()
        asked.cancel()
        for problem in await asyncio.gather(asked, return_exceptions=True):
            if isinstance(problem, Exception):
                _log.error("proxy.session_failed", problem=repr(problem))
        await proxy.settle(SETTLE_SECS if is_ours else STOP_SECS)
        code = await _end(server)
        await asyncio.wait([told], timeout=STOP_SECS)
        await proxy.settle(STOP_SECS)
        return 0 if is_ours else code or 1
    finally:
        await gate.close()


def server_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What the server gets of our environment: not the agent's token, nor anything else of Tripline's."""
    return {name: value for name, value in environment.items() if not name.startswith(_HIDDEN)}


async def _own_pipes(stdin: BinaryIO, stdout: BinaryIO) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MOST_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, stdout)
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


def _write_to(writer: asyncio.StreamWriter) -> Any:
    async def write(frame: bytes) -> None:
        writer.write(frame)
        await writer.drain()

    return write


async def _end(server: asyncio.subprocess.Process) -> int:
    """As the protocol has it: close its input, then ask it to end, then end it."""
    assert server.stdin is not None  # noqa: S101 - narrows: it is a pipe
    server.stdin.close()
    for signal in (None, server.terminate, server.kill):
        if signal is not None and server.returncode is None:
            signal()
        try:
            async with asyncio.timeout(STOP_SECS):
                return await server.wait()
        except TimeoutError:
            _log.warning("proxy.server_does_not_end")
    return -1
