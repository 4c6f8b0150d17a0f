"""What the log knew of each open deal, a row a deal and week, and what was known of the deals' ends at any moment."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from events.times import DAY_MS
from scoring.backtest.features import Frame
from scoring.backtest.log import Bools, Floats, Ints
from scoring.backtest.train import HALF_LIFE_DAYS
from scoring.state import FAR_FUTURE, Age, DealState, Status
from scoring.tables import TABLES

SOON_DAYS = 14
NAMES = [table.name for table in TABLES]
_OPEN, _WON, _LOST = int(Status.OPEN), int(Status.WON), int(Status.LOST)


class History(NamedTuple):
    """Rows: ``cells`` (rows × features, the bins of the grid), ``deal`` (its number), ``at_ms`` (strictly after every
    record that it knows), ``close_ms`` (end of the close date it had; far in the future when none). By row as well:
    owner, segment, stage. By deal: ``changes``, the (time, status) at which its status changed.
    """

    cells: NDArray[np.uint8]
    deal: Ints
    at_ms: Ints
    close_ms: Ints
    owner: list[str]
    segment: list[str]
    stage: list[str]
    changes: list[list[tuple[int, int]]]
    currencies: dict[str, int]
    until_ms: int

    def known_at(self, cut_ms: int) -> Known:
        """What was known strictly before ``cut_ms``: nothing that the log took later plays a part."""
        status, ended_ms = self._ends(cut_ms)
        is_gone = (status != _OPEN) & (status != _WON) & (status != _LOST)
        chosen = np.flatnonzero((self.at_ms < cut_ms) & ~is_gone[self.deal])
        standing = np.flatnonzero((self.at_ms <= cut_ms) & (status[self.deal] == _OPEN))
        last = np.full(len(self.changes), -1, dtype=np.int64)
        last[self.deal[standing]] = standing  # rows are in the order of time: the last one stays
        deal, at_ms = self.deal[chosen], self.at_ms[chosen]
        days_before = (cut_ms - at_ms) / DAY_MS
        return Known(
            rows=chosen,
            frame=self.frame(chosen),
            is_ended=status[deal] != _OPEN,
            is_lost=(status[deal] == _LOST).astype(np.float64),
            is_lost_soon=((status[deal] == _LOST) & (ended_ms[deal] - at_ms < SOON_DAYS * DAY_MS)).astype(np.float64),
            is_ripe_soon=at_ms + SOON_DAYS * DAY_MS <= cut_ms,
            is_late=((status[deal] != _WON) | (ended_ms[deal] >= self.close_ms[chosen])).astype(np.float64),
            is_ripe_late=(self.close_ms[chosen] <= cut_ms) & (self.close_ms[chosen] > at_ms),
            weight=0.5 ** (days_before / HALF_LIFE_DAYS),
            days_before=days_before,
            standing=self.frame(last[last >= 0]),
            won_deals=int((status == _WON).sum()),
            lost_deals=int((status == _LOST).sum()),
            open_deals=int((status == _OPEN).sum()),
            ended_ms=np.sort(ended_ms[(status == _WON) | (status == _LOST)]),
        )

    def frame(self, chosen: Ints) -> Frame:
        """Some rows as the fits read them: their values are the cells."""
        cells = self.cells[chosen].astype(np.float64)
        return Frame(self.deal[chosen], self.at_ms[chosen], np.zeros(len(chosen), dtype=np.int64), cells, NAMES)

    def _ends(self, cut_ms: int) -> tuple[Ints, Ints]:
        status = np.zeros(len(self.changes), dtype=np.int64)
        ended_ms = np.full(len(self.changes), FAR_FUTURE, dtype=np.int64)
        for number, changes in enumerate(self.changes):
            for at_ms, now in changes:
                if at_ms >= cut_ms:
                    break
                status[number] = now
                ended_ms[number] = FAR_FUTURE if now == _OPEN else at_ms
        return status, ended_ms


class Known(NamedTuple):
    """Rows and their labels as of a cut. ``rows``: their places in the history. ``is_late``: not won by the close date
    that the row had; ``is_ripe_…``: whether time enough has passed for that label. ``standing``: the last row of each
    deal that is open at the cut. ``ended_ms``: when deals closed, sorted."""

    rows: Ints
    frame: Frame
    is_ended: Bools
    is_lost: Floats
    is_lost_soon: Floats
    is_ripe_soon: Bools
    is_late: Floats
    is_ripe_late: Bools
    weight: Floats
    days_before: Floats
    standing: Frame
    won_deals: int
    lost_deals: int
    open_deals: int
    ended_ms: Ints

    @property
    def closed(self) -> int:
        """Deals whose end is known."""
        return self.won_deals + self.lost_deals


class Collector:
    """Takes rows and changes of status as a log is read."""

    def __init__(self) -> None:
        self._cells = bytearray()
        self._deal, self._at_ms, self._close_ms = array("q"), array("q"), array("q")
        self._owner: list[str] = []
        self._segment: list[str] = []
        self._stage: list[str] = []
        self._numbers: dict[str, int] = {}
        self._changes: list[list[tuple[int, int]]] = []
        self._currencies: dict[str, int] = {}

    def row(self, key: str, at_ms: int, state: DealState) -> None:
        """An open deal as it was judged just now, for ``at_ms``."""
        self._cells += bytes(state.bins)
        self._deal.append(self._number(key))
        self._at_ms.append(at_ms)
        self._close_ms.append(state.origins[Age.CLOSE])
        self._owner.append(state.owner_id)
        self._segment.append(state.segment)
        self._stage.append(state.stage)
        if state.currency:
            self._currencies[state.currency] = self._currencies.get(state.currency, 0) + 1

    def change(self, key: str, at_ms: int, status: int) -> None:
        """A deal's status changed."""
        self._changes[self._number(key)].append((at_ms, int(status)))

    def done(self, until_ms: int) -> History:
        """What was collected; the log was read up to ``until_ms``, that moment not included."""
        order = np.argsort(np.asarray(self._at_ms, dtype=np.int64), kind="stable")
        cells = np.frombuffer(bytes(self._cells), dtype=np.uint8).reshape(len(self._deal), len(NAMES))
        owner, segment, stage = ([column[at] for at in order] for column in (self._owner, self._segment, self._stage))
        deal, at_ms, close_ms = (
            np.asarray(column, dtype=np.int64)[order] for column in (self._deal, self._at_ms, self._close_ms)
        )
        return History(
            cells[order], deal, at_ms, close_ms, owner, segment, stage, self._changes, self._currencies, until_ms
        )

    def _number(self, key: str) -> int:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._changes)
            self._changes.append([])
        return number
