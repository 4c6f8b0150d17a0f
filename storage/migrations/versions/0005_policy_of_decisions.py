"""A decision of the gate names the version of the policy that was in force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column(
        "gate_decision",
        sa.Column("policy", Text, nullable=True, comment="version of the policy in force, where there was one"),
    )


def downgrade() -> None:
    op.drop_column("gate_decision", "policy")
