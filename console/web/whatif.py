"""What a deal's score would be, if: asked of the running engine, because only it has the deal's state."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from msgspec import Struct

from console.services import Services
from console.web import words as w
from scoring.whatif import WhatIf, what_if
from streams.deals import DealsStage
from streams.routing import CRM

WAIT_SECS = 1.0
_log = structlog.get_logger("tripline.console")


class IfLine(Struct, frozen=True):
    """One row: what would happen, and the risk then."""

    text: str
    risk: str
    step: int
    slips: str


async def what_ifs(services: Services, key: str) -> list[IfLine]:
    """The rows of a deal's page; none when the engine does not know the deal or does not answer in time."""
    call = getattr(services.runtime, "call", None)
    if call is None:
        return []
    now_ms = services.now_ms()
    try:
        async with asyncio.timeout(WAIT_SECS):
            rows = await asyncio.wrap_future(call(lambda round_: _ask(round_, key, now_ms)))
    except Exception as problem:
        _log.warning("what_if.no_answer", problem=repr(problem))
        return []
    return [IfLine(row.label, w.percent(row.p_lost), w.risk_step(row.p_lost), w.percent(row.p_slip)) for row in rows]


def _ask(round_: Any, key: str, now_ms: int) -> list[WhatIf]:
    stage = round_.core.lanes[CRM].stage
    if not isinstance(stage, DealsStage):
        return []
    state = stage.deal_state(key)
    return [] if state is None else what_if(stage.card, state, max(now_ms, stage.tick_ms))
