"""What the gate decided, and what it knows: contacts, records, approvals, leases."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table

from storage.tables.base import CLUSTERED, Json, Ms, Serial, Text, key, metadata

gate_decision = Table(
    "gate_decision",
    metadata,
    key("decision_id"),
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
    **CLUSTERED,
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
    key("key"),
    Column("seq", BigInteger, nullable=False, comment="admissions so far"),
    **CLUSTERED,
)

known_contact = Table(
    "known_contact",
    metadata,
    key("tenant"),
    key("contact_id"),
    Column("first_ms", Ms, nullable=False),
    **CLUSTERED,
)

known_record = Table(
    "known_record",
    metadata,
    key("tenant"),
    key("record_id"),
    key("what"),
    Column("value", Text, comment="null: it is known that the source lost it"),
    Column("at_ms", Ms, nullable=False, comment="of the event; an older one changes nothing"),
    comment="owner and segment of records as the CRM said last, in canonical ids; kept while a policy is set",
    **CLUSTERED,
)

consent = Table(
    "consent",
    metadata,
    key("tenant"),
    key("contact_id"),
    key("channel"),
    key("purpose"),
    Column("status", Text, nullable=False, comment="granted, denied, withdrawn"),
    Column("at_ms", Ms, nullable=False, comment="from when on it holds"),
    **CLUSTERED,
)

approval = Table(
    "approval",
    metadata,
    key("id"),
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
    **CLUSTERED,
)

approval_record = Table(
    "approval_record",
    metadata,
    key("tenant"),
    key("record_id"),
    key("approval_id"),
    comment="which records open approvals are about",
    **CLUSTERED,
)

approval_history = Table(
    "approval_history",
    metadata,
    key("approval_id"),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", Ms, nullable=False),
    Column("state_before", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("by_kind", Text, nullable=False, comment="human, agent, system"),
    Column("by_id", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("hash", Text, nullable=False, comment="what it was bound to afterwards"),
    **CLUSTERED,
)

lease = Table(
    "lease",
    metadata,
    key("lease_id"),
    Column("key", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("content_hash", Text, nullable=False, comment="of the request for it"),
    Column("is_open", Boolean, nullable=False, comment="not given back"),
    Column("end_ms", Ms, nullable=False),
    Column("body", Json, nullable=False, comment="a governance.lease_types.Lease"),
    Index(None, "key", "end_ms"),
    Index(None, "key", "request_id"),
    **CLUSTERED,
)

lease_debit = Table(
    "lease_debit",
    metadata,
    key("lease_id"),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("at_ms", Ms, nullable=False, comment="when it was reported"),
    Column("action", Text, nullable=False),
    Column("record_ids", Json, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("outcome_ms", Ms, comment="when its outcome was reported"),
    Index(None, "key", "at_ms"),
    comment="what was done under leases and is not settled: judged, with an outcome",
    **CLUSTERED,
)

lease_override = Table(
    "lease_override",
    metadata,
    key("key"),
    Column("at_ms", Ms, primary_key=True, autoincrement=False),
    Column("until_ms", Ms, nullable=False),
    Column("by_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    comment="people who let a blind agent go on for a while; nothing is taken out",
    **CLUSTERED,
)
