"""Read models: what agents did, and deals."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, Table, text

from storage.tables.base import CLUSTERED, PROJECTION, Json, Ms, Text, key, metadata, number

action = Table(
    "action",
    metadata,
    key("key"),
    Column("at_ms", Ms, primary_key=True, autoincrement=False, comment="when the log took it"),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("effect_ms", Ms, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("kind", Text, nullable=False, comment="report, admission, change"),
    Column("action", Text, nullable=False),
    Column("object", Text),
    Column("record_ids", Json),
    Column("changes", Json, comment="record id → field → [before, after]"),
    Column("outcome", Text, nullable=False, comment="ok, error, denied; of an admission: admitted"),
    Column("error", Json),
    Column("records", Integer, nullable=False),
    Column("recipients", Integer, nullable=False),
    Column("is_external", Boolean, nullable=False),
    Column("authorized_by", Text),
    Column("trigger", Json),
    Column("reviewed_by", Text),
    Column("decision_id", Text),
    Column("deal_id", Text),
    Column("run_id", Text),
    Column("source", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    # One process with a log needs none of these: it knows repeated events and open admissions from memory, and drops
    # old rows agent by agent.
    Index(None, "at_ms", "offset").ddl_if("postgresql"),
    Index(None, "key", "event_id").ddl_if("postgresql"),
    Index(None, "decision_id", postgresql_where=text("decision_id IS NOT NULL")).ddl_if("postgresql"),
    **CLUSTERED,
    **PROJECTION,
)

action_record = Table(
    "action_record",
    metadata,
    key("tenant"),
    key("object"),
    key("record_id"),
    Column("at_ms", Ms, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False, comment="with at_ms and offset: the row in action"),
    **CLUSTERED,
    **PROJECTION,
)

agent = Table(
    "agent",
    metadata,
    key("key"),
    Column("tenant", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("agent_version", Text),
    Column("first_seen_ms", Ms, nullable=False),
    Column("last_seen_ms", Ms, nullable=False),
    Column("last_write_ms", Ms),
    Column("last_action", Text),
    number("actions"),
    number("records"),
    number("errors"),
    number("external"),
    number("admitted"),
    number("denied"),
    number("changes"),
    **PROJECTION,
)

agent_bin = Table(
    "agent_bin",
    metadata,
    key("key"),
    Column("bin_ms", Ms, primary_key=True, autoincrement=False, comment="start of five minutes"),
    number("actions"),
    number("records"),
    number("errors"),
    number("denied"),
    number("admitted"),
    number("changes"),
    Column("expected", Float, comment="of the rate detector, when it has an opinion"),
    Column("limit", Float),
    **CLUSTERED,
    **PROJECTION,
)

deal = Table(
    "deal",
    metadata,
    key("key"),
    Column("tenant", Text, nullable=False),
    Column("deal_id", Text, nullable=False),
    Column("manager_id", Text),
    Column("owner_id", Text),
    Column("name", Text),
    Column("account", Text),
    Column("amount_minor", BigInteger),
    Column("currency", Text),
    Column("stage", Text),
    Column("close_date", Text),
    Column("link", Text),
    Column("is_open", Boolean),
    Column("recommended_action", Text),
    Column("p_lost", Float),
    Column("p_lost_14d", Float),
    Column("p_slip", Float),
    Column("p_won_by", Json),
    Column("band", Text),
    Column("base", Float),
    Column("reasons", Json),
    Column("model", Json),
    Column("at_ms", Ms, nullable=False),
    Column("offset", BigInteger),
    Index(None, "manager_id", "p_lost"),
)

deal_score = Table(
    "deal_score",
    metadata,
    key("key"),
    Column("at_ms", Ms, primary_key=True, autoincrement=False),
    key("id"),
    Column("offset", BigInteger, nullable=False),
    Column("p_lost", Float, nullable=False),
    Column("p_lost_14d", Float, nullable=False),
    Column("p_slip", Float, nullable=False),
    Column("band", Text, nullable=False),
    Column("base", Float, nullable=False),
    Column("reasons", Json, nullable=False),
    Column("cause", Text, nullable=False),
    **CLUSTERED,
)

top = Table(
    "top",
    metadata,
    Column("key", Text, primary_key=True, comment="tenant/manager"),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("manager_id", Text, nullable=False),
    Column("deal_id", Text, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Column("body", Json, nullable=False, comment="an Alert"),
)

alert = Table(
    "alert",
    metadata,
    key("id"),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("manager_id", Text, nullable=False),
    Column("deal_id", Text, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Column("state", Text, nullable=False, server_default="new", comment="new, seen, dismissed"),
    Column("body", Json, nullable=False),
    Index(None, "key", "at_ms"),
    Index(None, "deal_id", "at_ms"),
)

alert_verdict = Table(
    "alert_verdict",
    metadata,
    key("alert_id"),
    key("by_id"),
    Column("verdict", Text, nullable=False, comment="useful, known or wrong"),
    Column("key", Text, nullable=False, comment="tenant/manager of the alert"),
    Column("kind", Text, nullable=False, comment="of the alert"),
    Column("deal_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Index(None, "at_ms"),
    **CLUSTERED,
)

close_out = Table(
    "close_out",
    metadata,
    Column("key", Text, primary_key=True, comment="tenant/manager"),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("manager_id", Text, nullable=False),
    Column("deal_id", Text, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Column("body", Json, nullable=False, comment="an Alert"),
    **CLUSTERED,
)

deal_quality = Table(
    "deal_quality",
    metadata,
    key("tenant"),
    Column("day", Text, primary_key=True, comment="YYYY-MM-DD"),
    Column("scope", Text, primary_key=True, comment="all, team or owner"),
    key("name"),
    Column("score", Float, nullable=False, comment="0 to 100"),
    Column("deals", Integer, nullable=False),
    Column("flaws", Integer, nullable=False),
    **CLUSTERED,
)

model = Table(
    "model",
    metadata,
    key("hash"),
    Column("kind", Text, nullable=False),
    Column("added_ms", Ms, nullable=False),
    Column("by_id", Text, nullable=False),
    Column("body", Json, nullable=False, comment="a scoring.training.card.ModelFile"),
    **CLUSTERED,
)

model_use = Table(
    "model_use",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False, comment="scorecard: the hand scorecard"),
    Column("at_ms", Ms, nullable=False),
    Column("by_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("forced", Boolean, nullable=False, comment="although it was not shown to be better"),
    **CLUSTERED,
)

projection = Table(
    "projection",
    metadata,
    key("topic"),
    Column("topic_id", Text, nullable=False),
    Column("next_offset", BigInteger, nullable=False, comment="the rows above hold everything below"),
    Column("version", Integer, nullable=False),
    **PROJECTION,
)
