"""Training at one moment, on what was known then; the kind of model depends on how many cases had closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol
from zoneinfo import ZoneInfo

import numpy as np

from events.adapters.mapping import Mapping
from events.adapters.mapping_risk import Risk
from events.times import DAY_MS
from scoring.backtest import anchor, boosting, clock, closing, smooth, tables
from scoring.backtest.errors import BacktestError
from scoring.backtest.features import Frame, Reader
from scoring.backtest.log import NEVER, Bools, EventLog, Floats, Ints
from scoring.backtest.story import complete
from scoring.backtest.tables import Tables, chance

HAND_BELOW, BLEND_TO = 80, 1_000
"""Closed cases: fewer than 80, the anchored hand scorecard; up to 1,000, its mean with the smooth model; above, the
mean of boosting and the smooth model."""
STEPS_FROM = 30
"""Closed cases: with fewer, only the base of the hand scorecard is fitted, so that its order stays: what a score or two
dozen of outcomes say of a single step is chance."""
HALF_TRUSTED = 200
"""With n closed cases, the smooth model's share of the mean is n / (n + 200)."""
HALF_LIFE_DAYS = 90.0
UNRIPE_DAYS = 45
"""The first pass leaves these last days out: of their cases mostly the quick ones have ended."""
PASSES = 4
FEW_ROWS = 1_000
"""Where weekly snapshots give fewer training rows, daily ones are taken: cases that live for days are seen, too."""
MIN_OF_EACH = 20
"""Rows of each outcome that an additive fit needs."""
MOST, MOST_BY_STATE, LEAST = 64, 32, 50
BOOSTING, SMOOTH = boosting.Settings(), smooth.Settings()

SOON_BASE = -1.0
"""Fewer are lost within the horizon than in the end: where the hand scorecard begins for that."""

Kind = Literal["hand", "blend", "additive"]
Fit = Callable[[Frame, Floats, Floats, list[tables.Bins]], Tables]


class Model(NamedTuple):
    """``lost`` for eventual loss, ``soon`` for loss within ``horizon_days``; what it saw, and what it looks at.

    ``late``: not won by the close date, if it isn't lost; None where the log has no close date, or none to believe
    (``why_no_dates``). The chance that a case slips is p_lost + (1 − p_lost) × p_late.
    """

    kind: Kind
    lost: Tables
    soon: Tables
    soon_kind: Kind
    risk: Risk
    states: list[str]
    won_cases: int
    lost_cases: int
    open_cases: int
    rows: int
    late: Tables | None = None
    late_kind: Kind | None = None
    why_no_dates: str = ""

    @property
    def closed(self) -> int:
        """Closed cases that it learned from."""
        return self.won_cases + self.lost_cases


class Known(NamedTuple):
    """Training rows with what was known of their outcome at the cut, and the open cases as they stood there."""

    frame: Frame
    is_ended: Bools
    is_lost: Floats
    is_lost_soon: Floats
    is_ripe_soon: Bools
    weight: Floats
    days_before: Floats
    standing: Frame
    by_state: list[str]
    states: list[str]
    risk: Risk
    has_dates: bool
    why_no_dates: str
    is_late: Floats
    is_ripe_late: Bools


class Learned(NamedTuple):
    """A model with what it learned from. ``labels``: of each row how its case ends, completed; None unless it is
    additive."""

    model: Model
    rows: Known
    labels: Floats | None


class Labelled(Protocol):
    """What completing labels needs; see ``Known``."""

    @property
    def frame(self) -> Frame:
        """The rows."""

    @property
    def is_ended(self) -> Bools:
        """Whether the end of the row's case is known."""

    @property
    def is_lost(self) -> Floats:
        """Whether it was lost, where it ended."""

    @property
    def weight(self) -> Floats:
        """What the row weighs."""

    @property
    def days_before(self) -> Floats:
        """How long before the cut it lies."""

    @property
    def standing(self) -> Frame:
        """The open cases as they stand at the cut."""


def train(log: EventLog, mapping: Mapping, zone: ZoneInfo, cut_ms: int, horizon_days: int) -> Model:
    """The model of what lay before ``cut_ms``. Raises BacktestError when there is nothing to learn from."""
    return learn(log, mapping, zone, cut_ms, horizon_days).model


def learn(log: EventLog, mapping: Mapping, zone: ZoneInfo, cut_ms: int, horizon_days: int) -> Learned:
    """``train``, with the rows that it learned from."""
    known = log.known_at(cut_ms)
    won_cases, lost_cases = _closed(known, cut_ms, zone)
    rows = gather(known, mapping, zone, cut_ms, horizon_days)
    kind = kind_for(won_cases + lost_cases)
    lost, kind, labels = _lost(rows, kind, won_cases + lost_cases)
    soon, soon_kind = _soon(rows, kind, won_cases + lost_cases)
    late, late_kind = _late(rows, kind, won_cases + lost_cases, lost) if rows.has_dates else (None, None)
    open_cases = len(known.cases) - won_cases - lost_cases
    model = Model(
        kind,
        _centred(lost, rows),
        _centred(soon, rows),
        soon_kind,
        rows.risk,
        rows.states,
        won_cases,
        lost_cases,
        open_cases,
        len(rows.weight),
        None if late is None else _centred(late, rows),
        late_kind,
        rows.why_no_dates,
    )
    return Learned(model, rows, labels)


