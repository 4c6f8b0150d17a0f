"""Tells of an agent whose mixture of actions, and the order it does them in, is no longer its own."""

from __future__ import annotations

from math import log
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from detectors.base import Action, Evidence, Mode, Shared, Wanted
from detectors.statistics import shiryaev_roberts, sr_threshold
from events.times import DAY_MS, MINUTE_MS

_BEGIN, _OTHER = 0, 1
_MOST_KINDS = 24
_UNSEEN = 50.0
"""As many kinds of actions that it never did are thought possible."""
_NEW = -1
_FORGET_AT, _FORGET_SURPRISES_AT = 2_048, 4_096
_BINS, _BINS_A_NAT = 48, 4
_KNOWN_AT, _WARM_UP_MS = 500, 7 * DAY_MS
"""So many actions, and so long, it learns before there is an opinion."""
_BETS = (0.1, 0.3, 0.5, 0.7)
_USUAL_E = sum(_BETS) / len(_BETS)
_STAKE, _STRANGE_P = 0.1, 0.02
_FREEZE_AT, _CALM = 100.0, 10.0
"""Learning stands still from the first on; below the second, where the sums usually lie, an episode is over."""
_LEAST_STRANGE = 8
_AGREED_MS = 7 * DAY_MS
_MOST_STEPS, _SHOWN_STEPS = 8, 3
_MOST_NAME_CHARS = 40

_pack = msgspec.msgpack.Encoder()

