"""Leases, what is not settled of them, who overrode that; and drills."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("lease_id", Text, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("request_id", Text, nullable=False),
        sa.Column("content_hash", Text, nullable=False, comment="of the request for it"),
        sa.Column("is_open", sa.Boolean(), nullable=False, comment="not given back"),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", Text, nullable=False, comment="a governance.lease_types.Lease"),
        sa.PrimaryKeyConstraint("lease_id", name=op.f("pk_lease")),
        sqlite_with_rowid=False,
    )
    for columns in (["key", "end_ms"], ["key", "request_id"]):
        op.create_index(op.f(f"ix_lease_{'_'.join(columns)}"), "lease", columns)
    op.create_table(
        "lease_debit",
        sa.Column("lease_id", Text, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False, comment="when it was reported"),
        sa.Column("action", Text, nullable=False),
        sa.Column("record_ids", Text, nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("outcome_ms", sa.BigInteger(), nullable=True, comment="when its outcome was reported"),
        sa.PrimaryKeyConstraint("lease_id", "number", name=op.f("pk_lease_debit")),
        comment="what was done under leases and is not settled: judged, with an outcome",
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_lease_debit_key_at_ms"), "lease_debit", ["key", "at_ms"])
    op.create_table(
        "lease_override",
        sa.Column("key", Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("by_id", Text, nullable=False),
        sa.Column("reason", Text, nullable=False),
        sa.PrimaryKeyConstraint("key", "at_ms", name=op.f("pk_lease_override")),
        comment="people who let a blind agent go on for a while; nothing is taken out",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "drill",
        sa.Column("id", Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("scenario", Text, nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("body", Text, nullable=False, comment="a governance.drills.DrillResult"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drill")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_drill_at_ms"), "drill", ["at_ms"])


def downgrade() -> None:
    for table in ("drill", "lease_override", "lease_debit", "lease"):
        op.drop_table(table)
