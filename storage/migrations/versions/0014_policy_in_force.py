"""The policy in force, and every version that was: what is wider takes two people and ends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "policy_version",
        sa.Column("hash", Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False, comment="when it was first seen"),
        sa.Column("origin", Text, nullable=False, comment="file, or both: what two versions both allow"),
        sa.Column("body", Text, nullable=False, comment="a governance.policy.model.Policy"),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_policy_version")),
        comment="every version of the policy that was in force or asked for; nothing is taken out",
    )
    op.create_table(
        "policy_force",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("base", Text, nullable=False, comment="the version that holds without an end"),
        sa.Column("wide", Text, nullable=False, comment="the wider one that two people agreed to; empty: none"),
        sa.Column("until_ms", sa.BigInteger(), nullable=False, comment="the end of the wider one"),
        sa.Column("change_id", Text, nullable=False, comment="the widening that it came by"),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_policy_force")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("policy_force")
    op.drop_table("policy_version")
