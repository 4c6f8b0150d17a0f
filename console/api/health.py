"""Is it alive, is it ready, and its metrics."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, get
from msgspec import Struct

from console.public import public
from console.services import Services, services_of
from dashboards.metrics import CONTENT_TYPE

_Request = Request[Any, Any, Any]


class Health(Struct, frozen=True):
    """``status``: ok, or degraded with the reasons. ``judged_to_ms`` is the log's time.

    ``warnings``: what a person should mend although all works, such as a new policy with mistakes.
    """

    status: str
    reasons: list[str]
    judged_to_ms: int | None = None
    warnings: list[str] = []


@get("/healthz", tags=["health"], summary="Is it alive?")
async def healthz() -> dict[str, str]:
    """Answers while the server runs, whatever state the store is in."""
    return {"status": "ok"}


@get("/readyz", tags=["health"], summary="Is it ready?")
async def readyz(request: _Request) -> Response[Any]:
    """200 when events are taken and judged; 503 with the reasons when not. The gate denies what it can't decide."""
    status = services_of(request).runtime.status()
    reasons = list(status.troubles)
    health = Health("degraded" if reasons else "ok", reasons, status.judged_to_ms, list(status.warnings))
    return Response(public(health), status_code=503 if reasons else 200)


@get("/metrics", tags=["health"], summary="Metrics for Prometheus")
async def metrics(request: _Request) -> Response[bytes]:
    """The exposition text, made in a thread so that the gate is not held up."""
    text = await asyncio.to_thread(_rendered, services_of(request))
    return Response(text, media_type=CONTENT_TYPE)


def _rendered(services: Services) -> bytes:
    services.observer.refresh()
    return services.metrics.render()


ROUTES = [healthz, readyz, metrics]
