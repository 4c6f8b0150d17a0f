"""The forecast as a line on the deals' page."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, get
from litestar.params import FromQuery

from console.api.queries import read
from console.forecast import ForecastAnswer, Outlook, outlook, until_of
from console.pipeline import judge_weeks
from console.services import services_of
from console.text import plain
from console.web.frame import frame_of
from console.web.look import Frame
from console.web.render import page
from console.web.words import money_minor, number
from storage.read.book import book

SHOWN_CURRENCIES = 2


@get("/parts/forecast", include_in_schema=False)
async def forecast_part(request: Request[Any, Any, Any], manager: FromQuery[str | None] = None) -> Response[str]:
    """Wins and money to the quarter's end, fetched by the deals' page once it is open."""
    services, frame = services_of(request), frame_of(request, "deals")
    settings, now_ms = frame.settings.deals, frame.clock.now_ms
    last = until_of(None, settings, now_ms)
    deals = await read(lambda: book(services.reader))
    told = await asyncio.to_thread(outlook, deals, settings, now_ms, last, manager or None)
    found = await asyncio.to_thread(judge_weeks, deals, settings, now_ms)
    alarms = [plain(alarm.sentence, 300) for alarm in found.alarms if manager in (None, "", _team(alarm.group))]
    return page("parts/forecast.html", frame=frame, clock=frame.clock, view=forecast_view(told, frame), alarms=alarms)


def _team(group: str) -> str:
    return group.removeprefix("team ")


def forecast_view(told: ForecastAnswer, frame: Frame) -> dict[str, Any] | None:
    """What the line says; None when there is nothing to forecast."""
    first = told.outlooks[0] if told.outlooks else None
    if first is None or not (first.open_deals or first.won):
        return None
    chance = None if first.quota_chance is None else f"{first.quota_chance:.0%}"
    return {
        "until": frame.clock.date_text(told.until),
        "won": number(first.won),
        "wins": f"{first.wins.mean:.0f}",
        "low": f"{first.wins.low:.0f}",
        "high": f"{first.wins.high:.0f}",
        "money": _money(first),
        "quota": money_minor(first.quota_minor, first.currency) if first.quota_minor is not None else None,
        "chance": chance,
        "notes": told.notes,
        "unproven": not told.proven,
    }


def _money(of: Outlook) -> list[tuple[str, str, str]]:
    largest = sorted(of.money, key=lambda each: (-each.high_minor, each.currency))[:SHOWN_CURRENCIES]
    return [
        tuple(money_minor(minor, each.currency) for minor in (each.mean_minor, each.low_minor, each.high_minor))  # type: ignore[misc]
        for each in largest
        if each.high_minor
    ]


ROUTES = [forecast_part]
