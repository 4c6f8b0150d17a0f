"""The hand scorecard: feature → cuts → points. An eighth of a log-odd is one point, so that every sum is exact.

Set by hand from what sales people know, before any outcome rate of any corpus was looked at; version 1. A row has
one pair of points more than it has cuts: (lost, slip) below the first cut, from each cut on, and so forth.
*lost* moves the odds that the deal is lost, *slip* the odds that it is late if it isn't lost.
"""

from __future__ import annotations

from msgspec import Struct

POINT = 0.125
"""Log-odds of one point. A power of two: sums of points are exact in binary, in any order."""
LOST_BASE = -8
SLIP_BASE = -4
VERSION = 1
PROVEN_DEALS = 80
"""The card is called unproven on a CRM until this many of its deals have closed."""
HORIZONS = (7, 14, 28)

Points = tuple[int, int]


class Table(Struct, frozen=True):
    """One feature. ``unit`` says what the cuts count; ``cuts`` ascend; a value on a cut lies above it."""

    name: str
    unit: str
    cuts: tuple[float, ...]
    points: tuple[Points, ...]


def _table(name: str, unit: str, below: Points, *above: tuple[float, Points]) -> Table:
    return Table(name, unit, tuple(cut for cut, _ in above), (below, *(points for _, points in above)))


SILENCE = _table(
    "silence", "days without a sign of life",
    (-2, 0), (2, (0, 0)), (5, (2, 1)), (10, (3, 2)), (14, (4, 3)), (21, (6, 4)), (30, (8, 5)), (45, (11, 6)),
)  # fmt: skip
SILENT_RULE: Points = (4, 1)
"""On top of the silence table from ``silent_days`` (14) on: the plain rule that people know."""

AGES = (
    SILENCE,
    _table(
        "buyer_silence", "× the usual answer time of the stage",
        (-3, -1), (1, (0, 0)), (2, (3, 1)), (3, (5, 2)), (4, (7, 3)), (6, (8, 3)), (10, (10, 4)),
    ),
    _table(
        "stage_age", "× the stage's usual stay",
        (0, 0), (1, (1, 2)), (1.5, (3, 4)), (2, (4, 5)), (3, (6, 7)), (5, (8, 8)),
    ),
    _table(
        "age", "× the usual time to come this far",
        (0, 0), (2, (1, 1)), (3, (2, 2)), (5, (4, 3)),
    ),
    _table(
        "executive", "days since an executive of the buyer took part; never = before the first cut",
        (0, 0), (0, (-3, -2)), (30, (-2, -1)), (90, (-1, 0)),
    ),
    _table(
        "meeting", "days since (−: until) the next meeting; none = after the last cut",
        (-2, -1), (-14, (-3, -3)), (0, (1, 1)),
    ),
    _table(
        "next_step", "days since the next step was written; never said = before, known to be empty = after all cuts",
        (0, 0), (0, (-1, -1)), (14, (0, 0)), (30, (2, 2)), (3650, (2, 2)),
    ),
    _table(
        "close_date", "days past (−: until) the close date; unknown = before the first cut",
        (0, 0), (-99_999, (0, 0)), (-28, (0, 0)), (-14, (0, 0)), (-7, (0, 0)),
        (0, (3, 0)), (7, (5, 0)), (30, (7, 0)),
    ),
    _table(
        "pace", "× what the stages ahead usually take, past (−: until) the close date; unknown = before all cuts",
        (0, 0), (-99_999, (0, -8)), (-2, (0, -2)), (-1, (0, 4)), (-0.5, (1, 10)), (-0.25, (2, 16)), (0, (0, 0)),
    ),
    _table(
        "competitor", "days since a competitor was named; never = before the first cut",
        (0, 0), (0, (5, 2)), (30, (3, 1)), (90, (1, 0)),
    ),
    _table(
        "owner_change", "days since the deal changed hands; never = before the first cut",
        (0, 0), (0, (2, 2)), (30, (1, 1)), (90, (0, 0)),
    ),
)  # fmt: skip
"""Features that grow with time, in the order of ``state.Age``."""

TOUCHES_7 = _table("touches_7d", "contacts in 7 days", (0, 0), (1, (0, 0)), (3, (-1, 0)), (6, (-2, -1)))
TOUCHES_14 = _table("touches_14d", "contacts in 14 days", (2, 1), (1, (0, 0)), (3, (-1, 0)), (6, (-2, -1)))
PEOPLE_30 = _table("buyers_30d", "people of the buyer in 30 days", (2, 1), (1, (0, 0)), (2, (-1, 0)), (4, (-2, -1)))
COUNTS = (TOUCHES_7, TOUCHES_14, PEOPLE_30)
"""Features that count the recent past. A deal younger than the window is not blamed for an empty one."""

STAGE = _table(
    "stage", "place in the process, 0 to 1; unknown counts 0.5", (3, 0), (0.25, (2, 0)), (0.5, (0, 0)), (0.75, (-3, 0))
)
FACTS = (
    STAGE,
    _table("pushes", "times the close date moved back", (0, 0), (1, (3, 4)), (2, (5, 7)), (3, (7, 10))),
    _table("pushed_days", "days it moved in all", (0, 0), (30, (1, 1)), (90, (2, 2))),
    _table("discount", "% below the highest amount", (0, 0), (5, (1, 0)), (15, (2, 0)), (30, (3, 0))),
    _table("amount_change", "% above the first amount", (0, 0), (10, (-2, 0))),
    _table("regressions", "steps back to an earlier stage", (0, 0), (1, (4, 3)), (2, (7, 5))),
    _table("longest_gap", "days, the longest pause between contacts", (0, 0), (14, (1, 1)), (30, (2, 2))),
    _table(
        "owner_wins", "points, the owner's win rate less everybody's",
        (3, 0), (-15, (1, 0)), (-5, (0, 0)), (5, (-1, 0)), (15, (-2, 0)),
    ),
    _table(
        "segment_wins", "points, the segment's win rate less everybody's",
        (3, 0), (-15, (1, 0)), (-5, (0, 0)), (5, (-1, 0)), (15, (-2, 0)),
    ),
)  # fmt: skip
"""Features that only a record about the deal changes."""

TABLES = (*AGES, *COUNTS, *FACTS)
"""Every feature, in the order of ``DealState.bins``."""
