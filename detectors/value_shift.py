"""Holds an agent whose values in a field are unlike those that it wrote there before, at whatever speed."""

from __future__ import annotations

from array import array
from math import exp, log
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct
from xxhash import xxh3_64_intdigest

from detectors import value_peers
from detectors.base import Action, Evidence, Mode, Shared, Wanted
from detectors.change_peers import Profiles, short
from events.value_codes import ASPECTS, changes_of, codes_of

DAY_MS = 86_400_000
WARM_UP_DAYS = 7
MOST_FIELDS = 20
SLOTS = 20
TOTAL, USED, NEW, REST, KEYS = range(5)
"""A table's places: changes counted, slots used, how many were new, how many found no slot; then keys, then counts."""
WIDTH = KEYS + 2 * SLOTS
FORGET_AT = 2_000
KNOWN_AT = 60
"""With fewer changes of a field there is no opinion on it, and nothing counts as new."""
_POWERS = (0.1, 0.3, 0.5, 0.7)
_BETS = 2
_STAKE, _RARE_P = 0.1, 0.02
"""The second bet, for wrong values among right ones: a tenth at each change, on a p of at most so much."""
_MOST_EVIDENCE = 200.0
_OPEN = 20
_FROZEN_AT = 3.0
PEERS_DAYS, PEERS_CHANGES = 28, 240
"""For so long, from its first action on, and so many changes of a field an agent is judged by its peers as well."""
_REMIND_PEERS = 4
_MOST_NAME_CHARS = 60
_MOST_ID_CHARS = 120

