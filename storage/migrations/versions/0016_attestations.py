"""What people state of readiness, each under a name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "attestation",
        sa.Column("item", Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("by_id", Text, nullable=False),
        sa.Column("note", Text, nullable=False),
        sa.PrimaryKeyConstraint("item", "at_ms", name=op.f("pk_attestation")),
        comment="what people stated of readiness; nothing is taken out",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("attestation")
