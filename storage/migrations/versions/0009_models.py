"""Models of deals, and which of them scored when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "model",
        sa.Column("hash", Text, nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("added_ms", sa.BigInteger(), nullable=False),
        sa.Column("by_id", Text, nullable=False),
        sa.Column("body", Text, nullable=False, comment="a scoring.training.card.ModelFile"),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_model")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "model_use",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", Text, nullable=False, comment="scorecard: the hand scorecard"),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("by_id", Text, nullable=False),
        sa.Column("reason", Text, nullable=False),
        sa.Column("forced", sa.Boolean(), nullable=False, comment="although it was not shown to be better"),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_model_use")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("model_use")
    op.drop_table("model")
