"""Chromium, and real servers on seeded stores: the real runtime, guard, login and pages, with a clock that stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from argon2 import PasswordHasher

from console.app import PEOPLE_FILE, create_app, wall_ms
from console.auth import AuthStore
from console.server import Server, listen
from governance.settings_types import Settings
from storage.people import open_people
from storage.read import Reader
from storage.store import Store
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.browser.seed import NOW_MS, SETTINGS, Seed, seed_morning
from tests.components import CHROMIUM

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install '.[test]'")

ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
SAID_OF_NO_SERVER = ("[object Event]", "htmx:sendError", "htmx:afterRequest")
PASSWORD = "correct horse battery"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(180))
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="Chromium is missing: apt-get install chromium"))


class Site:
    """A running console: its address, runtime and people."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        server = msgspec.structs.replace(settings.server, data_dir=str(folder))
        self.settings = msgspec.structs.replace(settings, server=server)
        self.clock = ManualClock(NOW_MS)
        self.runtime = Runtime(self.settings, clock=self.clock, with_ticker=False)
        self.runtime.start()
        self.auth = AuthStore(open_people(folder / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
        for name, role in (("maya", "operator"), ("jo", "operator"), ("tomas", "operator"), ("vera", "viewer")):
            self.auth.add_user(name, role, PASSWORD)
        self.reader = Reader.open(Store(folder).path)
        app = create_app(self.runtime, self.settings, self.reader, self.auth)
        self._server = Server(app, listen("127.0.0.1", 0))
        self.url = self._server.start()

    def stop_serving(self) -> None:
        """End the HTTP server alone."""
        self._server.stop()

    def close(self) -> None:
        """End everything."""
        self._server.stop()
        self.reader.close()
        self.runtime.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    # By module: as long as it runs, playwright's event loop counts as running in this thread, for every other test.
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def morning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The morning on which enrich-bot was stopped; tests only look at it."""
    folder = tmp_path_factory.mktemp("morning")
    seed_morning(folder)
    site = Site(folder, SETTINGS)
    yield site
    site.close()


@pytest.fixture
def site_of(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes a server of a test's own, on a morning with or without the stop, or on an empty store."""
    made: list[Site] = []

    def make(kind: str = "stop", settings: Settings = SETTINGS, seed: Callable[[Seed], None] | None = None) -> Site:
        folder = tmp_path / f"{kind}-{len(made)}"
        if kind == "empty":
            Seed(folder).write()
        else:
            seed_morning(folder, with_stop=kind == "stop")
        if seed is not None:
            more = Seed(folder)
            seed(more)
            more.write()
        made.append(Site(folder, settings))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def open_page(chromium: object) -> Iterator[Callable[..., object]]:
    """Opens a page and, when the test ends, checks that it asked nothing of other hosts and reported no error."""
    contexts = []
    asked: list[str] = []
    errors: list[str] = []
    expected: list[str] = []

    def open_(url: str, *, width: int = 1440, height: int = 900, scheme: str = "light", may_fail: str = "") -> object:
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        if may_fail:
            expected.extend((may_fail, *SAID_OF_NO_SERVER) if "ERR_" in may_fail else (may_fail,))
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda problem: errors.append(str(problem)))
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.goto(url, wait_until="load")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:"))] == []
    assert [said for said in errors if not any(part in said for part in expected)] == []


def log_in(page: object, site: Site, name: str = "maya", to: str = "/") -> None:
    """Log in through the form."""
    page.goto(f"{site.url}/login?next={to}")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{site.url}{to}")