def kind_for(closed: int) -> Kind:
    """Which model so many closed cases are enough for."""
    return "hand" if closed < HAND_BELOW else "blend" if closed <= BLEND_TO else "additive"


def gather(known: EventLog, mapping: Mapping, zone: ZoneInfo, cut_ms: int, horizon_days: int) -> Known:
    """Training rows at the snapshots before the cut. ``known``: of ``log.known_at(cut_ms)``."""
    risk = complete(mapping, known)
    has_dates, why = closing.trust(known, zone)
    reader = Reader(known, risk, zone, has_dates)
    case, at_ms = known.open_at(clock.snapshots(known.first_ms, cut_ms - 1, "weekly", zone))
    if len(case) < FEW_ROWS:
        case, at_ms = known.open_at(clock.snapshots(known.first_ms, cut_ms - 1, "daily", zone))
    ended_ms = known.ended_ms[case]
    horizon_ms = horizon_days * DAY_MS
    days_before = (cut_ms - at_ms) / DAY_MS
    close_ms = closing.expected(known, case, at_ms)
    is_won = (ended_ms != NEVER) & ~known.is_lost[case]
    return Known(
        frame=reader.rows(case, at_ms),
        is_ended=ended_ms != NEVER,
        is_lost=known.is_lost[case].astype(np.float64),
        is_lost_soon=(known.is_lost[case] & (ended_ms - at_ms < horizon_ms)).astype(np.float64),
        is_ripe_soon=at_ms + horizon_ms <= cut_ms,
        weight=0.5 ** (days_before / HALF_LIFE_DAYS),
        days_before=days_before,
        standing=reader.rows(*known.open_at([cut_ms])),
        by_state=reader.by_state,
        states=reader.states,
        risk=risk,
        has_dates=has_dates,
        why_no_dates=why,
        is_late=1.0 - (is_won & (ended_ms < close_ms)),
        is_ripe_late=(close_ms <= cut_ms) & (close_ms > at_ms),
    )


def fit_lost(rows: Labelled, bins: list[tables.Bins], fit: Fit) -> Tables:
    """Eventual loss, on labels that are complete."""
    return fit(rows.frame, complete_labels(rows, bins), rows.weight, bins)


def complete_labels(rows: Labelled, bins: list[tables.Bins], smooth_fit: Fit | None = None) -> Floats:
    """How each row's case ended; of a case that is still open at the cut its risk there, by the smooth model.

    Leaving such cases out would favour those that end quickly. The risk comes from a first pass on old rows that have
    ended, and then from passes on labels completed by the one before, until they settle (expectation-maximisation;
    Dempster, Laird and Rubin 1977).
    """
    fit = smooth_fit or fit_smooth
    ripe = np.flatnonzero(rows.is_ended & (rows.days_before > UNRIPE_DAYS))
    if too_few(rows.is_lost[ripe]):
        ripe = np.flatnonzero(rows.is_ended)
    labels = completed(rows, fit(rows.frame.take(ripe), rows.is_lost[ripe], rows.weight[ripe], bins))
    for _ in range(PASSES):
        labels = completed(rows, fit(rows.frame, labels, rows.weight, bins))
    return labels


def completed(rows: Labelled, model: Tables) -> Floats:
    """The label of each row: how its case ended, or its risk at the cut by a model."""
    standing = np.full(int(max(rows.frame.case.max(initial=0), rows.standing.case.max(initial=0))) + 1, np.nan)
    standing[rows.standing.case] = chance(model.scores(rows.standing))
    return np.where(rows.is_ended, rows.is_lost, standing[rows.frame.case])


def fit_smooth(frame: Frame, target: Floats, weight: Floats, bins: list[tables.Bins]) -> Tables:
    """The smooth model."""
    return smooth.fit(frame, target, weight, bins, SMOOTH)


def fit_additive(frame: Frame, target: Floats, weight: Floats, bins: list[tables.Bins]) -> Tables:
    """The mean of boosting and the smooth model: one set of tables."""
    boosted = boosting.fit(frame, target, weight, bins, BOOSTING)
    return tables.mean([boosted, fit_smooth(frame, target, weight, bins)], [0.5, 0.5])


def fit_hand(rows: Known, chosen: Ints, target: Floats, base: float = 0.0) -> Tables:
    """The hand scorecard, fitted to some of the rows; ``base`` is added to its own."""
    prior = anchor.hand(rows.risk, rows.states, rows.frame.names)
    return _fit_prior(prior._replace(base=prior.base + base), rows, chosen, target, np.ones(len(chosen)))


