"""Mutes, expectations and verdicts on findings: asked for by one person, agreed by another, ended by anybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery
from msgspec import Meta, Struct

from console.api.control import MAX_ID_CHARS, Reason, operator, read_form, to_page
from console.api.docs import answer_of, body_of
from console.api.queries import read
from console.api.waiting import in_time
from console.errors import Refused, bad_request, not_found
from console.services import Services, services_of
from detectors.discovery import discover
from events.times import DAY_MS, HOUR_MS, BadTime, format_ms, parse_ms
from events.types import DEFAULT_TENANT
from governance.widening import EVERY_DETECTOR, Decided, Why, Widening
from streams import widening
from streams.authority import Authority
from streams.widening import Expect, new_id

STATUS_OF = {
    Why.NOT_WAITING: 409, Why.SAME_PERSON: 403, Why.OWNER: 403, Why.TOO_MANY: 409, Why.NOTHING_WIDER: 409,
    Why.STALE: 409,
}  # fmt: skip
FINDINGS_PAGE, MUTES_PAGE = "/findings", "/mutes"
T = TypeVar("T")
_Request = Request[Any, Any, Any]


class MuteBody(Struct, frozen=True, kw_only=True):
    """Which detector is quietened (``*``: all), for how long, and why. ``since``: a maintenance window that lies ahead.

    ``most``: what it may still ask for, ``notify`` or ``none``.
    """

    detector: Annotated[str, Meta(min_length=1, max_length=128)]
    reason: Reason
    hours: Annotated[float, Meta(gt=0, le=168, description="How long it lasts; with `since`, from then on.")]
    since: Annotated[str, Meta(max_length=40, description="RFC 3339 with a zone; empty: when it is confirmed.")] = ""
    most: Literal["notify", "none"] = "notify"


class EndBody(Struct, frozen=True):
    """Why it is taken back."""

    reason: Reason


class ConfirmBody(Struct, frozen=True):
    """Nothing: the second person confirms what the first one asked for."""


class VerdictBody(Struct, frozen=True, kw_only=True):
    """``wrong`` counts against the detector's budget. ``expected``: for so many ``days`` up to ``factor`` times what
    was seen, and at most twice the limit, is told and not acted on; it takes a second person.
    """

    verdict: Literal["wrong", "expected"]
    reason: Reason
    days: Annotated[float, Meta(gt=0, le=30)] = 7.0
    factor: Annotated[float, Meta(ge=1, le=2)] = 1.25


class WideningShown(Struct, frozen=True, kw_only=True):
    """A mute or an expectation. ``state``: waiting (for a second person), agreed, ended, lapsed."""

    id: str
    kind: str
    state: str
    agent_id: str
    detector: str
    since: str | None
    until: str
    most: str
    finding_id: str
    ceiling: float | None
    unit: str
    reason: str
    by: str
    asked: str
    second: str
    ended_by: str
    end_reason: str
    message: str = ""


class WideningList(Struct, frozen=True):
    """Mutes and expectations, the newest first."""

    mutes: list[WideningShown]


class VerdictShown(Struct, frozen=True, kw_only=True):
    """What was said of a finding."""

    finding_id: str
    verdict: str
    detector: str
    by: str
    message: str


_MUTE, _END = msgspec.json.Decoder(MuteBody), msgspec.json.Decoder(EndBody)
_VERDICT = msgspec.json.Decoder(VerdictBody)


@get("/v1/mutes", operation_class=answer_of(WideningList), tags=["detectors"], summary="Mutes and expectations")
async def mutes(request: _Request, all: FromQuery[bool] = False, agent: FromQuery[str | None] = None) -> Response[Any]:
    """What waits for a second person and what holds; with ``all=true`` what is over as well."""
    services = services_of(request)
    now_ms = services.now_ms()
    found = await read(lambda: services.reader.widenings(agent, now_ms, with_over=all))
    return Response(WideningList([shown(one, now_ms) for one in found]))


@post(
    "/v1/agents/{agent_id:str}/mutes",
    status_code=202,
    operation_class=body_of(MuteBody, example={"detector": "action_rate", "hours": 8, "reason": "import of leads"}),
    tags=["detectors"],
    summary="Ask to mute a detector for an agent",
)
async def mute(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """Takes a person with the role operator; holds when another one has confirmed it."""
    person = operator(request)
    body = await read_form(request, MuteBody, _MUTE)
    services = services_of(request)
    if not 0 < len(agent_id) <= MAX_ID_CHARS or agent_id == "*":
        raise bad_request(f"an agent's id has 1 to {MAX_ID_CHARS} characters and is not *", "agent_id")
    if body.detector != EVERY_DETECTOR and body.detector not in discover():
        raise bad_request(f"no detector is called so; there are {', '.join(discover())} and *", "detector")
    since_ms = _time(body.since, "since") if body.since else 0
    key = f"{DEFAULT_TENANT}/{agent_id}"
    wanted = Widening(
        id=new_id(),
        kind="mute",
        key=key,
        agent_id=agent_id,
        detector=body.detector,
        since_ms=since_ms,
        until_ms=max(since_ms, services.now_ms()) + int(body.hours * HOUR_MS),
        reason=body.reason,
        by=person.name,
        asked_ms=services.now_ms(),
        most=body.most,
    )
    decided = await decide(services, key, lambda authority: widening.ask(authority, wanted))
    return _answer(request, services, decided, f"/agents/{quote(agent_id, safe='')}", status=202)


@post(
    "/v1/mutes/{widening_id:str}/confirm",
    status_code=200,
    operation_class=body_of(ConfirmBody, example={}),
    tags=["detectors"],
    summary="Confirm a mute or an expectation (second person)",
)
async def confirm(request: _Request, widening_id: FromPath[str]) -> Response[Any]:
    """Another person than the one who asked, who does not answer for the agent. 403 otherwise."""
    person = operator(request)
    services = services_of(request)
    decided = await decide(services, widening_id, lambda at: widening.confirm(at, widening_id, person.name))
    return _answer(request, services, decided, MUTES_PAGE)


@post(
    "/v1/mutes/{widening_id:str}/end",
    status_code=200,
    operation_class=body_of(EndBody, example={"reason": "the import is done"}),
    tags=["detectors"],
    summary="End a mute or an expectation",
)
async def end(request: _Request, widening_id: FromPath[str]) -> Response[Any]:
    """One person is enough, and it holds no longer from then on; what waits is withdrawn."""
    person = operator(request)
    body = await read_form(request, EndBody, _END)
    services = services_of(request)
    decided = await decide(services, widening_id, lambda at: widening.end(at, widening_id, person.name, body.reason))
    return _answer(request, services, decided, MUTES_PAGE)


@post(
    "/v1/findings/{finding_id:str}/verdict",
    status_code=200,
    operation_class=body_of(VerdictBody, example={"verdict": "wrong", "reason": "the quarter's end"}),
    tags=["detectors"],
    summary="Say that a finding was wrong, or expected",
)
async def verdict(request: _Request, finding_id: FromPath[str]) -> Response[Any]:
    """*Wrong* counts at once; *expected* waits for a second person (202) and then changes what is acted on."""
    person = operator(request)
    body = await read_form(request, VerdictBody, _VERDICT)
    services = services_of(request)
    if body.verdict == "wrong":
        said = await decide(
            services, finding_id, lambda at: widening.call_wrong(at, finding_id, person.name, body.reason)
        )
        if said is None:
            raise not_found("there is no such finding")
        message = f"It counts against the budget of {said.detector}."
        told = VerdictShown(finding_id=finding_id, verdict="wrong", detector=said.detector, by=said.by, message=message)
        return to_page(request, FINDINGS_PAGE) or Response(told)
    until_ms = services.now_ms() + int(body.days * DAY_MS)
    wanted = Expect(finding_id=finding_id, by=person.name, reason=body.reason, until_ms=until_ms, factor=body.factor)
    id_ = new_id()
    decided = await decide(services, finding_id, lambda authority: widening.expect(authority, wanted, id_))
    return _answer(request, services, decided, MUTES_PAGE, status=202)


def shown(one: Widening, now_ms: int, message: str = "") -> WideningShown:
    """A widening as answers give it."""
    return WideningShown(
        id=one.id,
        kind=one.kind,
        state=one.state_at(now_ms),
        agent_id=one.agent_id,
        detector=one.detector,
        since=format_ms(one.since_ms or one.agreed_ms) if one.since_ms or one.agreed_ms else None,
        until=format_ms(one.until_ms),
        most=one.most,
        finding_id=one.subject,
        ceiling=one.ceiling if one.kind == "expected" else None,
        unit=one.unit,
        reason=one.reason,
        by=one.by,
        asked=format_ms(one.asked_ms),
        second=one.second,
        ended_by=one.ended_by,
        end_reason=one.end_reason,
        message=message,
    )


async def decide(services: Services, key: str, function: Callable[[Authority], T]) -> T:
    """Decide in the runtime's transaction. Raises Refused when no answer comes in time."""
    return await in_time(services.runtime.decide(key, function))


def _answer(
    request: _Request, services: Services, decided: Decided | None, page: str, *, status: int = 200
) -> Response[Any]:
    if decided is None:
        raise not_found("there is none of this id")
    if not decided.is_taken:
        raise Refused(STATUS_OF.get(decided.why, 400), str(decided.why), decided.sentence)
    told = shown(decided.widening, services.now_ms(), decided.sentence)
    return to_page(request, page) or Response(told, status_code=status)


def _time(text: str, field: str) -> int:
    try:
        return parse_ms(text)
    except BadTime as problem:
        raise bad_request(str(problem), field) from None


ROUTES = [mutes, mute, confirm, end, verdict]
