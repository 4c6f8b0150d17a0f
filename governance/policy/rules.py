"""The rules of a policy. Each says the most that it allows; the strictest of them all decides.

So no rule can loosen another, and a rule that is added can only narrow. What is not known counts as the worst.
"""

from __future__ import annotations

from collections.abc import Iterator

from governance.policy.asks import Ask, Facts, Step
from governance.policy.model import Grant, Limits, Policy
from governance.policy.paths import dotted
from governance.policy.question import Case, Question
from governance.policy.scopes import rights_step, scope_steps
from governance.policy.shape import Verdict
from governance.policy.worst import MAKES_NEW, VOLUMES, kind_of_object
from governance.words import DOING, listed, plural

EXCLUSIONS = (
    "first_contact",
    "contract_creation",
    "call_recording",
    "bulk_modification",
    "bulk_deal_values",
    "price_approval",
    "owner_reassignment",
    "many_recipients",
    "no_consent",
)
RULE_NAMES = (
    "agent", "mode", "action", "scope", "authorizer", "rights", "level", "size", "budget", "ceiling", "least",
    *EXCLUSIONS, "delegation",
)  # fmt: skip
"""The rules, in their order; of several that allow equally little, the first is said to decide."""


MOST_KEPT, MOST_KEPT_CHARS = 2_048, 4_096
"""So many questions are kept with a policy, and none with longer texts: an agent chooses these."""


def question_of(policy: Policy, grant: Grant, ask: Ask, facts: Facts) -> Question:
    """The question behind these numbers; worked out when it is first asked."""
    key = (
        ask.agent_id, ask.action, ask.object, ask.fields, ask.implied, ask.trigger, ask.trigger_ref, ask.system,
        ask.owners, ask.segments, ask.recipients > 0, facts.authorizer, facts.is_approved, facts.acts_for,
    )  # fmt: skip
    found: Question | None = policy.memo.get(key)
    if found is None:
        found = _prepared(Question(policy, grant, ask, facts))
        if len(str(key)) <= MOST_KEPT_CHARS:
            if len(policy.memo) >= MOST_KEPT:
                policy.memo.clear()
            policy.memo[key] = found
    return found


def _prepared(of: Question) -> Question:
    entry = of.entry
    of.action_path = dotted(("actions", of.ask.action))
    named = Step("agent", "autonomous", of.grant.path, f"it has the role {of.grant.role}")
    of.before = (
        named, _mode(of), _action(of), *scope_steps(of), _authorizer(of), rights_step(of), _level(of),
    )  # fmt: skip
    needs = Step("least", entry.least, f"{of.action_path}.least", f"whoever may {of.doing} needs at least this")
    of.least = (needs,) if entry.least != "autonomous" else ()
    of.always = dict(_always_excluded(of))
    of.is_clear = not of.always and all(step.verdict == "autonomous" for step in (*of.before, *of.least))
    of.rulings, of.lines = {}, {}
    return of


def steps_of(case: Case) -> Iterator[Step]:
    """What each rule says, in their order."""
    yield from case.question.before
    yield _size(case)
    yield from _budget(case)
    yield from _ceiling(case)
    yield from case.question.least
    yield from _exclusions(case)
    yield _delegation(case)


def is_free(case: Case) -> bool:
    """Whether no rule objects; the same as looking at all steps, without their words."""
    of = case.question
    return (
        of.is_clear
        and _too_much(case) is None
        and all(_exceeded(case, limits) is None for limits in of.grant.limits)
        and _above_ceiling(case) is None
        and next(_excluded_now(case), None) is None
        and _verdict_of_cell(case) == "autonomous"
    )


def _mode(of: Question) -> Step:
    mode, path = of.grant.mode, of.grant.mode_path
    if mode == "off":
        return Step("mode", "human_only", path, "it is switched off")
    if mode == "read_only" and of.is_write:
        return Step("mode", "human_only", path, "it may only read at present")
    if mode == "approval" and of.is_write:
        return Step("mode", "approval", path, "all it writes waits for a person at present")
    return Step("mode", "autonomous", path, f"its mode is {mode}")


