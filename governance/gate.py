"""The gate: may this agent do this now? Pure: the caller brings what is known, and keeps what was decided.

The rules are one literal, ``RULES``, tried in order. The first refusal decides; else the first hold; else it is
allowed. Reasons are sentences that a sales manager understands; refusals come with the lines of configuration that
would allow the operation, where configuration could.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import UNSET, Struct

from events.catalogue import kind_of
from governance import stanza
from governance.consent import Consent, consent_of, worst_of
from governance.control import ControlRow, effective
from governance.gate_types import (
    BadRequest,
    GateDecision,
    GateRequest,
    GateView,
    Remembered,
    Rule,
    content_hash,
    decode_request,
)
from governance.kin import Kin, kin_of, may_do, under_parents
from governance.limits import Budget, budgets_of, limit_of
from governance.operation import Operation, describe, is_known
from governance.policy.asks import Ask, Ruling
from governance.policy.decide import rule_on
from governance.policy.model import Policy
from governance.policy.request import ask_of, facts_of
from governance.policy.scopes import needs_whereabouts
from governance.policy.shape import Authorizer
from governance.policy.worst import VERDICTS
from governance.settings_checks import FIRST_CONTACT
from governance.settings_types import AgentSettings, Person, Settings
from governance.words import DOING, listed, plural

MOST_RECIPIENTS = 200
"""No setting lets one operation reach more."""

__all__ = [
    "RULES",
    "BadRequest",
    "GateDecision",
    "GateRequest",
    "GateView",
    "Remembered",
    "Rule",
    "check",
    "content_hash",
    "decode_request",
    "operation_of",
]


class _Case(Struct, frozen=True, kw_only=True):
    request: GateRequest
    operation: Operation
    view: GateView | None
    settings: Settings
    agent: AgentSettings
    control: ControlRow | None
    stop_all: ControlRow | None
    epoch: int
    state: str
    names: tuple[str, ...]
    now_ms: int
    policy: Policy | None = None
    version: str = ""
    is_approved: bool = False
    kin: tuple[Kin, ...] = ()
    claimed: str = ""
    """The agent that set it to work, as it says itself."""
    reached: list[str] = []
    """Whom it reaches for the first time, in words, once that was looked up; "" for nobody."""
    above: list[int] = []
    """The level that the policy saw, where it is above the agent's."""
    consents: list[dict[str, Consent]] = []
    """What those whom it reaches allow, once that was looked up."""


def operation_of(request: GateRequest) -> Operation:
    """The operation as the gate counts it; whoever admits it debits and logs this, not the agent's words."""
    return describe(
        request.action,
        request.record_ids,
        request.changes,
        request.recipient_ids,
        request.records,
        request.recipients,
    )


def check(
    request: GateRequest,
    view: GateView | None,
    settings: Settings,
    now_ms: int,
    operation: Operation | None = None,
    policy: Policy | None = None,
    *,
    is_approved: bool = False,
) -> GateDecision:
    """Decide on one request. Writes nothing: an allowed operation is to be admitted before the answer leaves.

    ``operation`` is ``operation_of(request)`` where the caller has it already. ``policy``: the one in force, if any;
    it can only refuse or hold what the settings allow. ``is_approved``: a person has approved just this, so that it
    need not wait for one; everything else is decided as without.
    """
    case = _case(request, view, settings, now_ms, operation or operation_of(request), policy, is_approved=is_approved)
    held: GateDecision | None = None
    for rule in RULES:
        answer = rule(case)
        if answer is None:
            continue
        if answer.decision != "hold":
            return answer
        held = held or answer
    above = case.above[0] if case.above else 0
    if held is not None:
        return msgspec.structs.replace(held, above_level=above) if above else held
    may_be_first = case.is_approved or FIRST_CONTACT in case.agent.irreversible
    is_first = may_be_first and bool(_reaches_new_people(case))
    return GateDecision(
        decision="allow",
        reason="allowed",
        rule=Rule.ALLOWED,
        epoch=case.epoch,
        is_first_contact=is_first,
        policy=case.version,
        above_level=above,
    )


