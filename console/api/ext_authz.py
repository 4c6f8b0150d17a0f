"""``/v1/gate/ext-authz/{crm}/…``: Envoy's external authorization over HTTP, for a CRM's API behind Envoy.

Envoy sends the request's method, path, headers and body below this prefix, and lets it pass on 200 alone. The request
is read as by the HTTP proxy (``console.proxy``), so what can't be read is denied; who acts is the agent of the token.
Every refusal here is 403, since Envoy may have been told to let pass what a 5xx leaves open.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, route
from litestar.enums import HttpMethod

from console.answers import answer_of
from console.api.gate import CheckAnswer, hot_route
from console.auth import Caller, caller_of
from console.errors import Refused, forbidden
from console.heads import Head
from console.hot import answer_by
from console.proxy.asked import Asked, NotParsed, Together
from console.proxy.context import read_context
from console.proxy.crm import CRMS
from console.proxy.question import details_of, not_parsed, refused_by
from console.proxy.reading import Headers, read_call
from console.services import Services, services_of

PREFIX = "/v1/gate/ext-authz/"
_JSON = Head({b"content-type": "application/json"})
_PARTIAL = b"x-envoy-auth-partial-body"
_OK = 200
_METHODS = [HttpMethod.GET, HttpMethod.POST, HttpMethod.PATCH, HttpMethod.DELETE, HttpMethod.PUT]
_decode = msgspec.json.Decoder(CheckAnswer).decode


@route(
    f"{PREFIX}{{crm:str}}/{{path:path}}",
    http_method=_METHODS,
    status_code=_OK,
    tags=["producers"],
    summary="May this request to a CRM pass? For Envoy (ext_authz, HTTP)",
)
async def ext_authz(request: Request[Any, Any, Any]) -> Response[bytes]:
    """200 lets it pass, with ``X-Tripline-Decision``; 403 says why not, and what would allow it."""
    services, caller = services_of(request), caller_of(request)
    try:
        agent_id = _agent_of(caller)
        asked, said = await _read(request)
        decision = await _decide(services, caller, agent_id, asked, said)
    except NotParsed as problem:
        return _refused(not_parsed(problem))
    except Refused as refused:
        return _refused(refused)
    return Response(b"{}", status_code=_OK, headers={"X-Tripline-Decision": decision}, media_type="application/json")


async def _read(request: Request[Any, Any, Any]) -> tuple[Asked, dict[str, Any]]:
    """The operation, and what the agent says beside it. Raises NotParsed."""
    crm = request.path_params["crm"]
    raw: bytes = request.scope.get("raw_path") or b""
    begin = f"{PREFIX}{crm}".encode()
    parse = CRMS.get(crm)
    if parse is None or not raw.startswith(begin + b"/"):
        raise NotParsed(f"nobody here knows the CRM {crm[:40]!r}", f"known: {', '.join(CRMS)}")
    headers = [(name.lower(), value) for name, value in request.scope["headers"]]
    if any(name == _PARTIAL and value.strip().lower() != b"false" for name, value in headers):
        raise NotParsed("Envoy sent a part of the body only", "with_request_body.max_request_bytes may be larger")
    if request.method in ("GET", "DELETE") and _has_body(headers):
        raise NotParsed(f"a {request.method} with a body")
    body = b"" if request.method == "GET" else await request.body()
    path = raw.partition(b"?")[0].removeprefix(begin)
    call = read_call(str(request.method), path, request.scope["query_string"], headers, body)
    asked = parse(call)
    if isinstance(asked, Together):
        raise NotParsed(
            "several operations in one request", "send each by itself, or run the proxy, which asks for all"
        )
    return asked, read_context(headers, {})


def _has_body(headers: Headers) -> bool:
    known = dict(headers)
    return b"transfer-encoding" in known or known.get(b"content-length", b"0").strip() != b"0"


async def _decide(services: Services, caller: Caller, agent_id: str, asked: Asked, said: dict[str, Any]) -> str:
    """The id of the decision that allows it. Raises Refused."""
    drafts = services.drafts.take(asked.created)
    question = {"agent_id": agent_id, "action": asked.action, **details_of(asked, drafts, said)}
    answer = await answer_by(hot_route(services), msgspec.json.encode(question), _JSON, caller)
    assert answer is not None  # noqa: S101 - it takes every request
    told = _decode(answer.body)
    if answer.status != _OK or told.decision != "allow":
        services.drafts.give_back(asked.created, drafts)
        raise refused_by(asked, told)
    return told.decision_id


def _agent_of(caller: Caller) -> str:
    """The agent whose token came. Raises Refused."""
    agent_id = caller.token.agent_id if caller.token is not None else None
    if agent_id is None:
        raise forbidden("not_an_agent", "send the Tripline token of one agent (tripline tokens create NAME --agent ID)")
    return agent_id


def _refused(refused: Refused) -> Response[bytes]:
    answer = answer_of(refused)
    return Response(answer.body, status_code=403, media_type="application/json")


ROUTES = [ext_authz]
