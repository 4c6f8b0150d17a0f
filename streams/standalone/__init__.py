"""The embedded runtime: log, engine, authority and outbox in one process over one SQLite file."""
