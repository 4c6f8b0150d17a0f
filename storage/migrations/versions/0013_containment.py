"""Whether a stop is seen to hold: writes outside the gate, life of the CRM's feed, gates, credentials taken away."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _writes()
    op.create_table(
        "crm_feed",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("system", Text, nullable=False),
        sa.Column("alive_ms", sa.BigInteger(), nullable=False, comment="the newest time of a change that it told of"),
        sa.Column("heard_ms", sa.BigInteger(), nullable=False, comment="when it told that"),
        sa.Column("gap_ms", sa.BigInteger(), comment="when it last said that it had lost changes"),
        sa.Column("canary_sent_ms", sa.BigInteger()),
        sa.Column("canary_back_ms", sa.BigInteger(), comment="when the newest canary came back"),
        sa.Column("canary_error", Text),
        sa.PrimaryKeyConstraint("tenant", "system", name=op.f("pk_crm_feed")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "gate_beat",
        sa.Column("gate", Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("obeys_ms", sa.BigInteger(), nullable=False, comment="the newest control decision that it obeys"),
        sa.Column("trouble", Text, nullable=False, comment="why it denies all writes; empty when it does not"),
        sa.PrimaryKeyConstraint("gate", name=op.f("pk_gate_beat")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "revocation",
        sa.Column("id", Text, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("credential", Text, nullable=False),
        sa.Column("state", Text, nullable=False, comment="asked, done, failed"),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_ms", sa.BigInteger()),
        sa.Column("by_kind", Text, nullable=False, comment="human, detector"),
        sa.Column("by_id", Text, nullable=False),
        sa.Column("reason", Text, nullable=False),
        sa.Column("result", Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocation")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_revocation_key_asked_ms"), "revocation", ["key", "asked_ms"])
    op.create_index(op.f("ix_revocation_state_asked_ms"), "revocation", ["state", "asked_ms"])


def _writes() -> None:
    op.create_table(
        "outside_write",
        sa.Column("key", Text, nullable=False),
        sa.Column("event_id", Text, nullable=False, comment="source and id of the CRM's event"),
        sa.Column("kind", Text, nullable=False, comment="leaked, in_flight, shadow"),
        sa.Column("agent_id", Text, nullable=False),
        sa.Column("identity", Text, nullable=False, comment="who it was, as the CRM says"),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("effect_ms", sa.BigInteger(), nullable=False),
        sa.Column("object", Text, nullable=False),
        sa.Column("record_id", Text, nullable=False),
        sa.Column("op", Text, nullable=False),
        sa.PrimaryKeyConstraint("key", "event_id", name=op.f("pk_outside_write")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_outside_write_key_kind_effect_ms"), "outside_write", ["key", "kind", "effect_ms"])
    op.create_index(op.f("ix_outside_write_at_ms"), "outside_write", ["at_ms"])
    op.create_table(
        "outside_count",
        sa.Column("key", Text, nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("since_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "kind", "since_ms", name=op.f("pk_outside_count")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unmatched_write",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", Text, nullable=False, comment="a list of governance.containment.SeenWrite"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unmatched_write")),
    )
    op.create_index(op.f("ix_unmatched_write_due_ms"), "unmatched_write", ["due_ms"])


def downgrade() -> None:
    for name in ("revocation", "gate_beat", "crm_feed", "unmatched_write", "outside_count", "outside_write"):
        op.drop_table(name)
