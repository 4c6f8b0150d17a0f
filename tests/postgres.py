"""A real PostgreSQL for tests and for trying out: a cluster of its own in a temporary folder, on loopback.

``python -m tests.postgres`` runs one until Ctrl-C and prints its address.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psycopg
from sqlalchemy import create_engine, insert, select

from storage import people
from storage.postgres import PgStore
from storage.store import projections_path
from storage.tables import PROJECTED, STORED, metadata
from tests.components import POSTGRES
from tests.kafka.broker import free_port

START_SECS, STOP_SECS = 60.0, 30.0
USER = "tripline"
GUARDED = "guarded"
"""A user who needs the password ``PASSWORD``; ``tripline`` needs none."""
PASSWORD = "open sesame"
_HBA = f"host all {GUARDED} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
_TEMPLATE = "with_tables"


class NoPostgres(Exception):
    """No PostgreSQL can be run here; the message says why."""


class Postgres:
    """A cluster in a folder of its own, which goes when it is closed.

    Its texts are sorted as English is, not by their bytes, to find what leans on the order. ``fsync``: commits
    reach the disk, for tests in which the machine itself would fail; a killed server loses nothing without it.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        if POSTGRES is None:
            raise NoPostgres("PostgreSQL's server is needed (apt-get install postgresql)")
        self._user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
        owner = _owner(self._user)
        self.port = free_port()
        self._fsync = fsync
        self.folder = Path(tempfile.mkdtemp(prefix="tripline-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._has_template = False
        self._spare: list[str] = []
        if owner is not None:
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        made = self._run(
            "initdb", "-D", str(self.folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync",
            "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US",
        )  # fmt: skip
        if made.wait(START_SECS):
            raise NoPostgres(f"initdb failed: {self.said()[-1500:]}")
        (self.folder / "data" / "pg_hba.conf").write_text(_HBA)

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        fsync = "on" if self._fsync else "off"
        self._process = self._run(
            "postgres", "-D", str(self.folder / "data"), "-p", str(self.port), "-k", "", "-h", "127.0.0.1",
            "-c", f"fsync={fsync}", "-c", "shared_buffers=32MB", "-c", "max_connections=80",
        )  # fmt: skip
        end = time.monotonic() + START_SECS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise NoPostgres(f"the server ended: {self.said()[-1500:]}")
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        raise NoPostgres(f"the server was not up in {START_SECS:g} s: {self.said()[-1500:]}")

    def stop(self) -> None:
        """End the server in order, its connections at once."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it at once, as a crash would: the next start recovers from its log."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop and start it on the same port."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the server and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str, user: str = USER) -> str:
        """The address of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def empty(self, how: str = "") -> str:
        """The address of a new database without tables; ``how`` ends the CREATE DATABASE."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as link:
            link.execute(f"CREATE DATABASE {name} {how}".encode())
        return self.url(name)

    def database(self) -> str:
        """The address of a new database with the store's tables."""
        if not self._has_template:
            made = self.empty()
            with PgStore(made) as store:
                store.migrate()
            with psycopg.connect(self.url("postgres"), autocommit=True) as link:
                link.execute(f"ALTER DATABASE {made.rpartition('/')[2]} RENAME TO {_TEMPLATE}".encode())
            self._has_template = True
        return self._spare.pop() if self._spare else self.empty(f"TEMPLATE {_TEMPLATE}")

    def give_back(self, url: str) -> None:
        """Empty a database that ``database`` gave, for the next one who asks: to make one takes a third of a second.

        One whose tables were changed is left alone.
        """
        name = url.rpartition("/")[2]
        with psycopg.connect(self.url("postgres"), autocommit=True) as link:
            link.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            with psycopg.connect(url) as link:
                for table in (*metadata.sorted_tables, *people.metadata.sorted_tables):
                    kept = " WHERE name <> 'projections_version'" if table.name == "meta" else ""
                    link.execute(f'DELETE FROM "{table.name}"{kept}'.encode())  # noqa: S608
                link.execute("SELECT setval(quote_ident(sequencename)::regclass, 1, false) FROM pg_sequences")
        except psycopg.errors.UndefinedTable:
            return
        self._spare.append(url)

    def guarded(self, database: str) -> str:
        """The address of a database for the user who needs a password."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as link:
            if link.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (GUARDED,)).fetchone() is None:
                link.execute(f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'".encode())
        return self.url(database.rpartition("/")[2], GUARDED)

    def said(self) -> str:
        """What the server printed."""
        return (self.folder / "said.txt").read_text(errors="replace")

    def _run(self, program: str, *args: str) -> subprocess.Popen[bytes]:
        with (self.folder / "said.txt").open("ab") as out:
            return subprocess.Popen(
                [f"{POSTGRES}/{program}", *args],
                stdout=out, stderr=subprocess.STDOUT, cwd=self.folder, user=self._user, group=self._user,
                extra_groups=None if self._user is None else [],
            )  # fmt: skip

    def _end(self, sign: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(sign)
            try:
                self._process.wait(STOP_SECS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_SECS)


def _owner(user: str | None) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(user) if user is not None else None
    except KeyError:
        raise NoPostgres(f"PostgreSQL refuses to run as root, and there is no user {user}") from None


def copy_store(path: Path, url: str) -> None:
    """Copy all rows of a store on SQLite, and of its projections, into a database with the store's tables."""
    with PgStore(url) as store, store.engine(pool_size=1).begin() as out:
        for tables, file in ((STORED, path), (PROJECTED, projections_path(path))):
            source = create_engine(f"sqlite:///{file}")
            with source.connect() as link:
                for table in tables:
                    rows = [dict(row) for row in link.execute(select(table)).mappings()]
                    if rows:
                        out.execute(insert(table), rows)
            source.dispose()


def main() -> int:
    """Run a server until Ctrl-C."""
    try:
        server = Postgres()
    except NoPostgres as problem:
        sys.stderr.write(f"*** {problem}\n")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.start()
        sys.stdout.write(f"PostgreSQL listens: {server.empty()}  Ctrl-C ends it and removes its data.\n")
        sys.stdout.flush()
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
