"""``POST /v1/gate/check``: may this agent do this? The answer is durable before it is given.

When nothing can be decided (store down, engine stuck, no time left) the answer is "deny": writes fail closed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import msgspec
import structlog
from litestar import Request, Response, post
from msgspec import Struct

from console.answers import Answer
from console.api.docs import body_of
from console.auth import Caller, caller_of
from console.desk import Desk
from console.errors import Refused, bad_request
from console.heads import Head, read_head
from console.hot import HotRoute, Reply, answer_by
from console.services import Services, services_of
from dashboards.metrics import Metrics
from governance.gate import BadRequest, GateDecision, GateRequest, decode_request

PATH = "/v1/gate/check"
CHECK_SECS = 2.0
NOT_AVAILABLE = "not_available"
_log = structlog.get_logger("tripline.gate")
_encode = msgspec.json.Encoder().encode


class CheckAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """allow, hold (a person must approve first) or deny. ``rule`` is the code of what decided; ``stanza`` is the
    configuration that would allow it, where there is one. ``policy``: the version of the autonomy policy in force;
    ``policy_rule``: which of its rules decided, where it did. ``approval_id``: the approval that it waits for, or
    that let it pass; ``approved_by`` who gave it. ``approved_content``: what a person approved instead of this."""

    decision: str
    decision_id: str
    reason: str
    rule: str
    epoch: int
    stanza: str = ""
    detail: str = ""
    policy: str = ""
    policy_rule: str = ""
    approval_id: str = ""
    approved_by: str = ""
    approved_content: dict[str, Any] | None = None


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
    route, head = hot_route(services_of(request)), read_head(request.scope["headers"])
    answer = await answer_by(route, await request.body(), head, caller_of(request))
    assert answer is not None  # noqa: S101 - it takes every request
    return Response(answer.body, status_code=answer.status, media_type="application/json")


def hot_route(services: Services) -> HotRoute:
    """The route as a ``console.hot.HotRoute``; it takes every request."""
    metrics, desk = services.metrics, Desk(services.runtime, CHECK_SECS)

    def begin(body: bytes, head: Head, caller: Caller, reply: Reply) -> bool:
        started = time.perf_counter()
        asked = read_check(body, head.get(b"content-type"), caller)

        def told(decision: GateDecision | None, trouble: str = "timeout") -> None:
            status, answer = _told(decision, trouble, metrics)
            metrics.gate_decisions.add(answer.decision, answer.rule)
            metrics.gate_seconds.observe(time.perf_counter() - started)
            reply(Answer(status, _encode(answer)))

        try:
            desk.ask(asked, told)
        except Exception as problem:  # whatever went wrong, the answer is deny
            _log.error("gate.failed", problem=repr(problem))
            asyncio.get_running_loop().call_soon(told, None, "error")
        return True

    return begin


def read_check(body: bytes, content_type: str, caller: Caller) -> GateRequest:
    """The request. Raises Refused: 415, 400 with the field, or 403 when a token speaks for another agent."""
    if content_type.partition(";")[0].strip().lower() not in ("application/json", ""):
        raise Refused(415, "unsupported_media_type", f"send application/json, not {content_type[:60]!r}")
    try:
        asked = decode_request(body)
    except BadRequest as problem:
        raise bad_request(str(problem), problem.field or None) from None
    check_speaker(caller, asked.agent_id)
    return asked


def check_speaker(caller: Caller, agent_id: str) -> None:
    """An agent's own token speaks for that agent alone. Raises Refused."""
    token = caller.token
    if token is not None and token.agent_id is not None and token.agent_id != agent_id:
        raise Refused(403, "not_yours", f"this token speaks for {token.agent_id!r} only", {"field": "agent_id"})


def _told(decision: GateDecision | None, trouble: str, metrics: Metrics) -> tuple[int, CheckAnswer]:
    """The status and the answer; deny, without a decision or when it can't be told."""
    try:
        if decision is not None:
            return 200, _answer(decision)
    except Exception as problem:  # whatever went wrong, the answer is deny
        trouble = "error"
        _log.error("gate.failed", problem=repr(problem))
    metrics.gate_errors.add(trouble)
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
        policy=decision.policy,
        policy_rule=decision.policy_rule,
        approval_id=decision.approval_id,
        approved_by=decision.approved_by,
        approved_content=_content(decision),
    )


def _content(decision: GateDecision) -> dict[str, Any] | None:
    """What was approved instead, ready to be asked for."""
    content = decision.approved_content
    if content is None:
        return None
    whole: dict[str, Any] = msgspec.to_builtins(content)
    defaults: dict[str, Any] = msgspec.to_builtins(GateRequest(agent_id=content.agent_id, action=content.action))
    names = ("agent_id", "action")
    return {name: value for name, value in whole.items() if name in names or value != defaults.get(name)}


ROUTES = [check]
