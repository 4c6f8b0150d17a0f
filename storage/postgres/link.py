"""A connection to PostgreSQL that takes the same SQL as SQLite's driver, and locks by name."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NoReturn

import psycopg
import xxhash
from psycopg import Connection, RawCursor
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrDumperUnknown

from storage.errors import StoreError, StoreRefused, StoreUnavailable
from storage.link import Link

NUL = "\u2400"
"""Stands for the character NUL, which PostgreSQL's texts can't hold."""
_LOCK_SEED = 0x54_4C
_LOCKS = (
    "SELECT CASE WHEN shared THEN pg_advisory_xact_lock_shared(name) ELSE pg_advisory_xact_lock(name) END "
    "FROM unnest(?::bigint[], ?::boolean[]) AS wanted (name, shared)"
)
_AGAIN = ("08", "25006", "25P03", "40", "53", "55", "57", "58")
"""SQLSTATEs after which the same may work later: connection, failover, timeouts, deadlocks, resources, operators."""
_REFUSED = ("22", "23")
"""Classes that blame the data: not a value of the type, against a constraint."""


class PgLink:
    """A connection with transactions by hand, as ``storage.link.Link`` says.

    Raises StoreUnavailable when the server is gone or too busy (this connection may then be of no more use:
    ``is_lost``), StoreRefused when the data are at fault, StoreError otherwise. After an error inside a transaction
    only ROLLBACK is taken.
    """

    def __init__(self, raw: Connection[Any]) -> None:
        adapt(raw)
        self._raw = raw

    @property
    def in_transaction(self) -> bool:
        """True between BEGIN and COMMIT or ROLLBACK, also when an error has spoilt the transaction."""
        return self._raw.info.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    @property
    def is_lost(self) -> bool:
        """True when the connection is broken or closed: open another one."""
        return self._raw.closed

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> RawCursor[Any]:
        """Run a statement."""
        cursor = RawCursor(self._raw)
        try:
            cursor.execute(translated(sql), _clean(parameters) or None)
        except (psycopg.Error, OverflowError, struct.error) as problem:
            raise_ours(problem)
        return cursor

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> RawCursor[Any]:
        """Run a statement once for each set of parameters, without waiting for the answer to each."""
        cursor = RawCursor(self._raw)
        try:
            cursor.executemany(translated(sql), map(_clean, parameters))
        except (psycopg.Error, OverflowError, struct.error) as problem:
            raise_ours(problem)
        return cursor

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send the statements of a block one behind the other, and wait once for all their answers.

        Ask their cursors for rows after the block: inside it that would wait. The first error is raised at its end,
        and what comes behind a statement that failed is not done.
        """
        try:
            with self._raw.pipeline():
                yield
        except psycopg.Error as problem:
            raise_ours(problem)

    def close(self) -> None:
        """Close the connection; what is not committed is undone."""
        self._raw.close()


def lock_keys(link: Link, keys: Collection[str], shared: Collection[str] = ()) -> None:
    """Lock state keys until the transaction ends: ``keys`` for oneself, ``shared`` together with others who share.

    All callers take locks in the same order, so that two of them never wait for each other, as long as each calls
    this once in a transaction. Does nothing on SQLite, where BEGIN IMMEDIATE keeps everybody else out.
    """
    if not isinstance(link, PgLink) or not (keys or shared):
        return
    wanted = {lock_number(key): True for key in shared}
    wanted.update((lock_number(key), False) for key in keys)
    numbers = sorted(wanted)
    link.execute(_LOCKS, (numbers, [wanted[number] for number in numbers]))


def lock_number(name: str) -> int:
    """The number of the advisory lock that stands for a name, in 64 bits."""
    number: int = xxhash.xxh3_64_intdigest(name.encode(), seed=_LOCK_SEED)
    return number - (1 << 63)


@lru_cache(maxsize=1024)
def translated(sql: str) -> bytes:
    """A statement as PostgreSQL takes it: numbered parameters, and BEGIN without SQLite's word."""
    if sql == "BEGIN IMMEDIATE":
        return b"BEGIN"
    first, *rest = sql.split("?")
    return (first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))).encode()


def raise_ours(problem: Exception) -> NoReturn:
    """Raise an error of the driver as one of ours."""
    state = getattr(problem, "sqlstate", None) or ""
    text = " ".join(str(problem).split())
    if state.startswith(_AGAIN) or (isinstance(problem, psycopg.OperationalError) and not state):
        raise StoreUnavailable(f"PostgreSQL can't be used just now: {text}") from problem
    if state.startswith(_REFUSED) or isinstance(problem, psycopg.DataError | OverflowError | struct.error):
        raise StoreRefused(f"PostgreSQL does not take this: {text}") from problem
    raise StoreError(f"PostgreSQL: {text}") from problem


class _TextDumper(StrDumperUnknown):
    """Texts, with a sign in the place of each NUL."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", NUL))


def adapt(raw: Connection[Any], *, with_nul: bool = False) -> None:
    """Set how a connection sends values: every number in the same width, so that statements stay prepared.

    ``with_nul``: texts may hold the character NUL; for those who do not clean them before.
    """
    raw.adapters.register_dumper(int, Int8BinaryDumper)
    if with_nul:
        raw.adapters.register_dumper(str, _TextDumper)


def _clean(parameters: Sequence[Any]) -> Sequence[Any]:
    for value in parameters:
        if type(value) is str and "\0" in value:
            return [each.replace("\0", NUL) if isinstance(each, str) else each for each in parameters]
    return parameters
