"""What a request of an agent amounts to: an operation, as the gate is asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

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
    record that it makes; ``records``: how many it touches, where they can't be listed. ``tool``: the tool's name.
    ``is_keyed``: the ids in ``changes`` are made up of a field and its value, as the records' own are not known before;
    ``refs``: the subrequests of a composite request that it is."""

    action: str
    object: str | None = None
    record_ids: tuple[str, ...] = ()
    changes: Mapping[str, Fields] = {}
    created: tuple[Fields, ...] = ()
    recipient_ids: tuple[str, ...] = ()
    records: int = 0
    system: str | None = None
    tool: str = ""
    is_keyed: bool = False
    refs: tuple[str, ...] = ()

    @property
    def is_write(self) -> bool:
        """Whether it changes anything; an unknown action does."""
        return kind_of(self.action).is_write


class Together(Struct, frozen=True, kw_only=True):
    """The operations of one request: all of them are allowed, or none is done. ``body``: what is sent on instead of the
    request's own; ``is_composite``: its answer has one for each subrequest; ``is_atomic``: when one of these fails the
    CRM takes all of them back."""

    parts: tuple[Asked, ...]
    body: bytes | None = None
    is_composite: bool = False
    is_atomic: bool = False


class Problem(Exception):
    """An operation that was let pass and failed, or of which nobody knows. ``code`` goes into the report."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


UNKNOWN = "outcome_unknown"
"""The code where nobody knows whether it was done."""


Outcome = tuple[Problem | None, tuple[str, ...]]
"""What came of one operation: the problem, and the ids of the records that it made, in their order."""


class Done(Struct, frozen=True, kw_only=True):
    """What came of it. ``made``: the ids of the records that it made, in their order; ``parts``: both by operation,
    where there are several, and they differ."""

    answer: Any
    problem: Problem | None = None
    made: tuple[str, ...] = ()
    parts: tuple[Outcome, ...] = ()

    def of(self, part: int) -> Done:
        """The same, as that operation has it."""
        if not self.parts:
            return self
        problem, made = self.parts[part]
        return replace(self, problem=problem, made=made)


def records_in(asked: Asked) -> int:
    """How many records it touches at most."""
    return max(len({*asked.record_ids, *asked.changes}) + len(asked.created), asked.records)


def at_most(count: int) -> int:
    """The count. Raises NotParsed when no request may carry so many."""
    if count > MOST_RECORDS:
        raise NotParsed(f"{count:,} records in one request", f"at most {MOST_RECORDS}: send smaller requests")
    return count
