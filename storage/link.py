"""What the storage modules need of a database connection: what SQLite's driver gives, and ``PgLink`` for PostgreSQL.

One SQL text serves both. It marks parameters with ``?`` (and has no ``?`` elsewhere), names the columns of a conflict,
gets a new row's number by ``RETURNING``, and opens a transaction that will write with ``BEGIN IMMEDIATE``. Text is
compared byte by byte in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol


class Cursor(Protocol):
    """What a statement answered."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""

    def fetchone(self) -> Any:
        """The next row as a tuple, None when there is none."""

    def fetchall(self) -> list[Any]:
        """The rows that are left, as tuples."""

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left, one at a time."""


class Link(Protocol):
    """A connection with transactions by hand; without ``BEGIN`` each statement is one. For one thread at a time."""

    @property
    def in_transaction(self) -> bool:
        """True between BEGIN and COMMIT or ROLLBACK."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor:
        """Run a statement."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """Run a statement once for each set of parameters."""

    def close(self) -> None:
        """Give the connection back; what is not committed is undone."""