def _case(
    request: GateRequest,
    view: GateView | None,
    settings: Settings,
    now_ms: int,
    operation: Operation,
    policy: Policy | None,
    *,
    is_approved: bool,
) -> _Case:
    own, stop_all = (view.control, view.stop_all) if view is not None else (None, None)
    control = effective(own, stop_all)
    claimed = (request.parent_agent_id or "") if request.parent_agent_id is not UNSET else ""
    return _Case(
        request=request,
        operation=operation,
        view=view,
        settings=settings,
        agent=under_parents(request.agent_id, settings, claimed) or AgentSettings(actions=["*"]),
        control=control,
        stop_all=stop_all,
        epoch=own.epoch if own is not None else 0,
        state=control.state if control is not None else "active",
        names=(request.action, *operation.implied),
        now_ms=now_ms,
        policy=policy,
        version=policy.hash if policy is not None else "",
        is_approved=is_approved,
        claimed=claimed,
        kin=kin_of(request, settings, policy),
    )


# --- the rules ---------------------------------------------------------------------------------------------------


def _control_unknown(case: _Case) -> GateDecision | None:
    is_known_now = case.view is not None and case.view.is_control_known
    if is_known_now or (case.view is not None and not case.operation.is_write):
        return None
    return _deny(
        case,
        Rule.CONTROL_UNKNOWN,
        f"Tripline cannot tell right now whether {_name(case)} is stopped, so it may not "
        + ("write" if case.operation.is_write else "read"),
    )


def _stop_all(case: _Case) -> GateDecision | None:
    row = case.stop_all
    if row is None or row.state != "suspended":
        return None
    return _deny(
        case, Rule.STOP_ALL, "all agents are stopped; only two people together can end that", detail=row.reason
    )


def _suspended(case: _Case) -> GateDecision | None:
    if case.state != "suspended":
        return None
    detail = case.control.reason if case.control is not None else ""
    return _deny(case, Rule.SUSPENDED, "suspended; only a person can release", detail=detail)


def _kin_stopped(case: _Case) -> GateDecision | None:
    """The stop of an agent above it, or with the same credential, is its own, too."""
    if case.view is None:
        return None
    for kin in case.kin:
        row = case.view.row_of(kin.agent_id)
        if row is not None and row.state == "suspended":
            reason = f"“{kin.agent_id}”, {kin.how}, is suspended; only a person can release it"
            return _deny(case, Rule.SUSPENDED, reason, detail=row.reason)
    return None


def _kin_held(case: _Case) -> GateDecision | None:
    if case.view is None or not case.operation.is_write:
        return None
    for kin in case.kin:
        row = case.view.row_of(kin.agent_id)
        if row is not None and row.state in ("held", "releasing"):
            reason = f"writes of “{kin.agent_id}”, {kin.how}, wait for a person"
            return _hold(case, Rule.HELD, reason, detail=row.reason)
    return None


def _malformed(case: _Case) -> GateDecision | None:
    request = case.request
    fields: dict[str, Sequence[str]] = {
        "agent_id": (request.agent_id,),
        "action": (request.action,),
        "object": (request.object or "-",),
        "parent_agent_id": (request.parent_agent_id or "-",) if request.parent_agent_id is not UNSET else ("-",),
        "system": (request.system or "-",),
        "record_ids": (*request.record_ids, *request.changes),
        "recipient_ids": request.recipient_ids,
    }
    for field, texts in fields.items():
        if not ("".join(texts).isprintable() and all(map(str.strip, texts))):
            return _deny(case, Rule.MALFORMED, f"{field} is blank or holds characters that do not print")
    return None


def _request_id(case: _Case) -> GateDecision | None:
    request_id, view = case.request.request_id, case.view
    before = view.remembered(request_id) if request_id is not None and view is not None else None
    if before is None or before.at_ms < case.now_ms - case.settings.gate.remember_hours * 3_600_000:
        return None
    if before.content_hash != content_hash(case.request):
        reason = f"request id “{request_id}” was used before for something else"
        return _deny(case, Rule.REQUEST_ID, reason, finding=f"{case.request.agent_id}: {reason}")
    if before.decision.decision == "allow" and before.decision.epoch == case.epoch:
        return msgspec.structs.replace(before.decision, is_repeated=True)
    return None  # what was refused or held is judged as things are now


