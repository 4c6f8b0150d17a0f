"""Opens the store that the settings name."""

from __future__ import annotations

from governance.settings_types import Settings
from storage.postgres import PgStore
from storage.store import Store


def open_store(settings: Settings) -> Store | PgStore:
    """The store of a console: PostgreSQL where ``[store] url`` says so, else SQLite in ``server.data_dir``."""
    if settings.store.url:
        return PgStore(settings.store.url, settings.store.password)
    return Store(settings.server.data_dir)
