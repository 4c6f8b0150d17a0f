"""Holds an agent that begins to write to objects, fields or owners that it never touched."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from math import exp, log
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct
from xxhash import xxh3_64_intdigest

from detectors import change_peers
from detectors.base import Action, Evidence, Mode, Shared, Wanted
from detectors.rate_words import ordinal

DAY_MS = 86_400_000
WARM_UP_DAYS = 7
MOST_KNOWN = (256, 768, 512)
"""So many uses (an action on an object), fields and owners are known of an agent."""
_MOST_FRESH = 32
_MOST_GAPS = 16
_MOST_NAME_CHARS = 60
_MOST_ID_CHARS = 120
_BETS = (0.5, 0.05)
"""Shares of writes to new things that are bet on: nothing else any more, and now and then among its usual work."""
_LIKELIEST = 0.04
"""A new thing that is likelier than this from one write to the next is no surprise."""
_PRIOR_PAUSES, _PRIOR_PAUSE_WRITES = 2, 20
_LEAST_CHANCE = 0.001
PEERS_DAYS = 28
"""For so long, from its first action on, an agent is judged by its peers where it has no past of its own."""
_PEERS_WRITES = 100
"""What peers say weighs as much as so many writes of the agent itself."""
_LEAST_PEERS_CHANCE = 0.02
_REMIND_PEERS = 4
_SETTLED_WRITES = 100
_MOST_EVIDENCE = 100.0
_MOST_BLAST = 100
_HARMLESS = 1
_GRAVE = ("record.delete", "record.merge")
_KINDS = ("use", "field", "owner")

_packer = msgspec.msgpack.Encoder()


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the unexpected-change detector."""

    tell_odds: Annotated[
        float, Meta(ge=1, description="Evidence (times its blast radius) from which new things are told.")
    ] = 25.0
    hold_odds: Annotated[
        float, Meta(ge=1, description="Evidence (times its blast radius) from which writes are held.")
    ] = 1_000.0
    quiet_factor: Annotated[
        float,
        Meta(ge=1, description="Only after so many times its longest pause between new things is one a surprise."),
    ] = 2.0
    pause_chance: Annotated[
        float,
        Meta(gt=0, lt=1, description="Nor where its last n pauses make this one likelier than this over n squared."),
    ] = 1e-3
    chance_factor: Annotated[
        float,
        Meta(ge=1, description="New things may be so many times as frequent as one in the writes since the last."),
    ] = 2.0
    learn_after_days: Annotated[
        int,
        Meta(ge=1, le=90, description="New things are learnt when there was none, or nobody minded, for so many days."),
    ] = 7


class Dimension:
    """One agent and one kind of thing: what it knows, when something new came, and the present new things.

    ``known`` maps digests to 1 (met once) or 2; ``once`` counts the former. Places are counts of writes of this kind.
    ``is_by_peers``: the present new things are new to the agent's peers, while its own past says nothing. ``strange``:
    how many such things were learnt.
    """

    __slots__ = (
        "chance", "days", "evidence", "fresh", "gaps", "hit_at", "hit_ms", "is_by_peers", "is_grave", "is_held",
        "known", "last_ms", "last_new", "next_touch", "once", "since_ms", "strange", "touches", "weight", "where",
    )  # fmt: skip

    def __init__(self) -> None:
        self.known: dict[int, int] = {}
        self.once = self.last_new = self.last_ms = self.strange = 0
        self.gaps: list[int] = []
        self.days: list[int] = []
        self.clear()

    def clear(self) -> None:
        """No new things at present."""
        self.fresh: dict[int, int] = {}
        self.evidence = [0.0] * len(_BETS)
        self.chance = 0.0
        self.weight = 1
        self.touches = self.hit_at = self.hit_ms = self.since_ms = self.next_touch = 0
        self.is_grave = self.is_held = self.is_by_peers = False
        self.where: list[list[str]] = []


class ChangeState:
    """One agent: per kind of thing how often it was written, and what is known of it.

    ``known`` are the dimensions' own dicts, for the compiled path.
    """

    __slots__ = ("counts", "dimensions", "fields", "first_ms", "group", "owners", "uses")

    def __init__(self) -> None:
        self.group = ""
        self.first_ms = 0
        self.counts = array("q", [0] * len(_KINDS))
        self.dimensions = [Dimension() for _ in _KINDS]
        self.uses, self.fields, self.owners = (one.known for one in self.dimensions)


