"""The lines of a policy that would allow what it refused; none where no policy can."""

from __future__ import annotations

from collections.abc import Iterable

from governance.policy.asks import Ask, Step
from governance.policy.paths import dotted
from governance.policy.question import Case
from governance.policy.rules import EXCLUSIONS, cell_of
from governance.policy.scopes import places_of
from governance.policy.shape import MOST_TOGETHER
from governance.stanza import quote

_MOST_AT_ONCE = 200
_MOST_FIELDS, _MOST_CHARS = 50, 512
"""An agent names the fields: what nobody would write into a policy is not printed."""


def lines_that_allow(ask: Ask, case: Case | None, step: Step) -> str:
    """TOML that would lift this one rule; others may still hold."""
    if case is None:
        return _table(("agents", ask.agent_id), 'role = ""   # what it may do', 'owner = ""  # who answers for it')
    if step.rule in EXCLUSIONS or step.rule == "authorizer":
        return ""
    return _LINES[step.rule](case, step)


def _mode(_case: Case, step: Step) -> str:
    return _setting(step.path, '"active"')


def _action(case: Case, _step: Step) -> str:
    ask = case.ask
    missing = [name for name in (ask.action, *ask.implied) if name not in case.question.grant.actions]
    lines = _setting(case.question.grant.actions_path, _list([*sorted(case.question.grant.actions), *missing]))
    if case.question.is_known:
        return lines
    own = _table(("actions", ask.action), 'reversibility = "irreversible"', 'blast_radius = "external"')
    return f"{own}\n\n{lines}"


def _scope(case: Case, step: Step) -> str:
    found = places_of(case.question.policy, case.ask.agent_id)
    place = next((each for each in found if each.path == step.path), None)
    if place is None:
        return ""
    if "*" not in place.objects and (case.question.object or "") not in place.objects:
        return f"[{place.path}]\nobjects = {_added(place.objects, [case.ask.object])}" if case.ask.object else ""
    for name, wanted, allowed in (
        ("systems", [case.ask.system], place.systems),
        ("owners", case.ask.owners or (), place.owners),
        ("segments", case.ask.segments or (), place.segments),
    ):
        more = [each for each in wanted if each and each.casefold() not in allowed]
        if "*" not in allowed and more:
            return f"[{place.path}]\n{name} = {_added(allowed, more)}"
    object_ = case.ask.object or ""
    unfit = [each for each in case.ask.fields or ("*",) if not place.has_field(object_.casefold(), each.casefold())]
    strange = [f"{object_}.{field}" for field in unfit]
    if not object_ or not 0 < len(strange) <= _MOST_FIELDS or max(map(len, strange)) > _MOST_CHARS:
        return ""
    return f"[{place.path}]\nfields = {_added(place.fields, strange)}"


def _rights(case: Case, step: Step) -> str:
    """A table for a person who is in none, more actions, or a wider scope."""
    of, ask = case.question, case.ask
    if step.path == "rights":
        who = _list(of.acts_for[:1]) if of.acts_for else '[""]'
        actions = _list([ask.action, *ask.implied])
        return _table(("rights", "new"), f"people = {who}", f"actions = {actions}", "scopes = []  # where")
    for right in of.policy.rights.values():
        if step.path == f"{right.path}.actions":
            return _setting(step.path, _list(dict.fromkeys([*sorted(right.actions), ask.action, *ask.implied])))
    return _scope(case, step)


def _level(case: Case, step: Step) -> str:
    if case.ask.trigger in ("rule", "schedule", "event") and case.ask.trigger_ref and case.question.grant.level >= 2:
        return _setting(
            case.question.grant.triggers_path, _list([*sorted(case.question.grant.triggers), case.ask.trigger_ref])
        )
    return _setting(step.path, str(case.question.level))


def _size(case: Case, _step: Step) -> str:
    entry, lines = case.question.entry, []
    if not case.question.is_known or max(case.ask.records, case.ask.recipients) > _MOST_AT_ONCE:
        return ""
    if case.ask.records > entry.at_most:
        lines.append(f"at_most = {case.ask.records}")
    if case.ask.recipients > entry.at_most_recipients:
        lines.append(f"at_most_recipients = {case.ask.recipients}")
    return _table(("actions", case.ask.action), *lines)


def _budget(case: Case, step: Step) -> str:
    setting = step.path.rpartition(".")[2]
    count = getattr(case.facts, setting.replace("_per_", "_"), None)
    return _setting(step.path, str(count)) if count is not None and case.facts.divisor == 1 else ""


def _ceiling(case: Case, step: Step) -> str:
    count = case.facts.contacts_of_all if "contacts" in step.path else case.facts.records_of_all
    return _setting(step.path, str(count)) if count is not None else ""


def _least(_case: Case, step: Step) -> str:
    return _setting(step.path, '"autonomous"')


def _delegation(case: Case, step: Step) -> str:
    final, _, _ = cell_of(case)
    is_huge = max(case.ask.records, case.ask.recipients) > MOST_TOGETHER
    return "" if final == "irreversible" or is_huge else _setting(step.path, '"autonomous"')


_LINES = {
    "mode": _mode,
    "action": _action,
    "scope": _scope,
    "rights": _rights,
    "level": _level,
    "size": _size,
    "budget": _budget,
    "ceiling": _ceiling,
    "least": _least,
    "delegation": _delegation,
}


def _setting(path: str, value: str) -> str:
    """One setting under its table; a path of the file's top has no table."""
    file, colon, name = path.partition(": ")
    if colon:
        return f"# in {file}\n{name} = {value}"
    table, dot, name = path.rpartition(".")
    return f"[{table}]\n{name} = {value}" if dot else f"{name} = {value}"


def _table(path: tuple[str, ...], *lines: str) -> str:
    return "\n".join((f"[{dotted(path)}]", *lines))


def _added(known: Iterable[str], more: Iterable[str | None]) -> str:
    return _list(dict.fromkeys([*sorted(known), *(each for each in more if each)]))


def _list(names: Iterable[str]) -> str:
    return "[" + ", ".join(map(quote, names)) + "]"
