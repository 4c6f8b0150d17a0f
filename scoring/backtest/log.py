"""An event log as arrays: cases by name, each cut at its first outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scoring.backtest.errors import BacktestError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NEVER = np.iinfo(np.int64).max
"""The end of a case that has not ended, and of a close date that is none."""
UNTOLD = -1
"""The close date of a row that tells none: what was expected before goes on."""
_SPAN = 1 << 43
"""More milliseconds than any log spans (278 years), so that case × span + time orders by case, then time."""


class Raw(NamedTuple):
    """The events as they were read, in any order; all have one length. ``lines`` break ties of time. ``close_ms``: what
    each row tells of the close date (``closing.told_ms``); None without such a column."""

    cases: Sequence[str]
    activities: Sequence[str]
    at_ms: Sequence[int]
    lines: Sequence[int]
    close_ms: Sequence[int] | None = None


class EventLog(NamedTuple):
    """Cases sorted by name, and their events before the outcome, by case and time.

    ``starts`` (cases + 1): where a case's events begin. ``activity`` is the place in ``activities`` (sorted names).
    ``opened_ms``, ``ended_ms`` (``NEVER`` while open), ``is_lost``: one per case. ``stillborn``: cases left out
    because the outcome is their first event. ``after_end``: events left out, at or after their case's outcome.
    ``close_ms``: the end of the close date expected after each event (``NEVER``: none); None where the log has none.
    """

    cases: list[str]
    starts: Ints
    at_ms: Ints
    activity: Ints
    activities: list[str]
    opened_ms: Ints
    ended_ms: Ints
    is_lost: Bools
    first_ms: int
    last_ms: int
    stillborn: int
    after_end: int
    close_ms: Ints | None = None

    @property
    def case_of(self) -> Ints:
        """The case of each event."""
        return np.repeat(np.arange(len(self.cases)), np.diff(self.starts))

    def before(self, cases: Ints, at_ms: Ints) -> Ints:
        """For each (case, moment), how many events of the whole table lie before it, counting up to that case.

        So ``before(...) - 1`` is the case's last event strictly before the moment, if it had one.
        """
        keys = self.case_of * _SPAN + (self.at_ms - self.first_ms)
        wanted = cases * _SPAN + np.clip(at_ms - self.first_ms, 0, _SPAN - 1)
        return np.searchsorted(keys, wanted, side="left")

    def open_at(self, moments: Sequence[int]) -> tuple[Ints, Ints]:
        """The cases open at each moment (started strictly before it, not ended strictly before it), and the moment."""
        found = [np.flatnonzero((self.opened_ms < at) & (self.ended_ms >= at)) for at in moments]
        case = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
        return case, np.repeat(np.asarray(moments, dtype=np.int64), [len(each) for each in found])

    def known_at(self, at_ms: int) -> EventLog:
        """The log as it was at a moment: only what lies strictly before it. Everything learned comes from this."""
        is_born = self.opened_ms < at_ms
        keep = (self.at_ms < at_ms) & is_born[self.case_of]
        counts = np.bincount(self.case_of[keep], minlength=len(self.cases))[is_born]
        is_ended = self.ended_ms[is_born] < at_ms
        return self._replace(
            cases=[case for case, born in zip(self.cases, is_born, strict=True) if born],
            starts=np.concatenate(([0], np.cumsum(counts))),
            at_ms=self.at_ms[keep],
            activity=self.activity[keep],
            opened_ms=self.opened_ms[is_born],
            ended_ms=np.where(is_ended, self.ended_ms[is_born], NEVER),
            is_lost=self.is_lost[is_born] & is_ended,
            last_ms=at_ms - 1,
            close_ms=None if self.close_ms is None else self.close_ms[keep],
        )

    def only(self, chosen: Bools) -> EventLog:
        """The log of some of the cases."""
        keep = chosen[self.case_of]
        return self._replace(
            cases=[case for case, is_in in zip(self.cases, chosen, strict=True) if is_in],
            starts=np.concatenate(([0], np.cumsum(np.diff(self.starts)[chosen]))),
            at_ms=self.at_ms[keep],
            activity=self.activity[keep],
            opened_ms=self.opened_ms[chosen],
            ended_ms=self.ended_ms[chosen],
            is_lost=self.is_lost[chosen],
            close_ms=None if self.close_ms is None else self.close_ms[keep],
        )


def gather(raw: Raw, won: Sequence[str], lost: Sequence[str]) -> EventLog:
    """The log of events as read. A case ends at its first event among ``won`` and ``lost``; later ones are left out.

    Raises BacktestError when there is no event, or the times span more than 278 years.
    """
    if not raw.cases:
        raise BacktestError("the log has no event that can be read")
    names, case = _places(raw.cases)
    activities, activity = _places(raw.activities)
    at_ms = np.asarray(raw.at_ms, dtype=np.int64)
    if int(at_ms.max()) - int(at_ms.min()) >= _SPAN:
        raise BacktestError("the log's times span more than 278 years; is a timestamp's format wrong?")
    order = np.lexsort((np.asarray(raw.lines, dtype=np.int64), at_ms, case))
    case, activity, at_ms = case[order], activity[order], at_ms[order]
    ended_ms = np.full(len(names), NEVER, dtype=np.int64)
    is_lost = np.zeros(len(names), dtype=bool)
    is_lost_activity = np.asarray([name in lost for name in activities])
    ends = np.flatnonzero(np.asarray([name in won or name in lost for name in activities])[activity])
    first = ends[np.unique(case[ends], return_index=True)[1]]
    ended_ms[case[first]] = at_ms[first]
    is_lost[case[first]] = is_lost_activity[activity[first]]
    keep = at_ms < ended_ms[case]
    counts = np.bincount(case[keep], minlength=len(names))
    is_alive = counts > 0
    starts = np.concatenate(([0], np.cumsum(counts[is_alive])))
    told = None if raw.close_ms is None else np.asarray(raw.close_ms, dtype=np.int64)[order][keep]
    return EventLog(
        cases=[name for name, alive in zip(names, is_alive, strict=True) if alive],
        starts=starts,
        at_ms=at_ms[keep],
        activity=activity[keep],
        activities=activities,
        opened_ms=at_ms[keep][starts[:-1]],
        ended_ms=ended_ms[is_alive],
        is_lost=is_lost[is_alive],
        first_ms=int(at_ms.min()),
        last_ms=int(at_ms.max()),
        stillborn=int((~is_alive).sum()),
        after_end=int((~keep).sum()),
        close_ms=None if told is None else _carried(told, starts),
    )


def _carried(told: Ints, starts: Ints) -> Ints:
    """What is expected after each event, by case: the date told last, ``NEVER`` before any."""
    last = np.maximum.accumulate(np.where(told != UNTOLD, np.arange(len(told)), -1))
    first = np.repeat(starts[:-1], np.diff(starts))
    return np.where(last >= first, told[last], NEVER)


def _places(texts: Sequence[str]) -> tuple[list[str], Ints]:
    names = sorted(set(texts))
    place = {name: at for at, name in enumerate(names)}
    return names, np.fromiter(map(place.__getitem__, texts), dtype=np.int64, count=len(texts))
