"""The model that scores a partition's deals: as the last record of the log that named one, else the scorecard."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from events.types import ModelInfo, ModelVersion
from scoring.compiled import scorecard
from scoring.model import HAND, Model, model_of
from scoring.outcomes import Closed, Outcomes
from scoring.reasons import Explainer
from scoring.stages import Process


class Common(Struct, array_like=True):
    """What all deals of a partition share, as it is written: the win rates, and the model's record if one came."""

    counts: dict[str, tuple[int, int]] = {}
    pending: Sequence[Closed] = []
    model: ModelVersion | None = None


class Scoring:
    """The card that scores and the explainer of its reasons. ``version``: of the last record taken, 0 before any.

    Raises BadModel when the record's model can't score.
    """

    def __init__(self, process: Process, silent_days: int, said: ModelVersion | None = None) -> None:
        model: Model = HAND if said is None else model_of(said)
        self.said = said
        self.version = 0 if said is None else said.version
        self.card = scorecard(process, silent_days, model)
        self.explainer = Explainer(self.card)
        self.unproven = ModelInfo(kind=model.kind, version=model.version, proven=False)
        self.proven = ModelInfo(kind=model.kind, version=model.version, proven=model.is_proven)


def dump_common(outcomes: Outcomes, said: ModelVersion | None) -> bytes:
    """As bytes; what is equal gives equal bytes."""
    return _encoder.encode(Common(outcomes.counts, outcomes.pending, said))


def load_common(blob: bytes) -> tuple[Outcomes, ModelVersion | None]:
    """From the bytes of ``dump_common``, of this version or one that had no models."""
    if not blob:
        return Outcomes(), None
    found = _decoder.decode(blob)
    return Outcomes(found.counts, list(found.pending)), found.model


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Common)
