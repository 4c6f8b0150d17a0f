"""Alembic migrations of the store, applied at start; part of the wheel."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, create_engine

from storage.errors import StoreMismatch

if TYPE_CHECKING:
    from alembic.config import Config

HERE = Path(__file__).parent
HEAD = "0017"
"""The newest revision; said here so that a store that is up to date opens without loading Alembic."""


def config() -> Config:
    """Alembic's configuration, without a file."""
    from alembic.config import Config  # noqa: PLC0415 - slow to load, seldom needed

    made = Config()
    made.set_main_option("script_location", HERE.as_posix())
    return made


def upgrade(path: Path, revision: str = "head") -> None:
    """Bring the SQLite file at ``path`` to a revision, in one transaction."""
    _run(path, revision, is_up=True)


def downgrade(path: Path, revision: str) -> None:
    """Take the SQLite file at ``path`` back to an older revision, in one transaction."""
    _run(path, revision, is_up=False)


def move(connection: Connection, revision: str, *, is_up: bool) -> None:
    """Bring the tables of an open connection up (or take them down) to a revision; the caller commits."""
    from alembic import command  # noqa: PLC0415 - slow to load, seldom needed

    made = config()
    made.attributes["connection"] = connection
    (command.upgrade if is_up else command.downgrade)(made, revision)


def current(path: Path) -> str | None:
    """The revision of the file, None when it has none."""
    link = sqlite3.connect(path)
    try:
        row = link.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    finally:
        link.close()
    return row[0] if row else None


def _run(path: Path, revision: str, *, is_up: bool) -> None:
    known = current(path)
    if is_up and revision == "head" and known == HEAD:
        return
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - slow to load, seldom needed

    scripts = ScriptDirectory.from_config(config())
    if known is not None and known not in {script.revision for script in scripts.walk_revisions()}:
        raise StoreMismatch(f"{path} was written by a newer version of Tripline (revision {known}); upgrade this one")
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path, isolation_level=None, timeout=5.0))
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            move(connection, revision, is_up=is_up)
            connection.exec_driver_sql("COMMIT")
    finally:
        engine.dispose()
