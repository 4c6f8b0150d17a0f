"""The HTTP proxy: it holds the CRM's credential, and sends on only what the gate allows of one agent.

An agent talks to it as to the CRM, with its Tripline token. What is sent on is made anew from what was read: method,
path, query and body as they were judged, a few harmless headers, and the stored credential. Nothing that the agent sent
as a credential goes on, and nothing that the CRM answers may hold the stored one.
"""

from __future__ import annotations

import time

import httpx
import structlog
from litestar.types import Receive, Send

from console.answers import Answer, answer_of, encoded
from console.errors import Refused
from console.incoming import read_body
from console.proxy.asked import UNKNOWN, Done, NotParsed, Problem, Together
from console.proxy.context import read_context
from console.proxy.credential import BadCredential, Credential
from console.proxy.crm import Parse
from console.proxy.front import BODY_SECS, CONNECT_SECS, Front, ProxyConfig, Scope, holds, safe_problem, send_plain
from console.proxy.gatekeeper import MOST_AT_ONCE
from console.proxy.outcomes import NoAnswer, judge, judge_composite, listed
from console.proxy.question import not_parsed
from console.proxy.reading import MOST_BODY_BYTES, Call, Headers, read_call

MOST_ANSWER_BYTES = 16 * 1024 * 1024
_SENT_ON = frozenset({b"accept-language", b"if-match", b"if-unmodified-since"})
_TOLD = frozenset({
    b"content-type", b"etag", b"last-modified", b"retry-after", b"sforce-limit-info", b"x-hubspot-correlation-id",
    b"x-hubspot-ratelimit-remaining",
})  # fmt: skip
_JSON = b"application/json"
_LOST = frozenset({"no_credential", "crm_unreachable", UNKNOWN})
_log = structlog.get_logger("tripline.proxy")


