"""One transaction of the writer: append, judge, store what came of it, commit.

Nothing that a round does is seen by anybody before its commit; a round that fails leaves the store as it was, and
the writer throws its memory away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from events import codec
from events.times import format_ms
from events.types import ActivityEvent, Event, LogEvent
from governance.control import ControlRow
from storage import approvals, log, projections
from storage import gate as gate_store
from storage.projections import Letter
from streams import approving, containing, reverting
from streams.approving import changed_in
from streams.authority import Authority, ForAgent
from streams.contacts import met_in
from streams.envelopes import split_key
from streams.records import READ_BACK, Output
from streams.routing import ACTIONS, CRM, INPUT_TOPICS, PORTFOLIO
from streams.standalone.bands import Band
from streams.standalone.core import Core
from streams.standalone.recent import NOTHING
from streams.standalone.types import Changes, Prepared
from streams.whereabouts import Learned


class Round(Authority):
    """An open transaction. Use ``begin``, then append and judge, then ``commit`` or ``abandon``."""

    def __init__(self, core: Core) -> None:
        super().__init__(core.link, core.settings, core.engine_id, core.now_ms())
        self.core = core
        self._now_text = ""
        self.denials: list[tuple[str, int]] = []
        self.bands: list[Band] = []
        self._risks: list[tuple[str, str, int, Any]] = []
        self._names: list[tuple[str, int, Any]] = []
        self._touched: set[str] = set()
        self._contacts: set[tuple[str, str, int]] = set()
        self.told: list[Event] = []
        """What the CRM's feed told; it is held against the gate's decisions at the end."""
        self._learned = Learned(core.settings)

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
            for item in items:
                if type(item.event) is ActivityEvent:
                    self._contacts.update(met_in(item.event, self.now_ms))
                else:
                    self._learned.take(item.event)
            self.told.extend([item.event for item in items])
        if self.has_watched:
            for item in items:
                for tenant, record_id, what in changed_in(item.event):
                    self.touched(tenant, record_id, item.effect_ms, what)

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
            offset = self.core.lanes[ACTIONS].next_offset
            self.take_finding(output.key, output.at_ms, offset, event)  # type: ignore[arg-type]
        elif kind in READ_BACK:
            self.append(ACTIONS, event)  # type: ignore[arg-type]
        elif kind == "alert":
            self._alert(output)
        elif kind == "top":
            self._top(output)

    def _alert(self, output: Output) -> None:
        event: Any = output.event
        if projections.store_alert(self.core.link, output.id, output.key, event):
            self.count("alert", event.data.kind)
            self.changed.add(("alert", output.key))
            if not self.is_stale(output.at_ms):
                self.notify(output.id, output.key, output.at_ms, event)

    def _top(self, output: Output) -> None:
        data: Any = output.event.data  # type: ignore[attr-defined]
        projections.store_top(self.core.link, output.key, output.at_ms, data.rows, data.close_out)
        self.changed.add(("top", output.key))

    # --- control ------------------------------------------------------------------------------------------------

    def row_of(self, key: str) -> ControlRow | None:
        """The row of a key; None when it was never controlled."""
        return self.core.control.get(key)

    def keep_row(self, row: ControlRow) -> None:
        """Remember a row that was written."""
        self.core.control[row.key] = row

    def say(self, key: str, event: ForAgent) -> int:
        """Put an event into the agents' input partition; its offset."""
        return self.append(ACTIONS, event)

    def release_is_said(self, row: ControlRow) -> None:
        """Everything before the release record is judged now; it is active if no trip came of that."""
        self.judge()
        self.confirm(row.key, row.epoch)

    def confirm_open_releases(self) -> None:
        """After a start: everything in the log is judged, so a release that was under way is done."""
        for row in [row for row in self.core.control.values() if row.state == "releasing"]:
            self.confirm(row.key, row.epoch)

    # --- approvals ------------------------------------------------------------------------------------------------

    @property
    def has_watched(self) -> bool:
        """Whether there are approvals whose records somebody may change."""
        return bool(self.core.watched) or self._asks()

    def _asks(self) -> bool:
        """Whether this round has made or changed approvals: what is watched is known again after its commit."""
        return any(kind == "approval" for kind, _ in self.changed)

    def touched(self, tenant: str, record_id: str, effect_ms: int, what: str) -> None:
        """A record was changed: approvals about it that were asked before are over."""
        if (tenant, record_id) in self.core.watched or self._asks():
            approving.touch(self, tenant, record_id, effect_ms, what)

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
        letter = Letter(
            at_ms=self.now_ms,
            reason=reason,
            message=message,
            origin=origin,
            raw=raw,
            tenant=tenant,
            agent_id=agent_id,
        )
        return projections.store_dead_letter(self.core.link, letter) or 0

    # --- the end --------------------------------------------------------------------------------------------------

    def commit(self) -> Changes:
        """Write the segments and make everything durable; returns what changed."""
        core = self.core
        if self.told:
            containing.look(self, self.told, core.identities, core.decided.unfiled)
            if reverting.look(self, self.told, core.identities):
                self.judge()
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
        self._learned.write(core.link)
        core.decided.write(core.link)
        core.link.execute("COMMIT")
        core.add_counts(self.counts)
        if self._asks():
            core.watched = approvals.watched(core.link)
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
