"""The store on PostgreSQL 13 or newer, for consoles on Kafka: several processes share one database."""

from storage.postgres.link import PgLink, lock_keys
from storage.postgres.store import PgStore

__all__ = ["PgLink", "PgStore", "lock_keys"]
