"""``POST /v1/gate/check``: may this agent do this? The answer is durable before it is given.

When nothing can be decided (store down, engine stuck, no time left) the answer is "deny": writes fail closed.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec
import structlog
from litestar import Request, Response, post
from msgspec import Struct

from console.api.docs import body_of
from console.auth import Caller, caller_of
from console.bridge import Bridge
from console.errors import Refused, bad_request
from console.security import FastRoute
from console.services import Services, services_of
from governance.gate import BadRequest, GateDecision, GateRequest, decode_request

PATH = "/v1/gate/check"
CHECK_SECS = 2.0
NOT_AVAILABLE = "not_available"
_log = structlog.get_logger("tripline.gate")
_encode = msgspec.json.Encoder().encode


class CheckAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """allow, hold (a person must approve first) or deny. ``rule`` is the code of what decided; ``stanza`` is the
    configuration that would allow it, where there is one."""

    decision: str
    decision_id: str
    reason: str
    rule: str
    epoch: int
    stanza: str = ""
    detail: str = ""


_EXAMPLE = {
    "agent_id": "dealbot",
    "action": "record.update",
    "object": "Opportunity",
    "record_ids": ["006A1"],
    "changes": {"006A1": {"StageName": ["Proposal", "Negotiation"]}},
    "authorized_by": "user:005B2",
    "trigger": {"kind": "rule", "ref": "flow:stage-sync"},
    "request_id": "r-1",
}


@post(
    PATH,
    status_code=200,
    operation_class=body_of(GateRequest, example=_EXAMPLE),
    tags=["producers"],
    summary="May this agent do this?",
)
async def check(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Allow, hold or deny, with the reason. 503 (and deny) when it can't be decided."""
    decide = decider(services_of(request))
    status, body = await decide(await request.body(), request.headers.get("content-type", ""), caller_of(request))
    return Response(body, status_code=status, media_type="application/json")


def decider(services: Services) -> FastRoute:
    """The route as a function of body, content type and caller: the guard calls it without Litestar in between."""
    metrics, bridge = services.metrics, Bridge(CHECK_SECS)

    async def decide(body: bytes, content_type: str, caller: Caller) -> tuple[int, bytes]:
        started = time.perf_counter()
        status, answer = await _decided(services, bridge, read_check(body, content_type, caller))
        metrics.gate_decisions.add(answer.decision, answer.rule)
        metrics.gate_seconds.observe(time.perf_counter() - started)
        return status, _encode(answer)

    return decide


def read_check(body: bytes, content_type: str, caller: Caller) -> GateRequest:
    """The request. Raises Refused: 415, 400 with the field, or 403 when a token speaks for another agent."""
    if content_type.partition(";")[0].strip().lower() not in ("application/json", ""):
        raise Refused(415, "unsupported_media_type", f"send application/json, not {content_type[:60]!r}")
    try:
        asked = decode_request(body)
    except BadRequest as problem:
        text = str(problem) if problem.field else f"the check is not readable JSON: {problem}"
        raise bad_request(text, problem.field or None) from None
    token = caller.token
    if token is not None and token.agent_id is not None and token.agent_id != asked.agent_id:
        raise Refused(403, "not_yours", f"this token speaks for {token.agent_id!r} only", {"field": "agent_id"})
    return asked


async def _decided(services: Services, bridge: Bridge, asked: GateRequest) -> tuple[int, CheckAnswer]:
    try:
        return 200, _answer(await bridge.result(services.runtime.check(asked)))
    except TimeoutError:
        services.metrics.gate_errors.add("timeout")
    except Exception as problem:  # whatever went wrong, the answer is deny
        services.metrics.gate_errors.add("error")
        _log.error("gate.failed", problem=repr(problem))
    reason = "denied: the gate could not decide (store or engine not available)"
    return 503, CheckAnswer(
        decision="deny", decision_id=secrets.token_hex(16), reason=reason, rule=NOT_AVAILABLE, epoch=0
    )


def _answer(decision: GateDecision) -> CheckAnswer:
    return CheckAnswer(
        decision=decision.decision,
        decision_id=decision.decision_id,
        reason=decision.reason,
        rule=decision.rule.value,
        epoch=decision.epoch,
        stanza=decision.stanza,
        detail=decision.detail,
    )


ROUTES = [check]