def _unknown_agent(case: _Case) -> GateDecision | None:
    request = case.request
    if request.agent_id in case.settings.agents or case.settings.gate.unknown_agents == "allow":
        return None
    lines = stanza.new_agent(request.agent_id, case.names, request.object)
    return _deny(case, Rule.UNKNOWN_AGENT, f"no agent called {_name(case)} is configured", lines)


def _unknown_action(case: _Case) -> GateDecision | None:
    action, own = case.request.action, case.settings.gate.other_actions
    if is_known(action) or (action in own and action in case.agent.actions):
        return None
    reason = f"“{action}” is no known action, so it counts as a write of the highest risk"
    return _deny(case, Rule.UNKNOWN_ACTION, reason, stanza.own_action(case.request.agent_id, case.agent, own, action))


def _action(case: _Case) -> GateDecision | None:
    missing = [name for name in case.names if not may_do(name, case.agent.actions)]
    if not missing:
        return None
    reason = f"{_name(case)} may not {listed([DOING.get(name, name) for name in missing], 'or')}"
    return _deny(case, Rule.ACTION, reason, stanza.more_actions(case.request.agent_id, case.agent, missing))


def _object(case: _Case) -> GateDecision | None:
    allowed, wanted = case.agent.objects, case.request.object
    if "*" in allowed or (wanted is not None and wanted in allowed):
        return None
    may = f"it may touch {listed(allowed)}" if allowed else "it may touch nothing"
    if not wanted:
        return _deny(case, Rule.OBJECT, f"the request does not say what kind of record it touches; {may}")
    lines = stanza.more_objects(case.request.agent_id, case.agent, wanted)
    return _deny(case, Rule.OBJECT, f"{_name(case)} may not touch “{wanted}”; {may}", lines)


def _authorizer(case: _Case) -> GateDecision | None:
    wanted, known = case.request.authorized_by, _known_authorizer(case)
    if known == "inactive":
        return _deny(case, Rule.AUTHORIZER, f"“{wanted}”, for whom it acts, is no longer active")
    if known == "active" or case.settings.gate.unknown_authorizers == "allow":
        return None
    return _deny(
        case,
        Rule.AUTHORIZER,
        f"nobody here knows “{wanted}”, for whom it acts" if wanted else "the request does not say for whom it acts",
    )


def _known_authorizer(case: _Case) -> Authorizer:
    found = _person(case)
    return "unknown" if found is None else "active" if found[1].is_active else "inactive"


def _person(case: _Case) -> tuple[str, Person] | None:
    """For whom it acts, when that is somebody whom the settings know: by name or by the id in the CRM."""
    wanted, found = case.request.authorized_by, None
    if wanted:
        for key, person in case.settings.people.items():
            if wanted in (key, person.crm_user):
                found = key, person
    return found


def _acts_for(case: _Case) -> tuple[str, ...]:
    """The names by which a policy's rights know for whom it acts."""
    found = _person(case)
    return () if found is None or not found[1].is_active else (found[0], f"role:{found[1].role}")


def _request_size(case: _Case) -> GateDecision | None:
    limit, records = case.settings.gate.max_records_per_request, case.operation.records
    if records <= limit:
        return None
    return _deny(case, Rule.REQUEST_SIZE, f"{records:,} records in one request; at most {limit}. Send smaller ones")


def _records_unnamed(case: _Case) -> GateDecision | None:
    if not case.operation.names_no_record:
        return None
    return _deny(case, Rule.RECORDS_UNNAMED, "the request does not say which records it changes (record_ids)")


def _records(case: _Case) -> GateDecision | None:
    limit, records = case.agent.max_records_per_operation, case.operation.records
    if not case.operation.is_write or records <= limit:
        return None
    return _deny(
        case,
        Rule.RECORDS,
        f"{plural(records, 'record')} at once; {_name(case)} may change at most {limit}",
        stanza.numbers(case.request.agent_id, {"max_records_per_operation": records}),
    )


