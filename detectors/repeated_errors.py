"""Stops an agent that keeps failing on the same kind of record."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from detectors.base import Action, Evidence, Shared, Wanted
from detectors.rate_words import ordinal
from detectors.statistics import (
    bernoulli_e_value,
    longest_expected_run,
    shiryaev_roberts,
    shrunk_probability,
)

OTHER = "other"
_MAX_OBJECTS = 24
_MAX_CELLS = 64
_MAX_NAME_CHARS = 40
_LEARN_RUN = 4
"""Longer runs of errors are not learnt: that is what the detector is there to stop."""
_FORGET_AT = 2_000.0
_STATISTIC_CAP = 1e12
_FREEZE_SHARE = 0.5
_COMPOSITE = 1.5
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
    prior_error_share: Annotated[
        float, Meta(gt=0, lt=0.5, description="Share of actions that fail at an agent of which nothing is known.")
    ] = 0.01
    prior_repeat_share: Annotated[
        float, Meta(gt=0, lt=0.9, description="Share of errors that are followed by an error on the same record type.")
    ] = 0.05


class Cell:
    """One error class on one record type: the betting statistic, and whether its last action was such an error."""

    __slots__ = ("hits", "statistic")

    def __init__(self) -> None:
        self.hits = 0.0
        self.statistic = 0.0


class Kind:
    """One record type: actions and errors seen, how often an error followed an error, and the present run."""

    __slots__ = ("after_errors", "cells", "errors", "last", "next_run", "repeats", "run", "trials")

    def __init__(self) -> None:
        self.trials = self.errors = self.after_errors = self.repeats = 0.0
        self.run = self.next_run = 0
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
    agent's own level, shrunk to a prior, separately after a success and after an error, since retries make errors
    follow errors: an agent known to fail or to retry more may have longer runs before it is stopped.

    Cannot: tell a common cause apart. If the CRM is down all agents fail; errors whose code says so (time-outs,
    503, limits, row locks) only throttle until ``transient_run_errors``, which a lying agent can abuse; others stop
    each agent. It sees what the agent or the CRM reports: errors reported as successes are not seen. A class is the
    error's code (its first 40 characters), never its text; after 64 classes or 24 record types the rest share one.

    Runs act from the first action on; the betting statistic too, at a level that needs about six surprising errors.

    Parameters: see ``Config``.

    Reference: Shin, Ramdas, Rinaldo, "E-detectors" (2023, arXiv 2203.03532).
    """

    name: ClassVar[str] = "repeated_errors"
    state_version: ClassVar[int] = 1
    judges: ClassVar[Literal["attempts", "outcomes", "all"]] = "outcomes"
    is_hard: ClassVar[bool] = True
    max_state_bytes: ClassVar[int] = 24_576
    Config: ClassVar[type[Struct]] = Config

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None:
        self.config: Config = config if config is not None else Config()
        self._stop_at = 10.0**self.config.statistic_log10
        self._freeze_at = self._stop_at**_FREEZE_SHARE

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
            if kind.run:
                _end_run(kind)
            kind.trials = trials = kind.trials + 1.0
            if kind.cells:
                self._bet_on_success(kind)
            if trials >= _FORGET_AT:
                _forget(kind)
            return None
        if data.outcome == "denied":
            return None
        return self._observe_error(action, state, kind)

    def _observe_error(self, action: Action, state: ErrorState, kind: Kind) -> Evidence | None:
        label = _class_of(action)
        cell = kind.cells.get(label)
        if cell is None:
            cell, label = _new_cell(state, kind, label)
        p_null = self._null(kind, cell, is_after=kind.last == label)
        p_more = min(_MOST_LIKELY_ERROR, max(0.5, 3.0 * p_null))
        if p_more > p_null:
            e_value = bernoulli_e_value(True, p_null, p_more)
            cell.statistic = shiryaev_roberts(cell.statistic, e_value, _STATISTIC_CAP)
        limit = self._run_limit(kind)
        kind.run += 1
        evidence = self._judge(action, kind, cell, label, limit)
        self._learn_error(kind, cell, label)
        return evidence

    def _judge(self, action: Action, kind: Kind, cell: Cell, label: str, limit: int) -> Evidence | None:
        is_transient = _is_transient(label)
        run = kind.run
        if run >= max(limit, kind.next_run):
            kind.next_run = 2 * run
            if is_transient:
                most = max(limit, self.config.transient_run_errors)
                kind.next_run = min(kind.next_run, most) if run < most else kind.next_run
                return _run_evidence(action, kind, label, limit, "suspend" if run >= most else "throttle")
            cell.statistic = 0.0
            return _run_evidence(action, kind, label, limit, "suspend")
        if cell.statistic >= self._stop_at:
            cell.statistic = 0.0
            wanted: Wanted = "throttle" if is_transient else "suspend"
            return _share_evidence(action, kind, cell, label, wanted)
        return None

    def _null(self, kind: Kind, cell: Cell, *, is_after: bool) -> float:
        """The probability of this error that is taken for usual: composite, so half as much again as measured."""
        config = self.config
        if is_after:
            usual = shrunk_probability(kind.repeats, kind.after_errors, config.prior_repeat_share, 8.0)
        else:
            usual = shrunk_probability(cell.hits, kind.trials, config.prior_error_share, 100.0)
        return min(_COMPOSITE * usual, 0.9)

    def _run_limit(self, kind: Kind) -> int:
        """The run that chance makes at most ``false_runs_per_month`` times, given this agent's own level."""
        config = self.config
        start = shrunk_probability(kind.errors, kind.trials, config.prior_error_share, 100.0)
        again = shrunk_probability(kind.repeats, kind.after_errors, config.prior_repeat_share, 8.0)
        chance = longest_expected_run(
            start, min(again, _MOST_LIKELY_ERROR), config.actions_per_month, config.false_runs_per_month
        )
        return max(config.run_errors, chance)

    def _bet_on_success(self, kind: Kind) -> None:
        last = kind.last
        for label, cell in kind.cells.items():
            if cell.statistic > 0.0:
                p_null = self._null(kind, cell, is_after=label == last)
                p_more = min(_MOST_LIKELY_ERROR, max(0.5, 3.0 * p_null))
                if p_more > p_null:
                    cell.statistic = (cell.statistic + 1.0) * (1.0 - p_more) / (1.0 - p_null)
                    if cell.statistic < 1e-3:
                        cell.statistic = 0.0
        kind.last = ""

    def _learn_error(self, kind: Kind, cell: Cell, label: str) -> None:
        kind.last = label
        if kind.run > _LEARN_RUN or cell.statistic >= self._freeze_at:
            return
        kind.trials += 1.0
        kind.errors += 1.0
        cell.hits += 1.0
        if kind.run > 1:
            kind.after_errors += 1.0
            kind.repeats += 1.0

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
                (kind.trials, kind.errors, kind.after_errors, kind.repeats, kind.run, kind.next_run, kind.last),
                [(label, cell.hits, cell.statistic) for label, cell in kind.cells.items()],
            )
            for name, kind in state.kinds.items()
        ]
        return _pack.encode(kinds)

    def load(self, agent_id: str, blob: bytes, version: int) -> ErrorState:
        """The state from its bytes."""
        if version != self.state_version:
            raise ValueError(f"repeated_errors reads state version {self.state_version}, not {version}")
        state = ErrorState()
        for name, numbers, cells in msgspec.msgpack.decode(blob):
            kind = state.kinds[name] = Kind()
            (kind.trials, kind.errors, kind.after_errors, kind.repeats, kind.run, kind.next_run, kind.last) = numbers
            for label, hits, statistic in cells:
                cell = kind.cells[label] = Cell()
                cell.hits, cell.statistic = hits, statistic
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


