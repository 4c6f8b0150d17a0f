"""One transaction of the writer: append, judge, store what came of it, commit.

Nothing that a round does is seen by anybody before its commit; a round that fails leaves the store as it was, and
the writer throws its memory away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from events import codec
from events.times import HOUR_MS, format_ms
from events.types import (
    DEFAULT_TENANT,
    ActivityEvent,
    By,
    ControlEvent,
    Event,
    FindingEvent,
    LogEvent,
    Release,
    ReleaseEvent,
)
from governance.control import (
    WANTED_STATE,
    ControlRequest,
    ControlRow,
    Decision,
    confirm_release,
    control_of,
    decide,
    expire,
)
from governance.operation import canonical_contact
from storage import control as control_store
from storage import gate as gate_store
from storage import log, projections
from streams.envelopes import envelope, split_key
from streams.records import Output
from streams.routing import ACTIONS, CRM, INPUT_TOPICS, PORTFOLIO
from streams.sinks.notices import FAULTS
from streams.standalone.bands import Band
from streams.standalone.core import Core
from streams.standalone.recent import NOTHING
from streams.standalone.types import Changes, Prepared


class Round:
    """An open transaction. Use ``begin``, then append and judge, then ``commit`` or ``abandon``."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.now_ms = core.now_ms()
        self._now_text = ""
        self.changed: set[tuple[str, str]] = set()
        self.counts: dict[tuple[str, ...], int] = {}
        self.wrong_records: list[tuple[str, int]] = []
        self.denials: list[tuple[str, int]] = []
        self.bands: list[Band] = []
        self._risks: list[tuple[str, str, int, Any]] = []
        self._names: list[tuple[str, int, Any]] = []
        self._touched: set[str] = set()
        self._contacts: set[tuple[str, str, int]] = set()

    def count(self, *what: str, number: int = 1) -> None:
        """Count something for metrics and status: what, then its labels."""
        self.counts[what] = self.counts.get(what, 0) + number

    @property
    def now_text(self) -> str:
        """The round's time as text."""
        if not self._now_text:
            self._now_text = format_ms(self.now_ms)
        return self._now_text

    def begin(self) -> None:
        """Open the transaction."""
        self.core.link.execute("BEGIN IMMEDIATE")

    # --- the log ------------------------------------------------------------------------------------------------

    def append(self, topic: str, event: LogEvent, raw: bytes | None = None, ids: bytes = NOTHING) -> int:
        """Append a record to a topic; returns its offset."""
        if raw is None:
            raw = codec.encode(event)
        self._touched.add(topic)
        return self.core.lanes[topic].append(self.now_ms, raw, event, ids)

    def append_all(self, items: Sequence[Prepared]) -> None:
        """Append producers' events, each to every topic that it belongs to."""
        if len({item.topics for item in items}) == 1:
            for topic in items[0].topics:
                self._extend(topic, items)
            return
        for topic in INPUT_TOPICS:
            mine = [item for item in items if topic in item.topics]
            if mine:
                self._extend(topic, mine)

    def _extend(self, topic: str, items: Sequence[Prepared]) -> None:
        self._touched.add(topic)
        self.core.lanes[topic].extend(self.now_ms, items)
        self.count("action" if topic == ACTIONS else "deal_event", number=len(items))
        if topic == CRM:
            self._know_contacts(items)

    def _know_contacts(self, items: Sequence[Prepared]) -> None:
        """People that somebody was in touch with, as the CRM says; an agent's own word does not count."""
        for item in items:
            event = item.event
            if type(event) is not ActivityEvent or event.data.participants is UNSET:
                continue
            by = event.data.logged_by
            if by is UNSET or by.kind == "agent":
                continue
            for one in event.data.participants:
                if one.contact_id:
                    tenant = DEFAULT_TENANT if event.tenant is UNSET else event.tenant
                    self._contacts.add((tenant, canonical_contact(one.contact_id), self.now_ms))

    def judge(self) -> None:
        """Let the stages judge what was appended, and what comes of that, until nothing is left."""
        lanes = self.core.lanes.values()
        busy = True
        while busy:
            busy = False
            for lane in lanes:
                if lane.pending:
                    busy = True
                    for output in lane.stage.process(lane.take_pending()):
                        self._handle(output)

    # --- outputs ------------------------------------------------------------------------------------------------

    def _handle(self, output: Output) -> None:
        kind, event = output.kind, output.event
        if kind == "score":
            self._names.append((split_key(output.key)[0], output.at_ms, event.data))  # type: ignore[attr-defined]
            self.append(PORTFOLIO, event)  # type: ignore[arg-type]
        elif kind == "risk":
            self._risks.append((output.id, output.key, output.at_ms, event))
            self.changed.add(("deal", output.key))
        elif kind == "marker":
            self.append(PORTFOLIO, event)  # type: ignore[arg-type]
        elif kind == "finding":
            self._finding(output, event)  # type: ignore[arg-type]
        elif kind == "report":
            self.append(ACTIONS, event)  # type: ignore[arg-type]
        elif kind == "alert":
            self._alert(output)
        elif kind == "top":
            self._top(output)

    def _finding(self, output: Output, event: FindingEvent) -> None:
        core, data = self.core, event.data
        self.changed.add(("finding", output.key))
        asks = WANTED_STATE.get(data.action_taken) if data.mode == "enforce" else None
        is_stale = self.now_ms - output.at_ms > core.settings.engine.stale_request_hours * HOUR_MS
        status = "shadow" if data.mode == "shadow" else "noted"
        offset = core.lanes[ACTIONS].next_offset
        if not projections.store_finding(core.link, output.key, output.at_ms, offset, event, status):
            return
        self.count("finding", data.detector, data.mode)
        if data.evidence.unit == FAULTS:
            self.count("fault", data.detector)
        if asks is not None:
            decision = self.request(
                ControlRequest(
                    key=output.key,
                    agent_id=data.agent_id,
                    wanted=asks,
                    basis_epoch=data.basis_epoch,
                    by=By("detector", data.detector),
                    reason=data.evidence.summary,
                    at_ms=output.at_ms,
                    finding_id=data.finding_id,
                )
            )
            projections.set_status(core.link, data.finding_id, "applied" if decision.changed else "recorded")
            if decision.changed and asks == "suspended":
                self.wrong_records.append((data.detector, int(data.evidence.observed)))
        if data.action_taken != "none" and not is_stale:
            self.notify(data.finding_id, output.key, output.at_ms, event)

    def _alert(self, output: Output) -> None:
        event: Any = output.event
        if projections.store_alert(self.core.link, output.id, output.key, event):
            self.count("alert", event.data.kind)
            self.changed.add(("alert", output.key))
            stale_ms = self.core.settings.engine.stale_request_hours * HOUR_MS
            if self.now_ms - output.at_ms <= stale_ms:
                self.notify(output.id, output.key, output.at_ms, event)

    def _top(self, output: Output) -> None:
        data: Any = output.event.data  # type: ignore[attr-defined]
        projections.store_top(self.core.link, output.key, output.at_ms, data.rows)
        self.changed.add(("top", output.key))

    def notify(self, id_: str, key: str, at_ms: int, event: Event) -> None:
        """Put a notification into the outbox, once."""
        control_store.put(self.core.link, id_, "notification", key, at_ms, self.now_ms, event)

    # --- control ------------------------------------------------------------------------------------------------

    def request(self, request: ControlRequest) -> Decision:
        """Let the authority decide, keep the request as history, and carry out what changed."""
        core = self.core
        decision = decide(
            core.control.get(request.key),
            request,
            self.now_ms,
            owner=core.owner_of(request.agent_id),
            stale_ms=core.settings.engine.stale_request_hours * HOUR_MS,
        )
        control_store.remember(core.link, request, decision, self.now_ms)
        if not decision.changed:
            return decision
        if decision.row.state == "releasing":
            return self._release(request, decision)
        self._apply(decision.row, None)
        return decision

    def _release(self, request: ControlRequest, decision: Decision) -> Decision:
        """Everything before the release record is judged first; it is active if no trip came of that."""
        row = decision.row
        data = Release(agent_id=row.agent_id, epoch=row.epoch, by=row.by.id, reason=row.reason)
        event = envelope(
            ReleaseEvent, self.core.engine_id, f"release:{row.key}:{row.epoch}", self.now_ms, row.key, data
        )
        self._apply(row, self.append(ACTIONS, event))
        self.judge()
        self.confirm(row)
        return Decision(row=self.core.control[row.key], changed=True, recorded_only=False, why=decision.why)

    def confirm(self, row: ControlRow) -> None:
        """The release record of this row was judged."""
        confirmed = confirm_release(self.core.control[row.key], row.epoch, self.now_ms)
        if confirmed.changed:
            self._apply_alone(confirmed)

    def confirm_open_releases(self) -> None:
        """After a start: everything in the log is judged, so a release that was under way is done."""
        for row in [row for row in self.core.control.values() if row.state == "releasing"]:
            self.confirm(row)

    def expire_throttles(self) -> None:
        """End the throttles whose time is over."""
        for row in [row for row in self.core.control.values() if row.state == "throttled"]:
            decision = expire(row, self.now_ms)
            if decision.changed:
                self._apply_alone(decision)

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
        control_store.remember(self.core.link, request, decision, self.now_ms)
        self._apply(row, None)

    def _apply(self, row: ControlRow, release_offset: int | None) -> None:
        core = self.core
        core.control[row.key] = row
        control_store.store(core.link, row, release_offset)
        id_ = f"control:{row.key}:{row.epoch}"
        event = envelope(ControlEvent, core.engine_id, id_, self.now_ms, row.key, control_of(row))
        control_store.put(core.link, f"{core.engine_id}:{id_}", "control", row.key, row.at_ms, self.now_ms, event)
        self.append(ACTIONS, event)
        self.changed.add(("control", row.key))
        self.count("control", row.state)

    # --- dead letters ---------------------------------------------------------------------------------------------

    def dead_letter(
        self,
        raw: bytes,
        reason: str,
        message: str,
        origin: dict[str, Any],
        agent_id: str | None,
        tenant: str = "default",
    ) -> int:
        """Keep a record that can't be taken; returns its number."""
        self.count("dead_letter", reason)
        return projections.store_dead_letter(
            self.core.link,
            at_ms=self.now_ms,
            reason=reason,
            message=message,
            origin=origin,
            raw=raw,
            tenant=tenant,
            agent_id=agent_id,
        )

    # --- the end --------------------------------------------------------------------------------------------------

    def commit(self) -> Changes:
        """Write the segments and make everything durable; returns what changed."""
        core = self.core
        for topic in self._touched:
            lane = core.lanes[topic]
            base = lane.next_offset - len(lane.appended_raws)
            log.append(core.link, topic, base, lane.appended_times, lane.appended_raws, b"".join(lane.appended_ids))
        if self._risks:
            projections.store_risks(core.link, self._risks)
        if self._names:
            projections.store_names(core.link, self._names)
        if self._contacts:
            gate_store.know_contacts(core.link, sorted(self._contacts))
        core.decided.write(core.link)
        core.link.execute("COMMIT")
        core.add_counts(self.counts)
        return self._changes()

    def _changes(self) -> Changes:
        by_kind: dict[str, set[str]] = {"agent": set(), "deal": set()}
        for kind, key in self.changed:
            about = "deal" if kind == "deal" else "agent"
            if kind not in ("alert", "top"):
                by_kind[about].add(split_key(key)[1])
        kinds = {kind for kind, _ in self.changed}
        return Changes(
            agents=frozenset(by_kind["agent"] | self._agents()),
            deals=frozenset(by_kind["deal"]),
            kinds=frozenset(kinds | ({"tick"} if ("tick",) in self.counts else set())),
            counts=self.counts,
            wrong_records=self.wrong_records,
        )

    def _agents(self) -> set[str]:
        """The agents about which something was appended."""
        if ACTIONS not in self._touched:
            return set()
        found = {
            getattr(event.data, "agent_id", None)  # type: ignore[attr-defined]
            for event in self.core.lanes[ACTIONS].appended_events
        }
        return {agent_id for agent_id in found if isinstance(agent_id, str)}

    def abandon(self) -> None:
        """Give the transaction up; the caller must make the core again."""
        link = self.core.link
        if link.in_transaction:
            link.execute("ROLLBACK")
