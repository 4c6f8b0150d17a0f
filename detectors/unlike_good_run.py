"""Judges each write of a run by how unlike every confirmed good run the run has become."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct

from detectors.base import Action, Evidence, Mode, Shared, Wanted
from detectors.good_runs import PREFIX, GoodRuns, Nearest
from detectors.run_library import MOST_TEXT, decode_library
from detectors.run_trace import Call, Feature, RunTrace, digest, text_of
from detectors.run_words import differences
from events.types import After, AgentAction

_MOST_RUNS = 4
_MOST_KEPT = 96
_MOST_FIELDS = 16
_MOST_CHARS = 256
_MINUTE_MS = 60_000

_pack = msgspec.msgpack.Encoder()


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the detector of runs that are unlike good ones."""

    library: Annotated[
        str,
        Meta(max_length=MOST_TEXT, description="Confirmed good runs, as `encode_library` gives them; none: silent."),
    ] = ""
    wanted: Annotated[
        Literal["notify", "hold"], Meta(description="What a write that is unlike good runs asks for, with a run_id.")
    ] = "hold"
    good_runs_share: Annotated[
        float, Meta(gt=0, lt=0.5, description="Share of good runs that may be found as unlike the others as this.")
    ] = 0.02
    least_runs: Annotated[
        int, Meta(ge=10, le=100_000, description="With fewer good runs that write it has no opinion.")
    ] = 50
    idle_minutes: Annotated[
        int, Meta(ge=1, le=1440, description="Without a run_id, a pause of so many minutes ends a run.")
    ] = 30

    def __post_init__(self) -> None:
        """Refuse a library that was cut or changed where the settings are read."""
        if self.library:
            decode_library(self.library)


class RunState:
    """One run: its trace, when it acted last, and whether its strangeness was told."""

    __slots__ = ("is_told", "last_ms", "trace")

    def __init__(self, trace: RunTrace) -> None:
        self.trace = trace
        self.last_ms = 0
        self.is_told = False


