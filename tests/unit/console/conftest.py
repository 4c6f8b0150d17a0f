"""An application on a fake runtime, with people and tokens in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from litestar import Litestar
from litestar.testing import TestClient

from console import app as console_app
from console.app import PEOPLE_FILE, create_app, wall_ms
from console.auth import AuthStore
from governance.settings import parse_settings
from governance.settings_types import Settings
from storage.people import open_people
from storage.read import Reader
from storage.store import Store
from tests.unit.console.fakes import FakeRuntime

BASE = "https://127.0.0.1:8787"  # the test client has no loopback address, and passwords need that or TLS
PASSWORD = "correct horse battery"


@pytest.fixture(scope="session", autouse=True)
def _applications_share_their_routes() -> Iterator[None]:
    """Routes take a fifth of a second to make and hold nothing of a test: each application is a copy of one."""
    made = cache(console_app.create_routes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console_app, "create_routes", lambda: copy(made()))
        yield


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[..., Settings]:
    def make(**server: Any) -> Settings:
        overrides = {f"server.{name}": value for name, value in {"data_dir": str(tmp_path / "data"), **server}.items()}
        return parse_settings(None, {}, overrides)

    return make


@pytest.fixture
def settings(settings_of: Callable[..., Settings]) -> Settings:
    return settings_of()


@pytest.fixture
def auth(settings: Settings) -> AuthStore:
    store = AuthStore(open_people(Path(settings.server.data_dir) / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
    for name, role in (("maya", "operator"), ("jo", "operator"), ("vera", "viewer"), ("ada", "admin")):
        store.add_user(name, role, PASSWORD)
    return store


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A store with nothing in it; the fake runtime writes to none."""
    with Store(tmp_path_factory.mktemp("store")) as store:
        store.migrate()
        store.connect_projections().close()
        opened = Reader.open(store.path)
        yield opened
        opened.close()


@pytest.fixture
def app(runtime: FakeRuntime, settings: Settings, reader: Reader, auth: AuthStore) -> Litestar:
    return create_app(runtime, settings, reader, auth)


@pytest.fixture
def client(app: Litestar) -> Iterator[TestClient[Litestar]]:
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as made:
        yield made
