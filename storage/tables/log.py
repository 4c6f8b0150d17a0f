"""What the log and the engine keep: segments, snapshots, positions."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table

from storage.tables.base import CLUSTERED, Json, Ms, Serial, Text, key, metadata

meta = Table(
    "meta",
    metadata,
    key("name"),
    Column("value", Text, nullable=False),
    comment="engine_id, topic_id:<topic>, created_ms, …",
)

log_segment = Table(
    "log_segment",
    metadata,
    key("topic"),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("base_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    Column("first_at_ms", Ms, nullable=False),
    Column("last_at_ms", Ms, nullable=False),
    Column("format", Integer, nullable=False),
    Column("blob", LargeBinary, nullable=False, comment="see storage.log"),
    Column("ids", LargeBinary, nullable=False, comment="16 bytes a record: hash of (source, id), hash of content"),
    **CLUSTERED,
)

snapshot = Table(
    "snapshot",
    metadata,
    key("stage"),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    key("key"),
    Column("next_offset", BigInteger, nullable=False),
    Column("topic_id", Text, nullable=False),
    Column("blob", LargeBinary, nullable=False),
    **CLUSTERED,
)

watermark = Table(
    "watermark",
    metadata,
    key("topic"),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("topic_id", Text, nullable=False),
    Column("next_offset", BigInteger, nullable=False, comment="everything below is judged and its outputs stored"),
    Column("resume_offset", BigInteger, nullable=False, comment="snapshots hold everything below"),
    Column("at_ms", Ms, nullable=False),
)

follow_position = Table(
    "follow_position",
    metadata,
    key("path"),
    Column("inode", BigInteger, nullable=False),
    Column("byte_offset", BigInteger, nullable=False),
    Column("line", BigInteger, nullable=False),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at_ms", Ms, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("origin", Json, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("tenant", Text, nullable=False, server_default="default"),
    Column("agent_id", Text),
    Column("state", Text, nullable=False, server_default="new", comment="new, redriven, dropped"),
    Column("redriven_ms", Ms),
    Column("letter_id", Text, comment="of the event that told it on Kafka, where it may come again"),
    Index(None, "state", "at_ms"),
    Index(None, "letter_id", unique=True),
)
