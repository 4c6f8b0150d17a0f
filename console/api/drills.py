"""Drills: what was practised, and what it measured."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from msgspec import Meta, Struct

from console.api.bodies import read_json
from console.api.control import operator
from console.api.docs import answer_of, body_of
from console.api.queries import read
from console.errors import bad_request
from console.services import services_of
from events.times import BadTime, parse_ms
from governance.drills import DrillResult

_Request = Request[Any, Any, Any]
_decoder = msgspec.json.Decoder(DrillResult)


class DrillList(Struct, frozen=True):
    """Drills, the newest first."""

    drills: list[DrillResult]


class DrillKept(Struct, frozen=True):
    """The drill is kept, under the name of who sent it."""

    id: str
    by: str


@get("/v1/drills", operation_class=answer_of(DrillList), tags=["queries"], summary="Drills")
async def drills(request: _Request, limit: Annotated[int, Meta(ge=1, le=200)] = 20) -> Response[Any]:
    """Past drills with what they measured, the newest first."""
    services = services_of(request)
    return Response(DrillList(await read(lambda: services.reader.drills(limit))))


@post(
    "/v1/drills",
    status_code=200,
    operation_class=body_of(DrillResult),
    tags=["control"],
    summary="Keep the result of a drill",
)
async def keep(request: _Request) -> Response[Any]:
    """Keep what ``tripline drill run`` measured. Takes a person with the role operator, whose name it gets."""
    person, services = operator(request), services_of(request)
    result = read_json(await request.body(), request.headers.get("content-type", ""), _decoder)
    try:
        parse_ms(result.at)
    except BadTime as problem:
        raise bad_request(f"at: {problem}", "at") from None
    await asyncio.wrap_future(services.runtime.keep_drill(msgspec.structs.replace(result, by=person.name)))
    return Response(DrillKept(result.id, person.name))


ROUTES = [drills, keep]
