"""One question to a policy: what is the same whenever it is asked is worked out once, and kept."""

from __future__ import annotations

from collections.abc import Iterator

from events.catalogue import kind_of
from governance.policy.asks import Ask, Facts, Ruling, Step
from governance.policy.model import Grant, Policy
from governance.policy.shape import ActionEntry, FieldEntry
from governance.policy.worst import RADII, REVERSIBILITIES, SETS_FIELDS, kind_of_field, observed_level
from governance.words import DOING

WORST_ENTRY = ActionEntry(at_most=0)
ANY_KIND = frozenset(("deal_value", "price", "owner"))


class Question:
    """What does not depend on numbers. ``fields`` is None when it is not known which ones change.

    ``ask`` is one that asked this; its numbers mean nothing. ``before``, ``least`` and ``always`` are the steps that
    are the same each time: those before the numbers, the catalogue's least, and exclusions by name. ``is_clear``: none
    of them objects. ``rulings``: by volume, the whole ruling when nothing objects.
    """

    __slots__ = (
        "action_path", "acts_for", "always", "ask", "authorizer", "before", "cell", "entries", "entry", "fields",
        "grant", "is_clear", "is_external", "is_known", "is_write", "kinds", "least", "level", "lines", "object",
        "policy", "rulings",
    )  # fmt: skip

    always: dict[str, str]
    before: tuple[Step, ...]
    least: tuple[Step, ...]
    is_clear: bool
    rulings: dict[int, Ruling]
    action_path: str
    lines: dict[int, str]
    """What would allow it, by the number of the step before the numbers that decides."""

    def __init__(self, policy: Policy, grant: Grant, ask: Ask, facts: Facts) -> None:
        self.policy, self.grant, self.ask, self.authorizer = policy, grant, ask, facts.authorizer
        self.acts_for = facts.acts_for
        kind, entry = kind_of(ask.action), policy.actions.get(ask.action)
        self.is_known = entry is not None
        self.entry = entry if entry is not None else WORST_ENTRY
        self.is_write = kind.is_write
        self.is_external = kind.is_external or ask.recipients > 0
        self.object = ask.object.casefold() if ask.object else None
        self.fields = _fields(ask, kind.is_known)
        self.entries = tuple(_entries(policy.fields, self.object, self.fields or ()))
        named = [kind_of_field(field) for field in self.fields or ()] + [entry.kind for _, entry in self.entries]
        self.kinds = frozenset(named) if self.fields is not None else ANY_KIND
        is_authorized = facts.authorizer == "active"
        self.level = observed_level(ask.trigger, ask.trigger_ref, is_authorized, facts.is_approved, grant.triggers)
        self.cell = self._cell(kind.is_reversible)

    @property
    def doing(self) -> str:
        """What it is about to do, in words."""
        return DOING.get(self.ask.action, f"do “{self.ask.action}”")

    def _cell(self, is_reversible: bool) -> tuple[str, str]:
        """The row of the table: reversibility, and how far it reaches; the worst of action and fields."""
        radius = len(RADII) - 1 if self.is_external else RADII.index(self.entry.blast_radius)
        final = REVERSIBILITIES.index(self.entry.reversibility) if is_reversible else 1
        for _, field in self.entries:
            radius = max(radius, RADII.index(field.blast_radius))
            final = max(final, REVERSIBILITIES.index(field.reversibility))
        return REVERSIBILITIES[final], RADII[radius]


class Case:
    """A question with its numbers: how much, and what is known of the agent."""

    __slots__ = ("ask", "contacts", "facts", "question", "records")

    def __init__(self, question: Question, ask: Ask, facts: Facts) -> None:
        self.question, self.ask, self.facts = question, ask, facts
        records, contacts = facts.records_10_min, facts.contacts_10_min
        self.records = records if records is None or records > ask.records else ask.records
        self.contacts = contacts if contacts is None or contacts > ask.recipients else ask.recipients


def _fields(ask: Ask, is_known: bool) -> tuple[str, ...] | None:
    sets_fields = ask.action in SETS_FIELDS or not is_known
    if not sets_fields:
        return ask.fields or ()
    return tuple(field.casefold() for field in ask.fields) if ask.fields else None


def _entries(
    known: dict[str, FieldEntry], object_: str | None, fields: tuple[str, ...]
) -> Iterator[tuple[str, FieldEntry]]:
    if not known:
        return
    for field in fields:
        for name in (f"{object_}.{field.casefold()}", f"*.{field.casefold()}"):
            entry = known.get(name)
            if entry is not None:
                yield name, entry