class UnlikeGoodRun:
    """The distance of a run, after each of its writes, to the nearest confirmed good run just after a write.

    Catches: writes without the reads that good runs make, with values of a shape or an origin that good runs never
    have (ids that were made up, addresses of another house, texts from nowhere), in the order and number of calls
    that no good run shows. Each write is judged before it is known how the run ends, on its attempt where it passes
    the gate, so that it can be held before it runs. The limit is the distance that ``good_runs_share`` of the good
    runs have from all others. It speaks once a run.

    Cannot: tell a new but right way from a wrong one, so it is in shadow unless the settings say otherwise; see a
    write of the right kind on the wrong one of several records, or values the producer leaves out (``changes``,
    ``record_ids``); find anything without a library. Without run ids the borders of runs are guesses: it then tells,
    and never holds. It learns nothing by itself: a library holds runs that a person confirmed, and a new one is a new
    version of the settings. Of an agent it keeps the last four runs, each with at most 96 digests of values, words,
    names and dates.

    Parameters: see ``Config``. It is off unless ``is_enabled`` is set, as it reads every action and is not part of
    the compiled path.

    Reference: Chandola, Banerjee, Kumar, "Anomaly Detection: A Survey" (2009), §5, nearest neighbours; figures in
    docs/benchmarks.md.
    """

    name: ClassVar[str] = "unlike_good_run"
    state_version: ClassVar[int] = 1
    judges: ClassVar[Literal["attempts", "outcomes", "all"]] = "attempts"
    is_hard: ClassVar[bool] = True
    is_on_by_default: ClassVar[bool] = False
    default_mode: ClassVar[Mode] = "shadow"
    asks_at_most: ClassVar[Wanted] = "hold"
    max_state_bytes: ClassVar[int] = 32_768
    Config: ClassVar[type[Struct]] = Config

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None:
        self.config: Config = config if config is not None else Config()
        self.library = GoodRuns(decode_library(self.config.library) if self.config.library else ())
        self.version = digest(self.config.library)
        self.limit = self._limit()
        found = {feature for run in self.library.runs for bag in run.plain for feature in bag}
        self._features: list[Feature] = sorted(found)
        self._place = {feature: number for number, feature in enumerate(self._features)}

    def _limit(self) -> float:
        """A run farther than this from all good ones is unlike them; above 1 there is no opinion at all."""
        usual = sorted(self.library.left_out(PREFIX, with_request=False), reverse=True)
        if len(usual) < self.config.least_runs:
            return 2.0
        return usual[int(self.config.good_runs_share * len(usual))]

    def new_state(self, agent_id: str) -> dict[str, RunState]:
        """The state of an agent never seen before: its runs by id, the one that acted last at the end."""
        return {}

    def observe(self, action: Action, state: dict[str, RunState]) -> Evidence | None:
        """Take one call in; an opinion when it writes and its run has become unlike all good ones."""
        if self.limit > 1.0 or action.data.outcome != "ok":
            return None
        run = self._run(action, state)
        run.trace.add(call_of(action))
        if run.is_told or not action.kind.is_write:
            return None
        nearest = self.library.nearest_prefix(run.trace.bag)
        if nearest.distance <= self.limit:
            return None
        run.is_told = True
        return self._evidence(action, nearest)

    def _run(self, action: Action, state: dict[str, RunState]) -> RunState:
        run_id = _run_id(action.data)
        run = state.pop(run_id, None)
        if run is None or (not run_id and action.at_ms - run.last_ms > self.config.idle_minutes * _MINUTE_MS):
            run = RunState(self._trace())
        state[run_id] = run
        run.last_ms = action.at_ms
        if len(state) > _MOST_RUNS:
            del state[next(iter(state))]
        return run

    def _trace(self) -> RunTrace:
        return RunTrace(most=_MOST_KEPT, knows=self._place.__contains__)

    def _evidence(self, action: Action, nearest: Nearest) -> Evidence:
        wanted: Wanted = self.config.wanted if _run_id(action.data) else "notify"
        label = nearest.run.label if nearest.run is not None else "none"
        said = differences(nearest.bag, nearest.nearest_bag, 4)
        return Evidence(
            wanted=wanted,
            severity="critical" if wanted == "hold" else "warning",
            summary=f"This run writes as no confirmed good run did; the nearest is {label}. {said[0]}",
            observed=round(nearest.distance, 3),
            expected=round(self.limit, 3),
            limit=round(self.limit, 3),
            unit="distance to the nearest good run (0 to 1)",
            would_clear="a person who confirms that this run is good, and a library with it",
            events=((action.source, action.event_id),),
            topic=f"run|{digest(_run_id(action.data)):x}",
            details={"nearest": label, "differs": said},
        )

    def dump(self, state: dict[str, RunState]) -> bytes:
        """The state as bytes."""
        runs = [(run_id, run.last_ms, run.is_told, self._bag(run), run.trace.memory()) for run_id, run in state.items()]
        return _pack.encode((self.version, runs))

    def _bag(self, run: RunState) -> list[tuple[int | str, int]]:
        bag = run.trace.bag.items()
        return [(feature[0] if len(feature) == 1 else self._place[feature], count) for feature, count in bag]

    def load(self, agent_id: str, blob: bytes, version: int) -> dict[str, RunState]:
        """The state from its bytes; runs that were begun under another library are not carried on."""
        if version != self.state_version:
            raise ValueError(f"unlike_good_run reads state version {self.state_version}, not {version}")
        library, runs = msgspec.msgpack.decode(blob)
        state: dict[str, RunState] = {}
        for run_id, last_ms, is_told, bag, memory in runs if library == self.version else ():
            run = state[run_id] = RunState(self._trace())
            run.last_ms, run.is_told = last_ms, is_told
            run.trace.bag = {(key,) if isinstance(key, str) else self._features[key]: count for key, count in bag}
            run.trace.remember(memory)
        return state


def call_of(action: Action) -> Call:
    """An action as a call: its object is what reads and writes share, the record, people and changes its arguments."""
    data = action.data
    arguments: dict[str, Any] = {}
    if data.record_ids is not UNSET and data.record_ids:
        arguments["record_id"] = data.record_ids[0][:_MOST_CHARS]
    if data.recipient_ids is not UNSET and data.recipient_ids:
        arguments["recipient"] = data.recipient_ids[0][:_MOST_CHARS]
    if data.changes is not UNSET:
        for fields in data.changes.values():
            for field, change in fields.items():
                if len(arguments) < _MOST_FIELDS:
                    value = change.after if isinstance(change, After) else change[-1]
                    arguments[field] = text_of(value)[:_MOST_CHARS]
    group = next((text for text in (data.object, data.tool, data.system) if isinstance(text, str) and text), "")
    return Call(group[:_MOST_CHARS], data.action, arguments, action.kind.is_write)


def _run_id(data: AgentAction) -> str:
    return data.run_id[:_MOST_CHARS] if isinstance(data.run_id, str) else ""
