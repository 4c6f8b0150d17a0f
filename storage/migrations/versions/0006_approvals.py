"""Approvals: what waits for a person, which records it is about, and what became of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "approval",
        sa.Column("id", Text, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("state", Text, nullable=False, comment="see governance.approvals"),
        sa.Column("hash", Text, nullable=False, comment="what it is bound to"),
        sa.Column("asked_hash", Text, nullable=False, comment="what the agent asked"),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("answered_by", Text, nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), nullable=True),
        sa.Column("body", Text, nullable=False, comment="a governance.approvals.Approval"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
        sqlite_with_rowid=False,
    )
    for columns in (["key", "state"], ["state", "expires_ms"], ["answered_by", "answered_ms"]):
        op.create_index(op.f(f"ix_approval_{'_'.join(columns)}"), "approval", columns)
    op.create_table(
        "approval_record",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("record_id", Text, nullable=False),
        sa.Column("approval_id", Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "record_id", "approval_id", name=op.f("pk_approval_record")),
        comment="which records open approvals are about",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "approval_history",
        sa.Column("approval_id", Text, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("state_before", Text, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("by_kind", Text, nullable=False, comment="human, agent, system"),
        sa.Column("by_id", Text, nullable=False),
        sa.Column("why", Text, nullable=False),
        sa.Column("reason", Text, nullable=False),
        sa.Column("hash", Text, nullable=False, comment="what it was bound to afterwards"),
        sa.PrimaryKeyConstraint("approval_id", "seq", name=op.f("pk_approval_history")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("approval_history")
    op.drop_table("approval_record")
    op.drop_table("approval")
