"""Rules of the gate: how much at once, how much in a time, and what cannot be undone."""

from __future__ import annotations

from events.catalogue import kind_of
from governance import stanza
from governance.gate_types import GateDecision, Rule
from governance.limits import Budget, budgets_of, limit_of
from governance.rules.case import Case, deny, name_of
from governance.words import DOING, listed, plural

MOST_RECIPIENTS = 200
"""No setting lets one operation reach more."""


def records(case: Case) -> GateDecision | None:
    """How many records it may change at once."""
    limit, records = case.agent.max_records_per_operation, case.operation.records
    if not case.operation.is_write or records <= limit:
        return None
    return deny(
        case,
        Rule.RECORDS,
        f"{plural(records, 'record')} at once; {name_of(case)} may change at most {limit}",
        stanza.numbers(case.request.agent_id, {"max_records_per_operation": records}),
    )


def recipients(case: Case) -> GateDecision | None:
    """How many people it may reach at once."""
    limit, recipients = case.agent.max_recipients_per_operation, case.operation.recipients
    if recipients <= limit:
        return None
    people = plural(recipients, "person", "people")
    lines = (
        stanza.numbers(case.request.agent_id, {"max_recipients_per_operation": recipients})
        if recipients <= MOST_RECIPIENTS
        else ""
    )
    return deny(case, Rule.RECIPIENTS, f"{people} at once; {name_of(case)} may reach at most {limit}", lines)


def irreversible(case: Case) -> GateDecision | None:
    """What cannot be undone is declared by a person."""
    final = [name for name in case.names if not kind_of(name).is_reversible]
    missing = [name for name in final if name not in case.agent.irreversible]
    if not missing:
        return None
    doing = listed([DOING.get(name, name) for name in missing], "or")
    reason = f"{name_of(case)} may not {doing}: that cannot be undone, and nobody declared it"
    return deny(case, Rule.IRREVERSIBLE, reason, stanza.more_irreversible(case.request.agent_id, case.agent, missing))


def budget(case: Case) -> GateDecision | None:
    """Distinct records and contacts in a time, what is on its way included."""
    if case.view is None:
        return None
    is_throttled, counters = case.state == "throttled", case.view.counters
    for budget in budgets_of(case.operation):
        count = counters.would_be(budget.name, budget.window_ms, case.operation, case.now_ms)
        limit = limit_of(budget, case.agent, case.settings.gate, is_throttled)
        if count > limit:
            slowed = " while it is slowed down" if is_throttled else ""
            lines = "" if is_throttled else stanza.numbers(case.request.agent_id, _room(case, budget, count))
            return deny(
                case,
                Rule.BUDGET,
                f"this would make {count:,}; {name_of(case)} may have at most {budget.words(limit)}{slowed}",
                lines,
            )
    return None


def _room(case: Case, budget: Budget, count: int) -> dict[str, int]:
    """The settings that make room; the day's budget may not be less than the ten minutes'."""
    day = f"{budget.name}_per_day"
    wanted = {budget.setting: count}
    if getattr(case.agent, day) < count:
        wanted[day] = count
    return wanted
