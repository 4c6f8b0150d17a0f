"""What a policy says to one question: pure, with each rule that led to it."""

from __future__ import annotations

from governance.policy.asks import Ask, Facts, Ruling, Step
from governance.policy.lines import lines_that_allow
from governance.policy.model import Policy
from governance.policy.rules import Case, severity, steps_of

__all__ = ["rule_on"]

_NOBODY = "agents"


def rule_on(policy: Policy, ask: Ask, facts: Facts) -> Ruling:
    """May this agent do this by itself, with an approval, or not at all; the strictest rule decides.

    An agent that the policy does not name may do nothing. Never raises; reads no clock.
    """
    grant = policy.agents.get(ask.agent_id)
    if grant is None:
        step = Step("agent", "human_only", _NOBODY, f"the policy names no agent “{ask.agent_id}”")
        allows = lines_that_allow(ask, None, step)
        return Ruling(
            verdict="human_only", rule="agent", path=_NOBODY, why=step.why, steps=(step,), policy=policy.hash,
            level=4, is_above_level=True, allows=allows,
        )  # fmt: skip
    case = Case(policy, ask, facts, grant)
    steps = (Step("agent", "autonomous", grant.path, f"it has the role {grant.role}"), *steps_of(case))
    deciding = max(steps, key=severity)  # the first of those that allow least
    if deciding.verdict == "autonomous":
        deciding = steps[-1]
    return Ruling(
        verdict=deciding.verdict,
        rule=deciding.rule,
        path=deciding.path,
        why=deciding.why,
        steps=steps,
        policy=policy.hash,
        level=case.level,
        is_above_level=case.level > grant.level,
        allows="" if deciding.verdict == "autonomous" else lines_that_allow(ask, case, deciding),
        approval=grant.approval if deciding.verdict == "approval" else "",
        routes=grant.routes,
    )
