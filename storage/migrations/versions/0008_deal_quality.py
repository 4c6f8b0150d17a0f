"""How sound the CRM's data was, a row a day and whose data it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "deal_quality",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("day", Text, nullable=False, comment="YYYY-MM-DD"),
        sa.Column("scope", Text, nullable=False, comment="all, team or owner"),
        sa.Column("name", Text, nullable=False),
        sa.Column("score", sa.Float(), nullable=False, comment="0 to 100"),
        sa.Column("deals", sa.Integer(), nullable=False),
        sa.Column("flaws", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day", "scope", "name", name=op.f("pk_deal_quality")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("deal_quality")
