"""A model of deals as tables: the hand scorecard, or learned ones that came in a record of the log.

All models look at the same features in the same order (``tables.TABLES``). A learned one may cut most of them
elsewhere; those whose bins mean something beyond the score (``AS_BY_HAND``) keep the scorecard's cuts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import msgspec
from msgspec import Struct

from events.types import ModelTables, ModelVersion
from scoring.tables import COUNTS, LOST_BASE, POINT, SLIP_BASE, TABLES, VERSION, Table

SCORECARD = "scorecard"
AS_BY_HAND = frozenset({"close_date", *(table.name for table in COUNTS)})
"""Features that every model cuts as the scorecard does: p_slip and p_won_by read the bin of the close date, and
which window's contacts are counted follows from the cuts of the counts."""
MAX_BYTES = 64 * 1024
"""The canonical bytes of a model; usually about 6 kB."""
_canonical = msgspec.json.Encoder(order="deterministic")


class BadModel(ValueError):
    """Tables that can't score; the message names the place."""


class Model(Struct, frozen=True):
    """Tables that score. ``point``: log-odds of one point, a power of two, so that sums are exact in any order.

    ``lost_base``, ``slip_base``, ``soon_base``: in points. ``soon``: for each feature and bin the points of a loss
    within 14 days; None for the scorecard, which derives that from the log-odds of a loss.
    """

    kind: str
    version: int
    point: float
    tables: tuple[Table, ...]
    lost_base: int
    slip_base: int
    soon_base: int = 0
    soon: tuple[tuple[int, ...], ...] | None = None
    is_proven: bool = True

    @property
    def base(self) -> float:
        """The log-odds of p_lost before any reason."""
        return self.lost_base * self.point


HAND = Model(SCORECARD, VERSION, POINT, TABLES, LOST_BASE, SLIP_BASE)
"""The scorecard; it scores until a record of the log says otherwise."""


def hash_of(tables: ModelTables) -> str:
    """The name of a model: 32 hex digits over its canonical bytes."""
    return hashlib.sha256(_canonical.encode(tables)).hexdigest()[:32]


def model_of(said: ModelVersion) -> Model:
    """The model of a record. Raises BadModel when this version of Tripline can't score with it."""
    tables = said.tables
    if tables is None:
        if said.kind != SCORECARD:
            raise BadModel(f"model {said.hash}: a model of kind {said.kind!r} needs tables")
        return HAND
    if hash_of(tables) != said.hash:
        raise BadModel(f"model {said.hash}: the hash of its tables is {hash_of(tables)}")
    return learned(tables, said.version)


def learned(tables: ModelTables, version: int = 0) -> Model:
    """A model of tables. Raises BadModel that names the feature and what is wrong with it."""
    check(tables)
    return Model(
        tables.kind,
        version,
        1.0 / tables.points_per_log_odd,
        tuple(
            Table(one.name, hand.unit, tuple(one.cuts), tuple(zip(one.lost, one.late, strict=True)))
            for one, hand in zip(tables.features, TABLES, strict=True)
        ),
        tables.lost_base,
        tables.late_base,
        tables.soon_base,
        tuple(tuple(one.soon) for one in tables.features),
        tables.is_proven,
    )


def check(tables: ModelTables) -> None:
    """Raise BadModel unless these tables can score."""
    if tables.points_per_log_odd & (tables.points_per_log_odd - 1):
        raise BadModel(f"points_per_log_odd is {tables.points_per_log_odd}; a power of two keeps sums exact")
    names = [one.name for one in tables.features]
    wanted = [table.name for table in TABLES]
    if names != wanted:
        raise BadModel(f"features are {', '.join(names)[:400]}; they must be {', '.join(wanted)}")
    for one, hand in zip(tables.features, TABLES, strict=True):
        if any(later <= earlier for earlier, later in pairwise(one.cuts)):
            raise BadModel(f"features.{one.name}.cuts must ascend")
        if one.name in AS_BY_HAND and tuple(one.cuts) != hand.cuts:
            raise BadModel(f"features.{one.name}.cuts must be {_list(hand.cuts)}")
        if one.name == "longest_gap" and any(cut < 1 for cut in one.cuts):
            raise BadModel("features.longest_gap.cuts must be at least 1 day: shorter pauses are not looked at")
        for field in ("lost", "soon", "late"):
            points = getattr(one, field)
            if len(points) != len(one.cuts) + 1:
                raise BadModel(f"features.{one.name}.{field} has {len(points)} points; {len(one.cuts) + 1} are needed")
    size = len(_canonical.encode(tables))
    if size > MAX_BYTES:
        raise BadModel(f"the model has {size:,} bytes; at most {MAX_BYTES:,} fit a record of the log")


def _list(cuts: Sequence[float]) -> str:
    return ", ".join(f"{cut:g}" for cut in cuts)
