"""The records that pass through Tripline, as typed CloudEvents 1.0 envelopes.

Every record is frozen. ``UNSET`` means that the producer said nothing (unknown); ``None`` means that it said
"empty". Field names and meanings are fixed by the wire contract, see ``docs/events.md``.
"""

from __future__ import annotations

from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Text = Annotated[str, Meta(max_length=4096)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
OptText = Text | None | UnsetType
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]

DEFAULT_TENANT = "default"
MAIN_ENGINE = "main"
"""The engine that is active until another one is switched to."""
MAX_VALUE_DEPTH = 8


def _values(depth: int) -> Any:
    """The type of a JSON value with at most ``depth`` containers in one another: the decoder enforces it."""
    scalar = None | bool | int | float | str
    value: Any = scalar
    for _ in range(depth):
        value = scalar | GenericAlias(list, (value,)) | GenericAlias(dict, (str, value))
    return Annotated[value, Meta(title="value")]


if TYPE_CHECKING:
    Value = Any
else:
    Value = _values(MAX_VALUE_DEPTH)
"""A field's value in a CRM: any JSON value, nested at most MAX_VALUE_DEPTH deep."""


class After(Struct, frozen=True, gc=False):
    """A field's new value where the source gives no value before."""

    after: Value


Change = tuple[Value, Value] | After
"""One field's change: [before, after], or {"after": …} where the source gives no value before."""
FieldChanges = dict[str, Change]


class Actor(Struct, frozen=True, gc=False):
    """Who did it: kind is human, agent, automation or system."""

    kind: Name
    id: Text


class Trigger(Struct, frozen=True, gc=False):
    """What set an action off: prompt (a person asked), rule, schedule, event or agent; ref names it."""

    kind: Name
    ref: OptText = UNSET


class ActionError(Struct, frozen=True, gc=False, omit_defaults=True):
    """Why an action failed, as the CRM said it."""

    code: Text = ""
    message: Annotated[str, Meta(max_length=65_536)] = ""


class AgentAction(Struct, frozen=True, kw_only=True, gc=False):
    """One attempt of an agent to do one operation."""

    agent_id: Name
    action: Annotated[str, Meta(min_length=1, max_length=128)]
    outcome: Literal["ok", "error", "denied"]
    agent_version: OptText = UNSET
    object: OptText = UNSET
    record_ids: list[Text] | UnsetType = UNSET
    changes: dict[str, FieldChanges] | UnsetType = UNSET
    records: Count | UnsetType = UNSET
    recipients: Count | UnsetType = UNSET
    recipient_ids: list[Text] | UnsetType = UNSET
    external: bool | UnsetType = UNSET
    first_contact: bool | UnsetType = UNSET
    authorized_by: OptText = UNSET
    trigger: Trigger | UnsetType | None = UNSET
    reviewed_by: OptText = UNSET
    error: ActionError | UnsetType | None = UNSET
    run_id: OptText = UNSET
    parent_agent_id: OptText = UNSET
    decision_id: OptText = UNSET
    deal_id: OptText = UNSET
    owner_id: OptText = UNSET
    system: OptText = UNSET
    tool: OptText = UNSET


class CrmChange(Struct, frozen=True, kw_only=True, gc=False):
    """One CRM record changed, whoever did it."""

    object: Name
    record_id: Name
    op: Literal["create", "update", "delete", "undelete", "merge", "gap"]
    changes: FieldChanges | UnsetType = UNSET
    actor: Actor | UnsetType = UNSET
    deal_id: OptText = UNSET
    owner_id: OptText = UNSET
    committed_at: OptText = UNSET
    system: OptText = UNSET
    origin: OptText = UNSET
    transaction: OptText = UNSET
    index: Count | UnsetType = UNSET


class Participant(Struct, frozen=True, kw_only=True, gc=False):
    """A person on the buyer's side who took part in an activity."""

    contact_id: OptText = UNSET
    role: OptText = UNSET
    executive: bool | UnsetType | None = UNSET
    name: OptText = UNSET