def cut_features(rows: Known) -> list[tables.Bins]:
    """Where the features are cut."""
    return tables.cut(rows.frame, rows.by_state, len(rows.states), most=MOST, most_by_state=MOST_BY_STATE, least=LEAST)


def _lost(rows: Known, kind: Kind, closed: int) -> tuple[Tables, Kind, Floats | None]:
    ended = np.flatnonzero(rows.is_ended)
    if kind == "hand" or too_few(rows.is_lost[ended]):
        return fit_hand(rows, ended, rows.is_lost), "hand", None
    bins = cut_features(rows)
    if kind == "additive":
        labels = complete_labels(rows, bins)
        return fit_additive(rows.frame, labels, rows.weight, bins), kind, labels
    return blend(fit_hand(rows, ended, rows.is_lost), fit_lost(rows, bins, fit_smooth), closed), kind, None


def _soon(rows: Known, kind: Kind, closed: int) -> tuple[Tables, Kind]:
    ripe = np.flatnonzero(rows.is_ripe_soon)
    target = rows.is_lost_soon
    if kind == "hand" or too_few(target[ripe]):
        return fit_hand(rows, ripe, target, SOON_BASE), "hand"
    asked = (rows.frame.take(ripe), target[ripe], rows.weight[ripe], cut_features(rows))
    if kind == "additive":
        return fit_additive(*asked), kind
    return blend(fit_hand(rows, ripe, target, SOON_BASE), fit_smooth(*asked), closed), kind


def _late(rows: Known, kind: Kind, closed: int, lost: Tables) -> tuple[Tables, Kind]:
    stays, chosen = late_rows(rows, lost)
    prior = anchor.hand_late(rows.frame.names)
    by_hand = _fit_prior(prior, rows, chosen, rows.is_late, stays[chosen])
    if kind == "hand" or too_few(rows.is_late[chosen]):
        return by_hand, "hand"
    asked = rows.frame.take(chosen), rows.is_late[chosen], (rows.weight * stays)[chosen], cut_features(rows)
    if kind == "additive":
        return fit_additive(*asked), kind
    return blend(by_hand, fit_smooth(*asked), closed), kind


def late_rows(rows: Known, lost: Tables) -> tuple[Floats, Ints]:
    """How far each row counts for "late if it isn't lost": as far as its case isn't, by its end or by its risk at the
    cut; and the rows that count. Only where the close date is over is a label known; others would be the quick ends."""
    stays = 1.0 - completed(rows, lost)
    return stays, np.flatnonzero(rows.is_ripe_late & (stays > 0))


def _fit_prior(prior: Tables, rows: Known, chosen: Ints, target: Floats, counts: Floats) -> Tables:
    """A case weighs 1 on average, and one with more rows more: it is rows that are predicted, and cases that drag on
    are lost more often. ``counts``: how far each of the chosen rows counts."""
    frame = rows.frame.take(chosen)
    share = len(np.unique(frame.case)) / max(len(chosen), 1)
    has_steps = len(np.unique(rows.frame.case[rows.is_ended])) >= STEPS_FROM
    return anchor.fit(prior, frame, target[chosen], share * counts, has_steps=has_steps)


def blend(by_hand: Tables, learned: Tables, closed: int) -> Tables:
    """Their mean; the learned one's share grows with the number of closed cases."""
    share = closed / (closed + HALF_TRUSTED)
    return tables.mean([by_hand, learned], [1 - share, share])


def too_few(target: Floats) -> bool:
    """Whether an additive fit has too few rows of one outcome."""
    return bool(min(target.sum(), (1 - target).sum()) < MIN_OF_EACH)


def _centred(model: Tables, rows: Known) -> Tables:
    """The same model with contributions that are 0 on average, so that each says "more, or less, than usual"."""
    weight: Floats | Ints = rows.weight if len(rows.weight) else np.zeros(0)
    if not len(weight):
        return model
    means = np.average(model.contributions(rows.frame), axis=0, weights=weight)
    points = [table - mean for table, mean in zip(model.points, means, strict=True)]
    return Tables(model.base + float(means.sum()), model.bins, points)


def _closed(known: EventLog, cut_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    is_ended = known.ended_ms != NEVER
    lost_cases = int(known.is_lost[is_ended].sum())
    won_cases = int(is_ended.sum()) - lost_cases
    if won_cases and lost_cases:
        return won_cases, lost_cases
    day = clock.day_of(cut_ms, zone)
    if not won_cases and not lost_cases:
        raise BacktestError(f"no case had closed before {day}: there is nothing to learn from; choose a later cut")
    which, other = ("won", "lost") if won_cases else ("lost", "won")
    raise BacktestError(
        f"all {won_cases + lost_cases:,} cases that had closed before {day} were {which}: what tells them from "
        f"{other} ones can't be learned; is [outcome] {other} of the mapping right?"
    )
