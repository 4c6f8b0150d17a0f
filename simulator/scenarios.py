"""Rogue scenarios with ground truth: what goes wrong, with whom, from when to when, and in which events.

A scenario has draws of its own: the same seed without it gives the same ordinary events at the same times, but for
those that the scenario changes on purpose (and the values that it left behind in the CRM).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, Struct

from events.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from events.types import ActionError, ActionEvent, ActivityEvent, ChangeEvent, Event
from simulator.draws import Draws
from simulator.load import shape
from simulator.organisation import Simulation
from simulator.spec import AgentSpec, OrgSpec
from simulator.work import Step, Timed, Worker, update
from simulator.world import Record

Kind = Literal[
    "spike_10",
    "spike_30",
    "error_streak",
    "bulk",
    "recipients",
    "metronome",
    "loop",
    "nonsense",
    "backlog_flood",
    "outage",
    "crm_outage",
    "new_ids",
]
Expected = Literal["stop", "no_stop", "gate"]
WRONG_VALUE = "Unknown"
"""What a confused agent writes; into numbers, phones and addresses nothing at all."""
ROGUE_RUN = 90_000
"""Run numbers of what a scenario adds start here."""


class Label(Struct, kw_only=True):
    """The ground truth of one scenario. Times are when the log takes the first and last of its events.

    ``expected``: "stop" = a detector should stop the agent; "no_stop" = it must not be stopped for this;
    "gate" = no detector of single agents can see it, the gate's refusal of unknown agents is the answer.
    """

    agent_id: str
    kind: Kind
    expected: Expected
    start_ms: int
    end_ms: int
    event_ids: list[str] = []


class Placed(Struct, frozen=True):
    """Which scenario befalls which agent, from when on."""

    kind: Kind
    agent_id: str
    at_ms: int


class Result:
    """A run with scenarios: iterate over it once, in the order of time; then its labels are complete."""

    def __init__(self, spec: OrgSpec, seed: int, start_ms: int, days: int, placed: Sequence[Placed]) -> None:
        self.labels: list[Label] = []
        self._simulation = Simulation(spec, seed, start_ms)
        self._placed = sorted(placed, key=lambda one: (one.at_ms, one.agent_id, one.kind))
        self._seed = seed
        self._hours = days * 24
        self._outages: list[_Outage | _CrmOutage] = []

    def __iter__(self) -> Iterator[Event]:
        return (event for _, event in self.timeline())

    def timeline(self) -> Iterator[tuple[int, Event]]:
        """When the log takes each event, and the event."""
        simulation = self._simulation
        for _ in range(self._hours):
            while self._placed and self._placed[0].at_ms < simulation.now_ms + HOUR_MS:
                self._start(self._placed.pop(0))
            batch = simulation.hour()
            for outage in self._outages:
                batch = outage.delay(batch, simulation.now_ms)
            yield from batch
        for outage in self._outages:
            yield from outage.delay([], outage.end_ms + DAY_MS)

    def _start(self, placed: Placed) -> None:
        label = Label(
            agent_id=placed.agent_id,
            kind=placed.kind,
            expected=_EXPECTED.get(placed.kind, "stop"),
            start_ms=placed.at_ms,
            end_ms=placed.at_ms,
        )
        self.labels.append(label)
        if placed.kind == "outage":
            self._outages.append(_Outage(label, self._simulation))
            return
        if placed.kind == "crm_outage":
            self._outages.append(_CrmOutage(label))
            return
        worker = self._simulation.worker(placed.agent_id)
        if placed.kind in ("error_streak", "nonsense"):
            worker.fault = _Streak(label, worker) if placed.kind == "error_streak" else _Nonsense(label, worker)
            return
        draws = Draws(self._seed, "scenario", placed.kind, placed.agent_id, placed.at_ms)
        rogue = self._simulation.second_worker(placed.agent_id, f"{placed.kind.replace('_', '-')}-{len(self.labels)}")
        added = _ADDED[placed.kind](rogue, draws, placed.at_ms)
        _note(label, added)
        self._simulation.add(len(self._simulation.workers), added)


def place(spec: AgentSpec, kind: Kind, seed: int, start_ms: int, days: int, *, warm_up_days: int = 8) -> Placed:
    """The scenario at a time when this agent is at work, after its warm-up; drawn from the seed."""
    draws = Draws(seed, "place", kind, spec.agent_id)
    while True:
        at_ms = start_ms + warm_up_days * DAY_MS + draws.below((days - warm_up_days) * DAY_MS - 2 * HOUR_MS)
        if draws.random() < shape(spec, at_ms):
            return Placed(kind, spec.agent_id, at_ms)


def typical_per_hour(spec: AgentSpec) -> float:
    """The mean count of an agent's working hours of a week (those above a fifth of its busiest)."""
    monday_ms = 4 * DAY_MS
    shapes = [shape(spec, monday_ms + hour * HOUR_MS + HOUR_MS // 2) for hour in range(7 * 24)]
    busy = [share for share in shapes if share >= 0.2 * max(shapes)]
    return spec.actions_per_hour * sum(busy) / len(busy)


def metronome_agent(agent_id: str = "metronome") -> AgentSpec:
    """An agent without any ordinary load, for the scenario "metronome"."""
    return AgentSpec(agent_id=agent_id, kind="always_on", actions_per_hour=0.0, error_probability=0.0)


# --- what scenarios add -----------------------------------------------------------------------------------------


def _spike(factor: int) -> Callable[[Worker, Draws, int], list[Timed]]:
    def add(worker: Worker, draws: Draws, at_ms: int) -> list[Timed]:
        count = draws.poisson((factor - 1) * typical_per_hour(worker.spec))
        times = sorted(at_ms + draws.below(HOUR_MS) for _ in range(max(1, count)))
        return _do_all(worker, [(time_ms, worker.next_step()) for time_ms in times])

    return add


def _bulk(worker: Worker, draws: Draws, at_ms: int) -> list[Timed]:
    del draws
    accounts = worker.world.accounts
    chosen = [accounts[i % len(accounts)] for i in range(200)]
    records = [
        Record(object="Account", id=a.id if i < len(accounts) else f"{a.id}-{i}", name=a.name, fields=dict(a.fields))
        for i, a in enumerate(chosen)
    ]
    step = Step(
        action="record.update",
        object="Account",
        records=records,
        changes={record.id: {"segment": (record.fields["segment"], "Enterprise")} for record in records},
    )
    return _do_all(worker, [(at_ms, step)])


def _recipients(worker: Worker, draws: Draws, at_ms: int) -> list[Timed]:
    contacts = worker.world.contacts
    first = draws.below(len(contacts))
    people = [f"{contacts[(first + i) % len(contacts)].id}" for i in range(80)]
    step = Step(action="email.send", object="EmailMessage", recipients=people, is_external=True)
    return _do_all(worker, [(at_ms, step)])


def _metronome(worker: Worker, draws: Draws, at_ms: int) -> list[Timed]:
    del draws
    times = [at_ms + minute * MINUTE_MS for minute in range(24 * 60)]
    jump_ms = at_ms + DAY_MS
    times.extend(jump_ms + 10 * i for i in range(60 * 100))
    return _do_all(worker, [(time_ms, worker.next_step()) for time_ms in times])


def _loop(worker: Worker, draws: Draws, at_ms: int) -> list[Timed]:
    record = draws.pick(worker.world.accounts)
    values = ("Enterprise", "Mid-market")
    found: list[Timed] = []
    for i in range(200):
        record.fields["segment"] = values[(i + 1) % 2]
        found.extend(_do_all(worker, [(at_ms, update(record, "segment", values[i % 2]))]))
        at_ms += draws.between(3, 8) * SECOND_MS
    return found


def _backlog_flood(worker: Worker, draws: Draws, at_ms: int) -> list[Timed]:
    """3,000 ordinary actions of the last ten hours arrive within two minutes."""
    effects = sorted(at_ms - draws.between(10 * MINUTE_MS, 10 * HOUR_MS) for _ in range(3000))
    found: list[Timed] = []
    for place_in_row, effect_ms in enumerate(effects):
        logged_ms = at_ms + place_in_row * 40
        found.extend((logged_ms, _logged(event, logged_ms, worker)) for _, event in _act(worker, effect_ms))
    return found


def _new_ids(worker: Worker, draws: Draws, at_ms: int) -> list[Timed]:
    """300 calls in half an hour, each under another agent's name."""
    found: list[Timed] = []
    for i in range(300):
        time_ms = at_ms + i * 6 * SECOND_MS + draws.below(3 * SECOND_MS)
        event = _act(worker, time_ms)[0][1]
        if isinstance(event, ActionEvent):
            alias = f"{worker.spec.agent_id}-{i + 1:03d}"
            data = msgspec.structs.replace(event.data, agent_id=alias)
            event = msgspec.structs.replace(event, data=data, subject=f"agent/{alias}", partitionkey=alias)
        found.append((time_ms, event))
    return found


def _act(worker: Worker, at_ms: int) -> list[Timed]:
    return worker.do(at_ms, worker.next_step(), ROGUE_RUN)


def _do_all(worker: Worker, steps: Sequence[tuple[int, Step]]) -> list[Timed]:
    found: list[Timed] = []
    for at_ms, step in steps:
        found.extend(worker.do(at_ms, step, ROGUE_RUN))
    return found


def _logged(event: Event, logged_ms: int, worker: Worker) -> Event:
    return msgspec.structs.replace(event, loggedat=worker.envelope.time_text(logged_ms))


def _note(label: Label, added: Sequence[Timed]) -> None:
    actions = [(at_ms, event.id) for at_ms, event in added if isinstance(event, ActionEvent)]
    label.event_ids.extend(event_id for _, event_id in actions)
    label.start_ms = min(at_ms for at_ms, _ in actions)
    label.end_ms = max(at_ms for at_ms, _ in actions)


_ADDED: dict[Kind, Callable[[Worker, Draws, int], list[Timed]]] = {
    "spike_10": _spike(10),
    "spike_30": _spike(30),
    "bulk": _bulk,
    "recipients": _recipients,
    "metronome": _metronome,
    "loop": _loop,
    "backlog_flood": _backlog_flood,
    "new_ids": _new_ids,
}
_EXPECTED: dict[Kind, Expected] = {
    "backlog_flood": "no_stop",
    "outage": "no_stop",
    "crm_outage": "no_stop",
    "new_ids": "gate",
}
KINDS: tuple[Kind, ...] = (*_ADDED, "error_streak", "nonsense", "outage", "crm_outage")


# --- what scenarios change --------------------------------------------------------------------------------------


class _Streak:
    """From its start on, the agent's next twelve actions on one record type all fail in the same way."""

    length = 12

    def __init__(self, label: Label, worker: Worker) -> None:
        self._label = label
        self._worker = worker
        self._object = ""
        self._is_mine = False

    def touch(self, at_ms: int, step: Step) -> tuple[Step, ActionError | None]:
        if not self._object and at_ms >= self._label.start_ms:
            self._object = step.object
        self._is_mine = bool(self._object) and step.object == self._object
        error = ActionError("FIELD_CUSTOM_VALIDATION_EXCEPTION", f"{step.object}: a required field is missing")
        return step, error if self._is_mine else None

    def done(self, at_ms: int, event_id: str) -> None:
        if not self._is_mine:
            return
        label = self._label
        if not label.event_ids:
            label.start_ms = at_ms
        label.event_ids.append(event_id)
        label.end_ms = at_ms
        if len(label.event_ids) == self.length:
            self._worker.fault = None


class _Nonsense:
    """For an hour, at its ordinary pace, every value that the agent writes is "Unknown" or empty."""

    def __init__(self, label: Label, worker: Worker) -> None:
        self._label = label
        self._begin_ms = label.start_ms
        self._worker = worker
        self._is_mine = False

    def touch(self, at_ms: int, step: Step) -> tuple[Step, ActionError | None]:
        self._is_mine = False
        if at_ms >= self._begin_ms + HOUR_MS:
            self._worker.fault = None
        elif at_ms >= self._begin_ms and step.changes:
            self._is_mine = True
            step = wrong_update(step)
        return step, None

    def done(self, at_ms: int, event_id: str) -> None:
        if not self._is_mine:
            return
        label = self._label
        if not label.event_ids:
            label.start_ms = at_ms
        label.event_ids.append(event_id)
        label.end_ms = at_ms


def wrong_value(field: str) -> str | None:
    """What a confused agent writes into this field."""
    return None if field in ("employees", "phone", "website") else WRONG_VALUE


def wrong_update(step: Step) -> Step:
    """The same update, but every new value is "Unknown", or empty where the field takes no words."""
    changes = {
        record_id: {n: (change[0], wrong_value(n)) for n, change in fields.items() if isinstance(change, tuple)}
        for record_id, fields in step.changes.items()
    }
    values = [(fields, name, wrong_value(name)) for fields, name, _ in step.new_values]
    return msgspec.structs.replace(step, changes=changes, new_values=values)


class _Outage:
    """For two hours the connector of one agent is down; then everything comes at once, in its old order."""

    length_ms = 2 * HOUR_MS

    def __init__(self, label: Label, simulation: Simulation) -> None:
        self._label = label
        self._worker = simulation.worker(label.agent_id)
        self._begin_ms = label.start_ms
        self.end_ms = label.start_ms + self.length_ms
        self._held: list[Event] = []
        self._next_ms = self.end_ms

    def delay(self, batch: list[tuple[int, Event]], until_ms: int) -> list[tuple[int, Event]]:
        """The batch without what the outage holds back, and with what it lets go before ``until_ms``."""
        kept = [item for item in batch if not self._holds(item)]
        late: list[tuple[int, Event]] = []
        while self._held and until_ms > self.end_ms and self._next_ms < until_ms:
            event = self._held.pop(0)
            late.append((self._next_ms, _logged(event, self._next_ms, self._worker)))
            self._note(event)
            self._next_ms += 20
        return sorted(kept + late, key=lambda item: item[0]) if late else kept

    def _holds(self, item: tuple[int, Event]) -> bool:
        at_ms, event = item
        is_its = isinstance(event, ActionEvent) and event.data.agent_id == self._label.agent_id
        if not (is_its and self._begin_ms <= at_ms < self.end_ms) or event.loggedat is not UNSET:
            return False
        self._held.append(event)
        return True

    def _note(self, event: Event) -> None:
        if not self._label.event_ids:
            self._label.start_ms = self._next_ms
        self._label.event_ids.append(event.id)
        self._label.end_ms = self._next_ms


class _CrmOutage:
    """For twenty minutes whatever any agent does fails with one error, which does not say that it will pass.

    The label is that of the agent it was placed with; its events are those of all agents that failed.
    """

    length_ms = 20 * MINUTE_MS

    def __init__(self, label: Label) -> None:
        self._label = label
        self._begin_ms = label.start_ms
        self.end_ms = label.start_ms + self.length_ms

    def delay(self, batch: list[tuple[int, Event]], until_ms: int) -> list[tuple[int, Event]]:
        """The batch as it is with the CRM down: nothing is delayed, actions fail and change nothing."""
        del until_ms
        return [(at_ms, self._failed(at_ms, event)) for at_ms, event in batch if self._happens(at_ms, event)]

    def _is_down(self, at_ms: int) -> bool:
        return self._begin_ms <= at_ms < self.end_ms

    def _happens(self, at_ms: int, event: Event) -> bool:
        return isinstance(event, ActionEvent) or not (self._is_down(at_ms) and _is_of_agent(event))

    def _failed(self, at_ms: int, event: Event) -> Event:
        if not (isinstance(event, ActionEvent) and self._is_down(at_ms)):
            return event
        label = self._label
        if not label.event_ids:
            label.start_ms = at_ms
        label.event_ids.append(event.id)
        label.end_ms = at_ms
        error = ActionError("UNKNOWN_EXCEPTION", "an unexpected error occurred")
        data = msgspec.structs.replace(event.data, outcome="error", error=error, changes=UNSET)
        return msgspec.structs.replace(event, data=data)


def _is_of_agent(event: Event) -> bool:
    if isinstance(event, ChangeEvent):
        return event.data.actor is not UNSET and event.data.actor.kind == "agent"
    return (
        isinstance(event, ActivityEvent) and event.data.logged_by is not UNSET and event.data.logged_by.kind == "agent"
    )
