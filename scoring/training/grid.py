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
    "silence": (1, 3, 7, 60, 90),
    "buyer_silence": (0.5, 1.5, 15),
    "stage_age": (0.25, 0.5, 0.75, 2.5, 8),
    "age": (0.25, 0.5, 0.75, 1, 1.5, 8),
    "pace": (-4, -1.5, -0.75),
    "pushed_days": (7, 60),
    "longest_gap": (5, 7, 10, 21, 45),
}


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