def _new_cell(state: ErrorState, kind: Kind, label: str) -> tuple[Cell, str]:
    if state.cells >= _MAX_CELLS - _MAX_OBJECTS:
        label = OTHER
    cell = kind.cells.get(label)
    if cell is None:
        cell = kind.cells[label] = Cell()
        state.cells += 1
    return cell, label


def _end_run(kind: Kind) -> None:
    if kind.run <= _LEARN_RUN:
        kind.after_errors += 1.0
    kind.run = kind.next_run = 0


def _forget(kind: Kind) -> None:
    """Halve what was counted, so that the newer half of the agent's life weighs more."""
    kind.trials /= 2.0
    kind.errors /= 2.0
    kind.after_errors /= 2.0
    kind.repeats /= 2.0
    for cell in kind.cells.values():
        cell.hits /= 2.0


def _clear(state: ErrorState) -> None:
    for kind in state.kinds.values():
        kind.run = kind.next_run = 0
        kind.last = ""
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


def _run_evidence(action: Action, kind: Kind, label: str, limit: int, wanted: Wanted) -> Evidence:
    return Evidence(
        wanted=wanted,
        severity="critical" if wanted == "suspend" else "warning",
        summary=f"{ordinal(kind.run)} error in a row on {_record_type(action)} ({label}); {_usual(kind)}",
        observed=kind.run,
        expected=round(kind.errors / kind.trials, 4) if kind.trials else 0,
        limit=limit,
        unit="errors in a row",
        would_clear=f"a success on {_record_type(action)} before the {ordinal(limit)} error",
        events=((action.source, action.event_id),),
        topic=f"{_record_type(action)[:_MAX_NAME_CHARS]}|run",
        details={"error_class": label, "looks_transient": wanted == "throttle"},
    )


def _share_evidence(action: Action, kind: Kind, cell: Cell, label: str, wanted: Wanted) -> Evidence:
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
    )
