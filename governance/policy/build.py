"""From a policy's files to the policy that decides, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct

from governance.policy import checks
from governance.policy.checks import Known, expand
from governance.policy.files import Files, Read, read_files
from governance.policy.model import Grant, Limits, Place, Policy, Right, with_hash
from governance.policy.paths import dotted
from governance.policy.rules import RULE_NAMES
from governance.policy.shape import Agent, Case, Mode, PolicyFile, Role, Scope
from governance.policy.worst import MODES
from governance.settings_errors import Problem


class PolicyError(ValueError):
    """A policy that can't be used; ``problems`` has every mistake found, the message one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Loaded(Struct, frozen=True, kw_only=True):
    """A policy, the cases written beside it (with file and place), and the files it came from."""

    policy: Policy
    cases: tuple[tuple[str, Case], ...]
    files: tuple[str, ...]


def load(name: str, read: Read, known: Known | None = None) -> Loaded:
    """Read and resolve a policy. Raises PolicyError with every mistake, each with its file, place and cure."""
    files = read_files(name, read)
    problems = [*files.problems, *checks.check(files, known or Known(), RULE_NAMES)]
    if problems or files.main is None:
        raise PolicyError(problems)
    cases = [(f"{files.where}: cases[{at}]", case) for at, case in enumerate(files.main.cases)]
    for part in files.parts:
        cases += [(f"{part.where}: cases[{at}]", case) for at, case in enumerate(part.file.cases)]
    return Loaded(policy=resolve(files, files.main), cases=tuple(cases), files=files.names)


def resolve(files: Files, main: PolicyFile) -> Policy:
    """The policy of files without mistakes."""
    grants = {}
    for name, agent in main.agents.items():
        grants[name] = _grant(name, agent, main, (("mode", main.mode),), main.max_level, ())
    for part in files.parts:
        budgets = tuple(grant.budget for grant in part.grants if grant.budget)
        for name, agent in part.file.agents.items():
            grants[name] = _grant(name, agent, main, part.modes, part.max_level, budgets)
    return with_hash(
        Policy(
            organisation=main.organisation,
            ceiling=main.ceiling,
            bulk=main.bulk,
            exclusions=main.exclusions,
            delegation=main.delegation,
            actions=main.actions,
            fields={name.casefold(): entry for name, entry in main.fields.items()},
            approvals=main.approvals,
            routes=main.routes,
            rights={name: _right(name, main) for name in main.rights},
            agents={name: _under_parents(grant, grants) for name, grant in grants.items()},
        )
    )


def _grant(
    name: str,
    agent: Agent,
    main: PolicyFile,
    modes: Iterable[tuple[str, Mode]],
    max_level: int,
    budgets: Iterable[str],
) -> Grant:
    role = main.roles[agent.role]
    path, role_path = dotted(("agents", name)), dotted(("roles", agent.role))
    levels = {f"{path}.level": agent.level, f"{role_path}.level": role.level, "max_level": max_level}
    level_path = min(levels, key=levels.__getitem__)
    mode_path, mode = _strictest((*modes, (f"{role_path}.mode", role.mode), (f"{path}.mode", agent.mode)))
    actions, actions_path = _actions(agent, role, main, path, role_path)
    triggers, triggers_path = frozenset(role.triggers), f"{role_path}.triggers"
    if agent.triggers is not None:
        triggers, triggers_path = frozenset(agent.triggers), f"{path}.triggers"
    return Grant(
        agent_id=name,
        path=path,
        role=agent.role,
        owner=agent.owner,
        level=levels[level_path],
        level_path=level_path,
        mode=mode,
        mode_path=mode_path,
        actions=actions,
        actions_path=actions_path,
        inside=tuple(_inside(agent, role, main.scopes, path)),
        limits=tuple(_limits((role.budget, agent.budget, *budgets), main)),
        triggers=triggers,
        triggers_path=triggers_path,
        approval=role.approval,
        routes=tuple(role.routes),
        parent=agent.parent,
    )


def _under_parents(grant: Grant, grants: Mapping[str, Grant]) -> Grant:
    """A sub-agent has at most the rights of each agent above it."""
    above = grants.get(grant.parent)
    while above is not None:
        mode_path, mode = _strictest(((grant.mode_path, grant.mode), (above.mode_path, above.mode)))
        is_lower = above.level < grant.level
        grant = msgspec.structs.replace(
            grant,
            level=above.level if is_lower else grant.level,
            level_path=above.level_path if is_lower else grant.level_path,
            mode=mode,
            mode_path=mode_path,
            actions=grant.actions & above.actions,
            inside=(*grant.inside, *above.inside),
            limits=(*grant.limits, *above.limits),
        )
        above = grants.get(above.parent)
    return grant


def _right(name: str, main: PolicyFile) -> Right:
    rights = main.rights[name]
    return Right(
        path=dotted(("rights", name)),
        people=frozenset(rights.people),
        actions=frozenset(each for given in rights.actions for each in expand(given, main.actions)),
        places=tuple(_place(dotted(("scopes", scope)), main.scopes[scope]) for scope in rights.scopes),
    )


def _strictest(modes: Iterable[tuple[str, Mode]]) -> tuple[str, Mode]:
    return max(modes, key=lambda pair: MODES.index(pair[1]))


def _actions(agent: Agent, role: Role, main: PolicyFile, path: str, role_path: str) -> tuple[frozenset[str], str]:
    granted = frozenset(each for name in role.actions for each in expand(name, main.actions))
    if agent.actions is None:
        return granted, f"{role_path}.actions"
    return frozenset(each for name in agent.actions for each in expand(name, granted)), f"{path}.actions"


def _inside(agent: Agent, role: Role, scopes: Mapping[str, Scope], path: str) -> Iterator[tuple[Place, ...]]:
    yield tuple(_place(dotted(("scopes", name)), scopes[name]) for name in role.scopes)
    if agent.scope is not None:
        yield (_place(f"{path}.scope", agent.scope),)


def _place(path: str, scope: Scope) -> Place:
    folded = {
        name: frozenset(each.casefold() for each in names) for name, names in msgspec.structs.asdict(scope).items()
    }
    return Place(path=path, **folded)


def _limits(names: Iterable[str], main: PolicyFile) -> Iterator[Limits]:
    for name in dict.fromkeys(name for name in names if name):
        yield Limits(path=dotted(("budgets", name)), table=main.budgets[name])
