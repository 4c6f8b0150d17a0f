"""Models of deals for tests: invented tables on the grid, their files, and the records that bring them."""

from __future__ import annotations

import random

from msgspec.structs import replace

from events.types import ModelEvent, ModelTables, ModelVersion
from scoring.model import hash_of
from scoring.stages import Process
from scoring.training.card import Card, HeldOut, ModelFile, Verdict
from scoring.training.grid import grid
from streams.envelopes import envelope
from streams.ticks import EVERYBODY
from tests.unit.scoring.deals_log import START_MS


def invented(seed: int = 1, *, proven: bool = True) -> ModelTables:
    """Tables with a contribution almost everywhere."""
    draw = random.Random(seed)
    made = grid(Process(), 14)
    features = [
        replace(
            one,
            lost=[draw.randrange(-120, 120) for _ in one.lost],
            soon=[draw.randrange(-120, 120) for _ in one.soon],
            late=[draw.randrange(-120, 120) for _ in one.late],
        )
        for one in made.features
    ]
    return replace(
        made, kind="boosted", points_per_log_odd=256, lost_base=-77, soon_base=-200, late_base=31,
        is_proven=proven, features=features,
    )  # fmt: skip


def record(version: int, tables: ModelTables | None, *, at_ms: int = START_MS, hash: str = "") -> ModelEvent:
    """The record that brings a model; without tables the scorecard."""
    said = ModelVersion(
        version=version,
        kind=tables.kind if tables else "scorecard",
        hash=hash or (hash_of(tables) if tables else ""),
        tables=tables,
        by="maya",
        reason="better",
    )
    return envelope(ModelEvent, "main", f"model-{version}", at_ms, EVERYBODY, said)


def model_file(seed: int, verdict: Verdict = "better") -> ModelFile:
    """A file as the training writes it, with a card of this verdict."""
    tables = invented(seed)
    held = HeldOut(
        since="2026-03-02T08:00:00Z", learned_from=90, closed_deals=12, verdict=verdict, why="as it is", targets=[],
        groups=[],
    )  # fmt: skip
    card = Card(
        hash=hash_of(tables), kind=tables.kind, kinds={}, made_from="2026-01-01T00:00:00Z",
        made_until="2026-03-01T00:00:00Z", deals=100, won_deals=50, lost_deals=40, open_deals=10, rows=500,
        currencies=["EUR"], features=[], entries=1, held_out=held, limits=[], reference={},
    )  # fmt: skip
    return ModelFile(format=1, hash=card.hash, tables=tables, card=card)
