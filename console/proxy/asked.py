"""What a request of an agent amounts to: an operation, as the gate is asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from events.catalogue import kind_of

Fields = Mapping[str, Any]
"""New values by field."""
MOST_RECORDS = 200
"""No request may carry more."""


class NotParsed(ValueError):
    """A request of which nobody can tell what it does; it is denied. ``hint``: what can be told, or what to send."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


class Asked(Struct, frozen=True, kw_only=True):
    """One operation. ``changes``: the new values of records that are there, by their id; ``created``: those of each
    record that it makes; ``records``: how many it touches, where they can't be listed. ``tool``: the tool's name."""

    action: str
    object: str | None = None
    record_ids: tuple[str, ...] = ()
    changes: Mapping[str, Fields] = {}
    created: tuple[Fields, ...] = ()
    recipient_ids: tuple[str, ...] = ()
    records: int = 0
    system: str | None = None
    tool: str = ""

    @property
    def is_write(self) -> bool:
        """Whether it changes anything; an unknown action does."""
        return kind_of(self.action).is_write


class Problem(Exception):
    """An operation that was let pass and failed, or of which nobody knows. ``code`` goes into the report."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


UNKNOWN = "outcome_unknown"
"""The code where nobody knows whether it was done."""


class Done(Struct, frozen=True, kw_only=True):
    """What came of it. ``made``: the ids of the records that it made, in their order."""

    answer: Any
    problem: Problem | None = None
    made: tuple[str, ...] = ()


def at_most(count: int) -> int:
    """The count. Raises NotParsed when no request may carry so many."""
    if count > MOST_RECORDS:
        raise NotParsed(f"{count:,} records in one request", f"at most {MOST_RECORDS}: send smaller requests")
    return count
