"""``GET /v1/stream``: tells pages that something changed."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, get
from litestar.params import QueryParameter
from litestar.response import Stream

from console.errors import Refused
from console.services import services_of
from console.sse import TooManyListeners


@get("/v1/stream", tags=["queries"], summary="Changes, as server-sent events", media_type="text/event-stream")
async def stream(
    request: Request[Any, Any, Any],
    agent: Annotated[str | None, QueryParameter(description="`agent` events of this one only.")] = None,
    deal: Annotated[str | None, QueryParameter(description="`deal` events of this one only.")] = None,
) -> Stream:
    """Events `overview`, `agent` and `deal`, at most four times a second; the data names what changed."""
    try:
        notices = services_of(request).hub.listen(agent, deal)
    except TooManyListeners:
        raise Refused(503, "busy", "too many pages listen already", headers={"Retry-After": "5"}) from None
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Stream(notices, media_type="text/event-stream", headers=headers)


ROUTES = [stream]
