"""What a detector is: a class with a typed Config, state per agent, and an opinion about one action at a time."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol

from msgspec import UNSET, Struct

from events.catalogue import ActionKind
from events.times import DAY_MS
from events.types import AgentAction, Granted, Revert

Wanted = Literal["none", "notify", "throttle", "hold", "suspend"]
WANTED_RANK: dict[str, int] = {"none": 0, "notify": 1, "throttle": 2, "hold": 3, "suspend": 4}
Mode = Literal["shadow", "warn", "enforce"]
Phase = Literal["attempt", "outcome", "both", "revert"]
PEERS_KEPT_DAYS = 30
"""What peers did longer ago says nothing of what they do."""


class Action(Struct, frozen=True, gc=False):
    """One action as a detector sees it.

    ``at_ms`` is knowledge time (when the log took it) and drives every rate and budget; ``effect_ms`` is the
    event's own time. ``phase`` is "attempt" for a gate admission, "outcome" for the report of an operation that
    was admitted before (and counted then), "both" for a report without an admission. "revert" is no action: a person
    changed what the agent had written (``revert``), of which only detectors hear that judge "reverts".
    ``is_backlog``: the effect lies more than five minutes before ``at_ms``; it may warn, never suspend.
    """

    at_ms: int
    effect_ms: int
    source: str
    event_id: str
    kind: ActionKind
    data: AgentAction
    is_backlog: bool = False
    phase: Phase = "both"
    revert: Revert | None = None

    @property
    def records(self) -> int:
        """How many records the operation touches: the larger of what it says and what it lists; a write >= 1."""
        listed = self.data.record_ids
        said = self.data.records
        count = max(0 if listed is UNSET else len(listed), 0 if said is UNSET else said)
        return max(count, 1) if self.kind.is_write else count

    @property
    def recipients(self) -> int:
        """How many people outside it reaches; an external operation reaches at least one."""
        listed = self.data.recipient_ids
        said = self.data.recipients
        count = max(0 if listed is UNSET else len(listed), 0 if said is UNSET else said)
        return max(count, 1) if self.is_external else count

    @property
    def is_external(self) -> bool:
        """Whether it leaves the house: by its kind, or because the agent says so (never less)."""
        return self.kind.is_external or self.data.external is True


class Cause(Struct, frozen=True, kw_only=True):
    """What may be behind an opinion that is nobody's fault in particular: others fail alike, see ``Excusing``.

    ``label`` names the error class. ``since_ms``: when this agent began to fail. ``tries``: its failures since then;
    it may wait for others to be heard until ``alone_until`` of them, and until ``together_until`` while those who were
    heard fail alike. ``agents`` that fail alike, at least this ``share`` of the others that acted, make it common.
    """

    label: str
    since_ms: int
    tries: int
    alone_until: int
    together_until: int
    agents: int
    share: float


class Evidence(Struct, frozen=True, kw_only=True):
    """A detector's opinion. ``wanted`` is what it would ask for if it enforces; the stage caps it by mode.

    ``topic`` tells apart independent matters of one detector (an object and error class, a window), so that a
    repeated opinion on the same matter can be held back while another one is heard. ``cause``: what may excuse it.
    """

    wanted: Wanted
    severity: Literal["info", "warning", "critical"]
    summary: str
    observed: float | int
    expected: float | int
    limit: float | int
    unit: str
    would_clear: str
    events: tuple[tuple[str, str], ...] = ()
    topic: str = ""
    details: dict[str, Any] = {}
    cause: Cause | None = None


class PeerProfile(Struct, frozen=True, array_like=True):
    """What agents of a role do: numbers by detector, as of a day (since 1970)."""

    version: int
    values: dict[str, tuple[int, ...]]


class Shared(Struct):
    """What a partition knows beyond one agent, changed by system records only.

    The common load and its version; what agents of each role do, by "tenant/role", see ``Peered``; and what the policy
    in force grants, by agent: None where there is none.
    """

    factor: float = 1.0
    version: int = 0
    peers: dict[str, PeerProfile] = {}
    granted: dict[str, Granted] | None = None

    def of_peers(self, group: str, detector: str, at_ms: int) -> tuple[int, ...]:
        """What a detector knows of a role; empty when that is nothing, or was reported too long ago."""
        known = self.peers.get(group)
        if known is None or at_ms // DAY_MS - known.version > PEERS_KEPT_DAYS:
            return ()
        return known.values.get(detector, ())


class Detector(Protocol):
    """The protocol of every detector. State is an object of its own making; the stage keeps one per agent.

    ``observe`` is called once an action, in log order, and scores before it learns. ``tick`` is called for agents
    whose ``next_tick_ms(state)`` has come. ``dump``/``load`` must restore a state that behaves identically.
    """

    name: ClassVar[str]
    state_version: ClassVar[int]
    judges: ClassVar[Literal["attempts", "outcomes", "all", "reverts"]]
    is_hard: ClassVar[bool]
    max_state_bytes: ClassVar[int]
    Config: ClassVar[type[Struct]]

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None: ...

    def new_state(self, agent_id: str) -> Any:
        """The state of an agent never seen before."""

    def observe(self, action: Action, state: Any) -> Evidence | None:
        """Judge one action, then learn from it."""

    def dump(self, state: Any) -> bytes:
        """The state as bytes; equal states give equal bytes."""

    def load(self, agent_id: str, blob: bytes, version: int) -> Any:
        """The state from bytes of this or an older ``state_version``."""


class Reporting(Protocol):
    """A detector that contributes to the organisation's common load, see ``ProfileEvent``."""

    def report(self, state: Any, quarter_end_ms: int) -> float | None:
        """Observed over expected load of the quarter hour that ended, or None when it can't tell."""

    def common_factor(self, reports: list[float]) -> float:
        """The organisation's factor from the agents' reports of one quarter hour."""


