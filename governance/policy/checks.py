"""Rules between a policy's tables: names that must exist, grants that must not be exceeded, floors that hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec import Struct

from events.catalogue import CATALOGUE
from governance.policy.files import Files, Part
from governance.policy.paths import dotted
from governance.policy.reader import near
from governance.policy.shape import (
    ActionEntry,
    Agent,
    Approval,
    Case,
    Delegation,
    FieldEntry,
    Include,
    PolicyFile,
    Rights,
    Role,
    Scope,
)
from governance.policy.worst import RADII, VERDICTS, VOLUMES, kind_of_field
from governance.settings_errors import Problem

Path = tuple[str, ...]
Found = Iterator[tuple[Path, str, str]]
"""Where, what is wrong, and what would be right."""

PEOPLES_ROLES = ("viewer", "manager", "operator", "admin")
APPROVING_ROLES = ("manager", "operator", "admin")
TRIGGERS = ("prompt", "rule", "schedule", "event", "agent", "none")


class Known(Struct, frozen=True, kw_only=True):
    """Names outside the policy, where they are known: people and notification targets of the settings."""

    people: Collection[str] | None = None
    targets: Collection[str] | None = None


def check(files: Files, known: Known, rules: Collection[str]) -> list[Problem]:
    """Every contradiction, in the order of the files. ``rules``: names that a case may expect.

    What follows from a mistake that was reported already is left out.
    """
    if files.main is None:
        return []
    told = {(problem.where, problem.path) for problem in files.problems}
    found = _Checks(files, files.main, known, rules).all()
    return [problem for problem in found if (problem.where, problem.path) not in told]


class _Checks:
    def __init__(self, files: Files, main: PolicyFile, known: Known, rules: Collection[str]) -> None:
        self.files, self.main, self.known, self.rules = files, main, known, rules
        self.homes = dict.fromkeys(main.agents, files.where)
        self.tables = dict(main.agents)

    def all(self) -> Iterator[Problem]:
        where, main = self.files.where, self.main
        yield from _problems(where, self._main())
        for name, agent in main.agents.items():
            yield from _problems(where, self._agent(name, agent, main.roles))
        for part in self.files.parts:
            yield from _problems(part.where, self._part(part))
        for name, agent in self.tables.items():
            yield from _problems(self.homes[name], _parent(name, agent, self.tables))
        yield from _problems(where, _cases(main.cases, self.rules))

    def _part(self, part: Part) -> Found:
        grant = part.grants[-1]
        granted = {role: self.main.roles[role] for role in grant.roles if role in self.main.roles}
        for name, agent in part.file.agents.items():
            if name in self.homes:
                what = f"is also in {self.homes[name]}"
                yield ("agents", name), what, "give it a name of its own, or take one out"
            self.homes[name], self.tables[name] = part.where, agent
            yield from self._agent(name, agent, granted)
        yield from _team(part.file.agents, grant)
        yield from self._includes(part.file.include)
        yield from _cases(part.file.cases, self.rules)

    def _main(self) -> Found:
        main, known = self.main, self.known
        yield from self._includes(main.include)
        if main.bulk.records_in_10_min < main.bulk.records:
            yield ("bulk", "records_in_10_min"), "is less than records", f"at least {main.bulk.records}"
        yield from _delegation(main.delegation)
        for name, entry in main.actions.items():
            yield from _action(("actions", name), name, entry)
        for name, field in main.fields.items():
            yield from _field(("fields", name), name, field)
        for name, scope in main.scopes.items():
            yield from _scope(("scopes", name), scope)
        for name, budget in main.budgets.items():
            for what in ("records", "contacts", "reads"):
                short, day = getattr(budget, f"{what}_per_10_min"), getattr(budget, f"{what}_per_day")
                if day < short:
                    yield ("budgets", name, f"{what}_per_day"), f"is less than {what}_per_10_min", f"at least {short}"
        for name, approval in main.approvals.items():
            yield from _approval(("approvals", name), approval, known)
        for name, route in main.routes.items():
            if known.targets is not None:
                for at, target in enumerate(route.targets):
                    yield from _exists(("routes", name, f"targets[{at}]"), target, known.targets, "notification target")
        yield from self._people_and_roles()

    def _people_and_roles(self) -> Found:
        for name, rights in self.main.rights.items():
            yield from self._rights(("rights", name), rights)
        for name, role in self.main.roles.items():
            yield from self._role(("roles", name), role)

    def _includes(self, includes: Sequence[Include]) -> Found:
        for at, include in enumerate(includes):
            for index, role in enumerate(include.roles):
                yield from self._is_there((f"include[{at}]", f"roles[{index}]"), role, "roles")
            if include.budget:
                yield from self._is_there((f"include[{at}]", "budget"), include.budget, "budgets")

    def _role(self, path: Path, role: Role) -> Found:
        main = self.main
        yield from _actions(path, role.actions, main)
        for at, name in enumerate(role.scopes):
            yield from self._is_there((*path, f"scopes[{at}]"), name, "scopes")
        yield from self._is_there((*path, "budget"), role.budget, "budgets")
        yield from self._is_there((*path, "approval"), role.approval, "approvals")
        for at, name in enumerate(role.routes):
            yield from self._is_there((*path, f"routes[{at}]"), name, "routes")

    def _rights(self, path: Path, rights: Rights) -> Found:
        yield from _actions(path, rights.actions, self.main)
        for at, name in enumerate(rights.scopes):
            yield from self._is_there((*path, f"scopes[{at}]"), name, "scopes")
        for at, name in enumerate(rights.people):
            place = (*path, f"people[{at}]")
            if name.startswith("role:"):
                if (role := name.removeprefix("role:")) not in PEOPLES_ROLES:
                    yield place, f"no role of people is called {role!r}", near(role, PEOPLES_ROLES)
            elif self.known.people is not None:
                yield from _exists(place, name, self.known.people, "person")

    def _agent(self, name: str, agent: Agent, roles: Mapping[str, Role]) -> Found:
        main, known = self.main, self.known
        path, role = ("agents", name), roles.get(agent.role)
        if agent.budget:
            yield from self._is_there((*path, "budget"), agent.budget, "budgets")
        if known.people is not None:
            yield from _exists((*path, "owner"), agent.owner, known.people, "person")
        if role is None:
            if agent.role not in main.roles and ("roles", agent.role) in self.files.tables:
                return
            what = f"role {agent.role!r} was not granted to this file" if agent.role in main.roles else ""
            yield (*path, "role"), what or f"no role is called {agent.role!r}", near(agent.role, roles)
            return
        if agent.level > role.level:
            yield (*path, "level"), f"{agent.level} is more than role {agent.role!r} has", f"at most {role.level}"
        granted = {each for given in role.actions for each in expand(given, main.actions)}
        for at, action in enumerate(agent.actions or ()):
            if not expand(action, granted):
                what = f"role {agent.role!r} does not grant {action!r}"
                yield (*path, f"actions[{at}]"), what, near(action, granted)
        for at, trigger in enumerate(agent.triggers or ()):
            if trigger not in role.triggers:
                what = f"role {agent.role!r} does not register {trigger!r}"
                yield (*path, f"triggers[{at}]"), what, near(trigger, role.triggers)
        if agent.scope is not None:
            yield from _scope((*path, "scope"), agent.scope)
            scopes = [main.scopes[scope] for scope in role.scopes if scope in main.scopes]
            if len(scopes) == len(role.scopes):
                yield from _narrower((*path, "scope"), agent, agent.scope, scopes)
        approval = main.approvals.get(role.approval)
        if approval is not None and set(approval.approvers) == {agent.owner}:
            what = f"nobody could approve: {agent.owner!r} is the only one in approvals.{role.approval}, and owns it"
            yield (*path, "owner"), what, "name another approver there, or another owner here"

    def _is_there(self, path: Path, name: str, section: str) -> Found:
        """A table must be there; one that is there and can't be read was reported."""
        known = sorted(each for table, each in self.files.tables if table == section)
        yield from _exists(path, name, known, section.removesuffix("s"))


