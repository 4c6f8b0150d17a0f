"""The pages: server-rendered, see ``console.web.pages``. ``route_handlers`` is what ``console.app`` mounts."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from litestar import Request, Response
from litestar.static_files import create_static_files_router

from console.errors import Refused
from console.web import alerts, approvals, delegation, drills, export, forms, models, outlook, pages, quality, verdicts
from console.web.render import STATIC

route_handlers: list[Any] = [
    *pages.ROUTES,
    *alerts.ROUTES,
    *forms.ROUTES,
    *approvals.ROUTES,
    *export.ROUTES,
    *outlook.ROUTES,
    *quality.ROUTES,
    *drills.ROUTES,
    *delegation.ROUTES,
    *models.ROUTES,
    *verdicts.ROUTES,
    create_static_files_router(
        path="/static", directories=[STATIC], include_in_schema=False, cache_control=None, name="static"
    ),
]


def problem_of(request: Request[Any, Any, Any], problem: Refused) -> Response[str] | None:
    """A refusal as a page, for a browser that asked for one; None where the answer is for a program."""
    is_page = "text/html" in request.headers.get("accept", "") and "hx-request" not in request.headers
    if not is_page or request.url.path.startswith(("/v1/", "/metrics", "/healthz", "/readyz", "/schema", "/static/")):
        return None
    if problem.status == 401:
        return Response("", status_code=303, headers={"Location": f"/login?next={quote(request.url.path)}"})
    return forms.problem_page(request, problem)
