"""Decisions of a busy time, kept as one blob a round until they are filed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "gate_unfiled",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("blob", sa.LargeBinary(), nullable=False, comment="rows of gate_decision, see storage.gate"),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_gate_unfiled")),
    )


def downgrade() -> None:
    op.drop_table("gate_unfiled")
