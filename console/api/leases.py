"""Leases: credits that the holder of one spends without asking; see docs/guarantees.md for what a stop then means."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery
from msgspec import Meta, Struct

from console.api.bodies import check_json, read_json
from console.api.control import operator
from console.api.docs import answer_of, body_of
from console.api.gate import check_speaker
from console.api.queries import read
from console.api.waiting import in_time
from console.auth import caller_of
from console.errors import Refused, bad_request, not_found
from console.services import Services, services_of
from events.times import format_ms
from events.types import DEFAULT_TENANT
from governance.gate_types import BadRequest
from governance.lease_types import LeaseAsk, LeaseReport, What, decode_ask, decode_report
from governance.leases import outstanding
from storage.read.leases import LeaseRow
from streams.leasing import Leased, Reported, read_outcomes

LEASE_SECS = 2.0
T = TypeVar("T")
_Request = Request[Any, Any, Any]


class LeaseAnswer(Struct, frozen=True, kw_only=True):
    """What a holder may do now.

    ``over``: why nothing may be admitted under the lease any more; "" while it lives. ``refused``: the rule that
    refused a grant or a renewal, ``reason`` why, ``stanza`` the lines of configuration that would allow it. Limits
    count from the lease's beginning. ``ttl_ms`` runs from when the request was *sent*. ``epoch`` is the agent's now.
    ``bound_actions``, ``bound_records``: what may at most be admitted under it after a stop.
    """

    lease_id: str
    over: str
    epoch: int
    state: str
    action_limit: int = 0
    record_limit: int = 0
    actions: int = 0
    ttl_ms: int = 0
    report_ms: int = 0
    bound_actions: int = 0
    bound_records: int = 0
    refused: str = ""
    reason: str = ""
    stanza: str = ""


class LeaseList(Struct, frozen=True, kw_only=True):
    """Leases, those that end last first, and what may be admitted under all that live: the bound of a stop now."""

    leases: list[LeaseRow]
    bound_actions: int
    bound_records: int


class OverrideBody(Struct, frozen=True):
    """Why an agent may go on although it has not told what came of its operations, and for how long."""

    reason: Annotated[str, Meta(min_length=1, max_length=2000, description="Why, in words; it is kept and shown.")]
    minutes: Annotated[int, Meta(ge=1, le=1440, description="It ends by itself after so many minutes.")] = 30


class OverrideAnswer(Struct, frozen=True):
    """Until when the agent may go on."""

    agent_id: str
    until: str
    by: str


_OVERRIDE = msgspec.json.Decoder(OverrideBody)
_ASKED = {
    "agent_id": "enrich-bot", "actions": ["record.update"], "object": "Lead", "fields": ["Industry"],
    "action_credits": 25, "record_credits": 25, "authorized_by": "user:005B2",
    "trigger": {"kind": "rule", "ref": "flow:enrich"}, "request_id": "l-1",
}  # fmt: skip
_REPORTED = {
    "agent_id": "enrich-bot", "used": 1,
    "debits": [{"n": 1, "operation": {"agent_id": "enrich-bot", "action": "record.update", "record_ids": ["00Q1"]}}],
}  # fmt: skip


@post(
    "/v1/leases",
    status_code=200,
    operation_class=body_of(LeaseAsk, example=_ASKED),
    tags=["producers"],
    summary="Credits to act without asking each time",
)
async def grant(request: _Request) -> Response[Any]:
    """A lease, or why there is none. The same request id again gets the same lease while it is unused."""
    services = services_of(request)
    try:
        asked = decode_ask(await _body(request))
    except BadRequest as problem:
        raise bad_request(str(problem), problem.field or None) from None
    check_speaker(caller_of(request), asked.agent_id)
    leased = await _soon(services.runtime.lease(asked))
    return Response(_answer(services, leased))


@post(
    "/v1/leases/{lease_id:str}/report",
    status_code=200,
    operation_class=body_of(LeaseReport, example=_REPORTED),
    tags=["producers"],
    summary="What was done under a lease",
)
async def report(request: _Request, lease_id: FromPath[str]) -> Response[Any]:
    """Debits and outcomes since the last report; says whether the lease lives."""
    return await _take(request, lease_id, "report")


@post(
    "/v1/leases/{lease_id:str}/renew",
    status_code=200,
    operation_class=body_of(LeaseReport, example=_REPORTED),
    tags=["producers"],
    summary="Go on with a lease",
)
async def renew(request: _Request, lease_id: FromPath[str]) -> Response[Any]:
    """As report; then a later end, and credits again for what is judged and has an outcome."""
    return await _take(request, lease_id, "renew")


@post(
    "/v1/leases/{lease_id:str}/return",
    status_code=200,
    operation_class=body_of(LeaseReport, example=_REPORTED),
    tags=["producers"],
    summary="Give a lease back",
)
async def give_back(request: _Request, lease_id: FromPath[str]) -> Response[Any]:
    """As report; then the lease is over, and what was not spent is free again."""
    return await _take(request, lease_id, "return")


@get("/v1/leases", operation_class=answer_of(LeaseList), tags=["queries"], summary="Leases")
async def leases(
    request: _Request,
    agent: FromQuery[str | None] = None,
    limit: Annotated[int, Meta(ge=1, le=200)] = 50,
) -> Response[Any]:
    """Leases, those that end last first, and how much may be admitted under them after a stop now."""
    services = services_of(request)
    now_ms = services.now_ms()
    found = await read(lambda: services.reader.leases(agent, limit))
    alive = await read(lambda: services.reader.living_leases(now_ms))
    actions, records = outstanding(alive, now_ms)
    rows = [LeaseRow.of(one, now_ms) for one in found]
    return Response(LeaseList(leases=rows, bound_actions=actions, bound_records=records))


@post(
    "/v1/agents/{agent_id:str}/lease-override",
    status_code=200,
    operation_class=body_of(OverrideBody, example={"reason": "the host crashed; looked in the CRM", "minutes": 30}),
    tags=["control"],
    summary="Let a blind agent go on",
)
async def override(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """Let an agent write although outcomes are missing, for a while. Takes a person with the role operator."""
    person, services = operator(request), services_of(request)
    body = read_json(await request.body(), request.headers.get("content-type", ""), _OVERRIDE)
    if not body.reason.strip():
        raise bad_request("a reason is needed", "reason")
    if agent_id not in services.settings.agents:
        raise not_found(f"no agent {agent_id[:100]!r} is configured")
    key = f"{DEFAULT_TENANT}/{agent_id}"
    asked = services.runtime.override_lease(key, body.minutes, person.name, body.reason.strip())
    until_ms = await _soon(asked)
    return Response(OverrideAnswer(agent_id, format_ms(until_ms), person.name))


async def _take(request: _Request, lease_id: str, what: What) -> Response[Any]:
    services = services_of(request)
    try:
        told = decode_report(await _body(request))
        reported: Reported = read_outcomes(lease_id, told, services.limits)
    except BadRequest as problem:
        raise bad_request(str(problem), problem.field or None) from None
    check_speaker(caller_of(request), told.agent_id)
    leased = await _soon(services.runtime.report_lease(reported, what))
    if leased is None:
        raise not_found(f"this agent has no lease {lease_id[:100]!r}")
    if leased.refusal is not None and leased.refusal.rule == "gap":
        actions = leased.lease.actions if leased.lease is not None else 0
        raise Refused(409, "gap", leased.refusal.reason, {"field": "debits", "actions": actions})
    return Response(_answer(services, leased))


async def _body(request: _Request) -> bytes:
    check_json(request.headers.get("content-type", ""))
    return await request.body()


async def _soon(asked: Future[T]) -> T:
    return await in_time(asked, LEASE_SECS, then="ask")


def _answer(services: Services, leased: Leased) -> LeaseAnswer:
    lease, refusal = leased.lease, leased.refusal
    lives = lease is not None and not leased.over
    return LeaseAnswer(
        lease_id=lease.lease_id if lease is not None else "",
        over=leased.over,
        epoch=leased.epoch,
        state=leased.state,
        action_limit=lease.action_limit if lease is not None else 0,
        record_limit=lease.record_limit if lease is not None else 0,
        actions=lease.actions if lease is not None else 0,
        ttl_ms=max(0, lease.end_ms - leased.at_ms) if lease is not None and lives else 0,
        report_ms=services.settings.leases.report_ms,
        bound_actions=lease.actions_left if lease is not None and lives else 0,
        bound_records=lease.records_left if lease is not None and lives else 0,
        refused=refusal.rule if refusal is not None else "",
        reason=refusal.reason if refusal is not None else "",
        stanza=refusal.stanza if refusal is not None else "",
    )


ROUTES = [grant, report, renew, give_back, leases, override]