def _action(of: Question) -> Step:
    path = of.grant.actions_path
    if not of.is_known:
        why = f"“{of.ask.action}” is not in the catalogue, so it counts as a write of the highest risk"
        return Step("action", "human_only", "actions", why)
    missing = [name for name in (of.ask.action, *of.ask.implied) if name not in of.grant.actions]
    if missing:
        doing = listed([DOING.get(name, name) for name in missing], "or")
        return Step("action", "human_only", path, f"it may not {doing}")
    return Step("action", "autonomous", path, f"its role may {of.doing}")


def _authorizer(of: Question) -> Step:
    said = of.authorizer
    if said == "active":
        return Step("authorizer", "autonomous", of.grant.path, "for whom it acts is known and active")
    why = "nobody knows for whom it acts" if said == "unknown" else "for whom it acts is no longer active"
    return Step("authorizer", "human_only", of.grant.path, why)


def _level(of: Question) -> Step:
    level, most, path = of.level, of.grant.level, of.grant.level_path
    if level <= most or not of.is_write:
        above = f" (seen: {level})" if level > most else ""
        return Step("level", "autonomous", path, f"within level {most}{above}")
    what = {2: "a rule", 3: "an approval"}.get(level, "nothing that we know")
    why = f"this is level {level}, set off by {what}; it has level {most}"
    return Step("level", "approval" if most == 3 else "human_only", path, why)


def _size(case: Case) -> Step:
    path, found = case.question.action_path, _too_much(case)
    if found is None:
        return Step("size", "autonomous", path, "not too much at once")
    what, count, limit = found
    return Step("size", "human_only", path, f"{plural(count, what)} at once; at most {limit}")


def _too_much(case: Case) -> tuple[str, int, int] | None:
    ask, entry = case.ask, case.question.entry
    if ask.records > entry.at_most:
        return "record", ask.records, entry.at_most
    if case.question.is_external and ask.recipients > entry.at_most_recipients:
        return "recipient", ask.recipients, entry.at_most_recipients
    return None


_WORDS = {"10_min": "in 10 minutes", "day": "in 24 hours"}
_DRAWN = {
    (is_write, is_external): tuple(
        (f"{name}_per_{window}", f"{name}_{window}")
        for name in ("records" if is_write else "reads", *(("contacts",) if is_external else ()))
        for window in _WORDS
    )
    for is_write in (False, True)
    for is_external in (False, True)
}
"""The settings and counts that an operation draws on."""


def _budget(case: Case) -> Iterator[Step]:
    for limits in case.question.grant.limits:
        found = _exceeded(case, limits)
        if found is None:
            yield Step("budget", "autonomous", limits.path, "within its budget")
        else:
            setting, count, limit = found
            name, _, window = setting.partition("_per_")
            noun = {"contacts": "people", "reads": "records read"}.get(name, name)
            would = f"this would make {count:,}" if count is not None else "nobody knows how much it did"
            why = f"{would}; at most {limit:,} {noun} {_WORDS[window]}"
            yield Step("budget", "human_only", f"{limits.path}.{setting}", why)


