"""Stops an agent that keeps failing on the same kind of record."""

from __future__ import annotations

from math import log
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct, UnsetType
from xxhash import xxh3_64_intdigest

from detectors.base import Action, Cause, Evidence, Shared, Wanted
from detectors.rate_words import ordinal
from detectors.statistics import (
    bernoulli_e_value,
    shiryaev_roberts,
    shrunk_probability,
)

OTHER = "other"
_MAX_OBJECTS = 24
_MAX_CELLS = 64
_MAX_NAME_CHARS = 40
_LEARN_RUN = 4
"""A run is learnt when a success ends it, a longer one as if it had this length: those are there to be stopped."""
_MORE_ALONE = 3
"""An opinion waits for so many more errors while nobody else was heard, …"""
_TIMES_TOGETHER = 4
"""… and until so many times ``run_errors`` while those that were heard fail alike."""
_FORGET_AT = 2_000.0
_STATISTIC_CAP = 1e12
_COMPOSITE = 1.5
_LEAST_STATISTIC = 2.0  # a sum that successes brought down this far is dropped: later evidence starts afresh
_MOST_LIKELY_ERROR = 0.95
_TRANSIENT = (
    "timeout", "timed_out", "unavailable", "rate_limit", "ratelimit", "request_limit", "too_many_requests", "429",
    "500", "502", "503", "504", "lock_row", "outage", "connection",
)  # fmt: skip

