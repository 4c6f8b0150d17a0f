"""``POST /v1/gate/check``: may this agent do this? The answer is durable before it is given.

When nothing can be decided (store down, engine stuck, no time left) the answer is "deny": writes fail closed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Annotated, Any

import msgspec
import structlog
from governance.gate import GateDecision, GateRequest
from litestar import Request, Response, post
from msgspec import Meta, Struct

from console.api.bodies import read_json
from console.api.docs import body_of
from console.auth import caller_of
from console.errors import Refused
from console.services import Services, services_of
from events.types import FieldChanges, Name, Text, Trigger

CHECK_SECS = 2.0
_log = structlog.get_logger("tripline.gate")
_Request = Request[Any, Any, Any]


class CheckBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent is about to do. What it leaves out counts as unknown, and unknown counts as the worst."""

    agent_id: Name
    action: Annotated[str, Meta(min_length=1, max_length=128)]
    object: Text | None = None
    record_ids: Annotated[list[Text], Meta(max_length=10_000)] = []
    changes: dict[str, FieldChanges] = {}
    recipient_ids: Annotated[list[Text], Meta(max_length=10_000)] = []
    authorized_by: Text | None = None
    trigger: Trigger | None = None
    request_id: Annotated[str, Meta(max_length=256)] | None = None


class CheckAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """allow, hold (a person must approve first) or deny; ``rule`` is the code of what decided."""

    decision: str
    decision_id: str
    reason: str
    rule: str
    epoch: int
    stanza: str = ""


_DECODER = msgspec.json.Decoder(CheckBody)
_ENCODER = msgspec.json.Encoder()
_EXAMPLE = {
    "agent_id": "dealbot",
    "action": "record.update",
    "object": "Opportunity",
    "record_ids": ["006A1"],
    "request_id": "r-1",
}


@post(
    "/v1/gate/check",
    status_code=200,
    operation_class=body_of(CheckBody, example=_EXAMPLE),
    tags=["producers"],
    summary="May this agent do this?",
)
async def check(request: _Request) -> Response[bytes]:
    """Allow, hold or deny, with the reason. 503 (and deny) when it can't be decided."""
    started = time.perf_counter()
    services = services_of(request)
    body = read_json(await request.body(), request.headers.get("content-type", ""), _DECODER)
    token = caller_of(request).token
    if token is not None and token.agent_id is not None and token.agent_id != body.agent_id:
        raise Refused(403, "not_yours", f"this token speaks for {token.agent_id!r} only", {"field": "agent_id"})
    status, answer = await _decided(services, body)
    services.metrics.gate_decisions.add(answer.decision, answer.rule)
    services.metrics.gate_seconds.observe(time.perf_counter() - started)
    return Response(_ENCODER.encode(answer), status_code=status, media_type="application/json")


async def _decided(services: Services, body: CheckBody) -> tuple[int, CheckAnswer]:
    try:
        async with asyncio.timeout(CHECK_SECS):
            return 200, _answer(await asyncio.wrap_future(services.runtime.check(_request(body))))
    except TimeoutError:
        services.metrics.gate_errors.add("timeout")
    except Exception as problem:
        services.metrics.gate_errors.add("error")
        _log.error("gate.failed", problem=repr(problem))
    reason = "the gate could not decide (store or engine not available), so writes are denied"
    return 503, CheckAnswer(
        decision="deny", decision_id=secrets.token_hex(16), reason=reason, rule="not_available", epoch=0
    )


def _request(body: CheckBody) -> GateRequest:
    return msgspec.convert(body, GateRequest, from_attributes=True)


def _answer(decision: GateDecision) -> CheckAnswer:
    return CheckAnswer(
        decision=decision.decision,
        decision_id=decision.decision_id,
        reason=decision.reason,
        rule=str(decision.rule),
        epoch=decision.epoch,
        stanza=decision.stanza or "",
    )


ROUTES = [check]
