"""Whether an agent's stop holds, for programs."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from msgspec import Meta, Struct

from console.api.control import operator, read_form
from console.api.docs import answer_of, body_of
from console.api.queries import read
from console.api.waiting import in_time
from console.auth import Person
from console.errors import Refused, bad_request, not_found
from console.public import public
from console.services import Services, services_of
from governance.holding import Holding, hold
from storage.read.containment import Containment, OutsideRow
from storage.revocations import Revocation
from streams import cancelling, levers

_Request = Request[Any, Any, Any]


class ContainmentAnswer(Struct, frozen=True):
    """How far the stop has got (null: it is not stopped), and what was seen of the agent outside the gate."""

    stop: Holding | None
    shadow_48h: int
    writes: list[OutsideRow]
    revocations: list[Revocation]


class RevokeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why an agent's credentials are to be taken away."""

    reason: Annotated[str, Meta(min_length=1, max_length=2000)]


_REVOKE = msgspec.json.Decoder(RevokeBody)


class RevokeAnswer(Struct, frozen=True):
    """Which credentials will be taken away; how it went is told, and on the agent's page."""

    agent_id: str
    credentials: list[str]
    message: str


def holding_of(found: Containment, services: Services) -> Holding | None:
    """How far the stop that lasts has got; None when there is none."""
    if found.stop is None:
        return None
    return hold(found.stop, int(1000 * services.settings.containment.gate_answer_secs))


@get(
    "/v1/agents/{agent_id:str}/containment",
    operation_class=answer_of(ContainmentAnswer),
    tags=["queries"],
    summary="Does its stop hold",
)
async def containment(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """Requested, enforced by n of m gates, seen to hold, contained; and changes outside the gate, the newest twenty."""
    services = services_of(request)
    now_ms, is_declared = services.now_ms(), agent_id in services.settings.agents
    page = await read(lambda: services.reader.agent_page(agent_id, now_ms, is_declared=is_declared))
    if page is None:
        raise not_found(f"no agent {agent_id[:100]!r} was ever seen")
    found = page.containment
    return Response(
        public(ContainmentAnswer(holding_of(found, services), found.shadow_48h, found.writes, found.revocations))
    )


async def revoke_all(services: Services, agent_id: str, person: Person, reason: str) -> list[str]:
    """Have an agent's credentials taken away; their names. Raises Refused when there are none, or without a reason."""
    if not reason.strip():
        raise bad_request("a reason is needed", "reason")
    if not any(one.agent == agent_id for one in services.settings.credentials.values()):
        text = f"the settings name no credential of {agent_id[:100]!r}: take it away in the CRM, by hand"
        raise Refused(409, "no_credentials", text)
    key = services.reader.key(agent_id)
    asked = services.runtime.decide(
        key, lambda authority: levers.ask(authority, key, "human", person.name, reason.strip())
    )
    return await in_time(asked)


@post(
    "/v1/agents/{agent_id:str}/revoke",
    status_code=202,
    operation_class=body_of(RevokeBody, example={"reason": "it writes past the gate"}),
    tags=["control"],
    summary="Take an agent's credentials away",
)
async def revoke(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """Have the CRM take an agent's credentials away. It does not stop it, and nothing here gives them back.

    Takes a person with the role operator.
    """
    person = operator(request)
    body = await read_form(request, RevokeBody, _REVOKE)
    names = await revoke_all(services_of(request), agent_id, person, body.reason)
    return Response(
        RevokeAnswer(agent_id, names, "asked for; how it went is told, and on the agent's page"), status_code=202
    )


class CancelBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why what a stopped agent had set up is to be cancelled."""

    reason: Annotated[str, Meta(min_length=1, max_length=2000)]


_CANCEL = msgspec.json.Decoder(CancelBody)


class CancelAnswer(Struct, frozen=True):
    """How many things the CRM will be asked to cancel; what comes of each is on the agent's page."""

    agent_id: str
    effects: int
    message: str


async def cancel_all(services: Services, agent_id: str, person: Person, reason: str) -> int:
    """Have all cancelled that a stopped agent had set up; how many things. Raises Refused when there is nothing."""
    if not reason.strip():
        raise bad_request("a reason is needed", "reason")
    if not services.settings.crm:
        raise Refused(409, "no_crm", "the settings name no crm: cancel it there, by hand")
    now_ms, is_declared = services.now_ms(), agent_id in services.settings.agents
    page = await read(lambda: services.reader.agent_page(agent_id, now_ms, is_declared=is_declared))
    stop = page.containment.stop if page is not None else None
    if stop is None:
        raise Refused(409, "not_stopped", f"{agent_id[:100]!r} is not stopped: stop it first")
    wanted = await read(lambda: services.reader.pending(agent_id, stop.stop_ms, cancelling.MOST))
    key, since_ms = services.reader.key(agent_id), stop.decided_ms
    asked = services.runtime.decide(
        key, lambda authority: cancelling.ask(authority, key, since_ms, wanted, "human", person.name, reason.strip())
    )
    number = await in_time(asked)
    if not number:
        raise Refused(409, "nothing_pending", "nothing is pending that was not cancelled, or asked for, already")
    return number


@post(
    "/v1/agents/{agent_id:str}/cancel-pending",
    status_code=202,
    operation_class=body_of(CancelBody, example={"reason": "it enrolled the wrong people"}),
    tags=["control"],
    summary="Cancel what a stopped agent had set up",
)
async def cancel_pending(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """Have the CRM cancel what a stopped agent had set up and what may still happen: sequences, meetings, automations.

    Only what the CRM says is the agent's alone is touched. Takes a person with the role operator.
    """
    person = operator(request)
    body = await read_form(request, CancelBody, _CANCEL)
    number = await cancel_all(services_of(request), agent_id, person, body.reason)
    return Response(CancelAnswer(agent_id, number, "asked for; what comes of each is on its page"), status_code=202)


ROUTES = [containment, revoke, cancel_pending]
