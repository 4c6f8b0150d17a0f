"""The store's tables are made and brought up to date at start, and can be taken back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from storage import migrations
from storage.errors import StoreError, StoreMismatch
from storage.store import Store
from storage.tables import PROJECTED, STORED


def tables(path: Path) -> set[str]:
    return set(inspect(create_engine(f"sqlite:///{path}")).get_table_names())


def test_a_new_store_has_every_stored_table_and_no_projected_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.migrate()
    assert tables(store.path) == {table.name for table in STORED} | {"alembic_version"}


def test_the_migrations_make_the_tables_that_the_code_describes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.migrate()
    found = inspect(create_engine(f"sqlite:///{store.path}"))
    for table in STORED:
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert columns == {column.name: column.nullable for column in table.columns}, table.name
        assert set(found.get_pk_constraint(table.name)["constrained_columns"]) == {
            column.name for column in table.primary_key.columns
        }
        assert {index["name"] for index in found.get_indexes(table.name)} == {index.name for index in table.indexes}


def test_the_newest_revision_is_the_one_that_the_code_names() -> None:
    assert ScriptDirectory.from_config(migrations.config()).get_current_head() == migrations.HEAD


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.migrate()
    before = store.path.read_bytes()
    store.migrate()
    assert store.path.read_bytes() == before


def test_down_and_up_again_keeps_what_is_not_of_the_migration(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.migrate()
    link = store.connect()
    link.execute("INSERT INTO meta VALUES ('engine_id', 'main')")
    link.execute("CREATE TABLE other (x)")
    link.execute("INSERT INTO other VALUES (1)")
    migrations.downgrade(store.path, "base")
    assert tables(store.path) == {"alembic_version", "other"}
    store.migrate()
    assert link.execute("SELECT x FROM other").fetchall() == [(1,)]
    assert link.execute("SELECT * FROM meta").fetchall() == []
    link.close()


def test_a_store_of_an_older_version_keeps_its_rows_on_the_way_up(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.migrate()
    link = store.connect()
    link.execute("INSERT INTO gate_agent VALUES ('default/a', 7)")
    ours = (
        "id",
        "default/a",
        1,
        "meeting.schedule",
        "Event",
        "1",
        1,
        "",
        "asked",
        0,
        1,
        1,
        None,
        "human",
        "m",
        "r",
        "",
        "[]",
    )
    link.execute(f"INSERT INTO cancellation VALUES ({', '.join('?' * len(ours))})", ours)  # noqa: S608 - marks alone
    migrations.downgrade(store.path, "0016")
    assert "cancellation" not in tables(store.path)
    migrations.downgrade(store.path, "0001")
    assert not tables(store.path) & {"gate_unfiled", "publication"}
    store.migrate()
    assert tables(store.path) >= {"gate_unfiled", "publication"}
    assert link.execute("SELECT * FROM gate_agent").fetchall() == [("default/a", 7)]
    link.close()


def test_a_store_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.migrate()
    link = sqlite3.connect(store.path)
    link.execute("UPDATE alembic_version SET version_num = '9999'")
    link.commit()
    link.close()
    with pytest.raises(StoreMismatch, match="newer version of Tripline"):
        store.migrate()


def test_projections_of_another_version_are_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    link = store.connect_projections()
    link.execute("INSERT INTO projection VALUES ('agent.actions', 't', 5, 1)")
    link.execute("PRAGMA user_version=99")
    link.close()
    link = store.connect_projections()
    assert link.execute("SELECT * FROM projection").fetchall() == []
    assert {row[0] for row in link.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} == {
        table.name for table in PROJECTED
    }
    link.close()


def test_a_data_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't make the data folder"):
        Store(tmp_path / "file" / "data")


def test_a_commit_waits_for_the_disk_and_readers_do_not_block_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.migrate()
    link = store.connect()
    assert link.execute("PRAGMA synchronous").fetchone() == (2,)
    assert link.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    link.close()
