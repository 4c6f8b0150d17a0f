"""The store on PostgreSQL 13 or newer, for consoles on Kafka: several processes share one database."""

from storage.postgres.link import PgLink, lock_keys
from storage.postgres.store import PgStore
from storage.postgres.wire import Told, Wire, tell

__all__ = ["PgLink", "PgStore", "Told", "Wire", "lock_keys", "tell"]
