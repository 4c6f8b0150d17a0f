"""What each proxy that listens over HTTP does: it begins, ends, lets in one agent, counts, and says that it lives."""

from __future__ import annotations

import asyncio
import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping
from typing import Any

from litestar.types import Receive, Send
from msgspec import Struct

from console.answers import Answer, send_answer
from console.errors import Refused
from console.proxy.asked import Problem
from console.proxy.gatekeeper import Gatekeeper
from console.proxy.reading import Headers
from dashboards.proxy_metrics import ProxyMetrics
from dashboards.registry import CONTENT_TYPE, version
from tripline_client import AsyncTripline

Scope = MutableMapping[str, Any]
HEALTH, METRICS = "/-/healthy", "/-/metrics"
_ESCAPE = re.compile(rb"\\+u00([2-7][0-9A-Fa-f])")
BODY_SECS, CONNECT_SECS, UPSTREAM_SECS = 10.0, 5.0, 60.0


class ProxyConfig(Struct, frozen=True, kw_only=True):
    """One agent, one upstream. ``token``: the agent's Tripline token, which it has to send, and the gate is asked with;
    ``fixed``: what each question has (``authorized_by``, ``trigger``); ``upstream``: scheme and host of the CRM, or the
    whole address of a tool server; ``upstream_secs``: so long may it take for one answer."""

    agent_id: str
    token: str
    gate_url: str
    upstream: str
    fixed: Mapping[str, Any] = {}
    reads_without_gate: bool = False
    upstream_secs: float = UPSTREAM_SECS


class Front(ABC):
    """An ASGI application for one agent."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._gate: AsyncTripline
        self._keeper: Gatekeeper
        self._metrics = ProxyMetrics(version())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or begin and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": "no websockets here"})
            return
        path = scope.get("raw_path") or b""
        if path == METRICS.encode():
            await _send_metrics(send, await asyncio.to_thread(self._metrics.render))
        elif path == HEALTH.encode():
            await send_plain(send, Answer(200, b'{"status":"ok"}'))
        else:
            await self.answer_to(scope, receive, send)

    @abstractmethod
    async def answer_to(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the agent."""

    async def begin(self) -> None:
        """Open the connections; on the loop that serves."""
        config = self._config
        self._gate = AsyncTripline(config.gate_url, agent_id=config.agent_id, token=config.token, **config.fixed)
        self._keeper = Gatekeeper(self._gate, reads_without_gate=config.reads_without_gate)

    async def end(self) -> None:
        """Close them; what waits to be reported is sent."""
        await self._gate.close()

    def check_agent(self, headers: Headers) -> None:
        """Raises Refused (401) unless the agent's own Tripline token came, once."""
        given = [value for name, value in headers if name.lower() == b"authorization"]
        scheme, _, token = (given[0] if len(given) == 1 else b"").partition(b" ")
        is_good = hmac.compare_digest(token.strip(), self._config.token.encode())
        if scheme.lower() != b"bearer" or not is_good:
            message = f"send the Tripline token of {self._config.agent_id!r} (Authorization: Bearer); the CRM's is here"
            raise Refused(401, "unauthorized", message, headers={"WWW-Authenticate": 'Bearer realm="Tripline"'})

    async def _live(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.begin()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.end()
                await send({"type": "lifespan.shutdown.complete"})
                return


def holds(secret: str, *parts: bytes) -> bool:
    """Whether one of them has the credential in it, as it is or escaped as JSON may be, however deep."""
    raw = secret.encode()
    return any(raw in part or (b"\\" in part and raw.replace(b"\\", b"") in _unescaped(part)) for part in parts)


def safe_problem(secret: str, problem: Problem | None) -> Problem | None:
    """The same, to be reported of an answer that had the credential in it: nothing of its words is kept."""
    if problem is None:
        return None
    code = "withheld" if holds(secret, problem.code.encode()) else problem.code
    return Problem(code, "what was answered held the credential; it is not told")


def _unescaped(part: bytes) -> bytes:
    """Without its backslashes; escapes of plain characters are those characters."""
    plain = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), part) if b"\\u00" in part else part
    return plain.replace(b"\\", b"")


async def send_plain(send: Send, answer: Answer) -> None:
    """An answer that nobody keeps a copy of."""
    await send_answer(send, answer, [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")])


async def _send_metrics(send: Send, body: bytes) -> None:
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
