"""Agent actions and deal events as rows: read without building the event, where the compiled reader was built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from events.compiled import load


class Row(Protocol):
    """One plain line: its time, identity and bytes; the event itself is decoded when asked for."""

    id: str
    source: str
    time_ms: int

    @property
    def raw(self) -> bytes:
        """The line's bytes."""

    @property
    def event(self) -> Any:
        """The event."""


class Scanner(Protocol):
    """Reads blocks of lines."""

    def scan(self, block: bytes, place: int = 0) -> list[tuple[int, str, str, int, Any] | None]:
        """One item for each line of a block, in order: (time in ms, source, id, place, row), or None for a line that
        ``events.structured`` has to read. Places count from ``place``."""


class _NoRow:
    """Stands for the type of rows where the compiled reader was not built."""


_module = load("events._rows")
ROW: Any = _NoRow if _module is None else _module.ActionRow
"""The type of actions' rows."""
DEAL_ROW: Any = _NoRow if _module is None else _module.DealRow
"""The type of rows of changes and activities."""
ROWS = frozenset((ROW, DEAL_ROW))


def scanner(*, with_deals: bool = False) -> Scanner | None:
    """A new reader of rows, of changes and activities as well if so wanted; None where it was not built."""
    return None if _module is None else _module.Scanner(with_deals)


def times_reader() -> Callable[[list[Any]], list[int]] | None:
    """``structured.times_of``, compiled; None where it was not built."""
    return None if _module is None else cast("Callable[[list[Any]], list[int]]", _module.times_of)


def event_of(event: Any) -> Any:
    """The event of a row; an event itself."""
    return event.event if type(event) in ROWS else event
