"""What an agent does when it acts: one small function a role, with plausible values before and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import UNSET, Struct

from events.times import DAY_MS, MINUTE_MS
from events.types import (
    ActionError,
    Actor,
    AgentAction,
    CrmActivity,
    CrmChange,
    Event,
    FieldChanges,
    Trigger,
)
from simulator import names
from simulator.draws import Draws
from simulator.envelope import Envelope
from simulator.spec import AgentSpec
from simulator.world import OpenDeal, Record, World, phone_number

SYSTEM = "simulated-crm"
Timed = tuple[int, Event]
_ERRORS = (
    ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record"),
    ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "the value is not in the list"),
    ("REQUEST_LIMIT_EXCEEDED", "too many requests in this minute"),
)
_ACCOUNT_FIELDS = ("employees", "industry", "phone", "website", "segment")
_FEED_DELAY_MS = (120, 900)


class Step(Struct, kw_only=True, gc=False):
    """What one action does, before it is known whether the CRM takes it."""

    action: str
    object: str = ""
    records: list[Record] = []
    changes: dict[str, FieldChanges] = {}
    recipients: list[str] = []
    deal: OpenDeal | None = None
    is_external: bool = False
    new_values: list[tuple[dict[str, Any], str, Any]] = []


class Fault(Protocol):
    """Something that goes wrong in an agent's ordinary work, see ``simulator.scenarios``."""

    def touch(self, at_ms: int, step: Step) -> tuple[Step, ActionError | None]:
        """The step as the faulty agent does it, and the error that it meets."""

    def done(self, at_ms: int, event_id: str) -> None:
        """The step that was touched last went out as this event."""


