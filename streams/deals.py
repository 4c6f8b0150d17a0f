"""Stage "deals": every change and activity around a deal into its features, its score, and what moved it.

A change of a deal's own record makes a deal; activities that come before it wait in a stub that is not scored.
Risks go out at once, also when time alone moved a score (timers, at ticks). What the portfolio reads goes out at the
tick: one score for each deal that changed since the last one, then a marker. A deal that closes is not scored any
more; its last score says ``is_open`` false.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from msgspec import UNSET
from xxhash import xxh3_128_hexdigest

from events.rows import event_of
from events.times import DAY_MS, MINUTE_MS, format_ms
from events.types import (
    DEFAULT_TENANT,
    ActivityEvent,
    ChangeEvent,
    DealRisk,
    LogEvent,
    Marker,
    MarkerEvent,
    ModelEvent,
    PortfolioScore,
    Reason,
    RiskEvent,
    ScoreEvent,
    TickEvent,
    tenant_of,
)
from governance.settings import Deals
from scoring.causes import activity_cause, change_cause, time_cause
from scoring.compiled import Figures
from scoring.features import EVERYTHING, Terms, apply_activity, apply_change, deal_of, effect_ms
from scoring.model import BadModel
from scoring.outcomes import Closed, Outcomes, owner_group, segment_group
from scoring.plan import NEVER_MS, Scores
from scoring.reasons import Ranked, recommended_action
from scoring.stages import Process
from scoring.state import DealState, Status, dump, load
from scoring.tables import PROVEN_DEALS
from streams.compiled import DealsJudge
from streams.deal_models import Scoring, dump_common, load_common
from streams.envelopes import make_key, split_key
from streams.keyed import META_KEY, Keyed, KeyedStage
from streams.records import Entry, Output, Partition

_OPEN = int(Status.OPEN)
UNASSIGNED = "unassigned"
"""The portfolio of deals whose manager nobody named."""
TOLD_REASONS = 5
"""How many reasons a score carries to the portfolio, the strongest first."""
MODEL_FAULT = "deal_model"
"""Counted among faults: a record named a model that can't score, so the one before it goes on."""
_MODEL_CAUSE = "Another model scores deals from now on"


class Deal:
    """One deal's state, and what can be made again from it.

    The compiled stage keeps the state's numbers in ``figures``, which may be ahead of the state (``Figures``).
    """

    __slots__ = ("_state", "armed_ms", "deal_id", "facts", "figures", "reasons", "scores", "tenant")

    def __init__(self, key: str, state: DealState) -> None:
        self.tenant, self.deal_id = split_key(key)
        self._state = state
        self.figures = None if Figures is None else Figures()
        self.scores: Scores | None = None
        self.facts: list[Ranked] | None = None
        self.reasons: list[Reason] | None = None
        self.armed_ms = NEVER_MS

    @property
    def state(self) -> DealState:
        """The state, brought up to date: it may be changed, until the next record is judged."""
        if self.figures is not None and self.figures.is_ahead:
            self.figures.settle(self._state)
        return self._state

    def dump(self) -> bytes:
        """The state as bytes."""
        if self.figures is not None:
            self.figures.write(self._state)
        return dump(self._state)


