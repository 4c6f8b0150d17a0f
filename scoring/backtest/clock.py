"""Local time of the log's zone: snapshots, day numbers, working days."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np

from events.times import DAY_MS, EPOCH, HOUR_MS, MS
from scoring.backtest.log import Floats, Ints

SNAPSHOT_HOUR = 8
_THURSDAY = 3
"""1970-01-01 was one."""


def instant_ms(moment: datetime, zone: ZoneInfo) -> int:
    """Milliseconds of a moment, which is in ``zone`` where it names none."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    return (aware - EPOCH) // MS


def day_of(at_ms: int, zone: ZoneInfo) -> date:
    """The local day of an instant."""
    return (EPOCH + at_ms * MS).astimezone(zone).date()


def snapshots(first_ms: int, last_ms: int, every: Literal["weekly", "daily"], zone: ZoneInfo) -> list[int]:
    """The snapshots from ``first_ms`` to ``last_ms``, both included: 08:00 local, on Mondays or each day."""
    day = day_of(first_ms, zone)
    found: list[int] = []
    while True:
        at_ms = instant_ms(datetime(day.year, day.month, day.day, SNAPSHOT_HOUR), zone)
        if at_ms > last_ms:
            return found
        if at_ms >= first_ms and (every == "daily" or day.weekday() == 0):
            found.append(at_ms)
        day += timedelta(days=1)


def local_ms(at_ms: Ints, zone: ZoneInfo) -> Ints:
    """What a clock on the wall shows, as milliseconds; one lookup of the zone's offset per quarter of an hour."""
    quarters, where = np.unique(at_ms // (HOUR_MS // 4), return_inverse=True)
    offsets = [
        ((EPOCH + int(each) * (HOUR_MS // 4) * MS).astimezone(zone).utcoffset() or timedelta()) // MS
        for each in quarters
    ]
    return np.asarray(at_ms + np.asarray(offsets, dtype=np.int64)[where], dtype=np.int64)


def working_days(wall_ms: Ints) -> Floats:
    """Working days (Monday to Friday, of 24 hours each) since 1970, by the clock on the wall."""
    day, within = np.divmod(wall_ms, DAY_MS)
    week, weekday = np.divmod(day + _THURSDAY, 7)
    return np.asarray(week * 5.0 + np.where(weekday < 5, weekday + within / DAY_MS, 5.0), dtype=np.float64)