class Worker:
    """Turns the times of one agent into its actions and the CRM's records of them.

    ``name`` is the beginning of its events' ids and chooses its draws.
    """

    def __init__(self, spec: AgentSpec, world: World, seed: int, envelope: Envelope, mirrors: str, name: str) -> None:
        self.spec = spec
        self.world = world
        self.envelope = envelope
        self.name = name
        self.draws = Draws(seed, "work", name)
        self.count = 0
        self.fault: Fault | None = None
        self._mirrors = mirrors
        self._feed = Draws(seed, "feed", name)
        self._step = _ROLES[spec.role]
        self._actor = Actor("agent", spec.agent_id)

    def act(self, at_ms: int, run: int) -> list[Timed]:
        """One action of an ordinary day, with its change records, ordered by time."""
        draws = self.draws
        step = self.next_step()
        fails = draws.random() < self.spec.error_probability
        error = ActionError(*draws.pick(_ERRORS)) if fails else None
        fault = self.fault
        if fault is None:
            return self.do(at_ms, step, run, error)
        step, met = fault.touch(at_ms, step)
        found = self.do(at_ms, step, run, met or error)
        fault.done(at_ms, found[0][1].id)
        return found

    def next_step(self) -> Step:
        """What the agent would do next on an ordinary day."""
        return self._step(self)

    def do(self, at_ms: int, step: Step, run: int, error: ActionError | None = None) -> list[Timed]:
        """The action's event, then (if the CRM took it) the changed records and what went out to the buyer."""
        self.count += 1
        authorizer = self.spec.authorizers[run % len(self.spec.authorizers)]
        trigger, run_id = self._trigger(at_ms, run), f"run-{run:05d}"
        event_id = f"{self.name}-{self.count:07d}"
        found: list[Timed] = [
            (at_ms, self.envelope.action(at_ms, event_id, self._data(step, trigger, run_id, authorizer, error)))
        ]
        if error is not None:
            return found
        for fields, name, value in step.new_values:
            fields[name] = value
        if step.changes and (self._mirrors == "all" or (self._mirrors == "deals" and step.deal is not None)):
            found.extend(self._change_records(at_ms, event_id, step))
        if step.action == "email.send" and step.deal is not None:
            found.append(self._sent_mail(at_ms, event_id, step, step.deal))
        return found

    def _data(
        self, step: Step, trigger: Trigger, run_id: str, authorizer: str, error: ActionError | None
    ) -> AgentAction:
        deal = step.deal
        return AgentAction(
            agent_id=self.spec.agent_id,
            action=step.action,
            outcome="ok" if error is None else "error",
            agent_version=self.spec.version,
            object=step.object or UNSET,
            record_ids=[record.id for record in step.records],
            changes=step.changes or UNSET,
            recipients=len(step.recipients),
            recipient_ids=step.recipients,
            external=step.is_external,
            authorized_by=names.user(authorizer),
            trigger=trigger,
            error=error,
            run_id=run_id,
            deal_id=UNSET if deal is None else deal.id,
            owner_id=UNSET if deal is None else deal.owner_id,
            system=SYSTEM,
        )

    def _change_records(self, at_ms: int, event_id: str, step: Step) -> list[Timed]:
        at_ms += self._feed.between(*_FEED_DELAY_MS)
        deal = step.deal
        found: list[Timed] = []
        for index, (record_id, changes) in enumerate(step.changes.items()):
            data = CrmChange(
                object=step.object,
                record_id=record_id,
                op="update",
                changes=changes,
                actor=self._actor,
                deal_id=UNSET if deal is None else deal.id,
                owner_id=UNSET if deal is None else deal.owner_id,
                system=SYSTEM,
                transaction=event_id,
                index=index,
            )
            found.append((at_ms, self.envelope.change(at_ms, f"{event_id}#{index}", data)))
        return found

    def _sent_mail(self, at_ms: int, event_id: str, step: Step, deal: OpenDeal) -> Timed:
        at_ms += self._feed.between(*_FEED_DELAY_MS)
        data = CrmActivity(
            kind="email",
            deal_id=deal.id,
            direction="outbound",
            participants=[contact.participant() for contact in deal.contacts if contact.id in step.recipients],
            occurred_at=self.envelope.time_text(at_ms),
            logged_by=self._actor,
            system=SYSTEM,
        )
        return at_ms, self.envelope.activity(at_ms, f"{event_id}-mail", data)

    def _trigger(self, at_ms: int, run: int) -> Trigger:
        kind, ref = _TRIGGERS[self.spec.role]
        if kind == "schedule":
            minute = (at_ms // MINUTE_MS + self.spec.utc_offset_minutes) % (DAY_MS // MINUTE_MS)
            minute -= minute % 15
            return Trigger(kind, f"{ref} {minute // 60:02d}:{minute % 60:02d}")
        if kind == "prompt" or run % 9 == 0:
            return Trigger("prompt", f"request {run:05d}")
        return Trigger(kind, ref)


_TRIGGERS = {
    "enrich": ("schedule", "enrich-accounts"),
    "notes": ("event", "call.ended"),
    "outreach": ("rule", "flow:follow-up"),
    "stage": ("rule", "flow:stage-sync"),
    "route": ("event", "lead.created"),
    "quote": ("prompt", ""),
}


# --- roles ----------------------------------------------------------------------------------------------------


def _enrich(worker: Worker) -> Step:
    world, draws = worker.world, worker.draws
    is_account = draws.chance(0.7)
    record = draws.pick(world.accounts if is_account else world.contacts)
    if draws.chance(worker.spec.read_share):
        return Step(action="record.read", object=record.object, records=[record])
    name = draws.pick(_ACCOUNT_FIELDS if is_account else ("job_title", "phone"))
    value = _enriched(record, name, draws)
    while value == record.fields[name]:
        # It has nothing new to say about this field; a phone number is rarely the same twice.
        name, value = "phone", phone_number(draws)
    return update(record, name, value)


def _enriched(record: Record, name: str, draws: Draws) -> Any:
    if name == "employees":
        return max(5, (record.fields[name] or 500) + draws.between(-6, 9) * 5)
    if name == "phone":
        return phone_number(draws)
    if name == "website":
        return f"{names.slug(record.name)}.example"
    if name == "industry":
        return draws.pick(names.INDUSTRIES[record.industry])
    return draws.pick(names.SEGMENTS if name == "segment" else names.JOB_TITLES)


def update(record: Record, name: str, value: Any, deal: OpenDeal | None = None) -> Step:
    """An update of one field of one record; only a look at it when the value is right already."""
    if record.fields.get(name) == value:
        return Step(action="record.read", object=record.object, records=[record], deal=deal)
    return Step(
        action="record.update",
        object=record.object,
        records=[record],
        changes={record.id: {name: (record.fields.get(name), value)}},
        deal=deal,
        new_values=[(record.fields, name, value)],
    )


def _notes(worker: Worker) -> Step:
    draws = worker.draws
    deal = _some_deal(worker)
    choice = draws.random()
    if deal is None or choice < 0.4:
        return Step(action="call.summarize", object="Call", deal=deal)
    record = _as_record(deal)
    if choice < 0.7:
        return Step(action="note.create", object="Note", records=[record], deal=deal)
    if choice < 0.95:
        return Step(action="task.create", object="Task", records=[record], deal=deal)
    return update(record, "next_step", draws.pick(names.NEXT_STEPS), deal)


def _outreach(worker: Worker) -> Step:
    draws = worker.draws
    deal = _some_deal(worker)
    choice = draws.random()
    if deal is None or choice < 0.3:
        contact = draws.pick(worker.world.contacts)
        return Step(action="record.read", object="Contact", records=[contact])
    # It writes only to people who have written before: a first contact is a person's decision.
    if choice < 0.85 or deal.writer is None:
        return Step(action="email.draft", object="EmailMessage", deal=deal)
    return Step(
        action="email.send",
        object="EmailMessage",
        records=[_as_record(deal)],
        recipients=[deal.writer.id],
        deal=deal,
        is_external=True,
    )


def _stage(worker: Worker) -> Step:
    draws, requests = worker.draws, worker.world.stage_requests
    while requests:
        deal = requests.pop(0)
        wanted, deal.wanted_stage = deal.wanted_stage, ""
        if wanted and deal.id in worker.world.open_deals:
            return update(_as_record(deal), "stage", wanted, deal)
    some = _some_deal(worker)
    choice = draws.random()
    if some is None or choice < 0.5:
        return Step(action="report.run", object="Opportunity")
    if choice < 0.8:
        return Step(action="record.read", object="Opportunity", records=[_as_record(some)], deal=some)
    if choice < 0.9:
        return update(_as_record(some), "next_step", draws.pick(names.NEXT_STEPS), some)
    return update(_as_record(some), "forecast_category", draws.pick(names.FORECASTS), some)


def _route(worker: Worker) -> Step:
    world, draws = worker.world, worker.draws
    lead = (
        world.next_lead()
        if not world.leads or draws.chance(0.5)
        else world.leads[-1 - draws.below(min(40, len(world.leads)))]
    )
    if draws.chance(0.15):
        return Step(action="task.create", object="Task", records=[lead])
    name = draws.pick(("queue", "status", "rating"))
    values = {"queue": names.LEAD_QUEUES, "status": names.LEAD_STATUSES, "rating": ("Hot", "Warm", "Cold")}[name]
    return update(lead, name, draws.pick(values))


def _quote(worker: Worker) -> Step:
    draws = worker.draws
    deal = _some_deal(worker)
    choice = draws.random()
    if deal is None or choice < 0.5:
        return Step(action="record.read", object="Product", deal=deal)
    if choice < 0.75:
        return Step(action="brief.write", object="Opportunity", deal=deal)
    return Step(action="quote.create", object="Quote", records=[_as_record(deal)], deal=deal)


def _some_deal(worker: Worker) -> OpenDeal | None:
    deals = worker.world.deal_list
    return worker.draws.pick(deals) if deals else None


def _as_record(deal: OpenDeal) -> Record:
    return Record(object="Opportunity", id=deal.id, name=deal.name, fields=deal.fields)


_ROLES: dict[str, Callable[[Worker], Step]] = {
    "enrich": _enrich,
    "notes": _notes,
    "outreach": _outreach,
    "stage": _stage,
    "route": _route,
    "quote": _quote,
}
