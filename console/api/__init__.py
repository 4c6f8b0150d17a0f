"""The HTTP API: ingest, gate, control, queries, health, and logging in."""