class DealsStage(KeyedStage[Deal]):
    """Scores deals. Parameters: the partition and the settings of deals."""

    name = "deals"
    topic = "crm.events"

    def __init__(self, partition: Partition, settings: Deals) -> None:
        super().__init__(partition)
        process = process_of(settings)
        zone = ZoneInfo(settings.time_zone)
        self.terms = (
            Terms(process, settings.currency, settings.managers)
            if settings.time_zone == "UTC"
            else Terms(process, settings.currency, settings.managers, zone)
        )
        self.silent_days = settings.silent_days
        self.link = settings.link
        self.outcomes = Outcomes()
        self._rolled_day = -1
        self._source = f"/tripline/{partition.engine_id}"
        self._id_start = f"{partition.engine_id}\x1f{self.name}\x1f"
        self._id_middle = f"\x1f{partition.topic_id}\x1f{partition.index}\x1f"
        self._last_ms, self._last_text = -1, ""
        self._minute, self._minute_text = -1, ""
        self._timers: list[tuple[int, str]] = []
        self._changed: set[str] = set()
        self._default_tenant: dict[Any, Keyed[Deal]] = {}
        is_plain = type(self) is DealsStage  # a subclass has methods of its own, which compiled code would pass over
        self._judge = DealsJudge(self, Deal, UNASSIGNED, TOLD_REASONS) if is_plain and DealsJudge is not None else None
        self._use(Scoring(process, settings.silent_days))

    # --- the hot path -------------------------------------------------------------------------------------------

    def process(self, entries: Sequence[Entry]) -> list[Output]:
        """Judge records in log order; changes and activities take the short way, everything else the general one.

        The short way is ``process_entry`` written out: calls cost more than the work here.
        """
        out: list[Output] = []
        known_deals = self._default_tenant
        if self._judge is not None:
            self._judge.process(entries, known_deals, out)
            return out
        event: Any
        for entry in entries:
            offset, at, event = entry[0], entry[1], event_of(entry[2])
            kind = type(event)
            if kind is not ActivityEvent and kind is not ChangeEvent:
                self.process_entry(entry, out)
                continue
            if offset < self.next_offset:
                continue
            self.next_offset = offset + 1
            if at > self._free_until_ms or at < self.stream_ms:
                at = self.advance(at)
            else:
                self.stream_ms = at
            name = event.data.deal_id if kind is ActivityEvent else deal_of(event.data)
            if not name:
                continue
            keyed = known_deals.get(name) if event.tenant is UNSET else None
            if keyed is None:
                keyed = self.keyed(make_key(tenant_of(event), name))
                if event.tenant is UNSET:
                    known_deals[name] = keyed
            if offset < keyed.next_offset:
                continue
            keyed.next_offset = offset + 1
            if not keyed.is_dirty:
                self.mark(keyed)
            if not self.is_duplicate(offset, at, event, keyed, out):
                self.apply(offset, at, event, keyed, out)
        return out

    def key_of(self, event: Any) -> str | None:
        """The deal that a record is about; None for what is about no deal."""
        kind = type(event)
        if kind is ActivityEvent:
            name = event.data.deal_id
        elif kind is ChangeEvent:
            name = deal_of(event.data)
        else:
            return None
        return make_key(tenant_of(event), name) if name else None

    def apply(self, offset: int, at_ms: int, event: Any, keyed: Keyed[Deal], out: list[Output]) -> None:
        """Take one change or activity into the deal's state, and say it when that moves the score."""
        deal, data = keyed.body, event.data
        state = deal.state
        if type(event) is ActivityEvent:
            fresh = apply_activity(state, data, effect_ms(data.occurred_at, event.time, at_ms), at_ms)
        else:
            fresh = EVERYTHING
            self._change(offset, at_ms, event, keyed)
        state.judged_ms = at_ms
        deal.reasons = None
        if state.status != _OPEN:
            return
        if state.rates_day != at_ms // DAY_MS:
            self._rate(deal, at_ms // DAY_MS)
        if state.has_new_facts:
            deal.facts = None
        if self.card.refresh(state, at_ms, fresh) and self._is_moved(deal):
            cause = activity_cause(data) if type(event) is ActivityEvent else change_cause(data)
            out.append(self._risk(offset, at_ms, keyed, self._reasons(deal), cause))
            state.is_changed = True
            self._changed.add(keyed.key)
        if state.next_ms < deal.armed_ms:
            deal.armed_ms = state.next_ms
            heappush(self._timers, (state.next_ms, keyed.key))

    def on_system(self, offset: int, at_ms: int, event: Any, out: list[Output]) -> bool:
        """A model: it scores from here on, and every open deal anew; a version below the last one changes nothing."""
        if type(event) is not ModelEvent:
            return False
        if event.data.version > self.scoring.version:
            try:
                scoring = Scoring(self.terms.process, self.silent_days, event.data)
            except BadModel:
                self.faults[MODEL_FAULT] += 1
            else:
                self._use(scoring)
                self._score_all(offset, at_ms, out)
        return True

    def on_tick(self, offset: int, tick_ms: int, out: list[Output]) -> None:
        """Fire the timers that are due, tell the portfolio what changed since the last tick, and mark the tick."""
        timers = self._timers
        awaited = self._changed
        if timers and timers[0][0] <= tick_ms:
            awaited = awaited | (self._due(tick_ms) if self._judge is None else self._judge.due(tick_ms))
        if self._judge is not None:
            self._judge.tell(offset, tick_ms, awaited, out)
        else:
            self._tell_all(offset, tick_ms, awaited, out)
        out.append(self._marker(offset, tick_ms))

    def _tell_all(self, offset: int, tick_ms: int, awaited: set[str], out: list[Output]) -> None:
        for key in sorted(awaited):
            keyed = self.keys[key]
            if not self.begin(keyed, offset):  # a state from after this tick: what it has to tell waits for the next
                continue
            self._changed.discard(key)
            state = keyed.body.state
            if state.next_ms <= tick_ms and state.status == _OPEN:
                self._pass_time(offset, tick_ms, keyed, out)
            if state.is_changed:
                self._tell(offset, tick_ms, keyed, out)

    def next_due_ms(self) -> int | None:
        """When a tick is next needed: at once when scores wait for one, else when a timer is due; None if never."""
        if self._changed:
            return self.tick_ms
        return self._timers[0][0] if self._timers else None

    # --- parts --------------------------------------------------------------------------------------------------

    def _use(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self.card, self.explainer = scoring.card, scoring.explainer
        if self._judge is not None:
            self._judge.use(scoring)

    def _score_all(self, offset: int, at_ms: int, out: list[Output]) -> None:
        """Judge every open deal by the model that was taken at ``offset``."""
        for key in sorted(self.keys):
            keyed = self.keys[key]
            deal, state = keyed.body, keyed.body.state
            if not state.is_open:
                continue
            if not self.begin(keyed, offset):  # a state from after this record: it was judged by this model or a later
                self._remember(deal, key)
                continue
            state.model, state.judged_ms, state.has_new_facts = self.scoring.version, at_ms, True
            deal.facts = deal.reasons = None
            self.card.judge(state, at_ms)
            if self._is_moved(deal):
                out.append(self._risk(offset, at_ms, keyed, self._reasons(deal), _MODEL_CAUSE))
                self._note(keyed)
            self._arm(deal, key)

    def _remember(self, deal: Deal, key: str) -> None:
        """What follows from a restored state; nothing yet if a model judged it whose record is still to be read."""
        if deal.state.model == self.scoring.version:
            deal.scores = self.card.scores(deal.state)
            self._arm(deal, key)

    def _change(self, offset: int, at_ms: int, event: ChangeEvent, keyed: Keyed[Deal]) -> None:
        deal, data = keyed.body, event.data
        state = deal.state
        was_open = state.status in (Status.OPEN, Status.STUB)
        apply_change(state, data, effect_ms(data.committed_at, event.time, at_ms), self.terms)
        if state.status == Status.OPEN:
            state.model = self.scoring.version
            self._note(keyed)
        elif was_open:
            self._close(offset, at_ms, deal)
            self._note(keyed)

    def _close(self, offset: int, at_ms: int, deal: Deal) -> None:
        state = deal.state
        state.closed_ms = at_ms
        if deal.scores is not None and not state.told_manager:
            # Opened and closed between two ticks: its risk was said, so it must be said that it is over.
            state.told_manager = self._manager(state) or UNASSIGNED
        state.touches.clear()
        state.people.clear()
        state.people_ids.clear()
        state.people_ms.clear()
        state.meetings.clear()
        deal.scores = deal.facts = deal.reasons = None
        if state.counted_offset < 0 and state.status in (Status.WON, Status.LOST):
            state.counted_offset = offset
            state.counted_as = (state.closed_ms // DAY_MS, state.owner_id, state.segment, state.status == Status.WON)
            self.outcomes.close(_closed(deal))

    def _rate(self, deal: Deal, day: int) -> None:
        """Bring the win rates that the deal is scored with to this day."""
        if day > self._rolled_day:
            self.outcomes.roll(day)
            self._rolled_day = day
        state, tenant, outcomes = deal.state, deal.tenant, self.outcomes
        state.rates_day = day
        state.is_proven = outcomes.closed_deals(tenant) >= PROVEN_DEALS
        owner = outcomes.points_above(owner_group(tenant, state.owner_id), tenant)
        segment = outcomes.points_above(segment_group(tenant, state.segment), tenant)
        if owner != state.owner_points or segment != state.segment_points:
            state.owner_points, state.segment_points = owner, segment
            state.has_new_facts = True

    def _due(self, tick_ms: int) -> set[str]:
        """The deals that a timer has come for; timers that were set too early are set anew."""
        timers, due = self._timers, set()
        while timers and timers[0][0] <= tick_ms:
            armed_ms, key = heappop(timers)
            deal = self.keys[key].body
            if armed_ms != deal.armed_ms:
                continue
            deal.armed_ms = NEVER_MS
            if not deal.state.is_open:
                continue
            if deal.state.next_ms <= tick_ms:
                due.add(key)
            else:
                self._arm(deal, key)
        return due

    def _arm(self, deal: Deal, key: str) -> None:
        if deal.state.next_ms < deal.armed_ms:
            deal.armed_ms = deal.state.next_ms
            heappush(self._timers, (deal.armed_ms, key))

    def _pass_time(self, offset: int, tick_ms: int, keyed: Keyed[Deal], out: list[Output]) -> None:
        deal = keyed.body
        before = list(deal.state.bins)
        deal.state.judged_ms = tick_ms
        deal.reasons = None
        if self.card.refresh(deal.state, tick_ms) and self._is_moved(deal):
            reasons = self._reasons(deal)
            cause = time_cause(self.card, deal.state, before, reasons)
            out.append(self._risk(offset, tick_ms, keyed, reasons, cause))
            deal.state.is_changed = True
        self._arm(deal, keyed.key)

    def _is_moved(self, deal: Deal) -> bool:
        """Whether the deal's scores are others than those last said; remembers them."""
        scores = self.card.scores(deal.state)
        if scores is deal.scores or scores == deal.scores:
            return False
        deal.scores = scores
        return True

    def _reasons(self, deal: Deal) -> list[Reason]:
        """The deal's reasons as of its last record or timer."""
        if deal.reasons is None:
            if deal.facts is None:
                deal.facts = self.explainer.facts(deal.state)
            deal.reasons = self.explainer.reasons(deal.state, deal.state.judged_ms, deal.facts)
        return deal.reasons

    def _note(self, keyed: Keyed[Deal]) -> None:
        keyed.body.state.is_changed = True
        self._changed.add(keyed.key)

    # --- what it says -------------------------------------------------------------------------------------------

    def _risk(self, offset: int, at_ms: int, keyed: Keyed[Deal], reasons: list[Reason], cause: str) -> Output:
        deal, key = keyed.body, keyed.key
        state, scores = deal.state, deal.scores
        assert scores is not None  # noqa: S101 - callers have just judged it
        at = self._text_of(at_ms)
        data = DealRisk(
            deal_id=deal.deal_id,
            manager_id=self._manager(state) or None,
            owner_id=state.owner_id or None,
            at=at,
            offset=offset,
            p_lost=scores.p_lost,
            p_lost_14d=scores.p_lost_14d,
            p_slip=scores.p_slip,
            p_won_by=scores.p_won_by,
            band=scores.band,
            base=self.card.base,
            reasons=reasons,
            model=self.scoring.proven if state.is_proven else self.scoring.unproven,
            cause=cause,
        )
        event_id = self._id_of(key, offset, "risk")
        event = RiskEvent(
            specversion="1.0",
            id=event_id,
            source=self._source,
            time=at,
            partitionkey=deal.deal_id,
            datacontenttype="application/json",
            data=data,
            tenant=UNSET if deal.tenant == DEFAULT_TENANT else deal.tenant,
        )
        return Output("risk", event_id, key, at_ms, event)

    def _tell(self, offset: int, tick_ms: int, keyed: Keyed[Deal], out: list[Output]) -> None:
        """The deal as its manager's portfolio is to see it; a portfolio that it left is told so first."""
        deal = keyed.body
        state = deal.state
        state.is_changed = False
        manager = self._manager(state) or UNASSIGNED
        if state.told_manager and state.told_manager != manager:
            out.append(self._score(offset, tick_ms, keyed, state.told_manager, is_here=False))
        if state.is_open or state.told_manager:
            out.append(self._score(offset, tick_ms, keyed, manager, is_here=state.is_open))
        state.told_manager = manager if state.is_open else ""

    def _score(self, offset: int, tick_ms: int, keyed: Keyed[Deal], manager: str, *, is_here: bool) -> Output:
        deal = keyed.body
        state, scores = deal.state, deal.scores
        reasons = self._reasons(deal) if is_here else []
        data = PortfolioScore(
            deal_id=deal.deal_id,
            manager_id=manager,
            owner_id=state.owner_id,
            p_lost=scores.p_lost if scores else 0.0,
            p_slip=scores.p_slip if scores else 0.0,
            p_lost_14d=scores.p_lost_14d if scores else 0.0,
            is_open=is_here,
            deal=state.name,
            account=state.account,
            amount_minor=state.amount_minor,
            currency=state.currency or self.terms.currency,
            close_date=state.close_date,
            stage=state.stage,
            link=self.link.replace("{deal_id}", quote(deal.deal_id, safe="")) if self.link else "",
            reasons=reasons[:TOLD_REASONS],
            recommended_action=recommended_action(state, reasons) if is_here else "",
        )
        event_id = self._id_of(keyed.key, offset, "score", manager)
        key = make_key(deal.tenant, manager)
        event = ScoreEvent(
            specversion="1.0",
            id=event_id,
            source=self._source,
            time=self._text_of(tick_ms),
            partitionkey=manager,
            datacontenttype="application/json",
            data=data,
            tenant=UNSET if deal.tenant == DEFAULT_TENANT else deal.tenant,
        )
        return Output("score", event_id, key, tick_ms, event)

    def _marker(self, offset: int, tick_ms: int) -> Output:
        event_id = self._id_of(META_KEY, offset, "marker")
        at = self._text_of(tick_ms)
        event = MarkerEvent(
            specversion="1.0",
            id=event_id,
            source=self._source,
            time=at,
            datacontenttype="application/json",
            data=Marker(at=at, partition=self.partition.index),
        )
        return Output("marker", event_id, META_KEY, tick_ms, event)

    def _id_of(self, key: str, offset: int, kind: str, subject: str = "") -> str:
        """What ``output_id`` gives, with the parts that never change put together once."""
        return xxh3_128_hexdigest(f"{self._id_start}{key}{self._id_middle}{offset}\x1f{kind}\x1f\x1f{subject}".encode())

    def _text_of(self, at_ms: int) -> str:
        """The time as text, put together from its minute's; scores of one tick share it."""
        if at_ms != self._last_ms:
            minute = at_ms // MINUTE_MS
            if minute != self._minute:
                self._minute, self._minute_text = minute, format_ms(minute * MINUTE_MS)[:17]
            second, ms = divmod(at_ms - minute * MINUTE_MS, 1000)
            self._last_text = (
                f"{self._minute_text}{second:02d}.{ms:03d}Z" if ms else f"{self._minute_text}{second:02d}Z"
            )
            self._last_ms = at_ms
        return self._last_text

    def _manager(self, state: DealState) -> str:
        return state.manager_id or self.terms.managers.get(state.owner_id, "")

    # --- state --------------------------------------------------------------------------------------------------

    def new_body(self, key: str) -> Deal:
        """A deal never heard of before."""
        return Deal(key, DealState())

    def dump_body(self, body: Deal) -> bytes:
        """A deal's state as bytes."""
        return body.dump()

    def load_body(self, key: str, blob: bytes, version: int) -> Deal:
        """A deal's state from its bytes."""
        if version != self.state_version:
            raise ValueError(f"deal {key!r}: state version {version} is not known; this is {self.state_version}")
        return Deal(key, load(blob))

    def dump_shared(self) -> bytes:
        """The win rates of all owners and segments, and the model."""
        return dump_common(self.outcomes, self.scoring.said)

    def load_shared(self, blob: bytes) -> None:
        """Take back the win rates and the model."""
        self.outcomes, said = load_common(blob)
        self._use(Scoring(self.terms.process, self.silent_days, said))

    def is_common(self, event: LogEvent) -> bool:
        """A tick reads many deals: their timers, and what they have to tell the portfolio. A model judges all anew."""
        return type(event) is TickEvent or type(event) is ModelEvent

    def restored(self) -> None:
        """Set the timers again, and count closings that lie beyond the resume offset (they are not read again)."""
        self._timers.clear()
        self._changed.clear()
        self._default_tenant.clear()
        self._rolled_day = -1
        for key in sorted(self.keys):
            deal = self.keys[key].body
            state = deal.state
            if state.is_changed:
                self._changed.add(key)
            if state.counted_offset >= self.next_offset:
                self.outcomes.close(_closed(deal))
            if state.is_open:
                self._remember(deal, key)

    def deal_state(self, key: str) -> DealState | None:
        """The state of a deal by its key ("tenant/deal"), for what-ifs; None when it is not known."""
        keyed = self.keys.get(key)
        return None if keyed is None else keyed.body.state


def process_of(settings: Deals) -> Process:
    """The sales process that the settings describe."""
    return Process((stage.name, stage.norm_days, stage.is_won, stage.is_lost) for stage in settings.stages)


def _closed(deal: Deal) -> Closed:
    counted = deal.state.counted_as
    assert counted is not None  # noqa: S101 - set with counted_offset
    day, owner, segment, is_won = counted
    return Closed(day, deal.tenant, owner, segment, is_won)
