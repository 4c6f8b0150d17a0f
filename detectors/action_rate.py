"""Stops an agent that acts far more often than its own season allows, at the very action that shows it."""

from __future__ import annotations

from array import array
from math import ceil
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from detectors.base import Action, Evidence, Shared, Wanted
from detectors.rate_words import backlog_evidence, burst_evidence, hour_evidence, scan_evidence
from detectors.seasonal_limits import SLOTS, W5, WINDOWS_MIN, Day, SeasonalLimits
from detectors.statistics import guarded_upper

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
QUIET_MS = 2 * HOUR_MS
"""After an opinion: silent this long, except about counts twice as large as the limit it spoke of."""
STOP_FREEZE_MS = DAY_MS
WARM_UP_MS = 7 * DAY_MS - HOUR_MS
"""Statistical opinions may stop an agent only from here on, counted from its first action."""
_RING = 64
_MAX_NAMES = 6
_MAX_NAME_CHARS = 40
_OTHER = "other"
_BACKLOG_HOURS = 48
_FACTOR_POWER = 0.85
_MIN_REPORTS = 12
_MIN_FACTOR, _MAX_FACTOR = 1.25, 3.0
_MIN_EXPECTED_IN_QUARTER = 4.0
_NO_LIMITS = (1 << 60,) * len(WINDOWS_MIN)
MIN_PEERS = 5
"""Fewer settled agents of a role say nothing about a new one."""
PEERS_TIMES = 3.0
"""A role's limits are at most so many times those of its median agent."""
_SETTLED_DAYS = 5
_MOST_LEVEL = 1 << 40
"""Beyond any count, and still a number that a state can be written with: an agent that ignores its stop is spoken of
every few seconds."""

_pack = msgspec.msgpack.Encoder()


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the action-rate detector."""

    max_actions_per_sec: Annotated[
        float, Meta(gt=0, description="Hard limit in any state of learning: a longer stretch above it is stopped.")
    ] = 20.0
    burst_actions: Annotated[
        int, Meta(ge=1, description="Actions that may come at once beyond that rate before the stop.")
    ] = 100
    max_actions_per_hour: Annotated[
        int, Meta(ge=1, description="Hard limit on the actions of any 60 minutes, in any state of learning.")
    ] = 20_000


class RateState:
    """One agent's open minute, its last hour by the minute, the day so far, and its season."""

    __slots__ = (
        "agent_id",
        "backlog",
        "base_5",
        "base_15",
        "base_60",
        "day",
        "end_ms",
        "factor",
        "first_ms",
        "frozen_until_ms",
        "full_at_ms",
        "group",
        "last_ms",
        "least_long",
        "least_short",
        "level",
        "limits",
        "minute",
        "n",
        "names",
        "past",
        "peak_1",
        "peak_5",
        "peak_15",
        "peak_60",
        "peers",
        "quiet_until_ms",
        "ring",
        "room",
        "season",
        "square_5",
        "square_15",
        "total",
    )  # fmt: skip

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.first_ms = self.last_ms = self.end_ms = -1
        self.full_at_ms = 0.0
        self.minute = 0
        self.n = self.total = self.room = 0
        self.base_5 = self.base_15 = self.base_60 = 0
        self.square_5 = self.square_15 = 0
        self.peak_1 = self.peak_5 = self.peak_15 = self.peak_60 = 0
        self.factor = 1.0
        self.level = 1
        self.quiet_until_ms = self.frozen_until_ms = -1
        self.names: dict[str, int] = {}
        self.backlog: dict[int, int] = {}
        self.ring = array("q", bytes(8 * _RING))
        self.day = Day()
        self.season = SeasonalLimits()
        self.limits: tuple[int, ...] = ()
        self.group = ""
        self.peers: tuple[int, ...] = ()
        self.past: tuple[int, ...] = ()
        self.least_short = self.least_long = 0


