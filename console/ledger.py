"""The ledger of false stops, as pages, metrics and the API tell it."""

from __future__ import annotations

from detectors.discovery import judged_with
from events.times import DAY_MS
from governance.settings_types import Settings
from governance.stop_budget import BudgetState, state
from storage.read import Reader


def enforcing(settings: Settings) -> list[str]:
    """The detectors that may stop agents; among them the budget is shared out."""
    return [name for name, judged in judged_with(settings).items() if judged.mode == "enforce"]


def ledger_of(settings: Settings, reader: Reader, now_ms: int, detectors: list[str]) -> BudgetState:
    """The ledger as of now. Parameters: ``detectors`` that enforce."""
    seen = reader.stop_ledger(now_ms - settings.budget.window_days * DAY_MS, now_ms)
    return state(settings.budget, detectors, seen.agents, seen.agent_ms, seen.stops)