Kind = tuple[str, str]
"""What was done, and on what: the noun and verb, and the record type ("" when none was named)."""


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the action-mix detector."""

    false_tells_per_month: Annotated[
        float, Meta(gt=0, description="Tells by chance that are accepted a month, nominally; measure it.")
    ] = 0.01
    actions_per_month: Annotated[int, Meta(ge=1, description="Actions a month for which that budget is reckoned.")] = (
        20_000
    )
    chance_factor: Annotated[
        float,
        Meta(ge=1, le=10, description="Each probability is multiplied by it, as work comes in clusters."),
    ] = 2.0
    session_minutes: Annotated[
        int, Meta(ge=1, le=1440, description="After a pause of so many minutes an action follows on nothing.")
    ] = 30


class MixState:
    """One agent: how often each kind followed each, how surprising its actions are, and the evidence against both.

    ``rows[a][b]``: how often kind b followed a; kind 0 is the beginning of a session, 1 all kinds beyond the first 22.
    ``surprises``: a histogram of −log p, a quarter nat a bin. ``sums``: the two Shiryaev–Roberts sums.
    """

    __slots__ = (
        "counts", "first_ms", "frozen_ms", "is_told", "kinds", "last", "last_ms", "quiet_until_ms", "rows", "seen",
        "steps", "strange", "sums", "surprises", "total", "totals", "was_strange",
    )  # fmt: skip

    def __init__(self) -> None:
        self.kinds: dict[Kind, int] = {}
        self.rows: list[dict[int, int]] = [{}, {}]
        self.totals = [0, 0]
        self.counts: dict[int, int] = {}
        self.total = 0
        self.surprises = [0] * _BINS
        self.seen = 0
        self.last, self.last_ms = _BEGIN, 0
        self.sums = [0.0, 0.0]
        self.first_ms = self.frozen_ms = self.quiet_until_ms = 0
        self.is_told = self.was_strange = False
        self.strange = 0
        self.steps: dict[tuple[str, str], int] = {}


class ActionMix:
    """Each action's surprise, given the one before it, against how surprising the agent's own actions usually are.

    Catches: an agent that begins to do other things than it used to, or the same in another order: deletes among
    updates, exports between reads, a loop of steps that it never took. p(next | before) comes from the agent's own
    transitions, smoothed by Witten and Bell: each kind backs off to how often it happens at all, that to one in 50.
    −log p is ranked among the agent's own (a conformal p-value, times ``chance_factor``); two Shiryaev–Roberts sums,
    of the mean of k·p^(k−1) and of a tenth on p ≤ .02, are averaged. It speaks, once an episode, when they reach the
    budget's threshold with at least eight strange steps. Learning stands still from an evidence of 100 on, and for
    24 hours after a stop unless a person releases the agent.

    Cannot: see a mixture that only became narrower (the same usual step over and over is no surprise: that is
    ``record_loop`` and ``action_rate``), or a change of values or records; tell a new task from a wrong one; judge in
    an agent's first seven days and 500 actions, or an agent that invents names from its first day on, of which all
    beyond 22 are one kind. What was told of and goes on for seven days while nobody stopped the agent is learnt.
    Strange steps that are fewer than some one in twenty stay below the freeze and are learnt.

    Parameters: see ``Config``. It only tells, in mode shadow unless set. It is off unless ``is_enabled`` is set, as it
    reads every action and is no part of the compiled path.

    Reference: Witten, Bell (1991) for the smoothing; Vovk, Gammerman, Shafer (2005) for conformal p-values and their
    bets; Shin, Ramdas, Rinaldo (2023, arXiv 2203.03532) for the sums.
    """

    name: ClassVar[str] = "action_mix"
    state_version: ClassVar[int] = 1
    judges: ClassVar[Literal["attempts", "outcomes", "all"]] = "attempts"
    is_hard: ClassVar[bool] = True
    is_on_by_default: ClassVar[bool] = False
    default_mode: ClassVar[Mode] = "shadow"
    asks_at_most: ClassVar[Wanted] = "notify"
    max_state_bytes: ClassVar[int] = 16_384
    Config: ClassVar[type[Struct]] = Config

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None:
        self.config: Config = config if config is not None else Config()
        self._limit = sr_threshold(self.config.false_tells_per_month, self.config.actions_per_month)
        self._pause_ms = self.config.session_minutes * MINUTE_MS

    def new_state(self, agent_id: str) -> MixState:
        """The state of an agent never seen before."""
        return MixState()

    # --- judging -------------------------------------------------------------------------------------------------

    def observe(self, action: Action, state: MixState) -> Evidence | None:
        """Weigh the step from the action before to this one, then learn it."""
        data, at_ms = action.data, action.at_ms
        if data.outcome == "denied":
            return None
        if not state.first_ms:
            state.first_ms = at_ms
        of = data.object
        kind = (data.action[:_MOST_NAME_CHARS], of[:_MOST_NAME_CHARS] if isinstance(of, str) else "")
        index = state.kinds.get(kind, _NEW)
        if index == _NEW and len(state.kinds) >= _MOST_KINDS - 2:
            index = _OTHER
        before = state.last if at_ms - state.last_ms <= self._pause_ms else _BEGIN
        place = _place(_surprise(state, before, index))
        is_known = state.seen >= _KNOWN_AT and at_ms - state.first_ms >= _WARM_UP_MS
        evidence = self._weigh(action, kind, (before, index, place), state) if is_known else None
        if not state.frozen_ms and at_ms >= state.quiet_until_ms:
            index = _learn(state, before, index, kind, place)
        state.last, state.last_ms = _OTHER if index == _NEW else index, at_ms
        return evidence

    def _p_value(self, index: int, place: int, state: MixState) -> float:
        """How likely a step so surprising is; after a strange one only a kind that is rare in itself is strange too."""
        if state.was_strange:
            place = min(place, _place(-log(_share(state, index))))
        p = self.config.chance_factor * (1.0 + sum(state.surprises[place:])) / (1.0 + state.seen)
        return 1.0 if state.was_strange and p > _STRANGE_P else p

    def _weigh(self, action: Action, kind: Kind, step: tuple[int, int, int], state: MixState) -> Evidence | None:
        before, index, place = step
        p, sums = self._p_value(index, place, state), state.sums
        e_value = _USUAL_E if p >= 1.0 else sum(power * p ** (power - 1.0) for power in _BETS) / len(_BETS)
        is_strange = state.was_strange = p <= _STRANGE_P
        sums[0] = shiryaev_roberts(sums[0], e_value)
        sums[1] = shiryaev_roberts(sums[1], 1.0 - _STAKE + (_STAKE / _STRANGE_P if is_strange else 0.0))
        mean = (sums[0] + sums[1]) / 2.0
        if is_strange:
            _keep_step(state, before, kind)
        if mean < _FREEZE_AT:
            if state.frozen_ms or mean < _CALM:
                _calm_down(state)
            return None
        if not state.frozen_ms:
            state.frozen_ms = action.at_ms
        if action.at_ms - state.frozen_ms >= _AGREED_MS:
            _agree(state)
            return None
        if mean < self._limit or state.strange < _LEAST_STRANGE or state.is_told:
            return None
        state.is_told = True
        return _evidence(action, state, mean, self._limit)

    def stopped(self, state: MixState, at_ms: int) -> None:
        """What it did around a stop is not learnt."""
        state.quiet_until_ms = at_ms + DAY_MS

    def released(self, state: MixState, at_ms: int) -> None:
        """A person looked at it: the evidence starts afresh, and it learns again."""
        state.quiet_until_ms = 0
        state.sums = [0.0, 0.0]
        _calm_down(state)

    # --- bytes ---------------------------------------------------------------------------------------------------

    def dump(self, state: MixState) -> bytes:
        """The state as bytes."""
        learnt = (
            list(state.kinds),
            [list(row.items()) for row in state.rows],
            list(state.counts.items()),
            state.surprises,
        )
        now = (state.last, state.last_ms, state.sums, state.frozen_ms, state.quiet_until_ms)
        said = (state.is_told, state.was_strange, state.strange, list(state.steps.items()))
        return _pack.encode((learnt, now, state.first_ms, said))

    def load(self, agent_id: str, blob: bytes, version: int) -> MixState:
        """The state from its bytes."""
        if version != self.state_version:
            raise ValueError(f"action_mix reads state version {self.state_version}, not {version}")
        learnt, now, first_ms, said = msgspec.msgpack.decode(blob, type=_Bytes)
        state = MixState()
        state.kinds = {kind: index for index, kind in enumerate(learnt[0], start=2)}
        state.rows = [dict(row) for row in learnt[1]]
        state.totals = [sum(row.values()) for row in state.rows]
        state.counts, state.surprises = dict(learnt[2]), learnt[3]
        state.total, state.seen = sum(state.counts.values()), sum(state.surprises)
        state.last, state.last_ms, state.sums, state.frozen_ms, state.quiet_until_ms = now
        state.is_told, state.was_strange, state.strange, steps = said
        state.steps = dict(steps)
        state.first_ms = first_ms
        return state


_Row = list[tuple[int, int]]
_Bytes = tuple[
    tuple[list[Kind], list[_Row], _Row, list[int]],
    tuple[int, int, list[float], int, int],
    int,
    tuple[bool, bool, int, list[tuple[tuple[str, str], int]]],
]


def _place(surprise: float) -> int:
    return min(int(surprise * _BINS_A_NAT), _BINS - 1)


def _share(state: MixState, index: int) -> float:
    """How often a kind happens at all; one that it never did has a part of what is left."""
    kinds = len(state.counts)
    return (state.counts.get(index, 0) + kinds / _UNSEEN) / (state.total + kinds) if kinds else 1.0 / _UNSEEN


def _surprise(state: MixState, before: int, index: int) -> float:
    """−log p(next | before) in nats, smoothed by Witten and Bell; never infinite."""
    p = _share(state, index)
    row = state.rows[before]
    if row:
        followers = len(row)
        p = (row.get(index, 0) + followers * p) / (state.totals[before] + followers)
    return -log(p)


def _learn(state: MixState, before: int, index: int, kind: Kind, place: int) -> int:
    """Count the step; a new kind gets its number."""
    if index == _NEW:
        index = state.kinds[kind] = len(state.rows)
        state.rows.append({})
        state.totals.append(0)
    row = state.rows[before]
    row[index] = row.get(index, 0) + 1
    state.totals[before] += 1
    state.counts[index] = state.counts.get(index, 0) + 1
    state.total += 1
    state.surprises[place] += 1
    state.seen += 1
    if state.totals[before] >= _FORGET_AT:
        state.rows[before] = _halved(row)
        state.totals[before] = sum(state.rows[before].values())
    if state.total >= _FORGET_SURPRISES_AT:
        state.counts = _halved(state.counts)
        state.total = sum(state.counts.values())
    if state.seen >= _FORGET_SURPRISES_AT:
        state.surprises = [count >> 1 for count in state.surprises]
        state.seen = sum(state.surprises)
    return index


def _halved(row: dict[int, int]) -> dict[int, int]:
    return {index: count >> 1 for index, count in row.items() if count > 1}


def _keep_step(state: MixState, before: int, kind: Kind) -> None:
    state.strange += 1
    first = next((known for known, index in state.kinds.items() if index == before), ("", ""))
    step = (_words(first), _words(kind))
    if step in state.steps or len(state.steps) < _MOST_STEPS:
        state.steps[step] = state.steps.get(step, 0) + 1


def _calm_down(state: MixState) -> None:
    """The episode is over."""
    state.frozen_ms, state.is_told, state.strange = 0, False, 0
    state.steps.clear()


def _agree(state: MixState) -> None:
    """It has gone on for a week and nobody minded: how surprising its actions are is learnt anew."""
    _calm_down(state)
    state.sums, state.surprises, state.seen = [0.0, 0.0], [0] * _BINS, 0


def _words(kind: Kind) -> str:
    return f"{kind[0]} on {kind[1]}" if kind[1] else kind[0]


def _evidence(action: Action, state: MixState, mean: float, limit: float) -> Evidence:
    steps = sorted(state.steps.items(), key=lambda each: (-each[1], each[0]))
    shown = [f"{after} after {first or 'a pause'} ({count} times)" for (first, after), count in steps[:_SHOWN_STEPS]]
    return Evidence(
        wanted="notify",
        severity="warning",
        summary=f"The agent works in another way than it used to: {state.strange} steps that it hardly ever took, "
        f"such as {', '.join(shown)}",
        observed=state.strange,
        expected=0,
        limit=_LEAST_STRANGE,
        unit="steps that it hardly ever took",
        would_clear="steps as it took them before, or a person who releases it",
        events=((action.source, action.event_id),),
        topic="mix",
        details={"evidence": round(mean, 1), "evidence_limit": round(limit, 1)},
    )
