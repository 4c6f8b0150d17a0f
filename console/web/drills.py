"""The page of drills: whether what is promised after a stop was kept, and for how long nobody has looked."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get

from console.api.queries import read
from console.services import services_of
from console.text import plain
from console.web.frame import frame_of
from console.web.look import Frame
from console.web.render import page
from console.web.words import many, number, span
from events.times import DAY_MS, parse_ms
from governance.drills import DrillResult

_Request = Request[Any, Any, Any]
SHOWN = 50
OVERDUE_MS = 31 * DAY_MS
"""After so long a drill is due; the alert ``TriplineDrillOverdue`` says so as well."""
_SCENARIOS = {"kill_switch": "a person stops it", "record_loop": "the detector of loops stops it"}


@get("/drills", include_in_schema=False)
async def drills(request: _Request) -> Response[str]:
    """Past drills with what they measured, the newest first."""
    frame = frame_of(request, "overview")
    found = await read(lambda: services_of(request).reader.drills(SHOWN))
    return page("drills.html", frame=frame, clock=frame.clock, view=drills_view(found, frame))


def drills_view(found: list[DrillResult], frame: Frame) -> dict[str, Any]:
    """What the page shows of results, the newest first."""
    return {"title": _title(found), "state": _state(found, frame), "rows": [_row(one, frame) for one in found]}


def _title(found: list[DrillResult]) -> str:
    if not found:
        return "No drill was run yet"
    last = found[0]
    if last.exceeded:
        return f"Last drill: {last.exceeded} of {many(last.trips, 'stop')} let through more than promised"
    if last.failed:
        return f"Last drill: {last.failed} of {many(last.trips, 'stop')} could not be measured"
    admitted, promised = number(last.admitted_after.max), number(last.bound.max)
    return f"Last drill: at most {admitted} admitted after a stop, {promised} promised"


def _state(found: list[DrillResult], frame: Frame) -> str:
    if not found:
        return "What is promised after a stop is a number from a model until a drill has measured it here."
    ago_ms = max(0, frame.clock.now_ms - parse_ms(found[0].at))
    due = "a new one is due" if ago_ms > OVERDUE_MS else f"the next is due in {span(max(OVERDUE_MS - ago_ms, 0))}"
    passed = sum(1 for one in found if one.passed)
    return f"{span(ago_ms)} ago; {due}. {passed} of the last {many(len(found), 'drill')} kept what is promised."


def _row(one: DrillResult, frame: Frame) -> dict[str, Any]:
    after, cut = one.admitted_after, ", one cut off" if one.has_partition else ""
    cut += f" for {number(one.cut_secs)} s" if one.cut_secs else ""
    return {
        "at": frame.clock.full(parse_ms(one.at)),
        "scenario": _SCENARIOS.get(one.scenario, one.scenario),
        "setting": f"{many(one.gates, 'gate')}, {many(one.credits, 'credit')}{cut}",
        "trips": number(one.trips),
        "after": f"{number(after.p50)} · {number(after.p99)} · {number(after.max)}",
        "bound": number(one.bound.max),
        "detect": span(round(one.detect_ms.p50)),
        "contain": span(round(one.contain_ms.p99)),
        "verify": span(round(one.verify_ms.p99)),
        "passed": one.passed,
        "what": "kept" if one.passed else f"{one.exceeded} above, {one.failed} not measured",
        "by": plain(one.by, 80),
    }


ROUTES = [drills]
