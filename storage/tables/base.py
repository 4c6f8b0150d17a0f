"""What all tables share: the metadata, the names of constraints, and the types."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Integer, MetaData, text
from sqlalchemy import Text as AnyText

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)

Text = AnyText().with_variant(AnyText(collation="C"), "postgresql")
"""Text that is compared byte by byte, as SQLite does: the keys of a tenant lie between ``tenant/`` and ``tenant0``."""
Ms = BigInteger
Json = Text
Serial = BigInteger().with_variant(Integer, "sqlite")
"""A counter that the database gives out; SQLite only counts columns of type INTEGER."""

CLUSTERED: dict[str, Any] = {"sqlite_with_rowid": False}
PROJECTION: dict[str, Any] = {"info": {"projected": True}}
"""A projection of the log alone: it can be dropped and made again. In SQLite it lives in a file of its own."""


def key(name: str) -> Column[str]:
    """A column of the primary key."""
    return Column(name, Text, primary_key=True)


def number(name: str, default: int = 0) -> Column[int]:
    """A number that is always there."""
    return Column(name, BigInteger, nullable=False, server_default=text(str(default)))
