"""Logging in and out: by name and password, or by a one-time link.

Opening a link only shows a button, because mail scanners and chat previews open links too; pressing it logs in.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath, FromQuery

from console.auth import AuthError, BadCredentials, caller_of, person_of
from console.errors import Refused, bad_request, forbidden
from console.services import Services, services_of
from console.web.login import account_form, link_form, login_form

_Request = Request[Any, Any, Any]
HTML = "text/html"  # Litestar adds the charset


@get("/login", include_in_schema=False)
async def login_page(request: _Request, next: FromQuery[str] = "/") -> Response[str]:
    """The form."""
    return login_form(request, local_path(next))


@post("/login", include_in_schema=False, status_code=200)
async def login(request: _Request) -> Response[Any]:
    """Check the password and open a session."""
    services, form = services_of(request), await _form(request)
    address = request.client.host if request.client else ""
    target = local_path(form.get("next", "/"))
    try:
        person = await services.identifier.check_password(form.get("name", ""), form.get("password", ""), address)
    except BadCredentials as problem:
        services.metrics.logins.add("throttled" if problem.wait_secs else "failed")
        status = 429 if problem.wait_secs else 401
        return login_form(request, target, problem.message, status)
    return await _open_session(services, request, person.name, target)


@get("/login/link/{secret:str}", include_in_schema=False)
async def link_page(request: _Request, secret: FromPath[str]) -> Response[str]:
    """A button that uses the link; the link still works after this."""
    return link_form(request, secret)


@post("/login/link/{secret:str}", include_in_schema=False, status_code=200)
async def use_link(request: _Request, secret: FromPath[str]) -> Response[Any]:
    """Use the link up and open a session."""
    services = services_of(request)
    person = await asyncio.to_thread(services.auth.use_login_link, secret)
    if person is None:
        services.metrics.logins.add("failed")
        return login_form(request, "/", "This link was used already, or is too old. Ask for a new one.", 401)
    return await _open_session(services, request, person.name, "/")


@post("/logout", include_in_schema=False, status_code=200)
async def logout(request: _Request) -> Response[Any]:
    """End the session."""
    services, session = services_of(request), caller_of(request).session
    await asyncio.to_thread(services.auth.close_session, session)
    services.identifier.forget_session(session)
    return _redirect("/", Cookie(services.cookie, value="", max_age=0, path="/"))


@get("/account", include_in_schema=False)
async def account_page(request: _Request) -> Response[str]:
    """Where a person sets their password."""
    person = person_of(request)
    if person is None:
        raise Refused(401, "unauthorized", "log in first")
    return account_form(request)


@post("/account/password", include_in_schema=False, status_code=200)
async def set_password(request: _Request) -> Response[Any]:
    """Give the logged-in person a new password; all their sessions end but a new one."""
    person = person_of(request)
    if person is None or not caller_of(request).session:
        raise forbidden("only_a_person", "log in on this page first")
    services, form = services_of(request), await _form(request)
    try:
        await asyncio.to_thread(services.auth.set_password, person.name, form.get("password", ""))
    except AuthError as problem:
        raise bad_request(str(problem), "password") from None
    services.identifier.forget_session(caller_of(request).session)
    return await _open_session(services, request, person.name, "/")


def local_path(target: str) -> str:
    """A path on this server to go to after logging in; anything else becomes "/"."""
    is_local = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_local and target.isascii() and len(target) < 500 else "/"


async def _open_session(services: Services, request: _Request, name: str, target: str) -> Response[Any]:
    hours = services.settings.auth.session_hours
    secret = await asyncio.to_thread(services.auth.open_session, name, hours)
    services.metrics.logins.add("ok")
    is_tls = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
    cookie = Cookie(
        services.cookie, value=secret, max_age=int(hours * 3600), path="/", httponly=True, secure=is_tls, samesite="lax"
    )
    return _redirect(target, cookie)


async def _form(request: _Request) -> dict[str, str]:
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise Refused(415, "unsupported_media_type", "send a form (application/x-www-form-urlencoded)")
    try:
        return dict(parse_qsl((await request.body()).decode("utf-8"), keep_blank_values=True, max_num_fields=50))
    except ValueError:
        raise bad_request("the form can't be read") from None


def _redirect(target: str, cookie: Cookie) -> Response[Any]:
    return Response(b"", status_code=303, headers={"Location": target}, cookies=[cookie])


ROUTES = [login_page, login, link_page, use_link, logout, account_page, set_password]
