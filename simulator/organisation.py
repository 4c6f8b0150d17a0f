"""Runs a simulated sales organisation hour by hour and hands out its events in the order of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from events.times import DAY_MS, HOUR_MS, MINUTE_MS
from events.types import Event
from simulator.deals import Deals
from simulator.envelope import Envelope
from simulator.load import AgentLoad
from simulator.spec import AgentSpec, OrgSpec
from simulator.work import Timed, Worker
from simulator.world import World

Item = tuple[int, int, int, Event]
"""Time, place of the entity, running number of the event, the event: sorts without comparing events."""


class Simulation:
    """One run. ``start_ms`` should be a UTC midnight; ``now_ms`` is the first time not yet simulated."""

    def __init__(self, spec: OrgSpec, seed: int, start_ms: int) -> None:
        if start_ms % HOUR_MS:
            raise ValueError(f"start_ms {start_ms} is not a full hour")
        self.spec = spec
        self.start_ms = start_ms
        self.now_ms = start_ms
        self.world = World(spec, seed)
        self.envelope = Envelope(spec.name, spec.tenant)
        self.loads = [AgentLoad(spec, agent, seed, start_ms) for agent in spec.agents]
        self._seed = seed
        self.workers = [self._new_worker(agent, agent.agent_id) for agent in spec.agents]
        self._first_day = self._local_day(start_ms)
        syncs = [agent.active_from_day for agent in spec.agents if agent.role == "stage"]
        sync_from = self._first_day + min(syncs) if syncs else None
        self._deals = Deals(spec, self.world, seed, self.envelope, sync_from) if spec.has_deals else None
        self._deals_day = self._first_day - 1
        self._waiting: list[Item] = []
        self._count = 0

    def worker(self, agent_id: str) -> Worker:
        """The worker of one agent, for scenarios."""
        return next(worker for worker in self.workers if worker.spec.agent_id == agent_id)

    def second_worker(self, agent_id: str, name: str) -> Worker:
        """Another worker for an agent, with ids and draws of its own: what it does disturbs no ordinary draws."""
        return self._new_worker(self.worker(agent_id).spec, f"{agent_id}-{name}")

    def _new_worker(self, agent: AgentSpec, name: str) -> Worker:
        return Worker(agent, self.world, self._seed, self.envelope, self.spec.mirrors, name)

    def hour(self) -> list[tuple[int, Event]]:
        """The events of the next hour, ordered by time."""
        begin, end = self.now_ms, self.now_ms + HOUR_MS
        self._begin_day(begin)
        if self._deals is not None:
            self._deals.pass_on(begin)
        planned: list[tuple[int, int, int]] = []
        for place, load in enumerate(self.loads):
            planned.extend((at_ms, place, run) for at_ms, run in load.hour(begin))
        planned.sort()
        for at_ms, place, run in planned:
            self.add(place, self.workers[place].act(at_ms, run))
        self._waiting.sort()
        ready = [item for item in self._waiting if item[0] < end]
        self._waiting = self._waiting[len(ready) :]
        self.now_ms = end
        return [(at_ms, event) for at_ms, _, _, event in ready]

    def _begin_day(self, at_ms: int) -> None:
        day = self._local_day(at_ms)
        if self._deals is None or day == self._deals_day:
            return
        self._deals_day = day
        self.add(-1, self._deals.day(day, self._first_day))

    def add(self, place: int, timed: Iterable[Timed]) -> None:
        """Put events into the time to come; ``place`` orders events of the same millisecond."""
        for at_ms, event in timed:
            self._count += 1
            self._waiting.append((at_ms, place, self._count, event))

    def _local_day(self, at_ms: int) -> int:
        return (at_ms + self.spec.utc_offset_minutes * MINUTE_MS) // DAY_MS


def timeline(spec: OrgSpec, seed: int, start_ms: int, days: int) -> Iterator[tuple[int, Event]]:
    """Time and event of everything that happens in these days, in the order of time."""
    simulation = Simulation(spec, seed, start_ms)
    for _ in range(days * 24):
        yield from simulation.hour()


def simulate(spec: OrgSpec, seed: int, start_ms: int, days: int) -> Iterator[Event]:
    """Everything that happens in these days, in the order of time.

    Parameters: ``seed`` any whole number; ``start_ms`` a full hour, best a UTC midnight, in ms since 1970.
    The same spec, seed, start and days give the same events on any machine.
    """
    return (event for _, event in timeline(spec, seed, start_ms, days))
