"""What agents wrote in the CRM of late, as hashes: people who change it back are noticed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "agent_value",
        sa.Column("key", Text, nullable=False),
        sa.Column(
            "slot", sa.BigInteger(), autoincrement=False, nullable=False,
            comment="a ring: the newest 4,096 of an agent",
        ),
        sa.Column("record", Text, nullable=False, comment="tenant and record in canonical spelling"),
        sa.Column("field", Text, nullable=False, comment="empty: the record as a whole"),
        sa.Column("before", sa.BigInteger(), nullable=False, comment="a hash"),
        sa.Column("after", sa.BigInteger(), nullable=False, comment="a hash"),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "slot", name=op.f("pk_agent_value")),
        comment="what agents wrote in the CRM of late, so that a person who changes it back is noticed",
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_index(op.f("ix_agent_value_record"), "agent_value", ["record"])
    op.create_table(
        "agent_value_count",
        sa.Column("key", Text, nullable=False),
        sa.Column("changes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("told", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("vals", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_agent_value_count")),
        comment="of each agent: changes that the CRM's feed told of, how many were said in the log, and values so far",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("agent_value_count")
    op.drop_table("agent_value")