def _recipients(case: _Case) -> GateDecision | None:
    limit, recipients = case.agent.max_recipients_per_operation, case.operation.recipients
    if recipients <= limit:
        return None
    people = plural(recipients, "person", "people")
    lines = (
        stanza.numbers(case.request.agent_id, {"max_recipients_per_operation": recipients})
        if recipients <= MOST_RECIPIENTS
        else ""
    )
    return _deny(case, Rule.RECIPIENTS, f"{people} at once; {_name(case)} may reach at most {limit}", lines)


def _irreversible(case: _Case) -> GateDecision | None:
    final = [name for name in case.names if not kind_of(name).is_reversible]
    missing = [name for name in final if name not in case.agent.irreversible]
    if not missing:
        return None
    doing = listed([DOING.get(name, name) for name in missing], "or")
    reason = f"{_name(case)} may not {doing}: that cannot be undone, and nobody declared it"
    return _deny(case, Rule.IRREVERSIBLE, reason, stanza.more_irreversible(case.request.agent_id, case.agent, missing))


def _budget(case: _Case) -> GateDecision | None:
    if case.view is None:
        return None
    is_throttled, counters = case.state == "throttled", case.view.counters
    for budget in budgets_of(case.operation):
        count = counters.would_be(budget.name, budget.window_ms, case.operation, case.now_ms)
        limit = limit_of(budget, case.agent, case.settings.gate, is_throttled)
        if count > limit:
            slowed = " while it is slowed down" if is_throttled else ""
            lines = "" if is_throttled else stanza.numbers(case.request.agent_id, _room(case, budget, count))
            return _deny(
                case,
                Rule.BUDGET,
                f"this would make {count:,}; {_name(case)} may have at most {budget.words(limit)}{slowed}",
                lines,
            )
    return None


def _room(case: _Case, budget: Budget, count: int) -> dict[str, int]:
    """The settings that make room; the day's budget may not be less than the ten minutes'."""
    day = f"{budget.name}_per_day"
    wanted = {budget.setting: count}
    if getattr(case.agent, day) < count:
        wanted[day] = count
    return wanted


def _held(case: _Case) -> GateDecision | None:
    if not case.operation.is_write or case.state not in ("held", "releasing"):
        return None
    if case.state == "releasing":
        return _hold(case, Rule.HELD, "its release is under way; try again in a moment")
    detail = case.control.reason if case.control is not None else ""
    return _hold(case, Rule.HELD, f"writes of {_name(case)} wait for a person", detail=detail)


def _consent(case: _Case) -> GateDecision | None:
    operation = case.operation
    if not operation.recipients:
        return None
    refused = [each for each in operation.recipient_ids if _consents(case).get(each) == "refused"]
    if not refused:
        return None
    return _deny(case, Rule.CONSENT, f"{_some(refused)} refused to be reached; nobody can approve that here")


def _consents(case: _Case) -> dict[str, Consent]:
    """What those whom it reaches allow; looked up once."""
    if case.view is None:
        return {}
    if not case.consents:
        ids = case.operation.recipient_ids
        said = case.view.said_by(ids) if ids else ()
        case.consents.append(consent_of(case.request.action, ids, said, case.now_ms) if said else {})
    return case.consents[0]


def _consent_of_all(case: _Case) -> Consent:
    operation = case.operation
    is_listed = bool(operation.recipients) and operation.recipients <= len(operation.recipient_ids)
    return worst_of(operation.recipient_ids, _consents(case)) if is_listed else "unknown"


def _first_contact(case: _Case) -> GateDecision | None:
    reason = _reaches_new_people(case)
    if not reason or FIRST_CONTACT in case.agent.irreversible:
        return None
    if case.is_approved and case.settings.gate.first_contact == "hold":
        return None
    answer = _deny if case.settings.gate.first_contact == "deny" else _hold
    decision = answer(case, Rule.FIRST_CONTACT, f"{reason}; a person must look at it")
    return msgspec.structs.replace(decision, is_first_contact=True)


