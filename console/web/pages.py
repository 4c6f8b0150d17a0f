"""The pages' routes. Reading is one short transaction in a thread; a part is what a page asks for again by itself."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response, get
from litestar.params import FromPath, FromQuery
from msgspec import structs

from console.api.queries import read
from console.errors import not_found
from console.grading import graded
from console.services import services_of
from console.web.agent import AgentView, agent_view, deed, folded
from console.web.alerts import feedback_line
from console.web.deal import deal_view
from console.web.findings import finding_lines
from console.web.frame import frame_of
from console.web.look import Frame, monday_of
from console.web.overview import DealLine, agent_line, deal_line, deals_view, overview_view, sorted_rows
from console.web.render import page
from console.web.verdicts import muted_rows
from console.web.whatif import NOTHING, ask_engine
from console.web.words import many
from events.times import DAY_MS
from storage.alert_verdicts import MEASURED_DAYS, alerts_of, counts
from storage.read.types import ActionRow, DealRow

_Request = Request[Any, Any, Any]

TWO_DAYS_MS = 2 * DAY_MS
SHOWN, SHOWN_AFTER, SHOWN_BURST, SHOWN_BEFORE = 20, 4, 8, 8
PAGE_ROWS = 100
MAX_DEALS = 200


# --- overview ----------------------------------------------------------------------------------------------------


async def _overview(request: _Request, template: str, manager: str | None) -> Response[str]:
    services, frame = services_of(request), frame_of(request, "overview")
    data = await read(lambda: services.reader.overview(frame.clock.now_ms, monday_of(frame.clock), manager or None))
    data = structs.replace(data, agents=graded(data.agents, services))
    return page(
        template,
        frame=frame,
        clock=frame.clock,
        view=overview_view(data, frame),
        deals_first=frame.who is not None and frame.who.role == "manager",
        query=_query(manager=manager),
        flash=flash_of(request),
    )


@get("/", include_in_schema=False)
async def overview(request: _Request, manager: FromQuery[str | None] = None) -> Response[str]:
    """Is anything wrong?"""
    return await _overview(request, "overview.html", manager)


@get("/parts/overview", include_in_schema=False)
async def overview_part(request: _Request, manager: FromQuery[str | None] = None) -> Response[str]:
    """The overview's content, for a page that is open."""
    return await _overview(request, "parts/overview.html", manager)


# --- agents ------------------------------------------------------------------------------------------------------


async def _agents(request: _Request, template: str) -> Response[str]:
    services, frame = services_of(request), frame_of(request, "agents")
    rows = sorted_rows(graded(await read(lambda: services.reader.agents(frame.clock.now_ms)), services), frame)
    return page(
        template,
        frame=frame,
        clock=frame.clock,
        rows=[agent_line(row, frame) for row in rows],
        count_text=many(len(rows), "agent"),
    )


@get("/agents", include_in_schema=False)
async def agents(request: _Request) -> Response[str]:
    """All agents."""
    return await _agents(request, "agents.html")


@get("/parts/agents", include_in_schema=False)
async def agents_part(request: _Request) -> Response[str]:
    """The list of all agents, for a page that is open."""
    return await _agents(request, "parts/agents.html")


