"""The policy in force, and wider versions of it: asked for by one person, agreed by another, ended by anybody."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery
from msgspec import Meta, Struct

from console.api.control import Reason, operator, read_form, to_page
from console.api.docs import answer_of, body_of
from console.api.queries import read
from console.api.widenings import STATUS_OF, ConfirmBody, EndBody, decide
from console.errors import Refused, not_found
from console.services import Services, services_of
from events.times import DAY_MS, format_ms
from governance.widening import Decided, Widening
from streams import policy_change
from streams.policy_change import POLICY_KEY, Wider
from streams.widening import new_id

BOARD_PAGE = "/delegation"
_Request = Request[Any, Any, Any]


class AskBody(Struct, frozen=True, kw_only=True):
    """Which version of the files (its hash, or at least 12 digits of it), why, and for how many days."""

    version: Annotated[str, Meta(min_length=12, max_length=64, description="As `GET /v1/policy` tells it: `found`.")]
    reason: Reason
    days: Annotated[float, Meta(gt=0, le=90)] = 30.0


class PolicyChange(Struct, frozen=True, kw_only=True):
    """A wider version. ``state``: waiting (for a second person), agreed, ended, lapsed. ``lines``: what it adds."""

    id: str
    state: str
    version: str
    adds_to: str
    lines: list[str]
    reason: str
    by: str
    asked: str
    until: str
    second: str
    ended_by: str
    end_reason: str
    message: str = ""


class PolicyState(Struct, frozen=True, kw_only=True):
    """Which version decides (``version``; "" without a policy), and which is back at ``until``, where there is an end.

    ``found``: the newest version in the files; ``waits``: what it gives more than the one in force. ``trouble``: why
    the files can't be used.
    """

    version: str
    agents: int
    base: str
    until: str | None
    found: str
    waits: list[str]
    trouble: str
    changes: list[PolicyChange]


_ASK, _END = msgspec.json.Decoder(AskBody), msgspec.json.Decoder(EndBody)


@get("/v1/policy", operation_class=answer_of(PolicyState), tags=["policy"], summary="The policy in force")
async def state(request: _Request, all: FromQuery[bool] = False) -> Response[Any]:
    """Which version decides, what waits for two people, and what they agreed to; ``all=true``: what is over, too."""
    services = services_of(request)
    return Response(await read(lambda: state_of(services, with_over=all)))


@post(
    "/v1/policy/changes",
    status_code=202,
    operation_class=body_of(AskBody, example={"version": "5f0c1d2e3a4b", "days": 30, "reason": "a pilot with SDRs"}),
    tags=["policy"],
    summary="Ask for a wider policy",
)
async def ask(request: _Request) -> Response[Any]:
    """Takes a person with the role operator; it is in force when another one has confirmed it, until its end."""
    person = operator(request)
    body = await read_form(request, AskBody, _ASK)
    services = services_of(request)
    found = services.runtime.policies.found
    if found is None or not found.hash.startswith(body.version):
        raise Refused(409, "stale", "the files have another version by now: look at what it adds, and ask for that one")
    until_ms = services.now_ms() + int(body.days * DAY_MS)
    wanted, id_ = Wider(policy=found, by=person.name, reason=body.reason, until_ms=until_ms), new_id()
    decided = await decide(services, POLICY_KEY, lambda at: policy_change.ask(at, wanted, id_))
    return await _answer(request, services, decided, status=202)


@post(
    "/v1/policy/changes/{change_id:str}/confirm",
    status_code=200,
    operation_class=body_of(ConfirmBody, example={}),
    tags=["policy"],
    summary="Agree to a wider policy (second person)",
)
async def confirm(request: _Request, change_id: FromPath[str]) -> Response[Any]:
    """Another person than the one who asked, who answers for none of the agents that get more. 403 otherwise.

    409 when the version in force is not the one any more that it was asked for: nobody agrees to what was not shown.
    """
    person, services = operator(request), services_of(request)
    decided = await decide(services, POLICY_KEY, lambda at: policy_change.confirm(at, change_id, person.name))
    return await _answer(request, services, decided)


@post(
    "/v1/policy/changes/{change_id:str}/end",
    status_code=200,
    operation_class=body_of(EndBody, example={"reason": "the pilot is over"}),
    tags=["policy"],
    summary="End a wider policy",
)
async def end(request: _Request, change_id: FromPath[str]) -> Response[Any]:
    """One person is enough, and the version before is back from then on; what waits is withdrawn."""
    person = operator(request)
    body = await read_form(request, EndBody, _END)
    services = services_of(request)
    decided = await decide(services, POLICY_KEY, lambda at: policy_change.end(at, change_id, person.name, body.reason))
    return await _answer(request, services, decided)


def state_of(services: Services, *, with_over: bool = False) -> PolicyState:
    """What is in force, what waits, and what was agreed to. Blocks."""
    now_ms, policies = services.now_ms(), services.runtime.policies
    policy, force = policies.policy, policies.force
    is_wide = force is not None and force.is_wide_at(now_ms)
    return PolicyState(
        version=policy.hash if policy is not None else "",
        agents=len(policy.agents) if policy is not None else 0,
        base=force.base.hash if force is not None else "",
        until=format_ms(force.until_ms) if force is not None and is_wide else None,
        found=policies.found.hash if policies.found is not None else "",
        waits=list(policy_change.in_words(policies.wider)),
        trouble="; ".join(each for each in (policies.trouble, policies.lost) if each),
        changes=[shown(each, now_ms) for each in services.reader.policy_changes(now_ms, with_over=with_over)],
    )


def shown(one: Widening, now_ms: int, message: str = "") -> PolicyChange:
    """A change as answers give it."""
    return PolicyChange(
        id=one.id,
        state=one.state_at(now_ms),
        version=one.subject,
        adds_to=one.topic,
        lines=list(one.lines),
        reason=one.reason,
        by=one.by,
        asked=format_ms(one.asked_ms),
        until=format_ms(one.until_ms),
        second=one.second,
        ended_by=one.ended_by,
        end_reason=one.end_reason,
        message=message,
    )


async def _answer(
    request: _Request, services: Services, decided: Decided | None, *, status: int = 200
) -> Response[Any]:
    if decided is None:
        raise not_found("there is none of this id")
    if not decided.is_taken:
        raise Refused(STATUS_OF.get(decided.why, 400), str(decided.why), decided.sentence)
    await read(services.runtime.policies.refresh)
    told = shown(decided.widening, services.now_ms(), decided.sentence)
    return to_page(request, BOARD_PAGE) or Response(told, status_code=status)


ROUTES = [state, ask, confirm, end]
