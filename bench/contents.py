"""What agents write, for measuring detectors of contents: our own generator, independent of ``simulator/``.

The times are those of ``bench.populations``. Each agent has a handful of objects with fields of several kinds, used
very unevenly (some once in a thousand writes); owners that are few, many, or come and go with accounts; campaigns that
set many records to one value. Agents that are not settled also get new tasks: a rare one that comes back after days or
weeks. Amounts move by a spread of their own; there are dates, picklists, texts, phones; some fields are blanked now
and then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from bench.populations import DAY_MS, Agent
from detectors.base import Action
from events.catalogue import kind_of
from events.types import AgentAction

OBJECTS = ("Opportunity", "Account", "Contact", "Lead", "Case", "Task", "Quote", "Order", "Asset", "Campaign", "Event")
KINDS = ("amount", "count", "date", "pick", "pick", "text", "phone", "share", "flag")
_WORDS = [
    "call",
    "offer",
    "send",
    "review",
    "legal",
    "budget",
    "sponsor",
    "next",
    "week",
    "meeting",
    "pricing",
    "pilot",
    "security",
    "contract",
    "signed",
    "open",
]
_FIRST_DAY = date(2026, 1, 5)


@dataclass
class FieldOf:
    """A field: its kind of values and how they move."""

    object: str
    name: str
    kind: str
    spread: float
    blank_share: float
    choices: list[str]
    weights: np.ndarray


class Desk:
    """What one agent does at each of its times."""

    def __init__(self, agent: Agent, rng: np.random.Generator, *, is_settled: bool) -> None:
        self.agent, self.rng, self.is_settled = agent, rng, is_settled
        objects = list(rng.choice(OBJECTS, int(rng.integers(1, 5)), replace=False))
        self.fields = [_field(rng, one, place) for one in objects for place in range(int(rng.integers(1, 9)))]
        order = rng.permutation(len(self.fields)) + 1.0
        weights = order ** -rng.uniform(0.3, 2.2)
        self.weights = weights / weights.sum()
        self.read_share, self.other_share = rng.uniform(0, 0.6), rng.uniform(0, 0.3)
        self.others = list(
            rng.choice(["task.create", "note.create", "record.create", "quote.create"], 2, replace=False)
        )
        self.delete_share = float(rng.choice([0.0, 0.0, 0.0, 10 ** rng.uniform(-3.5, -1)]))
        self.owners = str(rng.choice(["none", "few", "many", "coming"]))
        self.owner_names = [f"user:{i}" for i in range(int(rng.integers(1, 6 if self.owners == "few" else 40)))]
        self.owner_weights = rng.dirichlet(np.full(len(self.owner_names), 0.6))
        self.owner_pace = 10 ** rng.uniform(-2.7, -0.7)
        self.batch_share = rng.uniform(0, 0.15)
        self.values: dict[tuple[str, str], Any] = {}
        self.batch: tuple[FieldOf, Any] | None = None
        self.records = int(rng.integers(50, 3_000))
        self.rare = _field(rng, str(rng.choice(OBJECTS)), 90)
        self.rare_ms = self._later(int(agent.times[0]) if len(agent.times) else 0)
        self.rare_left = 0

    def actions(self) -> Iterator[Action]:
        """All of its actions, in order."""
        for number, at_ms in enumerate(self.agent.times.tolist()):
            yield self.act(at_ms, f"{number}")

    def act(self, at_ms: int, event_id: str) -> Action:
        """One action of an ordinary day."""
        rng = self.rng
        draw = rng.random()
        field = self._task(at_ms)
        record = f"{field.object}-{rng.integers(self.records)}"
        fields: dict[str, Any] = {"object": field.object, "record_ids": [record], "owner_id": self._owner()}
        name = "record.update"
        if draw < self.read_share:
            name = "record.read"
        elif draw < self.read_share + self.other_share:
            name = self.others[int(rng.integers(2))]
        elif rng.random() < self.delete_share:
            name = "record.delete"
        else:
            before, after = self._change(field, record, at_ms)
            fields["changes"] = {record: {field.name: (before, after)}}
        return self.made(at_ms, event_id, name, fields)

    def made(self, at_ms: int, event_id: str, name: str, fields: dict[str, Any]) -> Action:
        """An action with these fields."""
        fields = {key: value for key, value in fields.items() if value is not None}
        data = AgentAction(agent_id=self.agent.agent_id, action=name, outcome="ok", **fields)
        return Action(at_ms, at_ms, "/bench", event_id, kind_of(name), data)

    def _task(self, at_ms: int) -> FieldOf:
        if not self.is_settled and at_ms >= self.rare_ms and self.rare_left == 0:
            self.rare_left = int(self.rng.integers(1, 7))
            self.rare_ms = self._later(at_ms)
        if self.rare_left:
            self.rare_left -= 1
            return self.rare
        return self.fields[int(self.rng.choice(len(self.fields), p=self.weights))]

    def _later(self, at_ms: int) -> int:
        return at_ms + int(self.rng.exponential(self.rng.choice([2, 7, 20])) * DAY_MS)

    def _owner(self) -> str | None:
        if self.owners == "none":
            return None
        if self.owners == "coming" and self.rng.random() < self.owner_pace:
            self.owner_names.append(f"user:{len(self.owner_names)}")
        if self.owners == "coming":
            return self.owner_names[-1 - int(self.rng.integers(min(3, len(self.owner_names))))]
        return self.owner_names[int(self.rng.choice(len(self.owner_names), p=self.owner_weights))]

    def _change(self, field: FieldOf, record: str, at_ms: int) -> tuple[Any, Any]:
        rng = self.rng
        before = self.values.get((record, field.name))
        if before is None and rng.random() < 0.8:
            before = new_value(field, None, rng, at_ms)
        if self.batch is not None and self.batch[0] is field:
            after = self.batch[1]
            self.batch = None if rng.random() < 0.1 else self.batch
        else:
            after = new_value(field, before, rng, at_ms)
            if rng.random() < self.batch_share * 0.1 and field.kind == "pick":
                self.batch = (field, after)
        if len(self.values) < 20_000:
            self.values[record, field.name] = after
        return before, after


def _field(rng: np.random.Generator, of: str, place: int) -> FieldOf:
    kind = str(rng.choice(KINDS))
    choices = [f"{_WORDS[i]} {place}" for i in range(int(rng.integers(2, 14)))]
    blank = float(rng.choice([0.0, 0.0, 0.01, 0.1]))
    return FieldOf(of, f"{kind}_{place}", kind, float(rng.uniform(0.02, 0.6)), blank, choices,
                   rng.dirichlet(np.full(len(choices), rng.uniform(0.4, 3))))  # fmt: skip


def new_value(  # noqa: PLR0911 - one line a kind
    field: FieldOf, before: Any, rng: np.random.Generator, at_ms: int
) -> Any:
    """What the agent rightly writes into this field."""
    if rng.random() < field.blank_share:
        return None
    kind = field.kind
    if kind == "amount":
        old = float(before) if before is not None else float(np.exp(rng.normal(10, 1.2)))
        return f"{max(1.0, min(old * np.exp(rng.normal(0, field.spread)), 1e9)):.2f}"
    if kind == "count":
        old = before if before is not None else int(np.exp(rng.normal(4, 1)))
        return max(0, min(int(old) + int(rng.integers(-5, 6)), 10**6))
    if kind == "share":
        return round(float(rng.beta(2, 3)), 2)
    if kind == "date":
        today = _FIRST_DAY + timedelta(days=int((at_ms - 1_767_571_200_000) // DAY_MS))
        return (today + timedelta(days=int(rng.gamma(2, 30 * field.spread)) + 1)).isoformat()
    if kind == "pick":
        return field.choices[int(rng.choice(len(field.choices), p=field.weights))]
    if kind == "flag":
        return bool(rng.random() < 0.7)
    if kind == "phone":
        return f"+49 40 {int(rng.integers(10**6, 10**7))}"
    return " ".join(_WORDS[int(i)] for i in rng.integers(0, len(_WORDS), int(rng.integers(2, 12))))


def wrong_value(  # noqa: PLR0911 - one line a kind
    field: FieldOf, before: Any, how: str, rng: np.random.Generator, at_ms: int
) -> Any:
    """A plausible wrong value: "other" of the same kind but drawn otherwise, "blank", or the words of another field."""
    if how == "blank":
        return None
    if how == "words":
        return "Unknown"
    kind = field.kind
    if kind == "amount":
        return f"{float(before or 20_000) * rng.choice([0.1, 0.25, 4, 10]):.2f}"
    if kind == "count":
        return int(before or 50) * int(rng.choice([10, 20])) + 7
    if kind == "share":
        return round(float(rng.uniform(5, 95)), 1)
    if kind == "date":
        return (
            _FIRST_DAY + timedelta(days=int((at_ms - 1_767_571_200_000) // DAY_MS) + int(rng.integers(300, 900)))
        ).isoformat()
    if kind == "pick":
        return field.choices[int(np.argmin(field.weights))]
    if kind == "flag":
        return False
    if kind == "phone":
        return f"{int(rng.integers(10**3, 10**4))}"
    return "n/a " + "x" * int(rng.integers(1, 4))
