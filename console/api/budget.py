"""The ledger of false stops over HTTP."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get

from console.api.docs import answer_of
from console.api.queries import read
from console.ledger import enforcing, ledger_of
from console.services import services_of
from governance.stop_budget import BudgetState

_Request = Request[Any, Any, Any]


@get("/v1/detectors/budget", operation_class=answer_of(BudgetState), tags=["detectors"], summary="False stops")
async def budget(request: _Request) -> Response[Any]:
    """The budget of false stops by detector, what was called wrong, and what that proves per agent-month."""
    services = services_of(request)
    settings, now_ms = services.settings, services.now_ms()
    return Response(await read(lambda: ledger_of(settings, services.reader, now_ms, enforcing(settings))))


ROUTES = [budget]
