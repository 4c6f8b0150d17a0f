"""The store in a database on PostgreSQL: connections, tables, and their being brought up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, cast

import psycopg
from psycopg import Connection
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool

from storage import migrations, people
from storage.errors import StoreError, StoreMismatch
from storage.postgres.link import PgLink, adapt, lock_number, raise_ours
from storage.postgres.server import Server
from storage.sql import upsert
from storage.store import PROJECTIONS_VERSION
from storage.tables import PROJECTED, meta

READ_SECS = 1.0
"""How long one read of a page may take, as in SQLite."""
_MIGRATING = "tripline: migrate"
_WAIT = "120s"
"""How long a console that starts waits for another one that brings the tables up to date."""
_PROJECTIONS = "projections_version"
_READ_AGAIN = "DELETE FROM watermark WHERE topic = 'agent.actions'"
"""The topic that the projections are made of: the sinks begin with its first record."""
_HELD = "SELECT value FROM meta WHERE name = 'projections_version'"


class PgStore:
    """A store on PostgreSQL. Parameters: the database's ``postgresql://`` URL, the password when the URL has none.

    Nothing is opened before it is asked for. All methods raise StoreUnavailable when the server can't be reached,
    StoreError with what to do when it can but won't serve.
    """

    def __init__(self, url: str, password: str = "") -> None:
        self.server = Server(url, password)
        self._engines: list[Engine] = []

    def __enter__(self) -> PgStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __str__(self) -> str:
        return str(self.server)

    def connect(self) -> PgLink:
        """A connection that may write: transactions by hand, durable when COMMIT returns."""
        return PgLink(self.server.connect())

    def engine(self, *, pool_size: int = 4) -> Engine:
        """SQLAlchemy's engine for short transactions: people, sessions, tokens, re-drives."""
        return self._engine(pool_size)

    def read_engine(self, *, pool_size: int = 4) -> Engine:
        """An engine that can't write; each transaction sees one moment, a statement may take a second."""
        return self._engine(
            pool_size,
            default_transaction_read_only="on",
            default_transaction_isolation="repeatable read",
            statement_timeout=f"{READ_SECS:g}s",
        )

    def close(self) -> None:
        """Close the connections of the engines."""
        while self._engines:
            self._engines.pop().dispose()

    # --- tables --------------------------------------------------------------------------------------------------

    def is_up_to_date(self) -> bool:
        """True when the tables are those of this version. Raises StoreMismatch when they are of a newer one."""
        with self._raw() as raw:
            return self._is_up_to_date(raw)

    def check(self) -> None:
        """Raise StoreMismatch, with what to do, unless the tables are those of this version."""
        if not self.is_up_to_date():
            raise StoreMismatch(f"{self}: its tables are of an older version or missing; start `tripline console`")

    def migrate(self) -> None:
        """Bring the tables up to date, or make them; does nothing when they are.

        Of several processes one does it and the others wait. It is one transaction: an error leaves all as it was.
        """
        with self._raw(statement_timeout=_WAIT, lock_timeout=_WAIT, idle_in_transaction_session_timeout="0") as raw:
            if self._is_up_to_date(raw):
                return
            raw.execute("SELECT pg_advisory_lock(%s)", (lock_number(_MIGRATING),))
            if not self._is_up_to_date(raw):  # nobody did it meanwhile
                self._bring_up_to_date(raw)

    def downgrade(self, revision: str) -> None:
        """Take the tables back to an older revision (see ``storage/migrations/versions``), in one transaction."""
        with self._raw(statement_timeout=_WAIT, lock_timeout=_WAIT, idle_in_transaction_session_timeout="0") as raw:
            raw.execute("SELECT pg_advisory_lock(%s)", (lock_number(_MIGRATING),))
            with _sole_engine(raw).begin() as connection:
                migrations.move(connection, revision, is_up=False)

    def _is_up_to_date(self, raw: Connection[Any]) -> bool:
        revision = _first(raw, "alembic_version", "SELECT version_num FROM alembic_version")
        if revision is None:
            return False
        held = int(_first(raw, "meta", _HELD) or 0)
        if revision > migrations.HEAD or held > PROJECTIONS_VERSION:
            raise StoreMismatch(
                f"{self} was written by a newer version of Tripline (revision {revision}, projections {held}); "
                "upgrade this one"
            )
        return revision == migrations.HEAD and held == PROJECTIONS_VERSION

    def _bring_up_to_date(self, raw: Connection[Any]) -> None:
        try:
            with _sole_engine(raw).begin() as connection:
                migrations.move(connection, "head", is_up=True)
                people.metadata.create_all(connection)
                tables = PROJECTED[0].metadata
                known = connection.exec_driver_sql(_HELD).scalar()
                if known != str(PROJECTIONS_VERSION):
                    tables.drop_all(connection, tables=PROJECTED)
                    tables.create_all(connection, tables=PROJECTED)
                    connection.exec_driver_sql(_READ_AGAIN)
                    kept = upsert(meta).replace("?", "%s")
                    connection.exec_driver_sql(kept, (_PROJECTIONS, str(PROJECTIONS_VERSION)))
        except DBAPIError as problem:
            cause = problem.orig
            if isinstance(cause, psycopg.errors.InsufficientPrivilege):
                raise StoreError(
                    f"{self}: its user may not make tables ({' '.join(str(cause).split())}); make it the owner of the "
                    "database, or GRANT CREATE ON SCHEMA public to it"
                ) from problem
            raise_ours(cause if isinstance(cause, psycopg.Error) else problem)

    # --- connections ---------------------------------------------------------------------------------------------

    @contextmanager
    def _raw(self, **session: str) -> Iterator[Connection[Any]]:
        raw = self.server.connect(**session)
        try:
            yield raw
        except psycopg.Error as problem:
            raise_ours(problem)
        finally:
            raw.close()

    def _engine(self, pool_size: int, **session: str) -> Engine:
        def connect() -> Connection[Any]:
            raw = self.server.connect(**session)
            adapt(raw, with_nul=True)
            raw.autocommit = False
            return raw

        made = create_engine(
            "postgresql+psycopg://", creator=connect, poolclass=QueuePool, pool_size=pool_size, max_overflow=8,
            pool_pre_ping=True,
        )  # fmt: skip
        self._engines.append(made)
        return made


def _sole_engine(raw: Connection[Any]) -> Engine:
    raw.autocommit = False
    return create_engine("postgresql+psycopg://", creator=lambda: cast(Any, raw), poolclass=StaticPool)


def _first(raw: Connection[Any], table: str, query: str) -> str | None:
    """The first value that a query on one table gives; None when there is no such table or row."""
    if raw.execute("SELECT to_regclass(%s)", (table,)).fetchone() == (None,):
        return None
    row = raw.execute(query.encode()).fetchone()
    return None if row is None else str(row[0])
