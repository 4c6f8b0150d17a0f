"""Which model scores deals: asked for by a person, refused unless shown to be better, said by a record of the log.

The rows and the record are written in one transaction: a model that the store calls active is one that the log names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from events.codec import encode
from events.types import MAIN_ENGINE, ModelEvent, ModelVersion
from governance.settings import Kafka
from scoring.model import SCORECARD, check, hash_of
from scoring.training.card import FORMAT, ModelFile
from storage import models, publication, shared
from storage.link import Link
from storage.models import Use
from storage.publication import Publication
from streams.envelopes import envelope
from streams.routing import CRM
from streams.ticks import EVERYBODY

_LOCK = "tripline: models"
LEAST_START = 6
"""A hash may be shortened to so many digits."""


class PromotionRefused(ValueError):
    """A model may not score; the message says why, and what would be right."""


class NoSuchModel(PromotionRefused):
    """The store has no such model."""


class Promotion(Struct, frozen=True, kw_only=True):
    """What a person asks for: the model whose hash begins with ``model`` ("scorecard" for the scorecard), or with
    ``back`` the one that scored before. ``force``: although it is not shown to be better."""

    by: str
    reason: str
    model: str = ""
    back: bool = False
    force: bool = False


def check_file(file: ModelFile) -> None:
    """Raise BadModel or PromotionRefused unless a model's file holds together."""
    check(file.tables)
    if file.format != FORMAT:
        raise PromotionRefused(f"the file has format {file.format}; this version reads {FORMAT}")
    if not file.hash == hash_of(file.tables) == file.card.hash:
        raise PromotionRefused("the hash of the file is not that of its tables: it was changed after the training")


def promote(
    link: Link, asked: Promotion, at_ms: int, append: Callable[[ModelEvent], object], engine_id: str = MAIN_ENGINE
) -> Use:
    """Write the row and have the record appended, inside the caller's transaction. Raises PromotionRefused."""
    if not asked.reason.strip():
        raise PromotionRefused("say why: a reason is needed")
    used = models.uses(link)
    hash_, file = _wanted(link, asked, used)
    if hash_ == models.active(used):
        raise PromotionRefused(f"{hash_} scores already")
    is_better = file is None or file.card.held_out.verdict == "better"
    is_back = any(one.hash == hash_ for one in used)
    if not (is_better or is_back or asked.force):
        held = file.card.held_out if file is not None else None
        told = f"{held.verdict}: {held.why}" if held is not None else ""
        raise PromotionRefused(
            f"{hash_} is not shown to be better than the scorecard ({told}); wait for more closed deals and train "
            "again, or give --force with the reason"
        )
    use = Use(
        version=(used[0].version if used else 0) + 1,
        hash=hash_,
        at_ms=at_ms,
        by=asked.by,
        reason=asked.reason.strip(),
        forced=not (is_better or is_back),
    )
    models.use(link, use)
    append(record_of(use, file, engine_id))
    return use


def try_promote(
    link: Link, asked: Promotion, at_ms: int, append: Callable[[ModelEvent], object], engine_id: str = MAIN_ENGINE
) -> Use | PromotionRefused:
    """``promote`` whose refusal is an answer: others of the same transaction are not to fail with it."""
    try:
        return promote(link, asked, at_ms, append, engine_id)
    except PromotionRefused as problem:
        return problem


def record_of(use: Use, file: ModelFile | None, engine_id: str) -> ModelEvent:
    """The record that brings the model, whole."""
    said = ModelVersion(
        version=use.version,
        kind=SCORECARD if file is None else file.tables.kind,
        hash=use.hash,
        tables=None if file is None else file.tables,
        by=use.by,
        reason=use.reason,
    )
    return envelope(ModelEvent, engine_id, f"model-{use.version}", use.at_ms, EVERYBODY, said)


def promote_on_kafka(link: Link, asked: Promotion, kafka: Kafka) -> Use:
    """The same on the store of the consoles: the record goes to each partition of ``crm.events``, once a console runs.

    Raises PromotionRefused, or StoreError; then nothing has changed.
    """
    from storage.postgres import lock_keys  # noqa: PLC0415 - its driver is not needed elsewhere

    link.execute("BEGIN IMMEDIATE")
    lock_keys(link, (_LOCK,))
    events: list[ModelEvent] = []
    use = promote(link, asked, shared.now_ms(link), events.append)
    publication.put(link, [one for event in events for one in _to_each(event, use, kafka)])
    link.execute("COMMIT")
    return use


def _wanted(link: Link, asked: Promotion, used: list[Use]) -> tuple[str, ModelFile | None]:
    start = models.before(used) if asked.back else asked.model.strip().lower()
    if start == SCORECARD:
        return SCORECARD, None
    if len(start) < LEAST_START:
        raise PromotionRefused(f"name the model by at least {LEAST_START} digits of its hash, or say scorecard")
    found = models.find(link, start)
    if not found:
        raise NoSuchModel(f"there is no model {start[:40]}; list them: tripline deals models")
    if len(found) > 1:
        raise PromotionRefused(f"{len(found)} models begin with {start}: give more digits")
    return found[0].file.hash, found[0].file


def _to_each(event: ModelEvent, use: Use, kafka: Kafka) -> Iterable[Publication]:
    body = encode(event)
    for index in range(kafka.partitions):
        yield Publication(
            kind="decision", topic=CRM, key=EVERYBODY, partition=index, event_id=event.id, body=body,
            created_ms=use.at_ms,
        )  # fmt: skip
