"""The compiled path of the stage of agents, where it was built; see ``events.compiled``."""

from __future__ import annotations

from typing import Any

from events import rows
from events.compiled import load

_module = load("streams._judge") if rows.scanner() is not None else None
Judge: Any = None if _module is None else _module.Judge
"""Judges rows; None where it was not built."""
