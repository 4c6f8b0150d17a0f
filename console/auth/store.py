"""People, sessions, login links and API tokens, kept in the database of people, or on PostgreSQL in the store.

Secrets are stored hashed: passwords with Argon2id, everything random (32 bytes) with SHA-256. All methods block
(disk, or a deliberately slow hash): call them in a thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from console.auth.model import ROLES, SCOPES, Person, Role, Token
from storage.people import api_tokens, login_links, sessions, users

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
MIN_PASSWORD_CHARS = 10
MAX_PASSWORD_CHARS = 1_024
MAX_NAME_CHARS = 128
FIRST_USER = "admin"
TOKEN_PREFIX = "tl_"  # noqa: S105 - not a secret: lets scanners and people recognise one


class AuthError(ValueError):
    """A request about people or tokens that can't be carried out; the message says what would be right."""


def hashed(secret: str) -> str:
    """What is kept of a random secret."""
    return sha256(secret.encode()).hexdigest()


class AuthStore:
    """People and tokens.

    Parameters: ``now_ms`` gives the wall clock's time in milliseconds since 1970; ``hasher`` by default is Argon2id
    with the library's recommended cost.
    """

    def __init__(self, engine: Engine, now_ms: Callable[[], int], hasher: PasswordHasher | None = None) -> None:
        self._engine = engine
        self._now_ms = now_ms
        self._hasher = hasher or PasswordHasher()
        self._unknown = self._hasher.hash(secrets.token_urlsafe(16))

    # --- people ---------------------------------------------------------------------------------------------

    def add_user(self, name: str, role: str, password: str | None = None) -> Person:
        """A new person. Without a password they can only log in by a link. Raises AuthError."""
        if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable() or name != name.strip():
            raise AuthError(f"a user's name has 1 to {MAX_NAME_CHARS} printable characters, not {name!r}")
        if ":" in name:
            raise AuthError("a user's name has no colon")
        row = {
            "name": name, "role": _role(role), "created_ms": self._now_ms(),
            "password_hash": self._hash(password) if password is not None else None,
        }  # fmt: skip
        try:
            with self._engine.begin() as db:
                db.execute(insert(users).values(row))
        except IntegrityError:
            raise AuthError(f"there is already a user {name!r}") from None
        return Person(name, _role(role))

    def set_password(self, name: str, password: str) -> None:
        """Give a person a (new) password; their other sessions end."""
        with self._engine.begin() as db:
            done = db.execute(update(users).where(users.c.name == name).values(password_hash=self._hash(password)))
            db.execute(delete(sessions).where(sessions.c.user_name == name))
        if not done.rowcount:
            raise AuthError(f"there is no user {name!r}")

    def disable_user(self, name: str) -> None:
        """Let a person in no more; what they did stays under their name."""
        with self._engine.begin() as db:
            done = db.execute(update(users).where(users.c.name == name).values(disabled_ms=self._now_ms()))
            db.execute(delete(sessions).where(sessions.c.user_name == name))
        if not done.rowcount:
            raise AuthError(f"there is no user {name!r}")

    def list_users(self) -> list[dict[str, Any]]:
        """Everybody: name, role, created_ms, disabled_ms, has_password."""
        with self._engine.connect() as db:
            rows = db.execute(select(users).order_by(users.c.name)).mappings().all()
        return [
            {
                "name": row["name"], "role": row["role"], "created_ms": row["created_ms"],
                "disabled_ms": row["disabled_ms"], "has_password": row["password_hash"] is not None,
            }
            for row in rows
        ]  # fmt: skip

    def somebody_can_log_in(self) -> bool:
        """True when a person who is not disabled has a password."""
        able = users.c.disabled_ms.is_(None) & users.c.password_hash.is_not(None)
        with self._engine.connect() as db:
            return bool(db.execute(select(func.count()).select_from(users).where(able)).scalar_one())

    def first_link(self, minutes: float, name: str = FIRST_USER) -> str:
        """A login link for the first administrator, who is made when missing."""
        if not any(user["name"] == name for user in self.list_users()):
            with suppress(AuthError):  # another console did it just now
                self.add_user(name, "admin")
        return self.make_login_link(name, minutes)

    def check_password(self, name: str, password: str) -> Person | None:
        """The person, when the password is theirs. Takes as long for a name that nobody has."""
        with self._engine.connect() as db:
            row = db.execute(select(users).where(users.c.name == name)).mappings().first()
        known = row is not None and row["disabled_ms"] is None and row["password_hash"] is not None
        try:
            self._hasher.verify(row["password_hash"] if row is not None and known else self._unknown, password)
        except (VerificationError, InvalidHashError):
            return None
        return Person(row["name"], _role(row["role"])) if row is not None and known else None

    # --- sessions and links -----------------------------------------------------------------------------------

    def open_session(self, name: str, hours: float) -> str:
        """A new session of a person: the secret that the browser keeps."""
        secret, now = secrets.token_urlsafe(32), self._now_ms()
        row = {
            "token_hash": hashed(secret), "user_name": name, "created_ms": now,
            "expires_ms": now + int(hours * HOUR_MS),
        }  # fmt: skip
        with self._engine.begin() as db:
            db.execute(delete(sessions).where(sessions.c.expires_ms < now))
            db.execute(insert(sessions).values(row))
        return secret

    def session_person(self, secret: str) -> Person | None:
        """Whose session this is; None when it ended or never was."""
        query = (
            select(users.c.name, users.c.role)
            .join(sessions, sessions.c.user_name == users.c.name)
            .where(
                sessions.c.token_hash == hashed(secret),
                sessions.c.expires_ms > self._now_ms(),
                users.c.disabled_ms.is_(None),
            )
        )
        with self._engine.connect() as db:
            row = db.execute(query).first()
        return Person(row.name, _role(row.role)) if row is not None else None

    def close_session(self, secret: str) -> None:
        """Log out."""
        with self._engine.begin() as db:
            db.execute(delete(sessions).where(sessions.c.token_hash == hashed(secret)))

    def make_login_link(self, name: str, minutes: float) -> str:
        """The secret of a link that logs a person in, once, within ``minutes``. Raises AuthError."""
        if not any(user["name"] == name and user["disabled_ms"] is None for user in self.list_users()):
            raise AuthError(f"there is no user {name!r} who may log in")
        secret, now = secrets.token_urlsafe(32), self._now_ms()
        row = {"token_hash": hashed(secret), "user_name": name, "expires_ms": now + int(minutes * MINUTE_MS)}
        with self._engine.begin() as db:
            db.execute(delete(login_links).where(login_links.c.expires_ms < now))
            db.execute(insert(login_links).values(row))
        return secret

    def use_login_link(self, secret: str) -> Person | None:
        """Whom a link logs in; a second use, or a late one, gives None."""
        ours = login_links.c.token_hash == hashed(secret)
        fresh = (login_links.c.used_ms.is_(None)) & (login_links.c.expires_ms > self._now_ms())
        with self._engine.begin() as db:
            if not db.execute(update(login_links).where(ours & fresh).values(used_ms=self._now_ms())).rowcount:
                return None
            name = db.execute(select(login_links.c.user_name).where(ours)).scalar_one()
            query = select(users.c.name, users.c.role).where(users.c.name == name, users.c.disabled_ms.is_(None))
            row = db.execute(query).first()
        return Person(row.name, _role(row.role)) if row is not None else None

    # --- API tokens -------------------------------------------------------------------------------------------

    def create_token(
        self,
        name: str,
        scopes: Iterable[str],
        agent_id: str | None = None,
        source: str | None = None,
        days: float | None = None,
    ) -> tuple[str, Token]:
        """A new token: its secret (shown once, never kept) and what it may do. Raises AuthError."""
        wanted = frozenset(scopes)
        if not wanted or not wanted <= set(SCOPES):
            raise AuthError(f"scopes are out of {', '.join(SCOPES)}, not {', '.join(sorted(wanted)) or 'none'}")
        if not 0 < len(name) <= MAX_NAME_CHARS:
            raise AuthError(f"a token's name has 1 to {MAX_NAME_CHARS} characters")
        if agent_id is not None and source is not None:
            raise AuthError("a token is bound to an agent or to a source, not to both")
        secret, now = TOKEN_PREFIX + secrets.token_urlsafe(32), self._now_ms()
        expires = now + int(days * 24 * HOUR_MS) if days is not None else None
        token = Token(
            token_id=secrets.token_hex(8), name=name, scopes=wanted, agent_id=agent_id, source=source,
            expires_ms=expires,
        )  # fmt: skip
        row = {
            "token_id": token.token_id, "token_hash": hashed(secret), "name": name, "agent_id": agent_id,
            "source": source, "scopes": ",".join(sorted(wanted)), "created_ms": now, "expires_ms": expires,
        }  # fmt: skip
        with self._engine.begin() as db:
            db.execute(insert(api_tokens).values(row))
        return secret, token

    def revoke_token(self, token_id: str) -> None:
        """End a token; gates forget it within three seconds. Raises AuthError."""
        with self._engine.begin() as db:
            query = update(api_tokens).where(api_tokens.c.token_id == token_id).values(revoked_ms=self._now_ms())
            if not db.execute(query).rowcount:
                raise AuthError(f"there is no token {token_id!r}")

    def tokens_by_hash(self) -> dict[str, Token]:
        """All tokens that are not revoked, by their hash."""
        with self._engine.connect() as db:
            rows = db.execute(select(api_tokens).where(api_tokens.c.revoked_ms.is_(None))).mappings().all()
        return {
            row["token_hash"]: Token(
                token_id=row["token_id"], name=row["name"], scopes=frozenset(row["scopes"].split(",")),
                agent_id=row["agent_id"], source=row["source"], expires_ms=row["expires_ms"],
            )
            for row in rows
        }  # fmt: skip

    def _hash(self, password: str) -> str:
        if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
            raise AuthError(f"a password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters")
        return self._hasher.hash(password)


def _role(text: str) -> Role:
    for role in ROLES:
        if role == text:
            return role
    raise AuthError(f"a role is one of {', '.join(ROLES)}, not {text!r}")
