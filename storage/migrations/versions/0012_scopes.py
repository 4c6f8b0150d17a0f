"""Whose records are, in which segment, and what contacts allowed: what the gate's scopes look at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "known_record",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("record_id", Text, nullable=False),
        sa.Column("what", Text, nullable=False),
        sa.Column("value", Text, nullable=True, comment="null: it is known that the source lost it"),
        sa.Column("at_ms", sa.BigInteger(), nullable=False, comment="of the event; an older one changes nothing"),
        sa.PrimaryKeyConstraint("tenant", "record_id", "what", name=op.f("pk_known_record")),
        comment="owner and segment of records as the CRM said last, in canonical ids; kept while a policy is set",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "consent",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("contact_id", Text, nullable=False),
        sa.Column("channel", Text, nullable=False),
        sa.Column("purpose", Text, nullable=False),
        sa.Column("status", Text, nullable=False, comment="granted, denied, withdrawn"),
        sa.Column("at_ms", sa.BigInteger(), nullable=False, comment="from when on it holds"),
        sa.PrimaryKeyConstraint("tenant", "contact_id", "channel", "purpose", name=op.f("pk_consent")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("consent")
    op.drop_table("known_record")
