"""What agents set up and what is to be cancelled in the CRM."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "cancellation",
        sa.Column("id", Text, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False, comment="when the stop was decided"),
        sa.Column("action", Text, nullable=False),
        sa.Column("object", Text, nullable=False),
        sa.Column("record_id", Text, nullable=False),
        sa.Column("effect_ms", sa.BigInteger(), nullable=False, comment="when the agent set it up"),
        sa.Column("reviewed_by", Text, nullable=False, comment="who approved it; empty: nobody"),
        sa.Column("state", Text, nullable=False, comment="asked, cancelled, refused, impossible, gave_up"),
        sa.Column("attempts", sa.BigInteger(), nullable=False, comment="since it was last asked for"),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_ms", sa.BigInteger()),
        sa.Column("by_kind", Text, nullable=False, comment="human, detector"),
        sa.Column("by_id", Text, nullable=False),
        sa.Column("reason", Text, nullable=False),
        sa.Column("result", Text, nullable=False),
        sa.Column("tries", Text, nullable=False, comment="a list of storage.cancellations.Try"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cancellation")),
        comment="what stopped agents had set up, and whether the CRM took it back",
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_cancellation_key_since_ms"), "cancellation", ["key", "since_ms"])
    op.create_index(op.f("ix_cancellation_state_due_ms"), "cancellation", ["state", "due_ms"])


def downgrade() -> None:
    op.drop_table("cancellation")
