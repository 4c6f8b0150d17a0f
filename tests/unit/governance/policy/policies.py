"""What the policy's tests share: texts read from memory or a folder, and policies drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from msgspec.structs import replace

from events.catalogue import CATALOGUE
from governance.consent import CONSENTS
from governance.policy import Ask, Facts, Loaded, Policy, Unreadable, load
from governance.policy.build import resolve
from governance.policy.files import Files, Read
from governance.policy.rules import EXCLUSIONS
from governance.policy.shape import (
    ActionEntry,
    Agent,
    Approval,
    BudgetTable,
    Bulk,
    Ceiling,
    Delegation,
    Exclusions,
    FieldEntry,
    PolicyFile,
    Radii,
    Rights,
    Role,
    Scope,
    Volumes,
)
from governance.policy.worst import MODES, RADII, REVERSIBILITIES, VERDICTS

EXAMPLE = Path(__file__).parents[4] / "governance" / "policy" / "example"
FIXTURES = Path(__file__).parent / "fixtures"


def texts(main: str, **others: str) -> Read:
    """Files in memory; a name's "__" is "/"."""
    known = {"policy.toml": main} | {name.replace("__", "/") + ".toml": text for name, text in others.items()}

    def read(name: str) -> str:
        if name not in known:
            raise Unreadable("there is no such file")
        return known[name]

    return read


def folder(path: Path) -> Read:
    """Files of a folder."""

    def read(name: str) -> str:
        try:
            return (path / name).read_text(encoding="utf-8")
        except OSError:
            raise Unreadable("there is no such file") from None

    return read


def example() -> Loaded:
    return load("policy.toml", folder(EXAMPLE))


def policy_with(old: str, new: str) -> Policy:
    """The example, with one piece of its main file's text exchanged."""
    text = (EXAMPLE / "policy.toml").read_text(encoding="utf-8")
    assert old in text
    read = folder(EXAMPLE)
    return load("policy.toml", lambda name: text.replace(old, new) if name == "policy.toml" else read(name)).policy


def policy_of(main: PolicyFile) -> Policy:
    return resolve(Files(where="p", main=main, parts=(), problems=(), names=("p",), tables=frozenset()), main)


# --- at random: drawn from a seed, which is what Hypothesis chooses; far cheaper than a strategy for each cell --------

OBJECTS, FIELDS = ("Account", "Lead", "Opportunity"), ("Industry", "Amount", "OwnerId", "Discount", "Tier")
ACTIONS = (*sorted(CATALOGUE), "crm.sync")
QUALIFIED = ("*", *(f"{o}.*" for o in OBJECTS), *(f"{o}.{f}" for o in OBJECTS for f in FIELDS))
WINDOWS = [f"{name}_{window}" for name in ("records", "contacts", "reads") for window in ("10_min", "day")]
WINDOWS += ["records_of_all", "contacts_of_all"]


