"""The compiled paths of the stages, where they were built; see ``events.compiled``."""

from __future__ import annotations

from typing import Any

from events import rows
from events.compiled import load
from scoring import compiled as scoring

_module = load("streams._judge") if rows.scanner() is not None else None
Judge: Any = None if _module is None else _module.Judge
"""Judges rows; None where it was not built."""

_deals = load("streams._deals") if Judge is not None and scoring.Card is not None else None
DealsJudge: Any = None if _deals is None else _deals.Judge
"""Judges deals; None where it was not built."""
