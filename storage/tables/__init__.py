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

from storage.tables.base import NAMING, metadata
from storage.tables.containment import (
    agent_value,
    agent_value_count,
    cancellation,
    crm_feed,
    gate_beat,
    outside_count,
    outside_write,
    revocation,
    unmatched_write,
)
from storage.tables.controls import (
    attestation,
    control,
    control_history,
    drill,
    finding,
    finding_verdict,
    notification,
    outbox,
    policy_force,
    policy_version,
    publication,
    widening,
)
from storage.tables.gate import (
    approval,
    approval_history,
    approval_record,
    consent,
    gate_agent,
    gate_decision,
    gate_unfiled,
    known_contact,
    known_record,
    lease,
    lease_debit,
    lease_override,
)
from storage.tables.log import dead_letter, follow_position, log_segment, meta, snapshot, watermark
from storage.tables.views import (
    action,
    action_record,
    agent,
    agent_bin,
    alert,
    alert_verdict,
    close_out,
    deal,
    deal_quality,
    deal_score,
    model,
    model_use,
    projection,
    top,
)

PROJECTED = [table for table in metadata.sorted_tables if table.info.get("projected")]
"""Tables that the log alone can make again."""
STORED = [table for table in metadata.sorted_tables if not table.info.get("projected")]
"""Tables of the store itself, under Alembic's care."""

__all__ = [
    "NAMING",
    "PROJECTED",
    "STORED",
    "action",
    "action_record",
    "agent",
    "agent_bin",
    "agent_value",
    "agent_value_count",
    "alert",
    "alert_verdict",
    "approval",
    "approval_history",
    "approval_record",
    "attestation",
    "cancellation",
    "close_out",
    "consent",
    "control",
    "control_history",
    "crm_feed",
    "dead_letter",
    "deal",
    "deal_quality",
    "deal_score",
    "drill",
    "finding",
    "finding_verdict",
    "follow_position",
    "gate_agent",
    "gate_beat",
    "gate_decision",
    "gate_unfiled",
    "known_contact",
    "known_record",
    "lease",
    "lease_debit",
    "lease_override",
    "log_segment",
    "meta",
    "metadata",
    "model",
    "model_use",
    "notification",
    "outbox",
    "outside_count",
    "outside_write",
    "policy_force",
    "policy_version",
    "projection",
    "publication",
    "revocation",
    "snapshot",
    "top",
    "unmatched_write",
    "watermark",
    "widening",
]
