"""Hard rules on what was done past the gate: out of scope, without the decision it takes, to people who opted out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

import msgspec
from msgspec import UNSET, Meta, Struct, field
from xxhash import xxh3_64_intdigest

from detectors.base import Action, Evidence, Shared, Wanted
from events.times import DAY_MS
from events.types import After

MOST_WITHOUT_A_PERSON = 50
_TOLD_MS = DAY_MS
"""The same breach is told once in this time."""
_ASKS_MS = 7 * DAY_MS
"""An agent whose last admission is not older than this asks the gate."""
_MOST_ADMITTED, _MOST_TOLD, _MOST_OPTED_OUT = 128, 64, 256
_MOST_USES, _MOST_FIELDS, _MOST_NAME_CHARS = 64, 256, 40
_OPT_OUT_FIELDS = frozenset(
    {"hasoptedoutofemail", "hasoptedoutoffax", "donotcall", "donotcontact", "emailoptout", "hs_email_optout"}
)
_OWNER_FIELDS = frozenset({"ownerid", "owner_id", "owner", "hubspot_owner_id"})
_CREATING = ("record.create", "record.undelete")

_pack = msgspec.msgpack.Encoder()

Asked = Literal["notify", "hold", "suspend"]


class Scope(Struct, frozen=True, kw_only=True):
    """What one agent may do by the settings; an agent that lists no actions has declared none."""

    actions: Annotated[list[str], Meta(description="`noun.verb`, `noun.*` or `*`; empty: not declared.")] = []
    objects: Annotated[list[str], Meta(description="Record types it may touch; `*` is all.")] = field(
        default_factory=lambda: ["*"]
    )
    irreversible: Annotated[list[str], Meta(description="What it may do although it cannot be undone.")] = []
    max_recipients_per_operation: Annotated[int, Meta(ge=0, description="People one operation may reach.")] = 50


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


class Admitted(Struct, array_like=True):
    """What the gate admitted under a decision: action, hash of the object (0: none named), records, recipients."""

    action: str
    object: int
    records: int
    recipients: int


class BreachState:
    """One agent: admissions that wait for their report, who opted out, what was told, and when it asked the gate last.

    ``uses`` and ``fields`` only save time: actions on objects, and fields, of which it is known that they are in order.
    """

    __slots__ = ("admitted", "agent_id", "asked_ms", "digests", "fields", "opted_out", "scope", "told", "uses")

    def __init__(self, scope: Scope | None, agent_id: str = "") -> None:
        self.scope, self.agent_id = scope, agent_id
        self.admitted: dict[int, Admitted] = {}
        self.opted_out: dict[int, None] = {}
        self.told: dict[str, int] = {}
        self.asked_ms = -_ASKS_MS
        self.uses: dict[str, dict[Any, None]] = {}
        self.fields: dict[tuple[Any, str], None] = {}
        self.digests: dict[int, None] = {}


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
    admission is more than 128 admissions back. Of a policy it knows actions, types of records and what takes a person,
    not fields, owners or budgets, and only where its versions are in the log (``Shared.granted``). An undeclared
    irreversible action, or too many records or people in one operation, by themselves, are told by ``blast_radius`` and
    not again here.

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
            _remember(action, state)
            return None
        admitted = _decision(action, state) if action.phase == "outcome" else None
        if (admitted is None or _is_as_admitted(action, admitted)) and _is_calm(action, state):
            return None
        return self._judge(action, state, admitted)

    def _judge(self, action: Action, state: BreachState, admitted: Admitted | None) -> Evidence | None:
        """The gravest breach that was not told lately; what is in order is kept, so that it need not be looked at."""
        found = [breach for breach in self._breaches(action, state, admitted) if _is_news(state, breach, action.at_ms)]
        _keep_consent(action, state)
        if not found:
            return None
        worst = max(found, key=lambda breach: _RANK[breach.wanted])
        _keep_told(state, worst, action.at_ms)
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
        if admitted.action != name[:_MOST_NAME_CHARS]:
            is_final = not action.kind.is_reversible and not _is_declared(name, state.scope)
            text = f"The gate admitted {admitted.action}, and under that decision {name} was done"
            text += "; that cannot be undone, and the agent never declared it" if is_final else ""
            wanted: Wanted = "suspend" if is_final else asked
            yield _evidence(action, f"decision|{name}", text, wanted, _ONE_EACH, "an operation as it was admitted")
        elif isinstance(of, str) and admitted.object and admitted.object != _digest(of):
            text = f"The gate admitted {name} on another kind of record than {_short(of)}"
            yield _evidence(action, f"decision|{of}", text, asked, _ONE_EACH, "an operation as it was admitted")
        reached = _recipients(action)
        if reached > admitted.recipients:
            is_many = reached > MOST_WITHOUT_A_PERSON
            text = f"The gate admitted {name} to {admitted.recipients} people, and it reached {reached}"
            numbers = (reached, admitted.recipients, "people/operation")
            wanted = "suspend" if is_many else asked
            yield _evidence(action, "decision|people", text, wanted, numbers, "no more people than were admitted")
        touched = _records(action)
        if touched > admitted.records:
            text = f"The gate admitted {name} of {admitted.records} records, and it touched {touched}"
            numbers = (touched, admitted.records, "records/operation")
            yield _evidence(action, "decision|records", text, asked, numbers, "no more records than were admitted")

    def _without_decision(self, action: Action, state: BreachState) -> Iterator[Evidence]:
        scope, name = state.scope, action.data.action
        if scope is None:
            return
        reached = _recipients(action)
        if MOST_WITHOUT_A_PERSON < reached <= scope.max_recipients_per_operation:
            text = f"One {name} reached {reached} people without a decision of the gate"
            numbers = (reached, MOST_WITHOUT_A_PERSON, "people/operation")
            yield _evidence(action, "people", text, "hold", numbers, "50 people or fewer, or a decision of the gate")
        is_final = not action.kind.is_reversible and _is_declared(name, scope)
        if is_final and action.at_ms - state.asked_ms < _ASKS_MS:
            text = f"The agent did {name} without asking the gate, which it asks otherwise; that cannot be undone"
            wanted = self.config.without_decision
            yield _evidence(action, f"unasked|{name}", text, wanted, _ONE_NONE, "a decision of the gate before it")

    def _scope(self, action: Action, state: BreachState) -> Iterator[Evidence]:
        data, scope = action.data, state.scope
        name, of = data.action, data.object
        if scope is not None and scope.actions:
            if action.phase == "both" and not action.kind.is_reversible and not _is_declared(name, scope):
                return  # blast_radius says it
            if not _is_listed(name, scope.actions):
                text = f"The agent did {_short(name)}, which is not among the actions of its table"
                clear = f"{_short(name)} in the agent's list `actions`"
                yield _evidence(action, f"action|{name}", text, self.config.out_of_scope, _ONE_NONE, clear)
                return
            if isinstance(of, str) and "*" not in scope.objects and of not in scope.objects:
                text = f"The agent touched {_short(of)} ({name}), which is not among the record types of its table"
                clear = f"{_short(of)} in the agent's list `objects`"
                yield _evidence(action, f"object|{of}", text, self.config.out_of_scope, _ONE_NONE, clear)
                return
        breach = self._policy(action, state)
        if breach is not None:
            yield breach
        elif not self._takes_person(name, state):
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
            text = f"The agent did {_short(name)}, and the policy names no such agent"
            return _evidence(action, "policy|agent", text, asked, _ONE_NONE, "this agent in the policy")
        if name not in mine.actions:
            text = f"The agent did {_short(name)}, which the policy does not grant it"
            return _evidence(action, f"policy|{name}", text, asked, _ONE_NONE, f"{_short(name)} in its role")
        if isinstance(of, str) and "*" not in mine.objects and of.casefold() not in mine.objects:
            text = f"The agent touched {_short(of)} ({name}), which is in none of its scopes in the policy"
            return _evidence(action, f"policy|{of}", text, asked, _ONE_NONE, f"{_short(of)} in one of its scopes")
        if action.phase == "both" and name in mine.with_person:
            text = f"The agent did {name} without a decision of the gate; by the policy a person must approve it"
            wanted = self.config.without_decision
            return _evidence(action, f"person|{name}", text, wanted, _ONE_NONE, "an approval before it")
        return None

    def _takes_person(self, name: str, state: BreachState) -> bool:
        mine = self.shared.granted.get(state.agent_id) if self.shared.granted is not None else None
        return mine is not None and name in mine.with_person

    def policy_changed(self, state: BreachState) -> None:
        """What was in order has to be looked at again."""
        state.uses.clear()

    def _fields(self, action: Action, state: BreachState) -> Iterator[Evidence]:
        """Owners changed by an update; and fields that mean nothing here are kept as such."""
        data = action.data
        if data.changes is UNSET:
            return
        is_owner, may_not = False, _may_not_reassign(state.scope)
        for fields in data.changes.values():
            for name in fields:
                plain = name.casefold()
                if plain in _OPT_OUT_FIELDS:
                    continue
                if may_not and plain in _OWNER_FIELDS:
                    is_owner = True
                elif (data.object, name) not in state.fields:
                    _keep_field(state, data.object, name)
        makes_new = data.action in _CREATING or data.action == "owner.reassign"
        if is_owner and action.kind.is_write and not makes_new:
            text = f"The agent changed an owner by {data.action}; that is a reassignment, which it never declared"
            clear = "owner.reassign in the agent's list `irreversible`"
            yield _evidence(action, "owner", text, self.config.out_of_scope, _ONE_NONE, clear)

    def _consent(self, action: Action, state: BreachState) -> Iterator[Evidence]:
        data, asked = action.data, self.config.opted_out
        if any(after is False for _, after in _opt_outs(action)):
            text = f"The agent took off a person's opt-out ({data.action})"
            yield _evidence(action, "opt-out off", text, asked, _ONE_NONE, "opt-outs that people take off")
        ids = data.recipient_ids
        if not state.opted_out or ids is UNSET or not action.is_external:
            return
        count = sum(_digest(one) in state.opted_out for one in ids)
        if count:
            people = "somebody" if count == 1 else f"{count} people"
            text = f"{data.action} reached {people} who had opted out, as the agent itself wrote down"
            numbers = (count, 0, "people who opted out")
            yield _evidence(action, "opted out", text, asked, numbers, "nobody who opted out among the recipients")

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


def _digest(text: str) -> int:
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def _short(text: str) -> str:
    return text if len(text) <= _MOST_NAME_CHARS else text[: _MOST_NAME_CHARS - 1] + "…"


def _is_listed(name: str, allowed: list[str]) -> bool:
    return name in allowed or "*" in allowed or f"{name.partition('.')[0]}.*" in allowed


def _is_declared(name: str, scope: Scope | None) -> bool:
    return scope is not None and (name in scope.irreversible or f"{name.partition('.')[0]}.*" in scope.irreversible)


def _may_not_reassign(scope: Scope | None) -> bool:
    return scope is not None and bool(scope.actions) and not _is_declared("owner.reassign", scope)


def _records(action: Action) -> int:
    """Different records that a write touches; naming one twice is no breach."""
    if not action.kind.is_write:
        return 0
    listed, said = action.data.record_ids, action.data.records
    return max(0 if listed is UNSET else len(set(listed)), 0 if said is UNSET else said, 1)


def _recipients(action: Action) -> int:
    listed, said = action.data.recipient_ids, action.data.recipients
    if not action.is_external:
        return 0
    return max(0 if listed is UNSET else len(set(listed)), 0 if said is UNSET else said, 1)


def _remember(action: Action, state: BreachState) -> None:
    data, state.asked_ms = action.data, max(state.asked_ms, action.at_ms)
    if not isinstance(data.decision_id, str):
        return
    if len(state.admitted) >= _MOST_ADMITTED:
        del state.admitted[next(iter(state.admitted))]
    of = _digest(data.object) if isinstance(data.object, str) else 0
    name = data.action[:_MOST_NAME_CHARS]
    state.admitted[_digest(data.decision_id)] = Admitted(name, of, max(action.records, 1), action.recipients)


def _decision(action: Action, state: BreachState) -> Admitted | None:
    """What was admitted under the decision that this report names; a decision is for one report."""
    id_ = action.data.decision_id
    return state.admitted.pop(_digest(id_), None) if isinstance(id_, str) else None


def _is_as_admitted(action: Action, admitted: Admitted) -> bool:
    data = action.data
    return (
        admitted.action == data.action
        and isinstance(data.object, str)
        and admitted.object == _digest(data.object)
        and action.recipients <= admitted.recipients
        and action.records <= admitted.records
    )


def _is_calm(action: Action, state: BreachState) -> bool:
    """Whether all of it was found in order before: the action on the object, and its fields."""
    data, kind = action.data, action.kind
    if not kind.is_reversible or kind.is_external or data.external is True:
        return False
    if data.object not in state.uses.get(data.action, ()):
        return False
    if data.changes is UNSET:
        return True
    known = state.fields
    for fields in data.changes.values():
        for name in fields:
            if (data.object, name) not in known:
                return False
    return True


def _opt_outs(action: Action) -> Iterator[tuple[str, object]]:
    """Each opt-out flag that is set or taken off, with its record; one that was so before is no change."""
    changes = action.data.changes
    for record, fields in {} if changes is UNSET else changes.items():
        for name, change in fields.items():
            if name.casefold() in _OPT_OUT_FIELDS:
                before, after = (None, change.after) if isinstance(change, After) else change
                if (after is True and before is not True) or (after is False and before is True):
                    yield record, after


def _keep_consent(action: Action, state: BreachState) -> None:
    for record, after in _opt_outs(action):
        digest = _digest(record)
        state.opted_out.pop(digest, None)
        if after is True:
            state.opted_out[digest] = None
            if len(state.opted_out) > _MOST_OPTED_OUT:
                del state.opted_out[next(iter(state.opted_out))]


def _keep_field(state: BreachState, of: object, name: str) -> None:
    if len(state.fields) >= _MOST_FIELDS:
        state.fields.clear()
        state.digests.clear()
    state.fields[(of, name)] = None
    state.digests[_digest(f"{of}\x1f{name}")] = None


def _is_news(state: BreachState, breach: Evidence, at_ms: int) -> bool:
    return breach.wanted != "notify" or at_ms - state.told.get(breach.topic, -_TOLD_MS) >= _TOLD_MS


def _keep_told(state: BreachState, breach: Evidence, at_ms: int) -> None:
    state.told.pop(breach.topic, None)
    state.told[breach.topic] = at_ms
    if len(state.told) > _MOST_TOLD:
        del state.told[next(iter(state.told))]


def _evidence(
    action: Action, topic: str, text: str, wanted: Wanted, numbers: tuple[int, int, str], clear: str
) -> Evidence:
    observed, expected, unit = numbers
    return Evidence(
        wanted=wanted,
        severity="warning" if wanted == "notify" else "critical",
        summary=text,
        observed=observed,
        expected=expected,
        limit=expected + 1,
        unit=unit,
        would_clear=clear,
        events=((action.source, action.event_id),),
        topic=topic[:_MOST_NAME_CHARS],
    )
