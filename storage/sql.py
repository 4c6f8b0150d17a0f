"""SQL text for the hot paths: compiled once from the tables, run through the driver."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import Table

from storage.link import Link

MAX_VARIABLES = 30_000
_CHUNKS = (100, 50, 20, 10, 5, 2, 1)


def quoted(names: Iterable[str]) -> str:
    """Column names, quoted, with commas."""
    return ", ".join(f'"{name}"' for name in names)


def insert(table: Table, *, rows: int = 1, or_ignore: bool = False) -> str:
    """INSERT of whole rows in the table's column order; ``or_ignore`` keeps what is there."""
    names = [column.name for column in table.columns]
    values = ", ".join([f"({', '.join('?' * len(names))})"] * rows)
    text = f'INSERT INTO "{table.name}" ({quoted(names)}) VALUES {values}'  # noqa: S608 - names are our own
    return f"{text} ON CONFLICT DO NOTHING" if or_ignore else text


def upsert(table: Table, update: Sequence[str] | None = None) -> str:
    """INSERT of a whole row, or the update of ``update`` (default: everything else) when its primary key is there."""
    keys = [column.name for column in table.primary_key.columns]
    names = update if update is not None else [c.name for c in table.columns if c.name not in keys]
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in names)
    return f"{insert(table)} ON CONFLICT ({quoted(keys)}) DO UPDATE SET {sets}"


@cache
def _many(table_name: str, names: tuple[str, ...], rows: int, tail: str) -> str:
    values = ", ".join([f"({', '.join('?' * len(names))})"] * rows)
    return f'INSERT INTO "{table_name}" ({quoted(names)}) VALUES {values} {tail}'  # noqa: S608 - names are our own


def insert_many(link: Link, table: Table, rows: Sequence[Sequence[Any]], tail: str = "") -> None:
    """Insert rows with few statements.

    The driver lets other threads run while a statement runs, and must wait for its turn after each one; with one
    statement a row, a busy neighbour would make each row wait.
    """
    insert_flat(link, table, list(chain.from_iterable(rows)), tail)


def insert_flat(link: Link, table: Table, values: list[Any], tail: str = "") -> None:
    """The same, with the values of all rows in one list: a row then costs no object of its own."""
    names = tuple(column.name for column in table.columns)
    at = 0
    for size in _CHUNKS:
        step = size * len(names)
        if len(values) - at < step:
            continue
        text = _many(table.name, names, size, tail)
        while len(values) - at >= step:
            link.execute(text, values[at : at + step])
            at += step
