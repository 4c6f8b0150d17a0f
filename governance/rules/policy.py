"""The rule of the gate that asks the policy in force; it can only refuse or hold what the others allow."""

from __future__ import annotations

import msgspec

from governance.gate_types import GateDecision, GateView, Rule
from governance.policy.asks import Ask, Ruling
from governance.policy.decide import rule_on
from governance.policy.model import Policy
from governance.policy.request import ask_of, facts_of
from governance.policy.scopes import needs_whereabouts
from governance.policy.worst import VERDICTS
from governance.rules.case import Case, acts_for, deny, hold, known_authorizer
from governance.rules.reach import consent_of_all, reaches_new_people


def policy(case: Case) -> GateDecision | None:
    """What the policy says; it comes last, since it has most to look up."""
    if case.policy is None or case.view is None:
        return None
    facts = facts_of(
        case.operation,
        case.view.counters,
        case.now_ms,
        authorizer=known_authorizer(case),
        is_first_contact=bool(reaches_new_people(case)),
        divisor=case.settings.gate.throttle_divisor if case.state == "throttled" else 1,
        is_approved=case.is_approved,
        acts_for=acts_for(case),
        consent=consent_of_all(case),
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
        hold(case, Rule.POLICY, _in_words(ruling))
        if ruling.verdict == "approval"
        else deny(case, Rule.POLICY, _in_words(ruling), ruling.allows)
    )
    return msgspec.structs.replace(answer, policy_rule=ruling.rule, above_level=case.above[0] if case.above else 0)


def _asked(case: Case, policy: Policy, view: GateView) -> Ask:
    request, operation = case.request, case.operation
    if not needs_whereabouts(policy, request.agent_id):
        return ask_of(request, operation)
    names = {person.crm_user: key for key, person in case.settings.people.items() if person.crm_user}
    return ask_of(request, operation, view.known_of(operation.record_ids), names)


def _in_words(ruling: Ruling) -> str:
    what = "a person must approve it" if ruling.verdict == "approval" else "the policy leaves it to people"
    return f"{ruling.why}; {what} ({ruling.path})"