class CrmActivity(Struct, frozen=True, kw_only=True, gc=False):
    """Something happened around a deal: a mail, a call, a meeting, a task, a note."""

    kind: Literal["email", "call", "meeting", "task", "note"]
    deal_id: OptText = UNSET
    direction: Literal["inbound", "outbound", "internal"] | UnsetType | None = UNSET
    participants: list[Participant] | UnsetType = UNSET
    occurred_at: OptText = UNSET
    scheduled_for: OptText = UNSET
    logged_by: Actor | UnsetType = UNSET
    system: OptText = UNSET
    mentions: list[Text] | UnsetType = UNSET
    status: Literal["done", "planned", "cancelled"] | UnsetType = UNSET


class Consent(Struct, frozen=True, kw_only=True, gc=False):
    """What a contact allowed, per channel and purpose. No record means unknown."""

    contact_id: Name
    channel: Name
    purpose: Name
    status: Literal["granted", "denied", "withdrawn"]
    basis: OptText = UNSET
    effective_at: OptText = UNSET


# --- system records: written by Tripline into input partitions -------------------------------------------------


class Tick(Struct, frozen=True, gc=False):
    """The clock reached ``at``; timers fire at ticks only."""

    at: str


class Granted(Struct, frozen=True, kw_only=True, gc=False):
    """What the policy grants one agent: actions, kinds of records (small letters, "*" all), what takes a person.

    ``fields`` ("object.field" or "object.*") and ``owners``, all in small letters, are lists of which each has to have
    what the agent touches; none where all are granted.
    """

    actions: list[str] = []
    objects: list[str] = []
    with_person: list[str] = []
    fields: list[list[str]] = []
    owners: list[list[str]] = []


