"""The page of the data's quality, and its findings as a file."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get

from console.api.quality import found_today
from console.quality import QualityAnswer, to_csv
from console.services import services_of
from console.text import plain
from console.web.frame import frame_of
from console.web.look import Frame, joined, person_name
from console.web.render import page
from console.web.words import many, number
from scoring.quality import Cluster, Group

_Request = Request[Any, Any, Any]
SHOWN_GROUPS, SHOWN_CLUSTERS, SHOWN_FLAWS, SHOWN_DAYS = 30, 30, 3, 30


@get("/deals/quality", include_in_schema=False)
async def quality(request: _Request) -> Response[str]:
    """What is wrong with the data, whose it is, and whether it gets better."""
    frame = frame_of(request, "deals")
    answer = await found_today(services_of(request))
    return page("quality.html", frame=frame, clock=frame.clock, view=quality_view(answer, frame))


@get("/deals/quality.csv", include_in_schema=False)
async def quality_csv(request: _Request) -> Response[bytes]:
    """All findings as CSV."""
    answer = await found_today(services_of(request))
    headers = {"Content-Disposition": f'attachment; filename="tripline-quality-{answer.quality.day}.csv"'}
    return Response(to_csv(answer.quality).encode("utf-8-sig"), media_type="text/csv; charset=utf-8", headers=headers)


def quality_view(answer: QualityAnswer, frame: Frame) -> dict[str, Any]:
    """What the page shows; every text that came from outside went through ``plain``."""
    found = answer.quality
    return {
        "score": f"{found.all.score:.0f}",
        "deals": many(found.all.deals, "deal"),
        "flaws": [_flaw(flaw) for flaw in found.all.flaws],
        "teams": [_group(group, frame) for group in found.teams[:SHOWN_GROUPS]],
        "owners": [_group(group, frame) for group in found.owners[:SHOWN_GROUPS]],
        "more_owners": max(len(found.owners) - SHOWN_GROUPS, 0),
        "accounts": [_cluster(one, frame) for one in found.accounts[:SHOWN_CLUSTERS]],
        "contacts": [_cluster(one, frame) for one in found.contacts[:SHOWN_CLUSTERS]],
        "twice": many(len(found.accounts) + len(found.contacts), "account or contact", "accounts or contacts"),
        "notes": found.notes,
        "trend": [(frame.clock.date_text(point.day), f"{point.score:.1f}") for point in answer.trend[-SHOWN_DAYS:]],
        "since": _since(answer),
    }


def _since(answer: QualityAnswer) -> str:
    """Against the oldest day of the last thirty."""
    points = answer.trend[-SHOWN_DAYS:]
    change = points[-1].score - points[0].score
    return f"{change:+.1f} since {points[0].day}" if len(points) > 1 else ""


def _flaw(flaw: Any) -> dict[str, Any]:
    return {
        "title": flaw.title,
        "flawed": number(flaw.flawed),
        "share": f"{flaw.flawed / flaw.seen:.0%}" if flaw.seen else "–",
        "examples": [plain(each, 80) for each in flaw.examples],
    }


def _group(group: Group, frame: Frame) -> dict[str, Any]:
    worst = [f"{flaw.title.lower()} ({flaw.flawed})" for flaw in group.flaws[:SHOWN_FLAWS]]
    name = person_name(frame.settings, group.name) or "nobody"
    return {
        "name": name,
        "deals": number(group.deals),
        "score": f"{group.score:.0f}",
        "worst": joined(worst, SHOWN_FLAWS),
    }


def _cluster(one: Cluster, frame: Frame) -> dict[str, Any]:
    names = [plain(name, 120) for name in one.names]
    return {"names": names, "why": one.why, "owner": person_name(frame.settings, one.owner_id)}


ROUTES = [quality, quality_csv]