class ActionRate:
    """Seasonal scan limits with job memory on the count of an agent's actions.

    Once a day one limit on the count is fitted per hour of the day (UTC) and sliding window of 1, 5, 10, 15, 30 and
    60 minutes: a negative-binomial Chernoff limit above a composite mean, with dispersion measured per window,
    remembered recurring jobs (up to three times the largest remembered rate and total, within an hour of their
    time), and the organisation's common load as a factor. The agent is stopped at the action whose count reaches it.

    Catches: spikes of ten times the usual rate within minutes; jumps to machine speed within seconds. A hard limit
    (a leaky bucket and a count per hour) holds from the first action on, whatever was learnt: a metronome that
    suddenly does 100 actions a second is stopped at once.

    Cannot: slow growth (it learns up to x1.5 a day); x10 of an agent with an action an hour, within the hour; an
    excess below three times a remembered job at the job's hour; off-hours work at the day-time's rate. A new job
    after the first week stops once. In its first 7 days (less an hour) an agent is only warned about or throttled
    by statistics: from its first minute by what settled agents of its role do at most in any hour, where there are at
    least five, from its second day on also by its own. Backlog is counted by the hour of its effect and only warned
    about.

    Parameters: see ``Config``; the statistical ones are constants of ``detectors.seasonal_limits``.

    Reference: Chernoff (1952) for the limits; scan statistics: Glaz, Naus, Wallenstein (2001).
    """

    name: ClassVar[str] = "action_rate"
    state_version: ClassVar[int] = 2
    judges: ClassVar[Literal["attempts", "outcomes", "all"]] = "attempts"
    is_hard: ClassVar[bool] = False
    max_state_bytes: ClassVar[int] = 6_144
    Config: ClassVar[type[Struct]] = Config

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None:
        self.config: Config = config if config is not None else Config()
        self.shared = shared if shared is not None else Shared()
        self._step_ms = 1000.0 / self.config.max_actions_per_sec
        self._burst_ms = self._step_ms * self.config.burst_actions

    def new_state(self, agent_id: str) -> RateState:
        """The state of an agent never seen before."""
        return RateState(agent_id)

    # --- the hot path --------------------------------------------------------------------------------------------

    def observe(self, action: Action, state: RateState) -> Evidence | None:
        """Count one attempt; an opinion when a window's count reaches its limit."""
        data = action.data
        if data.outcome == "denied":
            return None
        if action.is_backlog:
            return self._observe_backlog(action, state)
        at_ms = action.at_ms
        if at_ms >= state.end_ms:
            self._open_minute(state, at_ms)
        names = state.names
        try:
            names[data.action] += 1
        except KeyError:
            _new_name(names, data.action)
        state.n = n = state.n + 1
        if at_ms >= state.last_ms:  # a late record counts in the open minute, but has no place in the bucket
            state.last_ms = at_ms
            full_at_ms = state.full_at_ms
            state.full_at_ms = full_at_ms = (full_at_ms if full_at_ms > at_ms else at_ms) + self._step_ms
            if full_at_ms - at_ms > self._burst_ms:
                return self._hit_bucket(action, state)
        if n < state.room:
            return None
        return self._hit_window(action, state)

    def _open_minute(self, s: RateState, at_ms: int) -> None:
        if s.first_ms < 0:
            self._begin(s, at_ms)
        minute = at_ms // MINUTE_MS
        last = s.minute
        total = s.total
        ring = s.ring
        n = s.n
        if n:
            total += n
            s.total, s.n = total, 0
            if n > s.peak_1:  # noqa: PLR1730 - half the time of max()
                s.peak_1 = n
            count = total - ring[(last - 4) & 63]
            if count > s.peak_5:  # noqa: PLR1730
                s.peak_5 = count
            count = total - ring[(last - 14) & 63]
            if count > s.peak_15:  # noqa: PLR1730
                s.peak_15 = count
            count = total - ring[(last - 59) & 63]
            if count > s.peak_60:  # noqa: PLR1730
                s.peak_60 = count
        if minute - last < _RING:
            for passed in range(last + 1, minute + 1):
                ring[passed & 63] = total
        else:  # nothing happened for longer than the longest window
            s.ring = array("q", [total] * _RING)
            ring = s.ring
        if minute // 5 != last // 5:
            count = total - s.base_5
            s.square_5 += count * count
            s.base_5 = total
            if minute // 15 != last // 15:
                self._close_quarter(s, last, minute, total)
        s.minute = minute
        s.end_ms = (minute + 1) * MINUTE_MS
        if s.factor != self.shared.factor or (s.level > 1 and at_ms >= s.quiet_until_ms):
            self._take_limits(s, at_ms)
        # No window of up to 15 (60) minutes holds more than the last 15 (60): mostly that is proof enough.
        room = s.least_short - total + ring[(minute - 14) & 63]
        left = s.least_long - total + ring[(minute - 59) & 63]
        room = min(room, left)
        s.room = room if room > 0 else self._room(s)

    def _begin(self, s: RateState, at_ms: int) -> None:
        """The first action ever: nothing is known of the hours of this day before it."""
        s.first_ms = at_ms
        s.minute = at_ms // MINUTE_MS
        for slot in range(s.minute // 60 % SLOTS):
            s.day.hours[slot] = -1
        self._take_limits(s, at_ms)

    def _close_quarter(self, s: RateState, last: int, minute: int, total: int) -> None:
        count = total - s.base_15
        s.square_15 += count * count
        s.base_15 = total
        s.names = {name: kept >> 1 for name, kept in s.names.items() if kept > 1}
        if minute // 60 != last // 60:
            self._close_hour(s, last // 60, minute // 60, total)

    def _close_hour(self, s: RateState, hour: int, new_hour: int, total: int) -> None:
        slot, day = hour % SLOTS, s.day
        if day.hours[slot] >= 0:
            day.hours[slot] = total - s.base_60
            day.squares_5[slot] = s.square_5
            day.squares_15[slot] = s.square_15
            day.factors[slot] = s.factor
            for kept, peak in zip(day.peaks, (s.peak_1, s.peak_5, s.peak_15, s.peak_60), strict=True):
                kept[slot] = peak
        s.base_60 = total
        s.square_5 = s.square_15 = 0
        s.peak_1 = s.peak_5 = s.peak_15 = s.peak_60 = 0
        if s.frozen_until_ms > hour * HOUR_MS:
            self._freeze(s, hour, new_hour)
        new_day, old_day = new_hour // SLOTS, hour // SLOTS
        if new_day != old_day:
            is_mature = (old_day + 1) * DAY_MS - s.first_ms >= WARM_UP_MS
            s.season.learn(day, old_day % 7, new_day - old_day - 1, is_mature=is_mature)
            s.day = Day()
            if s.frozen_until_ms > new_day * DAY_MS:
                self._freeze(s, new_day * SLOTS, new_hour)
        s.minute = new_hour * 60
        self._take_limits(s, new_hour * HOUR_MS)

    def _freeze(self, s: RateState, hour: int, new_hour: int) -> None:
        """Mark the hours that began before the end of the freeze: a stop, and what followed, is not learnt."""
        end = min(new_hour, hour - hour % SLOTS + SLOTS, -(-s.frozen_until_ms // HOUR_MS))
        for frozen in range(hour, max(end, hour + 1)):
            s.day.hours[frozen % SLOTS] = -1

    def _take_limits(self, s: RateState, at_ms: int) -> None:
        """The hour's limits, scaled by the common factor and by what was already said, and the least of them."""
        if s.level > 1 and at_ms >= s.quiet_until_ms:
            s.level = 1
        s.factor = self.shared.factor
        s.peers = ()
        if at_ms - s.first_ms >= WARM_UP_MS:
            s.past = ()
        elif s.group or s.past:
            s.peers = self.shared.of_peers(s.group, self.name, at_ms) or s.past
        self._scale_limits(s)

    def _scale_limits(self, s: RateState) -> None:
        most = self.config.max_actions_per_hour
        rows = s.season.limits
        row = rows[s.minute // 60 % SLOTS] if rows else _NO_LIMITS
        if s.peers:
            row = tuple([min(own, common) for own, common in zip(row, s.peers[: len(row)], strict=True)])
        scale = s.level * s.factor**_FACTOR_POWER
        s.limits = limits = row if scale == 1.0 else tuple([ceil(limit * scale) for limit in row])
        s.least_short = min(limits[0], limits[1], limits[2], limits[3])
        s.least_long = min(limits[4], limits[5], most)

    def _room(self, s: RateState) -> int:
        """How many actions this minute may hold before some window reaches its limit; at least one."""
        minute, ring = s.minute, s.ring
        l_1, l_5, l_10, l_15, l_30, l_60 = s.limits
        room = min(
            l_1 - s.total + ring[minute & 63],
            l_5 - s.total + ring[(minute - 4) & 63],
            l_10 - s.total + ring[(minute - 9) & 63],
            l_15 - s.total + ring[(minute - 14) & 63],
            l_30 - s.total + ring[(minute - 29) & 63],
            min(l_60, self.config.max_actions_per_hour) - s.total + ring[(minute - 59) & 63],
        )
        return room if room > 1 else 1

    # --- opinions ------------------------------------------------------------------------------------------------

    def _hit_bucket(self, action: Action, s: RateState) -> Evidence | None:
        s.full_at_ms = float(action.at_ms)  # the next opinion only after another burst
        self._spoke(s, action.at_ms, 1)
        return burst_evidence(action, self.config.max_actions_per_sec, self.config.burst_actions)

    def _hit_window(self, action: Action, s: RateState) -> Evidence | None:
        s.room = self._room(s)
        if s.n < s.room:
            return None
        window, count, limit = self._fullest(s)
        if window < 0:
            return self._hit_hour(action, s)
        slot = s.minute // 60 % SLOTS
        rows = s.season.limits
        by_peers = bool(s.peers) and (not rows or s.peers[window] < rows[slot][window])
        wanted = self._wanted(s, action.at_ms, by_peers=by_peers)
        usual = s.peers[len(WINDOWS_MIN) + window] if by_peers else s.season.usual_most(slot, window)
        expected = min(usual * s.factor**_FACTOR_POWER, limit - 1)
        by = "" if not by_peers else "past" if s.peers == s.past else "peers"
        evidence = scan_evidence(action, WINDOWS_MIN[window], count, limit, expected, wanted, s.names, s.factor, by)
        self._spoke(s, action.at_ms, 2 * count // limit, is_stop=wanted == "suspend")
        s.room = self._room(s)
        return evidence

    def _hit_hour(self, action: Action, s: RateState) -> Evidence | None:
        most = self.config.max_actions_per_hour
        count = s.total - s.ring[(s.minute - 59) & 63] + s.n
        s.room += max(most // 10, 1)
        if count < most:
            return None
        self._forget_hours(s, action.at_ms, QUIET_MS)
        return hour_evidence(action, count, most)

    def _fullest(self, s: RateState) -> tuple[int, int, int]:
        """The window whose count exceeds its limit most, with both; window −1 if none has reached it."""
        best, best_ratio = (-1, 0, 0), 0.0
        for window, (limit, length) in enumerate(zip(s.limits, WINDOWS_MIN, strict=True)):
            count = s.total - s.ring[(s.minute - length + 1) & 63] + s.n
            if count >= limit and count / limit > best_ratio:
                best, best_ratio = (window, count, limit), count / limit
        return best

    def _wanted(self, s: RateState, at_ms: int, *, by_peers: bool) -> Wanted:
        """What its few days say is told first; what its peers say slows it down at once."""
        if at_ms - s.first_ms >= WARM_UP_MS:
            return "suspend"
        return "notify" if s.level == 1 and not by_peers else "throttle"

    def _spoke(self, s: RateState, at_ms: int, times: int, *, is_stop: bool = True) -> None:
        s.level = min(s.level * max(times, 2), _MOST_LEVEL)
        s.quiet_until_ms = at_ms + QUIET_MS
        self._scale_limits(s)
        if is_stop:
            self._forget_hours(s, at_ms, QUIET_MS)

    def _forget_hours(self, s: RateState, at_ms: int, freeze_ms: int) -> None:
        s.frozen_until_ms = max(s.frozen_until_ms, at_ms + freeze_ms)
        hour = s.minute // 60
        if hour % SLOTS:  # the windows reach back into the hour before
            s.day.hours[hour % SLOTS - 1] = -1

    def _observe_backlog(self, action: Action, s: RateState) -> Evidence | None:
        """Count by the hour of the effect; one notice for an hour that holds more than its limit."""
        hour = action.effect_ms // HOUR_MS
        cells = s.backlog
        if hour not in cells and len(cells) >= _BACKLOG_HOURS:
            oldest = min(cells)
            if hour < oldest:
                hour = oldest  # everything older than the table is counted with its oldest hour
            else:
                del cells[oldest]
        cells[hour] = count = cells.get(hour, 0) + 1
        row = s.season.limits[hour % SLOTS] if s.season.limits else ()
        limit = row[-1] if row else self.config.max_actions_per_hour
        return backlog_evidence(action, count, limit, hour * HOUR_MS) if count == limit else None

    # --- the organisation, control, the console -----------------------------------------------------------------

    def report(self, state: RateState, quarter_end_ms: int) -> float | None:
        """Observed over expected actions of the quarter hour that ended; None below four expected."""
        if state.first_ms < 0 or quarter_end_ms - state.first_ms < WARM_UP_MS or not state.season.days:
            return None
        if state.frozen_until_ms > quarter_end_ms:
            return None
        end = quarter_end_ms // MINUTE_MS
        start = end - 15
        expected = state.season.expected_in_hour(start // 60 % SLOTS, start // 60 // SLOTS % 7) / 4.0
        if expected < _MIN_EXPECTED_IN_QUARTER:
            return None
        return (_count_until(state, end) - _count_until(state, start)) / expected

    def common_factor(self, reports: list[float]) -> float:
        """The median report; 1 below 12 reports or below 1.25, at most 3."""
        if len(reports) < _MIN_REPORTS:
            return 1.0
        ranked = sorted(reports)
        middle = len(ranked) // 2
        median = ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2.0
        return 1.0 if median < _MIN_FACTOR else min(median, _MAX_FACTOR)

    def join(self, state: RateState, group: str) -> None:
        """Whose peer the agent is."""
        state.group = group

    def describe(self, state: RateState, at_ms: int) -> list[int] | None:
        """By window its largest limit and the most that it did lately; None in its first week, or after a stop."""
        is_settled = state.first_ms >= 0 and at_ms - state.first_ms >= WARM_UP_MS and state.frozen_until_ms <= at_ms
        if not is_settled or state.season.days < _SETTLED_DAYS:
            return None
        return state.season.most()

    def common_profile(self, described: list[list[int]]) -> list[int] | None:
        """The role's, number by number: the second largest, at most three times the median; None below five agents."""
        if len(described) < MIN_PEERS:
            return None
        return [guarded_upper(list(numbers), PEERS_TIMES) for numbers in zip(*described, strict=True)]

    def renew(self, state: RateState, at_ms: int) -> None:
        """A declared new version: its season starts afresh. Its peers judge it, or else what it did at most before."""
        s = state
        if s.first_ms < 0:
            return
        if at_ms >= s.end_ms:
            self._open_minute(s, at_ms)
        if s.season.limits:
            s.past = tuple(s.season.most())
        s.season, s.day, s.first_ms = SeasonalLimits(), Day(), at_ms
        for slot in range(s.minute // 60 % SLOTS + 1):
            s.day.hours[slot] = -1
        self._take_limits(s, at_ms)
        s.room = self._room(s)

    def stopped(self, state: RateState, at_ms: int) -> None:
        """The agent was stopped: nothing is learnt from the hour before, nor until it is released (24 h at most)."""
        if state.first_ms >= 0:
            self._forget_hours(state, at_ms, STOP_FREEZE_MS)

    def released(self, state: RateState, at_ms: int) -> None:
        """A person released it: its windows start empty and it is judged again; the rest of the hour is not learnt."""
        if state.first_ms < 0:
            return
        if at_ms >= state.end_ms:
            self._open_minute(state, at_ms)
        state.frozen_until_ms = at_ms
        state.level, state.quiet_until_ms = 1, -1
        state.total += state.n
        state.n = 0
        state.ring[:] = array("q", [state.total] * _RING)
        state.full_at_ms = 0.0
        state.day.hours[state.minute // 60 % SLOTS] = -1
        self._take_limits(state, at_ms)
        state.room = self._room(state)

    def band(self, state: RateState, at_ms: int) -> tuple[float, int] | None:
        """For a picture: what 5 minutes usually hold at most at this time, and the count at which it stops.

        None before anything was learnt.
        """
        if not state.season.limits:
            return None
        slot = at_ms // HOUR_MS % SLOTS
        scale = self.shared.factor**_FACTOR_POWER
        limit = ceil(state.season.limits[slot][W5] * scale)
        return min(state.season.usual_most(slot, W5) * scale, limit - 1.0), limit

    # --- bytes ---------------------------------------------------------------------------------------------------

    def dump(self, state: RateState) -> bytes:
        """The state as bytes."""
        s = state
        numbers = (
            s.first_ms, s.last_ms, s.end_ms, s.minute, s.n, s.total, s.room, s.base_5, s.base_15, s.base_60,
            s.square_5, s.square_15, s.peak_1, s.peak_5, s.peak_15, s.peak_60, s.level, s.quiet_until_ms,
            s.frozen_until_ms,
        )  # fmt: skip
        ring = [s.total - count for count in s.ring]
        day = [list(values) for values in s.day.lists()]
        parts = (numbers, s.full_at_ms, s.factor, list(s.names.items()), list(s.backlog.items()), ring, day)
        return _pack.encode((parts, s.season.dump(), s.peers, s.past))

    def load(self, agent_id: str, blob: bytes, version: int) -> RateState:
        """The state from its bytes."""
        if version not in (1, self.state_version):
            raise ValueError(f"action_rate reads state version {self.state_version}, not {version}")
        parts, season, *since_2 = msgspec.msgpack.decode(blob)
        numbers, full_at_ms, factor, names, backlog, ring, day = parts
        s = RateState(agent_id)
        (s.first_ms, s.last_ms, s.end_ms, s.minute, s.n, s.total, s.room, s.base_5, s.base_15, s.base_60,
         s.square_5, s.square_15, s.peak_1, s.peak_5, s.peak_15, s.peak_60, s.level, s.quiet_until_ms,
         s.frozen_until_ms) = numbers  # fmt: skip
        s.full_at_ms, s.factor = full_at_ms, factor
        s.names, s.backlog = dict(names), dict(backlog)
        s.ring = array("q", [s.total - behind for behind in ring])
        for values, kept in zip(s.day.lists(), day, strict=True):
            values[:] = array(values.typecode, kept)
        s.season = SeasonalLimits.load(season)
        if since_2:
            s.peers, s.past = map(tuple, since_2)
        if s.first_ms >= 0:
            self._scale_limits(s)
        return s


def _new_name(names: dict[str, int], name: str) -> None:
    if len(names) >= _MAX_NAMES or len(name) > _MAX_NAME_CHARS:
        name = _OTHER
    names[name] = names.get(name, 0) + 1


def _count_until(s: RateState, minute: int) -> int:
    """The agent's actions before this minute, as far as the last hour is known."""
    if minute > s.minute:
        return s.total + s.n
    return s.ring[max(minute, s.minute - _RING + 1) & 63]
