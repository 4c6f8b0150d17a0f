"""Opens a store for reading only: its own connections, short transactions, a limit on how long a query may run."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from storage.errors import StoreUnavailable
from storage.store import attach_projections

MAX_READ_SECS = 1.0
"""On PostgreSQL each statement may take this long, see ``PgStore.read_engine``."""
_CANCELLED = "57014"
_STEPS_BETWEEN_CHECKS = 20_000


class ReadTookTooLong(RuntimeError):
    """A query was cut off, so that it can't hold back the writer's checkpoint; ask for less at a time."""


def open_engine(path: Path, pool_size: int = 4) -> Engine:
    """Connections that cannot write to the SQLite file at ``path``, with the file of the projections beside it."""
    url = f"file:{path.as_posix()}?mode=ro"

    def connect() -> sqlite3.Connection:
        link = sqlite3.connect(url, uri=True, timeout=1.0, check_same_thread=False, isolation_level=None)
        link.execute("PRAGMA query_only=ON")
        link.execute("PRAGMA cache_size=-16000")
        link.execute("PRAGMA case_sensitive_like=ON")  # as PostgreSQL: ids of records differ by case
        attach_projections(link, path)
        return link

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=pool_size, max_overflow=8)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


@contextmanager
def reading(
    engine: Engine, max_secs: float = MAX_READ_SECS, now: Callable[[], float] = time.monotonic
) -> Iterator[Connection]:
    """One read transaction; raises ReadTookTooLong when it lasts longer than ``max_secs``.

    Raises StoreUnavailable when PostgreSQL can't be reached or goes away meanwhile.
    """
    with engine.connect() as connection, connection.begin():
        raw = connection.connection.dbapi_connection
        deadline = now() + max_secs
        if isinstance(raw, sqlite3.Connection):
            raw.set_progress_handler(lambda: int(now() > deadline), _STEPS_BETWEEN_CHECKS)
        elif max_secs != MAX_READ_SECS:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(max_secs * 1000)}")
        try:
            yield connection
        except Exception as problem:
            if _was_cut_off(problem):
                raise ReadTookTooLong(f"the query ran longer than {max_secs:g} s") from problem
            if isinstance(problem, DBAPIError) and problem.connection_invalidated:
                raise StoreUnavailable(f"PostgreSQL went away: {problem.orig}") from problem
            raise
        finally:
            if isinstance(raw, sqlite3.Connection):
                raw.set_progress_handler(None, 0)


def _was_cut_off(problem: Exception) -> bool:
    state = getattr(problem.orig, "sqlstate", None) if isinstance(problem, DBAPIError) else None
    return state == _CANCELLED or "interrupted" in str(problem)
