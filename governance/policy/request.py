"""A request at the gate as a question to the policy: what the gate counted, never the agent's words alone."""

from __future__ import annotations

from events.times import DAY_MS
from governance.gate_types import GateRequest
from governance.limits import TEN_MINUTES_MS, BudgetName, Counters
from governance.operation import Operation
from governance.policy.asks import Ask, Facts
from governance.policy.shape import Authorizer

__all__ = ["ask_of", "facts_of"]


def ask_of(request: GateRequest, operation: Operation) -> Ask:
    """What is asked. Owners and segments of records are not known here, so a scope that is limited in them denies."""
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
    )


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
    )


def _windows(name: BudgetName, counters: Counters, operation: Operation, now_ms: int) -> tuple[int, int]:
    would_be = counters.would_be
    return would_be(name, TEN_MINUTES_MS, operation, now_ms), would_be(name, DAY_MS, operation, now_ms)
