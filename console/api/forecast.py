"""The forecast over HTTP."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import FromQuery, QueryParameter

from console.api.docs import answer_of
from console.api.queries import read
from console.forecast import ForecastAnswer, outlook, until_of
from console.public import public
from console.services import services_of
from storage.read.book import book


@get("/v1/deals/forecast", operation_class=answer_of(ForecastAnswer), tags=["queries"], summary="What will be won")
async def deals_forecast(
    request: Request[Any, Any, Any],
    manager: FromQuery[str | None] = None,
    until: Annotated[str | None, QueryParameter(description="A day, included; without it the quarter's last.")] = None,
) -> Response[Any]:
    """Wins and money per manager and of all, from now to the quarter's end, with an 80 % interval, against quota."""
    services = services_of(request)
    settings, now_ms = services.settings.deals, services.now_ms()
    last = until_of(until, settings, now_ms)
    deals = await read(lambda: book(services.reader))
    return Response(public(await asyncio.to_thread(outlook, deals, settings, now_ms, last, manager)))


ROUTES = [deals_forecast]
