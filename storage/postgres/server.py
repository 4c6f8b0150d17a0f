"""Where PostgreSQL is and how it is met; what a failed meeting means and what to do about it."""

from __future__ import annotations

from typing import Any, NoReturn

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict

from storage.errors import StoreError, StoreUnavailable

CONNECT_SECS = 5
OLDEST = 130_000
"""The oldest version that is taken, as PostgreSQL numbers them; 15 is what the tests run on."""
_SESSION = {
    "synchronous_commit": "on",
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "10s",
}
"""A process that hangs inside a transaction loses it after 10 s, so that its locks hold nobody up for longer."""


class Server:
    """A database on a server. Parameters: its ``postgresql://`` URL, and the password when the URL has none."""

    def __init__(self, url: str, password: str = "") -> None:
        try:
            parts = conninfo_to_dict(url)
        except psycopg.ProgrammingError as problem:
            raise StoreError(f"[store] url can't be understood: {problem}") from problem
        self.database = str(parts.get("dbname", ""))
        self.user = str(parts.get("user", ""))
        self.place = f"{parts.get('host', 'local socket')}:{parts.get('port', 5432)}"
        self._url = url
        self._options = str(parts.get("options", ""))
        self._password = password

    def __str__(self) -> str:
        """The place and the database; never the password."""
        return f"PostgreSQL at {self.place}, database {self.database}"

    def connect(self, **session: str) -> Connection[Any]:
        """A connection in which each statement is a transaction; ``session`` sets parameters of the session.

        Raises StoreUnavailable when nobody answers, StoreError when the server or the database won't do.
        """
        ours = (f"-c {name}={_escaped(value)}" for name, value in {**_SESSION, **session}.items())
        options = " ".join((self._options, *ours))
        more: dict[str, Any] = {"password": self._password} if self._password else {}
        try:
            link = psycopg.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_SECS, options=options, client_encoding="UTF8",
                application_name="tripline", keepalives_idle=10, keepalives_interval=5, keepalives_count=3,
                tcp_user_timeout=15_000, **more,
            )  # fmt: skip
        except psycopg.Error as problem:
            self._not_met(problem)
        try:
            self._check(link)
        except BaseException:
            link.close()
            raise
        return link

    def _check(self, link: Connection[Any]) -> None:
        if link.info.server_version < OLDEST:
            found = link.info.parameter_status("server_version")
            raise StoreError(f"{self}: version {found} is too old, Tripline needs {OLDEST // 10_000} or newer")
        encoding = link.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise StoreError(
                f"{self}: its encoding is {encoding}, texts may hold any character; "
                "make the database with ENCODING 'UTF8' TEMPLATE template0"
            )

    def _not_met(self, problem: psycopg.Error) -> NoReturn:
        said = " ".join(str(problem).split())
        for sign, cure in (
            ("password authentication failed", "check [store] url and password (TRIPLINE_STORE_PASSWORD)"),
            ("no password supplied", "set TRIPLINE_STORE_PASSWORD"),
            ("no pg_hba.conf entry", "let this machine and user in, in the server's pg_hba.conf"),
            ("role ", f"make the user (createuser {self.user or 'NAME'}), or name another one in [store] url"),
            ("database ", f"make it: createdb -E UTF8 -T template0 {self.database}"),
        ):
            if sign in said and (sign not in ("role ", "database ") or "does not exist" in said):
                raise StoreError(f"{self} does not let us in: {said}; {cure}") from problem
        raise StoreUnavailable(
            f"{self} can't be reached: {said}; is it running, and is [store] url right?"
        ) from problem


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
