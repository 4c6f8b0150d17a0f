"""Who may act: control, what is to be told, findings and what people say of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, text

from storage.tables.base import CLUSTERED, Json, Ms, Serial, Text, key, metadata

control = Table(
    "control",
    metadata,
    Column("key", Text, primary_key=True, comment="tenant/agent; tenant/* stops all"),
    Column("agent_id", Text, nullable=False),
    Column("state", Text, nullable=False, comment="active, throttled, held, suspended, releasing"),
    Column("epoch", BigInteger, nullable=False),
    Column("last_release_epoch", BigInteger, nullable=False, server_default=text("0")),
    Column("at_ms", Ms, nullable=False),
    Column("by_kind", Text, nullable=False),
    Column("by_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("finding_id", Text),
    Column("expires_ms", Ms),
    Column("release_offset", BigInteger, comment="while releasing: active once the engine judged this offset"),
)

control_history = Table(
    "control_history",
    metadata,
    key("key"),
    Column("seq", Serial, primary_key=True, autoincrement=False),
    Column("agent_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("state", Text, nullable=False, comment="state after it"),
    Column("wanted", Text, nullable=False, comment="what was asked for"),
    Column("changed", Boolean, nullable=False),
    Column("why", Text, nullable=False, comment="the decision's reason code"),
    Column("at_ms", Ms, nullable=False, comment="log time of the cause"),
    Column("decided_ms", Ms, nullable=False),
    Column("by_kind", Text, nullable=False),
    Column("by_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("finding_id", Text),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True, comment="idempotency key: an output id"),
    Column("kind", Text, nullable=False, comment="control or notification"),
    Column("key", Text, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Column("created_ms", Ms, nullable=False),
    Column("body", Text, nullable=False, comment="the event as JSON"),
    Column("state", Text, nullable=False, server_default="new", comment="new, sent, failed, dropped"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_try_ms", Ms, nullable=False, server_default=text("0")),
    Column("done_ms", Ms),
    Column("error", Text),
    Index(None, "state", "next_try_ms"),
)

publication = Table(
    "publication",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False, comment="decision, admission or letter"),
    Column("topic", Text, nullable=False, comment="without the prefix"),
    Column("key", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("body", LargeBinary, nullable=False, comment="the record's value"),
    Column("created_ms", Ms, nullable=False),
    comment="decided here and to be written to Kafka; of one key the numbers grow with the order of deciding",
)

notification = Table(
    "notification",
    metadata,
    Column("outbox_seq", BigInteger, primary_key=True, autoincrement=False),
    key("target"),
    Column("at_ms", Ms, nullable=False),
    Column("state", Text, nullable=False, comment="sent, failed, skipped"),
    Column("attempts", Integer, nullable=False),
    Column("accepted_ms", Ms),
    Column("error", Text),
)

finding = Table(
    "finding",
    metadata,
    key("id"),
    Column("key", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Column("offset", BigInteger, nullable=False, comment="end of the log when it was stored"),
    Column("detector", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("action_taken", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("status", Text, nullable=False, comment="shadow, noted, applied, recorded"),
    Column("body", Json, nullable=False, comment="the whole event"),
    Index(None, "key", "at_ms"),
    Index(None, "at_ms"),
)

widening = Table(
    "widening",
    metadata,
    key("id"),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False, comment="mute or expected"),
    Column("state", Text, nullable=False, comment="waiting, agreed, ended"),
    Column("asked_ms", Ms, nullable=False),
    Column("until_ms", Ms, nullable=False),
    Column("body", Json, nullable=False, comment="a governance.widening.Widening"),
    Index(None, "key", "until_ms"),
    Index(None, "until_ms"),
    comment="what takes two people and ends by itself; nothing is taken out",
    **CLUSTERED,
)

finding_verdict = Table(
    "finding_verdict",
    metadata,
    key("finding_id"),
    Column("verdict", Text, primary_key=True, comment="wrong or expected"),
    Column("key", Text, nullable=False),
    Column("detector", Text, nullable=False),
    Column("by_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Index(None, "at_ms"),
    **CLUSTERED,
)

drill = Table(
    "drill",
    metadata,
    key("id"),
    Column("at_ms", Ms, nullable=False),
    Column("scenario", Text, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("body", Json, nullable=False, comment="a governance.drills.DrillResult"),
    Index(None, "at_ms"),
    **CLUSTERED,
)

policy_version = Table(
    "policy_version",
    metadata,
    key("hash"),
    Column("at_ms", Ms, nullable=False, comment="when it was first seen"),
    Column("origin", Text, nullable=False, comment="file, or both: what two versions both allow"),
    Column("body", Json, nullable=False, comment="a governance.policy.model.Policy"),
    comment="every version of the policy that was in force or asked for; nothing is taken out",
)

policy_force = Table(
    "policy_force",
    metadata,
    key("tenant"),
    Column("base", Text, nullable=False, comment="the version that holds without an end"),
    Column("wide", Text, nullable=False, comment="the wider one that two people agreed to; empty: none"),
    Column("until_ms", Ms, nullable=False, comment="the end of the wider one"),
    Column("change_id", Text, nullable=False, comment="the widening that it came by"),
    Column("at_ms", Ms, nullable=False),
    **CLUSTERED,
)

attestation = Table(
    "attestation",
    metadata,
    key("item"),
    Column("at_ms", Ms, primary_key=True, autoincrement=False),
    Column("by_id", Text, nullable=False),
    Column("note", Text, nullable=False),
    comment="what people stated of readiness; nothing is taken out",
    **CLUSTERED,
)
