"""How logging in looks: the form, the one-time link's button, the password. What it does is ``console.api.login``."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response

from console.web.frame import frame_of
from console.web.render import page

_Request = Request[Any, Any, Any]


def login_form(request: _Request, target: str = "/", error: str = "", status: int = 200) -> Response[str]:
    """The form for name and password; ``target`` is where it leads."""
    frame = frame_of(request, "")
    return page("login.html", status, frame=frame, clock=frame.clock, next=target, error=error, link="")


def link_form(request: _Request, secret: str) -> Response[str]:
    """A button that uses a one-time link; opening the page does nothing."""
    frame = frame_of(request, "")
    return page("login.html", frame=frame, clock=frame.clock, next="/", error="", link=secret)


def account_form(request: _Request) -> Response[str]:
    """Where a person sets their password and logs out."""
    frame = frame_of(request, "")
    return page("account.html", frame=frame, clock=frame.clock)