class Dice(Random):
    """Policies, questions and facts at random."""

    def some(self, of: Sequence[Any], least: int = 0) -> list[Any]:
        return self.sample(of, self.randint(least, len(of)))

    def much(self) -> int:
        return self.choice((0, 1, self.randint(1, 12), self.randint(1, 300)))

    def delegation(self) -> Delegation:
        """Any table, also one that a file may not have."""
        return _table({at: self.choice(VERDICTS) for at in CELLS})

    def sound_delegation(self) -> Delegation:
        """A table that a file may have: never more for more."""
        cells: dict[tuple[int, ...], int] = {}
        for at in CELLS:
            below = [cells[tuple(x - (i == j) for j, x in enumerate(at))] for i in range(3) if at[i] > 0]
            least = max([at[0], *below])
            cells[at] = max(least, self.choice((0, 0, 1, 2)))
        return _table({at: VERDICTS[number] for at, number in cells.items()})

    def entry(self) -> ActionEntry:
        return ActionEntry(
            reversibility=self.choice(REVERSIBILITIES),
            blast_radius=self.choice(RADII),
            few=self.randint(1, 50),
            at_most=self.choice((0, 5, 200)),
            at_most_recipients=self.choice((0, 5, 200)),
            least=self.choice(("autonomous", "autonomous", *VERDICTS)),
        )

    def budget(self) -> BudgetTable:
        return BudgetTable(**{name: self.choice((0, 20, 400, 400)) for name in BudgetTable.__struct_fields__})

    def scope(self) -> Scope:
        return Scope(
            objects=self.some((*OBJECTS, "*"), 1),
            fields=self.some(QUALIFIED),
            systems=self.choice((["*"], ["*"], ["crm"])),
        )

    def ceiling(self) -> Ceiling:
        return Ceiling(records_per_day=self.choice((0, 20, 400)), contacts_per_day=self.choice((0, 20, 400)))

    def rights(self) -> Rights:
        return Rights(
            people=self.some(("p", "q", "role:viewer"), 1),
            actions=self.some(ACTIONS, 10),
            scopes=self.some(("s", "t"), 1),
        )

    def agent(self) -> Agent:
        return Agent(
            role="r",
            owner="o",
            level=self.randint(1, 4),
            actions=self.choice((None, self.some(ACTIONS, 1))),
            scope=self.choice((None, self.scope())),
            budget=self.choice(("", "small")),
            triggers=self.choice((None, [])),
            mode=self.choice(("active", "active", *MODES)),
        )

    def file(self, delegation: Delegation | None = None) -> PolicyFile:
        """A policy with one role, an agent and its sub-agent, where much is allowed."""
        role = Role(
            actions=self.some(ACTIONS, 15), scopes=["s", "t"], budget="b", approval="a", level=self.randint(1, 4),
            triggers=["flow:x"],
        )  # fmt: skip
        return PolicyFile(
            format=1,
            mode=self.choice(("active", "active", "approval")),
            max_level=self.randint(1, 4),
            ceiling=self.choice((None, self.ceiling())),
            bulk=Bulk(
                records=self.randint(1, 50),
                records_in_10_min=self.randint(50, 200),
                deal_values=self.randint(1, 5),
                recipients=self.randint(1, 50),
            ),
            exclusions=Exclusions(**{name: self.choice(VERDICTS) for name in EXCLUSIONS}),
            delegation=delegation or self.delegation(),
            actions={name: self.entry() for name in self.some(ACTIONS, 15)},
            fields={
                name: FieldEntry(kind=self.choice(("plain", "price")), blast_radius=self.choice(RADII))
                for name in self.some(("Account.Tier", "*.Industry"))
            },
            scopes={"s": self.scope(), "t": Scope(objects=["*"], fields=["*"])},
            budgets={"b": self.budget(), "small": self.budget()},
            approvals={"a": Approval(approvers=["p"])},
            rights=self.choice(({}, {"all": self.rights(), "some": self.rights()})),
            roles={"r": role},
            agents={"bot": self.agent(), "sub": replace(self.agent(), parent="bot")},
        )

    def question(self) -> tuple[Ask, Facts]:
        ask = Ask(
            agent_id=self.choice(("bot", "bot", "sub", "sub", "nobody")),
            action=self.choice((*ACTIONS, "record.update", "email.send", "no.such")),
            object=self.choice((None, *OBJECTS, *OBJECTS, "Other")),
            fields=self.choice((None, tuple(self.some(FIELDS)), ("Tier",), ("Industry",))),
            records=self.much(),
            recipients=self.choice((0, self.randint(0, 80))),
            implied=self.choice(((), (), ("owner.reassign",))),
            trigger=self.choice(("prompt", "prompt", "rule", "none", None)),
            trigger_ref=self.choice(("", "flow:x")),
            system=self.choice((None, "crm")),
        )
        return ask, Facts(
            first_contact=self.choice((None, True, False, False)),
            authorizer=self.choice(("active", "active", "active", "inactive", "unknown")),
            is_approved=self.choice((True, False)),
            acts_for=self.choice(((), ("p",), ("p",), ("q", "role:viewer"))),
            consent=self.choice(("granted", "granted", *CONSENTS)),
            divisor=self.choice((1, 1, 10)),
            **{name: self.choice((None, self.much(), self.much(), self.much())) for name in WINDOWS},
        )


CELLS = [(kind, radius, volume) for kind in range(2) for radius in range(3) for volume in range(3)]


def _table(cells: dict[tuple[int, int, int], Any]) -> Delegation:
    def radii(kind: int) -> Radii:
        return Radii(
            **{
                name: Volumes(one=cells[kind, at, 0], few=cells[kind, at, 1], many=cells[kind, at, 2])
                for at, name in enumerate(RADII)
            }
        )

    return Delegation(reversible=radii(0), irreversible=radii(1))
