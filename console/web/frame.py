"""From a request to the frame of its page: who asks, what time it is, how the engine is."""

from __future__ import annotations

from typing import Any

from litestar import Request

from console.auth import caller_of, csrf_token
from console.services import Services, services_of
from console.web.look import Demo, Engine, Frame, engine_of, who_of, zone_of
from console.web.words import Clock

_Request = Request[Any, Any, Any]
_PAGE_OF_PART = {"/parts/overview": "/", "/parts/agents": "/agents", "/parts/approvals": "/approvals"}


def frame_of(request: _Request, section: str) -> Frame:
    """The frame of a page in a section of the navigation."""
    services = services_of(request)
    demo = Demo.of(getattr(request.app.state, "demo", None))
    clock = Clock(services.now_ms(), zone_of(services.settings))
    caller = caller_of(request)
    person = caller.person
    who = who_of(person.name, person.role, person.may_act_as("operator")) if person else None
    return Frame(
        clock=clock,
        engine=_engine(services, clock, demo.speed if demo else 1.0),
        demo=demo,
        who=who,
        csrf=csrf_token(request),
        section=section,
        path=page_path(request.url.path),
        settings=services.settings,
        is_open=services.is_open,
    )


def _engine(services: Services, clock: Clock, speed: float) -> Engine:
    try:
        status = services.runtime.status()
    except Exception:
        status = None
    return engine_of(status, clock, speed)


def page_path(path: str) -> str:
    """The page that a part belongs to: where logging in leads back to."""
    if path in _PAGE_OF_PART:
        return _PAGE_OF_PART[path]
    if path.startswith("/parts/"):
        return path.removeprefix("/parts").removesuffix("/act")
    return path
