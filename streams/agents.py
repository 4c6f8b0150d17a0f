"""Stage "agents": every action of every agent through every detector, and what they ask of the authority."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from detectors.base import WANTED_RANK, Action, Cause, Detector, Evidence, Mode, Phase, Shared, Wanted
from events.catalogue import CATALOGUE, kind_of
from events.rows import ROW
from events.times import parse_ms
from events.types import (
    DEFAULT_TENANT,
    ActionEvent,
    AdmissionEvent,
    ControlEvent,
    Failing,
    FailingEvent,
    FeedbackEvent,
    FindingEvent,
    LogEvent,
    MuteEvent,
    PeersEvent,
    PeersReportEvent,
    PolicyEvent,
    PolicyVersion,
    Profile,
    ProfileEvent,
    ReleaseEvent,
    RevertEvent,
    TickEvent,
    tenant_of,
)
from streams import common_cause, granting
from streams.agent_body import AgentBody, Blob, Glance, SharedBlob
from streams.as_actions import action_of_admission, action_of_revert
from streams.common_cause import LOOK_BACK_MS, CommonCause, Count, count_failing
from streams.common_cause import Heard as HeardCount
from streams.compiled import Judge
from streams.envelopes import envelope, make_key, split_key
from streams.keyed import KeyBlob, Keyed, KeyedStage
from streams.lenience import FAULT, lenient, rule_of, with_rule
from streams.peers import PeerGroups
from streams.records import Entry, Output, Partition
from streams.verdict import Heard, allowed, asked, finding
from streams.versions import Versions

BACKLOG_MS = 300_000
"""An effect longer before knowledge time than this is backlog: it may warn, never suspend."""
QUARTER_MS = 900_000
_MAX_PENDING = 1024

_pack = msgspec.msgpack.Encoder()


class AgentsStage(KeyedStage[AgentBody]):
    """Judges agents' actions. Parameters: the partition, the detectors in a fixed order, and each one's mode.

    ``own_modes``: by agent, the modes in which detectors judge it that differ from those. ``roles``: by agent, whose
    peer it is. ``versions``: by agent, those that are declared, the oldest first.
    """

    name = "agents"
    topic = "agent.actions"

    def __init__(
        self,
        partition: Partition,
        detectors: Sequence[Detector],
        modes: Mapping[str, Mode],
        shared: Shared,
        own_modes: Mapping[str, Mapping[str, Mode]] | None = None,
        roles: Mapping[str, str] | None = None,
        versions: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(partition)
        self.detectors = tuple(detectors)
        self.modes = {detector.name: modes.get(detector.name, "enforce") for detector in detectors}
        self.own_modes = own_modes or {}
        self.shared = shared
        self.policy = 0
        self.quarter = 0
        self.common = CommonCause()
        self.peers = PeerGroups(partition, self.detectors, shared, roles or {})
        self.versions = Versions(self.detectors, versions or {})
        self.judged = 0
        self._of_reverts = [index for index, each in enumerate(self.detectors) if each.judges == "reverts"]
        self._default_tenant: dict[str, Keyed[AgentBody]] = {}
        self._last_acted: dict[str, int] = {}
        self._judge_rows = None if Judge is None else Judge(self, AgentBody, BACKLOG_MS)

    # --- the hot path -------------------------------------------------------------------------------------------

    def process(self, entries: Sequence[Entry]) -> list[Output]:
        """Judge records in log order: rows by the compiled path where there is one, everything else here."""
        out: list[Output] = []
        if self._judge_rows is None:
            self.process_events(entries, out)
        else:
            self._judge_rows.process(list(entries), self._default_tenant, out)
        return out

    def process_events(  # noqa: PLR0912 - one loop, written out for speed
        self, entries: Sequence[Entry], out: list[Output]
    ) -> None:
        """Judge records in log order; plain actions take the short way, everything else the general one.

        The short way is ``process_entry`` written out: calls cost more than the work here.
        """
        known_agents, known_kinds = self._default_tenant, CATALOGUE
        for entry in entries:
            offset, at = entry[0], entry[1]
            event: Any = entry[2]
            if type(event) is not ActionEvent:
                if type(event) is not ROW:
                    self.process_entry(entry, out)
                    continue
                event = event.event
            if offset < self.next_offset:
                continue
            self.next_offset = offset + 1
            if at > self._free_until_ms or at < self.stream_ms:
                at = self.advance(at)
            else:
                self.stream_ms = at
            data = event.data
            keyed = known_agents.get(data.agent_id) if event.tenant is UNSET else None
            if keyed is None:
                keyed = self._agent(event)
            if offset < keyed.next_offset:
                continue
            keyed.next_offset = offset + 1
            if not keyed.is_dirty:
                self.mark(keyed)
            if self.is_duplicate(offset, at, event, keyed, out):
                continue
            body = keyed.body
            if body.expected:
                self.versions.look(keyed.key, body, data, at)
            body.last_ms = at
            effect_ms = parse_ms(event.time)
            kind = known_kinds.get(data.action) or kind_of(data.action)
            is_backlog = effect_ms < at - BACKLOG_MS
            if body.pending and data.decision_id in body.pending:
                del body.pending[data.decision_id]
                action = Action(at, effect_ms, event.source, event.id, kind, data, is_backlog, "outcome")
                self._judge(offset, action, keyed, out)
                continue
            action = Action(at, effect_ms, event.source, event.id, kind, data, is_backlog)
            self.judged += 1
            for observe, state, index in body.calls:
                try:
                    evidence = observe(action, state)
                except Exception as problem:  # one agent's data must not blind the others: disable, report, hold
                    self._disable(offset, action, keyed, index, problem, out)
                else:
                    if evidence is not None:
                        self._say(offset, action, keyed, index, evidence, out)

    def action_of(self, row: Any, at_ms: int, is_backlog: bool) -> Action:
        """A row as the detectors see it."""
        data = row.event.data
        kind = CATALOGUE.get(data.action) or kind_of(data.action)
        return Action(at_ms, row.time_ms, row.source, row.id, kind, data, is_backlog)

    def _agent(self, event: ActionEvent) -> Keyed[AgentBody]:
        keyed = self.keyed(make_key(tenant_of(event), event.data.agent_id))
        is_default = event.tenant is UNSET or event.tenant == DEFAULT_TENANT
        if is_default and not keyed.body.expected:  # who may act as a new version is looked at each time
            self._default_tenant[event.data.agent_id] = keyed
        return keyed

    def _judge(self, offset: int, action: Action, keyed: Keyed[AgentBody], out: list[Output]) -> None:
        """An admission, or the report of an admitted operation: to the detectors that judge that phase."""
        keyed.body.last_ms = action.at_ms
        self.judged += 1
        for index in [index for _, _, index in keyed.body.calls if self._judges(index, action.phase)]:
            self._ask(offset, action, keyed, index, out)

    def _ask(self, offset: int, action: Action, keyed: Keyed[AgentBody], index: int, out: list[Output]) -> None:
        """One detector, which is not off for this agent."""
        try:
            evidence = self.detectors[index].observe(action, keyed.body.states[index])
        except Exception as problem:
            self._disable(offset, action, keyed, index, problem, out)
        else:
            if evidence is not None:
                self._say(offset, action, keyed, index, evidence, out)

    def _judges(self, index: int, phase: Phase) -> bool:
        wants = self.detectors[index].judges
        return wants == "all" or (wants == "attempts") == (phase == "attempt")

    # --- verdicts -----------------------------------------------------------------------------------------------

    def _say(
        self, offset: int, action: Action, keyed: Keyed[AgentBody], index: int, evidence: Evidence, out: list[Output]
    ) -> None:
        body, detector = keyed.body, self.detectors[index].name
        if evidence.cause is not None and self._is_excused(offset, action, keyed, index, evidence.cause, out):
            return
        mode = self._mode(detector, keyed.key)
        taken = asked(evidence, mode, is_backlog=action.is_backlog)
        if body.lenience:
            taken, by = lenient(body.lenience, detector, evidence, action.at_ms, taken)
            evidence = evidence if by is None else allowed(evidence, by)
        rank = WANTED_RANK[taken]
        if not body.heard.is_news(detector, evidence.topic, rank, action.at_ms):
            return
        version = action.data.agent_version
        self._emit(
            offset,
            action.at_ms,
            keyed,
            evidence,
            out,
            detector=detector,
            mode=mode,
            taken=taken,
            event=(action.source, action.event_id),
            version=version if isinstance(version, str) else None,
        )
        if rank == WANTED_RANK["suspend"]:
            self._tell_detectors("stopped", body, action.at_ms)

    def _emit(
        self,
        offset: int,
        at_ms: int,
        keyed: Keyed[AgentBody],
        evidence: Evidence,
        out: list[Output],
        *,
        detector: str,
        mode: Mode,
        taken: Wanted,
        event: tuple[str, str],
        version: str | None = None,
        finding_id: str = "",
    ) -> None:
        key = keyed.key
        finding_id = finding_id or self.output_id(key, offset, "finding", detector, evidence.topic)
        data = finding(
            evidence,
            finding_id=finding_id,
            detector=detector,
            mode=mode,
            agent_id=split_key(key)[1],
            agent_version=version,
            at_ms=at_ms,
            action_taken=taken,
            basis_epoch=keyed.body.epoch,
            event=event,
        )
        said = envelope(FindingEvent, self.partition.engine_id, finding_id, at_ms, key, data)
        out.append(Output("finding", finding_id, key, at_ms, said))

    def _mode(self, detector: str, key: str) -> Mode:
        own = self.own_modes.get(split_key(key)[1]) if self.own_modes else None
        return self.modes[detector] if own is None else own.get(detector, self.modes[detector])

    # --- what is nobody's fault ---------------------------------------------------------------------------------

    def _is_excused(
        self, offset: int, action: Action, keyed: Keyed[AgentBody], index: int, cause: Cause, out: list[Output]
    ) -> bool:
        """Whether an opinion is not to be said: others fail alike, or it is too early to tell."""
        at_ms, tenant = action.at_ms, split_key(keyed.key)[0]
        scope, since_ms = make_key(tenant, cause.label), max(cause.since_ms, at_ms - LOOK_BACK_MS)
        common, detector = self.common, self.detectors[index]
        verdict = common.known(scope, offset, at_ms)
        if verdict is None:
            count = None
            if common.may_count(at_ms):
                mine = self._count(tenant, index, cause.label, since_ms, at_ms)
                if common.should_report(scope, at_ms):
                    out.append(self._failing(offset, at_ms, tenant, cause.label, mine))
                count = common.with_others(scope, mine, at_ms)
            verdict = common.decide(cause, scope, offset, at_ms, count)
            if verdict == "opened" and count is not None:
                self._emit(
                    offset,
                    at_ms,
                    Keyed(make_key(tenant, "*"), AgentBody([])),
                    common_cause.incident(cause, count, since_ms, at_ms),
                    out,
                    detector=common_cause.DETECTOR,
                    mode="warn",
                    taken="notify",
                    event=(action.source, action.event_id),
                    finding_id=common_cause.incident_id(self.partition.engine_id, scope, at_ms),
                )
        if verdict == "alone":
            return False
        detector.excuse(action, keyed.body.states[index], is_early=verdict == "wait")  # type: ignore[attr-defined]
        return True

    def _count(self, tenant: str, index: int, label: str, since_ms: int, at_ms: int) -> Count:
        """Count this partition's agents of a tenant; those that didn't act lately are not woken."""
        self._wake_since(at_ms - LOOK_BACK_MS)
        is_failing, prefix = self.detectors[index].is_failing, make_key(tenant, "")  # type: ignore[attr-defined]
        agents = (
            (body.last_ms, is_failing(body.states[index], label, since_ms))
            for key, keyed in self.keys.items()
            if key.startswith(prefix) and (body := keyed.body).last_ms >= at_ms - LOOK_BACK_MS
        )
        return count_failing(agents, since_ms, at_ms)

    def _failing(self, offset: int, at_ms: int, tenant: str, label: str, count: Count) -> Output:
        """What was counted, as a record for the other partitions."""
        key, index = make_key(tenant, "*"), self.partition.index
        report_id = self.output_id(key, offset, "failing", subject=label)
        data = Failing(error_class=label, partition=index, version=at_ms, failing=count.failing, acted=count.acted)
        event = envelope(FailingEvent, self.partition.engine_id, report_id, at_ms, key, data)
        return Output("failing", report_id, key, at_ms, event)

    def _hear(self, at_ms: int, event: FailingEvent) -> None:
        data = event.data
        if data.partition != self.partition.index:
            scope = make_key(tenant_of(event), data.error_class)
            self.common.hear(HeardCount(scope, data.partition, at_ms, data.failing, data.acted))

    def _tell_detectors(self, happened: Literal["stopped", "released"], body: AgentBody, at_ms: int) -> None:
        """Tell the detectors that want to know (``detectors.base.Controlled``)."""
        for detector, state in zip(self.detectors, body.states, strict=True):
            hook = getattr(detector, happened, None)
            if hook is not None and detector.name not in body.disabled:
                hook(state, at_ms)

    def _disable(
        self, offset: int, action: Action, keyed: Keyed[AgentBody], index: int, problem: Exception, out: list[Output]
    ) -> None:
        """A detector that raises is off for this agent until the policy changes, then it starts afresh."""
        detector = self.detectors[index].name
        keyed.body.disabled[detector] = type(problem).__name__
        self.faults[detector] += 1
        evidence = Evidence(
            wanted="hold",
            severity="critical",
            summary=f"The detector {detector} failed on this agent ({type(problem).__name__}) and is off for it.",
            observed=1,
            expected=0,
            limit=0,
            unit="failures",
            would_clear="A new policy version starts it afresh.",
            topic=FAULT,
        )
        self._say(offset, action, keyed, index, evidence, out)
        self._wire(keyed.body)

    def on_conflict(self, offset: int, at_ms: int, event: Any, keyed: Keyed[AgentBody], out: list[Output]) -> None:
        """The agent's event re-uses an id with other content: said, and the record is judged all the same."""
        if not keyed.body.heard.is_news("event_identity", "", 1, at_ms):
            return
        evidence = Evidence(
            wanted="notify",
            severity="warning",
            summary=f"The event id {event.id} was used again with another content.",
            observed=2,
            expected=1,
            limit=1,
            unit="contents of one id",
            would_clear="Every event carries an id of its own.",
        )
        source = (event.source, event.id)
        self._emit(
            offset, at_ms, keyed, evidence, out, detector="event_identity", mode="warn", taken="notify", event=source
        )

    # --- everything that is not a plain action -------------------------------------------------------------------

    def key_of(self, event: Any) -> str | None:
        """The agent of an admission, a control decision or a release; a CRM change has nothing to judge yet."""
        if isinstance(event, AdmissionEvent | ControlEvent | ReleaseEvent | MuteEvent | FeedbackEvent | RevertEvent):
            return make_key(tenant_of(event), event.data.agent_id)
        return None

    def apply(self, offset: int, at_ms: int, event: Any, keyed: Keyed[AgentBody], out: list[Output]) -> None:
        """An admission is judged as an attempt; control decisions and releases move the epoch."""
        body = keyed.body
        if isinstance(event, AdmissionEvent):
            self._admission(offset, at_ms, event, keyed, out)
            return
        if isinstance(event, RevertEvent):
            for index in [index for index in self._of_reverts if self.detectors[index].name not in body.disabled]:
                self._ask(offset, action_of_revert(at_ms, event), keyed, index, out)
            return
        if isinstance(event, MuteEvent | FeedbackEvent):
            rule = rule_of(at_ms, event.data)
            if rule is not None:
                body.lenience = with_rule(body.lenience, rule, at_ms)
            return
        body.epoch = max(body.epoch, event.data.epoch)
        if isinstance(event, ReleaseEvent) or event.data.state == "active":
            body.heard.forget_requests()
            if isinstance(event, ReleaseEvent):
                self._tell_detectors("released", body, at_ms)
        elif event.data.state == "suspended" and event.data.by.kind != "detector":
            self._tell_detectors("stopped", body, at_ms)

    def _admission(
        self, offset: int, at_ms: int, event: AdmissionEvent, keyed: Keyed[AgentBody], out: list[Output]
    ) -> None:
        body, decision_id = keyed.body, event.data.decision_id
        if len(body.pending) >= _MAX_PENDING:
            del body.pending[next(iter(body.pending))]
        body.pending[decision_id] = None
        self._judge(offset, action_of_admission(at_ms, event), keyed, out)

    def on_system(self, offset: int, at_ms: int, event: Any, out: list[Output]) -> bool:
        """The common load and the policy's version; a version at or below the known one is a no-op."""
        if isinstance(event, ProfileEvent):
            if event.data.version > self.shared.version:
                self.shared.version, self.shared.factor = event.data.version, event.data.factor
            return True
        if isinstance(event, PolicyEvent):
            self._new_policy(offset, event.data)
            return True
        if isinstance(event, FailingEvent):
            self._hear(at_ms, event)
            return True
        if isinstance(event, PeersReportEvent | PeersEvent):
            self.peers.hear(event)
            return True
        return False

    def _new_policy(self, offset: int, data: PolicyVersion) -> None:
        """A new version starts the detectors afresh that were off for an agent."""
        if data.version <= self.policy:
            return
        self.policy = data.version
        granting.take(self.shared, self.detectors, (keyed.body for keyed in self.keys.values()), data)
        for keyed in self.keys.values():
            body = keyed.body
            if not body.disabled or not self.begin(keyed, offset):
                continue
            for index, detector in enumerate(self.detectors):
                if detector.name in body.disabled:
                    body.states[index] = detector.new_state(split_key(keyed.key)[1])
            body.disabled.clear()
            self._wire(body)
            self.peers.join(keyed.key, body.states)

    def on_tick(self, offset: int, tick_ms: int, out: list[Output]) -> None:
        """At each quarter hour: the common load, and once a day what peers do, as records for partitions to read."""
        quarter = tick_ms // QUARTER_MS
        if quarter <= self.quarter:
            return
        self.quarter, quarter_end_ms = quarter, quarter * QUARTER_MS
        self._wake_since(quarter_end_ms - QUARTER_MS)
        for detector, index in ((d, i) for i, d in enumerate(self.detectors) if hasattr(d, "report")):
            reports = []
            for keyed in self.keys.values():
                if keyed.body.last_ms >= quarter_end_ms - QUARTER_MS and detector.name not in keyed.body.disabled:
                    report = detector.report(keyed.body.states[index], quarter_end_ms)
                    if report is not None:
                        reports.append(report)
            factor = detector.common_factor(reports)  # type: ignore[attr-defined]
            self._report(offset, tick_ms, factor, len(reports), out)
        out += self.peers.at_quarter(offset, tick_ms, self.keys, self._wake_since)

    def next_due_ms(self) -> int | None:
        """When a tick is needed even if nobody acts; None when it never is."""
        return self.peers.next_due_ms()

    def _report(self, offset: int, tick_ms: int, factor: float, count: int, out: list[Output]) -> None:
        if factor == self.shared.factor:
            return
        key = make_key("default", "*")
        data = Profile(version=tick_ms // QUARTER_MS, factor=factor, reports=count)
        report_id = self.output_id(key, offset, "report")
        event = envelope(ProfileEvent, self.partition.engine_id, report_id, tick_ms, key, data)
        out.append(Output("report", report_id, key, tick_ms, event))

    # --- state --------------------------------------------------------------------------------------------------

    def new_body(self, key: str) -> AgentBody:
        """An agent never seen before."""
        body = AgentBody([detector.new_state(split_key(key)[1]) for detector in self.detectors])
        self.peers.join(key, body.states)
        self.versions.expect(key, body)
        self._wire(body)
        return body

    def _wire(self, body: AgentBody) -> None:
        body.calls = [
            (detector.observe, body.states[index], index)
            for index, detector in enumerate(self.detectors)
            if detector.name not in body.disabled and detector.judges != "reverts"
        ]

    def dump_body(self, body: AgentBody) -> bytes:
        """The detectors' states by name and version, and where control stands."""
        states = {
            detector.name: (detector.state_version, detector.dump(body.states[index]))
            for index, detector in enumerate(self.detectors)
        }
        blob = Blob(
            states,
            body.disabled,
            body.epoch,
            body.heard.said,
            body.last_ms,
            list(body.pending),
            self.common.lately(self.stream_ms),
            body.lenience,
            body.version,
            body.renewed_ms,
        )
        return _pack.encode(blob)

    def load_body(self, key: str, blob: bytes, version: int) -> AgentBody:
        """Take a state back; a detector that was not there when it was written starts afresh."""
        kept = msgspec.msgpack.decode(blob, type=Blob)
        self.common.remember(kept.common)
        agent_id = split_key(key)[1]
        states = []
        for detector in self.detectors:
            known = kept.detectors.get(detector.name)
            if known is None:
                states.append(detector.new_state(agent_id))
            else:
                states.append(detector.load(agent_id, known[1], known[0]))
        body = AgentBody(states)
        body.disabled, body.epoch, body.last_ms = kept.disabled, kept.epoch, kept.last_ms
        body.heard = Heard(kept.said)
        body.pending = dict.fromkeys(kept.pending)
        body.lenience = kept.lenience
        body.version, body.renewed_ms = kept.version, kept.renewed_ms
        self.peers.join(key, states)
        self.versions.expect(key, body)
        self._wire(body)
        return body

    def may_rest(self, key: str, blob: KeyBlob) -> bool:
        """An agent's state is needed when the agent acts, or at a quarter hour in which it acted."""
        glance = msgspec.msgpack.decode(blob.body, type=Glance)
        self.common.remember(glance.common)
        if glance.disabled:  # a new policy looks for these
            return False
        self._last_acted[key] = glance.last_ms
        return True

    def is_common(self, event: LogEvent) -> bool:
        """A new policy, and the tick at which the common load is reckoned."""
        if type(event) is TickEvent:
            return parse_ms(event.data.at) // QUARTER_MS > self.quarter
        return type(event) is PolicyEvent

    def _wake_since(self, at_ms: int) -> None:
        """Read the states of the agents that acted since."""
        for key, last_ms in self._last_acted.items():
            if last_ms >= at_ms:
                self.keyed(key)
        self._last_acted = {key: self._last_acted[key] for key in self._resting}

    def restored(self) -> None:
        """The short way's index is made anew as agents act."""
        self._default_tenant.clear()
        known = [keyed.next_offset for keyed in self.keys.values()]
        resting = [snapshot.next_offset for snapshot in self._resting.values()]
        self.common.reach = max(self.common.reach, *known, *resting, 0)

    def dump_shared(self) -> bytes:
        """The common load, the policy's version, what is nobody's fault, and what peers do."""
        return _pack.encode(
            SharedBlob(
                self.shared.factor,
                self.shared.version,
                self.policy,
                self.quarter,
                self.common.heard,
                self.common.memory,
                self.peers.memory,
                self.shared.granted,
            )
        )

    def load_shared(self, blob: bytes) -> None:
        """Take the common load back."""
        kept = msgspec.msgpack.decode(blob, type=SharedBlob)
        self.shared.factor, self.shared.version = kept.factor, kept.version
        self.policy, self.quarter, self.shared.granted = kept.policy, kept.quarter, kept.granted
        self.common.heard = kept.heard
        self.common.remember(kept.common)
        self.peers.restore(kept.peers)
