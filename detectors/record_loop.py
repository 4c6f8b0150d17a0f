"""Stops an agent that goes round in circles on one record, and tells of one that does so slowly on many."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct
from xxhash import xxh3_64_intdigest

from detectors.base import Action, Evidence, Shared, Wanted
from detectors.rate_words import ordinal
from detectors.statistics import longest_expected_run, shrunk_probability

DAY_MS = 86_400_000
MOST_BETWEEN = 3
"""So many writes to other records may lie between two to the same one without ending its run."""
LEARN_RUN = 4
"""A run is learnt as it grows up to here; a longer one when it ends, as evidence must not become usual before."""
FORGET_AT = 2_000
MOST_RECORDS = 384
SEEN_BITS = 8_192
_MOST_LEARNT = 12
_MOST_CALLS = 8
_LIKELIEST_REPEAT = 0.6
_PRIOR_WEIGHT = 20.0
KNOWN_RUNS = 5
_USUAL_DECAY = 0.97  # a day
_WEEK_MS = 7 * DAY_MS
_LONGEST_DECAY = 0.95
_LONGEST = 200.0

_pack = msgspec.msgpack.Encoder()


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the record-loop detector."""

    run_writes: Annotated[
        int,
        Meta(ge=4, le=1_000, description="Writes to one record that stop an agent not known to repeat itself more."),
    ] = 10
    run_within_secs: Annotated[
        int, Meta(ge=1, le=86_400, description="Only a run within this time stops; a slower one is told.")
    ] = 3_600
    false_runs_per_month: Annotated[
        float, Meta(gt=0, description="Runs by chance that are accepted a month, given the agent's own repetition.")
    ] = 0.002
    actions_per_month: Annotated[int, Meta(ge=1, description="Actions a month for which that budget is reckoned.")] = (
        20_000
    )
    prior_repeat_share: Annotated[
        float, Meta(gt=0, lt=0.6, description="Share of writes after which the same record is soon written again.")
    ] = 0.1
    slow_times_a_day: Annotated[
        int, Meta(ge=1, le=1_000, description="More writes than this to one record within a day (UTC) are many.")
    ] = 5
    slow_records: Annotated[
        int, Meta(ge=1, le=500, description="More records than this with many writes make a day of slow loops.")
    ] = 25
    slow_days: Annotated[int, Meta(ge=1, le=30, description="So many such days in a row are told.")] = 3


