"""A new store for a test."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.store import Store


@pytest.fixture
def link(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to it."""
    store = Store(tmp_path)
    store.migrate()
    connection = store.connect()
    yield connection
    connection.close()
