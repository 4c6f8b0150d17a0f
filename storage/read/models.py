"""Models of deals: those that were added, and which scored when."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from scoring.model import SCORECARD
from scoring.training.card import Health, ModelFile
from storage import tables as t
from storage.models import HEALTH, StoredModel, Use, read_health
from storage.read.reader import Reader
from storage.read.store import reading

_decode = msgspec.json.Decoder(ModelFile).decode
MOST = 200


def model_health(reader: Reader) -> Health | None:
    """What was last found of a model's health; None before anybody looked."""
    with reading(reader.engine) as connection:
        row = connection.execute(select(t.meta.c.value).where(t.meta.c.name == HEALTH)).first()
    return None if row is None else read_health(row.value)


def active_model(reader: Reader) -> str:
    """The hash of the model that scores, "scorecard" where none was promoted."""
    with reading(reader.engine) as connection:
        row = connection.execute(select(t.model_use.c.hash).order_by(t.model_use.c.version.desc()).limit(1)).first()
    return SCORECARD if row is None else str(row.hash)


def known_models(reader: Reader) -> tuple[list[StoredModel], list[Use]]:
    """The models, the newest first, and their uses, the last one first."""
    with reading(reader.engine) as connection:
        found = connection.execute(select(t.model).order_by(t.model.c.added_ms.desc(), t.model.c.hash).limit(MOST))
        kept = [StoredModel(file=_decode(row.body), added_ms=row.added_ms, by=row.by_id) for row in found]
        rows = connection.execute(select(t.model_use).order_by(t.model_use.c.version.desc()).limit(MOST))
        uses = [
            Use(version=row.version, hash=row.hash, at_ms=row.at_ms, by=row.by_id, reason=row.reason, forced=row.forced)
            for row in rows
        ]
    return kept, uses