class LoopState:
    """One agent: the record it is at, how often it comes back to one, the calls of a long run, and today's records."""

    __slots__ = (
        "busy", "calls", "day", "ends", "first_ms", "hits", "known", "longest", "next_run", "others", "others_ms",
        "record", "repeated", "run", "seen", "since_ms", "streak", "told", "usual", "writes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.record = self.run = self.since_ms = self.others_ms = 0
        self.others: list[int] = []
        self.hits = self.ends = self.known = 0
        self.next_run = self.repeated = 0
        self.calls: list[int] = []
        self.day = self.busy = self.streak = 0
        self.told = False
        self.usual = self.longest = 0.0
        self.first_ms = 0
        self.seen = bytearray(SEEN_BITS // 8)
        self.writes: dict[int, int] = {}


class RecordLoop:
    """The run of writes to one record against the agent's own habit, and days on which many records get many writes.

    Catches: the same record, or the same call, again and again, also with up to three other writes in between (so
    circles of up to four records); a field that flips A → B → A; slowly, more than five writes a day to each of more
    than 25 records, and of more than twice as many as usual, for three days. The null is geometric: after a write the
    agent comes back to the record within its next four writes with its own usual probability (shrunk to
    ``prior_repeat_share``, at most .6). A run acts when it has ``run_writes`` and chance makes such a run at most
    ``false_runs_per_month`` times a month.

    It stops only where the run is quick, its calls repeat (or their contents are not reported), it is twice as long as
    the longest that the agent ended by itself of late, and the agent has been about for a day or has worked on other
    records; ten different changes of one record, a slow run, an agent that never did anything else, and slow loops
    are told.

    Cannot: see loops of reads, of failing calls (``repeated_errors``), or of writes that name no record; circles of
    more than four records but for the slow rule. That one learns in an agent's first week, forgets a record after 384
    others that came back, and may count a write too many where an agent writes to thousands of records a day. An agent
    that teaches it longer and longer runs is told of at each, and stopped at 400 writes at the latest.

    Parameters: see ``Config``.

    Reference: Feller, "An Introduction to Probability Theory" (1968), XIII.7, for success runs.
    """

    name: ClassVar[str] = "record_loop"
    state_version: ClassVar[int] = 1
    judges: ClassVar[Literal["attempts", "outcomes", "all"]] = "outcomes"
    is_hard: ClassVar[bool] = True
    max_state_bytes: ClassVar[int] = 8_192
    Config: ClassVar[type[Struct]] = Config

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None:
        self.config: Config = config if config is not None else Config()

    def new_state(self, agent_id: str) -> LoopState:
        """The state of an agent never seen before."""
        return LoopState()

    def observe(self, action: Action, state: LoopState) -> Evidence | None:
        """Take one write in; an opinion when the run or the day holds too many of them."""
        data = action.data
        if not state.first_ms:
            state.first_ms = action.at_ms
        if data.outcome != "ok" or not action.kind.is_write or data.record_ids is UNSET or not data.record_ids:
            return None
        record = xxh3_64_intdigest(f"{data.object}\x1f{data.record_ids[0]}".encode("utf-8", "surrogatepass"))
        day = action.at_ms // DAY_MS
        if day > state.day:
            self._close_day(state, day)
        slow = self._count(action, state, record)
        if state.run and record == state.record:
            state.run += 1
            if state.others:
                state.others = []
            if state.run <= LEARN_RUN:
                self._learn(state, hits=1)
            else:
                _remember_call(action, state)
            return self._judge(action, state) or slow
        if not state.run or len(state.others) == MOST_BETWEEN:
            self._begin(action, state, record)
        else:
            if not state.others:
                state.others_ms = action.at_ms
            state.others.append(record)
        return slow

    # --- runs ----------------------------------------------------------------------------------------------------

    def _begin(self, action: Action, state: LoopState, record: int) -> None:
        """Learn the run that ended, and begin one at this record, with those of its writes that lay between."""
        if state.run:
            self._learn(state, hits=min(max(state.run - LEARN_RUN, 0), _MOST_LEARNT), ends=1)
            state.known = min(state.known + 1, KNOWN_RUNS)
            if state.run > LEARN_RUN:
                state.longest = max(state.longest, min(float(state.run), _LONGEST))
        before = state.others.count(record)
        since_ms = state.others_ms if before else action.at_ms
        _clear(state)
        state.record, state.run, state.since_ms = record, 1 + before, since_ms
        if before:
            self._learn(state, hits=before)

    def _learn(self, state: LoopState, *, hits: int = 0, ends: int = 0) -> None:
        state.hits += hits
        state.ends += ends
        if state.hits + state.ends >= FORGET_AT:
            state.hits //= 2
            state.ends //= 2

    def _judge(self, action: Action, state: LoopState) -> Evidence | None:
        config, run = self.config, state.run
        if run < config.run_writes or run < state.next_run:
            return None
        usual = self._usual(state)
        least = longest_expected_run(1.0, usual, config.actions_per_month, config.false_runs_per_month)
        limit = max(config.run_writes, least)
        if run < limit:
            return None
        stop_at = max(limit, int(2.0 * state.longest))
        is_quick = action.at_ms - state.since_ms <= config.run_within_secs * 1000
        is_same = action.data.changes is UNSET or 2 * state.repeated >= run - LEARN_RUN
        is_known = state.known >= KNOWN_RUNS or state.since_ms - state.first_ms >= DAY_MS
        state.next_run = stop_at if run < stop_at < 2 * run else 2 * run
        if run >= stop_at and is_quick and is_same and is_known:
            return _run_evidence(action, state, stop_at, "suspend")
        return _run_evidence(action, state, limit, "notify")

    def _usual(self, state: LoopState) -> float:
        """How likely the agent comes back to a record, without what this run has taught."""
        hits = max(state.hits - min(state.run, LEARN_RUN) + 1, 0)
        usual = shrunk_probability(hits, hits + state.ends, self.config.prior_repeat_share, _PRIOR_WEIGHT)
        return min(usual, _LIKELIEST_REPEAT)

    # --- days ----------------------------------------------------------------------------------------------------

    def _count(self, action: Action, state: LoopState, record: int) -> Evidence | None:
        writes, config, place, bit = state.writes, self.config, record % SEEN_BITS // 8, 1 << record % 8
        if not state.seen[place] & bit:
            state.seen[place] |= bit
            return None
        count = writes.get(record, 1) + 1
        writes[record] = count
        if len(writes) > MOST_RECORDS:
            del writes[next(iter(writes))]
        if count != config.slow_times_a_day + 1:
            return None
        state.busy += 1
        if state.told or state.streak + 1 < config.slow_days or state.busy <= self._most_busy(state):
            return None
        if action.at_ms - state.first_ms < _WEEK_MS:
            return None
        state.told = True
        return self._slow_evidence(action, state)

    def _close_day(self, state: LoopState, day: int) -> None:
        """Count the day if it was one of many loops; the first week, what was told and other days become usual."""
        is_many = state.busy > self._most_busy(state)
        state.streak = state.streak + 1 if is_many and day == state.day + 1 else 0
        if state.told or not is_many or state.day * DAY_MS - state.first_ms < _WEEK_MS:
            state.usual = max(_USUAL_DECAY * state.usual, float(state.busy))
            state.told = False
        state.longest *= _LONGEST_DECAY
        state.day, state.busy = day, 0
        state.writes.clear()
        state.seen = bytearray(SEEN_BITS // 8)

    def _most_busy(self, state: LoopState) -> float:
        return max(float(self.config.slow_records), 2.0 * state.usual)

    def _slow_evidence(self, action: Action, state: LoopState) -> Evidence:
        config = self.config
        return Evidence(
            wanted="notify",
            severity="warning",
            summary=(
                f"{state.busy} records were written more than {config.slow_times_a_day} times today, and so many for"
                f" the {ordinal(state.streak + 1)} day in a row; usually at most {state.usual:.0f}"
            ),
            observed=state.busy,
            expected=round(state.usual),
            limit=round(self._most_busy(state)),
            unit=f"records with more than {config.slow_times_a_day} writes a day",
            would_clear=f"a day with at most {self._most_busy(state):.0f} such records",
            events=((action.source, action.event_id),),
            topic="slow",
            details={"days": state.streak + 1},
        )

    # --- the rest of the protocol --------------------------------------------------------------------------------

    def stopped(self, state: LoopState, at_ms: int) -> None:
        """The agent was stopped: its run is not learnt."""
        _clear(state)

    def released(self, state: LoopState, at_ms: int) -> None:
        """A person released it: evidence starts afresh."""
        _clear(state)

    def dump(self, state: LoopState) -> bytes:
        """The state as bytes."""
        return _pack.encode([getattr(state, name) for name in LoopState.__slots__])

    def load(self, agent_id: str, blob: bytes, version: int) -> LoopState:
        """The state from its bytes."""
        if version != self.state_version:
            raise ValueError(f"record_loop reads state version {self.state_version}, not {version}")
        state = LoopState()
        values = msgspec.msgpack.decode(blob)
        for name, value in zip(LoopState.__slots__, values, strict=True):
            setattr(state, name, value)
        state.seen = bytearray(state.seen)
        return state


def _clear(state: LoopState) -> None:
    state.record = state.run = state.since_ms = state.others_ms = state.next_run = state.repeated = 0
    state.others, state.calls = [], []


def _remember_call(action: Action, state: LoopState) -> None:
    """Whether this call was made before in the run, among its last eight."""
    said = _pack.encode((action.data.action, action.data.object, action.data.changes or None))
    call = xxh3_64_intdigest(said)
    state.repeated += call in state.calls
    state.calls = [*state.calls[1 - _MOST_CALLS :], call]


def _run_evidence(action: Action, state: LoopState, limit: int, wanted: Wanted) -> Evidence:
    seconds = (action.at_ms - state.since_ms) / 1000
    took = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
    trials = state.hits + state.ends
    usual = 1.0 + state.hits / max(state.ends, 1)
    habit = f"usually it goes on after {usual:.1f}" if trials >= 20 else "it is too new to know what is usual"
    how = ", the same calls again and again" if 2 * state.repeated >= state.run - LEARN_RUN else ""
    record_type = action.data.object if isinstance(action.data.object, str) and action.data.object else "record"
    return Evidence(
        wanted=wanted,
        severity="critical" if wanted == "suspend" else "warning",
        summary=f"{ordinal(state.run)} write to the same {record_type[:40]} within {took}{how}; {habit}",
        observed=state.run,
        expected=round(usual, 2),
        limit=limit,
        unit="writes to one record in a row",
        would_clear=f"{MOST_BETWEEN + 1} writes to other records before the {ordinal(limit)} write to this one",
        events=((action.source, action.event_id),),
        topic="run",
        details={"repeated_calls": state.repeated, "known_runs": state.known},
    )
