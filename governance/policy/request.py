"""A request at the gate as a question to the policy: what the gate counted, never the agent's words alone."""

from __future__ import annotations

from collections.abc import Mapping

from events.times import DAY_MS
from events.types import After, FieldChanges
from governance.consent import Consent
from governance.gate_types import GateRequest
from governance.limits import TEN_MINUTES_MS, BudgetName, Counters
from governance.operation import Operation, canonical_id
from governance.policy.asks import Ask, Facts
from governance.policy.shape import Authorizer
from governance.policy.worst import MAKES_NEW, belonging_of_field

__all__ = ["ask_of", "facts_of"]


def ask_of(
    request: GateRequest,
    operation: Operation,
    known: Mapping[str, Mapping[str, str]] | None = None,
    names: Mapping[str, str] | None = None,
) -> Ask:
    """What is asked. ``known``: where records belong, see ``GateView.known_of``; without it that is not known.
    ``names``: what the policy calls an owner, by his or her id in the CRM."""
    trigger = request.trigger
    return Ask(
        agent_id=request.agent_id,
        action=request.action,
        object=request.object,
        fields=fields_of(request, operation),
        records=operation.records,
        recipients=operation.recipients,
        implied=operation.implied,
        trigger=trigger.kind if trigger is not None else None,
        trigger_ref=(trigger.ref or "") if trigger is not None else "",
        system=request.system or None,
        owners=_named(belonging("owner", request, operation, known), names or {}) if known is not None else None,
        segments=belonging("segment", request, operation, known) if known is not None else None,
    )


def belonging(
    what: str, request: GateRequest, operation: Operation, known: Mapping[str, Mapping[str, str]]
) -> tuple[str, ...] | None:
    """Owners or segments of all records that an operation touches: as they are, and as it sets them. None when one of
    them is not known. What is made now has only what is set."""
    if operation.records > len(operation.record_ids):
        return None
    is_new, found = request.action in MAKES_NEW, set[str | None]()
    sets = {canonical_id(record_id): _set(what, fields) for record_id, fields in request.changes.items()}
    for record_id in operation.record_ids:
        if not is_new:
            found.add(known.get(record_id, {}).get(what))
        if is_new or sets.get(record_id):
            found |= sets.get(record_id) or {None}
    values = [each for each in found if each]
    return tuple(sorted(values)) if values and len(values) == len(found) else None


def _set(what: str, fields: FieldChanges) -> set[str | None]:
    found = set[str | None]()
    for field, change in fields.items():
        if belonging_of_field(field) == what:
            after = change.after if isinstance(change, After) else change[1]
            found.add(after if isinstance(after, str) else None)
    return found


def _named(owners: tuple[str, ...] | None, names: Mapping[str, str]) -> tuple[str, ...] | None:
    return None if owners is None else tuple(names.get(each, each) for each in owners)


def fields_of(request: GateRequest, operation: Operation) -> tuple[str, ...] | None:
    """The fields that change, once each; None when there is a record of which it is not said."""
    changes = request.changes
    if not changes or operation.records > len(changes) or not changes.keys() >= set(request.record_ids):
        return None
    if len(changes) == 1:
        (fields,) = changes.values()
        return tuple(fields) or None
    return tuple({field for fields in changes.values() for field in fields}) if all(changes.values()) else None


def facts_of(
    operation: Operation,
    counters: Counters,
    now_ms: int,
    *,
    authorizer: Authorizer,
    is_first_contact: bool,
    divisor: int,
    is_approved: bool = False,
    acts_for: tuple[str, ...] = (),
    consent: Consent = "unknown",
    everybody: Counters | None = None,
) -> Facts:
    """What the gate knows of the agent; what the operation does not draw on is left out."""
    records: tuple[int | None, int | None] = (None, None)
    contacts: tuple[int | None, int | None] = (None, None)
    reads: tuple[int | None, int | None] = (None, None)
    if operation.is_write:
        records = _windows("records", counters, operation, now_ms)
    else:
        reads = _windows("reads", counters, operation, now_ms)
    if operation.is_external:
        contacts = _windows("contacts", counters, operation, now_ms)
    return Facts(
        first_contact=is_first_contact,
        authorizer=authorizer,
        records_10_min=records[0],
        records_day=records[1],
        contacts_10_min=contacts[0],
        contacts_day=contacts[1],
        reads_10_min=reads[0],
        reads_day=reads[1],
        divisor=divisor,
        is_approved=is_approved,
        acts_for=acts_for,
        consent=consent,
        records_of_all=_of_all("records", everybody, operation, now_ms) if operation.is_write else None,
        contacts_of_all=_of_all("contacts", everybody, operation, now_ms) if operation.is_external else None,
    )


def _of_all(name: BudgetName, everybody: Counters | None, operation: Operation, now_ms: int) -> int | None:
    return everybody.would_be(name, DAY_MS, operation, now_ms) if everybody is not None else None


def _windows(name: BudgetName, counters: Counters, operation: Operation, now_ms: int) -> tuple[int, int]:
    would_be = counters.would_be
    return would_be(name, TEN_MINUTES_MS, operation, now_ms), would_be(name, DAY_MS, operation, now_ms)
