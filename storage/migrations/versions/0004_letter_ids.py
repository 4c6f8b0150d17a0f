"""Dead letters that are told on Kafka have an id: the same one may come again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column(
        "dead_letter",
        sa.Column("letter_id", Text, nullable=True, comment="of the event that told it on Kafka, where it may come again"),
    )
    op.create_index(op.f("ix_dead_letter_letter_id"), "dead_letter", ["letter_id"], unique=True)


def downgrade() -> None:
    op.drop_index(op.f("ix_dead_letter_letter_id"), table_name="dead_letter")
    op.drop_column("dead_letter", "letter_id")
