"""Close dates as a log tells them: what was expected when, how often it moved back, and whether it was known then.

A date ends with its day, in the log's zone. Each event tells the date of its row; a row without one changes nothing.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from events.adapters.base import parse_date
from events.times import DAY_MS
from scoring.backtest.clock import day_of, instant_ms
from scoring.backtest.log import NEVER, UNTOLD, EventLog, Floats, Ints

FIRST_YEAR, LAST_YEAR = 2000, 2099
"""A close date outside is no sound one, as it is live."""
HINDSIGHT_SHARE, HINDSIGHT_CASES = 0.5, 20
"""Of at least so many closed cases, this share closed on the very day that their first event gave."""


def told_ms(text: str, zone: ZoneInfo, pattern: str = "") -> int:
    """The end of the day that a row gives: ``UNTOLD`` without one, ``NEVER`` when it is no sound date."""
    if not text.strip():
        return UNTOLD
    try:
        day = parse_date(text, zone, pattern)
    except (ValueError, OverflowError):
        return NEVER
    return end_ms(day, zone) if FIRST_YEAR <= day.year <= LAST_YEAR else NEVER


def end_ms(day: date, zone: ZoneInfo) -> int:
    """The end of a day."""
    after = day + timedelta(days=1)
    return instant_ms(datetime(after.year, after.month, after.day), zone)


def columns(log: EventLog, last: Ints, at_ms: Ints) -> dict[str, Floats]:
    """Features of rows whose case's last event is ``last``: days to the close date (below 0: past it; NaN: there is
    none), how often it has moved back, and by how many days in all."""
    close_ms = log.close_ms
    if close_ms is None:
        return {}
    before = np.concatenate(([NEVER], close_ms[:-1]))
    before[log.starts[:-1]] = NEVER
    pushed = np.where((before != NEVER) & (close_ms != NEVER), np.rint((close_ms - before) / DAY_MS), 0.0)
    pushed = np.maximum(pushed, 0.0)
    first = np.repeat(log.starts[:-1], np.diff(log.starts))
    pushes, days = (np.concatenate(([0.0], np.cumsum(one))) for one in ((pushed > 0).astype(float), pushed))
    row_first, here = first[last], close_ms[last]
    return {
        "to_close": np.where(here == NEVER, np.nan, (here - at_ms) / DAY_MS),
        "pushes": pushes[last + 1] - pushes[row_first],
        "pushed_days": days[last + 1] - days[row_first],
    }


def expected(log: EventLog, case: Ints, at_ms: Ints) -> Ints:
    """The close date that each case had at a moment, as the end of that day; ``NEVER`` without one."""
    if log.close_ms is None:
        return np.full(len(case), NEVER, dtype=np.int64)
    return np.asarray(log.close_ms[log.before(case, at_ms) - 1], dtype=np.int64)


def trust(known: EventLog, zone: ZoneInfo) -> tuple[bool, str]:
    """Whether the close dates of what is known can be learned from, and if not, why (empty: there is no column).

    A log exported after the fact often has the day on which a case *did* close in each of its rows: that gives the
    outcome's time away, so it is not used. Only cases that have closed can tell.
    """
    if known.close_ms is None:
        return False, ""
    first = known.close_ms[known.starts[:-1]]
    if (known.close_ms == NEVER).all():
        return False, "no row known at the cut has a close date that can be read"
    chosen = np.flatnonzero((known.ended_ms != NEVER) & (first != NEVER))
    if len(chosen) < HINDSIGHT_CASES:
        return True, ""
    hits = sum(
        end_ms(day_of(int(ended), zone), zone) == int(said)
        for ended, said in zip(known.ended_ms[chosen], first[chosen], strict=True)
    )
    share = hits / len(chosen)
    if share < HINDSIGHT_SHARE:
        return True, ""
    return False, (
        f"{share:.0%} of {len(chosen):,} closed cases closed on the very day that their first event gives as close "
        "date: it was filled in afterwards and tells the outcome's time, so it is not used; give the dates as they "
        "were expected at each event"
    )
