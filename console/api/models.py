"""Models of deals over HTTP: those that were learned and which scores; an operator adds and promotes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from msgspec import Struct

from console.api.bodies import read_json
from console.api.control import Reason, operator
from console.api.docs import answer_of, body_of
from console.api.queries import read
from console.api.waiting import in_time
from console.errors import Refused, bad_request, not_found
from console.public import public
from console.services import Services, services_of
from events.times import format_ms
from scoring.model import BadModel
from scoring.training.card import Card, Health, ModelFile
from storage import models as stored
from storage.models import State
from storage.read.models import known_models, model_health
from streams.deal_promotion import NoSuchModel, Promotion, PromotionRefused, check_file

_Request = Request[Any, Any, Any]
KEY = "models"
"""What is locked while models change."""


class ModelShown(Struct, frozen=True, kw_only=True):
    """A model: its state (candidate, active, retired) and its card."""

    hash: str
    kind: str
    state: State
    added: str
    by: str
    card: Card


class UseShown(Struct, frozen=True, kw_only=True):
    """From this version on this model scored; ``forced``: although it was not shown to be better."""

    version: int
    hash: str
    at: str
    by: str
    reason: str
    forced: bool


class ModelList(Struct, frozen=True, kw_only=True):
    """``active``: a hash, or "scorecard"; ``uses``: the last one first; ``health``: what was last found of a model."""

    active: str
    health: Health | None
    models: list[ModelShown]
    uses: list[UseShown]


class Added(Struct, frozen=True, kw_only=True):
    """A model that is kept; ``is_new``: it was not there before."""

    hash: str
    is_new: bool


class PromoteBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``model``: (the beginning of) a hash, or "scorecard"; or ``back`` to the one that scored before."""

    reason: Reason
    model: str = ""
    back: bool = False
    force: bool = False


_PROMOTE = msgspec.json.Decoder(PromoteBody)
_HEALTH = msgspec.json.Decoder(Health)
_FILE = msgspec.json.Decoder(ModelFile)


@get("/v1/deals/models", operation_class=answer_of(ModelList), tags=["deals"], summary="Models of deals")
async def models(request: _Request) -> Response[Any]:
    """Every model that was added, and which scored from when on."""
    return Response(public(await read(lambda: listed(services_of(request)))))


@post(
    "/v1/deals/models",
    status_code=200,
    operation_class=body_of(ModelFile),
    tags=["deals"],
    summary="Add a model that was learned",
)
async def add_model(request: _Request) -> Added:
    """Keep the file of ``tripline deals train`` as a candidate. A file that was changed is refused."""
    person = operator(request)
    file = read_json(await request.body(), request.headers.get("content-type", ""), _FILE)
    try:
        check_file(file)
    except (BadModel, PromotionRefused) as problem:
        raise bad_request(str(problem), "tables") from None
    services = services_of(request)
    key = services.reader.key(KEY)
    is_new = await in_time(services.runtime.decide(key, lambda at: stored.add(at.link, file, at.now_ms, person.name)))
    return Added(hash=file.hash, is_new=is_new)


@post(
    "/v1/deals/models/promote",
    status_code=200,
    operation_class=body_of(PromoteBody, example={"model": "20c63d0d8c", "reason": "better on 40 held-out deals"}),
    tags=["deals"],
    summary="Have a model score deals",
)
async def promote_model(request: _Request) -> UseShown:
    """From the next record on, every open deal is scored by it. Refused unless it is shown to be better, or forced."""
    person = operator(request)
    body = read_json(await request.body(), request.headers.get("content-type", ""), _PROMOTE)
    asked = Promotion(by=person.name, reason=body.reason, model=body.model, back=body.back, force=body.force)

    found = await in_time(services_of(request).runtime.promote(asked))
    if isinstance(found, NoSuchModel):
        raise not_found(str(found))
    if isinstance(found, PromotionRefused):
        raise Refused(409, "not_better", str(found))
    return shown(found)


@post(
    "/v1/deals/models/health",
    status_code=204,
    operation_class=body_of(Health),
    tags=["deals"],
    summary="Keep what was found of a model's health",
)
async def keep_health(request: _Request) -> None:
    """What ``tripline deals health --tell`` found, for page and metrics; it takes the place of what was kept."""
    operator(request)
    found = read_json(await request.body(), request.headers.get("content-type", ""), _HEALTH)
    services = services_of(request)
    await in_time(services.runtime.decide(services.reader.key(KEY), lambda at: stored.keep_health(at.link, found)))


def listed(services: Services) -> ModelList:
    """What the store says of models."""
    return listing(*known_models(services.reader), model_health(services.reader))


def listing(found: Sequence[stored.StoredModel], uses: list[stored.Use], health: Health | None = None) -> ModelList:
    """Models and uses as they are shown."""
    return ModelList(
        health=health,
        active=stored.active(uses),
        models=[
            ModelShown(
                hash=one.file.hash,
                kind=one.file.tables.kind,
                state=stored.state_of(one.file.hash, uses),
                added=format_ms(one.added_ms),
                by=one.by,
                card=one.file.card,
            )
            for one in found
        ],
        uses=[shown(one) for one in uses],
    )


def shown(use: stored.Use) -> UseShown:
    """A use with its time as text."""
    return UseShown(
        version=use.version, hash=use.hash, at=format_ms(use.at_ms), by=use.by, reason=use.reason, forced=use.forced
    )


ROUTES = [models, add_model, promote_model, keep_health]