async def agent_view_of(request: _Request, agent_id: str, frame: Frame) -> AgentView:
    """Everything on an agent's page. Raises Refused when nothing is known of it."""
    services, now_ms = services_of(request), frame.clock.now_ms
    found = await read(
        lambda: services.reader.agent_page(agent_id, now_ms, is_declared=agent_id in services.settings.agents)
    )
    if found is None:
        raise not_found(f"no agent {agent_id[:100]!r} was ever seen, and the configuration names none")
    stop = found.row.stop

    def deeds() -> tuple[list[ActionRow], str | None]:
        reader, since = services.reader, now_ms - TWO_DAYS_MS
        if stop is None:
            newest = reader.actions(agent_id, since, now_ms, without_reads=True, limit=SHOWN)
            return newest.rows, newest.next_cursor
        after = reader.actions(agent_id, stop.stopped_ms + 1, now_ms, without_reads=True, limit=SHOWN_AFTER)
        burst = reader.actions(agent_id, stop.burst_from_ms, stop.stopped_ms, without_reads=True, limit=SHOWN_BURST)
        before = reader.actions(agent_id, since, stop.burst_from_ms - 1, without_reads=True, limit=SHOWN_BEFORE)
        more = after.next_cursor or burst.next_cursor or before.next_cursor
        return [*after.rows, *burst.rows, *before.rows], more

    rows, more = await read(deeds)
    view = agent_view(structs.replace(found, row=graded([found.row], services)[0]), rows, more, frame)
    allowed = await read(lambda: services.reader.widenings(agent_id, now_ms))
    return structs.replace(view, about=[*view.about, *muted_rows(allowed, frame)]) if allowed else view


@get("/agents/{agent_id:str}", include_in_schema=False)
async def agent(request: _Request, agent_id: FromPath[str]) -> Response[str]:
    """One agent."""
    frame = frame_of(request, "agents")
    view = await agent_view_of(request, agent_id, frame)
    return page("agent.html", frame=frame, clock=frame.clock, view=view, flash=flash_of(request))


@get("/parts/agents/{agent_id:str}", include_in_schema=False)
async def agent_part(request: _Request, agent_id: FromPath[str]) -> Response[str]:
    """What changes on an agent's page by itself: all but its form."""
    frame = frame_of(request, "agents")
    view = await agent_view_of(request, agent_id, frame)
    return page("parts/agent.html", frame=frame, clock=frame.clock, view=view)


@get("/parts/agents/{agent_id:str}/act", include_in_schema=False)
async def agent_act_part(request: _Request, agent_id: FromPath[str]) -> Response[str]:
    """The form to stop or release an agent: asked for again only when its state changed."""
    frame = frame_of(request, "agents")
    view = await agent_view_of(request, agent_id, frame)
    return page("parts/agent_act.html", frame=frame, clock=frame.clock, view=view)


