"""The compiled scoring of deals, where it was built; see ``events.compiled``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from events import rows
from events.compiled import load
from scoring import people
from scoring.model import HAND, Model
from scoring.plan import Scores
from scoring.scorecard import Scorecard
from scoring.stages import Process
from scoring.state import DealState, Person

_module = load("scoring._card") if rows.scanner() is not None else None
Card: Any = None if _module is None else _module.Card
"""Judges deals and finds their reasons; None where it was not built."""
Figures: Any = None if _module is None else _module.Figures
"""The numbers of a deal's state, as the compiled stage of deals keeps them; None where it was not built."""
best_person: Callable[[list[Person], list[int]], Person] = (
    people.best_person if _module is None else _module.best_person
)


class CompiledScorecard(Scorecard):
    """A ``Scorecard`` that judges by the compiled ``Card``, which is ``fast``."""

    def __init__(self, process: Process, silent_days: int = 14, model: Model = HAND) -> None:
        super().__init__(process, silent_days, model)
        self.fast = Card(self)

    def judge(self, state: DealState, now_ms: int) -> Scores:
        """As ``Scorecard.judge``."""
        made: Scores = self.fast.judge(state, now_ms)
        return made

    def refresh(self, state: DealState, now_ms: int, fresh: int = 0) -> bool:
        """As ``Scorecard.refresh``."""
        return bool(self.fast.refresh(state, now_ms, fresh))


def scorecard(process: Process, silent_days: int, model: Model) -> Scorecard:
    """A card that judges as fast as can be done here."""
    return Scorecard(process, silent_days, model) if Card is None else CompiledScorecard(process, silent_days, model)