class Peered(Protocol):
    """A detector that judges an agent of whom it knows little by the agents of the same role, see ``PeersEvent``.

    One whose numbers are many says with ``most_described`` of how many agents a partition tells at most.
    """

    def join(self, state: Any, group: str) -> None:
        """The agent belongs to this group ("tenant/role"); told when the state is made or taken back, not dumped."""

    def describe(self, state: Any, at_ms: int) -> list[int] | None:
        """What its peers should know of this agent, in few numbers below 2**53; None while it is not settled itself."""

    def common_profile(self, described: list[list[int]]) -> list[int] | None:
        """What agents of the role do, from one list each: no agent may move it far. None when they are too few."""


class Renewing(Protocol):
    """A detector that judges an agent by its own past, of which a declared new version makes the most part invalid."""

    def renew(self, state: Any, at_ms: int) -> None:
        """From here on the agent is another version of itself: new, for as long as a new agent is."""


class Granting(Protocol):
    """A detector that judges by what the policy grants (``Shared.granted``), and remembers what was in order."""

    def policy_changed(self, state: Any) -> None:
        """The policy grants something else: what was in order has to be looked at again."""


class Excusing(Protocol):
    """A detector whose opinions may have a common cause (``Evidence.cause``)."""

    def is_failing(self, state: Any, label: str, since_ms: int) -> bool:
        """Whether the agent failed so since then, and has not succeeded at the same since."""

    def excuse(self, action: Action, state: Any, *, is_early: bool) -> None:
        """The opinion on this action is not said: it is nobody's fault, or (``is_early``) too early to tell."""


class Controlled(Protocol):
    """A detector that wants to know when an agent was stopped or released."""

    def stopped(self, state: Any, at_ms: int) -> None:
        """The agent was stopped at this log time: what it did around it must not be learnt."""

    def released(self, state: Any, at_ms: int) -> None:
        """A person released the agent: what led to the stop is answered, its evidence starts afresh."""
