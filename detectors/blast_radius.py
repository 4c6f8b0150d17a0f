"""Hard limits on how much one agent may change, whom it may reach, and what can't be undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, cast

import msgspec
from msgspec import UNSET, Meta, Struct

from detectors.base import Action, Evidence, Shared, Wanted
from detectors.distinct import DistinctCounter

FIRST_CONTACT = "first_contact"
_HOLD_BACK_MS = 600_000
_EPISODE_MS = 3_600_000
"""So long after a notice of distinct records the next one needs twice as many."""
_RECORD_CAP, _CONTACT_CAP = 768, 256

_pack = msgspec.msgpack.Encoder()


class Limits(Struct, frozen=True, kw_only=True):
    """What one agent may do, in any state of learning."""

    max_records_per_operation: Annotated[int, Meta(ge=0, description="Records in one operation; more is stopped.")] = 50
    max_recipients_per_operation: Annotated[
        int, Meta(ge=0, description="People outside reached by one operation; more is stopped.")
    ] = 50
    records_per_10_min: Annotated[
        int, Meta(ge=0, description="Distinct records written in 10 minutes; more is held for a person.")
    ] = 5_000
    records_per_day: Annotated[
        int, Meta(ge=0, description="Distinct records written in 24 hours; more is held for a person.")
    ] = 20_000
    contacts_per_10_min: Annotated[
        int, Meta(ge=0, description="Distinct people reached in 10 minutes; more is held for a person.")
    ] = 200
    contacts_per_day: Annotated[
        int, Meta(ge=0, description="Distinct people reached in 24 hours; more is held for a person.")
    ] = 1_000
    irreversible: Annotated[
        list[str],
        Meta(description='What it may do although it cannot be undone; "first_contact": first messages to people.'),
    ] = []


class Config(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the blast-radius detector: the limits of agents that have none of their own, and notices."""

    agents: Annotated[dict[str, Limits], Meta(description="Limits by agent id, instead of the defaults.")] = {}
    notify_records: Annotated[
        int, Meta(ge=0, description="More records than this in one operation, or distinct in 10 minutes, are told.")
    ] = 5
    notify_external: Annotated[bool, Meta(description="Whether each communication that leaves the house is told.")] = (
        True
    )
    stop_at_times: Annotated[
        float, Meta(ge=1, description="At this many times a 10-minute or daily limit the agent is stopped, not held.")
    ] = 2.0


class BlastState:
    """One agent: distinct records and contacts, when each kind of notice was last given, and its limits."""

    __slots__ = (
        "calm", "contacts", "limits", "records", "spoken", "told_distinct", "told_distinct_ms", "told_external_ms",
        "told_operation_ms",
    )  # fmt: skip

    def __init__(self, limits: Limits, notify_records: int) -> None:
        self.limits = limits
        self.calm = min(notify_records, limits.max_records_per_operation, limits.records_per_10_min)
        self.records = DistinctCounter(_RECORD_CAP)
        self.contacts = DistinctCounter(_CONTACT_CAP)
        self.told_distinct = 0
        self.told_distinct_ms = self.told_external_ms = self.told_operation_ms = -_HOLD_BACK_MS
        self.spoken: dict[str, int] = {}


