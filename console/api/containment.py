"""Whether an agent's stop holds, for programs."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath
from msgspec import Struct

from console.api.docs import answer_of
from console.api.queries import read
from console.errors import not_found
from console.public import public
from console.services import Services, services_of
from governance.holding import Holding, hold
from storage.read.containment import Containment, OutsideRow

_Request = Request[Any, Any, Any]


class ContainmentAnswer(Struct, frozen=True):
    """How far the stop has got (null: it is not stopped), and what was seen of the agent outside the gate."""

    stop: Holding | None
    shadow_48h: int
    writes: list[OutsideRow]


def holding_of(found: Containment, services: Services) -> Holding | None:
    """How far the stop that lasts has got; None when there is none."""
    if found.stop is None:
        return None
    return hold(found.stop, int(1000 * services.settings.containment.gate_answer_secs))


@get(
    "/v1/agents/{agent_id:str}/containment",
    operation_class=answer_of(ContainmentAnswer),
    tags=["queries"],
    summary="Does its stop hold",
)
async def containment(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """Requested, enforced by n of m gates, seen to hold, contained; and changes outside the gate, the newest twenty."""
    services = services_of(request)
    now_ms, is_declared = services.now_ms(), agent_id in services.settings.agents
    page = await read(lambda: services.reader.agent_page(agent_id, now_ms, is_declared=is_declared))
    if page is None:
        raise not_found(f"no agent {agent_id[:100]!r} was ever seen")
    found = page.containment
    return Response(public(ContainmentAnswer(holding_of(found, services), found.shadow_48h, found.writes)))


ROUTES = [containment]