def _problems(where: str, found: Found) -> Iterator[Problem]:
    for path, what, cure in found:
        yield Problem(where=where, path=dotted(path), what=what, hint=cure)


def _delegation(of: Delegation) -> Found:
    for at, radius in enumerate(RADII):
        for number, volume in enumerate(VOLUMES):
            path = ("delegation", "irreversible", radius, volume)
            undoable, final = _cell(of, "reversible", radius, volume), _cell(of, "irreversible", radius, volume)
            if final == 0:
                yield path, "what can't be undone is never autonomous", 'write "approval" or "human_only"'
            elif final < undoable:
                yield path, "allows more than the same that can be undone", f'write "{VERDICTS[undoable]}" or stricter'
            for kind in ("reversible", "irreversible"):
                here = _cell(of, kind, radius, volume)
                less = _cell(of, kind, radius, VOLUMES[number - 1]) if number else 0
                nearer = _cell(of, kind, RADII[at - 1], volume) if at else 0
                cure = f'write "{VERDICTS[max(less, nearer)]}" or stricter'
                if here < less:
                    yield ("delegation", kind, radius, volume), "allows more for more records", cure
                elif here < nearer:
                    yield ("delegation", kind, radius, volume), "allows more for what reaches further", cure


def _cell(of: Delegation, kind: str, radius: str, volume: str) -> int:
    return VERDICTS.index(getattr(getattr(getattr(of, kind), radius), volume))


def _action(path: Path, name: str, entry: ActionEntry) -> Found:
    kind = CATALOGUE.get(name)
    if kind is None and not entry.own:
        meant = near(name, CATALOGUE)
        cure = meant if meant.startswith("did") else "if it is one of your own, set own = true"
        yield path, "no action has this name", cure
        return
    if entry.own and kind is not None:
        yield (*path, "own"), "is an action of the contract", "take own out"
    is_final, is_external = kind is None or not kind.is_reversible, kind is None or kind.is_external
    if is_final and entry.reversibility == "reversible":
        yield (*path, "reversibility"), "nobody can undo this", 'write "irreversible"'
    if is_external and entry.blast_radius != "external":
        yield (*path, "blast_radius"), "this reaches people outside", 'write "external"'
    most = max(entry.at_most, entry.at_most_recipients)
    if entry.few > most:
        yield (*path, "few"), "is more than one operation may touch", f"at most {most}, or a larger at_most"