_pack = msgspec.msgpack.Encoder()


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the repeated-errors detector."""

    run_errors: Annotated[
        int,
        Meta(ge=2, le=1000, description="Errors in a row on a record type that stop an agent not known to fail more."),
    ] = 5
    transient_run_errors: Annotated[
        int, Meta(ge=2, le=10_000, description="The same for errors that say the CRM is down or busy; below: throttle.")
    ] = 60
    false_runs_per_month: Annotated[
        float, Meta(gt=0, description="Runs by chance that are accepted a month, given the agent's own error level.")
    ] = 0.002
    actions_per_month: Annotated[int, Meta(ge=1, description="Actions a month for which that budget is reckoned.")] = (
        20_000
    )
    statistic_log10: Annotated[
        float, Meta(gt=0, le=11, description="Shiryaev–Roberts statistic (power of ten) that stops the agent.")
    ] = 7.0
    common_agents: Annotated[
        int,
        Meta(
            ge=3,
            le=1000,
            description="So many agents failing alike at once are one incident, nobody's fault; 3 if all who act fail.",
        ),
    ] = 5
    common_share: Annotated[
        float, Meta(ge=0.5, le=1, description="… if they are at least this share of the others that act meanwhile.")
    ] = 0.6
    prior_error_share: Annotated[
        float, Meta(gt=0, lt=0.5, description="Share of actions that fail at an agent of which nothing is known.")
    ] = 0.01
    prior_repeat_share: Annotated[
        float, Meta(gt=0, lt=0.9, description="Share of errors followed by an error on another record of the type.")
    ] = 0.05
    prior_retry_share: Annotated[
        float, Meta(gt=0, lt=0.9, description="Share of errors followed by an error on the same record (a retry).")
    ] = 0.15


class Cell:
    """One error class on one record type: errors learnt, the betting statistic, and its part of the present run.

    ``is_excused``: in this run its errors are nobody's fault.
    """

    __slots__ = ("hits", "is_excused", "run", "since_ms", "statistic", "surprise")

    def __init__(self) -> None:
        self.hits = self.statistic = self.surprise = 0.0
        self.run = self.since_ms = 0
        self.is_excused = False


class Kind:
    """One record type: actions and errors seen, how often an error followed an error, and the present run.

    The run began at ``since_ms``, its last error was at ``failed_ms``. It is judged again at ``next_run`` errors, and
    for a class that is nobody's fault at ``next_look``.

    What follows an error is counted apart for another try at the same record (index 1) and for another record (0).
    """

    __slots__ = (
        "after",
        "cells",
        "errors",
        "failed_ms",
        "last",
        "next_look",
        "next_run",
        "record",
        "repeats",
        "run",
        "since_ms",
        "streak",
        "surprise",
        "trials",
    )

    def __init__(self) -> None:
        self.trials = self.errors = self.surprise = 0.0
        self.after, self.repeats = [0.0, 0.0], [0.0, 0.0]
        self.streak = [0, 0]
        self.run = self.next_look = self.next_run = self.record = 0
        self.since_ms = self.failed_ms = 0
        self.last = ""
        self.cells: dict[str, Cell] = {}


class ErrorState:
    """One agent: its record types, and how many error classes they hold together."""

    __slots__ = ("cells", "kinds")

    def __init__(self) -> None:
        self.kinds: dict[str, Kind] = {}
        self.cells = 0


class RepeatedErrors:
    """Bernoulli bets per (record type, error class), and the length of the run of errors on a record type.

    Catches: five errors in a row on one record type, also when the agent succeeds elsewhere in between (a run ends
    only with a success on the same record type); a share of errors far above the agent's usual one. The null is the
    agent's own level, shrunk to a prior: after a success, after an error on another record, and after one on the
    same record, since retries make errors follow errors. A run stops the agent when it is at least ``run_errors``
    long and chance, at that level, makes one at most ``false_runs_per_month`` times a month.

    Many agents that fail alike at once are not to blame: while at least ``common_agents`` of them, and
    ``common_share`` of the others that act, fail with the same class, there is one incident and no opinion on any of
    them for that class; what failed for it doesn't count in a run of other classes either. So long as too few others
    were heard, an opinion waits for up to three more errors; up to four times ``run_errors`` while those that were
    heard fail alike. Bounds: docs/adr/0015-nobodys-fault.md.

    Cannot: tell a common cause apart that few agents share. Errors whose code says that the CRM is down (time-outs,
    503, limits, row locks) only throttle until ``transient_run_errors``, which a lying agent can abuse; others stop
    each agent. It sees what the agent or the CRM reports: errors reported as successes are not seen. A class is the
    error's code (its first 40 characters), never its text; after 64 classes or 24 record types the rest share one.

    Runs act from the first action on; the betting statistic too, at a level that needs about six surprising errors.

    Parameters: see ``Config``.

    Reference: Shin, Ramdas, Rinaldo, "E-detectors" (2023, arXiv 2203.03532).
    """

    name: ClassVar[str] = "repeated_errors"
    state_version: ClassVar[int] = 3
    judges: ClassVar[Literal["attempts", "outcomes", "all"]] = "outcomes"
    is_hard: ClassVar[bool] = True
    max_state_bytes: ClassVar[int] = 24_576
    Config: ClassVar[type[Struct]] = Config

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None:
        self.config: Config = config if config is not None else Config()
        self._stop_at = 10.0**self.config.statistic_log10
        self._enough = log(self.config.actions_per_month / self.config.false_runs_per_month)

    def new_state(self, agent_id: str) -> ErrorState:
        """The state of an agent never seen before."""
        return ErrorState()

    def observe(self, action: Action, state: ErrorState) -> Evidence | None:
        """Take one outcome in; an opinion when a run or a share of errors is too long or large."""
        data = action.data
        kind = state.kinds.get(data.object)  # type: ignore[arg-type]
        if kind is None:
            kind = _kind_of(state, action)
        if data.outcome == "ok":
            kind.trials = trials = kind.trials + 1.0
            if kind.cells:
                self._bet_on_success(kind, action)
            if kind.run:
                _end_run(kind, action)
            if trials >= _FORGET_AT:
                _forget(kind)
            return None
        if data.outcome == "denied":
            return None
        return self._observe_error(action, state, kind)

    def _observe_error(self, action: Action, state: ErrorState, kind: Kind) -> Evidence | None:
        cell, label = _cell_of(state, kind, _class_of(action))
        record = _record_of(action)
        retry = int(record == kind.record) if kind.run else -1
        self._bet(kind, cell, retry if kind.last == label else -1, is_hit=True)
        is_first = retry < 0 or not _counted(kind, cell).run
        p_run = self._usual_error(kind) if is_first else self._usual_repeat(kind, retry)
        if not kind.run:
            kind.since_ms = action.at_ms
        if not cell.run:
            cell.since_ms = action.at_ms
        for part in (kind, cell):
            part.surprise -= log(p_run)
            part.run += 1
        kind.failed_ms = action.at_ms
        evidence = self._judge(action, kind, cell, label)
        if retry >= 0 and kind.run <= _LEARN_RUN:
            kind.streak[retry] += 1
        kind.last, kind.record = label, record
        return evidence

    def _judge(self, action: Action, kind: Kind, cell: Cell, label: str) -> Evidence | None:
        config, part = self.config, _counted(kind, cell)
        run, due = part.run, kind.next_look if cell.is_excused else kind.next_run
        is_transient = _is_transient(label)
        if run >= config.run_errors and run >= due and part.surprise >= self._enough:
            cell.statistic = 0.0
            is_throttled = is_transient and run < config.transient_run_errors
            _judge_next(kind, cell, min(2 * run, config.transient_run_errors) if is_throttled else 2 * run)
            return _run_evidence(
                action, kind, run, label, "throttle" if is_throttled else "suspend", self._cause(part, label)
            )
        if cell.statistic >= self._stop_at:
            cell.statistic = 0.0
            wanted: Wanted = "throttle" if is_transient else "suspend"
            return _share_evidence(action, kind, cell, label, wanted, self._cause(part, label))
        return None

    def _cause(self, part: Kind | Cell, label: str) -> Cause:
        config = self.config
        return Cause(
            label=label,
            since_ms=part.since_ms,
            tries=part.run,
            alone_until=config.run_errors + _MORE_ALONE,
            together_until=_TIMES_TOGETHER * config.run_errors,
            agents=config.common_agents,
            share=config.common_share,
        )

    def is_failing(self, state: ErrorState, label: str, since_ms: int) -> bool:
        """Whether a run of errors goes on that had this class since then."""
        return any(kind.run and kind.last == label and kind.failed_ms >= since_ms for kind in state.kinds.values())

    def excuse(self, action: Action, state: ErrorState, *, is_early: bool) -> None:
        """The run is judged again at its next error, or while its class is nobody's fault every fifth."""
        kind = _kind_of(state, action)
        cell, _ = _cell_of(state, kind, _class_of(action))
        if not is_early:
            cell.is_excused, kind.next_run = True, 0
        _judge_next(kind, cell, _counted(kind, cell).run + (1 if is_early else self.config.run_errors))

    def _usual_error(self, kind: Kind) -> float:
        return shrunk_probability(kind.errors, kind.trials, self.config.prior_error_share, 100.0)

    def _usual_repeat(self, kind: Kind, retry: int) -> float:
        prior = self.config.prior_retry_share if retry else self.config.prior_repeat_share
        usual = shrunk_probability(kind.repeats[retry], kind.after[retry], prior, 8.0)
        return min(usual, _MOST_LIKELY_ERROR)

    def _bet(self, kind: Kind, cell: Cell, retry: int, *, is_hit: bool) -> None:
        """One bet on more errors of this class than usual: composite, so half as much again as measured."""
        if retry < 0:
            usual = shrunk_probability(cell.hits, kind.trials, self.config.prior_error_share, 100.0)
        else:
            usual = self._usual_repeat(kind, retry)
        p_null = min(_COMPOSITE * usual, 0.9)
        p_more = min(_MOST_LIKELY_ERROR, max(0.5, 3.0 * p_null))
        cell.statistic = shiryaev_roberts(cell.statistic, bernoulli_e_value(is_hit, p_null, p_more), _STATISTIC_CAP)

    def _bet_on_success(self, kind: Kind, action: Action) -> None:
        for label, cell in kind.cells.items():
            if cell.statistic > 0.0:
                retry = int(_record_of(action) == kind.record) if label == kind.last else -1
                self._bet(kind, cell, retry, is_hit=False)
                if cell.statistic < _LEAST_STATISTIC:
                    cell.statistic = 0.0

    def stopped(self, state: ErrorState, at_ms: int) -> None:
        """The agent was stopped: evidence starts afresh, what is usual stays as it was."""
        _clear(state)

    def released(self, state: ErrorState, at_ms: int) -> None:
        """A person released it: evidence starts afresh."""
        _clear(state)

    def dump(self, state: ErrorState) -> bytes:
        """The state as bytes."""
        kinds = [
            (
                name,
                (kind.trials, kind.errors, *kind.after, *kind.repeats, kind.surprise),
                (
                    kind.run,
                    kind.next_run,
                    kind.record,
                    kind.last,
                    kind.streak,
                    kind.since_ms,
                    kind.failed_ms,
                    kind.next_look,
                ),
                [
                    (label, cell.hits, cell.statistic, cell.run, cell.surprise, cell.since_ms, cell.is_excused)
                    for label, cell in kind.cells.items()
                ],
            )
            for name, kind in state.kinds.items()
        ]
        return _pack.encode(kinds)

    def load(self, agent_id: str, blob: bytes, version: int) -> ErrorState:
        """The state from its bytes."""
        if not 1 <= version <= self.state_version:
            raise ValueError(f"repeated_errors reads state versions up to {self.state_version}, not {version}")
        state = ErrorState()
        for name, counts, run, cells in msgspec.msgpack.decode(blob):
            kind = state.kinds[name] = Kind()
            kind.trials, kind.errors, *pairs, kind.surprise = counts
            kind.after, kind.repeats = pairs[:2], pairs[2:]
            kind.run, kind.next_run, kind.record, kind.last, kind.streak, *since = run
            if since:
                kind.since_ms, kind.failed_ms, *look = since
                kind.next_look = look[0] if look else 0
            for label, hits, statistic, *part in cells:
                cell = kind.cells[label] = Cell()
                cell.hits, cell.statistic = hits, statistic
                if part:
                    cell.run, cell.surprise, cell.since_ms, cell.is_excused = part
                state.cells += 1
        return state


