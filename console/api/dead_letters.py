"""Records that could not be read: list them, and try them again once the cause is mended."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromQuery, QueryParameter
from msgspec import Meta, Struct

from console.api.bodies import read_json
from console.api.control import operator
from console.api.docs import answer_of, body_of
from console.api.queries import read
from console.public import public
from console.services import Services, services_of
from events.codec import BadEvent, decode_input
from storage.read.types import DeadLetterRow

MAX_REDRIVEN = 1_000
_Request = Request[Any, Any, Any]


class DeadLetterList(Struct, frozen=True):
    """Dead letters, newest first; ``raw`` is base64. Go on with before_id = the last one's id."""

    dead_letters: list[DeadLetterRow]


class RedriveBody(Struct, frozen=True):
    """Which ones: ids, or by default the oldest 1,000 that wait."""

    ids: Annotated[list[int], Meta(max_length=MAX_REDRIVEN)] = []


class StillBad(Struct, frozen=True):
    """One that can't be read still, and why."""

    id: int
    reason: str
    message: str


class RedriveAnswer(Struct, frozen=True):
    """How many were taken now (under their original ids), how many had been before, and which can't be read still."""

    redriven: int
    duplicates: int
    still_bad: list[StillBad]


_DECODER = msgspec.json.Decoder(RedriveBody)


@get("/v1/dead-letters", operation_class=answer_of(DeadLetterList), tags=["dead letters"], summary="Dead letters")
async def dead_letters(
    request: _Request,
    which: Annotated[str, QueryParameter(name="state", description="new, redriven, dropped, or all.")] = "new",
    limit: Annotated[int, QueryParameter(ge=1, le=1_000)] = 100,
    before_id: FromQuery[int | None] = None,
) -> Response[Any]:
    """What could not be read: why, where from, and its bytes."""
    services = services_of(request)
    wanted = None if which == "all" else which
    rows = await read(lambda: services.reader.dead_letters(state=wanted, limit=limit, before_id=before_id))
    return Response(public(DeadLetterList(rows)))


@post(
    "/v1/dead-letters/redrive",
    status_code=200,
    operation_class=body_of(RedriveBody, example={"ids": [1, 2]}),
    tags=["dead letters"],
    summary="Try dead letters again",
)
async def redrive(request: _Request) -> RedriveAnswer:
    """Read them again; those that can be read now are judged, under their original ids."""
    operator(request)
    raw = await request.body()
    body = read_json(raw, request.headers.get("content-type", ""), _DECODER) if raw.strip() else RedriveBody()
    services = services_of(request)
    rows = await read(lambda: _chosen(services, body.ids))
    good: list[tuple[DeadLetterRow, Any]] = []
    bad: list[StillBad] = []
    for row in rows:
        try:
            good.append((row, decode_input(row.raw, services.limits)))
        except BadEvent as problem:
            bad.append(StillBad(row.id, str(problem.reason), problem.message))
    duplicates = await _take(services, good)
    return RedriveAnswer(len(good) - duplicates, duplicates, bad)


async def _take(services: Services, good: list[tuple[DeadLetterRow, Any]]) -> int:
    if not good:
        return 0
    pairs = [(row.raw, event) for row, event in good]
    results = await asyncio.wrap_future(services.runtime.ingest(pairs))
    await asyncio.wrap_future(services.runtime.settle_dead_letters([row.id for row, _ in good]))
    return sum(result.is_duplicate for result in results)


def _chosen(services: Services, ids: list[int]) -> list[DeadLetterRow]:
    rows = services.reader.dead_letters(state="new", limit=MAX_REDRIVEN)
    wanted = set(ids)
    return [row for row in reversed(rows) if not wanted or row.id in wanted]


ROUTES = [dead_letters, redrive]
