"""Opens the store: one folder with the SQLite file, the file of the projections, and a lock."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from pathlib import Path
from types import TracebackType

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from storage import migrations
from storage.errors import StoreError, StoreInUse, StoreUnavailable
from storage.tables import PROJECTED

FILE = "tripline.db"
PROJECTIONS_FILE = "projections.db"
_LOCK = "tripline.lock"
PROJECTIONS_VERSION = 1
"""Raise it when a projected table changes: the projections are then made again from the log."""


def projections_path(path: Path) -> Path:
    """The file of the projections that belongs to a store's file."""
    return path.with_name(PROJECTIONS_FILE)


def attach_projections(link: sqlite3.Connection, path: Path, *, read_only: bool = True) -> None:
    """Make the projected tables (action, agent, …) readable through a connection to the store's file."""
    other = projections_path(path)
    if other.exists():
        mode = "?mode=ro" if read_only else ""
        link.execute("ATTACH DATABASE ? AS projections", (f"file:{other.as_posix()}{mode}",))


class Store:
    """A store in a folder. Parameters: the folder, and (for tests of a full disk) the most pages it may have.

    Opening makes what is missing and brings the tables up to date. One process at a time may hold the write lock.
    """

    def __init__(self, folder: Path | str, *, max_page_count: int | None = None) -> None:
        self.folder = Path(folder)
        self.path = self.folder / FILE
        self.max_page_count = max_page_count
        self._lock: int | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise StoreError(f"can't make the data folder {self.folder}: {problem.strerror}") from problem

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def lock(self) -> None:
        """Make sure that no other process writes here; released by ``close`` or when the process ends."""
        if self._lock is not None:
            return
        handle = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            os.close(handle)
            raise StoreInUse(f"another process runs on {self.folder}; stop it, or choose another data_dir") from problem
        self._lock = handle

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def migrate(self) -> None:
        """Bring the tables of the store up to date; does nothing when they are."""
        try:
            migrations.upgrade(self.path)
        except sqlite3.Error as problem:
            raise StoreUnavailable(f"can't bring {self.path} up to date: {problem}") from problem

    def connect(self) -> sqlite3.Connection:
        """A connection of the driver that may write: transactions by hand, durable when COMMIT returns.

        It waits for at most a second when another connection writes.
        """
        link = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=1.0, cached_statements=256
        )
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32768", "wal_autocheckpoint=8000"):
            link.execute(f"PRAGMA {pragma}")
        if self.max_page_count is not None:
            link.execute(f"PRAGMA max_page_count={self.max_page_count}")
        return link

    def connect_projections(self) -> sqlite3.Connection:
        """A connection to the projections' file, made anew when its tables are of another version.

        A power cut may lose its last seconds (they are read from the log again), never its consistency.
        """
        path = projections_path(self.path)
        link = self._open_projections(path)
        try:
            version = link.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError:
            version = -1
        if version not in (0, PROJECTIONS_VERSION):
            link.close()
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            link = self._open_projections(path)
        engine = create_engine("sqlite://", creator=lambda: self._open_projections(path))
        with engine.begin() as connection:
            PROJECTED[0].metadata.create_all(connection, tables=PROJECTED)
        engine.dispose()
        link.execute(f"PRAGMA user_version={PROJECTIONS_VERSION}")
        return link

    def _open_projections(self, path: Path) -> sqlite3.Connection:
        link = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
        for pragma in ("page_size=8192", "journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536"):
            link.execute(f"PRAGMA {pragma}")
        link.execute("PRAGMA wal_autocheckpoint=4000")
        return link

    def engine(self, *, pool_size: int = 4) -> Engine:
        """SQLAlchemy's engine for the short transactions of the console (people, sessions, tokens, re-drives)."""
        engine = create_engine(
            "sqlite://", creator=self._connect_with_projections, poolclass=QueuePool, pool_size=pool_size
        )
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return engine

    def _connect_with_projections(self) -> sqlite3.Connection:
        link = sqlite3.connect(
            f"file:{self.path.as_posix()}", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
        )
        for pragma in ("synchronous=FULL", "busy_timeout=5000"):
            link.execute(f"PRAGMA {pragma}")
        attach_projections(link, self.path)
        return link

    def wal_bytes(self) -> int:
        """Size of the write-ahead log."""
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except OSError:
            return 0

    def file_bytes(self) -> int:
        """Size of the store's file."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def free_bytes(self) -> int:
        """Free space where the store is."""
        try:
            found = os.statvfs(self.folder)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize


def new_id() -> str:
    """A new random identity, of an engine or a topic."""
    return secrets.token_hex(8)
