"""Pages on which people judge findings and confirm or end what takes two: the API's answers, with pages for people."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath
from msgspec import Struct

from console.api import widenings as api
from console.api.queries import read
from console.errors import not_found
from console.services import services_of
from console.text import plain
from console.web.findings import finding_lines
from console.web.frame import frame_of
from console.web.look import Frame
from console.web.render import page
from governance.widening import EVERY_DETECTOR, Widening

_Request = Request[Any, Any, Any]
_STATES = {"waiting": "waits for a second person", "agreed": "holds", "ended": "ended", "lapsed": "lapsed"}


class WideningLine(Struct, frozen=True, kw_only=True):
    """A mute or an expectation as a row. ``can_confirm``: the one who looks did not ask for it."""

    id: str
    agent_id: str
    name: str
    what: str
    state: str
    until: str
    until_iso: str
    people: str
    reason: str
    is_waiting: bool
    can_confirm: bool


def widening_lines(found: list[Widening], frame: Frame) -> list[WideningLine]:
    """Mutes and expectations as rows."""
    clock, who = frame.clock, frame.who.name.casefold() if frame.who else ""
    return [
        WideningLine(
            id=one.id,
            agent_id=one.agent_id,
            name=plain(one.agent_id, 80),
            what=what_of(one),
            state=_STATES[one.state_at(clock.now_ms)],
            until=clock.time(one.until_ms),
            until_iso=clock.iso(one.until_ms),
            people=plain(f"{one.by}, {one.second}" if one.second else one.by, 120),
            reason=plain(one.reason, 300),
            is_waiting=one.state == "waiting",
            can_confirm=one.state == "waiting" and bool(who) and who != one.by.casefold(),
        )
        for one in found
    ]


def what_of(one: Widening) -> str:
    """What is allowed, in words."""
    if one.kind == "expected":
        return f"{one.detector}: up to {one.ceiling:g} {plain(one.unit, 60)} are expected"
    name = "every detector" if one.detector == EVERY_DETECTOR else one.detector
    return f"{name} muted" if one.most == "notify" else f"{name} muted, nobody is told"


def muted_rows(found: list[Widening], frame: Frame) -> list[tuple[str, str]]:
    """For an agent's page: what holds, until when, and who agreed to it."""
    return [
        (
            "Muted until" if one.kind == "mute" else "Expected until",
            f"{frame.clock.time(one.until_ms)}: {what_of(one)} ({plain(one.by, 60)}, {plain(one.second, 60)})",
        )
        for one in found
        if one.state_at(frame.clock.now_ms) == "agreed"
    ]


@get("/mutes", include_in_schema=False)
async def mutes(request: _Request) -> Response[str]:
    """What waits for a second person, and what holds."""
    services, frame = services_of(request), frame_of(request, "findings")
    found = await read(lambda: services.reader.widenings(None, frame.clock.now_ms))
    return page("mutes.html", frame=frame, clock=frame.clock, rows=widening_lines(found, frame))


@get("/findings/{finding_id:str}", include_in_schema=False)
async def finding(request: _Request, finding_id: FromPath[str]) -> Response[str]:
    """One finding, with what may be said of it."""
    services, frame = services_of(request), frame_of(request, "findings")
    row = await read(lambda: services.reader.finding(finding_id))
    if row is None:
        raise not_found("there is no such finding")
    said = await read(lambda: services.reader.verdicts([finding_id]))
    (line,) = finding_lines([row], frame)
    evidence = row.finding.evidence
    can_expect = 0 < evidence.limit <= evidence.observed and row.finding.agent_id != "*"
    return page(
        "finding.html", frame=frame, clock=frame.clock, f=line, id=finding_id, said=said.get(finding_id, ""),
        can_expect=can_expect,
    )  # fmt: skip


@post("/findings/{finding_id:str}/verdict", include_in_schema=False)
async def verdict(request: _Request, finding_id: FromPath[str]) -> Response[Any]:
    """Wrong, or expected."""
    answer: Response[Any] = await api.verdict.fn(request, finding_id)
    return answer


@post("/mutes/{widening_id:str}/confirm", include_in_schema=False)
async def confirm(request: _Request, widening_id: FromPath[str]) -> Response[Any]:
    """The second person."""
    answer: Response[Any] = await api.confirm.fn(request, widening_id)
    return answer


@post("/mutes/{widening_id:str}/end", include_in_schema=False)
async def end(request: _Request, widening_id: FromPath[str]) -> Response[Any]:
    """One person ends it."""
    answer: Response[Any] = await api.end.fn(request, widening_id)
    return answer


ROUTES = [mutes, finding, verdict, confirm, end]
