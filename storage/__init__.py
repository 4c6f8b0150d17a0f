"""The store: the log's segments, snapshots, control rows, outbox and read models, in SQLite or PostgreSQL."""
