"""Models of deals in the store: those that were learned, and which scored from when on, by whom, why."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from scoring.model import SCORECARD
from scoring.training.card import Health, ModelFile
from storage.link import Link
from storage.sql import insert, upsert
from storage.tables import meta, model, model_use

State = Literal["candidate", "active", "retired"]
_ADD = insert(model, or_ignore=True)
_USE = insert(model_use)
_KEEP = upsert(meta)
HEALTH = "deal_health"
"""The row of ``meta`` that holds what was last found of the model's health."""
_health = msgspec.json.Decoder(Health).decode
_decode = msgspec.json.Decoder(ModelFile).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


class Use(Struct, frozen=True, kw_only=True):
    """From this version on this model scored; ``hash`` is "scorecard" for the scorecard. ``forced``: although it was
    not shown to be better."""

    version: int
    hash: str
    at_ms: int
    by: str
    reason: str
    forced: bool = False


class StoredModel(Struct, frozen=True, kw_only=True):
    """A model that was learned, with its card."""

    file: ModelFile
    added_ms: int
    by: str


def add(link: Link, file: ModelFile, at_ms: int, by: str) -> bool:
    """Keep a model as a candidate; False when it was there already."""
    row = (file.hash, file.tables.kind, at_ms, by, _encode(file).decode())
    return link.execute(_ADD, row).rowcount > 0


def find(link: Link, start: str) -> list[StoredModel]:
    """The models whose hash starts so; all for "", the newest first."""
    rows = link.execute("SELECT body, added_ms, by_id, hash FROM model ORDER BY added_ms DESC, hash").fetchall()
    return [
        StoredModel(file=_decode(body), added_ms=added_ms, by=by) for body, added_ms, by, hash_ in rows
        if hash_.startswith(start)
    ]  # fmt: skip


def uses(link: Link) -> list[Use]:
    """Which model scored when, the last one first."""
    rows = link.execute("SELECT version, hash, at_ms, by_id, reason, forced FROM model_use ORDER BY version DESC")
    return [
        Use(version=version, hash=hash_, at_ms=at_ms, by=by, reason=reason, forced=bool(forced))
        for version, hash_, at_ms, by, reason, forced in rows.fetchall()
    ]


def use(link: Link, wanted: Use) -> None:
    """Say that a model scores from here on; inside the caller's transaction, with the record that tells the engine."""
    link.execute(_USE, (wanted.version, wanted.hash, wanted.at_ms, wanted.by, wanted.reason, wanted.forced))


def keep_health(link: Link, found: Health) -> None:
    """Keep what was last found of a model's health; inside the caller's transaction."""
    link.execute(_KEEP, (HEALTH, msgspec.json.encode(found).decode()))


def read_health(body: str) -> Health:
    """What was found of a model's health, from its row."""
    return _health(body)


def active(found: list[Use]) -> str:
    """The hash of the model that scores."""
    return found[0].hash if found else SCORECARD


def before(found: list[Use]) -> str:
    """The hash of the model that scored before the one that does; the scorecard where nothing else did."""
    return next((one.hash for one in found if one.hash != active(found)), SCORECARD)


def state_of(hash_: str, found: list[Use]) -> State:
    """What a model is now."""
    if hash_ == active(found):
        return "active"
    return "retired" if any(one.hash == hash_ for one in found) else "candidate"
