"""What policy_breach remembers of an agent, and how an action is held against an admission."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, field
from xxhash import xxh3_64_intdigest

from detectors.base import Action, Evidence, Wanted
from events.times import DAY_MS
from events.types import After

TOLD_MS = DAY_MS
"""The same breach is told once in this time."""
ASKS_MS = 7 * DAY_MS
"""An agent whose last admission is not older than this asks the gate."""
_MOST_ADMITTED, _MOST_TOLD, _MOST_OPTED_OUT = 128, 64, 256
_MOST_FIELDS, MOST_NAME_CHARS = 256, 40
OPT_OUT_FIELDS = frozenset(
    {"hasoptedoutofemail", "hasoptedoutoffax", "donotcall", "donotcontact", "emailoptout", "hs_email_optout"}
)


class Scope(Struct, frozen=True, kw_only=True):
    """What one agent may do by the settings; an agent that lists no actions has declared none."""

    actions: Annotated[list[str], Meta(description="`noun.verb`, `noun.*` or `*`; empty: not declared.")] = []
    objects: Annotated[list[str], Meta(description="Record types it may touch; `*` is all.")] = field(
        default_factory=lambda: ["*"]
    )
    irreversible: Annotated[list[str], Meta(description="What it may do although it cannot be undone.")] = []
    max_recipients_per_operation: Annotated[int, Meta(ge=0, description="People one operation may reach.")] = 50


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
        self.asked_ms = -ASKS_MS
        self.uses: dict[str, dict[Any, None]] = {}
        self.fields: dict[tuple[Any, str], None] = {}
        self.digests: dict[int, None] = {}


def digest(text: str) -> int:
    """A name or id as it is remembered."""
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def short(text: str) -> str:
    """A name as it is said."""
    return text if len(text) <= MOST_NAME_CHARS else text[: MOST_NAME_CHARS - 1] + "…"


def is_listed(name: str, allowed: list[str]) -> bool:
    """Whether a list of actions has this one, by name, noun or all."""
    return name in allowed or "*" in allowed or f"{name.partition('.')[0]}.*" in allowed


def is_declared(name: str, scope: Scope | None) -> bool:
    """Whether the agent declared this irreversible action."""
    return scope is not None and (name in scope.irreversible or f"{name.partition('.')[0]}.*" in scope.irreversible)


def may_not_reassign(scope: Scope | None) -> bool:
    """Whether the agent's table leaves a change of owner out."""
    return scope is not None and bool(scope.actions) and not is_declared("owner.reassign", scope)


def records(action: Action) -> int:
    """Different records that a write touches; naming one twice is no breach."""
    if not action.kind.is_write:
        return 0
    listed, said = action.data.record_ids, action.data.records
    return max(0 if listed is UNSET else len(set(listed)), 0 if said is UNSET else said, 1)


def recipients(action: Action) -> int:
    """Different people outside that an operation reaches."""
    listed, said = action.data.recipient_ids, action.data.recipients
    if not action.is_external:
        return 0
    return max(0 if listed is UNSET else len(set(listed)), 0 if said is UNSET else said, 1)


def remember(action: Action, state: BreachState) -> None:
    """Keep what the gate admitted until it is reported; of too many the oldest goes."""
    data, state.asked_ms = action.data, max(state.asked_ms, action.at_ms)
    if not isinstance(data.decision_id, str):
        return
    if len(state.admitted) >= _MOST_ADMITTED:
        del state.admitted[next(iter(state.admitted))]
    of = digest(data.object) if isinstance(data.object, str) else 0
    name = data.action[:MOST_NAME_CHARS]
    state.admitted[digest(data.decision_id)] = Admitted(name, of, max(action.records, 1), action.recipients)


def decision(action: Action, state: BreachState) -> Admitted | None:
    """What was admitted under the decision that this report names; a decision is for one report."""
    id_ = action.data.decision_id
    return state.admitted.pop(digest(id_), None) if isinstance(id_, str) else None


def is_as_admitted(action: Action, admitted: Admitted) -> bool:
    """Whether what was done is no other and no more than what was admitted."""
    data = action.data
    return (
        admitted.action == data.action
        and isinstance(data.object, str)
        and admitted.object == digest(data.object)
        and action.recipients <= admitted.recipients
        and action.records <= admitted.records
    )


def is_calm(action: Action, state: BreachState) -> bool:
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


def opt_outs(action: Action) -> Iterator[tuple[str, object]]:
    """Each opt-out flag that is set or taken off, with its record; one that was so before is no change."""
    changes = action.data.changes
    for record, fields in {} if changes is UNSET else changes.items():
        for name, change in fields.items():
            if name.casefold() in OPT_OUT_FIELDS:
                before, after = (None, change.after) if isinstance(change, After) else change
                if (after is True and before is not True) or (after is False and before is True):
                    yield record, after


def keep_consent(action: Action, state: BreachState) -> None:
    """Keep who opted out, as the agent wrote it down."""
    for record, after in opt_outs(action):
        known = digest(record)
        state.opted_out.pop(known, None)
        if after is True:
            state.opted_out[known] = None
            if len(state.opted_out) > _MOST_OPTED_OUT:
                del state.opted_out[next(iter(state.opted_out))]


def keep_field(state: BreachState, of: object, name: str) -> None:
    """The field of an object was found in order."""
    if len(state.fields) >= _MOST_FIELDS:
        state.fields.clear()
        state.digests.clear()
    state.fields[(of, name)] = None
    state.digests[digest(f"{of}\x1f{name}")] = None


def is_news(state: BreachState, breach: Evidence, at_ms: int) -> bool:
    """Whether a breach was not told lately; what asks for more than a notice always is."""
    return breach.wanted != "notify" or at_ms - state.told.get(breach.topic, -TOLD_MS) >= TOLD_MS


def keep_told(state: BreachState, breach: Evidence, at_ms: int) -> None:
    """The breach is told now."""
    state.told.pop(breach.topic, None)
    state.told[breach.topic] = at_ms
    if len(state.told) > _MOST_TOLD:
        del state.told[next(iter(state.told))]


def evidence(
    action: Action, topic: str, text: str, wanted: Wanted, numbers: tuple[int, int, str], clear: str
) -> Evidence:
    """A breach in words, about this action. ``numbers``: observed, expected, and their unit."""
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
        topic=topic[:MOST_NAME_CHARS],
    )