@get("/agents/{agent_id:str}/actions", include_in_schema=False)
async def agent_actions(
    request: _Request,
    agent_id: FromPath[str],
    object: FromQuery[str] = "",
    type: FromQuery[str] = "",
    record: FromQuery[str] = "",
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Everything an agent did in 48 h, filtered, page by page."""
    services, frame = services_of(request), frame_of(request, "agents")
    now_ms = frame.clock.now_ms
    found = await read(
        lambda: services.reader.actions(
            agent_id,
            now_ms - TWO_DAYS_MS,
            now_ms,
            object=object.strip() or None,
            action=type.strip() or None,
            record=record.strip() or None,
            limit=PAGE_ROWS,
            cursor=cursor,
        )
    )
    filters = {"object": object, "type": type, "record": record}
    return page(
        "actions.html",
        frame=frame,
        clock=frame.clock,
        agent_id=agent_id,
        rows=[deed(row, frame, seen) for row, seen in folded(found.rows)],
        filters=filters,
        query=_query(**filters),
        next_query=_query(**filters, cursor=found.next_cursor) if found.next_cursor else "",
        is_first=cursor is None,
    )


# --- deals -------------------------------------------------------------------------------------------------------


@get("/deals", include_in_schema=False)
async def deals(request: _Request, manager: FromQuery[str | None] = None) -> Response[str]:
    """The five and all open deals, riskiest first."""
    services, frame = services_of(request), frame_of(request, "deals")
    monday = monday_of(frame.clock)
    top = await read(lambda: services.reader.top_deals(manager or None, monday))
    rows = await read(lambda: services.reader.open_deals(manager or None, MAX_DEALS))
    hopeless = await read(lambda: services.reader.close_out(manager or None))
    since_ms = frame.clock.now_ms - MEASURED_DAYS * DAY_MS
    said = await read(lambda: counts(services.reader, since_ms, manager or None))
    return page(
        "deals.html",
        frame=frame,
        clock=frame.clock,
        top=deals_view(top, frame),
        rows=_lines(rows, frame),
        total=top.open_deals,
        close_out=_lines(hopeless.rows, frame),
        feedback=feedback_line(said[0]),
    )


def _lines(rows: list[DealRow], frame: Frame) -> list[DealLine]:
    return [deal_line(row, frame, place) for place, row in enumerate(rows, 1)]


@get("/deals/{deal_id:str}", include_in_schema=False)
async def deal(request: _Request, deal_id: FromPath[str]) -> Response[str]:
    """One deal."""
    return await _deal(request, deal_id, "deal.html")


@get("/parts/deals/{deal_id:str}", include_in_schema=False)
async def deal_part(request: _Request, deal_id: FromPath[str]) -> Response[str]:
    """A deal's content, for a page that is open."""
    return await _deal(request, deal_id, "parts/deal.html")


async def _deal(request: _Request, deal_id: str, template: str) -> Response[str]:
    services, frame = services_of(request), frame_of(request, "deals")
    reader, now_ms = services.reader, frame.clock.now_ms
    row = await read(lambda: reader.deal(deal_id, monday_of(frame.clock)))
    if row is None:
        raise not_found(f"no deal {deal_id[:100]!r} is known")
    points = await read(lambda: reader.deal_scores(deal_id))
    touched = await read(lambda: reader.touches(deal_id, now_ms - TWO_DAYS_MS, now_ms))
    live = await ask_engine(services, reader.key(deal_id)) if row.is_open else NOTHING
    if live.reasons:
        row = structs.replace(row, reasons=live.reasons)
    told = await read(lambda: alerts_of(reader, deal_id))
    view = deal_view(row, points, touched, live.ifs, told, frame)
    return page(template, frame=frame, clock=frame.clock, view=view)


# --- findings ----------------------------------------------------------------------------------------------------


@get("/findings", include_in_schema=False)
async def findings(
    request: _Request,
    agent: FromQuery[str] = "",
    all: FromQuery[str] = "",
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """What detectors said, newest first: warnings and worse, or with ``all`` the notices too."""
    services, frame = services_of(request), frame_of(request, "findings")
    found = await read(
        lambda: services.reader.findings(
            agent_id=agent.strip() or None, limit=PAGE_ROWS, cursor=cursor, without_info=not all
        )
    )
    return page(
        "findings.html",
        frame=frame,
        clock=frame.clock,
        rows=finding_lines(found.rows, frame),
        agent=agent,
        is_all=bool(all),
        next_query=_query(agent=agent, all=all, cursor=found.next_cursor) if found.next_cursor else "",
    )


# --- parts -------------------------------------------------------------------------------------------------------


class Flash:
    """A sentence above the page about what was just done."""

    def __init__(self, text: str, is_good: bool = True) -> None:
        self.text = text
        self.is_good = is_good


_DONE = {
    "released": "Release accepted. It is active once all it did before is judged.",
    "stopped": "Stopped. The gate refuses it from now on.",
    "revoked": "Asked for. How it went is told, and shown here.",
    "cancelling": "Asked for. What comes of each is shown here.",
    "stopped-all": "All agents are stopped. The gate refuses everything from now on.",
    "asked": "Asked. Another person has ten minutes to confirm it.",
    "released-all": "The stop of all agents has ended.",
    "same": "It was so already; nothing changed.",
}


def flash_of(request: _Request) -> Flash | None:
    """What a form that led here did."""
    text = _DONE.get(request.query_params.get("done", ""))
    return Flash(text) if text else None


def _query(**values: str | None) -> str:
    given = {name: value for name, value in values.items() if value}
    return "?" + urlencode(given) if given else ""


ROUTES = [
    overview,
    overview_part,
    agents,
    agents_part,
    agent,
    agent_part,
    agent_act_part,
    agent_actions,
    deals,
    deal,
    deal_part,
    findings,
]