def _kind_of(state: ErrorState, action: Action) -> Kind:
    data = action.data
    name = next((text for text in (data.object, data.tool, data.action) if isinstance(text, str) and text), OTHER)
    name = name[:_MAX_NAME_CHARS]
    kind = state.kinds.get(name)
    if kind is None:
        if len(state.kinds) >= _MAX_OBJECTS:
            name = OTHER
        kind = state.kinds.setdefault(name, Kind())
    return kind


def _class_of(action: Action) -> str:
    error = action.data.error
    code = getattr(error, "code", "") or ""
    return code[:_MAX_NAME_CHARS] or "error"


def _cell_of(state: ErrorState, kind: Kind, label: str) -> tuple[Cell, str]:
    cell = kind.cells.get(label)
    if cell is None and state.cells >= _MAX_CELLS - _MAX_OBJECTS:
        label = OTHER
        cell = kind.cells.get(label)
    if cell is None:
        cell = kind.cells[label] = Cell()
        state.cells += 1
    return cell, label


def _counted(kind: Kind, cell: Cell) -> Kind | Cell:
    """What of the present run counts against this class: all, but not what is nobody's fault against other classes."""
    if cell.is_excused or not any(each.is_excused for each in kind.cells.values()):
        return kind
    own = Cell()
    for each in kind.cells.values():
        if each.run and not each.is_excused:
            own.since_ms = min(own.since_ms, each.since_ms) if own.run else each.since_ms
            own.run += each.run
            own.surprise += each.surprise
    return own


