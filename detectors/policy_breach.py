"""Hard rules on what was done past the gate: out of scope, without the decision it takes, to people who opted out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

import msgspec
from msgspec import UNSET, Meta, Struct

from detectors.base import Action, Evidence, Shared, Wanted
from detectors.breach_parts import (
    ASKS_MS,
    MOST_NAME_CHARS,
    OPT_OUT_FIELDS,
    Admitted,
    BreachState,
    Scope,
    decision,
    digest,
    evidence,
    is_as_admitted,
    is_calm,
    is_declared,
    is_listed,
    is_news,
    keep_consent,
    keep_field,
    keep_told,
    may_not_reassign,
    opt_outs,
    recipients,
    records,
    remember,
    short,
)
from events.types import Granted

__all__ = ["MOST_WITHOUT_A_PERSON", "BreachState", "Config", "PolicyBreach", "Scope"]

MOST_WITHOUT_A_PERSON = 50
_MOST_USES = 64
_OWNER_FIELDS = frozenset({"ownerid", "owner_id", "owner", "hubspot_owner_id"})
_CREATING = ("record.create", "record.undelete")

_pack = msgspec.msgpack.Encoder()

Asked = Literal["notify", "hold", "suspend"]


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the policy-breach detector. The agents' scopes come from their tables in the settings."""

    out_of_scope: Annotated[
        Asked, Meta(description="What is asked for when an agent does what its table does not list.")
    ] = "notify"
    without_decision: Annotated[
        Asked,
        Meta(description="… does what it declared irreversible without the gate's decision, or other than it asked."),
    ] = "notify"
    opted_out: Annotated[Asked, Meta(description="… writes to somebody who opted out, or takes an opt-out off.")] = (
        "notify"
    )
    agents: Annotated[dict[str, Scope], Meta(description="Scopes by agent id, before those of their tables.")] = {}


