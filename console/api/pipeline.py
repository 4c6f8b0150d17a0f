"""Whether the pipeline goes wrong, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, get

from console.api.docs import answer_of
from console.api.queries import read
from console.pipeline import PipelineAnswer, judge_weeks
from console.public import public
from console.services import services_of
from storage.read.book import book


@get("/v1/deals/pipeline", operation_class=answer_of(PipelineAnswer), tags=["queries"], summary="The pipeline by week")
async def deals_pipeline(request: Request[Any, Any, Any]) -> Response[Any]:
    """Deals created, closed and won by week, and which of the last four weeks is not as usual, of all and of teams."""
    services = services_of(request)
    deals = await read(lambda: book(services.reader))
    return Response(public(await asyncio.to_thread(judge_weeks, deals, services.settings.deals, services.now_ms())))


ROUTES = [deals_pipeline]