class BlastRadius:
    """Hard budgets on records, people and irreversible actions; nothing is learnt.

    Stops: more records or recipients in one operation than allowed (50 by default); an action that cannot be undone
    and that the agent never declared (reassigning owners, contracts, discounts, merges, call recordings, a first
    message to somebody that no person approved at the gate, any action name that the catalogue does not know). Holds
    for a person: more distinct records or people in 10 minutes or 24 hours than allowed; at twice that it stops.
    Tells: more than five records in one operation or distinct in 10 minutes, and every external communication, each
    kind at most every 10 minutes; distinct ones again within an hour, or before they were down at five, only when
    they have doubled.

    Limits: an agent without limits of its own gets generous ones (5,000 records in 10 minutes, 20,000 a day, 200
    and 1,000 people), so that a nightly batch of some thousand records passes. Distinct ids are exact for the last
    768 records and 256 people; beyond that a record comes back as new (never too few). Windows are 10–11 minutes
    and 24–25 hours long. Records that an operation says it touches but does not list count as new ones. Reads are
    not counted. Whether somebody is contacted for the first time is taken from the record (the gate computes it).

    Parameters: see ``Config``.
    """

    name: ClassVar[str] = "blast_radius"
    state_version: ClassVar[int] = 1
    judges: ClassVar[Literal["attempts", "outcomes", "all"]] = "attempts"
    is_hard: ClassVar[bool] = True
    max_state_bytes: ClassVar[int] = 16_384
    Config: ClassVar[type[Struct]] = Config

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None:
        self.config: Config = config if config is not None else Config()
        self._default = Limits(**{name: getattr(self.config, name) for name in Limits.__struct_fields__})

    @classmethod
    def with_agents(cls, config: Any, agents: Mapping[str, Any]) -> Struct:
        """The configuration with the limits that the settings' agent tables name."""
        known = {agent_id: msgspec.convert(table, Limits, from_attributes=True) for agent_id, table in agents.items()}
        return msgspec.structs.replace(cast(Struct, config), agents={**known, **config.agents})

    def new_state(self, agent_id: str) -> BlastState:
        """The state of an agent never seen before."""
        return BlastState(self.config.agents.get(agent_id, self._default), self.config.notify_records)

    # --- judging -------------------------------------------------------------------------------------------------

    def observe(self, action: Action, state: BlastState) -> Evidence | None:
        """Judge one attempt, then count what it touches."""
        kind, data = action.kind, action.data
        if data.outcome == "denied":
            return None
        is_external = kind.is_external or data.external is True
        if not kind.is_write and not is_external:
            return None
        listed, said = data.record_ids, data.records
        count = 0 if listed is UNSET else len(listed)
        if said is not UNSET and said > count:
            count = said
        records, limits, at_ms = state.records, state.limits, action.at_ms
        recent = records.add(at_ms, data.object, listed, count or 1)
        if state.told_distinct and recent <= state.calm and at_ms - state.told_distinct_ms >= _EPISODE_MS:
            state.told_distinct = 0
        if is_external:
            state.contacts.add(at_ms, "", data.recipient_ids, action.recipients)
        elif (
            count <= state.calm
            and (
                recent <= state.calm
                or recent < 2 * state.told_distinct
                or at_ms - state.told_distinct_ms < _HOLD_BACK_MS
            )
            and recent <= limits.records_per_10_min
            and records.day <= limits.records_per_day
            and kind.is_reversible
            and kind.is_known
            and not state.spoken
        ):
            return None
        return self._judge(action, state, count, action.recipients if is_external else 0)

    def _judge(self, action: Action, state: BlastState, records: int, recipients: int) -> Evidence | None:
        limits = state.limits
        undeclared = _undeclared(action, limits)
        if undeclared:
            return _irreversible_evidence(action, undeclared)
        if records > limits.max_records_per_operation:
            return _operation_evidence(action, records, limits.max_records_per_operation, "records")
        if recipients > limits.max_recipients_per_operation:
            return _operation_evidence(action, recipients, limits.max_recipients_per_operation, "recipients")
        return self._judge_budgets(action, state) or self._notice(action, state, records)

    def _judge_budgets(self, action: Action, state: BlastState) -> Evidence | None:
        limits, records, contacts = state.limits, state.records, state.contacts
        is_within = (
            records.recent <= limits.records_per_10_min
            and records.day <= limits.records_per_day
            and contacts.recent <= limits.contacts_per_10_min
            and contacts.day <= limits.contacts_per_day
        )
        if is_within and not state.spoken:
            return None
        budgets: Sequence[tuple[str, str, int, int]] = (
            ("records changed", "10 min", records.recent, limits.records_per_10_min),
            ("records changed", "24 h", records.day, limits.records_per_day),
            ("people contacted", "10 min", contacts.recent, limits.contacts_per_10_min),
            ("people contacted", "24 h", contacts.day, limits.contacts_per_day),
        )
        worst: Evidence | None = None
        for what, window, count, limit in budgets:
            topic = f"{what}|{window}"
            if count <= limit:
                state.spoken.pop(topic, None)
                continue
            stop_at = int(limit * self.config.stop_at_times)
            said = state.spoken.get(topic, 0)
            if said and (count <= stop_at or said > stop_at) and count < 2 * said:
                continue
            state.spoken[topic] = count
            wanted: Wanted = "suspend" if count > stop_at else "hold"
            if worst is None or wanted == "suspend":
                worst = _budget_evidence(action, what, window, count, limit, wanted)
        return worst

    def _notice(self, action: Action, state: BlastState, records: int) -> Evidence | None:
        most, at_ms, name = self.config.notify_records, action.at_ms, action.data.action
        if records > most and at_ms - state.told_operation_ms >= _HOLD_BACK_MS:
            state.told_operation_ms = at_ms
            return _notice(action, "operation", f"{records} records in one {name}", records, most, "records/operation")
        is_external = action.is_external and self.config.notify_external
        if is_external and at_ms - state.told_external_ms >= _HOLD_BACK_MS:
            state.told_external_ms = at_ms
            people = action.recipients
            return _notice(action, "external", f"{name} to {_people(people)} outside", people, 0, "people/operation")
        recent, told = state.records.recent, state.told_distinct
        if recent > most and recent >= 2 * told and at_ms - state.told_distinct_ms >= _HOLD_BACK_MS:
            state.told_distinct, state.told_distinct_ms = recent, at_ms
            text = f"{recent} different records changed in 10 min"
            return _notice(action, "distinct", text, recent, most, "records/10 min")
        return None

    # --- bytes ---------------------------------------------------------------------------------------------------

    def dump(self, state: BlastState) -> bytes:
        """The state as bytes."""
        said = (state.told_distinct, state.told_distinct_ms, state.told_external_ms, state.told_operation_ms)
        return _pack.encode((said, list(state.spoken.items()), state.records.dump(), state.contacts.dump()))

    def load(self, agent_id: str, blob: bytes, version: int) -> BlastState:
        """The state from its bytes."""
        if version != self.state_version:
            raise ValueError(f"blast_radius reads state version {self.state_version}, not {version}")
        said, spoken, records, contacts = msgspec.msgpack.decode(blob)
        state = self.new_state(agent_id)
        state.told_distinct, state.told_distinct_ms, state.told_external_ms, state.told_operation_ms = said
        state.spoken = dict(spoken)
        state.records = DistinctCounter.load(_RECORD_CAP, records)
        state.contacts = DistinctCounter.load(_CONTACT_CAP, contacts)
        return state


