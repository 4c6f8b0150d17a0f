"""The pages: server-rendered, see ``console.web.pages``. ``handlers`` is what ``console.app`` mounts."""

from __future__ import annotations

from typing import Any

from litestar.static_files import create_static_files_router

from console.services import Services
from console.web import export, forms, pages
from console.web.render import STATIC

route_handlers: list[Any] = [
    *pages.ROUTES,
    *forms.ROUTES,
    *export.ROUTES,
    create_static_files_router(
        path="/static", directories=[STATIC], include_in_schema=False, cache_control=None, name="static"
    ),
]


def handlers(services: Services) -> list[Any]:  # noqa: ARG001 - handlers find the services in the application's state
    """Every route of the pages."""
    return route_handlers
