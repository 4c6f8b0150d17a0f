"""Alerts on a deal's page and on the list of deals: what was told, what people say of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar import Request, Response, post
from litestar.params import FromPath
from msgspec import Struct

from console.api import alerts as api
from console.text import plain
from console.web import words as w
from console.web.look import Frame
from storage.alert_verdicts import MEASURED_DAYS, VERDICTS, AlertRow, Counts

_Request = Request[Any, Any, Any]
_KINDS = {"deal_risk": "May be lost", "deal_slip": "May close late", "deal_silent": "Silent"}


class Button(Struct, frozen=True):
    """One of the three answers; ``is_mine``: it is what the one who looks said last."""

    verdict: str
    word: str
    is_mine: bool


class AlertLine(Struct, frozen=True):
    """One alert of a deal. ``held``: the digest that it waits for; ``said``: what people said of it."""

    id: str
    at: str
    at_iso: str
    title: str
    why: str
    held: str
    said: str
    buttons: list[Button]


def alert_lines(rows: Sequence[AlertRow], frame: Frame) -> list[AlertLine]:
    """A deal's alerts as rows, the newest first."""
    return [_line(row, frame) for row in rows]


def feedback_line(counts: Counts) -> str:
    """What people said of the last alerts, in a sentence; "" where none was given."""
    if not counts.given:
        return ""
    alerts = f"{counts.given:,} alert{'s' if counts.given > 1 else ''} in {MEASURED_DAYS} days"
    if not counts.judged:
        return f"{alerts}; nobody has said yet whether they were useful."
    words = f"{counts.useful} useful, {counts.known} known, {counts.wrong} wrong"
    return f"{alerts}. People judged {counts.judged}: {words}; {w.percent(counts.precision)} useful."


def _line(row: AlertRow, frame: Frame) -> AlertLine:
    clock, me = frame.clock, frame.who.name if frame.who else ""
    held = row.held_ms if row.held_ms is not None and row.held_ms > clock.now_ms else None
    mine = next((one.verdict for one in row.said if one.by == me), "")
    return AlertLine(
        id=row.id,
        at=clock.time(row.at_ms) if clock.is_today(row.at_ms) else clock.day(row.at_ms),
        at_iso=clock.iso(row.at_ms),
        title=f"{_KINDS.get(row.alert.kind, plain(row.alert.kind, 40))}, {w.percent(row.alert.p_lost)}",
        why=plain(row.alert.reasons[0].sentence, 240) if row.alert.reasons else "",
        held=clock.time(held) if held is not None else "",
        said="; ".join(
            plain(f"{one.by}: {one.verdict}{f' ({one.reason})' if one.reason else ''}", 300) for one in row.said
        ),
        buttons=[Button(verdict, verdict.capitalize(), verdict == mine) for verdict in VERDICTS],
    )


@post("/deals/{deal_id:str}/feedback", include_in_schema=False)
async def feedback(request: _Request, deal_id: FromPath[str]) -> Response[Any]:
    """Useful, known or wrong."""
    answer: Response[Any] = await api.feedback.fn(request, deal_id)
    return answer


ROUTES = [feedback]
