"""Stopping and releasing agents: for people who are logged in, with a reason, never for API tokens."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, quote

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from msgspec import Meta, Struct

from console.api.bodies import read_json
from console.api.docs import body_of
from console.api.waiting import in_time
from console.auth import Person, Role, person_of
from console.errors import Refused, bad_request, forbidden
from console.services import Services, services_of
from events.times import format_ms
from events.types import DEFAULT_TENANT, By
from governance.control import Asked, ControlRequest, Decision, Why, stop_all_key

ALL = "*"
FORM = "application/x-www-form-urlencoded"
MAX_ID_CHARS = 256
STATUS_OF = {Why.CONFLICT: 409, Why.REASON_MISSING: 400}

Reason = Annotated[str, Meta(min_length=1, max_length=2000, description="Why, in words; it is kept and shown.")]
T = TypeVar("T", bound=Struct)


class SuspendBody(Struct, frozen=True):
    """Why an agent (or all) is stopped."""

    reason: Reason


class ReleaseBody(Struct, frozen=True):
    """Why an agent is released, and the epoch that the person saw: another one since then is a conflict (409)."""

    reason: Reason
    epoch: Annotated[int, Meta(ge=0)]


class ReleaseAllBody(Struct, frozen=True):
    """The first person sends ``reason`` and ``epoch``; the second one the ``confirm`` of that request."""

    reason: Annotated[str, Meta(max_length=2000)] = ""
    epoch: Annotated[int, Meta(ge=0)] | None = None
    confirm: Annotated[str, Meta(max_length=64)] = ""


class ControlAnswer(Struct, frozen=True, kw_only=True):
    """The state after the request, whether it changed, and a sentence that says what was decided."""

    agent_id: str
    state: str
    epoch: int
    at: str
    by: By
    reason: str
    changed: bool
    why: str
    message: str


class StopAllState(Struct, frozen=True, kw_only=True):
    """Whether everything is stopped, and a request to end that which waits for a second person."""

    state: str
    epoch: int
    at: str | None
    by: str
    reason: str
    waiting_by: str | None = None
    waiting_reason: str | None = None
    waiting_confirm: str | None = None
    waiting_until: str | None = None


def _decoder(model: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(model)


_SUSPEND, _RELEASE, _RELEASE_ALL = _decoder(SuspendBody), _decoder(ReleaseBody), _decoder(ReleaseAllBody)
_Request = Request[Any, Any, Any]


@post(
    "/v1/agents/{agent_id:str}/suspend",
    status_code=200,
    operation_class=body_of(SuspendBody, example={"reason": "it writes nonsense"}),
    tags=["control"],
    summary="Suspend an agent",
)
async def suspend(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """Stop an agent: the gate refuses everything of it from now on. Takes a person with the role operator."""
    person = operator(request)
    body = await read_form(request, SuspendBody, _SUSPEND)
    services = services_of(request)
    decision = await ask(services, agent_id, "suspended", person, body.reason)
    return answer(request, decision, f"/agents/{quote(agent_id, safe='')}")


@post(
    "/v1/agents/{agent_id:str}/release",
    status_code=200,
    operation_class=body_of(ReleaseBody, example={"reason": "the loop is mended", "epoch": 7}),
    tags=["control"],
    summary="Release an agent",
)
async def release(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """Let a stopped agent go on, once all it did before is judged. 409 with the current epoch when it is stale."""
    person = operator(request)
    body = await read_form(request, ReleaseBody, _RELEASE)
    services = services_of(request)
    decision = await ask(services, agent_id, "active", person, body.reason, epoch=body.epoch)
    return answer(request, decision, f"/agents/{quote(agent_id, safe='')}")


@post(
    "/v1/stop-all",
    status_code=200,
    operation_class=body_of(SuspendBody, example={"reason": "unclear what is going on"}),
    tags=["control"],
    summary="Stop every agent",
)
async def stop_all(request: _Request) -> Response[Any]:
    """Stop every agent at once. One person can; ending it takes two."""
    person = operator(request)
    body = await read_form(request, SuspendBody, _SUSPEND)
    decision = await ask(services_of(request), ALL, "suspended", person, body.reason)
    return answer(request, decision, "/")


@post(
    "/v1/release-all",
    status_code=200,
    operation_class=body_of(ReleaseAllBody, example={"reason": "all clear", "epoch": 3}),
    tags=["control"],
    summary="End the stop of every agent (two people)",
)
async def release_all(request: _Request) -> Response[Any]:
    """The first person's request waits ten minutes for another person, who confirms it."""
    person = operator(request)
    body = await read_form(request, ReleaseAllBody, _RELEASE_ALL)
    services = services_of(request)
    if not body.confirm:
        if not body.reason.strip() or body.epoch is None:
            raise bad_request("say why (reason) and which epoch you saw (epoch)", "epoch" if body.reason else "reason")
        services.two.ask(person.name, body.reason, body.epoch)
        return to_page(request, "/") or Response(await _stop_all_state(services), status_code=202)
    pending = services.two.confirm(body.confirm, person.name)
    if pending is None:
        raise forbidden("needs_two", "no request of another person waits under this number; ask for one again")
    decision = await ask(
        services, ALL, "active", Person(pending.by, "operator"), pending.reason, epoch=pending.epoch, second=person
    )
    return answer(request, decision, "/")