class UnexpectedChange:
    """The second and third write to what an agent with an established history never wrote before.

    Catches: an agent that works on its own objects, fields and owners, until it begins to write to another object, to
    do something to an object that it never did (delete, reassign), to another field, or to records of another owner.
    Each of the three kinds is judged by itself. With q writes since the last new thing, and s things met only once,
    the next is new with a chance of at most p0 = ``chance_factor`` · (1 + s) / q, never taken as less than .001
    (Laplace; Good and Turing). From the first new thing on, writes to new things are bet against that chance,
    (p/p0)^hit · ((1-p)/(1-p0))^miss, as the mean of a bet on half of all writes and one on a twentieth, each never
    below one (a CUSUM of e-values). The first new thing is no evidence, as each agent meets one sometimes. It tells
    at ``tell_odds``, so after two writes in a row with some 100 quiet ones before, and holds at ``hold_odds``, after
    three with some 130. Odds are multiplied by the blast radius: records in the operation (at most 100), 10 if it
    can't be undone, 3 if it leaves the house. A new action on a known object is only told unless it deletes, merges
    or has a blast radius.

    Cannot: judge a kind in which new things keep coming (each account has an owner of its own): it speaks only after
    ``quiet_factor`` times the longest but one of the last 16 pauses between new things, in writes and in time, and
    when the pause is less likely than ``pause_chance`` / n² after those n, the longest left out (Lomax); nor a kind of
    which more than the remembered number is known, so that an agent that invents names from its first day on blinds
    it for that kind. Tell a new task from a wrong one: it does not know what peers do. See reads, failing calls, or
    what the record does not say (``changes``, ``owner_id``; segments, which records do not name). In the first seven
    days it only tells.

    Learning: while new things count they are not learnt; one that is met once or twice and then not for
    ``learn_after_days`` is. So who stays below it gets two writes to new things a week unseen, and what was written
    so is known then. What was told or held for is learnt when a person releases the agent, or after
    ``learn_after_days`` in which nobody stopped it: else a new task that nobody minds would blind its kind for good.

    Parameters: see ``Config``.

    Reference: Witten and Bell (1991), Good (1953) for the chance of the new; Shin, Ramdas, Rinaldo, "E-detectors"
    (2023, arXiv 2203.03532).
    """

    name: ClassVar[str] = "unexpected_change"
    state_version: ClassVar[int] = 2
    judges: ClassVar[Literal["attempts", "outcomes", "all"]] = "outcomes"
    is_hard: ClassVar[bool] = True
    default_mode: ClassVar[Mode] = "warn"
    asks_at_most: ClassVar[Wanted] = "hold"
    max_state_bytes: ClassVar[int] = 24_576
    most_described: ClassVar[int] = 16
    Config: ClassVar[type[Struct]] = Config

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None:
        self.config: Config = config if config is not None else Config()
        self.shared = shared if shared is not None else Shared()
        self._profiles = change_peers.Profiles(change_peers.read)

    def new_state(self, agent_id: str) -> ChangeState:
        """The state of an agent never seen before."""
        return ChangeState()

    def observe(self, action: Action, state: ChangeState) -> Evidence | None:
        """Take one write in; an opinion when it and those before it are to things that the agent never touched."""
        if not state.first_ms:
            state.first_ms = action.at_ms
        if action.data.outcome != "ok" or not action.kind.is_write:
            return None
        strongest: Evidence | None = None
        for index, things in enumerate((_uses(action), _fields(action), _owners(action))):
            said = self._kind(action, state, index, things)
            if said is not None and (strongest is None or said.wanted == "hold"):
                strongest = said
        return strongest

    def _kind(
        self, action: Action, state: ChangeState, index: int, things: Iterator[tuple[int, str]]
    ) -> Evidence | None:
        dim, known, counts = state.dimensions[index], state.dimensions[index].known, state.counts
        hit = ""
        for digest, name in things:
            counts[index] += 1
            met = known.get(digest)
            if met is None:
                if self._is_new(action, state, index, digest):
                    hit = name
                elif index == 0:
                    known[_digest(action.data.object, "")] = 2
            elif met == 1:
                known[digest] = 2
                dim.once -= 1
        return self._hit(action, state, index, hit) if hit else None

    def _is_new(self, action: Action, state: ChangeState, index: int, digest: int) -> bool:
        """Whether this unknown thing is one that counts; else it is learnt."""
        dim, place = state.dimensions[index], state.counts[index]
        if dim.touches and self._is_over(action, dim, state, index):
            _settle(dim, index)
            if digest in dim.known:
                return False
        if not dim.touches and not self._begins(action, dim, state, index, digest):
            _learn(dim, index, digest, place, action.at_ms)
            return False
        if dim.is_by_peers and self._is_usual(action, state, index, digest):
            _learn(dim, index, digest, place, action.at_ms)
            return False
        if len(dim.fresh) < _MOST_FRESH or digest in dim.fresh:
            dim.fresh[digest] = min(dim.fresh.get(digest, 0) + 1, 2)
        return True

    def _begins(self, action: Action, dim: Dimension, state: ChangeState, index: int, digest: int) -> bool:
        """Whether with this thing something begins that is no usual work: by its own past, else by its peers."""
        if len(dim.known) >= MOST_KNOWN[index]:
            return False
        chance, is_by_peers = self._chance(action, dim, state.counts[index]), False
        if chance > _LIKELIEST and not self._is_usual(action, state, index, digest):
            chance, is_by_peers = self._peers_chance(action, dim, state, index), True
        if chance > _LIKELIEST:
            return False
        dim.chance, dim.since_ms, dim.is_by_peers = chance, action.at_ms, is_by_peers
        return True

    def _is_over(self, action: Action, dim: Dimension, state: ChangeState, index: int) -> bool:
        """Whether the new things before are to be learnt.

        They came in the first week, or there was none for long, or they were told long ago and nobody ended them. What
        only peers find strange: also when the agent's own past can tell by now.
        """
        week_ms = state.first_ms + WARM_UP_DAYS * DAY_MS
        if dim.is_by_peers:
            if self._chance(action, dim, state.counts[index]) <= _LIKELIEST or not self._usual(action, state, index):
                return True
        elif dim.since_ms < week_ms:
            return dim.next_touch > 0 or action.at_ms >= week_ms
        since_ms = dim.since_ms if dim.next_touch else dim.hit_ms
        return action.at_ms - since_ms >= self.config.learn_after_days * DAY_MS

    def _chance(self, action: Action, dim: Dimension, place: int) -> float:
        """How likely something new is, from one write to the next; 1 where new things keep coming."""
        if not dim.gaps:
            return 1.0
        config, quiet, passed_ms = self.config, place - dim.last_new, action.at_ms - dim.last_ms
        gaps, days = sorted(dim.gaps), sorted(dim.days)
        if len(gaps) > 1:  # the longest one is left out: one new thing must not blind it to the next
            gaps, days = gaps[:-1], days[:-1]
        if quiet < config.quiet_factor * gaps[-1] or passed_ms < config.quiet_factor * days[-1]:
            return 1.0
        pauses, writes = len(gaps) + _PRIOR_PAUSES, sum(gaps) + _PRIOR_PAUSES * _PRIOR_PAUSE_WRITES
        if (1.0 + quiet / writes) ** -pauses > config.pause_chance / len(gaps) ** 2:
            return 1.0
        return min(max(config.chance_factor * (1 + dim.once) / quiet, _LEAST_CHANCE), 1.0)

    # --- peers ---------------------------------------------------------------------------------------------------

    def join(self, state: ChangeState, group: str) -> None:
        """The agent has these peers."""
        state.group = group

    def describe(self, state: ChangeState, at_ms: int) -> list[int] | None:
        """What it writes to; None while it is new, wrote little, or was told of lately."""
        if not state.first_ms or at_ms - state.first_ms < WARM_UP_DAYS * DAY_MS or state.counts[0] < _SETTLED_WRITES:
            return None
        if any(dim.next_touch for dim in state.dimensions):
            return None
        return change_peers.describe(state.counts, [dim.known for dim in state.dimensions])

    def common_profile(self, described: list[list[int]]) -> list[int] | None:
        """What is usual in a role; None when its agents are too few or differ too much."""
        return change_peers.common(described)

    def _usual(self, action: Action, state: ChangeState, index: int) -> change_peers.Usual | None:
        """What is usual among the agent's peers; None where nothing is, or it is no new agent any more."""
        if not state.group or action.at_ms - state.first_ms >= PEERS_DAYS * DAY_MS:
            return None
        values = self.shared.of_peers(state.group, self.name, action.at_ms)
        found: change_peers.Usual | None = self._profiles.of(state.group, values)[index] if values else None
        return found

    def _is_usual(self, action: Action, state: ChangeState, index: int, digest: int) -> bool:
        """Whether peers do the same, or nothing is known of them."""
        usual = self._usual(action, state, index)
        return usual is None or change_peers.short(digest) in usual.things

    def _peers_chance(self, action: Action, dim: Dimension, state: ChangeState, index: int) -> float:
        """How likely one more thing that peers don't touch is, from one write to the next."""
        usual = self._usual(action, state, index)
        if usual is None:
            return 1.0
        common = max(self.config.chance_factor * usual.chance, _LEAST_PEERS_CHANCE)
        shrunk = (_PEERS_WRITES * common + dim.strange) / (_PEERS_WRITES + state.counts[index])
        return min(max(shrunk, _LEAST_CHANCE), 1.0)

    # --- evidence ------------------------------------------------------------------------------------------------

    def _hit(self, action: Action, state: ChangeState, index: int, name: str) -> Evidence | None:
        dim, place = state.dimensions[index], state.counts[index]
        if dim.touches:
            between = max(place - dim.hit_at - 1, 0)
            for at, bet in enumerate(_BETS):
                gained = log(bet / dim.chance) + between * log((1.0 - bet) / (1.0 - dim.chance))
                dim.evidence[at] = min(max(dim.evidence[at] + gained, 0.0), _MOST_EVIDENCE)
        dim.touches += 1
        dim.hit_at, dim.hit_ms = place, action.at_ms
        dim.weight = max(dim.weight, _blast(action))
        dim.is_grave = (
            dim.is_grave
            or index > 0
            or action.data.action in _GRAVE
            or dim.weight > _HARMLESS
            or (_digest(action.data.object, "") not in dim.known)
        )
        odds = dim.weight * sum(map(exp, dim.evidence)) / len(_BETS)
        return self._judge(action, state, index, name, odds)

    def _judge(self, action: Action, state: ChangeState, index: int, name: str, odds: float) -> Evidence | None:
        dim, config = state.dimensions[index], self.config
        is_first_week = action.at_ms - state.first_ms < WARM_UP_DAYS * DAY_MS
        is_held = odds >= config.hold_odds and dim.is_grave and not is_first_week and not dim.is_by_peers
        wanted: Wanted = "hold" if is_held else "notify"
        is_more = wanted == "hold" and not dim.is_held
        said = None
        if odds >= config.tell_odds and (is_more or dim.touches >= dim.next_touch):
            dim.is_held = dim.is_held or wanted == "hold"
            dim.next_touch = (_REMIND_PEERS if dim.is_by_peers else 2) * dim.touches
            said = _evidence(action, state, index, name, wanted, odds, config)
        if len(dim.where) < 2 and len(action.source) + len(action.event_id) <= _MOST_ID_CHARS:
            dim.where.append([action.source, action.event_id])
        return said

    # --- the rest of the protocol --------------------------------------------------------------------------------

    def renew(self, state: ChangeState, at_ms: int) -> None:
        """A declared new version: for a week it only tells, and learns; what was known before is known."""
        if state.first_ms:
            state.first_ms = at_ms

    def stopped(self, state: ChangeState, at_ms: int) -> None:
        """The agent was stopped: its new things are not learnt."""
        for dim in state.dimensions:
            dim.clear()

    def released(self, state: ChangeState, at_ms: int) -> None:
        """A person released it: the new things that led to it are allowed from now on."""
        for index, dim in enumerate(state.dimensions):
            _settle(dim, index)

    def dump(self, state: ChangeState) -> bytes:
        """The state as bytes."""
        dimensions = [[list(dim.known.items()), *(getattr(dim, name) for name in _KEPT)] for dim in state.dimensions]
        return _packer.encode((state.first_ms, list(state.counts), dimensions))

    def load(self, agent_id: str, blob: bytes, version: int) -> ChangeState:
        """The state from its bytes. Version 1 knew nothing of peers."""
        if version not in (1, self.state_version):
            raise ValueError(f"unexpected_change reads state version {self.state_version}, not {version}")
        state = ChangeState()
        state.first_ms, counts, dimensions = msgspec.msgpack.decode(blob)
        state.counts = array("q", counts)
        kept = [name for name in _KEPT if version > 1 or name not in _SINCE_2]
        for dim, (known, *values) in zip(state.dimensions, dimensions, strict=True):
            dim.known.update(known)
            for name, value in zip(kept, values, strict=True):
                setattr(dim, name, value)
        return state


