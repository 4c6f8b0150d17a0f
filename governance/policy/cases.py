"""Cases written beside a policy: whether it says what they expect, and which of its lines none of them reaches."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from governance.policy.asks import Ask, Facts, Ruling
from governance.policy.decide import rule_on
from governance.policy.model import Policy
from governance.policy.paths import dotted
from governance.policy.rules import EXCLUSIONS
from governance.policy.shape import Case
from governance.policy.worst import RADII, REVERSIBILITIES, VOLUMES


class Result(Struct, frozen=True, kw_only=True):
    """One case, where it is written, and what the policy said."""

    place: str
    case: Case
    ruling: Ruling

    @property
    def is_met(self) -> bool:
        """Whether the verdict and the rule that decided are those expected."""
        return (self.ruling.verdict, self.ruling.rule) == (self.case.expect, self.case.rule)


def run(policy: Policy, cases: Iterable[tuple[str, Case]]) -> list[Result]:
    """Ask the policy what each case asks."""
    return [Result(place=place, case=case, ruling=rule_on(policy, *asked_in(case))) for place, case in cases]


def asked_in(case: Case) -> tuple[Ask, Facts]:
    """A case as a question. What it does not say is harmless, but for the fields: these are not known then."""
    kind, _, ref = case.trigger.partition(":")
    records, contacts = max(case.records, case.records_in_10_min), max(case.recipients, case.contacts_in_10_min)
    ask = Ask(
        agent_id=case.agent,
        action=case.action,
        object=case.object or None,
        fields=tuple(case.fields) if case.fields is not None else None,
        records=case.records,
        recipients=case.recipients,
        trigger=kind,
        trigger_ref=ref,
        system=case.system or None,
        owners=(case.owner,) if case.owner else None,
        segments=(case.segment,) if case.segment else None,
    )
    facts = Facts(
        first_contact=case.first_contact,
        authorizer=case.authorizer,
        acts_for=tuple(case.acts_for),
        consent=case.consent,
        is_approved=case.approved,
        records_10_min=records,
        records_day=records,
        contacts_10_min=contacts,
        contacts_day=contacts,
        reads_10_min=records,
        reads_day=records,
        records_of_all=max(records, case.records_of_all),
        contacts_of_all=max(contacts, case.contacts_of_all),
    )
    return ask, facts


def untested(policy: Policy, results: Iterable[Result]) -> list[str]:
    """Lines of the policy that no case reaches, sorted: agents, actions, fields, scopes, budgets, exclusions, cells."""
    return sorted(_lines(policy) - {line for result in results for line in _reached(policy, result)})


def _lines(policy: Policy) -> set[str]:
    found = {dotted(("actions", name)) for name in policy.actions} | {
        dotted(("fields", name)) for name in policy.fields
    }
    found |= {f"exclusions.{name}" for name in EXCLUSIONS}
    found |= {f"delegation.{kind}.{radius}.{how}" for kind in REVERSIBILITIES for radius in RADII for how in VOLUMES}
    if policy.ceiling is not None:
        found.add("ceiling")
    for right in policy.rights.values():
        found.add(right.path)
    for grant in policy.agents.values():
        found |= {grant.path, grant.actions_path}
        found |= {place.path for group in grant.inside for place in group}
        found |= {limits.path for limits in grant.limits}
    return found


def _reached(policy: Policy, result: Result) -> Iterable[str]:
    for step in result.ruling.steps:
        yield step.path
        if step.rule in ("budget", "ceiling"):
            yield step.path.partition("_per_")[0].rpartition(".")[0]
    for field in result.case.fields or ():
        for name in (f"{result.case.object}.{field}".casefold(), f"*.{field}".casefold()):
            if name in policy.fields:
                yield dotted(("fields", name))
