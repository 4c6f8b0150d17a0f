"""The gate: may this agent do this now? Pure: the caller brings what is known, and keeps what was decided.

The rules are one literal, ``RULES``, tried in order. The first refusal decides; else the first hold; else it is
allowed. Reasons are sentences that a sales manager understands; refusals come with the lines of configuration that
would allow the operation, where configuration could.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

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
from governance.operation import Operation, describe
from governance.policy.model import Policy
from governance.rules import control, reach, size
from governance.rules import policy as policy_rule
from governance.rules import request as request_rules
from governance.rules.case import Case, case_of
from governance.settings_checks import FIRST_CONTACT
from governance.settings_types import Settings

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

RULES: tuple[Callable[[Case], GateDecision | None], ...] = (
    control.control_unknown,
    control.stop_all,
    control.suspended,
    control.kin_stopped,
    request_rules.malformed,
    request_rules.request_id,
    request_rules.unknown_agent,
    request_rules.unknown_action,
    request_rules.action,
    request_rules.object,
    request_rules.authorizer,
    request_rules.request_size,
    request_rules.records_unnamed,
    size.records,
    size.recipients,
    size.irreversible,
    size.budget,
    reach.consent,
    control.held,
    control.kin_held,
    reach.first_contact,
    policy_rule.policy,
)


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
    case = case_of(request, view, settings, now_ms, operation or operation_of(request), policy, is_approved=is_approved)
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
    is_first = may_be_first and bool(reach.reaches_new_people(case))
    return GateDecision(
        decision="allow",
        reason="allowed",
        rule=Rule.ALLOWED,
        epoch=case.epoch,
        is_first_contact=is_first,
        policy=case.version,
        above_level=above,
    )
