"""Who calls: a person, a token, somebody on this machine, or nobody known."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Role = Literal["viewer", "manager", "operator", "admin"]
Scope = Literal["ingest", "gate", "read"]

ROLES: tuple[Role, ...] = ("viewer", "manager", "operator", "admin")
SCOPES: tuple[Scope, ...] = ("ingest", "gate", "read")


class Person(Struct, frozen=True):
    """Somebody who logged in, and what they may do (each role includes those before it in ``ROLES``)."""

    name: str
    role: Role

    def may_act_as(self, role: Role) -> bool:
        """True when this person's role is ``role`` or more."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Token(Struct, frozen=True, kw_only=True):
    """An API token: what it may do (``scopes``), and as whom: one agent, one source, or neither."""

    token_id: str
    name: str
    scopes: frozenset[str]
    agent_id: str | None = None
    source: str | None = None
    expires_ms: int | None = None


class Caller(Struct, frozen=True):
    """Who sent a request. ``is_local`` = no credentials, over loopback, where none are asked for."""

    person: Person | None = None
    token: Token | None = None
    is_local: bool = False
    session: str = ""

    @property
    def name(self) -> str:
        """A name for logs and records."""
        if self.person is not None:
            return self.person.name
        return f"token:{self.token.name}" if self.token is not None else "local"


NOBODY = Caller()
LOCAL = Caller(is_local=True)
