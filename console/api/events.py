"""``POST /v1/events``: what producers send. Each item is answered for by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from operator import attrgetter
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.openapi.spec import OpenAPIType, Schema
from msgspec import Struct

from console.answers import Answer, answer_of
from console.api.docs import body_as
from console.auth import Caller, Token, caller_of
from console.errors import Refused
from console.failures import refusal_of
from console.heads import Head
from console.hot import HotRoute, Reply
from console.services import Services, services_of
from events.codec import (
    Accepted,
    BadEvent,
    BadReason,
    Limits,
    Refusal,
    decode_input,
    kept_of,
    read_body,
    to_structured,
)
from events.types import ActionEvent
from streams.standalone.types import ACCEPTED, Busy, Closed, ItemResult

PATH = "/v1/events"
INLINE_BYTES = 32 * 1024
MAX_REFUSED_SHOWN = 1_000
NOT_TAKEN = ("text/plain",)
_encode = msgspec.json.Encoder().encode

_EVENT = Schema(
    type=OpenAPIType.OBJECT,
    description="A CloudEvents 1.0 event; `tripline schema export` writes the JSON Schemas of all types.",
    required=["specversion", "id", "source", "type", "time", "data"],
)
_BODIES = body_as(
    lambda: {
        "application/cloudevents+json": _EVENT,
        "application/cloudevents-batch+json": Schema(type=OpenAPIType.ARRAY, items=_EVENT),
        "application/x-ndjson": Schema(type=OpenAPIType.STRING, description="JSON Lines: one event a line."),
        "application/json": Schema(description="Binary mode: the data alone, the attributes as ce-… headers."),
    }
)


class RefusedItem(Struct, frozen=True):
    """An item that was refused: its place in the body (from 0), why, and the field it is about ("" = the whole)."""

    index: int
    reason: str
    message: str
    field: str


class IngestAnswer(Struct, frozen=True):
    """What became of the items. Accepted ones are judged and durable; refused ones are kept as dead letters.

    At most 1,000 refused items are listed; ``refused_count`` counts all.
    """

    accepted: int
    duplicates: int
    refused: list[RefusedItem]
    refused_count: int = 0


@post(PATH, status_code=200, operation_class=_BODIES, tags=["producers"], summary="Send events")
async def ingest(request: Request[Any, Any, Any]) -> Response[IngestAnswer]:
    """Take one event, a batch or JSON Lines. 400 when every item was refused, 429 when the sender should wait."""
    services = services_of(request)
    started = time.perf_counter()
    body, token = await request.body(), caller_of(request).token
    headers = list(request.headers.multi_items())
    if len(body) <= INLINE_BYTES:
        given = hand_over(services, body, headers, token)
    else:
        given = await asyncio.to_thread(hand_over, services, body, headers, token)
    duplicates, late = 0, list[RefusedItem]()
    accepted, refusals = given.accepted, given.refusals
    if given.future is not None:
        results = await asyncio.wrap_future(given.future)
        duplicates, late = _taken(services, accepted, results)
        services.metrics.ingest_seconds.observe(time.perf_counter() - started)
    await _keep(services, refusals, token)
    answer = _answer(len(accepted), duplicates, late, refusals)
    return Response(answer, status_code=_status(answer))


def hot_route(services: Services) -> HotRoute:
    """Small bodies of good events, as a ``console.hot.HotRoute``; all else is for ``ingest``."""

    def begin(body: bytes, head: Head, caller: Caller, reply: Reply) -> bool:
        if len(body) > INLINE_BYTES or head.is_event or head.is_from_page:
            return False
        started = time.perf_counter()
        try:
            items = read_items(body, (("content-type", head.get(b"content-type")),), services.limits)
            accepted = [item for item in items if isinstance(item, Accepted)]
            if not accepted or len(accepted) < len(items):
                return False
            if caller.token is not None:
                check_binding(caller.token, accepted)
            future = _ingested(services, accepted)
        except (Refused, Busy, Closed):
            return False

        def told() -> None:
            try:
                duplicates, late = _taken(services, accepted, future.result())
                services.metrics.ingest_seconds.observe(time.perf_counter() - started)
                shown = _answer(len(accepted), duplicates, late, ())
                answer = Answer(_status(shown), _encode(shown))
            except Exception as problem:
                answer = answer_of(refusal_of(problem, PATH))
            reply(answer)

        _when_done(future, told)
        return True

    return begin


def _when_done(future: Future[Any], told: Callable[[], None]) -> None:
    """Call ``told`` on the running loop, later, when the future is done."""
    loop = asyncio.get_running_loop()

    def done(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(told)

    future.add_done_callback(done)


def _answer(accepted: int, duplicates: int, late: Sequence[RefusedItem], refusals: Sequence[Refusal]) -> IngestAnswer:
    return IngestAnswer(
        accepted=accepted - duplicates - len(late),
        duplicates=duplicates,
        refused=sorted([*map(_shown, refusals), *late], key=attrgetter("index"))[:MAX_REFUSED_SHOWN],
        refused_count=len(refusals) + len(late),
    )


def _status(answer: IngestAnswer) -> int:
    """400 when there were items and every one was refused."""
    return 400 if answer.refused_count > 0 and not answer.accepted and not answer.duplicates else 200


class Given(Struct, frozen=True):
    """A request's items, read; ``future`` answers for the accepted ones, None when there are none."""

    accepted: list[Accepted]
    refusals: list[Refusal]
    future: Future[list[ItemResult]] | None