def _undeclared(action: Action, limits: Limits) -> str:
    """Why the action cannot be undone, if the agent never declared it; else empty."""
    kind, name, declared = action.kind, action.data.action, limits.irreversible
    if name in declared or f"{name.partition('.')[0]}.*" in declared:
        return ""
    if not kind.is_known:
        return f"{name} is no action that Tripline knows, so it counts as one that cannot be undone"
    if not kind.is_reversible:
        return f"{name} cannot be undone"
    is_approved = action.phase == "attempt" and bool(action.data.reviewed_by)  # the gate says so, not the agent
    if action.is_external and action.data.first_contact is True and FIRST_CONTACT not in declared and not is_approved:
        return f"{name} is a first message to somebody, which cannot be undone"
    return ""


def _irreversible_evidence(action: Action, why: str) -> Evidence:
    return Evidence(
        wanted="suspend",
        severity="critical",
        summary=f"{why}; this agent never declared it",
        observed=1,
        expected=0,
        limit=1,
        unit="irreversible actions",
        would_clear=f"{action.data.action} in the agent's list `irreversible`",
        events=((action.source, action.event_id),),
        topic=f"irreversible|{action.data.action[:40]}",
    )


def _operation_evidence(action: Action, count: int, limit: int, what: str) -> Evidence:
    return Evidence(
        wanted="suspend",
        severity="critical",
        summary=f"{count} {what} in one {action.data.action}; at most {limit} are allowed",
        observed=count,
        expected=limit,
        limit=limit + 1,
        unit=f"{what}/operation",
        would_clear=f"{limit} or fewer {what} in one operation",
        events=((action.source, action.event_id),),
        topic=f"{what} in one operation",
    )


def _budget_evidence(action: Action, what: str, window: str, count: int, limit: int, wanted: Wanted) -> Evidence:
    return Evidence(
        wanted=wanted,
        severity="critical",
        summary=f"{count} {what} in {window}; at most {limit} are allowed",
        observed=count,
        expected=limit,
        limit=limit + 1,
        unit=f"{what}/{window}",
        would_clear=f"{limit} or fewer in {window}",
        events=((action.source, action.event_id),),
        topic=f"{what}|{window}",
    )


def _notice(action: Action, topic: str, text: str, observed: int, most: int, unit: str) -> Evidence:
    return Evidence(
        wanted="notify",
        severity="info",
        summary=text,
        observed=observed,
        expected=most,
        limit=most + 1,
        unit=unit,
        would_clear=f"{most} or fewer" if most else "nothing that leaves the house",
        events=((action.source, action.event_id),),
        topic=topic,
    )


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
