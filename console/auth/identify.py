"""From a request's credentials to who calls: a bearer token, a session cookie, or HTTP Basic."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable

from console.auth.model import LOCAL, NOBODY, Caller, Person, Token
from console.auth.store import AuthStore, hashed
from console.auth.throttle import Throttle

REFRESH_SECS = 2.0
REFRESH_LIMIT_SECS = 1.5
"""A store that takes longer counts as not there: a check at the gate must be answered."""
SESSION_CACHE_SECS = 2.0
MAX_CACHED_SESSIONS = 1_000
MAX_PASSWORD_CHECKS = 2


class BadCredentials(Exception):
    """Credentials were given, and are not valid. ``wait_secs`` > 0: too many tries, come back then."""

    def __init__(self, message: str, wait_secs: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.wait_secs = wait_secs


def csrf_of(session: str) -> str:
    """The token that forms of this session must carry; it can't be computed without the session's secret."""
    return hmac.digest(session.encode(), b"tripline csrf", "sha256").hex() if session else ""


class Identifier:
    """Tells who calls. Tokens and sessions are read from memory and looked up again every two seconds.

    Raises what the store raises when it can't be read, TimeoutError when that takes too long. Parameters: ``is_open`` =
    over loopback, where a caller without credentials is let in as "local".
    """

    def __init__(self, store: AuthStore, throttle: Throttle, is_open: bool, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._throttle = throttle
        self._nobody = LOCAL if is_open else NOBODY
        self._now_ms = now_ms
        self._tokens: dict[str, Token] = {}
        self._tokens_at = -1e9
        self._sessions: OrderedDict[str, tuple[Person, float]] = OrderedDict()
        self._refreshing = asyncio.Lock()
        self._password_checks = asyncio.Semaphore(MAX_PASSWORD_CHECKS)

    def known(self, authorization: str, session: str) -> Caller | None:
        """Who calls, when memory can tell: by a good token read just now, or nobody. None = ask ``caller``."""
        if authorization:
            scheme, _, value = authorization.partition(" ")
            token = self._tokens.get(hashed(value.strip())) if scheme.lower() == "bearer" else None
            is_good = token is not None and not self._is_over(token)
            return Caller(token=token) if is_good and time.monotonic() - self._tokens_at <= REFRESH_SECS else None
        return None if session else self._nobody

    async def caller(self, authorization: str, session: str, address: str, is_private: bool) -> Caller:
        """Who calls. ``is_private`` = over loopback or TLS, where a password may be sent. Raises BadCredentials."""
        if authorization:
            scheme, _, value = authorization.partition(" ")
            if scheme.lower() == "bearer":
                return Caller(token=await self._token(value.strip()))
            if scheme.lower() == "basic":
                return Caller(person=await self._basic(value.strip(), address, is_private))
            raise BadCredentials("Authorization is Bearer with a token, or Basic with a person's name and password")
        if session:
            person = await self._session(session)
            if person is not None:
                return Caller(person=person, session=session)
        return self._nobody

    async def check_password(self, name: str, password: str, address: str) -> Person:
        """The person with this name and password. Raises BadCredentials, at once after too many failures."""
        keys = (f"address {address}", f"user {name} at {address}")
        wait_secs = self._throttle.wait_secs(*keys)
        if wait_secs:
            raise BadCredentials(f"too many failed logins; try again in {wait_secs} s", wait_secs)
        async with self._password_checks:
            person = await asyncio.to_thread(self._store.check_password, name, password)
        if person is None:
            self._throttle.failed(*keys)
            raise BadCredentials("this name and password do not belong together")
        self._throttle.succeeded(*keys)
        return person

    def forget_session(self, session: str) -> None:
        """Look this session up again at its next request."""
        self._sessions.pop(session, None)

    async def _basic(self, value: str, address: str, is_private: bool) -> Person:
        if not is_private:
            raise BadCredentials("passwords are taken over TLS or on this machine only")
        try:
            name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise BadCredentials("the Basic credentials are not base64 of name:password in UTF-8") from None
        if not colon:
            raise BadCredentials("the Basic credentials have no colon between name and password")
        return await self.check_password(name, password, address)

    async def _token(self, secret: str) -> Token:
        arrived = time.monotonic()
        token = self._tokens.get(key := hashed(secret))
        if token is None or arrived - self._tokens_at > REFRESH_SECS:
            await self._refresh_tokens(arrived)
            token = self._tokens.get(key)
        if token is None:
            raise BadCredentials("this API token is unknown or revoked")
        if self._is_over(token):
            raise BadCredentials("this API token has expired")
        return token

    def _is_over(self, token: Token) -> bool:
        return token.expires_ms is not None and token.expires_ms <= self._now_ms()

    async def _refresh_tokens(self, needed_since: float) -> None:
        async with self._refreshing:
            if self._tokens_at < needed_since:  # else somebody else has read them while this one waited
                started = time.monotonic()
                async with asyncio.timeout(REFRESH_LIMIT_SECS):
                    self._tokens = await asyncio.to_thread(self._store.tokens_by_hash)
                self._tokens_at = started

    async def _session(self, session: str) -> Person | None:
        now = time.monotonic()
        known = self._sessions.get(session)
        if known is not None and now - known[1] < SESSION_CACHE_SECS:
            return known[0]
        person = await asyncio.to_thread(self._store.session_person, session)
        self._sessions.pop(session, None)
        if person is not None:
            self._sessions[session] = (person, now)
            while len(self._sessions) > MAX_CACHED_SESSIONS:
                self._sessions.popitem(last=False)
        return person
