"""Driving the stages through a log: offsets, ticks at fixed boundaries, and what one stage feeds another.

A raw file has no log of its own, so one is laid out: each event takes an offset in its topic at its own time, and a
tick stands at every boundary. Ticks at which nothing can happen take their offset but are not delivered: a quiet
night costs nothing, and the outputs are the same as with every tick delivered (there is a test for that).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from events.rows import DEAL_ROW, ROW
from events.types import ActionEvent, ActivityEvent
from streams.agents import QUARTER_MS
from streams.engine import Topology
from streams.keyed import AHEAD_OF_TICK_MS
from streams.records import READ_BACK, Entry, Output, Stage
from streams.replay.reader import Item
from streams.routing import ACTIONS, topics_of
from streams.ticks import tick_event

_FLUSH = 20_000

Sink = Callable[[Sequence[Output]], None]


class Lane:
    """One topic's log as it is laid out: the next offset, and records not yet given to the stage."""

    __slots__ = ("held", "offset", "stage", "tick_ms")

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.offset = 0
        self.tick_ms = 0
        self.held: list[Entry] = []

    def take(self, at_ms: int, event: object) -> None:
        """Append a record."""
        self.held.append((self.offset, at_ms, event))  # type: ignore[arg-type]
        self.offset += 1

    def flush(self) -> list[Output]:
        """Give what is held to the stage."""
        if not self.held:
            return []
        held, self.held = self.held, []
        return self.stage.process(held)


