"""Tells of an agent whose changes people undo or overwrite more often than they used to."""

from __future__ import annotations

from math import log
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct
from xxhash import xxh3_64_intdigest

from detectors.base import Action, Evidence, Mode, Shared, Wanted
from detectors.statistics import bernoulli_e_value, guarded_upper, shrunk_probability, sr_threshold
from events.times import DAY_MS, HOUR_MS
from events.types import Revert

_KINDS = ("undone", "overwritten")
_SCALE = 10_000
_LEAST_PEERS, _PEERS_TIMES = 5, 3.0
_PRIOR_WEIGHT = 100.0
_CHANCE_FACTOR = 1.5
_LEAST_SHARE, _LIKELIEST = 0.002, 0.5
_FROZEN_AT = 100.0
_FORGET_AT = 4_000
_MOST_EVIDENCE = 1e15
_MOST_PEOPLE, _MOST_EVENTS, _MOST_NAMES, _MOST_RECENT = 16, 4, 6, 12
_MOST_NAME_CHARS, _MOST_ID_CHARS = 40, 120

_packer = msgspec.msgpack.Encoder()


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the human-revert detector."""

    tells_per_month: Annotated[float, Meta(gt=0, description="Notices by chance that are accepted a month.")] = 0.1
    holds_per_month: Annotated[float, Meta(gt=0, description="Holds by chance that are accepted a month.")] = 0.01
    changes_per_month: Annotated[int, Meta(ge=1, description="Changes a month for which both are reckoned.")] = 20_000
    undone_share: Annotated[
        float, Meta(gt=0, lt=0.5, description="Share of an agent's changes that people undo, before it is known.")
    ] = 0.01
    overwritten_share: Annotated[float, Meta(gt=0, lt=0.5, description="The same for those that they overwrite.")] = (
        0.05
    )
    overwritten_within_hours: Annotated[
        int, Meta(ge=1, le=72, description="A value that stood longer was not wrong when another took its place.")
    ] = 24
    most_per_person: Annotated[
        int, Meta(ge=1, le=1_000, description="Changes by one person that count as evidence in seven days.")
    ] = 3
    least_answers: Annotated[
        int,
        Meta(ge=1, le=1_000, description="Counted answers of people at least before it holds; half as many to tell."),
    ] = 6
    least_people: Annotated[int, Meta(ge=1, le=16, description="People at least before it holds.")] = 2
    least_changes: Annotated[
        int, Meta(ge=1, le=10_000, description="The agent's changes at least that were learnt from before it holds.")
    ] = 50


class RevertState:
    """One agent: how often its changes are undone and overwritten, and the present evidence that it is more often now.

    ``learnt`` counts changes, undone, overwritten; ``sums`` one statistic for each kind and alternative; ``frozen``
    counts what was not learnt; ``recent`` has, of the answers that were counted last, how many changes came before each
    (``gap``: since the last one) and its kind; ``people`` by digest how often one counted, and since when.
    """

    __slots__ = (
        "answers", "frozen", "gap", "group", "is_held", "learnt", "names", "next_told", "people", "recent", "sums",
        "told_ms", "where",
    )  # fmt: skip

    def __init__(self) -> None:
        self.group = ""
        self.learnt = [0, 0, 0]
        self.people: dict[int, list[int]] = {}
        self.clear()

    def clear(self) -> None:
        """No evidence at present; whom one has heard is remembered."""
        self.sums = [0.0] * (len(_KINDS) * 3)
        self.gap = 0
        self.recent: list[list[int]] = []
        self.where: list[list[str]] = []
        self.names: dict[str, int] = {}
        self.calm_down()

    def calm_down(self) -> None:
        """The evidence is no more than chance makes it."""
        self.frozen = [0, 0, 0]
        self.answers = self.next_told = self.told_ms = 0
        self.is_held = False


class HumanRevert:
    """People undo what the agent wrote, or write something else there, more often than they used to.

    Catches: an agent whose changes are right in form and wrong in substance, as soon as people put them right: back to
    the value before (undone, or a record that it made is deleted), or to another value within
    ``overwritten_within_hours``. Each change of a record by the agent is one trial. The null is its own share of
    undone, and of overwritten, changes, times 1.5, shrunk to that of its peers (the second largest among at least five
    of its role, see ADR 18), or else to a prior; at most .5. Three bets against it (four times the share, a quarter
    and six tenths of the way to one) are summed as Shiryaev–Roberts, for each kind, and averaged. It tells when that
    comes about by chance ``tells_per_month`` times a month, and asks to hold writes at ``holds_per_month``, with three
    and six counted answers at least.

    Cannot: see what nobody puts right, or puts right after three days; tell a person who corrects from one who changes
    his or her mind, or who reverts out of habit: therefore a person counts ``most_per_person`` times in seven days
    however much he or she undoes (a bulk undo of one's own is three), and a hold takes ``least_people``; two people
    who collude can so get an agent held, once it enforces. It believes the feed's word on who a person is, and knows
    nothing where no feed is connected, or it does not name the agent's user. Of an agent the newest 4,096 values are
    watched. The next stage of a deal within a day counts as overwritten; where that is usual, it is learnt.

    Learning stands still while there is evidence; what was told a week ago and goes on, while nobody stopped or
    released the agent, is learnt. An agent that stays below the freeze can grow worse by less than the bets' four
    times, slowly: the share is never taken for more than half.

    Parameters: see ``Config``.

    Reference: Shin, Ramdas, Rinaldo, "E-detectors" (2023, arXiv 2203.03532).
    """

    name: ClassVar[str] = "human_revert"
    state_version: ClassVar[int] = 1
    judges: ClassVar[Literal["attempts", "outcomes", "all", "reverts"]] = "reverts"
    is_hard: ClassVar[bool] = True
    default_mode: ClassVar[Mode] = "warn"
    asks_at_most: ClassVar[Wanted] = "hold"
    max_state_bytes: ClassVar[int] = 4_096
    Config: ClassVar[type[Struct]] = Config

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None:
        self.config: Config = config if config is not None else Config()
        self.shared = shared if shared is not None else Shared()
        per_month = self.config.changes_per_month
        self._tell_at = sr_threshold(self.config.tells_per_month, per_month)
        self._hold_at = sr_threshold(self.config.holds_per_month, per_month)

    def new_state(self, agent_id: str) -> RevertState:
        """The state of an agent never seen before."""
        return RevertState()

    def observe(self, action: Action, state: RevertState) -> Evidence | None:
        """Take a person's change of what the agent wrote; every other record says nothing here."""
        said = action.revert
        if said is None:
            return None
        if state.told_ms and action.at_ms - state.told_ms >= 7 * DAY_MS:
            self._learn(state, state.frozen)
            state.clear()
        is_heard = self._hear(said, state, action.at_ms)
        kind = _kind(said, self.config) if is_heard else None
        changes = said.written if is_heard else max(0, said.written - 1)  # one that is not heard is no trial either
        shares = self.shares(state, action.at_ms)
        for index, share in enumerate(shares):
            for place, bet in enumerate(_bets(share), start=3 * index):
                state.sums[place] = _after(state.sums[place], changes, share, bet, is_hit=index == kind)
        counts = [changes, int(kind == 0), int(kind == 1)]
        evidence = sum(state.sums) / len(state.sums)
        if evidence < _FROZEN_AT:
            self._learn(state, counts)
            state.calm_down()
        else:
            state.frozen = [old + new for old, new in zip(state.frozen, counts, strict=True)]
        state.gap += changes
        if kind is None:
            return None
        _note(action, said, state, kind)
        return self._judge(action, state, evidence, shares)

    def shares(self, state: RevertState, at_ms: int) -> list[float]:
        """How many of the agent's changes are undone, and overwritten, as far as is known: the null."""
        peers = self.shared.of_peers(state.group, self.name, at_ms) if state.group else ()
        found = []
        for index, own in enumerate((self.config.undone_share, self.config.overwritten_share)):
            prior = max(peers[index] / _SCALE, own / 2.0) if len(peers) == len(_KINDS) else own
            share = shrunk_probability(state.learnt[1 + index], state.learnt[0], prior, _PRIOR_WEIGHT)
            found.append(min(max(_CHANCE_FACTOR * share, _LEAST_SHARE), _LIKELIEST))
        return found

    def _hear(self, said: Revert, state: RevertState, at_ms: int) -> bool:
        """Whether this person's answer counts; False when he or she was heard often enough."""
        digest = xxh3_64_intdigest(said.by.encode("utf-8", "surrogatepass"))
        heard = state.people.pop(digest, [0, at_ms])
        if at_ms - heard[1] >= 7 * DAY_MS:
            heard = [0, at_ms]
        is_heard = heard[0] < self.config.most_per_person
        state.people[digest] = [heard[0] + is_heard, heard[1]]
        if len(state.people) > _MOST_PEOPLE:
            del state.people[next(iter(state.people))]
        return is_heard

    def _learn(self, state: RevertState, counts: list[int]) -> None:
        learnt = [old + new for old, new in zip(state.learnt, counts, strict=True)]
        while learnt[0] >= _FORGET_AT:
            learnt = [number // 2 for number in learnt]
        state.learnt = learnt

    def _judge(self, action: Action, state: RevertState, evidence: float, shares: list[float]) -> Evidence | None:
        if evidence < self._tell_at:
            return None
        config, latest = self.config, _latest(state, sum(shares))
        people = sum(action.at_ms - since < 7 * DAY_MS for _, since in state.people.values())
        is_known = people >= config.least_people and state.learnt[0] >= config.least_changes
        is_hold = evidence >= self._hold_at and is_known and len(latest) >= config.least_answers
        is_more = is_hold and not state.is_held
        if 2 * len(latest) < config.least_answers or not (is_more or state.answers >= state.next_told):
            return None
        state.is_held, state.next_told = state.is_held or is_hold, 2 * state.answers
        state.told_ms = state.told_ms or action.at_ms
        return _evidence(action, state, config, evidence, sum(shares), latest, people, is_hold=is_hold)

    # --- peers -------------------------------------------------------------------------------------------------------

    def join(self, state: RevertState, group: str) -> None:
        """The agent has these peers."""
        state.group = group

    def describe(self, state: RevertState, at_ms: int) -> list[int] | None:
        """Its shares in ten-thousandths; None while little is known, or something is wrong."""
        changes, undone, overwritten = state.learnt
        if changes < 2 * self.config.least_changes or state.told_ms:
            return None
        return [undone * _SCALE // changes, overwritten * _SCALE // changes]

    def common_profile(self, described: list[list[int]]) -> list[int] | None:
        """What nearly all of them stay below; None when they are too few."""
        if len(described) < _LEAST_PEERS:
            return None
        return [guarded_upper(list(values), _PEERS_TIMES) for values in zip(*described, strict=True)]

    # --- the rest of the protocol ------------------------------------------------------------------------------------

    def stopped(self, state: RevertState, at_ms: int) -> None:
        """The agent was stopped: what led to it is answered."""
        state.clear()

    def released(self, state: RevertState, at_ms: int) -> None:
        """A person released it: its evidence starts afresh."""
        state.clear()

    def dump(self, state: RevertState) -> bytes:
        """The state as bytes."""
        return _packer.encode([getattr(state, name) for name in _KEPT])

    def load(self, agent_id: str, blob: bytes, version: int) -> RevertState:
        """The state from its bytes."""
        if version != self.state_version:
            raise ValueError(f"human_revert reads state version {self.state_version}, not {version}")
        state = RevertState()
        for name, value in zip(_KEPT, msgspec.msgpack.decode(blob, strict=False), strict=True):
            setattr(state, name, value)
        return state


_KEPT = tuple(name for name in RevertState.__slots__ if name != "group")


def _kind(said: Revert, config: Config) -> int | None:
    """Which kind of answer it is; None: it had stood for long, so that another value was no answer."""
    if said.kind != "overwritten":
        return 0
    return 1 if said.after_secs * 1000 <= config.overwritten_within_hours * HOUR_MS else None


def _bets(share: float) -> tuple[float, float, float]:
    """The alternatives to bet on: four times as often, and much more often."""
    quarter = share + 0.25 * (1.0 - share)
    return min(4.0 * share, quarter), quarter, share + 0.6 * (1.0 - share)


def _after(total: float, changes: int, null: float, bet: float, *, is_hit: bool) -> float:
    """A Shiryaev–Roberts sum after so many changes, of which one was answered by a person or none.

    A change counts as not answered when it is made; its answer, which comes later, puts that right.
    """
    miss = bernoulli_e_value(False, null, bet)
    power = miss**changes
    total = total * power + miss * (1.0 - power) / (1.0 - miss)
    return min(total * bernoulli_e_value(True, null, bet) / miss, _MOST_EVIDENCE) if is_hit else total


def _note(action: Action, said: Revert, state: RevertState, kind: int) -> None:
    """Keep an answer that counts: what it was about, and how many changes came before it."""
    state.recent = [*state.recent[1 - _MOST_RECENT :], [state.gap, kind]]
    state.gap, state.answers = 0, state.answers + 1
    for name in said.fields or [said.object]:
        short = name[:_MOST_NAME_CHARS]
        if short in state.names or len(state.names) < _MOST_NAMES:
            state.names[short] = state.names.get(short, 0) + 1
    if len(action.source) + len(action.event_id) <= _MOST_ID_CHARS:
        state.where = [*state.where[1 - _MOST_EVENTS :], [action.source, action.event_id]]


def _latest(state: RevertState, share: float) -> list[list[int]]:
    """Those of the last answers that stand out most from the usual share: a likelihood scan over how far back."""
    best, strongest, changes = 1, -1.0, 0
    for count, (gap, _) in enumerate(reversed(state.recent), 1):
        changes += gap
        usual = max(changes, count) * share
        strength = count * log(count / usual) - count + usual if count > usual else 0.0
        if strength >= strongest:
            best, strongest = count, strength
    return state.recent[-best:]


def _evidence(
    action: Action,
    state: RevertState,
    config: Config,
    odds: float,
    share: float,
    latest: list[list[int]],
    people: int,
    *,
    is_hold: bool,
) -> Evidence:
    said: Any = action.revert
    hits, changes = len(latest), max(len(latest), sum(gap for gap, _ in latest))
    usual = share / _CHANCE_FACTOR
    names = sorted(state.names, key=lambda name: (-state.names[name], name))[:2]
    who = said.by[:_MOST_NAME_CHARS] + (f" and {people - 1} more" if people > 1 else "")
    here = (action.source, action.event_id)
    return Evidence(
        wanted="hold" if is_hold else "notify",
        severity="critical" if is_hold else "warning",
        summary=(
            f"People undid or overwrote {hits} of the last {changes} changes it made ({', '.join(names)}; {who}); "
            f"usually about {100 * usual:.2g} in a hundred"
        ),
        observed=hits,
        expected=round(usual * changes, 2),
        limit=config.least_answers if is_hold else (config.least_answers + 1) // 2,
        unit="changes that people undid or overwrote",
        would_clear="changes that people let stand, or a person's release",
        events=(*((source, one) for source, one in state.where if (source, one) != here), here),
        topic="reverts",
        details={
            "undone": sum(kind == 0 for _, kind in latest),
            "overwritten": sum(kind == 1 for _, kind in latest),
            "changes": changes,
            "people": people,
            "who": said.by[:_MOST_NAME_CHARS],
            "odds": round(min(odds, _MOST_EVIDENCE), 1),
            "fields": names,
        },
    )
