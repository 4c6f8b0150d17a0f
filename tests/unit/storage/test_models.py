"""Models of deals in the store: who may promote what, and what the log is told."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from events.codec import decode
from events.types import ModelEvent
from governance.settings import Kafka
from storage import models, publication
from storage.link import Link
from storage.postgres import PgStore
from streams.deal_promotion import NoSuchModel, Promotion, PromotionRefused, check_file, promote, promote_on_kafka
from tests.unit.scoring.models import Verdict, invented, model_file

NOW_MS = 1_772_442_000_000


def ask(link: Link, said: list[ModelEvent], **asked: Any) -> models.Use:
    return promote(link, Promotion(**{"by": "maya", "reason": "why not"} | asked), NOW_MS, said.append)


def test_candidates_become_active_and_retire_and_come_back(link: Link) -> None:
    one, other = model_file(1), model_file(2)
    said: list[ModelEvent] = []
    assert [models.add(link, file, NOW_MS, "maya") for file in (one, other, one)] == [True, True, False]
    assert {found.file.hash for found in models.find(link, "")} == {one.hash, other.hash}
    ask(link, said, model=one.hash[:8])
    ask(link, said, model=other.hash)
    uses = models.uses(link)
    assert [models.state_of(file.hash, uses) for file in (one, other)] == ["retired", "active"]
    assert models.state_of("else", uses) == "candidate"
    assert ask(link, said, back=True).hash == one.hash
    assert ask(link, said, model="scorecard").version == 4
    assert [(event.data.version, event.data.hash) for event in said] == [
        (1, one.hash), (2, other.hash), (3, one.hash), (4, "scorecard")
    ]  # fmt: skip
    assert said[0].data.tables == one.tables
    assert said[3].data.tables is None


@pytest.mark.parametrize("verdict", ["worse", "not matured"])
def test_a_model_that_is_not_shown_to_be_better_takes_force(link: Link, verdict: Verdict) -> None:
    file = model_file(1, verdict)
    said: list[ModelEvent] = []
    models.add(link, file, NOW_MS, "maya")
    with pytest.raises(PromotionRefused, match=f"{verdict}: as it is"):
        ask(link, said, model=file.hash)
    assert (models.uses(link), said) == ([], [])
    assert ask(link, said, model=file.hash, force=True).forced


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"model": "abc"}, "at least 6 digits"),
        ({"model": "0" * 32}, "there is no model"),
        ({"model": "scorecard"}, "scores already"),
        ({"back": True}, "scores already"),
        ({"model": "scorecard", "reason": " "}, "say why"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(link: Link, asked: dict[str, Any], told: str) -> None:
    with pytest.raises(PromotionRefused, match=told):
        ask(link, [], **asked)


def test_a_file_that_was_changed_after_the_training_is_refused() -> None:
    file = model_file(1)
    check_file(file)
    for changed in (replace(file, hash="0" * 32), replace(file, tables=invented(2)), replace(file, format=2)):
        with pytest.raises(PromotionRefused):
            check_file(changed)


def test_on_kafka_each_partition_is_told_in_the_transaction_of_the_row(database: str) -> None:
    link = PgStore(database).connect()
    file = model_file(3)
    models.add(link, file, NOW_MS, "maya")
    kafka = Kafka(partitions=3)
    with pytest.raises(NoSuchModel):
        promote_on_kafka(link, Promotion(by="maya", reason="x", model="f" * 8), kafka)
    link.execute("ROLLBACK")
    use = promote_on_kafka(link, Promotion(by="maya", reason="better", model=file.hash), kafka)
    waiting = publication.decided(link, 10)
    assert [(one.topic, one.partition, one.event_id) for one in waiting] == [
        ("crm.events", index, "model-1") for index in range(3)
    ]
    event = decode(waiting[0].body)
    assert isinstance(event, ModelEvent)
    assert event.data.tables == file.tables
    assert models.uses(link) == [use]
    link.close()
