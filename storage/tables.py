"""The tables of the store, as SQLAlchemy Core; types are those that SQLite and PostgreSQL both have.

Times are integer milliseconds since 1970 (``_ms``), money is in minor units (``_minor``), and columns that hold a
list or an object carry it as JSON text. A state key is ``tenant/agent``, ``tenant/deal`` or ``tenant/manager``.

Columns that everybody must agree on:

- ``action.kind``: ``report`` (the agent said so), ``admission`` (the gate let it pass; replaced by the report that
  names its ``decision_id``), ``change`` (the CRM's own change feed saw this agent's identity).
- ``agent_bin`` counts attempts: admissions, and reports that name no admission; ``changes`` counts feed changes.
- ``action``, ``action_record``, ``agent`` and ``agent_bin`` are projections of the log: under load they follow it by a
  few seconds at most; their position is in ``projection``.
- ``gate_decision`` and ``gate_agent`` follow the gate by some hundredths of a second under load; what is decided and
  not there yet is in ``gate_unfiled``.
- ``finding.status``: what the authority did with it, see ``governance.control``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    text,
)
from sqlalchemy import Text as AnyText

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)

Text = AnyText().with_variant(AnyText(collation="C"), "postgresql")
"""Text that is compared byte by byte, as SQLite does: the keys of a tenant lie between ``tenant/`` and ``tenant0``."""
Ms = BigInteger
Json = Text
Serial = BigInteger().with_variant(Integer, "sqlite")
"""A counter that the database gives out; SQLite only counts columns of type INTEGER."""

_CLUSTERED: dict[str, Any] = {"sqlite_with_rowid": False}
_PROJECTED: dict[str, Any] = {"info": {"projected": True}}
"""A projection of the log alone: it can be dropped and made again. In SQLite it lives in a file of its own."""


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _number(name: str, default: int = 0) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text(str(default)))


meta = Table(
    "meta",
    metadata,
    _key("name"),
    Column("value", Text, nullable=False),
    comment="engine_id, topic_id:<topic>, created_ms, …",
)

# --- the log ---------------------------------------------------------------------------------------------------

log_segment = Table(
    "log_segment",
    metadata,
    _key("topic"),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("base_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    Column("first_at_ms", Ms, nullable=False),
    Column("last_at_ms", Ms, nullable=False),
    Column("format", Integer, nullable=False),
    Column("blob", LargeBinary, nullable=False, comment="see storage.log"),
    Column("ids", LargeBinary, nullable=False, comment="16 bytes a record: hash of (source, id), hash of content"),
    **_CLUSTERED,
)

snapshot = Table(
    "snapshot",
    metadata,
    _key("stage"),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    _key("key"),
    Column("next_offset", BigInteger, nullable=False),
    Column("topic_id", Text, nullable=False),
    Column("blob", LargeBinary, nullable=False),
    **_CLUSTERED,
)

watermark = Table(
    "watermark",
    metadata,
    _key("topic"),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("topic_id", Text, nullable=False),
    Column("next_offset", BigInteger, nullable=False, comment="everything below is judged and its outputs stored"),
    Column("resume_offset", BigInteger, nullable=False, comment="snapshots hold everything below"),
    Column("at_ms", Ms, nullable=False),
)

follow_position = Table(
    "follow_position",
    metadata,
    _key("path"),
    Column("inode", BigInteger, nullable=False),
    Column("byte_offset", BigInteger, nullable=False),
    Column("line", BigInteger, nullable=False),
)

# --- control ---------------------------------------------------------------------------------------------------

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
    _key("key"),
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
    _key("target"),
    Column("at_ms", Ms, nullable=False),
    Column("state", Text, nullable=False, comment="sent, failed, skipped"),
    Column("attempts", Integer, nullable=False),
    Column("accepted_ms", Ms),
    Column("error", Text),
)

finding = Table(
    "finding",
    metadata,
    _key("id"),
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
    _key("id"),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False, comment="mute or expected"),
    Column("state", Text, nullable=False, comment="waiting, agreed, ended"),
    Column("asked_ms", Ms, nullable=False),
    Column("until_ms", Ms, nullable=False),
    Column("body", Json, nullable=False, comment="a governance.widening.Widening"),
    Index(None, "key", "until_ms"),
    Index(None, "until_ms"),
    comment="what takes two people and ends by itself; nothing is taken out",
    **_CLUSTERED,
)

finding_verdict = Table(
    "finding_verdict",
    metadata,
    _key("finding_id"),
    Column("verdict", Text, primary_key=True, comment="wrong or expected"),
    Column("key", Text, nullable=False),
    Column("detector", Text, nullable=False),
    Column("by_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Index(None, "at_ms"),
    **_CLUSTERED,
)

gate_decision = Table(
    "gate_decision",
    metadata,
    _key("decision_id"),
    Column("key", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Column("offset", BigInteger, comment="of the admission in agent.actions"),
    Column("seq", BigInteger, comment="counts the agent's admissions without a gap"),
    Column("decision", Text, nullable=False, comment="allow, hold, deny"),
    Column("rule", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text),
    Column("record_ids", Json),
    Column("changes", Json),
    Column("recipient_ids", Json),
    Column("records", Integer, nullable=False),
    Column("recipients", Integer, nullable=False),
    Column("authorized_by", Text),
    Column("trigger", Json),
    Column("request_id", Text),
    Column("content_hash", Text, comment="of the request, where it has a request id"),
    Column("policy", Text, comment="version of the policy in force, where there was one"),
    Index(None, "key", "at_ms"),
    Index(None, "key", "request_id", "at_ms"),
    **_CLUSTERED,
)

gate_unfiled = Table(
    "gate_unfiled",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=False),
    Column("blob", LargeBinary, nullable=False, comment="rows of gate_decision, see storage.gate"),
    comment="under load: durable decisions that are not in gate_decision yet",
)

gate_agent = Table(
    "gate_agent",
    metadata,
    _key("key"),
    Column("seq", BigInteger, nullable=False, comment="admissions so far"),
    **_CLUSTERED,
)

known_contact = Table(
    "known_contact",
    metadata,
    _key("tenant"),
    _key("contact_id"),
    Column("first_ms", Ms, nullable=False),
    **_CLUSTERED,
)

known_record = Table(
    "known_record",
    metadata,
    _key("tenant"),
    _key("record_id"),
    _key("what"),
    Column("value", Text, comment="null: it is known that the source lost it"),
    Column("at_ms", Ms, nullable=False, comment="of the event; an older one changes nothing"),
    comment="owner and segment of records as the CRM said last, in canonical ids; kept while a policy is set",
    **_CLUSTERED,
)

consent = Table(
    "consent",
    metadata,
    _key("tenant"),
    _key("contact_id"),
    _key("channel"),
    _key("purpose"),
    Column("status", Text, nullable=False, comment="granted, denied, withdrawn"),
    Column("at_ms", Ms, nullable=False, comment="from when on it holds"),
    **_CLUSTERED,
)

approval = Table(
    "approval",
    metadata,
    _key("id"),
    Column("key", Text, nullable=False),
    Column("state", Text, nullable=False, comment="see governance.approvals"),
    Column("hash", Text, nullable=False, comment="what it is bound to"),
    Column("asked_hash", Text, nullable=False, comment="what the agent asked"),
    Column("asked_ms", Ms, nullable=False),
    Column("expires_ms", Ms, nullable=False),
    Column("answered_by", Text, nullable=False),
    Column("answered_ms", Ms),
    Column("body", Json, nullable=False, comment="a governance.approvals.Approval"),
    Index(None, "key", "state"),
    Index(None, "state", "expires_ms"),
    Index(None, "answered_by", "answered_ms"),
    **_CLUSTERED,
)

approval_record = Table(
    "approval_record",
    metadata,
    _key("tenant"),
    _key("record_id"),
    _key("approval_id"),
    comment="which records open approvals are about",
    **_CLUSTERED,
)

approval_history = Table(
    "approval_history",
    metadata,
    _key("approval_id"),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", Ms, nullable=False),
    Column("state_before", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("by_kind", Text, nullable=False, comment="human, agent, system"),
    Column("by_id", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("hash", Text, nullable=False, comment="what it was bound to afterwards"),
    **_CLUSTERED,
)

lease = Table(
    "lease",
    metadata,
    _key("lease_id"),
    Column("key", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("content_hash", Text, nullable=False, comment="of the request for it"),
    Column("is_open", Boolean, nullable=False, comment="not given back"),
    Column("end_ms", Ms, nullable=False),
    Column("body", Json, nullable=False, comment="a governance.lease_types.Lease"),
    Index(None, "key", "end_ms"),
    Index(None, "key", "request_id"),
    **_CLUSTERED,
)

lease_debit = Table(
    "lease_debit",
    metadata,
    _key("lease_id"),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("at_ms", Ms, nullable=False, comment="when it was reported"),
    Column("action", Text, nullable=False),
    Column("record_ids", Json, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("outcome_ms", Ms, comment="when its outcome was reported"),
    Index(None, "key", "at_ms"),
    comment="what was done under leases and is not settled: judged, with an outcome",
    **_CLUSTERED,
)

lease_override = Table(
    "lease_override",
    metadata,
    _key("key"),
    Column("at_ms", Ms, primary_key=True, autoincrement=False),
    Column("until_ms", Ms, nullable=False),
    Column("by_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    comment="people who let a blind agent go on for a while; nothing is taken out",
    **_CLUSTERED,
)

# --- containment -----------------------------------------------------------------------------------------------

outside_write = Table(
    "outside_write",
    metadata,
    _key("key"),
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
    **_CLUSTERED,
)

outside_count = Table(
    "outside_count",
    metadata,
    _key("key"),
    _key("kind"),
    Column("since_ms", Ms, primary_key=True, autoincrement=False, comment="the stop; of shadow writes ten minutes"),
    Column("number", BigInteger, nullable=False),
    Column("first_ms", Ms, nullable=False),
    Column("last_ms", Ms, nullable=False),
    **_CLUSTERED,
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
    _key("tenant"),
    _key("system"),
    Column("alive_ms", Ms, nullable=False, comment="the newest time of a change that it told of"),
    Column("heard_ms", Ms, nullable=False, comment="when it told that"),
    Column("gap_ms", Ms, comment="when it last said that it had lost changes"),
    Column("canary_sent_ms", Ms),
    Column("canary_back_ms", Ms, comment="when the newest canary came back"),
    Column("canary_error", Text),
    **_CLUSTERED,
)

gate_beat = Table(
    "gate_beat",
    metadata,
    _key("gate"),
    Column("at_ms", Ms, nullable=False),
    Column("obeys_ms", Ms, nullable=False, comment="the newest control decision that it obeys"),
    Column("trouble", Text, nullable=False, comment="why it denies all writes; empty when it does not"),
    **_CLUSTERED,
)

revocation = Table(
    "revocation",
    metadata,
    _key("id"),
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
    **_CLUSTERED,
)

drill = Table(
    "drill",
    metadata,
    _key("id"),
    Column("at_ms", Ms, nullable=False),
    Column("scenario", Text, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("body", Json, nullable=False, comment="a governance.drills.DrillResult"),
    Index(None, "at_ms"),
    **_CLUSTERED,
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

# --- read models -----------------------------------------------------------------------------------------------

action = Table(
    "action",
    metadata,
    _key("key"),
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
    **_CLUSTERED,
    **_PROJECTED,
)

action_record = Table(
    "action_record",
    metadata,
    _key("tenant"),
    _key("object"),
    _key("record_id"),
    Column("at_ms", Ms, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False, comment="with at_ms and offset: the row in action"),
    **_CLUSTERED,
    **_PROJECTED,
)

agent = Table(
    "agent",
    metadata,
    _key("key"),
    Column("tenant", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("agent_version", Text),
    Column("first_seen_ms", Ms, nullable=False),
    Column("last_seen_ms", Ms, nullable=False),
    Column("last_write_ms", Ms),
    Column("last_action", Text),
    _number("actions"),
    _number("records"),
    _number("errors"),
    _number("external"),
    _number("admitted"),
    _number("denied"),
    _number("changes"),
    **_PROJECTED,
)

agent_bin = Table(
    "agent_bin",
    metadata,
    _key("key"),
    Column("bin_ms", Ms, primary_key=True, autoincrement=False, comment="start of five minutes"),
    _number("actions"),
    _number("records"),
    _number("errors"),
    _number("denied"),
    _number("admitted"),
    _number("changes"),
    Column("expected", Float, comment="of the rate detector, when it has an opinion"),
    Column("limit", Float),
    **_CLUSTERED,
    **_PROJECTED,
)

deal = Table(
    "deal",
    metadata,
    _key("key"),
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
    _key("key"),
    Column("at_ms", Ms, primary_key=True, autoincrement=False),
    _key("id"),
    Column("offset", BigInteger, nullable=False),
    Column("p_lost", Float, nullable=False),
    Column("p_lost_14d", Float, nullable=False),
    Column("p_slip", Float, nullable=False),
    Column("band", Text, nullable=False),
    Column("base", Float, nullable=False),
    Column("reasons", Json, nullable=False),
    Column("cause", Text, nullable=False),
    **_CLUSTERED,
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
    _key("id"),
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
    _key("alert_id"),
    _key("by_id"),
    Column("verdict", Text, nullable=False, comment="useful, known or wrong"),
    Column("key", Text, nullable=False, comment="tenant/manager of the alert"),
    Column("kind", Text, nullable=False, comment="of the alert"),
    Column("deal_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Index(None, "at_ms"),
    **_CLUSTERED,
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
    **_CLUSTERED,
)

deal_quality = Table(
    "deal_quality",
    metadata,
    _key("tenant"),
    Column("day", Text, primary_key=True, comment="YYYY-MM-DD"),
    Column("scope", Text, primary_key=True, comment="all, team or owner"),
    _key("name"),
    Column("score", Float, nullable=False, comment="0 to 100"),
    Column("deals", Integer, nullable=False),
    Column("flaws", Integer, nullable=False),
    **_CLUSTERED,
)

model = Table(
    "model",
    metadata,
    _key("hash"),
    Column("kind", Text, nullable=False),
    Column("added_ms", Ms, nullable=False),
    Column("by_id", Text, nullable=False),
    Column("body", Json, nullable=False, comment="a scoring.training.card.ModelFile"),
    **_CLUSTERED,
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
    **_CLUSTERED,
)

projection = Table(
    "projection",
    metadata,
    _key("topic"),
    Column("topic_id", Text, nullable=False),
    Column("next_offset", BigInteger, nullable=False, comment="the rows above hold everything below"),
    Column("version", Integer, nullable=False),
    **_PROJECTED,
)

PROJECTED = [table for table in metadata.sorted_tables if table.info.get("projected")]
"""Tables that the log alone can make again."""
STORED = [table for table in metadata.sorted_tables if not table.info.get("projected")]
"""Tables of the store itself, under Alembic's care."""
