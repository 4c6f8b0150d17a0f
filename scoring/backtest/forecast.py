"""How good the forecast would have been: at each weekly origin, learn from what was known, draw, compare.

At an origin everything is made anew from ``log.known_at(origin)``: the features and their cuts, the chance to win
within the horizon (the smooth model; too few wins or losses: each state's rate, shrunk to everybody's), the rate of
births and the share of them that is won, and the shock, from the misses of earlier origins whose horizon was over.

Peers, on the same cases and with the same knowledge:

* ``stage_weighted``: the pipeline as CRMs show it: each state's rate of wins in the end, times how many are there.
  A number, so its CRPS is its absolute error.
* ``stage_in_time``: each state's rate of wins *within the horizon*, times how many are there, with the interval of
  independent deals.
* ``stage_and_births``: that plus our own births; what a careful analyst would build.
* ``recent``: as many as in the days before, with a Poisson interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from events.adapters.mapping import Mapping
from events.times import DAY_MS
from scoring import forecast, forecast_births
from scoring.backtest import clock, tables, train
from scoring.backtest.errors import BacktestError
from scoring.backtest.features import Frame, Reader
from scoring.backtest.forecast_figures import PEERS, WHOLE, Peer, Row
from scoring.backtest.groups import Facts
from scoring.backtest.log import NEVER, EventLog, Floats, Ints
from scoring.backtest.story import complete
from scoring.forecast import Births, Drawn, Miss, Odds, Shock
from scoring.forecast_births import Life

PAST_ORIGINS = 16
"""So many origins before the first are looked back at, for the shock."""
RIPE_SPANS = 2
"""The first origin lies at least so many horizons after the log's beginning."""
STATE_WEIGHT = 10.0
"""A state's own rate of wins weighs as much as everybody's once it has this many rows."""
PRIOR_WINS, PRIOR_ROWS = 1.0, 4.0
MOST, MOST_BY_STATE, LEAST = 32, 16, 50


class Question(NamedTuple):
    """The first origin's earliest instant, the last one's latest (None: as late as the log can tell), the horizon."""

    first_ms: int
    until_ms: int | None = None
    horizon_days: int = 28


class Result(NamedTuple):
    """All rows, the origins, and the shock that each was drawn with."""

    rows: list[Row]
    origins: list[int]
    shocks: list[Shock]
    learned: int


class _View(NamedTuple):
    """What one origin knows: the open cases with their chances and rates, by place in the whole log."""

    origin_ms: int
    case: Ints
    p_won: Floats
    in_time: Floats
    in_the_end: Floats
    is_learned: bool


def run(log: EventLog, facts: Facts, mapping: Mapping, zone: ZoneInfo, asked: Question) -> Result:
    """Forecast at each Monday from ``first_ms`` on. Raises BacktestError when the log can't answer that."""
    origins = _origins(log, zone, asked)
    horizon_ms = asked.horizon_days * DAY_MS
    ripe_ms = log.first_ms + RIPE_SPANS * horizon_ms
    past = clock.snapshots(ripe_ms, origins[0] - 1, "weekly", zone)[-PAST_ORIGINS:]
    places = {case: at for at, case in enumerate(log.cases)}
    whole: list[tuple[int, Miss]] = []
    single: list[tuple[int, list[Miss]]] = []
    rows: list[Row] = []
    shocks: list[Shock] = []
    learned = 0
    for origin in [*past, *origins]:
        view = _look(log, places, mapping, zone, origin, asked.horizon_days)
        groups = _by_group(log, facts, view)
        if origin >= origins[0]:
            shock = _shock(log, whole, single, origin, asked.horizon_days)
            rows += _forecast(log, facts, view, groups, shock, asked.horizon_days)
            shocks.append(shock)
            learned += view.is_learned
        came = _won_in(log, view.case, origin, horizon_ms)
        whole.append((origin, forecast.miss_of(float(came.sum()), view.p_won.tolist())))
        misses = [forecast.miss_of(float(came[at].sum()), view.p_won[at].tolist()) for at in groups.values()]
        single.append((origin, misses))
    return Result(rows, origins, shocks, learned)


def _origins(log: EventLog, zone: ZoneInfo, asked: Question) -> list[int]:
    horizon_ms = asked.horizon_days * DAY_MS
    last_ms = log.last_ms + 1 - horizon_ms
    until_ms = last_ms if asked.until_ms is None else min(asked.until_ms, last_ms)
    found = clock.snapshots(max(asked.first_ms, log.first_ms + 1), until_ms, "weekly", zone)
    if found:
        return found
    first, last = clock.day_of(log.first_ms, zone), clock.day_of(log.last_ms, zone)
    raise BacktestError(
        f"no Monday from {clock.day_of(asked.first_ms, zone)} on has {asked.horizon_days} days of the log after it "
        f"(it goes from {first} to {last}): choose an earlier --from or a shorter --days"
    )


