"""The ledger of false stops over HTTP."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get

from console.api.docs import answer_of
from console.api.queries import read
from console.services import Services, services_of
from detectors.discovery import judged_with
from events.times import DAY_MS
from governance.stop_budget import BudgetState, state

_Request = Request[Any, Any, Any]


@get("/v1/detectors/budget", operation_class=answer_of(BudgetState), tags=["detectors"], summary="False stops")
async def budget(request: _Request) -> Response[Any]:
    """The budget of false stops by detector, what was called wrong, and what that proves per agent-month."""
    services = services_of(request)
    return Response(await read(lambda: ledger_of(services)))


def ledger_of(services: Services) -> BudgetState:
    """The ledger as of now."""
    settings, now_ms = services.settings, services.now_ms()
    seen = services.reader.stop_ledger(now_ms - settings.budget.window_days * DAY_MS, now_ms)
    enforcing = [name for name, judged in judged_with(settings).items() if judged.mode == "enforce"]
    return state(settings.budget, enforcing, seen.agents, seen.agent_ms, seen.stops)


ROUTES = [budget]