def _reaches_new_people(case: _Case) -> str:
    """Whom it reaches for the first time, in words; "" when nobody."""
    operation = case.operation
    if not operation.recipients or case.view is None:
        return ""
    if operation.names_no_recipient or operation.recipients > len(operation.recipient_ids):
        return "it does not say whom it reaches"
    if not case.reached:
        new = case.view.unknown_contacts(operation.recipient_ids)
        case.reached.append(f"first message to {_some(new)}" if new else "")
    return case.reached[0]


def _policy(case: _Case) -> GateDecision | None:
    """What the policy says; it comes last, since it has most to look up."""
    if case.policy is None or case.view is None:
        return None
    facts = facts_of(
        case.operation,
        case.view.counters,
        case.now_ms,
        authorizer=_known_authorizer(case),
        is_first_contact=bool(_reaches_new_people(case)),
        divisor=case.settings.gate.throttle_divisor if case.state == "throttled" else 1,
        is_approved=case.is_approved,
        acts_for=_acts_for(case),
        consent=_consent_of_all(case),
        everybody=case.view.everybody if case.policy.ceiling is not None else None,
    )
    ask, claimed = _asked(case, case.policy, case.view), case.claimed
    ruling = rule_on(case.policy, ask, facts, is_brief=True)
    if ruling.is_above_level:
        case.above.append(ruling.level)
    if claimed and ruling.verdict != "human_only":  # it may no more than the one that set it to work
        of_parent = rule_on(case.policy, msgspec.structs.replace(ask, agent_id=claimed), facts, is_brief=True)
        ruling = max(ruling, of_parent, key=lambda each: VERDICTS.index(each.verdict))
    if ruling.verdict == "autonomous" or (ruling.verdict == "approval" and case.is_approved):
        return None
    answer = (
        _hold(case, Rule.POLICY, _in_words(ruling))
        if ruling.verdict == "approval"
        else _deny(case, Rule.POLICY, _in_words(ruling), ruling.allows)
    )
    return msgspec.structs.replace(answer, policy_rule=ruling.rule, above_level=case.above[0] if case.above else 0)


def _asked(case: _Case, policy: Policy, view: GateView) -> Ask:
    request, operation = case.request, case.operation
    if not needs_whereabouts(policy, request.agent_id):
        return ask_of(request, operation)
    names = {person.crm_user: key for key, person in case.settings.people.items() if person.crm_user}
    return ask_of(request, operation, view.known_of(operation.record_ids), names)


def _in_words(ruling: Ruling) -> str:
    what = "a person must approve it" if ruling.verdict == "approval" else "the policy leaves it to people"
    return f"{ruling.why}; {what} ({ruling.path})"


RULES: tuple[Callable[[_Case], GateDecision | None], ...] = (
    _control_unknown,
    _stop_all,
    _suspended,
    _kin_stopped,
    _malformed,
    _request_id,
    _unknown_agent,
    _unknown_action,
    _action,
    _object,
    _authorizer,
    _request_size,
    _records_unnamed,
    _records,
    _recipients,
    _irreversible,
    _budget,
    _consent,
    _held,
    _kin_held,
    _first_contact,
    _policy,
)


def _name(case: _Case) -> str:
    return f"“{case.request.agent_id}”"


def _some(names: Sequence[str]) -> str:
    return "“" + names[0] + "”" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _deny(
    case: _Case, rule: Rule, reason: str, lines: str = "", *, detail: str = "", finding: str = ""
) -> GateDecision:
    return GateDecision(
        decision="deny",
        reason=f"denied: {reason}",
        rule=rule,
        epoch=case.epoch,
        stanza=lines,
        detail=detail,
        finding=finding,
        policy=case.version,
    )


def _hold(case: _Case, rule: Rule, reason: str, *, detail: str = "") -> GateDecision:
    return GateDecision(
        decision="hold",
        reason=f"on hold: {reason}",
        rule=rule,
        epoch=case.epoch,
        detail=detail,
        policy=case.version,
    )