def _exceeded(case: Case, limits: Limits) -> tuple[str, int | None, int] | None:
    facts, table, divisor = case.facts, limits.table, case.facts.divisor
    for setting, counted in _DRAWN[case.question.is_write, case.question.is_external]:
        count, limit = getattr(facts, counted), getattr(table, setting)
        if divisor > 1 and limit:
            limit = max(1, limit // divisor)
        if count is None or count > limit:
            return setting, count, limit
    return None


def _ceiling(case: Case) -> Iterator[Step]:
    if case.question.policy.ceiling is None:
        return
    found = _above_ceiling(case)
    if found is None:
        yield Step("ceiling", "autonomous", "ceiling", "within what all agents may do together")
        return
    name, count, limit = found
    would = f"this would make {count:,}" if count is not None else "nobody knows how much all agents did"
    noun = {"contacts": "people"}.get(name, name)
    why = f"{would}; all agents together may have at most {limit:,} {noun} in 24 hours"
    yield Step("ceiling", "human_only", f"ceiling.{name}_per_day", why)


def _above_ceiling(case: Case) -> tuple[str, int | None, int] | None:
    of, facts = case.question, case.facts
    ceiling = of.policy.ceiling
    if ceiling is None:
        return None
    if of.is_write and (facts.records_of_all is None or facts.records_of_all > ceiling.records_per_day):
        return "records", facts.records_of_all, ceiling.records_per_day
    if of.is_external and (facts.contacts_of_all is None or facts.contacts_of_all > ceiling.contacts_per_day):
        return "contacts", facts.contacts_of_all, ceiling.contacts_per_day
    return None


def _exclusions(case: Case) -> Iterator[Step]:
    """What is never autonomous, whatever a policy says: a file only chooses between approval and people."""
    found = {**case.question.always, **dict(_excluded_now(case))}
    for name in EXCLUSIONS:
        if name in found:
            verdict: Verdict = getattr(case.question.policy.exclusions, name)
            if verdict == "autonomous":  # a policy that was made by other means than a file
                verdict = "approval"
            if name == "no_consent" and case.facts.consent == "refused":
                verdict = "human_only"
            yield Step(name, verdict, f"exclusions.{name}", f"{found[name]}: no agent does that by itself")


def _always_excluded(of: Question) -> Iterator[tuple[str, str]]:
    names = (of.ask.action, *of.ask.implied)
    perhaps = "" if of.fields is not None else "it does not say which fields it changes, so perhaps "
    is_contract = of.ask.action == "record.create" and (of.object is None or kind_of_object(of.object) == "contract")
    if "contract.create" in names or is_contract:
        yield "contract_creation", "a contract"
    if "call.record" in names:
        yield "call_recording", "recording a call"
    if "discount.approve" in names or (of.is_write and "price" in of.kinds):
        yield "price_approval", f"{perhaps}a price or discount"
    is_owner = of.is_write and "owner" in of.kinds and of.ask.action not in MAKES_NEW
    if "owner.reassign" in names or is_owner:
        yield "owner_reassignment", f"{perhaps}a change of owner"


def _excluded_now(case: Case) -> Iterator[tuple[str, str]]:
    ask, of, bulk, records = case.ask, case.question, case.question.policy.bulk, case.records
    if of.is_write:
        if ask.records > bulk.records or records is None or records > bulk.records_in_10_min:
            yield "bulk_modification", "changing many records"
        if "deal_value" in of.kinds and (records is None or records > bulk.deal_values):
            yield "bulk_deal_values", "changing values of many deals"
    if of.is_external:
        if ask.recipients and case.facts.first_contact is not False:
            yield "first_contact", "a first message to somebody"
        if case.contacts is None or case.contacts > bulk.recipients:
            yield "many_recipients", "reaching many people"
        if ask.recipients and case.facts.consent != "granted":
            is_refused = case.facts.consent == "refused"
            yield "no_consent", "reaching somebody who " + ("refused it" if is_refused else "is not known to allow it")


def cell_of(case: Case) -> tuple[str, str, str]:
    """The cell of the table: reversibility, how far it reaches, how much it is."""
    return (*case.question.cell, VOLUMES[volume_of(case)])


def volume_of(case: Case) -> int:
    """How much it is: 0 for one, 1 for a few, 2 for many."""
    ask = case.ask
    most = ask.records if ask.records > ask.recipients else ask.recipients
    return 0 if most <= 1 else 1 if most <= case.question.entry.few else 2


def _verdict_of_cell(case: Case) -> Verdict:
    if not case.question.is_write:
        return "autonomous"
    final, radius, volume = cell_of(case)
    verdict: Verdict = getattr(getattr(getattr(case.question.policy.delegation, final), radius), volume)
    if final == "irreversible" and verdict == "autonomous":  # a policy that was made by other means than a file
        return "approval"
    return verdict


def _delegation(case: Case) -> Step:
    if not case.question.is_write:
        return Step("delegation", "autonomous", "delegation", "it changes nothing")
    final, radius, volume = cell_of(case)
    words = f"{final}, reaches {_REACH[radius]}, {_MUCH[volume]}"
    return Step("delegation", _verdict_of_cell(case), f"delegation.{final}.{radius}.{volume}", words)


_REACH = {"record": "its records only", "downstream": "what follows from them", "external": "people outside"}
_MUCH = {"one": "one record or person", "few": "a few at once", "many": "many at once"}
