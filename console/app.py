"""Puts the console together: routes, the guard in front of them, login, metrics and the stream of changes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ExceptionHandlersMap

from console import web
from console.api import (
    alerts,
    approvals,
    budget,
    containment,
    control,
    dead_letters,
    delegation,
    drills,
    events,
    ext_authz,
    forecast,
    gate,
    health,
    leases,
    login,
    models,
    pipeline,
    policy,
    quality,
    queries,
    stream,
    widenings,
)
from console.auth import AuthStore, Identifier, Throttle
from console.errors import Refused
from console.failures import refusal_of
from console.hot import HotRoute
from console.lane import Lane
from console.observe import Observer, listener
from console.ports import Runtime
from console.security import Guard, GuardConfig, is_loopback, restore_slashes
from console.services import LANE_KEY, STATE_KEY, Services
from console.sse import Hub
from console.two import TwoPeople
from dashboards.metrics import Labels, Metrics
from dashboards.registry import version
from detectors.discovery import discover
from events.codec import BadReason, Limits
from governance.gate import Rule
from governance.settings_types import Settings
from storage.people import open_people
from storage.read import Reader
from streams.standalone.types import ENGINE_REASONS

PEOPLE_FILE = "people.db"
OTHER_FINDERS = ("common_cause", "event_identity", "gate")
"""What else than a detector makes findings."""
HTTP_CODES = (
    "bad_request", "busy", "csrf", "foreign_origin", "missing_role", "missing_scope", "not_available", "not_yours",
    "only_a_person", "too_large", "too_many_failures", "too_slow", "unauthorized", "unknown_host",
    "unsupported_media_type",
)  # fmt: skip


def create_app(runtime: Runtime, settings: Settings, reader: Reader, auth: AuthStore | None = None) -> Litestar:
    """The console's ASGI application.

    Parameters: ``runtime`` runs already; ``reader`` reads the same store; ``auth`` by default opens ``people.db`` in
    the data folder.
    """
    return connect(create_routes(), runtime, settings, reader, auth)


def create_routes() -> Litestar:
    """All routes, and nothing behind them yet: the larger part of the time that an application takes to make."""
    return Litestar(
        route_handlers=[*_api_routes(), *web.route_handlers],
        openapi_config=_openapi(),
        exception_handlers=_HANDLERS,
        request_max_body_size=None,  # the guard has read the body, within its limits
        logging_config=None,
        debug=False,
        middleware=[restore_slashes],
    )


def connect(
    app: Litestar, runtime: Runtime, settings: Settings, reader: Reader, auth: AuthStore | None = None
) -> Litestar:
    """The same application, with these behind its routes and the guard before them. Parameters: as of create_app."""
    services = make_services(runtime, settings, reader, auth or open_auth(settings))
    config = GuardConfig(
        is_open=services.is_open,
        allowed_hosts=frozenset(host.lower() for host in settings.server.allowed_hosts),
        max_body_bytes=settings.server.max_body_bytes,
        cookie=services.cookie,
    )
    hot: dict[str, HotRoute] = {gate.PATH: gate.hot_route(services), events.PATH: events.hot_route(services)}
    guard = Guard(app.asgi_handler, config, services.identifier, services.metrics.http_refused.add, hot)
    app.asgi_handler = guard
    app.state = State({STATE_KEY: services, LANE_KEY: Lane(guard, hot)})
    runtime.subscribe(listener(services.metrics, services.hub))
    return app


def make_services(runtime: Runtime, settings: Settings, reader: Reader, auth: AuthStore) -> Services:
    """What the routes share."""
    is_open, hub, metrics = tokens_are_optional(settings), Hub(), make_metrics(settings)
    return Services(
        runtime=runtime,
        settings=settings,
        auth=auth,
        identifier=Identifier(auth, Throttle(settings.auth.max_failed_logins, wall_ms), is_open, wall_ms),
        reader=reader,
        hub=hub,
        two=TwoPeople(wall_ms),
        metrics=metrics,
        observer=Observer(metrics, runtime, reader, hub, settings),
        limits=Limits(max_event_bytes=settings.server.max_event_bytes, max_body_bytes=settings.server.max_body_bytes),
        cookie=f"tripline_{settings.server.port}",
        is_open=is_open,
    )


def make_metrics(settings: Settings) -> Metrics:
    """Metrics whose label values are those that this configuration can give."""
    labels = Labels(
        refusal_reasons=[*map(str, BadReason), *ENGINE_REASONS],
        http_codes=HTTP_CODES,
        detectors=[*sorted(discover()), *OTHER_FINDERS],
        gate_rules=[*(rule.value for rule in Rule), gate.NOT_AVAILABLE],
        channels=["log", *(target.name for target in settings.notifications.targets)],
    )
    return Metrics(labels, version())


def open_auth(settings: Settings) -> AuthStore:
    """People and tokens: on PostgreSQL where the settings name a database, else of their data folder.

    Raises StoreError when the database can't be used.
    """
    if settings.store.url:
        from storage.postgres import PgStore  # noqa: PLC0415 - its driver is not needed elsewhere

        store = PgStore(settings.store.url, settings.store.password)
        store.migrate()
        return AuthStore(store.engine(), wall_ms)
    return AuthStore(open_people(Path(settings.server.data_dir) / PEOPLE_FILE), wall_ms)


def tokens_are_optional(settings: Settings) -> bool:
    """True when callers on this machine need no token: the server listens on loopback and the settings allow it."""
    return settings.server.require_tokens != "always" and is_loopback(settings.server.host)


def wall_ms() -> int:
    """The wall clock: sessions and tokens expire by it, whatever the log's clock does."""
    return time.time_ns() // 1_000_000


def _api_routes() -> list[Any]:
    modules = (
        events, gate, ext_authz, leases, drills, control, approvals, queries, containment, alerts, forecast, quality,
        models, dead_letters, pipeline, budget, widenings, policy, delegation, health, stream, login,
    )  # fmt: skip
    return [route for module in modules for route in module.ROUTES]


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Tripline",
        version=version(),
        description="Live guardrails for AI agents that act in a CRM, and live risk on every open deal.",
        path="/schema",
        render_plugins=[JsonRenderPlugin(path="/openapi.json"), YamlRenderPlugin(path="/openapi.yaml")],
        components=Components(
            security_schemes={
                "token": SecurityScheme(type="http", scheme="bearer", description="An API token."),
                "person": SecurityScheme(type="http", scheme="basic", description="A person, over TLS or loopback."),
            }
        ),
    )


def _refused(request: Request[Any, Any, Any], problem: Refused) -> Response[Any]:
    drawn = web.problem_of(request, problem)
    if drawn is not None:
        return drawn
    return Response(problem.body(), status_code=problem.status, headers=problem.headers, media_type="application/json")


def _http_problem(request: Request[Any, Any, Any], problem: HTTPException) -> Response[Any]:
    extra: dict[str, Any] = {}
    detail = problem.detail
    if isinstance(problem.extra, list) and problem.extra and isinstance(problem.extra[0], dict):
        extra["field"] = problem.extra[0].get("key")
        detail = f"{extra['field']}: {problem.extra[0].get('message')}"
    code = {404: "not_found", 405: "method_not_allowed"}.get(problem.status_code, "bad_request")
    refused = Refused(problem.status_code, code, detail or code, extra, problem.headers)
    return _refused(request, refused)


def _failed(request: Request[Any, Any, Any], problem: Exception) -> Response[Any]:
    return _refused(request, refusal_of(problem, request.url.path))


_HANDLERS: ExceptionHandlersMap = {
    Refused: _refused,
    HTTPException: _http_problem,
    Exception: _failed,
}