_packer = msgspec.msgpack.Encoder()


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the value-shift detector."""

    tell_odds: Annotated[float, Meta(ge=1, description="Evidence from which strange values in a field are told.")] = 1e4
    hold_odds: Annotated[float, Meta(ge=1, description="Evidence from which the agent's writes are held.")] = 1e8
    least_strange: Annotated[
        int,
        Meta(ge=1, le=1_000, description="Strange changes of a field at least before it holds; half as many to tell."),
    ] = 8
    chance_factor: Annotated[
        float, Meta(ge=1, description="Rare values may come so many times as often as in the past.")
    ] = 2.0
    learn_after_days: Annotated[
        int, Meta(ge=1, le=90, description="A field told of so many days ago, while nobody minded, is learnt afresh.")
    ] = 7


class FieldState:
    """One field: three tables of what its changes looked like, and the present evidence that they no longer do.

    ``tables`` holds WIDTH numbers for each aspect; ``evidence`` one logarithm for each aspect and bet; ``strange``
    the strange changes of each aspect in the present evidence. ``peers``: what its peers make of a new agent; None for
    others.
    """

    __slots__ = ("evidence", "is_held", "next_told", "peers", "strange", "tables", "told_ms", "where")

    def __init__(self) -> None:
        self.peers: value_peers.Judged | None = None
        self.restart()

    def restart(self) -> None:
        """Nothing is known of this field any more."""
        self.tables = array("q", bytes(8 * WIDTH * len(ASPECTS)))
        self.clear()

    def clear(self) -> None:
        """No evidence at present."""
        self.evidence = array("d", bytes(8 * len(ASPECTS) * _BETS))
        self.strange = [0] * len(ASPECTS)
        self.next_told = [0] * len(ASPECTS)
        self.is_held, self.told_ms = False, 0
        self.where: list[list[str]] = []

    def calm_down(self, aspect: int) -> None:
        """The evidence of one aspect is used up: its strange changes no longer count."""
        if self.strange[aspect]:
            self.strange[aspect] = self.next_told[aspect] = 0
            if not any(self.evidence):
                self.is_held, self.told_ms = False, 0


class ValueState:
    """One agent: its fields by digest, the one that was new last at the end."""

    __slots__ = ("fields", "first_ms", "group")

    def __init__(self) -> None:
        self.group = ""
        self.first_ms = 0
        self.fields: dict[int, FieldState] = {}


class ValueShift:
    """Each changed field against what the agent itself wrote there before.

    Catches: plausible nonsense at ordinary speed: blanks, another form (length, letters, digits, dates), values that
    the field rarely or never got, numbers of another size, numbers and dates that move by other steps than usual, stage
    jumps. Each change is three symbols: form, value (a word; a number's size, if that is not the old one's within a
    factor of two; a date's distance from today), and step (ratio, days, from which value to which). A symbol's p is the
    share of the field's past changes whose symbol was as rare or rarer, times ``chance_factor`` (a conformal p-value
    with a composite null). Two bets are placed: all on the mean of k·p^(k-1) over k = .1, .3, .5, .7, for values that
    are all wrong, and a tenth on p <= .02, for wrong ones among right ones; each never below one (CUSUM of e-values);
    the mean of the two is the evidence. It tells at ``tell_odds`` and holds at ``hold_odds``.

    Cannot: see wrong values that look as its right ones do (a wrong name, a wrong amount of the usual size), wrong
    values in a field whose right ones are all different (free text, but for its form), or in one that it wrote fewer
    than 60 times and its peers do not; judge more than 8 changes of one action, or more than 20 fields (hardly known
    ones make room). Values by people are in another topic and not compared. In its first seven days it only tells.

    Peers: a new agent's fields (28 days, 240 changes of each) are also held against what its role writes there, from
    the first change on. Symbols are usual that two of five agents and more write (of twenty and more: more than a
    tenth), the fewest that are .97 of what each of them writes; where that takes more than 16, or agents differ (but
    for one, or a tenth), anything is usual. Writes of other symbols are bet against a chance of .05, which shrinks to
    the agent's own share of them as of 100 changes, and are told at ``tell_odds``, never held for. The agent's own past
    is learnt and judged beside that as if it had no peers.

    Learning: while there is evidence in a field, its strange changes are not learnt. Who stays below that writes at
    most some 5 strange values in a hundred (what the small bet loses on the others it wins on them), which then
    become usual. A field that was told of ``learn_after_days`` ago and is strange still, while nobody stopped or
    released the agent, is learnt afresh: else a change that nobody minds would blind it for good.

    Parameters: see ``Config``.

    Reference: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World" (2005) for conformal bets; Shin,
    Ramdas, Rinaldo, "E-detectors" (2023, arXiv 2203.03532).
    """

    name: ClassVar[str] = "value_shift"
    state_version: ClassVar[int] = 3
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
        self._profiles = Profiles(value_peers.read)

    def new_state(self, agent_id: str) -> ValueState:
        """The state of an agent never seen before."""
        return ValueState()

    def observe(self, action: Action, state: ValueState) -> Evidence | None:
        """Take one write in; an opinion when the changes of one of its fields have been strange for some time."""
        if not state.first_ms:
            state.first_ms = action.at_ms
        if action.data.outcome != "ok" or not action.kind.is_write:
            return None
        strongest: Evidence | None = None
        today, of = action.at_ms // DAY_MS, action.data.object
        for name, before, after in changes_of(action.data):
            digest = xxh3_64_intdigest(f"{of}\x1f{name}".encode("utf-8", "surrogatepass"))
            field = state.fields.get(digest) or self._new_field(action, state, digest)
            if field is None:
                continue
            codes = codes_of(before, after, today)
            if field.peers is not None:
                said = self._by_peers(action, state, field, digest, codes, name)
                strongest = strongest or said
            for aspect in range(len(ASPECTS)):
                if self._weigh(action, field, aspect, codes[aspect]):
                    said = self._judge(action, state, field, aspect, name)
                    if said is not None and (
                        strongest is None or said.wanted == "hold" or "judged_by" in strongest.details
                    ):
                        strongest = said
        return strongest

    def _weigh(self, action: Action, field: FieldState, aspect: int, code: int) -> bool:
        """Bet on one symbol, then learn it; whether it is strange."""
        tables, base = field.tables, aspect * WIDTH
        total = tables[base + TOTAL]
        rarer, at = _rarer(tables, base, code)
        is_strange = False
        if total >= KNOWN_AT:
            p = min(1.0, self.config.chance_factor * (rarer + 1.0) / (total + 1.0))
            e_value = 0.0
            for power in _POWERS:
                e_value += power * p ** (power - 1.0)
            e_value /= len(_POWERS)
            is_strange = e_value > 1.0
            self._bet(field, aspect, e_value, p <= _RARE_P)
            if is_strange:
                field.strange[aspect] += 1
            if is_strange and max(field.evidence[2 * aspect], field.evidence[2 * aspect + 1]) >= _FROZEN_AT:
                return True
        _learn(tables, base, code, at)
        return is_strange

    def _bet(self, field: FieldState, aspect: int, e_value: float, is_rare: bool) -> None:
        evidence, place = field.evidence, _BETS * aspect
        all_in = evidence[place] + log(e_value)
        a_tenth = evidence[place + 1] + log(1.0 - _STAKE + _STAKE / _RARE_P * is_rare)
        evidence[place] = min(max(all_in, 0.0), _MOST_EVIDENCE)
        evidence[place + 1] = min(max(a_tenth, 0.0), _MOST_EVIDENCE)
        if evidence[place] == 0.0 and evidence[place + 1] == 0.0:
            field.calm_down(aspect)

    def _judge(self, action: Action, state: ValueState, field: FieldState, aspect: int, name: str) -> Evidence | None:
        config, strange = self.config, field.strange[aspect]
        if _is_long_ago(field.told_ms, action.at_ms, config):
            field.restart()
            return None
        logs = field.evidence[_BETS * aspect : _BETS * (aspect + 1)]
        odds = sum(map(exp, logs)) / _BETS
        said = None
        is_first_week = action.at_ms - state.first_ms < WARM_UP_DAYS * DAY_MS
        is_held = odds >= config.hold_odds and strange >= config.least_strange and not is_first_week
        is_told = odds >= config.tell_odds and 2 * strange >= config.least_strange
        is_more = is_held and not field.is_held
        if is_told and (is_more or strange >= field.next_told[aspect]):
            said = _evidence(action, field, aspect, name, "hold" if is_held else "notify", odds, config)
            field.next_told[aspect], field.is_held = 2 * strange, field.is_held or is_held
            field.told_ms = field.told_ms or action.at_ms
        if len(action.source) + len(action.event_id) <= _MOST_ID_CHARS:
            field.where = [*field.where[-1:], [action.source, action.event_id]]
        return said

    # --- peers ---------------------------------------------------------------------------------------------------

    def join(self, state: ValueState, group: str) -> None:
        """The agent has these peers."""
        state.group = group

    def describe(self, state: ValueState, at_ms: int) -> list[int] | None:
        """What it writes into its fields; None while it is new. Fields with evidence are left out."""
        if not state.first_ms or at_ms - state.first_ms < WARM_UP_DAYS * DAY_MS:
            return None
        known = [
            (-field.tables[TOTAL], digest, field)
            for digest, field in state.fields.items()
            if field.tables[TOTAL] >= KNOWN_AT
            and not any(field.next_told)
            and not (field.peers and field.peers.told_ms)
        ]
        told: list[int] = []
        for _, digest, field in sorted(known, key=lambda one: one[:2])[: value_peers.MOST_FIELDS]:
            told += value_peers.describe_field(
                digest, [_counts(field.tables, at * WIDTH) for at in range(len(ASPECTS))]
            )
        return told or None

    def common_profile(self, described: list[list[int]]) -> list[int] | None:
        """What is usual in a role; None when its agents are too few or differ too much."""
        return value_peers.common(described)

    def _usual(self, action: Action, state: ValueState) -> value_peers.Usual:
        values = self.shared.of_peers(state.group, self.name, action.at_ms) if state.group else ()
        found: value_peers.Usual = self._profiles.of(state.group, values) if values else {}
        return found

    def _new_field(self, action: Action, state: ValueState, digest: int) -> FieldState | None:
        field = _field_of(state, digest)
        is_new = action.at_ms - state.first_ms < PEERS_DAYS * DAY_MS
        if field is not None and is_new and short(digest) in self._usual(action, state):
            field.peers = value_peers.Judged()
        return field

    def _by_peers(
        self, action: Action, state: ValueState, field: FieldState, digest: int, codes: tuple[int, ...], name: str
    ) -> Evidence | None:
        """What peers make of one change of a new agent's field."""
        judged, said, config = field.peers, None, self.config
        is_over = action.at_ms - state.first_ms >= PEERS_DAYS * DAY_MS or field.tables[TOTAL] >= PEERS_CHANGES
        if judged is None or is_over or _is_long_ago(judged.told_ms, action.at_ms, config):
            field.peers = None
            return None
        for aspect, usual in enumerate(self._usual(action, state).get(short(digest), ())):
            symbol = value_peers.plain(aspect, codes[aspect])
            if usual is None or symbol is None:
                continue
            is_strange = symbol not in usual
            odds = judged.weigh(aspect, field.tables[aspect * WIDTH + TOTAL], is_strange=is_strange)
            strange = judged.strange[aspect]
            is_told = is_strange and odds >= config.tell_odds and 2 * strange >= config.least_strange
            if is_told and strange >= judged.next_told[aspect]:
                said = said or _peers_evidence(action, judged, aspect, name, odds, config)
                judged.next_told[aspect] = _REMIND_PEERS * strange
                judged.told_ms = judged.told_ms or action.at_ms
            if is_strange and len(action.source) + len(action.event_id) <= _MOST_ID_CHARS:
                judged.where = [action.source, action.event_id]
        return said

    # --- the rest of the protocol --------------------------------------------------------------------------------

    def stopped(self, state: ValueState, at_ms: int) -> None:
        """The agent was stopped: its evidence is answered."""
        for field in state.fields.values():
            field.clear()
            if field.peers is not None:
                field.peers.clear()

    def released(self, state: ValueState, at_ms: int) -> None:
        """A person released it: its evidence starts afresh; what its peers were told to mind is allowed."""
        for field in state.fields.values():
            field.clear()
            if field.peers is not None and field.peers.told_ms:
                field.peers = None

    def dump(self, state: ValueState) -> bytes:
        """The state as bytes."""
        fields = [
            (
                digest,
                [_table(field.tables, aspect * WIDTH) for aspect in range(len(ASPECTS))],
                list(field.evidence),
                field.strange,
                field.next_told,
                field.is_held,
                field.told_ms,
                field.where,
                None if field.peers is None else field.peers.dump(),
            )
            for digest, field in state.fields.items()
        ]
        return _packer.encode((state.first_ms, fields))

    def load(self, agent_id: str, blob: bytes, version: int) -> ValueState:
        """The state from its bytes.

        Version 1 had other symbols for numbers: what it learnt is learnt anew. Version 2 knew nothing of peers.
        """
        if version not in (1, 2, self.state_version):
            raise ValueError(f"value_shift reads state version {self.state_version}, not {version}")
        state = ValueState()
        state.first_ms, fields = msgspec.msgpack.decode(blob)
        if version == 1:
            return state
        for digest, tables, evidence, strange, next_told, is_held, told_ms, where, *peers in fields:
            field = state.fields[digest] = FieldState()
            for aspect, (heads, keys, counts) in enumerate(tables):
                base = aspect * WIDTH
                for at, value in enumerate(heads):
                    field.tables[base + at] = value
                for at, (key, count) in enumerate(zip(keys, counts, strict=True)):
                    field.tables[base + KEYS + at] = key
                    field.tables[base + KEYS + SLOTS + at] = count
            field.evidence = array("d", evidence)
            field.strange, field.next_told, field.where = strange, next_told, where
            field.is_held, field.told_ms = is_held, told_ms
            field.peers = value_peers.Judged.load(peers[0]) if any(peers) else None
        return state


