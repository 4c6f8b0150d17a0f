"""Alerts about deals over HTTP: what was told, what people say of it, and the deals to close out."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery
from msgspec import Meta, Struct

from console.api.control import acting_as, read_form, to_page
from console.api.docs import answer_of, body_of
from console.api.queries import read
from console.api.waiting import in_time
from console.errors import not_found
from console.public import public
from console.services import services_of
from events.times import DAY_MS, format_ms
from storage.alert_verdicts import MEASURED_DAYS, AlertRow, Counts, Said, Verdict, alerts_of, counts
from storage.read.types import CloseOut
from streams import alerting
from streams.alerting import Opinion

_Request = Request[Any, Any, Any]


class FeedbackBody(Struct, frozen=True, kw_only=True):
    """``useful``: worth telling; ``known``: right, and no news; ``wrong``: the deal is sound, or not theirs.

    ``alert_id``: which alert of the deal; empty: its last one.
    """

    verdict: Verdict
    reason: Annotated[str, Meta(max_length=2000, description="Why, in words; it is kept and shown.")] = ""
    alert_id: Annotated[str, Meta(max_length=512)] = ""


class FeedbackKept(Struct, frozen=True, kw_only=True):
    """What was kept; another word of the same person takes its place."""

    alert_id: str
    verdict: Verdict
    by: str
    at: str


class AlertList(Struct, frozen=True):
    """The last alerts about a deal, the newest first."""

    alerts: list[AlertRow]


class Measured(Struct, frozen=True, kw_only=True):
    """Alerts of the last ``days``, of all and by kind, and what people said of them."""

    days: int
    manager_id: str | None
    counts: list[Counts]


_FEEDBACK = msgspec.json.Decoder(FeedbackBody)


@get("/v1/deals/{deal_id:str}/alerts", operation_class=answer_of(AlertList), tags=["deals"], summary="Alerts of a deal")
async def deal_alerts(request: _Request, deal_id: FromPath[str]) -> Response[Any]:
    """The last alerts about a deal, whether they wait for a digest, and what people said of them."""
    reader = services_of(request).reader
    return Response(public(AlertList(await read(lambda: alerts_of(reader, deal_id)))))


@post(
    "/v1/deals/{deal_id:str}/feedback",
    status_code=200,
    operation_class=body_of(FeedbackBody, example={"verdict": "useful", "reason": "the buyer had gone quiet"}),
    tags=["deals"],
    summary="Say whether an alert was useful, known before, or wrong",
)
async def feedback(request: _Request, deal_id: FromPath[str]) -> Response[Any]:
    """Takes a person with the role manager. It is measured; which deals are told of next does not depend on it."""
    person = acting_as(request, "manager")
    body = await read_form(request, FeedbackBody, _FEEDBACK)
    services = services_of(request)
    opinion = Opinion(
        tenant=services.reader.tenant, deal_id=deal_id, verdict=body.verdict, by=person.name, reason=body.reason,
        alert_id=body.alert_id,
    )  # fmt: skip
    key = services.reader.key(deal_id)
    said: Said | None = await in_time(services.runtime.decide(key, lambda authority: alerting.say(authority, opinion)))
    if said is None:
        raise not_found(f"no alert of this id was given about the deal {deal_id[:100]!r}")
    told = FeedbackKept(alert_id=said.alert_id, verdict=said.verdict, by=said.by, at=format_ms(said.at_ms))
    return to_page(request, f"/deals/{quote(deal_id, safe='')}") or Response(told)


@get("/v1/deals/feedback", operation_class=answer_of(Measured), tags=["deals"], summary="How good alerts are")
async def measured(request: _Request, manager: FromQuery[str | None] = None) -> Response[Any]:
    """Alerts of the last 90 days by kind, and what people said of them."""
    services = services_of(request)
    since_ms = services.now_ms() - MEASURED_DAYS * DAY_MS
    found = await read(lambda: counts(services.reader, since_ms, manager or None))
    return Response(public(Measured(days=MEASURED_DAYS, manager_id=manager, counts=found)))


@get("/v1/deals/close-out", operation_class=answer_of(CloseOut), tags=["queries"], summary="The deals to close out")
async def close_out(request: _Request, manager: FromQuery[str | None] = None) -> Response[Any]:
    """Deals that are as good as lost (from .95), the largest first: they are not among the five."""
    services = services_of(request)
    return Response(public(await read(lambda: services.reader.close_out(manager or None))))


ROUTES = [deal_alerts, feedback, measured, close_out]
