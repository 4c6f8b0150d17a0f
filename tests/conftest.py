"""What tests of several folders share: a real PostgreSQL. Without its programs they are skipped, in CI they fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.components import MAY_SKIP

if TYPE_CHECKING:
    from tests.postgres import Postgres


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
