"""Tells of an agent that usually looks at a record before it writes, and stopped doing so."""

from __future__ import annotations

from struct import pack, unpack
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct
from xxhash import xxh3_64_intdigest

from detectors.base import Action, Evidence, Shared, Wanted
from detectors.statistics import longest_expected_run, shrunk_probability

_MOST_RECORDS = 1_024
_CROWDED = 512
_MOST_OBJECTS = 24
_MOST_NAME_CHARS = 40
_MOST_IDS = 64
_LEAST_RUN = 5
_LEAST_WRITES = 50
_LEARN_RUN = 4
"""A run is learnt as it grows up to here and no further: a long one is there to be told."""
_FORGET_AT = 2_000
_LIKELIEST = 0.95
_MINUTE_MS = 60_000

_packer = msgspec.msgpack.Encoder()


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the write-without-read detector."""

    false_runs_per_month: Annotated[
        float, Meta(gt=0, description="Runs by chance that are accepted a month, given the agent's own habit.")
    ] = 0.01
    writes_per_month: Annotated[int, Meta(ge=1, description="Writes a month for which that budget is reckoned.")] = (
        20_000
    )
    most_blind_share: Annotated[
        float,
        Meta(gt=0, lt=1, description="An agent of whose writes more than this share are blind has no such habit."),
    ] = 0.2
    prior_repeat_share: Annotated[
        float, Meta(gt=0, lt=0.95, description="Share of blind writes that another one follows, before it is known.")
    ] = 0.5
    search_minutes: Annotated[
        int, Meta(ge=1, le=1440, description="A search that names no records covers its object for so many minutes.")
    ] = 15


class ReadState:
    """One agent: records it knows, searches, how often its writes are blind, and the present run of blind writes.

    ``starts`` and ``after`` count writes after a sighted and after a blind one, [all, blind].
    """

    __slots__ = ("after", "known", "next_run", "run", "searched", "starts")

    def __init__(self) -> None:
        self.known: dict[int, None] = {}
        self.searched: dict[str, int] = {}
        self.starts, self.after = [0, 0], [0, 0]
        self.run = self.next_run = 0


class WriteWithoutRead:
    """The run of writes to records that the agent never read, found, created or wrote before.

    Catches: an agent that looks at its records before it changes them, until it begins to write by ids that it has
    from elsewhere: made up, from a prompt, from an old list. A write is sighted when one of its records is among the
    last 1,024 that the agent read, created or wrote, or when it searched that object (a read that names no records)
    in the last ``search_minutes``. The null is the agent's own habit: how often a blind write follows a sighted one,
    and a blind one, each shrunk to a prior; it speaks when chance makes a run as long as this at most
    ``false_runs_per_month`` times a month, then only when the run has doubled.

    Cannot: judge agents that do not read, or whose reads are not reported (more than ``most_blind_share`` of their
    writes are blind: no opinion), or one with fewer than 50 writes; tell a search that found the record from one
    that did not; see a single blind write, which is usual. A nightly list of new records written for the first time
    looks the same and is told once. An agent that lets its share of blind writes grow slowly is told less and less.

    Parameters: see ``Config``. It only tells. It is off unless ``is_enabled`` is set, as it reads every action and is
    no part of the compiled path.

    Reference: "write without a preceding read", docs/benchmarks.md; Feller (1968), XIII.7, for success runs.
    """

    name: ClassVar[str] = "write_without_read"
    state_version: ClassVar[int] = 1
    judges: ClassVar[Literal["attempts", "outcomes", "all"]] = "outcomes"
    is_hard: ClassVar[bool] = True
    is_on_by_default: ClassVar[bool] = False
    asks_at_most: ClassVar[Wanted] = "notify"
    max_state_bytes: ClassVar[int] = 16_384
    Config: ClassVar[type[Struct]] = Config

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None:
        self.config: Config = config if config is not None else Config()
        self._search_ms = self.config.search_minutes * _MINUTE_MS

    def new_state(self, agent_id: str) -> ReadState:
        """The state of an agent never seen before."""
        return ReadState()

    def observe(self, action: Action, state: ReadState) -> Evidence | None:
        """Take one successful call in; an opinion when a run of blind writes is longer than chance makes it."""
        data = action.data
        if data.outcome != "ok":
            return None
        ids = data.record_ids
        if ids is UNSET or not ids:
            if not action.kind.is_write:
                _search(state, data.object, action.at_ms)
            return None
        known = state.known
        is_sighted = not action.kind.is_write or data.action.endswith(".create")
        is_judged = not is_sighted
        for one in ids if len(ids) <= _MOST_IDS else ids[:_MOST_IDS]:
            digest = xxh3_64_intdigest(one.encode("utf-8", "surrogatepass"))
            if digest in known:
                is_sighted = True
                if len(known) < _CROWDED:  # far from full, the order does not matter yet
                    continue
                del known[digest]
            elif len(known) >= _MOST_RECORDS:
                del known[next(iter(known))]
            known[digest] = None
        if not is_judged:
            return None
        if is_sighted or self._has_searched(state, data.object, action.at_ms):
            _sighted(state)
            return None
        return self._blind(action, state)

    def _has_searched(self, state: ReadState, of: Any, at_ms: int) -> bool:
        at = state.searched.get(_name(of))
        return at is not None and at_ms - at <= self._search_ms

    def _blind(self, action: Action, state: ReadState) -> Evidence | None:
        state.run += 1
        evidence = self._judge(action, state) if state.run >= _LEAST_RUN else None
        if state.run <= _LEARN_RUN:
            counts = state.starts if state.run == 1 else state.after
            counts[0] += 1
            counts[1] += 1
        return evidence

    def _judge(self, action: Action, state: ReadState) -> Evidence | None:
        config, (writes, blind) = self.config, state.starts
        p_start = shrunk_probability(blind, writes, config.most_blind_share, 20.0)
        if writes < _LEAST_WRITES or p_start > config.most_blind_share or state.run < state.next_run:
            return None
        p_again = min(shrunk_probability(state.after[1], state.after[0], config.prior_repeat_share, 8.0), _LIKELIEST)
        limit = longest_expected_run(p_start, p_again, config.writes_per_month, config.false_runs_per_month)
        if state.run < limit:
            return None
        state.next_run = 2 * state.run
        return _evidence(action, state, limit)

    def dump(self, state: ReadState) -> bytes:
        """The state as bytes."""
        known = pack(f"<{len(state.known)}Q", *state.known)
        counts = (*state.starts, *state.after, state.run, state.next_run)
        return _packer.encode((known, list(state.searched.items()), counts))

    def load(self, agent_id: str, blob: bytes, version: int) -> ReadState:
        """The state from its bytes."""
        if version != self.state_version:
            raise ValueError(f"write_without_read reads state version {self.state_version}, not {version}")
        known, searched, counts = msgspec.msgpack.decode(blob)
        state = ReadState()
        state.known = dict.fromkeys(unpack(f"<{len(known) // 8}Q", known))
        state.searched = dict(searched)
        state.starts, state.after = list(counts[:2]), list(counts[2:4])
        state.run, state.next_run = counts[4:]
        return state


def _name(of: Any) -> str:
    return of[:_MOST_NAME_CHARS] if isinstance(of, str) else ""


def _search(state: ReadState, of: Any, at_ms: int) -> None:
    searched, name = state.searched, _name(of)
    searched.pop(name, None)
    searched[name] = at_ms
    if len(searched) > _MOST_OBJECTS:
        del searched[next(iter(searched))]


def _sighted(state: ReadState) -> None:
    counts = state.after if state.run else state.starts
    counts[0] += 1
    state.run = state.next_run = 0
    for each in (state.starts, state.after):
        if each[0] >= _FORGET_AT:
            each[:] = [each[0] // 2, each[1] // 2]


def _evidence(action: Action, state: ReadState, limit: int) -> Evidence:
    writes, blind = state.starts
    what = _name(action.data.object) or "records"
    usual = f"1 in {round(writes / blind)}" if blind else "none"
    return Evidence(
        wanted="notify",
        severity="warning",
        summary=f"{state.run} writes in a row to {what} that it never looked at; usually {usual} of its writes is such",
        observed=state.run,
        expected=round(blind / writes, 4),
        limit=limit,
        unit="writes in a row without a look at the record",
        would_clear="a look at the record before it is written",
        events=((action.source, action.event_id),),
        topic="blind writes",
    )
