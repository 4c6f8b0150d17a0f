"""What tests of several folders share: a real PostgreSQL. Without its programs they are skipped, in CI they fail."""

from __future__ import annotations

from collections.abc import Iterator
from shutil import copyfile
from typing import TYPE_CHECKING

import pytest

from storage.store import Store
from tests.components import MAY_SKIP
from tests.skips import pytest_runtest_logreport, pytest_sessionfinish, pytest_terminal_summary

if TYPE_CHECKING:
    from tests.postgres import Postgres

__all__ = ["pytest_runtest_logreport", "pytest_sessionfinish", "pytest_terminal_summary"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests of this process; restart and break one of your own instead."""
    from tests.postgres import NoPostgres, Postgres  # noqa: PLC0415 - loads the driver, which few tests need

    try:
        server = Postgres()
        server.start()
    except NoPostgres as problem:
        if not MAY_SKIP:
            raise
        pytest.skip(str(problem))
    yield server
    server.close()


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The address of a database with the store's tables, all empty."""
    url = postgres.database()
    yield url
    postgres.give_back(url)


@pytest.fixture(scope="session", autouse=True)
def _new_stores_are_copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A new store is a copy of one that the migrations made, which take a tenth of a second; older ones take them."""
    made = Store.migrate
    pattern = Store(tmp_path_factory.mktemp("pattern"))

    def migrate(self: Store) -> None:
        if self.path.exists():
            made(self)
            return
        if not pattern.path.exists():
            made(pattern)
        copyfile(pattern.path, self.path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "migrate", migrate)
        yield
