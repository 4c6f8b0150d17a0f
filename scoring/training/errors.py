"""What keeps a model from being learned."""

from __future__ import annotations


class TrainingError(ValueError):
    """There is nothing to learn from; the message says what is missing, and what would help."""
