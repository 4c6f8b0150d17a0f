"""Mutes, expectations, and what people said of findings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "widening",
        sa.Column("id", Text, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("kind", Text, nullable=False, comment="mute or expected"),
        sa.Column("state", Text, nullable=False, comment="waiting, agreed, ended"),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", Text, nullable=False, comment="a governance.widening.Widening"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_widening")),
        comment="what takes two people and ends by itself; nothing is taken out",
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_widening_key_until_ms"), "widening", ["key", "until_ms"])
    op.create_index(op.f("ix_widening_until_ms"), "widening", ["until_ms"])
    op.create_table(
        "finding_verdict",
        sa.Column("finding_id", Text, nullable=False),
        sa.Column("verdict", Text, nullable=False, comment="wrong or expected"),
        sa.Column("key", Text, nullable=False),
        sa.Column("detector", Text, nullable=False),
        sa.Column("by_id", Text, nullable=False),
        sa.Column("reason", Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("finding_id", "verdict", name=op.f("pk_finding_verdict")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_finding_verdict_at_ms"), "finding_verdict", ["at_ms"])


def downgrade() -> None:
    op.drop_table("finding_verdict")
    op.drop_table("widening")