class PolicyVersion(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """From this offset on, this version of the configuration decides; a lower version is a no-op.

    ``granted``: by agent, what the policy in force allows at most; none where there is no policy.
    """

    version: int
    hash: str
    granted: dict[str, Granted] | None = None


class EngineVersion(Struct, frozen=True, kw_only=True, gc=False):
    """From this offset on, this engine's findings count; a lower version is a no-op."""

    engine: str
    version: int
    by: str
    reason: str


Points = Annotated[int, Meta(ge=-(2**15), le=2**15)]
"""A contribution in a model's table, in units of 1 / ``points_per_log_odd``."""


class FeatureTable(Struct, frozen=True, kw_only=True, gc=False):
    """One feature of a model of deals: points below the first of its ascending ``cuts``, then from each cut on.

    ``lost`` moves the log-odds of losing the deal, ``soon`` those of losing it within 14 days, ``late`` those of being
    late if it isn't lost. A value on a cut lies above it.
    """

    name: Name
    cuts: Annotated[list[float], Meta(max_length=30)]
    lost: Annotated[list[Points], Meta(max_length=31)]
    soon: Annotated[list[Points], Meta(max_length=31)]
    late: Annotated[list[Points], Meta(max_length=31)]


class ModelTables(Struct, frozen=True, kw_only=True, gc=False):
    """A learned model of deals, whole: what it scores depends on this and on the settings of deals alone.

    ``kind``: recalibrated, anchored or boosted. ``is_proven``: better than the scorecard on held-out labels.
    """

    kind: Annotated[str, Meta(min_length=1, max_length=40)]
    points_per_log_odd: Annotated[int, Meta(ge=1, le=4096)]
    lost_base: Points
    soon_base: Points
    late_base: Points
    is_proven: bool
    features: Annotated[list[FeatureTable], Meta(max_length=64)]


class ModelVersion(Struct, frozen=True, kw_only=True, gc=False):
    """From this offset on, this model scores deals; a lower version is a no-op.

    ``tables`` is the model itself, ``hash`` that of its bytes; without tables the hand scorecard scores.
    """

    version: int
    kind: str
    hash: str
    tables: ModelTables | None = None
    by: str = ""
    reason: str = ""


class Profile(Struct, frozen=True, kw_only=True, gc=False):
    """What the peers or the organisation do, as of a version; ``factor`` is the common load."""

    version: int
    factor: float = 1.0
    reports: int = 0


class Failing(Struct, frozen=True, kw_only=True, gc=False):
    """In partition ``partition``, ``failing`` of the ``acted`` agents that acted lately fail alike: with this class.

    Copied into the other partitions; ``version`` (log time in ms) tells a newer count from an older one.
    """

    error_class: str
    partition: int
    version: int
    failing: int
    acted: int


class PeersReport(Struct, frozen=True, kw_only=True, gc=False):
    """What agents of a role do that partition ``partition`` has known for long: numbers of an agent, by detector.

    Read by the first partition. ``version``: the day, since 1970; for each detector one list an agent, 64 at most.
    """

    role: str
    partition: int
    version: int
    agents: dict[str, list[list[int]]]


class Peers(Struct, frozen=True, kw_only=True, gc=False):
    """What agents of a role do, by detector, as of a version (the day, since 1970); a lower one is a no-op.

    A new agent of the role is judged by it. ``agents``: of how many it was made, by detector.
    """

    role: str
    version: int
    values: dict[str, list[int]]
    agents: dict[str, int]


class Mute(Struct, frozen=True, kw_only=True, gc=False):
    """Two people keep a detector (``*``: every one) from asking for more than ``most`` about an agent for a time.

    ``since`` to ``until``; without ``since`` from this record on. ``most``: notify, or none. One person takes it back,
    by another record with ``until`` in the past. ``version`` only grows; a lower one is a no-op.
    """

    agent_id: str
    detector: str
    until: str
    by: str
    reason: str
    second: str = ""
    since: str | None = None
    most: Literal["none", "notify"] = "notify"
    version: int = 0


class Feedback(Struct, frozen=True, kw_only=True, gc=False):
    """What a person said of a finding (``subject``): expected or wrong.

    *Expected*, which takes a ``second`` person: until ``until``, up to ``ceiling`` (in the finding's own unit) the
    detector asks for no more than a notice about this agent on this topic. *Wrong* changes no judgement.
    """

    subject: str
    verdict: str
    by: str
    reason: str = ""
    agent_id: str = ""
    detector: str = ""
    topic: str = ""
    unit: str = ""
    ceiling: float = 0.0
    until: str = ""
    second: str = ""
    version: int = 0


class Revert(Struct, frozen=True, kw_only=True, gc=False):
    """A person changed in the CRM what an agent had written there shortly before, as the CRM's feed tells.

    ``kind``: undone (back to what it was), overwritten, or deleted (a record that the agent had made). ``after_secs``:
    how long it had stood. ``written``: how many changes of records by the agent the feed told of since the record
    before this one. ``source`` and ``change_id`` name the person's change.
    """

    agent_id: str
    object: str
    record_id: str
    kind: Literal["undone", "overwritten", "deleted"]
    by: str
    source: str
    change_id: str
    fields: list[str] = []
    after_secs: int = 0
    written: int = 0


class Release(Struct, frozen=True, kw_only=True, gc=False):
    """A person released an agent; it is active once everything before this record is judged."""

    agent_id: str
    epoch: int
    by: str
    reason: str


class Admission(Struct, frozen=True, kw_only=True, gc=False):
    """The gate admitted an operation; ``seq`` counts the agent's admissions without a gap."""

    agent_id: Name
    decision_id: Name
    seq: int
    action: Name
    epoch: int = 0
    object: OptText = UNSET
    record_ids: list[Text] = []
    records: Count = 0
    recipient_ids: list[Text] = []
    recipients: Count = 0
    external: bool = False
    first_contact: bool = False
    authorized_by: OptText = UNSET
    trigger: Trigger | UnsetType | None = UNSET
    request_id: OptText = UNSET
    changes: dict[str, FieldChanges] | UnsetType = UNSET
    policy: OptText = UNSET
    reviewed_by: OptText = UNSET


class PortfolioScore(Struct, frozen=True, kw_only=True, gc=False):
    """A deal's score re-keyed by its manager: what the portfolio stage reads. Money is in minor units."""

    deal_id: str
    manager_id: str
    owner_id: str
    p_lost: float
    p_slip: float
    p_lost_14d: float
    is_open: bool
    deal: str = ""
    account: str = ""
    amount_minor: int | None = None
    currency: str = ""
    close_date: str = ""
    stage: str = ""
    link: str = ""
    reasons: list[Reason] = []
    recommended_action: str = ""


class Marker(Struct, frozen=True, kw_only=True, gc=False):
    """Every score that partition ``partition`` gives for tick ``at`` lies before this record."""

    at: str
    partition: int = 0


# --- what Tripline says ------------------------------------------------------------------------------------------


class EvidenceData(Struct, frozen=True, kw_only=True, gc=False):
    """Why a detector speaks: observed against expected, the limit, the events, and what would have cleared it."""

    summary: str
    observed: float | int
    expected: float | int
    limit: float | int
    unit: str
    events: list[tuple[str, str]]
    would_clear: str
    details: dict[str, Value] = {}
    topic: str = ""


class Finding(Struct, frozen=True, kw_only=True, gc=False):
    """A detector's opinion about an agent, and what it asks of the control authority."""

    finding_id: str
    detector: str
    mode: Literal["shadow", "warn", "enforce"]
    agent_id: str
    agent_version: str | None
    at: str
    severity: Literal["info", "warning", "critical"]
    action_taken: Literal["none", "notify", "throttle", "hold", "suspend"]
    basis_epoch: int
    evidence: EvidenceData


class By(Struct, frozen=True, gc=False):
    """Who decided: kind is detector, human or drill."""

    kind: Literal["detector", "human", "drill"]
    id: str


class Control(Struct, frozen=True, kw_only=True, gc=False):
    """The authority's decision about an agent; ``epoch`` only grows."""

    agent_id: str
    state: Literal["active", "throttled", "held", "suspended", "releasing"]
    epoch: int
    at: str
    by: By
    reason: str
    finding_id: str | None = None
    expires_at: str | None = None


class Reason(Struct, frozen=True, gc=False):
    """One exact additive contribution (log-odds) to a score, and the sentence that says it."""

    feature: str
    contribution: float
    sentence: str


class ModelInfo(Struct, frozen=True, kw_only=True, gc=False):
    """Which model scored, and whether enough deals have closed to prove it here."""

    kind: str
    version: int
    proven: bool


class DealRisk(Struct, frozen=True, kw_only=True, gc=False):
    """A deal's risk after a change of its score. ``p_lost`` = logistic(base + sum of all contributions)."""

    deal_id: str
    manager_id: str | None
    owner_id: str | None
    at: str
    offset: int
    p_lost: float
    p_lost_14d: float
    p_slip: float
    p_won_by: dict[str, float]
    band: Literal["low", "watch", "high"]
    base: float
    reasons: list[Reason]
    model: ModelInfo
    cause: str = ""


class Alert(Struct, frozen=True, kw_only=True, gc=False):
    """What a manager gets. Level 3: proactive, nothing is done."""

    alert_id: str
    kind: str
    manager_id: str
    deal_id: str
    deal: str
    account: str
    amount: str | None
    currency: str | None
    close_date: str | None
    link: str | None
    at: str
    rank: int
    p_lost: float
    p_slip: float
    reasons: list[Reason]
    recommended_action: str
    open_deals: int


class DeadLetter(Struct, frozen=True, kw_only=True, gc=False):
    """A record that could not be read: why, where from, and its bytes in base64."""

    reason: str
    message: str
    origin: dict[str, Value]
    raw: str
    at: str
    agent_id: str | None = None


# --- envelopes: one class a type, told apart by the attribute "type" ----------------------------------------------


class Event(Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """A CloudEvents 1.0 envelope. ``id`` is unique with ``source``; ``time`` is RFC 3339 with a zone."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(min_length=1, max_length=512)]
    source: Annotated[str, Meta(min_length=1, max_length=1024)]
    time: str
    subject: str | UnsetType = UNSET
    partitionkey: str | UnsetType = UNSET
    datacontenttype: str | UnsetType = UNSET
    tenant: Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType = UNSET
    sequence: str | int | UnsetType = UNSET
    loggedat: str | UnsetType = UNSET
    logtopic: str | UnsetType = UNSET
    logpartition: int | UnsetType = UNSET
    logoffset: int | UnsetType = UNSET


class ActionEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.agent.action.v1"):
    """tripline.agent.action.v1"""

    data: AgentAction


class ChangeEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.crm.change.v1"):
    """tripline.crm.change.v1"""

    data: CrmChange


class ActivityEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.crm.activity.v1"):
    """tripline.crm.activity.v1"""

    data: CrmActivity


class ConsentEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.crm.consent.v1"):
    """tripline.crm.consent.v1"""

    data: Consent


class TickEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.tick.v1"):
    """tripline.system.tick.v1"""

    data: Tick


class PolicyEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.policy.v1"):
    """tripline.system.policy.v1"""

    data: PolicyVersion


class ModelEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.model.v1"):
    """tripline.system.model.v1"""

    data: ModelVersion


class EngineEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.engine.v1"):
    """tripline.system.engine.v1"""

    data: EngineVersion


class ProfileEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.profile.v1"):
    """tripline.system.profile.v1"""

    data: Profile


class FailingEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.failing.v1"):
    """tripline.system.failing.v1"""

    data: Failing


class PeersReportEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.peers_report.v1"):
    """tripline.system.peers_report.v1"""

    data: PeersReport


class PeersEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.peers.v1"):
    """tripline.system.peers.v1"""

    data: Peers


class MuteEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.mute.v1"):
    """tripline.system.mute.v1"""

    data: Mute


class FeedbackEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.feedback.v1"):
    """tripline.system.feedback.v1"""

    data: Feedback


class RevertEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.revert.v1"):
    """tripline.system.revert.v1"""

    data: Revert


class ReleaseEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.release.v1"):
    """tripline.system.release.v1"""

    data: Release


class AdmissionEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.admission.v1"):
    """tripline.system.admission.v1"""

    data: Admission


class ScoreEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.score.v1"):
    """tripline.system.score.v1"""

    data: PortfolioScore


class MarkerEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.system.marker.v1"):
    """tripline.system.marker.v1"""

    data: Marker


class ControlEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.control.v1"):
    """tripline.control.v1"""

    data: Control


class FindingEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.finding.v1"):
    """tripline.finding.v1"""

    data: Finding


class RiskEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.deal.risk.v1"):
    """tripline.deal.risk.v1"""

    data: DealRisk


class AlertEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.alert.v1"):
    """tripline.alert.v1"""

    data: Alert


class DeadLetterEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.dead_letter.v1"):
    """tripline.dead_letter.v1"""

    data: DeadLetter


InputEvent = ActionEvent | ChangeEvent | ActivityEvent | ConsentEvent
"""What producers may send."""
SystemEvent = (
    TickEvent
    | PolicyEvent
    | ModelEvent
    | EngineEvent
    | ProfileEvent
    | FailingEvent
    | PeersReportEvent
    | PeersEvent
    | MuteEvent
    | FeedbackEvent
    | RevertEvent
    | ReleaseEvent
    | AdmissionEvent
    | ScoreEvent
    | MarkerEvent
    | ControlEvent
)
"""What Tripline itself writes into input partitions."""
OutputEvent = FindingEvent | ControlEvent | RiskEvent | AlertEvent | DeadLetterEvent
"""What Tripline says."""
LogEvent = InputEvent | SystemEvent
"""Everything that an input partition may hold."""


def tenant_of(event: Event) -> str:
    """The event's tenant, "default" when it names none."""
    return event.tenant if event.tenant is not UNSET else DEFAULT_TENANT