_SINCE_2 = ("is_by_peers", "strange")
_KEPT = tuple(name for name in Dimension.__slots__ if name != "known")

# --- what a write touches ----------------------------------------------------------------------------------------


def _digest(first: object, second: str) -> int:
    return xxh3_64_intdigest(f"{first}\x1f{second}".encode("utf-8", "surrogatepass"))


def _uses(action: Action) -> Iterator[tuple[int, str]]:
    data = action.data
    yield _digest(data.object, data.action), f"{data.action} on {data.object or 'no object'}"


def _fields(action: Action) -> Iterator[tuple[int, str]]:
    changes = action.data.changes
    if changes is UNSET:
        return
    of = action.data.object
    for fields in changes.values():
        for name in fields:
            yield _digest(of, name), f"the field {name}"


def _owners(action: Action) -> Iterator[tuple[int, str]]:
    owner = action.data.owner_id
    if isinstance(owner, str):
        yield xxh3_64_intdigest(owner.encode("utf-8", "surrogatepass")), f"records of {owner}"


def _blast(action: Action) -> int:
    weight = min(max(action.records, 1), _MOST_BLAST)
    return weight * (1 if action.kind.is_reversible else 10) * (3 if action.is_external else 1)


# --- learning ----------------------------------------------------------------------------------------------------


