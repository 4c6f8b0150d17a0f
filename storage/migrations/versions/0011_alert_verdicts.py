"""What people said of deals' alerts, and managers' close-out lists."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "alert_verdict",
        sa.Column("alert_id", Text, nullable=False),
        sa.Column("by_id", Text, nullable=False),
        sa.Column("verdict", Text, nullable=False, comment="useful, known or wrong"),
        sa.Column("key", Text, nullable=False, comment="tenant/manager of the alert"),
        sa.Column("kind", Text, nullable=False, comment="of the alert"),
        sa.Column("deal_id", Text, nullable=False),
        sa.Column("reason", Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("alert_id", "by_id", name=op.f("pk_alert_verdict")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_alert_verdict_at_ms"), "alert_verdict", ["at_ms"])
    op.create_index(op.f("ix_alert_deal_id_at_ms"), "alert", ["deal_id", "at_ms"])
    op.create_table(
        "close_out",
        sa.Column("key", Text, nullable=False, comment="tenant/manager"),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("manager_id", Text, nullable=False),
        sa.Column("deal_id", Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", Text, nullable=False, comment="an Alert"),
        sa.PrimaryKeyConstraint("key", "rank", name=op.f("pk_close_out")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("close_out")
    op.drop_index(op.f("ix_alert_deal_id_at_ms"), "alert")
    op.drop_table("alert_verdict")
