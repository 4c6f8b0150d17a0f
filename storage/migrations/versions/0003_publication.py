"""What is decided in the store and is still to be written to Kafka."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "publication",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", Text, nullable=False, comment="decision, admission or letter"),
        sa.Column("topic", Text, nullable=False, comment="without the prefix"),
        sa.Column("key", Text, nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("event_id", Text, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="the record's value"),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_publication")),
    )


def downgrade() -> None:
    op.drop_table("publication")
