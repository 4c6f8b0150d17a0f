"""The guard in front of every route: host, origin, who calls, what they may do, size and time of bodies.

A request passes it or is answered by it. Everything is denied unless a rule in ``access`` lets it in, so a new route
is closed until somebody opens it. It stands outside Litestar's middleware, so that a check at the gate costs little.

Limits: over plain HTTP on loopback, any process of this machine counts as "local" (cookies are shared by all ports).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Receive, Scope, Send
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from console.answers import answer_of, encoded, secured, send_answer
from console.auth import CALLER_KEY, NOBODY, BadCredentials, Caller, Identifier, csrf_of
from console.errors import Refused, forbidden
from console.heads import Head, read_head
from console.hot import HotRoute, answer_by
from console.incoming import read_body, too_large
from storage.errors import StoreError

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
STAND_IN = "\ue000"  # for private use, so that it can't be part of a path that comes in
SMALL_BODY_BYTES = 256 * 1024
_log = structlog.get_logger("tripline.console")


class GuardConfig(Struct, frozen=True, kw_only=True):
    """What the guard needs of the settings. ``is_open``: over loopback, no credentials are asked for."""

    is_open: bool
    allowed_hosts: frozenset[str]
    max_body_bytes: int
    cookie: str
    body_secs: float = 30.0
    max_pending_bytes: int = 128 * 1024 * 1024


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """True for an address or name that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=1024)
def host_name(host: str) -> str:
    """The name in a Host header or an authority, lower case, without port and brackets; "" when malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    plain = parts.hostname or ""
    has_more = parts.username is not None or parts.path or parts.query or parts.fragment
    return "" if has_more else plain.rstrip(".")


class Guard:
    """An ASGI application around another one; see the module.

    Parameters: ``count`` is told each refusal's code; ``hot`` are POST routes by path that are answered here, past
    the application's own machinery, because they are called a thousand times a second.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: GuardConfig,
        identifier: Identifier,
        count: Callable[[str], None],
        hot: Mapping[str, HotRoute] | None = None,
    ) -> None:
        self._app = app
        self._hot = dict(hot or {})
        self._config = config
        self._identifier = identifier
        self._count = count
        self._pending_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] != ScopeType.HTTP:
            await send({"type": "websocket.close", "code": 1008, "reason": "no websockets here"})
            return
        outgoing = secured(send, scope["path"].startswith("/static/"))
        head = Head({})
        try:
            head = read_head(scope["headers"])
            keep_slashes(scope)
            caller = await self._admit(scope, head)
            if scope["method"] in SAFE_METHODS:
                await self._app(scope, receive, outgoing)
                return
            await self._with_body(scope, receive, outgoing, head, caller)
        except Refused as refused:
            self._count(refused.code)
            await _answer(outgoing, refused, head, scope)

    def admit_known(self, method: str, path: str, head: Head) -> Caller | None:
        """The caller, let in, when memory alone can tell; None when the store must be asked. Raises Refused."""
        name = self._name(method, head)
        known = self._identifier.known(head.get(b"authorization"), self._session(head))
        if known is None:
            return None
        caller = _near(known, name, head)
        access(method, path, caller)
        return caller

    async def _admit(self, scope: HTTPScope, head: Head) -> Caller:
        name = self._name(scope["method"], head)
        found = await self._caller(scope, head)
        caller = _near(found, name, head)
        scope[CALLER_KEY] = caller  # type: ignore[literal-required]
        access(scope["method"], scope["path"], caller)
        return caller

    def _name(self, method: str, head: Head) -> str:
        """The host's name, when it is one of ours and the page that asks, if any, too."""
        host = head.get(b"host")
        name = host_name(host)
        if name not in LOOPBACK_NAMES and not {name, host.lower()} & self._config.allowed_hosts:
            raise Refused(421, "unknown_host", f"this server is not called {host[:100]!r}; see server.allowed_hosts")
        if method not in SAFE_METHODS:
            check_origin(head, host)
        return name

    def _session(self, head: Head) -> str:
        return _cookie(head.get(b"cookie"), self._config.cookie)

    async def _caller(self, scope: HTTPScope, head: Head) -> Caller:
        address = (scope.get("client") or ("", 0))[0]
        is_private = scope["scheme"] == "https" or is_loopback(address)
        try:
            return await self._identifier.caller(head.get(b"authorization"), self._session(head), address, is_private)
        except BadCredentials as problem:
            if problem.wait_secs:
                wait = {"Retry-After": str(problem.wait_secs)}
                raise Refused(429, "too_many_failures", problem.message, headers=wait) from None
            raise unauthorized(problem.message) from None
        except (StoreError, SQLAlchemyError, TimeoutError) as problem:
            _log.warning("caller_not_known", problem=repr(problem))
            why = "the store can't be read, so nobody knows who you are; try again"
            raise Refused(503, "not_available", why, headers={"Retry-After": "1"}) from None

    async def _with_body(self, scope: HTTPScope, receive: Receive, send: Send, head: Head, caller: Caller) -> None:
        limit = self._config.max_body_bytes if scope["path"] == "/v1/events" else SMALL_BODY_BYTES
        reserved = _declared(head, limit)
        is_large = limit > SMALL_BODY_BYTES  # large bodies may crowd one another out, never the gate's checks
        if is_large and self._pending_bytes + reserved > self._config.max_pending_bytes:
            raise Refused(429, "busy", "too many large bodies at once", headers={"Retry-After": "1"})
        self._pending_bytes += reserved
        try:
            body = await read_body(receive, limit, self._config.body_secs)
            if caller.session and not scope["path"].startswith("/login"):
                _check_csrf(head, body, caller.session)
            hot = self._hot.get(scope["path"]) if scope["method"] == "POST" else None
            answer = await answer_by(hot, body, head, caller) if hot is not None else None
            if answer is not None:
                await send_answer(send, answer)
            else:
                await self._app(scope, _replay(body, receive), send)
        finally:
            self._pending_bytes -= reserved


