"""A new store for a test, once on SQLite and once on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.link import Link
from storage.postgres import PgStore
from storage.read import Reader
from storage.store import Store


@pytest.fixture(params=["sqlite", "postgres"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Store | PgStore:
    """The store, its tables made."""
    if request.param == "postgres":
        return PgStore(request.getfixturevalue("database"))
    store = Store(tmp_path)
    store.migrate()
    return store


@pytest.fixture
def link(stores: Store | PgStore) -> Iterator[Link]:
    """A connection to it."""
    yield from _lent(stores.connect)


@pytest.fixture
def projected(stores: Store | PgStore) -> Iterator[Link]:
    """A connection to where its projections are."""
    yield from _lent(stores.connect_projections if isinstance(stores, Store) else stores.connect)


@pytest.fixture
def reader(stores: Store | PgStore) -> Iterator[Reader]:
    """What pages read it with."""
    if isinstance(stores, Store):
        stores.connect_projections().close()
        found = Reader.open(stores.path)
    else:
        found = Reader(stores.read_engine())
    yield found
    found.close()


def _lent(connect: Callable[[], Link]) -> Iterator[Link]:
    connection = connect()
    yield connection
    connection.close()