def hand_over(services: Services, body: bytes, headers: Sequence[tuple[str, str]], token: Token | None) -> Given:
    """Read a request and give its events to the runtime. Takes some µs an event: in a thread when there are many."""
    items = read_items(body, headers, services.limits)
    refusals = [item for item in items if isinstance(item, Refusal)]
    accepted = [item for item in items if isinstance(item, Accepted)]
    if token is not None:
        check_binding(token, accepted)
    return Given(accepted, refusals, _ingested(services, accepted) if accepted else None)


def _ingested(services: Services, accepted: Sequence[Accepted]) -> Future[list[ItemResult]]:
    pairs = [(item.raw, item.event) for item in accepted]
    return services.runtime.ingest(pairs, origin_of=lambda place: _origin(accepted[place].index))


def _origin(index: int) -> dict[str, Any]:
    """Where a refused item came from, as its dead letter says it."""
    return {"http": PATH, "index": index}


def read_items(body: bytes, headers: Sequence[tuple[str, str]], limits: Limits) -> list[Accepted | Refusal]:
    """The items of a request, each read or refused. Raises Refused when the body as a whole is of no use.

    A body that can't be divided into items is one refused item, so that it is kept.
    """
    content_type = next((value for name, value in headers if name == "content-type"), "")
    is_binary = any(name.startswith("ce-") for name, _ in headers) and "cloudevents" not in content_type.lower()
    try:
        if content_type.partition(";")[0].strip().lower() in NOT_TAKEN:
            raise BadEvent(
                BadReason.UNSUPPORTED_CONTENT_TYPE, f"content-type: {content_type[:60]!r} is not taken", "content-type"
            )
        if is_binary:
            raw = to_structured(headers, body, limits)
            return [Accepted(0, raw, decode_input(raw, limits))]
        return list(read_body(body, content_type, limits))
    except BadEvent as problem:
        if problem.reason == BadReason.UNSUPPORTED_CONTENT_TYPE:
            raise Refused(415, "unsupported_media_type", problem.message, {"field": problem.field}) from None
        if problem.reason == BadReason.TOO_LARGE and len(body) > limits.max_event_bytes:
            raise Refused(413, "too_large", problem.message) from None
        raw, attributes = kept_of(headers, body, limits) if is_binary else (body, {})
        return [Refusal(0, raw, problem, attributes)]


def check_binding(token: Token, accepted: Sequence[Accepted]) -> None:
    """Refuse the whole request (403) when a token speaks for another agent or source than its own."""
    for item in accepted:
        event = item.event
        if token.source is not None and event.source != token.source:
            message = f"this token sends as the source {token.source!r} only, not {event.source[:100]!r}"
        elif token.agent_id is None:
            continue
        elif type(event) is not ActionEvent:
            message = "an agent's own token sends tripline.agent.action.v1 only"
        elif event.data.agent_id != token.agent_id:
            message = f"this token speaks for {token.agent_id!r} only, not for {event.data.agent_id[:100]!r}"
        else:
            continue
        raise Refused(403, "not_yours", message, {"index": item.index})


def _taken(
    services: Services, accepted: Sequence[Accepted], results: Sequence[ItemResult]
) -> tuple[int, list[RefusedItem]]:
    """How many had been taken before, and which the engine refused (it has kept those as dead letters)."""
    if results.count(ACCEPTED) == len(accepted) == len(results):
        services.metrics.ingested.inc(len(accepted))
        return 0, []
    duplicates = sum(result.is_duplicate for result in results)
    refused = [
        RefusedItem(item.index, result.reason, result.message, result.field)
        for item, result in zip(accepted, results, strict=True)
        if result.status == "refused"
    ]
    services.metrics.ingested.inc(len(accepted) - duplicates - len(refused))
    services.metrics.duplicates.inc(duplicates)
    for item in refused:
        services.metrics.refused.add(item.reason)
    return duplicates, refused


async def _keep(services: Services, refusals: Sequence[Refusal], token: Token | None) -> None:
    kept = []
    for refusal in refusals:
        error = refusal.error
        agent_id = token.agent_id if token is not None and token.agent_id is not None else error.agent_id
        origin = {**_origin(refusal.index), **refusal.attributes}
        services.metrics.refused.add(str(error.reason))
        kept.append(services.runtime.dead_letter(refusal.raw, str(error.reason), error.message, origin, agent_id))
    await asyncio.gather(*map(asyncio.wrap_future, kept))


def _shown(refusal: Refusal) -> RefusedItem:
    return RefusedItem(refusal.index, str(refusal.error.reason), refusal.error.message, refusal.error.field)


ROUTES = [ingest]
