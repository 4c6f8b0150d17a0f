"""Records that could not be read: list them, and try them again once the cause is mended."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromQuery, QueryParameter
from msgspec import Meta, Struct

from console.api.bodies import read_json
from console.api.control import operator
from console.api.docs import answer_of, body_of
from console.api.queries import read
from console.errors import bad_request, not_found
from console.public import public
from console.services import Services, services_of
from events.codec import BadEvent, decode_input
from storage.read.types import DeadLetterRow

MAX_REDRIVEN = 1_000
STATES = ("new", "redriven", "dropped", "all")
MAX_NAMED = 20
"""Ids in the message about those that there are not; the answer's ``ids`` has all."""
Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
_Request = Request[Any, Any, Any]


class DeadLetterList(Struct, frozen=True):
    """Dead letters, newest first; ``raw`` is base64. Go on with before_id = the last one's id."""

    dead_letters: list[DeadLetterRow]


class RedriveBody(Struct, frozen=True):
    """Which ones: ids, or by default the oldest 1,000 that wait, beyond ``after_id``."""

    ids: Annotated[list[Id], Meta(max_length=MAX_REDRIVEN)] = []
    after_id: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class StillBad(Struct, frozen=True):
    """One that can't be taken still, and why; it waits on as it was."""

    id: int
    reason: str
    message: str


class RedriveAnswer(Struct, frozen=True):
    """How many were taken now (under their original ids), how many had been before, and which can't be taken still.

    ``next_after_id``: more wait; ask for them with this as ``after_id``.
    """

    redriven: int
    duplicates: int
    still_bad: list[StillBad]
    next_after_id: int | None = None


_DECODER = msgspec.json.Decoder(RedriveBody)


@get("/v1/dead-letters", operation_class=answer_of(DeadLetterList), tags=["dead letters"], summary="Dead letters")
async def dead_letters(
    request: _Request,
    which: Annotated[str, QueryParameter(name="state", description="new, redriven, dropped, or all.")] = "new",
    limit: Annotated[int, QueryParameter(ge=1, le=1_000)] = 100,
    before_id: FromQuery[int | None] = None,
) -> Response[Any]:
    """What could not be read: why, where from, and its bytes."""
    if which not in STATES:
        raise bad_request(f"state: {which[:40]!r} is none; it is one of {', '.join(STATES)}", "state")
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
    """Read them again; those that can be taken now are judged, under their original ids. 404 names unknown ids."""
    operator(request)
    raw = await request.body()
    body = read_json(raw, request.headers.get("content-type", ""), _DECODER) if raw.strip() else RedriveBody()
    services = services_of(request)
    rows = await read(lambda: _chosen(services, body))
    good: list[tuple[DeadLetterRow, Any]] = []
    bad: list[StillBad] = []
    settled = 0
    for row in rows:
        if row.state == "redriven":
            settled += 1
            continue
        try:
            good.append((row, decode_input(row.raw, services.limits)))
        except BadEvent as problem:
            bad.append(StillBad(row.id, str(problem.reason), problem.message))
    taken, duplicates, refused = await _take(services, good)
    more = rows[-1].id if not body.ids and len(rows) == MAX_REDRIVEN else None
    return RedriveAnswer(taken, duplicates + settled, sorted([*bad, *refused], key=attrgetter("id")), more)


async def _take(services: Services, good: list[tuple[DeadLetterRow, Any]]) -> tuple[int, int, list[StillBad]]:
    """How many are taken, how many had been, and which are refused again: those wait on, with no second letter."""
    if not good:
        return 0, 0, []
    pairs = [(row.raw, event) for row, event in good]
    results = await asyncio.wrap_future(services.runtime.ingest(pairs, origin_of=None))
    both = list(zip((row.id for row, _ in good), results, strict=True))
    refused = [StillBad(id_, result.reason, result.message) for id_, result in both if result.status == "refused"]
    settled = [id_ for id_, result in both if result.status != "refused"]
    if settled:
        await asyncio.wrap_future(services.runtime.settle_dead_letters(settled))
    duplicates = sum(result.is_duplicate for result in results)
    return len(settled) - duplicates, duplicates, refused


def _chosen(services: Services, body: RedriveBody) -> list[DeadLetterRow]:
    """Oldest first. Raises Refused (404) when one of the ids is no dead letter's."""
    if not body.ids:
        return services.reader.dead_letters_that_wait(limit=MAX_REDRIVEN, after_id=body.after_id)
    rows = services.reader.dead_letters_of(body.ids)
    unknown = sorted(set(body.ids) - {row.id for row in rows})
    if unknown:
        named = ", ".join(map(str, unknown[:MAX_NAMED]))
        rest = f" and {len(unknown) - MAX_NAMED} more" if len(unknown) > MAX_NAMED else ""
        raise not_found(f"ids: there is no dead letter {named}{rest}; nothing was tried", "ids", ids=unknown)
    return rows


ROUTES = [dead_letters, redrive]