# --- tables ------------------------------------------------------------------------------------------------------


def _field_of(state: ValueState, digest: int) -> FieldState | None:
    """The field's profile; where all places are taken, the least written one goes if it is hardly known."""
    fields = state.fields
    field = fields.get(digest)
    if field is None:
        if len(fields) >= MOST_FIELDS:
            least = min(fields, key=lambda one: fields[one].tables[TOTAL])
            if fields[least].tables[TOTAL] >= KNOWN_AT:
                return None
            del fields[least]
        field = fields[digest] = FieldState()
    return field


def _rarer(tables: array[int], base: int, code: int) -> tuple[int, int]:
    """How many past changes had a symbol as rare as this one or rarer, and its slot (SLOTS: the rest; -1: new)."""
    used, rest, new = tables[base + USED], tables[base + REST], tables[base + NEW]
    keys, counts = base + KEYS, base + KEYS + SLOTS
    at = -1
    for slot in range(used):
        if tables[keys + slot] == code:
            at = slot
            break
    if at < 0:
        if used < SLOTS:
            return new, -1
        count, at = rest, SLOTS
    else:
        count = tables[counts + at]
    rarer = rest if rest <= count else 0
    for slot in range(used):
        if tables[counts + slot] <= count:
            rarer += tables[counts + slot]
    return (rarer if rarer > new else new), at


