"""The control authority inside an open transaction, shared by the runtimes: findings and requests to rows and records.

What is decided is ``governance.control``'s; here it is carried out. A runtime says where rows are kept in memory, how
an event gets into an agent's input partition, and how a release goes on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Literal

from events.times import HOUR_MS, MINUTE_MS, format_ms
from events.types import (
    By,
    ControlEvent,
    Event,
    EvidenceData,
    FeedbackEvent,
    Finding,
    FindingEvent,
    MuteEvent,
    Release,
    ReleaseEvent,
    RevertEvent,
)
from governance.control import (
    TRIPS_MS,
    WANTED_STATE,
    ControlRequest,
    ControlRow,
    Decision,
    Trips,
    confirm_release,
    control_of,
    decide,
    expire,
    trips_in,
)
from governance.settings import Settings
from storage import control as control_store
from storage import projections
from storage.link import Link
from streams.envelopes import envelope
from streams.sinks.notices import FAULTS

ForAgent = ControlEvent | ReleaseEvent | MuteEvent | FeedbackEvent | RevertEvent
"""What is put into an agent's input partition."""


class Authority(ABC):
    """Carries out what is decided in one transaction, and notes what changed.

    ``now_ms`` is log time. ``changed`` has what pages want to know, as (kind, key); ``counts`` what metrics count.
    """

    def __init__(self, link: Link, settings: Settings, engine_id: str, now_ms: int) -> None:
        self.link = link
        self.settings = settings
        self.engine_id = engine_id
        self.now_ms = now_ms
        self.changed: set[tuple[str, str]] = set()
        self.counts: dict[tuple[str, ...], int] = {}
        self.wrong_records: list[tuple[str, int]] = []

    # --- the runtime's part -------------------------------------------------------------------------------------

    @abstractmethod
    def row_of(self, key: str) -> ControlRow | None:
        """The row of a key as of this transaction; None when it was never controlled."""

    @abstractmethod
    def keep_row(self, row: ControlRow) -> None:
        """Remember a row that was written."""

    @abstractmethod
    def say(self, key: str, event: ForAgent) -> int | None:
        """Put an event into the agent's input partition; its offset where that is known already."""

    @abstractmethod
    def release_is_said(self, row: ControlRow) -> None:
        """The release record of this row, and the row, are on their way; ``confirm`` when it was judged."""

    # --- findings -----------------------------------------------------------------------------------------------

    def take_finding(self, key: str, at_ms: int, offset: int, event: FindingEvent, *, is_obeyed: bool = True) -> None:
        """Store a finding, and put what it asks for to the authority; the same finding again changes nothing.

        Parameters: ``at_ms``, log time of its cause; ``is_obeyed`` False for those of an engine that only watches.
        """
        data = event.data
        self.changed.add(("finding", key))
        asks = WANTED_STATE.get(data.action_taken) if data.mode == "enforce" and is_obeyed else None
        status = "shadow" if data.mode == "shadow" or not is_obeyed else "noted"
        if not projections.store_finding(self.link, key, at_ms, offset, event, status) or not is_obeyed:
            return
        self.count("finding", data.detector, data.mode)
        if data.evidence.unit == FAULTS:
            self.count("fault", data.detector)
        if asks is not None:
            decision = self.request(
                ControlRequest(
                    key=key,
                    agent_id=data.agent_id,
                    wanted=asks,
                    basis_epoch=data.basis_epoch,
                    by=By("detector", data.detector),
                    reason=data.evidence.summary,
                    at_ms=at_ms,
                    finding_id=data.finding_id,
                )
            )
            projections.set_status(self.link, data.finding_id, "applied" if decision.changed else "recorded")
            if decision.changed and asks == "suspended":
                self.wrong_records.append((data.detector, int(data.evidence.observed)))
        if data.action_taken != "none" and not self.is_stale(at_ms):
            self.notify(data.finding_id, key, at_ms, event)

    def warn(
        self, id_: str, key: str, agent_id: str, evidence: EvidenceData, offset: int = 0,
        severity: Literal["warning", "critical"] = "warning",
    ) -> bool:  # fmt: skip
        """A finding of the gate's own about an agent: kept and told once, False when it was there already.

        ``offset``: the end of the log.
        """
        row = self.row_of(key)
        data = Finding(
            finding_id=id_,
            detector="gate",
            mode="warn",
            agent_id=agent_id,
            agent_version=None,
            at=format_ms(self.now_ms),
            severity=severity,
            action_taken="notify",
            basis_epoch=row.epoch if row is not None else 0,
            evidence=evidence,
        )
        event = envelope(FindingEvent, self.engine_id, id_, self.now_ms, key, data)
        if not projections.store_finding(self.link, key, self.now_ms, offset, event, "noted"):
            return False
        self.changed.add(("finding", key))
        self.notify(id_, key, self.now_ms, event)
        return True

    def is_stale(self, at_ms: int) -> bool:
        """Whether something is too old to act on it or to tell anybody."""
        return self.now_ms - at_ms > self.stale_ms

    @property
    def stale_ms(self) -> int:
        """How old that is."""
        return self.settings.engine.stale_request_hours * HOUR_MS

    def notify(self, id_: str, key: str, at_ms: int, event: Event) -> None:
        """Put a notification into the outbox, once."""
        control_store.put(self.link, id_, "notification", key, at_ms, self.now_ms, event)

    # --- control ------------------------------------------------------------------------------------------------

    def request(self, request: ControlRequest) -> Decision:
        """Decide, keep the request as history, and carry out what changed."""
        decision = decide(
            self.row_of(request.key),
            request,
            self.now_ms,
            owner=self.owner_of(request.agent_id),
            stale_ms=self.stale_ms,
            trips=self.trips_of(request.key) if request.wanted in ("active", "throttled") else Trips(),
        )
        control_store.remember(self.link, request, decision, self.now_ms)
        if not decision.changed:
            return decision
        row = decision.row
        if row.state != "releasing":
            self._apply(row, None)
            return decision
        self._release(row)
        return Decision(row=self.row_of(row.key) or row, changed=True, recorded_only=False, why=decision.why)

    def trips_of(self, key: str) -> Trips:
        """How often detectors stopped an agent in the last 30 days."""
        return trips_in(control_store.changes_since(self.link, key, self.now_ms - TRIPS_MS), self.now_ms)

    def _watch_ms(self, key: str) -> int:
        """How long the release of this row is watched."""
        gate = self.settings.gate
        is_due = gate.watch == "always" or (gate.watch == "repeated" and self.trips_of(key).count > 1)
        return gate.watch_minutes * MINUTE_MS if is_due else 0

    def owner_of(self, agent_id: str) -> str:
        """Who answers for an agent, as far as the settings say."""
        known = self.settings.agents.get(agent_id)
        return known.owner if known is not None else ""

    def confirm(self, key: str, epoch: int) -> None:
        """The release record of this epoch was judged: it is active, if no trip came of what lies before."""
        row = self.row_of(key)
        if row is None:
            return
        if row.state != "releasing" or row.epoch != epoch:
            return
        confirmed = confirm_release(row, epoch, self.now_ms, watch_ms=self._watch_ms(key))
        if confirmed.changed:
            self._apply_alone(confirmed)

    def expire_throttles(self, rows: Iterable[ControlRow]) -> None:
        """End those throttles whose time is over."""
        for row in [row for row in rows if row.state == "throttled"]:
            decision = expire(row, self.now_ms)
            if decision.changed:
                self._apply_alone(decision)

    def count(self, *what: str, number: int = 1) -> None:
        """Count something for metrics and status: what, then its labels."""
        self.counts[what] = self.counts.get(what, 0) + number

    # --- inside -------------------------------------------------------------------------------------------------

    def _release(self, row: ControlRow) -> None:
        """Everything before the release record is judged first."""
        data = Release(agent_id=row.agent_id, epoch=row.epoch, by=row.by.id, reason=row.reason)
        event = envelope(ReleaseEvent, self.engine_id, f"release:{row.key}:{row.epoch}", self.now_ms, row.key, data)
        self._apply(row, self.say(row.key, event))
        self.release_is_said(row)

    def _apply_alone(self, decision: Decision) -> None:
        """Carry out what follows from the row itself, without a request of anybody's, and keep it as history."""
        row = decision.row
        request = ControlRequest(
            key=row.key,
            agent_id=row.agent_id,
            wanted="active",
            basis_epoch=row.epoch - 1,
            by=row.by,
            reason=row.reason,
            at_ms=self.now_ms,
        )
        control_store.remember(self.link, request, decision, self.now_ms)
        self._apply(row, None)

    def _apply(self, row: ControlRow, release_offset: int | None) -> None:
        self.keep_row(row)
        control_store.store(self.link, row, release_offset)
        id_ = f"control:{row.key}:{row.epoch}"
        event = envelope(ControlEvent, self.engine_id, id_, self.now_ms, row.key, control_of(row))
        control_store.put(self.link, f"{self.engine_id}:{id_}", "control", row.key, row.at_ms, self.now_ms, event)
        self.say(row.key, event)
        self.changed.add(("control", row.key))
        self.count("control", row.state)