def _judge_next(kind: Kind, cell: Cell, run: int) -> None:
    if cell.is_excused:
        kind.next_look = run
    else:
        kind.next_run = run


def _end_run(kind: Kind, action: Action) -> None:
    """Learn the run that a success ended, a long one only as far as ``_LEARN_RUN``; nothing of what was excused."""
    excused = sum(cell.run for cell in kind.cells.values() if cell.is_excused)
    learnt = float(min(kind.run - excused, _LEARN_RUN))
    kind.trials += learnt
    kind.errors += learnt
    cell = kind.cells.get(kind.last)
    if cell is not None and not cell.is_excused:
        cell.hits += learnt
    if not excused:
        for retry in (0, 1):
            kind.after[retry] += kind.streak[retry]
            kind.repeats[retry] += kind.streak[retry]
    kind.after[int(_record_of(action) == kind.record)] += 1.0
    _start_afresh(kind)


def _start_afresh(kind: Kind) -> None:
    kind.run = kind.next_look = kind.next_run = kind.record = kind.since_ms = kind.failed_ms = 0
    kind.streak = [0, 0]
    kind.surprise = 0.0
    kind.last = ""
    for cell in kind.cells.values():
        cell.run = cell.since_ms = 0
        cell.surprise, cell.is_excused = 0.0, False