def _look(
    log: EventLog, places: dict[str, int], mapping: Mapping, zone: ZoneInfo, origin: int, horizon_days: int
) -> _View:
    known = log.known_at(origin)
    reader = Reader(known, complete(mapping, known), zone)
    standing = reader.rows(*known.open_at([origin]))
    case, at_ms = known.open_at(clock.snapshots(known.first_ms, origin - 1, "weekly", zone))
    ripe = at_ms + horizon_days * DAY_MS <= origin
    won_then = _won_in(known, case[ripe], at_ms[ripe], horizon_days * DAY_MS)
    frame = reader.rows(case[ripe], at_ms[ripe])
    in_time = _rates(frame.state, won_then, standing.state, len(reader.states))
    ended = known.ended_ms[case] != NEVER
    state = reader.rows(case[ended], at_ms[ended]).state
    in_the_end = _rates(state, (~known.is_lost[case[ended]]).astype(np.float64), standing.state, len(reader.states))
    is_enough = min(won_then.sum(), (1 - won_then).sum()) >= train.MIN_OF_EACH
    p_won = _learned(reader, frame, won_then, (origin - at_ms[ripe]) / DAY_MS, standing) if is_enough else in_time
    case_of = np.asarray([places[known.cases[at]] for at in standing.case], dtype=np.int64)
    return _View(origin, case_of, p_won, in_time, in_the_end, bool(is_enough))


def _learned(reader: Reader, frame: Frame, won: Floats, days_before: Floats, standing: Frame) -> Floats:
    bins = tables.cut(frame, reader.by_state, len(reader.states), most=MOST, most_by_state=MOST_BY_STATE, least=LEAST)
    model = train.fit_smooth(frame, won, 0.5 ** (days_before / train.HALF_LIFE_DAYS), bins)
    return tables.chance(model.scores(standing))


def _rates(state: Ints, won: Floats, asked: Ints, states: int) -> Floats:
    """Each state's share of wins among past rows, shrunk to everybody's, for the states asked for."""
    everybody = (won.sum() + PRIOR_WINS) / (len(won) + PRIOR_ROWS)
    wins = np.bincount(state, won, minlength=states)
    rows = np.bincount(state, minlength=states)
    return np.asarray(((wins + STATE_WEIGHT * everybody) / (rows + STATE_WEIGHT))[asked], dtype=np.float64)


def _won_in(log: EventLog, case: Ints, at_ms: Ints | int, horizon_ms: int) -> Floats:
    is_won = (log.ended_ms[case] != NEVER) & ~log.is_lost[case]
    within = (log.ended_ms[case] >= at_ms) & (log.ended_ms[case] - at_ms < horizon_ms)
    return np.asarray(is_won & within, dtype=np.float64)


def _by_group(log: EventLog, facts: Facts, view: _View) -> dict[str, Ints]:
    found: dict[str, list[int]] = {}
    for at, case in enumerate(view.case.tolist()):
        found.setdefault(facts.group(log.cases[case], view.origin_ms), []).append(at)
    return {name: np.asarray(found[name], dtype=np.int64) for name in sorted(found)}


def _shock(
    log: EventLog,
    whole: Sequence[tuple[int, Miss]],
    single: Sequence[tuple[int, list[Miss]]],
    origin: int,
    horizon_days: int,
) -> Shock:
    """From origins whose horizon was over before this one; births' own unrest from the births alone."""
    over = origin - horizon_days * DAY_MS
    known = [miss for at, miss in whole if at <= over]
    groups = [miss for at, misses in single if at <= over for miss in misses]
    born = log.opened_ms[log.opened_ms < origin].tolist()
    unrest = forecast_births.unrest(born, log.first_ms, origin, horizon_days)
    return forecast.fit_shock(known, groups, round(len(groups) / len(known)) if known else 1, unrest, horizon_days)


def _forecast(
    log: EventLog, facts: Facts, view: _View, groups: dict[str, Ints], shock: Shock, horizon_days: int
) -> list[Row]:
    newborn = _newborn(log, facts, view, groups, horizon_days)
    tick = str(view.origin_ms)
    rows: list[Row] = []
    parts: list[tuple[Drawn, Drawn]] = []
    outcomes: list[_Outcome] = []
    for name, chosen in groups.items():
        deals = [
            Odds(log.cases[case], p, facts.amount(log.cases[case], view.origin_ms), facts.currency)
            for case, p in zip(view.case[chosen].tolist(), view.p_won[chosen].tolist(), strict=True)
        ]
        births, came_born = newborn[name]
        standing = forecast.draw(tick, name, deals, Births(), shock)
        drawn = forecast.with_births(standing, tick, name, births, shock)
        outcome = _outcome(log, facts, view, chosen, births, came_born, horizon_days)
        rows += _rows(view.origin_ms, name, drawn, standing, outcome, facts.has_amounts)
        parts.append((drawn, standing))
        outcomes.append(outcome)
    all_drawn = forecast.together([drawn for drawn, _ in parts])
    all_standing = forecast.together([standing for _, standing in parts])
    return rows + _rows(view.origin_ms, WHOLE, all_drawn, all_standing, _sum(outcomes), facts.has_amounts)


class _Outcome(NamedTuple):
    """What came and what peers said, by target; a peer's is (mean, variance)."""

    came: dict[str, float]
    peers: dict[str, dict[str, tuple[float, float]]]


