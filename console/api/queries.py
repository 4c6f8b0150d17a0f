"""Reading: agents, findings, what was done, deals. Each answer is one short read transaction, in a thread."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from litestar import Request, Response, get
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec import Struct
from msgspec.structs import replace

from console.api.docs import answer_of
from console.errors import Refused, bad_request, not_found
from console.grading import graded
from console.public import public
from console.services import Services, services_of
from events.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, BadTime, parse_ms
from storage.read import BadCursor, ReadTookTooLong
from storage.read.types import ActionPage, AgentPage, AgentRow, DealRow, FindingPage, ScorePoint, TopDeals

_Request = Request[Any, Any, Any]
T = TypeVar("T")

UNITS_MS = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
DEFAULT_SPAN = "48h"
MAX_LIMIT = 5_000

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="Rows at most.")]
Since = Annotated[str | None, QueryParameter(description="From this time (RFC 3339) on.")]
Until = Annotated[str | None, QueryParameter(description="Up to this time (RFC 3339).")]
Last = Annotated[str | None, QueryParameter(description="Instead of since: the last 90s, 15m, 48h, 7d or 2w.")]
Cursor = Annotated[str | None, QueryParameter(description="`next_cursor` of the answer before.")]


class AgentList(Struct, frozen=True):
    """Every agent that was ever seen or controlled."""

    agents: list[AgentRow]


class DealAnswer(Struct, frozen=True):
    """A deal and its scores over time."""

    deal: DealRow
    scores: list[ScorePoint]


def span_ms(text: str, field: str = "last") -> int:
    """Milliseconds of a span such as 48h. Raises Refused."""
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    if match is None:
        raise bad_request(f"{field}: {text[:40]!r} is no span; write 90s, 15m, 48h, 7d or 2w", field)
    return int(match[1]) * UNITS_MS[match[2]]


def window_ms(since: str | None, until: str | None, last: str | None, now_ms: int) -> tuple[int, int]:
    """Beginning and end of the time asked for; without any, the last 48 hours. Raises Refused."""
    if since and last:
        raise bad_request("give since or last, not both", "last")
    end = _time("until", until) if until else now_ms
    start = _time("since", since) if since else end - span_ms(last or DEFAULT_SPAN)
    if start > end:
        raise bad_request("since lies after until", "since")
    return start, end


def monday_ms(now_ms: int) -> int:
    """When this week began, UTC: deals show how their risk moved since."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((today - timedelta(days=today.weekday())).timestamp()) * 1000


async def read(query: Callable[[], T]) -> T:
    """Run a query in a thread. Raises Refused when it is cut off."""
    try:
        return await asyncio.to_thread(query)
    except BadCursor as problem:
        raise bad_request(f"cursor: {problem}", "cursor") from None
    except ReadTookTooLong:
        raise Refused(503, "too_much", "this takes too long: ask for a shorter time or fewer rows") from None


@get("/v1/agents", operation_class=answer_of(AgentList), tags=["queries"], summary="All agents")
async def agents(request: _Request) -> Response[Any]:
    """Every agent with its control state, grade and worst case, counts and the last four hours in five minutes."""
    services = services_of(request)
    rows = await read(lambda: services.reader.agents(services.now_ms()))
    return Response(public(AgentList(graded(rows, services))))


@get("/v1/agents/{agent_id:str}", operation_class=answer_of(AgentPage), tags=["queries"], summary="One agent")
async def agent(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """One agent: state, timeline, findings of two days, and what the authority decided."""
    services = services_of(request)
    page = await read(lambda: services.reader.agent_page(agent_id, services.now_ms()))
    if page is None:
        raise not_found(f"no agent {agent_id[:100]!r} was ever seen")
    return Response(public(replace(page, row=graded([page.row], services)[0])))


@get("/v1/findings", operation_class=answer_of(FindingPage), tags=["queries"], summary="Findings")
async def findings(
    request: _Request,
    agent: FromQuery[str | None] = None,
    severity: FromQuery[str | None] = None,
    mode: FromQuery[str | None] = None,
    detector: FromQuery[str | None] = None,
    since: Since = None,
    last: Last = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[Any]:
    """What detectors said, newest first."""
    services = services_of(request)
    start = window_ms(since, None, last, services.now_ms())[0] if since or last else 0
    page = await read(
        lambda: services.reader.findings(
            start, agent_id=agent, severity=severity, mode=mode, detector=detector, limit=limit, cursor=cursor
        )
    )
    return Response(public(page))


@get("/v1/actions", operation_class=answer_of(ActionPage), tags=["queries"], summary="What agents did")
async def actions(
    request: _Request,
    agent: FromQuery[str | None] = None,
    object: FromQuery[str | None] = None,
    type: Annotated[str | None, QueryParameter(description="As record.update, or record.* for a noun.")] = None,
    record: FromQuery[str | None] = None,
    since: Since = None,
    until: Until = None,
    last: Last = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[Any]:
    """What was done, newest first: before → after, on whose authority, and what the gate refused."""
    services = services_of(request)
    start, end = window_ms(since, until, last, services.now_ms())
    page = await read(
        lambda: services.reader.actions(
            agent, start, end, object=object, action=type, record=record, limit=limit, cursor=cursor
        )
    )
    return Response(public(page))


@get("/v1/deals/top", operation_class=answer_of(TopDeals), tags=["queries"], summary="The deals to look at")
async def top_deals(request: _Request, manager: FromQuery[str | None] = None) -> Response[Any]:
    """A manager's five (without a manager: the first of everybody's), with reasons and what to do."""
    services = services_of(request)
    top = await read(lambda: services.reader.top_deals(manager, monday_ms(services.now_ms())))
    return Response(public(top))


@get("/v1/deals/{deal_id:str}", operation_class=answer_of(DealAnswer), tags=["queries"], summary="One deal")
async def deal(request: _Request, deal_id: FromPath[str]) -> Response[Any]:
    """One deal with its score over time and the reasons of the last one."""
    services = services_of(request)
    found = await read(lambda: _deal(services, deal_id))
    if found is None:
        raise not_found(f"no deal {deal_id[:100]!r} is known")
    return Response(public(found))


def _deal(services: Services, deal_id: str) -> DealAnswer | None:
    row = services.reader.deal(deal_id, monday_ms(services.now_ms()))
    return DealAnswer(row, services.reader.deal_scores(deal_id)) if row is not None else None


def _time(field: str, text: str) -> int:
    try:
        return parse_ms(text.replace(" ", "+") if "T" in text else text)
    except BadTime as problem:
        raise bad_request(f"{field}: {problem}", field) from None


ROUTES = [agents, agent, findings, actions, top_deals, deal]
