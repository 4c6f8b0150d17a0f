"""A deal as the running engine sees it now: its reasons with today's figures, and what its score would be, if.

The store holds what was last said of a deal; only the engine has the state from which both can be told anew.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from msgspec import Struct

from console.services import Services
from console.web import words as w
from events.types import Reason
from scoring.state import copy
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


class Live(Struct, frozen=True):
    """What the engine told; both are empty when it does not know the deal or does not answer in time."""

    reasons: list[Reason]
    ifs: list[IfLine]


NOTHING = Live([], [])


async def ask_engine(services: Services, key: str) -> Live:
    """Ask the running engine about a deal."""
    call = getattr(services.runtime, "call", None)
    if call is None:
        return NOTHING
    now_ms = services.now_ms()
    try:
        async with asyncio.timeout(WAIT_SECS):
            reasons, rows = await asyncio.wrap_future(call(lambda round_: _ask(round_, key, now_ms)))
    except Exception as problem:
        _log.warning("deal.no_answer", problem=repr(problem))
        return NOTHING
    ifs = [IfLine(row.label, w.percent(row.p_lost), w.risk_step(row.p_lost), w.percent(row.p_slip)) for row in rows]
    return Live(reasons, ifs)


def _ask(round_: Any, key: str, now_ms: int) -> tuple[list[Reason], list[WhatIf]]:
    """In the writer's thread: works on copies, so that nothing of the engine changes."""
    stage = round_.core.lanes[CRM].stage
    if not isinstance(stage, DealsStage):
        return [], []
    state = stage.deal_state(key)
    if state is None:
        return [], []
    at_ms = max(now_ms, stage.tick_ms)
    judged = copy(state)
    stage.card.judge(judged, at_ms)
    return stage.explainer.reasons(judged, at_ms), what_if(stage.card, state, at_ms)
