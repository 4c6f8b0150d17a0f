"""What is wrong with a log, a mapping or a question."""

from __future__ import annotations


class BacktestError(ValueError):
    """A backtest that can't be made; the message says what is wrong, where, and what would be right."""


class ExportError(RuntimeError):
    """The tables are not the booster that they were made of."""