def _actions(path: Path, names: Sequence[str], main: PolicyFile) -> Found:
    for at, name in enumerate(names):
        if not expand(name, main.actions):
            cure = near(name, main.actions)
            yield (*path, f"actions[{at}]"), f"{name!r} is not in the catalogue ([actions])", cure


def _field(path: Path, name: str, entry: FieldEntry) -> Found:
    object_, dot, field = name.rpartition(".")
    if not (object_ and dot and field) or field == "*":
        yield path, "names no field", 'write "Object.Field", or "*.Field" for all objects'
    is_really = kind_of_field(field)
    if is_really not in ("plain", entry.kind):
        yield (*path, "kind"), f"{field} is {is_really}, whatever a policy says", f'kind = "{is_really}"'


def _scope(path: Path, scope: Scope) -> Found:
    for at, name in enumerate(scope.fields):
        object_, dot, field = name.rpartition(".")
        if name == "*":
            continue
        if not (object_ and dot and field):
            yield (*path, f"fields[{at}]"), f"{name!r} names no field", 'write "Object.Field", "Object.*" or "*"'
        elif "*" not in scope.objects and object_.casefold() not in _folded(scope.objects):
            cure = near(object_, scope.objects)
            yield (*path, f"fields[{at}]"), f"{object_!r} is not among the scope's objects", cure


def _approval(path: Path, approval: Approval, known: Known) -> Found:
    people = [name for name in approval.approvers if not name.startswith("role:")]
    if len(people) == len(approval.approvers) < approval.people:
        yield (*path, "people"), "more people than there are approvers", f"at most {len(people)}, or name another"
    for at, name in enumerate(approval.approvers):
        place = (*path, f"approvers[{at}]")
        if name.startswith("role:"):
            role = name.removeprefix("role:")
            if role not in APPROVING_ROLES:
                yield place, f"{role!r} may not approve", f"it is role:{', role:'.join(APPROVING_ROLES)}, or a person"
        elif known.people is not None:
            yield from _exists(place, name, known.people, "person")


def _narrower(path: Path, agent: Agent, scope: Scope, scopes: Sequence[Scope]) -> Found:
    objects = {each for one in scopes for each in one.objects}
    fields = {each for one in scopes for each in one.fields}
    for at, object_ in enumerate(scope.objects):
        if "*" not in objects and object_.casefold() not in _folded(objects):
            what = f"role {agent.role!r} does not reach {object_!r}"
            yield (*path, f"objects[{at}]"), what, near(object_, objects)
    for at, field in enumerate(scope.fields):
        options = {"*", field.casefold(), field.rpartition(".")[0].casefold() + ".*"}
        if not options & _folded(fields):
            what = f"role {agent.role!r} may not change {field!r}"
            yield (*path, f"fields[{at}]"), what, near(field, fields)


def _team(agents: Mapping[str, Agent], grant: Include) -> Found:
    if len(agents) > grant.most_agents:
        what = f"{len(agents)} agents; this file was granted {grant.most_agents}"
        yield ("agents",), what, "take some out, or raise most_agents where it is included"


def _parent(name: str, agent: Agent, tables: Mapping[str, Agent]) -> Found:
    path, seen, above = ("agents", name, "parent"), {name}, agent.parent
    if above and above not in tables:
        yield path, f"no agent is called {above!r}", near(above, tables)
    while above in tables:
        if above in seen:
            yield path, "goes round in a circle", "an agent can't be its own parent; take one out"
            return
        seen.add(above)
        above = tables[above].parent


def _cases(cases: Sequence[Case], rules: Collection[str]) -> Found:
    for at, case in enumerate(cases):
        place = f"cases[{at}]"
        if case.rule not in rules:
            yield (place, "rule"), f"no rule is called {case.rule!r}", near(case.rule, rules)
        kind = case.trigger.partition(":")[0]
        if kind not in TRIGGERS:
            yield (place, "trigger"), f"{kind!r} is no kind of trigger", near(kind, TRIGGERS)


def _exists(path: Path, name: str, known: Collection[str], what: str) -> Found:
    if name not in known:
        yield path, f"no {what} is called {name!r}", near(name, known)


def expand(name: str, known: Collection[str]) -> frozenset[str]:
    """The actions that a name stands for: itself, or all of a noun."""
    noun, star, rest = name.partition(".*")
    if star and not rest:
        return frozenset(each for each in known if each.partition(".")[0] == noun)
    return frozenset({name} & set(known))


def _folded(names: Collection[str]) -> set[str]:
    return {name.casefold() for name in names}