def _record_of(action: Action) -> int:
    """A digest of the first record of the operation, never 0; 1 where it names none."""
    listed = action.data.record_ids
    if isinstance(listed, UnsetType) or not listed:
        return 1
    return xxh3_64_intdigest(listed[0].encode("utf-8", "surrogatepass")) | 1


def _forget(kind: Kind) -> None:
    """Halve what was counted, so that the newer half of the agent's life weighs more."""
    kind.trials /= 2.0
    kind.errors /= 2.0
    kind.after = [count / 2.0 for count in kind.after]
    kind.repeats = [count / 2.0 for count in kind.repeats]
    for cell in kind.cells.values():
        cell.hits /= 2.0


def _clear(state: ErrorState) -> None:
    for kind in state.kinds.values():
        _start_afresh(kind)
        for cell in kind.cells.values():
            cell.statistic = 0.0


def _is_transient(label: str) -> bool:
    lowered = label.lower().replace(" ", "_").replace("-", "_")
    return any(mark in lowered for mark in _TRANSIENT)


def _record_type(action: Action) -> str:
    data = action.data
    return next((text for text in (data.object, data.tool, data.action) if isinstance(text, str) and text), "records")


def _usual(kind: Kind) -> str:
    if kind.trials < 20:
        return "it is too new for a usual share of errors"
    if kind.errors < 1:
        return "usually none of its actions there fail"
    return f"usually 1 in {max(round(kind.trials / kind.errors), 1)} of its actions there fails"


def _run_evidence(action: Action, kind: Kind, run: int, label: str, wanted: Wanted, cause: Cause) -> Evidence:
    return Evidence(
        wanted=wanted,
        severity="critical" if wanted == "suspend" else "warning",
        summary=f"{ordinal(run)} error in a row on {_record_type(action)} ({label}); {_usual(kind)}",
        observed=run,
        expected=round(kind.errors / kind.trials, 4) if kind.trials else 0,
        limit=run,
        unit="errors in a row",
        would_clear=f"a success on {_record_type(action)} before the {ordinal(run)} error",
        events=((action.source, action.event_id),),
        topic=f"{_record_type(action)[:_MAX_NAME_CHARS]}|run",
        details={"error_class": label, "looks_transient": wanted == "throttle"},
        cause=cause,
    )


def _share_evidence(action: Action, kind: Kind, cell: Cell, label: str, wanted: Wanted, cause: Cause) -> Evidence:
    return Evidence(
        wanted=wanted,
        severity="critical" if wanted == "suspend" else "warning",
        summary=f"Far more {label} errors on {_record_type(action)} than before; {_usual(kind)}",
        observed=kind.run,
        expected=round(cell.hits / kind.trials, 4) if kind.trials else 0,
        limit=kind.run,
        unit="errors in a row, many before",
        would_clear="a share of errors as before",
        events=((action.source, action.event_id),),
        topic=f"{_record_type(action)[:_MAX_NAME_CHARS]}|share",
        details={"error_class": label},
        cause=cause,
    )