def _learn(dim: Dimension, index: int, digest: int, place: int, at_ms: int) -> None:
    """A new thing becomes known, and its pause usual."""
    known = dim.known
    if len(known) >= MOST_KNOWN[index]:
        oldest = next(iter(known))
        dim.once -= known.pop(oldest) == 1
    known[digest] = 1
    dim.once += 1
    if dim.last_ms:
        dim.gaps = [*dim.gaps[1 - _MOST_GAPS :], place - dim.last_new]
        dim.days = [*dim.days[1 - _MOST_GAPS :], at_ms - dim.last_ms]
    else:
        dim.gaps, dim.days = [0], [0]
    dim.last_new, dim.last_ms = place, at_ms


def _settle(dim: Dimension, index: int) -> None:
    """The new things are over: known now."""
    for digest, times in dim.fresh.items():
        _learn(dim, index, digest, dim.hit_at, dim.hit_ms)
        if times > 1:
            dim.known[digest] = 2
            dim.once -= 1
    dim.strange += len(dim.fresh) * dim.is_by_peers
    dim.clear()


# --- words -------------------------------------------------------------------------------------------------------


def _evidence(
    action: Action, state: ChangeState, index: int, name: str, wanted: Wanted, odds: float, config: Config
) -> Evidence:
    dim, kind = state.dimensions[index], _KINDS[index]
    things = len(dim.fresh)
    many = (
        f"{ordinal(dim.touches)} write to things that it never touched, now"
        if things > 1
        else f"{ordinal(dim.touches)} write:"
    )
    before = state.counts[index] - dim.touches
    why = "which none of its peers writes to" if dim.is_by_peers else f"which is new to it after {before} writes"
    return Evidence(
        wanted=wanted,
        severity="critical" if wanted == "hold" else "warning",
        summary=f"{many} {name[:_MOST_NAME_CHARS]}, {why}",
        observed=round(min(odds, 1e15), 1),
        expected=round(dim.chance, 6),
        limit=config.hold_odds if wanted == "hold" else config.tell_odds,
        unit=f"odds against chance, with blast radius, of writes to a new {kind}",
        would_clear="a person's release, after which the new things are known",
        events=(*((source, one) for source, one in dim.where), (action.source, action.event_id)),
        topic=f"{kind} by peers" if dim.is_by_peers else kind,
        details={"writes_to_new": dim.touches, "new": things, "known": len(dim.known), "blast": dim.weight}
        | ({"judged_by": "peers"} if dim.is_by_peers else {}),
    )
