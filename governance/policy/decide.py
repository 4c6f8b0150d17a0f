"""What a policy says to one question: pure, with each rule that led to it."""

from __future__ import annotations

from governance.policy.asks import Ask, Facts, Ruling, Step
from governance.policy.lines import lines_that_allow
from governance.policy.model import Policy
from governance.policy.question import Case
from governance.policy.rules import is_free, question_of, steps_of, volume_of
from governance.policy.worst import VERDICTS

__all__ = ["rule_on"]

_NOBODY = "agents"
_SEVERITY = {verdict: number for number, verdict in enumerate(VERDICTS)}
_LEAST = len(VERDICTS) - 1


def rule_on(policy: Policy, ask: Ask, facts: Facts, *, is_brief: bool = False) -> Ruling:
    """May this agent do this by itself, with an approval, or not at all; the strictest rule decides.

    An agent that the policy does not name may do nothing. Never raises; reads no clock.
    ``is_brief``: a refusal comes without its steps, which costs less; nothing else differs.
    """
    grant = policy.agents.get(ask.agent_id)
    if grant is None:
        step = Step("agent", "human_only", _NOBODY, f"the policy names no agent “{ask.agent_id}”")
        allows = lines_that_allow(ask, None, step)
        return Ruling(
            verdict="human_only", rule="agent", path=_NOBODY, why=step.why, steps=(step,), policy=policy.hash,
            level=4, is_above_level=True, allows=allows,
        )  # fmt: skip
    question = question_of(policy, grant, ask, facts)
    case = Case(question, ask, facts)
    if not is_free(case):
        return _refused_briefly(case) if is_brief else _refused(case)
    volume = volume_of(case)
    found = question.rulings.get(volume)
    if found is None:
        found = question.rulings[volume] = _ruling(case, tuple(steps_of(case)), -1)
    return found


def _refused(case: Case) -> Ruling:
    steps = tuple(steps_of(case))
    severities = [_SEVERITY[step.verdict] for step in steps]
    return _ruling(case, steps, severities.index(max(severities)))  # the first of those that allow least


def _refused_briefly(case: Case) -> Ruling:
    worst, deciding, found = -1, 0, None
    for number, step in enumerate(steps_of(case)):
        if _SEVERITY[step.verdict] > worst:
            worst, deciding, found = _SEVERITY[step.verdict], number, step
            if worst == _LEAST:
                break
    return _ruling(case, (), deciding, found)


def _ruling(case: Case, steps: tuple[Step, ...], deciding: int, found: Step | None = None) -> Ruling:
    question, step = case.question, found or steps[deciding]
    grant = question.grant
    return Ruling(
        verdict=step.verdict,
        rule=step.rule,
        path=step.path,
        why=step.why,
        steps=steps,
        policy=question.policy.hash,
        level=question.level,
        is_above_level=question.level > grant.level,
        allows=_lines(case, step, deciding),
        approval=grant.approval if step.verdict == "approval" else "",
        routes=grant.routes,
    )


def _lines(case: Case, step: Step, deciding: int) -> str:
    if step.verdict == "autonomous":
        return ""
    question = case.question
    if deciding >= len(question.before):
        return lines_that_allow(case.ask, case, step)
    if deciding not in question.lines:
        question.lines[deciding] = lines_that_allow(case.ask, case, step)
    return question.lines[deciding]