def _outcome(
    log: EventLog, facts: Facts, view: _View, chosen: Ints, births: Births, born: Ints, horizon_days: int
) -> _Outcome:
    origin, horizon_ms = view.origin_ms, horizon_days * DAY_MS
    won = _won_in(log, view.case[chosen], origin, horizon_ms)
    won_born = _won_in(log, born, origin, horizon_ms)
    names = [log.cases[case] for case in view.case[chosen].tolist()]
    worth = np.asarray([facts.amount(name, origin) or 0 for name in names], dtype=np.float64)
    came_worth = _worth(log, facts, view.case[chosen][won > 0]) + _worth(log, facts, born[won_born > 0])
    here = {facts.group(name, origin) for name in names}
    before = [
        at
        for at in np.flatnonzero((log.ended_ms < origin) & (log.ended_ms >= origin - horizon_ms) & ~log.is_lost)
        if facts.group(log.cases[at], origin) in here
    ]
    in_time, in_the_end = view.in_time[chosen], view.in_the_end[chosen]
    lately = float(len(before))
    extra = births.expected * births.p_won
    mean_worth = sum(minor for _, minor in births.amounts) / len(births.amounts) if births.amounts else 0.0
    ones = np.ones(len(chosen))
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for target, each, more, one in (
        ("wins", ones, extra, 1.0),
        ("open_wins", ones, 0.0, 1.0),
        ("amount", worth, extra * mean_worth, mean_worth),
    ):
        timely = float((in_time * each).sum()), float((in_time * (1 - in_time) * each**2).sum())
        recent = lately if target != "amount" else _worth(log, facts, np.asarray(before, dtype=np.int64))
        found[target] = {
            "stage_weighted": (float((in_the_end * each).sum()), 0.0),
            "stage_in_time": timely,
            "stage_and_births": (timely[0] + more, timely[1] + more * one),
            "recent": (recent, lately * one**2),
        }
    came = {"wins": float(won.sum() + won_born.sum()), "open_wins": float(won.sum()), "amount": came_worth}
    return _Outcome(came, found)


def _worth(log: EventLog, facts: Facts, cases: Ints) -> float:
    """What won cases were worth by what was known when they ended."""
    return float(sum(facts.amount(log.cases[at], int(log.ended_ms[at]) + 1) or 0 for at in cases.tolist()))


def _sum(outcomes: Sequence[_Outcome]) -> _Outcome:
    came = {target: sum(each.came[target] for each in outcomes) for target in outcomes[0].came}
    peers = {
        target: {
            peer: (
                sum(each.peers[target][peer][0] for each in outcomes),
                sum(each.peers[target][peer][1] for each in outcomes),
            )
            for peer in PEERS
        }
        for target in came
    }
    return _Outcome(came, peers)


def _rows(origin: int, name: str, drawn: Drawn, standing: Drawn, outcome: _Outcome, has_amounts: bool) -> list[Row]:
    told = {"wins": drawn.wins, "open_wins": standing.wins}
    if has_amounts:
        told["amount"] = next(iter(drawn.amounts.values()), [0] * forecast.DRAWS)
    return [
        Row(
            origin,
            name,
            target,
            forecast.spread(draws),
            forecast.crps(draws, outcome.came[target]),
            outcome.came[target],
            {peer: Peer(mean, sqrt(variance)) for peer, (mean, variance) in outcome.peers[target].items()},
        )
        for target, draws in told.items()
    ]


def _newborn(
    log: EventLog, facts: Facts, view: _View, groups: dict[str, Ints], horizon_days: int
) -> dict[str, tuple[Births, Ints]]:
    """The births to expect of each group, and which cases came in truth."""
    origin = view.origin_ms
    known = np.flatnonzero(log.opened_ms < origin)
    lives = [
        Life(int(log.opened_ms[at]), int(log.ended_ms[at]) if log.ended_ms[at] < origin else None, not log.is_lost[at])
        for at in known
    ]
    share = forecast_births.share_won(lives, origin, horizon_days)
    if origin - log.first_ms < forecast_births.LEAST_DAYS * DAY_MS:
        share = 0.0
    mine: dict[str, list[Life]] = {name: [] for name in groups}
    paid: dict[str, list[tuple[str, int]]] = {name: [] for name in groups}
    for at, life in zip(known.tolist(), lives, strict=True):
        group = facts.group(log.cases[at], origin)
        if group not in mine:
            continue
        mine[group].append(life)
        minor = facts.amount(log.cases[at], origin) if life.ended_ms is not None and life.is_won else None
        if minor is not None:
            paid[group].append((facts.currency, minor))
    coming = np.flatnonzero((log.opened_ms >= origin) & (log.opened_ms < origin + horizon_days * DAY_MS))
    came: dict[str, list[int]] = {name: [] for name in groups}
    for at in coming.tolist():
        group = facts.group(log.cases[at], int(log.opened_ms[at]) + 1)
        if group in came:
            came[group].append(at)
    return {
        name: (
            Births(forecast_births.expected(mine[name], origin, horizon_days), share, tuple(paid[name])),
            np.asarray(came[name], dtype=np.int64),
        )
        for name in groups
    }