def keep_slashes(scope: HTTPScope) -> None:
    """Let an escaped slash (%2F) in a path be part of a name, such as an agent's id, and not divide the path.

    Routing sees a stand-in character; ``restore_slashes`` puts the slash back into the path's parameters.
    """
    if not scope["path"].isprintable():
        raise Refused(400, "bad_request", "the path has a character that can't be shown")
    raw = scope.get("raw_path") or b""
    if b"%2f" in raw.lower():
        escaped = quote(STAND_IN).encode()
        raw = raw.partition(b"?")[0].replace(b"%2F", escaped).replace(b"%2f", escaped)
        scope["path"] = unquote(raw.decode("ascii", "replace"))


def restore_slashes(app: ASGIApp) -> ASGIApp:
    """Litestar middleware, which runs after routing: see ``keep_slashes``."""

    async def restored(scope: Scope, receive: Receive, send: Send) -> None:
        if STAND_IN in scope["path"]:
            parameters = scope.get("path_params", {})
            for name, value in parameters.items():
                if isinstance(value, str):
                    parameters[name] = value.replace(STAND_IN, "/")
        await app(scope, receive, send)

    return restored


def _near(caller: Caller, name: str, head: Head) -> Caller:
    """Nobody, when somebody without credentials came by another name than this machine's, or through a proxy."""
    is_near = name in LOOPBACK_NAMES and not head.values.keys() & {b"forwarded", b"x-forwarded-for"}
    return NOBODY if caller.is_local and not is_near else caller


def check_origin(head: Head, host: str) -> None:
    """Refuse a change that another site's page asks for."""
    origin = head.get(b"origin")
    if not origin:
        if head.get(b"sec-fetch-site") in ("cross-site", "same-site"):
            raise forbidden("foreign_origin", "another site's page may not change anything here")
        return
    scheme, _, authority = origin.partition("://")
    if scheme not in ("http", "https") or authority.lower() != host.lower():
        raise forbidden("foreign_origin", f"a page of {origin[:100]!r} may not change anything here")


def unauthorized(message: str) -> Refused:
    """401, with what may be used instead."""
    return Refused(401, "unauthorized", message, headers={"WWW-Authenticate": 'Bearer realm="Tripline"'})


def access(method: str, path: str, caller: Caller) -> None:
    """Raise Refused unless this caller may use this route at all; what a role may do there is the route's business."""
    if path in ("/healthz", "/readyz", "/login", "/favicon.ico") or path.startswith(("/static/", "/login/")):
        return None
    if path.startswith("/v1/gate/ext-authz/"):  # whatever the method: it is that of the request to be judged
        return _need_scope(NOBODY if caller.token is None else caller, "gate")
    if method in SAFE_METHODS:
        return _need_scope(caller, "read")
    if path == "/v1/events":
        return _need_scope(caller, "ingest")
    if path in ("/v1/gate/check", "/v1/leases") or path.startswith("/v1/leases/"):
        return _need_scope(caller, "gate")
    if caller.token is not None:
        raise forbidden("only_a_person", "an API token can't do this: only a person who is logged in can")
    if caller.person is None:
        raise unauthorized("this changes something: log in, or send a person's name and password (HTTP Basic)")
    return None


def _need_scope(caller: Caller, scope: str) -> None:
    if caller.person is not None or caller.is_local:
        return
    if caller.token is None:
        raise unauthorized(f"log in, or send an API token with the scope {scope!r}")
    if scope not in caller.token.scopes:
        raise forbidden("missing_scope", f"this API token has no scope {scope!r}")


def _declared(head: Head, limit: int) -> int:
    text = head.get(b"content-length")
    if not text:
        return limit
    if not (text.isascii() and text.isdigit()):
        raise Refused(400, "bad_request", "Content-Length is not a number")
    if len(text) > 15 or int(text) > limit:
        raise too_large(limit)
    return int(text)


def _check_csrf(head: Head, body: bytes, session: str) -> None:
    given = head.get(b"x-csrf-token")
    if not given and head.get(b"content-type").startswith("application/x-www-form-urlencoded"):
        try:
            given = parse_qs(body.decode("ascii"), max_num_fields=100).get("csrf_token", [""])[0]
        except ValueError:
            raise Refused(400, "bad_request", "the form can't be read") from None
    if not given.isascii() or not hmac.compare_digest(given, csrf_of(session)):
        raise forbidden("csrf", "this form is out of date: load the page again")


def _cookie(header: str, name: str) -> str:
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def _replay(body: bytes, receive: Receive) -> Receive:
    is_sent = False

    async def again() -> HTTPReceiveMessage:
        nonlocal is_sent
        if is_sent:
            return cast(HTTPReceiveMessage, await receive())
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, refused: Refused, head: Head, scope: HTTPScope) -> None:
    answer, more = answer_of(refused), dict[str, str]()
    if refused.status == 401 and head.is_from_page:
        page = scope["path"] if scope["method"] == "GET" else urlsplit(head.get(b"referer")).path
        target = f"/login?next={quote(page or '/', safe='/')}"
        if b"hx-request" in head.values:
            more["HX-Redirect"] = target
        else:
            answer, more["Location"] = replace(answer, status=303), target
    await send_answer(send, answer, encoded(more))
