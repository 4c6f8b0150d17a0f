"""Does a stop hold in the CRM? What its change feed tells of an agent's identity, against what the gate let pass.

- A change after a stop that no gate let pass is a **leaked action**. One that was let pass before the stop, or under a
  lease, and came out after it was **in flight**.
- A change of an agent that is not stopped, without a decision of the gate, is a **shadow write**.

All of it is data in, data out; ``streams.containing`` looks things up and keeps what comes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import UNSET, Struct

from events.codec import time_ms
from events.times import BadTime, parse_ms
from events.types import ActivityEvent, Actor, ChangeEvent, Event, tenant_of
from governance.operation import canonical_contact, canonical_id, is_keyed_id
from governance.settings_types import Settings

Kind = Literal["leaked", "in_flight", "shadow"]
_STOPPED = frozenset({"suspended", "releasing"})


class SeenWrite(Struct, frozen=True, kw_only=True):
    """A change in the CRM by an agent's identity. ``ids``: canonical ids of what it touched or whom it reached."""

    key: str
    agent_id: str
    event_id: str
    identity: str
    effect_ms: int
    object: str
    ids: tuple[str, ...]
    op: str


class Stop(Struct, frozen=True):
    """An agent was stopped from a time on; ``until_ms`` None = it still is."""

    since_ms: int
    until_ms: int | None = None

    def holds_at(self, at_ms: int) -> bool:
        """Whether the agent was stopped at a time; at its very millisecond it may have been faster."""
        return self.since_ms < at_ms and (self.until_ms is None or at_ms <= self.until_ms)


class Admitted(Struct, frozen=True):
    """What the gate let pass: when, canonical ids of records and people, and the object, "" when not named."""

    at_ms: int
    ids: frozenset[str]
    object: str

    def covers(self, seen: SeenWrite, grace_ms: int) -> bool:
        """Whether a change may be what was let pass: near in time, and the same record, or an object without ids.

        What lists no records (a new record has no id yet), or one by a field's value alone, covers all of its object.
        """
        if abs(self.at_ms - seen.effect_ms) > grace_ms:
            return False
        if self.ids and seen.op != "create":
            if not self.ids.isdisjoint(seen.ids):
                return True
            return bool(self.object) and self.object == seen.object and any(map(is_keyed_id, self.ids))
        return not self.object or self.object == seen.object


def identities(settings: Settings) -> dict[str, str]:
    """Agents by their user in the CRM."""
    return {agent.crm_user: name for name, agent in settings.agents.items() if agent.crm_user}


def canaries_of(settings: Settings) -> dict[str, str]:
    """Records that Tripline itself writes to see the feed live: what the feed calls their systems."""
    return {
        canonical_id(crm.canary_record): crm.system or name for name, crm in settings.crm.items() if crm.canary_record
    }


def seen_in(event: Event, known: Mapping[str, str]) -> SeenWrite | None:
    """What an event of the CRM's feed tells of an agent; ``known``: see ``identities``.

    Changes of records, and messages to people outside that it logged.
    """
    if type(event) is ChangeEvent:
        agent_id = agent_of(event.data.actor, known)
        if agent_id is None or event.data.op == "gap":
            return None
        return _seen(event, agent_id, event.data.actor, event.data.object, event.data.op, (event.data.record_id,))
    if type(event) is ActivityEvent and event.data.direction == "outbound":
        agent_id = agent_of(event.data.logged_by, known)
        if agent_id is None:
            return None
        people = event.data.participants if event.data.participants is not UNSET else []
        reached = [one.contact_id for one in people if one.contact_id]
        return _seen(event, agent_id, event.data.logged_by, event.data.kind, "send", reached)
    return None


def agent_of(actor: Actor | object, known: Mapping[str, str]) -> str | None:
    """The agent behind an actor; None when it is none."""
    if not isinstance(actor, Actor):
        return None
    return known.get(actor.id) or (actor.id if actor.kind == "agent" and actor.id else None)


def effect_ms(event: Event) -> int:
    """When the CRM did it, as far as it says."""
    said = event.data.committed_at if type(event) is ChangeEvent else UNSET
    if isinstance(said, str):
        try:
            return parse_ms(said)
        except BadTime:
            pass  # the event's own time stands
    return time_ms(event)


def stops_in(changes: Iterable[tuple[str, str, int]]) -> list[Stop]:
    """The stops in an agent's history: state, by what sort of decider, when; the oldest first."""
    found: list[Stop] = []
    since: int | None = None
    for state, _, at_ms in changes:
        if state == "suspended" and since is None:
            since = at_ms
        elif state not in _STOPPED and since is not None:
            found.append(Stop(since, at_ms))
            since = None
    if since is not None:
        found.append(Stop(since))
    return found


def stop_at(stops: Sequence[Stop], at_ms: int) -> Stop | None:
    """The stop that held at a time; the earliest, where the agent and all agents were stopped."""
    return next((stop for stop in sorted(stops, key=lambda each: each.since_ms) if stop.holds_at(at_ms)), None)


def is_covered(seen: SeenWrite, admitted: Iterable[Admitted], grace_ms: int) -> bool:
    """Whether the gate let something pass that this may be."""
    return any(one.covers(seen, grace_ms) for one in admitted)


def by_key(seen: Iterable[SeenWrite]) -> Iterator[tuple[str, list[SeenWrite]]]:
    """Writes by agent, agents in the order of their keys."""
    found: dict[str, list[SeenWrite]] = {}
    for one in seen:
        found.setdefault(one.key, []).append(one)
    return iter(sorted(found.items()))


def _seen(
    event: ChangeEvent | ActivityEvent, agent_id: str, actor: object, what: str, op: str, ids: Sequence[str]
) -> SeenWrite:
    said = actor if isinstance(actor, Actor) else Actor("", "")
    return SeenWrite(
        key=f"{tenant_of(event)}/{agent_id}",
        agent_id=agent_id,
        event_id=f"{event.source} {event.id}",
        identity=f"{said.kind} {said.id}",
        effect_ms=effect_ms(event),
        object=what,
        ids=tuple(dict.fromkeys(canonical_contact(each) if op == "send" else canonical_id(each) for each in ids)),
        op=op,
    )
