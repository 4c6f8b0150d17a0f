"""What the routes share, made once by ``console.app.create_app``."""

from __future__ import annotations

from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from msgspec import Struct, field

from console.auth import AuthStore, Identifier
from console.board import Boards
from console.observe import Observer
from console.ports import Runtime
from console.proxy.question import Drafts
from console.sse import Hub
from console.two import TwoPeople
from dashboards.metrics import Metrics
from events.codec import Limits
from governance.settings_types import Settings
from storage.read import Reader

STATE_KEY = "services"
LANE_KEY = "lane"


class Services(Struct, frozen=True, kw_only=True):
    """Runtime, settings, people, queries, metrics and the stream of changes. ``cookie`` is the session's name;
    ``drafts`` gives ids to records that are not there yet."""

    runtime: Runtime
    settings: Settings
    auth: AuthStore
    identifier: Identifier
    reader: Reader
    hub: Hub
    two: TwoPeople
    metrics: Metrics
    observer: Observer
    limits: Limits
    cookie: str
    is_open: bool
    drafts: Drafts = field(default_factory=Drafts)
    boards: Boards = field(default_factory=Boards)

    def now_ms(self) -> int:
        """The log's time now."""
        return self.runtime.now_ms()


def services_of(request: ASGIConnection[Any, Any, Any, Any]) -> Services:
    """The services of the application that a request came to."""
    return services_in(request.app)


def services_in(app: Litestar) -> Services:
    """The services of an application."""
    services = app.state[STATE_KEY]
    assert isinstance(services, Services)  # noqa: S101 - narrows a type; create_app put it there
    return services
