"""The quality of the CRM's data over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, get

from console.api.docs import answer_of
from console.api.queries import read
from console.public import public
from console.quality import QualityAnswer, judge, keep
from console.services import Services, services_of


async def found_today(services: Services) -> QualityAnswer:
    """What is found now; the day's scores are kept for the trend."""
    answer = await read(lambda: judge(services.reader, services.settings.deals, services.now_ms()))
    if answer.quality.all.deals:
        await asyncio.wrap_future(keep(services.runtime, services.reader.tenant, answer.quality))
    return answer


@get("/v1/deals/quality", operation_class=answer_of(QualityAnswer), tags=["queries"], summary="How sound the data is")
async def deals_quality(request: Request[Any, Any, Any]) -> Response[Any]:
    """What is missing, contradictory, overdue or there twice; of all, each team and each owner, with a trend."""
    return Response(public(await found_today(services_of(request))))


ROUTES = [deals_quality]
