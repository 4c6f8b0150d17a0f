"""Logging in: people with passwords or one-time links, machines with API tokens."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection

from console.auth.identify import BadCredentials, Identifier, csrf_of
from console.auth.model import LOCAL, NOBODY, ROLES, SCOPES, Caller, Person, Role, Scope, Token
from console.auth.store import AuthError, AuthStore
from console.auth.throttle import Throttle

__all__ = [
    "CALLER_KEY",
    "LOCAL",
    "NOBODY",
    "ROLES",
    "SCOPES",
    "AuthError",
    "AuthStore",
    "BadCredentials",
    "Caller",
    "Identifier",
    "Person",
    "Role",
    "Scope",
    "Throttle",
    "Token",
    "caller_of",
    "csrf_of",
    "csrf_token",
    "person_of",
]

CALLER_KEY = "tripline_caller"

Connection = ASGIConnection[Any, Any, Any, Any]


def caller_of(request: Connection) -> Caller:
    """Who sent this request, as the guard found it."""
    caller = request.scope.get(CALLER_KEY)
    return caller if isinstance(caller, Caller) else NOBODY


def person_of(request: Connection) -> Person | None:
    """The person who is logged in, if any."""
    return caller_of(request).person


def csrf_token(request: Connection) -> str:
    """What this session's forms must carry as ``csrf_token``; empty when nobody is logged in."""
    return csrf_of(caller_of(request).session)