def _learn(tables: array[int], base: int, code: int, at: int) -> None:
    if at == SLOTS:
        tables[base + REST] += 1
    elif at >= 0:
        tables[base + KEYS + SLOTS + at] += 1
    else:
        used = tables[base + USED]
        tables[base + KEYS + used] = code
        tables[base + KEYS + SLOTS + used] = 1
        tables[base + USED] = used + 1
        tables[base + NEW] += tables[base + TOTAL] >= KNOWN_AT
    tables[base + TOTAL] += 1
    if tables[base + TOTAL] >= FORGET_AT:
        _forget(tables, base)


def _forget(tables: array[int], base: int) -> None:
    """Halve all counts; what is left with none makes room, but not where symbols are many: there they stay the rest."""
    keys, counts = base + KEYS, base + KEYS + SLOTS
    is_open = _OPEN * tables[base + REST] >= tables[base + TOTAL]
    kept = [
        (tables[keys + slot], tables[counts + slot] // 2)
        for slot in range(tables[base + USED])
        if is_open or tables[counts + slot] >= 2
    ]
    for slot in range(SLOTS):
        tables[keys + slot], tables[counts + slot] = kept[slot] if slot < len(kept) else (0, 0)
    tables[base + USED] = len(kept)
    tables[base + NEW] //= 2
    tables[base + REST] //= 2
    tables[base + TOTAL] = tables[base + REST] + sum(count for _, count in kept)


def _table(tables: array[int], base: int) -> tuple[list[int], list[int], list[int]]:
    used, keys = tables[base + USED], base + KEYS
    return list(tables[base:keys]), list(tables[keys : keys + used]), list(tables[keys + SLOTS : keys + SLOTS + used])


def _counts(tables: array[int], base: int) -> tuple[int, dict[int, int]]:
    """How many changes are counted, and how many of them had each symbol."""
    heads, keys, counts = _table(tables, base)
    return max(heads[TOTAL], 1), dict(zip(keys, counts, strict=True))


def _is_long_ago(told_ms: int, at_ms: int, config: Config) -> bool:
    """Whether it was told, and nobody minded."""
    return bool(told_ms) and at_ms - told_ms >= config.learn_after_days * DAY_MS


# --- words -------------------------------------------------------------------------------------------------------

_WHAT = {
    "form": "of another form than it ever wrote there, or blank",
    "value": "that it hardly ever wrote there",
    "step": "that moved by unusual steps",
}


def _evidence(
    action: Action, field: FieldState, aspect: int, name: str, wanted: Wanted, odds: float, config: Config
) -> Evidence:
    of, strange, total = action.data.object, field.strange[aspect], field.tables[aspect * WIDTH + TOTAL]
    what = f"{of[:_MOST_NAME_CHARS]} {name[:_MOST_NAME_CHARS]}" if isinstance(of, str) else name[:_MOST_NAME_CHARS]
    return Evidence(
        wanted=wanted,
        severity="critical" if wanted == "hold" else "warning",
        summary=f"{strange} values of {what} {_WHAT[ASPECTS[aspect]]}, compared with its last {total} changes of it",
        observed=float(f"{min(odds, 1e15):.4g}"),
        expected=1.0,
        limit=config.hold_odds if wanted == "hold" else config.tell_odds,
        unit=f"odds against chance of the {ASPECTS[aspect]} of the field's new values",
        would_clear="usual values in this field, or a person's release",
        events=(*((source, one) for source, one in field.where), (action.source, action.event_id)),
        topic=f"{what[:40]} {ASPECTS[aspect]}",
        details={"strange": strange, "compared_with": total, "field": name[:_MOST_NAME_CHARS]},
    )


_TO_PEERS = {
    "form": "of another form than its peers write there, or blank",
    "value": "that its peers hardly ever write there",
    "step": "that moved by other steps than its peers make there",
}


def _peers_evidence(
    action: Action, judged: value_peers.Judged, aspect: int, name: str, odds: float, config: Config
) -> Evidence:
    of, strange = action.data.object, judged.strange[aspect]
    what = f"{of[:_MOST_NAME_CHARS]} {name[:_MOST_NAME_CHARS]}" if isinstance(of, str) else name[:_MOST_NAME_CHARS]
    before = [(judged.where[0], judged.where[1])] if judged.where else []
    return Evidence(
        wanted="notify",
        severity="warning",
        summary=f"{strange} values of {what} {_TO_PEERS[ASPECTS[aspect]]}",
        observed=float(f"{min(odds, 1e15):.4g}"),
        expected=1.0,
        limit=config.tell_odds,
        unit=f"odds against chance of the {ASPECTS[aspect]} of the field's values, by what peers write",
        would_clear="values in this field as its peers write them, or a person's release",
        events=(*before, (action.source, action.event_id)),
        topic=f"{what[:40]} {ASPECTS[aspect]} by peers",
        details={"strange": strange, "field": name[:_MOST_NAME_CHARS], "judged_by": "peers"},
    )
