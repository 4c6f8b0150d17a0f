"""Statements that are sent together to PostgreSQL: one wait, and all or nothing."""

from __future__ import annotations

import pytest

from storage.errors import StoreRefused
from storage.postgres import PgLink, PgStore

META = "INSERT INTO meta (name, value) VALUES (?, ?)"


def names(link: PgLink) -> list[str]:
    return [name for (name,) in link.execute("SELECT name FROM meta WHERE name LIKE 't%' ORDER BY name")]


def test_their_answers_are_there_after_the_block(database: str) -> None:
    link = PgStore(database).connect()
    with link.together():
        link.execute("BEGIN IMMEDIATE")
        link.execute(META, ("t1", "a"))
        seen = link.execute("SELECT value FROM meta WHERE name = ?", ("t1",))
        link.executemany(META, [("t2", "b"), ("t3", "c")])
        link.execute("COMMIT")
    assert seen.fetchall() == [("a",)]
    assert not link.in_transaction
    assert names(link) == ["t1", "t2", "t3"]
    link.close()


def put_twice(link: PgLink) -> None:
    with link.together():
        link.execute("BEGIN IMMEDIATE")
        link.execute(META, ("t1", "a"))
        link.execute(META, ("t1", "again"))
        link.execute("COMMIT")


def test_an_error_is_raised_at_the_end_and_nothing_behind_it_is_done(database: str) -> None:
    link = PgStore(database).connect()
    with pytest.raises(StoreRefused):
        put_twice(link)
    assert link.in_transaction
    link.execute("ROLLBACK")
    assert names(link) == []
    with link.together():
        link.execute(META, ("t4", "d"))
    assert names(link) == ["t4"]
    link.close()