@get("/v1/stop-all", tags=["control"], summary="Is everything stopped?")
async def stop_all_state(request: _Request) -> StopAllState:
    """The state of the stop of all agents; its epoch is what a release names."""
    return await _stop_all_state(services_of(request))


def operator(request: _Request) -> Person:
    """The logged-in person, who must be an operator. Raises Refused."""
    return acting_as(request, "operator")


def acting_as(request: _Request, role: Role) -> Person:
    """The logged-in person, who must have a role. Raises Refused."""
    person = person_of(request)
    if person is None:
        raise forbidden("only_a_person", "only a person who is logged in can do this")
    if not person.may_act_as(role):
        raise forbidden("missing_role", f"{person.name} is a {person.role}: this takes the role {role}")
    return person


async def ask(
    services: Services,
    agent_id: str,
    wanted: Asked,
    person: Person,
    reason: str,
    *,
    epoch: int = 0,
    second: Person | None = None,
) -> Decision:
    """Put a person's request to the authority and wait for its decision. Raises Refused when it says no."""
    if not 0 < len(agent_id) <= MAX_ID_CHARS:
        raise bad_request(f"an agent's id has 1 to {MAX_ID_CHARS} characters", "agent_id")
    if not reason.strip():
        raise bad_request("a reason is needed", "reason")
    request = ControlRequest(
        key=stop_all_key(DEFAULT_TENANT) if agent_id == ALL else f"{DEFAULT_TENANT}/{agent_id}",
        agent_id=agent_id,
        wanted=wanted,
        basis_epoch=epoch,
        by=By("human", person.name),
        reason=reason.strip(),
        at_ms=services.now_ms(),
        second=By("human", second.name) if second is not None else None,
    )
    decision = await in_time(services.runtime.control(request))
    if decision.is_refused:
        row = decision.row
        extra = {"epoch": row.epoch, "state": row.state, "agent_id": row.agent_id}
        raise Refused(STATUS_OF.get(decision.why, 403), str(decision.why), decision.sentence, extra)
    return decision


def answer(request: _Request, decision: Decision, page: str) -> Response[Any]:
    """The decision as JSON, or for a page's form the way back to the page."""
    return to_page(request, page) or Response(
        ControlAnswer(
            agent_id=decision.row.agent_id,
            state=decision.row.state,
            epoch=decision.row.epoch,
            at=format_ms(decision.row.at_ms),
            by=decision.row.by,
            reason=decision.row.reason,
            changed=decision.changed,
            why=str(decision.why),
            message=decision.sentence,
        )
    )


async def _stop_all_state(services: Services) -> StopAllState:
    entry = await asyncio.to_thread(services.reader.stop_all)
    pending = services.two.pending
    return StopAllState(
        state=entry.state if entry else "active",
        epoch=entry.epoch if entry else 0,
        at=format_ms(entry.at_ms) if entry else None,
        by=entry.by_id if entry else "",
        reason=entry.reason if entry else "",
        waiting_by=pending.by if pending else None,
        waiting_reason=pending.reason if pending else None,
        waiting_confirm=pending.confirm if pending else None,
        waiting_until=format_ms(pending.expires_ms) if pending else None,
    )


async def read_form(request: _Request, model: type[T], decoder: msgspec.json.Decoder[T]) -> T:
    """A body, as JSON or as a page's form. Raises Refused."""
    body, content_type = await request.body(), request.headers.get("content-type", "")
    if not content_type.startswith(FORM):
        return read_json(body, content_type, decoder)
    try:
        fields = dict(parse_qsl(body.decode("utf-8"), max_num_fields=50))
        return msgspec.convert(fields, model, strict=False)
    except (ValueError, msgspec.ValidationError) as problem:
        raise bad_request(f"the form: {problem}") from None


def to_page(request: _Request, page: str) -> Response[Any] | None:
    """The way back to a page, for a page's form; None for a program."""
    if "hx-request" in request.headers:
        return Response(b"", status_code=204, headers={"HX-Redirect": page})
    if request.headers.get("content-type", "").startswith(FORM):
        return Response(b"", status_code=303, headers={"Location": page})
    return None


ROUTES = [suspend, release, stop_all, release_all, stop_all_state]