class Drive:
    """Feeds events in time order through the three stages; outputs go to ``sink`` in each stage's order."""

    def __init__(
        self, topology: Topology, engine_id: str, tick_ms: int, sink: Sink, *, deliver_all_ticks: bool = False
    ) -> None:
        self.topology = topology
        self.engine_id = engine_id
        self.step_ms = tick_ms
        self.sink = sink
        self.deliver_all = deliver_all_ticks
        self.actions = Lane(topology.agents)
        self.crm = Lane(topology.deals)
        self.portfolio = Lane(topology.portfolio)
        self.now_tick = -1
        self._has_acted = False
        self._calm_until = 0

    def feed(self, items: Iterable[Item]) -> None:
        """Take events in (time, source, id) order."""
        step, actions, crm = self.step_ms, self.actions, self.crm
        held, offset = actions.held, actions.offset
        next_ms = (self.now_tick + 1) * step if self.now_tick >= 0 else 0
        event: Any
        for at_ms, _, _, _, event in items:
            if at_ms >= next_ms:
                tick = at_ms // step
                self._has_acted = self._has_acted or offset != actions.offset
                actions.offset = offset
                if tick < self._calm_until:
                    self._skip_to(tick)
                else:
                    self.advance(tick)
                    held = actions.held
                offset = actions.offset
                next_ms = (tick + 1) * step
            kind = type(event)
            if kind is ROW or kind is ActionEvent:
                held.append((offset, at_ms, event))
                offset += 1
                continue
            self._calm_until = 0
            crm.held.append((crm.offset, at_ms, event))
            crm.offset += 1
            if kind is DEAL_ROW:
                if event.is_by_agent:
                    held.append((offset, at_ms, event.event))
                    offset += 1
            elif kind is not ActivityEvent and ACTIONS in topics_of(event):
                held.append((offset, at_ms, event))
                offset += 1
        self._has_acted = self._has_acted or offset != actions.offset
        actions.offset = offset
        if len(held) >= _FLUSH:
            self.sink(actions.flush())
        if len(self.crm.held) >= _FLUSH:
            self._flush_crm()

    def finish(self) -> None:
        """Judge what is held, and one last tick, so that the last scores are decided."""
        if self.now_tick >= 0:
            self.advance(self.now_tick + 1)
        self.sink(self.actions.flush())
        self._flush_crm()
        self.sink(self.portfolio.flush())

    def advance(self, tick: int) -> None:
        """Move the clock of all topics to a tick (its number, in steps since 1970)."""
        first = self.now_tick + 1 if self.now_tick >= 0 else tick
        self._advance_actions(first, tick)
        self._advance_crm(first, tick)
        self.now_tick = tick
        self._calm_until = self._next_that_matters()

    def _skip_to(self, tick: int) -> None:
        """Let ticks pass at which nothing can happen: they take their offsets."""
        passed = tick - self.now_tick
        for lane in (self.actions, self.crm, self.portfolio):
            lane.offset += passed
        self.now_tick = tick

    def _next_that_matters(self) -> int:
        """The first tick from which on ``advance`` has to look, as long as no event of a deal comes."""
        if self.deliver_all or self.crm.held or self.portfolio.held:
            return 0
        per_quarter = max(1, QUARTER_MS // self.step_ms)
        until = (self.now_tick // per_quarter + 1) * per_quarter
        for lane in (self.actions, self.crm):
            until = min(until, (lane.tick_ms + AHEAD_OF_TICK_MS) // self.step_ms)
        for stage in (self.topology.deals, self.topology.portfolio):
            due_ms = stage.next_due_ms()
            if due_ms is not None:
                until = min(until, -(-due_ms // self.step_ms))
        return until

    # --- agent.actions: ticks matter at quarter hours, and to let stream time follow -----------------------------

    def _advance_actions(self, first: int, last: int) -> None:
        lane, tick = self.actions, first
        while tick <= last:
            wanted = self._next_actions_tick(tick, last)
            lane.offset += wanted - tick
            if wanted > last:
                return
            at_ms = wanted * self.step_ms
            lane.take(at_ms, tick_event(self.engine_id, at_ms))
            lane.tick_ms = at_ms
            if at_ms % QUARTER_MS == 0:
                self._read_back(at_ms)
            tick = wanted + 1

    def _next_actions_tick(self, first: int, last: int) -> int:
        """The first tick from ``first`` on that matters to the agents; ``last + 1`` when none does."""
        if self.deliver_all:
            return first
        wanted = last + 1
        if self._has_acted or self.topology.agents.shared.factor != 1.0:
            per_quarter = max(1, QUARTER_MS // self.step_ms)
            wanted = -(-first // per_quarter) * per_quarter
        due_ms = self.topology.agents.next_due_ms()
        if due_ms is not None:
            wanted = min(wanted, max(first, -(-due_ms // self.step_ms)))
        if wanted > last and self._is_behind(self.actions, last):
            return last
        return min(wanted, last + 1)

    def _is_behind(self, lane: Lane, last: int) -> bool:
        """Whether an event in the step after tick ``last`` would be held back by the last tick delivered."""
        return lane.tick_ms + AHEAD_OF_TICK_MS < (last + 1) * self.step_ms

    def _read_back(self, at_ms: int) -> None:
        """At a quarter hour: judge what is held; the common load, or what peers do, is the next record."""
        outputs = self.actions.flush()
        self._has_acted = False
        self.sink(outputs)
        for output in outputs:
            if output.kind in READ_BACK:
                self.actions.take(at_ms, output.event)

    # --- crm.events and what it feeds: ticks matter when a timer is due or scores wait for a marker ---------------

    def _advance_crm(self, first: int, last: int) -> None:
        self._flush_crm()
        tick = first
        while tick <= last:
            wanted = self._next_crm_tick(tick, last)
            self.crm.offset += wanted - tick
            self.portfolio.offset += wanted - tick
            if wanted > last:
                return
            at_ms = wanted * self.step_ms
            self.crm.take(at_ms, tick_event(self.engine_id, at_ms))
            self.crm.tick_ms = at_ms
            self._flush_crm()
            self.sink(self.portfolio.flush())
            tick = wanted + 1

    def _next_crm_tick(self, first: int, last: int) -> int:
        """The first tick from ``first`` on at which something can happen; ``last + 1`` when there is none."""
        if self.deliver_all:
            return first
        stages = (self.topology.deals, self.topology.portfolio)
        due = [ms for ms in (stage.next_due_ms() for stage in stages) if ms is not None]
        wanted = max(first, -(-min(due) // self.step_ms)) if due else last + 1
        if wanted > last and self._is_behind(self.crm, last):
            return last
        return min(wanted, last + 1)

    def _flush_crm(self) -> None:
        """Risks go out; scores and markers become records of the portfolio."""
        if not self.crm.held:
            return
        outputs = self.crm.flush()
        self.sink(outputs)
        lane = self.portfolio
        held, offset = lane.held, lane.offset
        for output in outputs:
            if output.kind != "risk":  # scores and markers
                held.append((offset, output.at_ms, output.event))  # type: ignore[arg-type]
                offset += 1
        lane.offset = offset
