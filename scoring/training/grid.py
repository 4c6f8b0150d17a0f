"""Where learned tables may cut: the scorecard's cuts, and finer ones where deals are told apart by more.

Rows for training are the bins of this grid, found by the live code (``Scorecard.judge``): what a model saw when it
learned is, bit for bit, what it sees when it scores. The grid's own points are the scorecard's, so that the scorecard
is one model on it, and what fits are anchored on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from events.types import FeatureTable, ModelTables
from scoring.model import AS_BY_HAND
from scoring.plan import with_silent_rule
from scoring.stages import Process
from scoring.tables import LOST_BASE, POINT, SLIP_BASE, TABLES, Table

KIND = "grid"
MOST_CUTS = 30
FINER: dict[str, tuple[float, ...]] = {
    "silence": (*range(1, 15), 16, 18, 23, 25, 28, 33, 37, 41, 52, 60, 75, 90),
    "buyer_silence": (0.25, 0.5, 0.75, 1.25, 1.5, 1.75, 2.5, 3.5, 4.5, 5, 5.5, 7, 8, 9, 12, 15),
    "stage_age": (
        *(tenth / 10 for tenth in range(1, 10)), 1.1, 1.25, 1.4, 1.6, 1.75, 2.25, 2.5, 2.75, 3.5, 4, 6, 8,
    ),
    "age": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1, 1.15, 1.3, 1.5, 1.75, 2.25, 2.5, 2.75, 3.5, 4, 6, 8),
    "pace": (-4, -1.5, -0.75),
    "pushed_days": (7, 60),
    "longest_gap": (1, 2, 3, 4, 5, 7, 10, 18, 21, 25, 45),
}  # fmt: skip
"""The ages each day to two weeks, then a tenth or so apart: who is silent for 16 days is not like who is for 20. Where
a process ends deals by a rule (after 30 days without an answer, say), wide steps hide most of it."""


def grid(process: Process, silent_days: int) -> ModelTables:
    """The scorecard on the grid of this sales process. Its points for a loss within 14 days are those of a loss."""
    features = [_feature(table, process, silent_days) for table in TABLES]
    return ModelTables(
        kind=KIND,
        points_per_log_odd=round(1 / POINT),
        lost_base=LOST_BASE,
        soon_base=LOST_BASE,
        late_base=SLIP_BASE,
        is_proven=False,
        features=features,
    )


def _feature(hand: Table, process: Process, silent_days: int) -> FeatureTable:
    table = with_silent_rule(hand, silent_days) if hand.name == "silence" else hand
    cuts: Sequence[float] = table.cuts
    if hand.name not in AS_BY_HAND:
        more = _places(process) if hand.name == "stage" else FINER.get(hand.name, ())
        cuts = sorted({*cuts, *map(float, more)})
    points = [_points(table, None), *(_points(table, cut) for cut in cuts)]
    lost, late = [lost for lost, _ in points], [late for _, late in points]
    return FeatureTable(name=hand.name, cuts=[float(cut) for cut in cuts], lost=lost, soon=lost, late=late)


def _points(table: Table, cut: float | None) -> tuple[int, int]:
    """What the scorecard gives from this cut on; below all cuts for None."""
    return table.points[0 if cut is None else sum(one <= cut for one in table.cuts)]


def _places(process: Process) -> list[float]:
    """Cuts between the stages of a process, so that each has a bin, as far as there is room."""
    known = sorted({stage.place for stage in process.stages if stage.place is not None} | {0.5})
    between = [(one + other) / 2 for one, other in pairwise(known)]
    return between if len(between) <= MOST_CUTS - 3 else []
