"""What was seen after a stop, and who obeys it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table

from storage.tables.base import CLUSTERED, Json, Ms, Serial, Text, key, metadata, number

outside_write = Table(
    "outside_write",
    metadata,
    key("key"),
    Column("event_id", Text, primary_key=True, comment="source and id of the CRM's event"),
    Column("kind", Text, nullable=False, comment="leaked, in_flight, shadow"),
    Column("agent_id", Text, nullable=False),
    Column("identity", Text, nullable=False, comment="who it was, as the CRM says"),
    Column("at_ms", Ms, nullable=False),
    Column("effect_ms", Ms, nullable=False),
    Column("object", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    Column("op", Text, nullable=False),
    Index(None, "key", "kind", "effect_ms"),
    Index(None, "at_ms"),
    comment="what the CRM told of an agent's identity, and no gate let pass",
    **CLUSTERED,
)

outside_count = Table(
    "outside_count",
    metadata,
    key("key"),
    key("kind"),
    Column("since_ms", Ms, primary_key=True, autoincrement=False, comment="the stop; of shadow writes ten minutes"),
    Column("number", BigInteger, nullable=False),
    Column("first_ms", Ms, nullable=False),
    Column("last_ms", Ms, nullable=False),
    **CLUSTERED,
)

unmatched_write = Table(
    "unmatched_write",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False),
    Column("due_ms", Ms, nullable=False),
    Column("body", Json, nullable=False, comment="a list of governance.containment.SeenWrite"),
    Index(None, "due_ms"),
    comment="changes by agents that still have time to get a decision",
)

crm_feed = Table(
    "crm_feed",
    metadata,
    key("tenant"),
    key("system"),
    Column("alive_ms", Ms, nullable=False, comment="the newest time of a change that it told of"),
    Column("heard_ms", Ms, nullable=False, comment="when it told that"),
    Column("gap_ms", Ms, comment="when it last said that it had lost changes"),
    Column("canary_sent_ms", Ms),
    Column("canary_back_ms", Ms, comment="when the newest canary came back"),
    Column("canary_error", Text),
    **CLUSTERED,
)

gate_beat = Table(
    "gate_beat",
    metadata,
    key("gate"),
    Column("at_ms", Ms, nullable=False),
    Column("obeys_ms", Ms, nullable=False, comment="the newest control decision that it obeys"),
    Column("trouble", Text, nullable=False, comment="why it denies all writes; empty when it does not"),
    **CLUSTERED,
)

revocation = Table(
    "revocation",
    metadata,
    key("id"),
    Column("key", Text, nullable=False),
    Column("credential", Text, nullable=False),
    Column("state", Text, nullable=False, comment="asked, done, failed"),
    Column("asked_ms", Ms, nullable=False),
    Column("done_ms", Ms),
    Column("by_kind", Text, nullable=False, comment="human, detector"),
    Column("by_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("result", Text, nullable=False),
    Index(None, "key", "asked_ms"),
    Index(None, "state", "asked_ms"),
    **CLUSTERED,
)

cancellation = Table(
    "cancellation",
    metadata,
    key("id"),
    Column("key", Text, nullable=False),
    Column("since_ms", Ms, nullable=False, comment="when the stop was decided"),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    Column("effect_ms", Ms, nullable=False, comment="when the agent set it up"),
    Column("reviewed_by", Text, nullable=False, comment="who approved it; empty: nobody"),
    Column("state", Text, nullable=False, comment="asked, cancelled, refused, impossible, gave_up"),
    Column("attempts", BigInteger, nullable=False, comment="since it was last asked for"),
    Column("asked_ms", Ms, nullable=False),
    Column("due_ms", Ms, nullable=False),
    Column("done_ms", Ms),
    Column("by_kind", Text, nullable=False, comment="human, detector"),
    Column("by_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("tries", Json, nullable=False, comment="a list of storage.cancellations.Try"),
    Index(None, "key", "since_ms"),
    Index(None, "state", "due_ms"),
    comment="what stopped agents had set up, and whether the CRM took it back",
    **CLUSTERED,
)

agent_value = Table(
    "agent_value",
    metadata,
    key("key"),
    Column("slot", BigInteger, primary_key=True, autoincrement=False, comment="a ring: the newest 4,096 of an agent"),
    Column("record", Text, nullable=False, comment="tenant and record in canonical spelling"),
    Column("field", Text, nullable=False, comment="empty: the record as a whole"),
    Column("before", BigInteger, nullable=False, comment="a hash"),
    Column("after", BigInteger, nullable=False, comment="a hash"),
    Column("at_ms", Ms, nullable=False),
    Index(None, "record"),
    comment="what agents wrote in the CRM of late, so that a person who changes it back is noticed",
    **CLUSTERED,
)

agent_value_count = Table(
    "agent_value_count",
    metadata,
    key("key"),
    number("changes"),
    number("told"),
    number("vals"),
    comment="of each agent: changes that the CRM's feed told of, how many were said in the log, and values so far",
    **CLUSTERED,
)