class PolicyBreach:
    """What an agent did that the policy of its table forbids; the gate would have refused it.

    Catches, in what is reported as done: an action or a record type that the agent's table does not list, or that the
    policy in the log does not grant or leaves to a person; something else than the gate admitted under the decision
    that the report names (another action or type of record, more records or people); what it declared irreversible,
    done without a decision by an agent that asks the gate otherwise; more than 50 people in one operation without a
    decision, where its own table would allow more; a change of owner hidden in an update, undeclared; an opt-out taken
    off, and a message to one of the last 256 people whom this agent itself marked as opted out. **Stops** what was
    never declared, cannot be undone, and was done under a decision about something else, or to more than 50 people
    whom the decision did not cover; holds more than 50 people without a decision; tells everything else, each matter
    once a day, unless the options ask for more.

    Cannot: judge the scope of an agent without a table, or whose table lists no actions, where there is no policy;
    know of opt-outs that the CRM holds (no event of an agent says so); see what is not reported; compare a report whose
    admission is more than 128 admissions back. Of a policy it knows actions, types of records, what takes a person,
    fields where the action lists its changes, and owners where it names the record's, not segments, systems or
    budgets; and only where its versions are in the log (``Shared.granted``). An undeclared irreversible action, or too
    many records or people in one operation, by themselves, are told by ``blast_radius`` and not again here.

    Parameters: see ``Config``.

    Reference: docs/policy.md for what is never autonomous; a hard rule, nothing is learnt.
    """

    name: ClassVar[str] = "policy_breach"
    state_version: ClassVar[int] = 1
    judges: ClassVar[Literal["attempts", "outcomes", "all"]] = "all"
    is_hard: ClassVar[bool] = True
    max_state_bytes: ClassVar[int] = 32_768
    Config: ClassVar[type[Struct]] = Config

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None:
        self.config: Config = config if config is not None else Config()
        self.shared = shared if shared is not None else Shared()

    @classmethod
    def with_agents(cls, config: Any, agents: Mapping[str, Any]) -> Struct:
        """The configuration with the scopes that the settings' agent tables name."""
        known = {agent_id: msgspec.convert(table, Scope, from_attributes=True) for agent_id, table in agents.items()}
        return msgspec.structs.replace(cast(Struct, config), agents={**known, **config.agents})

    def new_state(self, agent_id: str) -> BreachState:
        """The state of an agent never seen before."""
        return BreachState(self.config.agents.get(agent_id), agent_id)

    # --- judging -------------------------------------------------------------------------------------------------

    def observe(self, action: Action, state: BreachState) -> Evidence | None:
        """Remember what was admitted; judge what was done."""
        if action.data.outcome != "ok":
            return None
        if action.phase == "attempt":
            remember(action, state)
            return None
        admitted = decision(action, state) if action.phase == "outcome" else None
        if (admitted is None or is_as_admitted(action, admitted)) and is_calm(action, state):
            return None
        return self._judge(action, state, admitted)

    def _judge(self, action: Action, state: BreachState, admitted: Admitted | None) -> Evidence | None:
        """The gravest breach that was not told lately; what is in order is kept, so that it need not be looked at."""
        found = [breach for breach in self._breaches(action, state, admitted) if is_news(state, breach, action.at_ms)]
        keep_consent(action, state)
        if not found:
            return None
        worst = max(found, key=lambda breach: _RANK[breach.wanted])
        keep_told(state, worst, action.at_ms)
        return worst

    def _breaches(self, action: Action, state: BreachState, admitted: Admitted | None) -> Iterator[Evidence]:
        if admitted is not None:
            yield from self._other_than_admitted(action, state, admitted)
        elif action.phase == "both":
            yield from self._without_decision(action, state)
        yield from self._scope(action, state)
        yield from self._fields(action, state)
        yield from self._consent(action, state)

    def _other_than_admitted(self, action: Action, state: BreachState, admitted: Admitted) -> Iterator[Evidence]:
        asked, name, of = self.config.without_decision, action.data.action, action.data.object
        if admitted.action != name[:MOST_NAME_CHARS]:
            is_final = not action.kind.is_reversible and not is_declared(name, state.scope)
            text = f"The gate admitted {admitted.action}, and under that decision {name} was done"
            text += "; that cannot be undone, and the agent never declared it" if is_final else ""
            wanted: Wanted = "suspend" if is_final else asked
            yield evidence(action, f"decision|{name}", text, wanted, _ONE_EACH, "an operation as it was admitted")
        elif isinstance(of, str) and admitted.object and admitted.object != digest(of):
            text = f"The gate admitted {name} on another kind of record than {short(of)}"
            yield evidence(action, f"decision|{of}", text, asked, _ONE_EACH, "an operation as it was admitted")
        reached = recipients(action)
        if reached > admitted.recipients:
            is_many = reached > MOST_WITHOUT_A_PERSON
            text = f"The gate admitted {name} to {admitted.recipients} people, and it reached {reached}"
            numbers = (reached, admitted.recipients, "people/operation")
            wanted = "suspend" if is_many else asked
            yield evidence(action, "decision|people", text, wanted, numbers, "no more people than were admitted")
        touched = records(action)
        if touched > admitted.records:
            text = f"The gate admitted {name} of {admitted.records} records, and it touched {touched}"
            numbers = (touched, admitted.records, "records/operation")
            yield evidence(action, "decision|records", text, asked, numbers, "no more records than were admitted")

    def _without_decision(self, action: Action, state: BreachState) -> Iterator[Evidence]:
        scope, name = state.scope, action.data.action
        if scope is None:
            return
        reached = recipients(action)
        if MOST_WITHOUT_A_PERSON < reached <= scope.max_recipients_per_operation:
            text = f"One {name} reached {reached} people without a decision of the gate"
            numbers = (reached, MOST_WITHOUT_A_PERSON, "people/operation")
            yield evidence(action, "people", text, "hold", numbers, "50 people or fewer, or a decision of the gate")
        is_final = not action.kind.is_reversible and is_declared(name, scope)
        if is_final and action.at_ms - state.asked_ms < ASKS_MS:
            text = f"The agent did {name} without asking the gate, which it asks otherwise; that cannot be undone"
            wanted = self.config.without_decision
            yield evidence(action, f"unasked|{name}", text, wanted, _ONE_NONE, "a decision of the gate before it")

    def _scope(self, action: Action, state: BreachState) -> Iterator[Evidence]:
        data, scope = action.data, state.scope
        name, of = data.action, data.object
        if scope is not None and scope.actions:
            if action.phase == "both" and not action.kind.is_reversible and not is_declared(name, scope):
                return  # blast_radius says it
            if not is_listed(name, scope.actions):
                text = f"The agent did {short(name)}, which is not among the actions of its table"
                clear = f"{short(name)} in the agent's list `actions`"
                yield evidence(action, f"action|{name}", text, self.config.out_of_scope, _ONE_NONE, clear)
                return
            if isinstance(of, str) and "*" not in scope.objects and of not in scope.objects:
                text = f"The agent touched {short(of)} ({name}), which is not among the record types of its table"
                clear = f"{short(of)} in the agent's list `objects`"
                yield evidence(action, f"object|{of}", text, self.config.out_of_scope, _ONE_NONE, clear)
                return
        breach = self._policy(action, state)
        if breach is not None:
            yield breach
        elif not self._looks_each_time(name, state):
            if sum(map(len, state.uses.values())) >= _MOST_USES:
                state.uses.clear()
            state.uses.setdefault(name, {})[of] = None

    def _policy(self, action: Action, state: BreachState) -> Evidence | None:
        """What the policy in the log does not grant; None without a policy."""
        if self.shared.granted is None:
            return None
        name, of = action.data.action, action.data.object
        mine, asked = self.shared.granted.get(state.agent_id), self.config.out_of_scope
        if mine is None:
            text = f"The agent did {short(name)}, and the policy names no such agent"
            return evidence(action, "policy|agent", text, asked, _ONE_NONE, "this agent in the policy")
        if name not in mine.actions:
            text = f"The agent did {short(name)}, which the policy does not grant it"
            return evidence(action, f"policy|{name}", text, asked, _ONE_NONE, f"{short(name)} in its role")
        if isinstance(of, str) and "*" not in mine.objects and of.casefold() not in mine.objects:
            text = f"The agent touched {short(of)} ({name}), which is in none of its scopes in the policy"
            return evidence(action, f"policy|{of}", text, asked, _ONE_NONE, f"{short(of)} in one of its scopes")
        if action.phase == "both" and name in mine.with_person:
            text = f"The agent did {name} without a decision of the gate; by the policy a person must approve it"
            wanted = self.config.without_decision
            return evidence(action, f"person|{name}", text, wanted, _ONE_NONE, "an approval before it")
        return self._policy_of_owner(action, mine)

    def _policy_of_owner(self, action: Action, mine: Granted) -> Evidence | None:
        """A record whose owner, as the action names it, is in none of the scopes."""
        owner = action.data.owner_id
        if not isinstance(owner, str) or action.data.action == "owner.reassign":
            return None
        if all(owner.casefold() in group for group in mine.owners):
            return None
        text = f"The agent touched a record of {short(owner)}, whose records are in none of its scopes in the policy"
        clear = f"{short(owner)} among the owners of one of its scopes"
        return evidence(action, "policy|owner", text, self.config.out_of_scope, _ONE_NONE, clear)

    def _policy_of_field(self, action: Action, state: BreachState, name: str) -> Evidence | None:
        """A changed field that is in none of the scopes of the policy in the log."""
        mine = self.shared.granted.get(state.agent_id) if self.shared.granted is not None else None
        if mine is None or not mine.fields:
            return None
        of = action.data.object.casefold() if isinstance(action.data.object, str) else ""
        if all(f"{of}.*" in group or f"{of}.{name.casefold()}" in group for group in mine.fields):
            return None
        text = f"The agent changed the field {short(name)}, which is in none of its scopes in the policy"
        clear = f"{short(name)} in one of its scopes"
        return evidence(action, f"field|{name}", text, self.config.out_of_scope, _ONE_NONE, clear)

    def _looks_each_time(self, name: str, state: BreachState) -> bool:
        """Whether an action on an object, once found in order, may be out of order next time."""
        mine = self.shared.granted.get(state.agent_id) if self.shared.granted is not None else None
        return mine is not None and (name in mine.with_person or bool(mine.owners))

    def policy_changed(self, state: BreachState) -> None:
        """What was in order has to be looked at again."""
        state.uses.clear()
        state.fields.clear()
        state.digests.clear()

    def _fields(self, action: Action, state: BreachState) -> Iterator[Evidence]:
        """Owners changed by an update; and fields that mean nothing here are kept as such."""
        data = action.data
        if data.changes is UNSET:
            return
        is_owner, may_not = False, may_not_reassign(state.scope)
        for fields in data.changes.values():
            for name in fields:
                plain = name.casefold()
                if plain in OPT_OUT_FIELDS:
                    continue
                if may_not and plain in _OWNER_FIELDS:
                    is_owner = True
                elif (data.object, name) not in state.fields:
                    breach = self._policy_of_field(action, state, name) if action.kind.is_write else None
                    if breach is not None:
                        yield breach
                    else:
                        keep_field(state, data.object, name)
        makes_new = data.action in _CREATING or data.action == "owner.reassign"
        if is_owner and action.kind.is_write and not makes_new:
            text = f"The agent changed an owner by {data.action}; that is a reassignment, which it never declared"
            clear = "owner.reassign in the agent's list `irreversible`"
            yield evidence(action, "owner", text, self.config.out_of_scope, _ONE_NONE, clear)

    def _consent(self, action: Action, state: BreachState) -> Iterator[Evidence]:
        data, asked = action.data, self.config.opted_out
        if any(after is False for _, after in opt_outs(action)):
            text = f"The agent took off a person's opt-out ({data.action})"
            yield evidence(action, "opt-out off", text, asked, _ONE_NONE, "opt-outs that people take off")
        ids = data.recipient_ids
        if not state.opted_out or ids is UNSET or not action.is_external:
            return
        count = sum(digest(one) in state.opted_out for one in ids)
        if count:
            people = "somebody" if count == 1 else f"{count} people"
            text = f"{data.action} reached {people} who had opted out, as the agent itself wrote down"
            numbers = (count, 0, "people who opted out")
            yield evidence(action, "opted out", text, asked, numbers, "nobody who opted out among the recipients")

    # --- bytes ---------------------------------------------------------------------------------------------------

    def dump(self, state: BreachState) -> bytes:
        """The state as bytes; what only saves time is left out."""
        admitted = list(state.admitted.items())
        return _pack.encode((admitted, list(state.opted_out), list(state.told.items()), state.asked_ms))

    def load(self, agent_id: str, blob: bytes, version: int) -> BreachState:
        """The state from its bytes."""
        if version != self.state_version:
            raise ValueError(f"policy_breach reads state version {self.state_version}, not {version}")
        admitted, opted_out, told, asked_ms = msgspec.msgpack.decode(blob, type=_Bytes)
        state = self.new_state(agent_id)
        state.admitted, state.opted_out = dict(admitted), dict.fromkeys(opted_out)
        state.told, state.asked_ms = dict(told), asked_ms
        return state


_Bytes = tuple[list[tuple[int, Admitted]], list[int], list[tuple[str, int]], int]
_RANK: dict[str, int] = {"notify": 1, "hold": 2, "suspend": 3}
_ONE_EACH = (1, 0, "operations other than admitted")
_ONE_NONE = (1, 0, "operations")