class HttpProxy(Front):
    """An ASGI application. Parameters: ``parse`` knows the CRM's requests; ``credential`` is what it takes."""

    def __init__(self, config: ProxyConfig, parse: Parse, credential: Credential) -> None:
        super().__init__(config)
        self._parse = parse
        self._credential = credential
        self._crm: httpx.AsyncClient

    async def begin(self) -> None:
        """Open the connections; on the loop that serves."""
        await super().begin()
        self._crm = httpx.AsyncClient(
            base_url=self._config.upstream,
            timeout=httpx.Timeout(self._config.upstream_secs, connect=CONNECT_SECS),
            limits=httpx.Limits(max_connections=MOST_AT_ONCE, max_keepalive_connections=MOST_AT_ONCE),
            follow_redirects=False,
            trust_env=False,  # no proxy of the environment gets the credential
        )

    async def end(self) -> None:
        """Close them; what waits to be reported is sent."""
        await super().end()
        await self._crm.aclose()

    async def answer_to(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the agent."""
        await send_plain(send, await self._counted(scope, receive))

    # --- parts ------------------------------------------------------------------------------------------------------

    async def _counted(self, scope: Scope, receive: Receive) -> Answer:
        began, seen = time.perf_counter(), _Seen()
        try:
            answer = await self._answer(scope, receive, seen)
        except Refused as refused:
            seen.answer, answer = refused.code, answer_of(refused)
        self._metrics.requests.add(seen.answer, seen.route)
        self._metrics.seconds.observe(time.perf_counter() - began)
        return answer

    async def _answer(self, scope: Scope, receive: Receive, seen: _Seen) -> Answer:
        headers, path = scope["headers"], scope.get("raw_path") or b""
        self.check_agent(headers)
        try:
            body = await read_body(receive, MOST_BODY_BYTES, BODY_SECS)
            call = read_call(str(scope["method"]), path.partition(b"?")[0], scope["query_string"], headers, body)
            said = read_context(headers, self._config.fixed)
            parsed = self._parse(call)
        except NotParsed as problem:
            raise not_parsed(problem) from None
        whole = parsed if isinstance(parsed, Together) else Together(parts=(parsed,))
        if len(whole.parts) > 1 and "approval_id" in said:
            hint = "ask the same again without it: what was approved is found by its content"
            raise not_parsed(NotParsed("an approval is of one operation, and these are several", hint))
        seen.route = "write" if any(part.is_write for part in whole.parts) else "read"
        sent = whole.body if whole.body is not None else body
        done = await self._keeper.let_all(
            whole.parts, said, lambda decision: self._send_on(whole, call, headers, sent, decision)
        )
        is_lost = done.problem is not None and done.problem.code in _LOST
        seen.answer = "crm_failed" if is_lost else "passed"
        answer: Answer = done.answer
        return answer

    async def _send_on(self, whole: Together, call: Call, headers: Headers, body: bytes, decision: str) -> Done:
        try:
            secret = self._credential.secret()
        except BadCredential as problem:
            _log.error("proxy.no_credential", problem=str(problem))
            return _failed("no_credential", "the proxy has no credential of the CRM now; nothing was sent", decision)
        sent = [(name, value) for name, value in headers if name.lower() in _SENT_ON]
        sent += [(b"accept", _JSON), (b"accept-encoding", b"identity")]
        sent += [(b"authorization", b"Bearer " + secret.encode())]
        sent += [(b"content-type", _JSON)] if body else []
        try:
            request = self._crm.build_request(call.method, call.target, headers=sent, content=body or None)
            status, told, content = await self._exchange(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as problem:
            _log.warning("proxy.crm_unreachable", problem=type(problem).__name__)
            return _failed("crm_unreachable", "the CRM can't be reached; nothing was sent", decision)
        except httpx.HTTPError as problem:
            _log.warning("proxy.outcome_unknown", problem=type(problem).__name__)
            message = f"no answer of the CRM ({type(problem).__name__}): nobody knows whether it was done"
            return _failed(UNKNOWN, message, decision, 504)
        return self._told(whole, status, told, content, secret, decision)

    async def _exchange(self, request: httpx.Request) -> tuple[int, list[tuple[bytes, bytes]], bytes | None]:
        """Status, headers and body; None for a body that is too large. Raises httpx.HTTPError."""
        answer = await self._crm.send(request, stream=True)
        try:
            chunks, size = [], 0
            async for chunk in answer.aiter_bytes():
                size += len(chunk)
                if size > MOST_ANSWER_BYTES:
                    return answer.status_code, [], None
                chunks.append(chunk)
        finally:
            await answer.aclose()
        told = [(name.lower(), value) for name, value in answer.headers.raw]
        return answer.status_code, [each for each in told if each[0] in _TOLD], b"".join(chunks)

    def _told(
        self,
        whole: Together,
        status: int,
        told: list[tuple[bytes, bytes]],
        body: bytes | None,
        secret: str,
        decision: str,
    ) -> Done:
        """The CRM's answer as the agent gets it, and what it says of the operation."""
        if whole.is_composite:
            parts = judge_composite(status, body or b"", whole)
        else:
            parts = tuple(judge(status, body or b"", listed(part)) for part in whole.parts)
        problem = next((each for each, _ in parts if each is not None), None)
        if body is None:
            why = "is too large"
        elif holds(secret, body, *(value for _, value in told)):
            why = "held the CRM's credential"
            parts = tuple((safe_problem(secret, each), ()) for each, _ in parts)
            problem = safe_problem(secret, problem)
        elif (body and not _is_json(told)) or any(isinstance(each, NoAnswer) for each, _ in parts):
            why = "is not one of its API"
        else:
            headers = (*(each for each in told if each[0] != b"content-type"), *_said(decision))
            return Done(answer=Answer(status, body, headers), problem=problem, parts=parts)
        _log.error("proxy.answer_withheld", reason=why, status=status)
        failed = _failed("answer_withheld", f"the CRM's answer (status {status}) {why}; it is not shown", decision)
        return Done(answer=failed.answer, problem=problem, parts=parts)


class _Seen:
    """What is counted of one request."""

    __slots__ = ("answer", "route")

    def __init__(self) -> None:
        self.answer, self.route = "crm_failed", "unread"


def _is_json(told: Headers) -> bool:
    kind = next((value for name, value in told if name == b"content-type"), b"")
    return kind.partition(b";")[0].strip().lower() == _JSON


def _said(decision: str) -> tuple[tuple[bytes, bytes], ...]:
    return encoded({"X-Tripline-Decision": decision}) if decision else ()


def _failed(code: str, message: str, decision: str, status: int = 502) -> Done:
    refused = Refused(status, code, message, {"decision_id": decision})
    return Done(answer=answer_of(refused), problem=Problem(code, message))
