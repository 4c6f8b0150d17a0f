"""The store on PostgreSQL: its tables, who may use it, and what a connection does when the server goes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import inspect, text

from governance.settings import SettingsError, parse_settings
from storage import migrations
from storage.errors import StoreError, StoreMismatch, StoreRefused, StoreUnavailable
from storage.opening import open_store
from storage.postgres import PgLink, PgStore, lock_keys
from storage.tables import PROJECTED, STORED
from tests.postgres import PASSWORD, Postgres

WAIT_SECS = 30.0


@pytest.fixture
def empty(postgres: Postgres) -> str:
    return postgres.empty()


@pytest.fixture
def link(database: str) -> Iterator[PgLink]:
    made = PgStore(database).connect()
    yield made
    made.close()


def tables(url: str) -> set[str]:
    with PgStore(url) as store:
        return set(inspect(store.engine()).get_table_names())


# --- tables -----------------------------------------------------------------------------------------------------


def test_the_migrations_make_the_tables_that_the_code_describes(database: str) -> None:
    with PgStore(database) as store:
        found = inspect(store.engine())
        for table in (*STORED, *PROJECTED):
            columns = {column["name"]: column for column in found.get_columns(table.name)}
            assert {name: column["nullable"] for name, column in columns.items()} == {
                column.name: column.nullable for column in table.columns
            }, table.name
            by_bytes = {name for name, column in columns.items() if getattr(column["type"], "collation", None) == "C"}
            assert by_bytes == {column.name for column in table.columns if "TEXT" in str(column.type)}, table.name
            assert found.get_pk_constraint(table.name)["constrained_columns"] == [
                column.name for column in table.primary_key.columns
            ]
            assert {index["name"] for index in found.get_indexes(table.name)} >= {i.name for i in table.indexes}


def test_consoles_that_start_together_make_the_tables_once(empty: str) -> None:
    stores = [PgStore(empty) for _ in range(4)]
    with ThreadPoolExecutor(len(stores)) as pool:
        for done in [pool.submit(store.migrate) for store in stores]:
            done.result(WAIT_SECS)
    assert stores[0].is_up_to_date()
    link = stores[0].connect()
    assert link.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    link.close()


def test_a_store_of_an_older_version_is_refused_to_readers_and_keeps_its_rows_on_the_way_up(database: str) -> None:
    store = PgStore(database)
    link = store.connect()
    link.execute("INSERT INTO meta VALUES ('engine_id', 'main')")
    link.execute("INSERT INTO gate_agent VALUES ('default/a', 7)")
    store.downgrade("0001")
    assert not tables(database) & {"gate_unfiled", "publication"}
    with pytest.raises(StoreMismatch, match=r"older version.*start `tripline console`"):
        store.check()
    store.migrate()
    store.check()
    assert link.execute("SELECT seq FROM gate_agent").fetchall() == [(7,)]
    assert link.execute("SELECT value FROM meta WHERE name = 'engine_id'").fetchall() == [("main",)]
    link.close()


def test_down_to_nothing_and_up_again(postgres: Postgres) -> None:
    url = postgres.database()
    store = PgStore(url)
    link = store.connect()
    link.execute("CREATE TABLE other (x bigint)")
    link.execute("INSERT INTO other VALUES (1)")
    store.downgrade("base")
    assert not tables(url) & {table.name for table in STORED}
    store.migrate()
    assert tables(url) >= {table.name for table in (*STORED, *PROJECTED)}
    assert link.execute("SELECT x FROM other").fetchall() == [(1,)]
    link.close()


@pytest.mark.parametrize(
    ("newer", "told"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", r"newer version of Tripline \(revision 9999,"),
        ("UPDATE meta SET value = '99' WHERE name = 'projections_version'", r"newer version .* projections 99\)"),
    ],
)
def test_a_store_of_a_newer_version_is_refused_by_name(postgres: Postgres, newer: str, told: str) -> None:
    store = PgStore(postgres.database())
    link = store.connect()
    link.execute(newer)
    for attempt in (store.migrate, store.check):
        with pytest.raises(StoreMismatch, match=told):
            attempt()
    link.close()


def test_an_upgrade_that_fails_leaves_all_as_it_was(postgres: Postgres) -> None:
    url = postgres.database()
    store = PgStore(url)
    store.downgrade("0001")
    link = store.connect()
    link.execute("CREATE TABLE publication (in_the_way bigint)")
    with pytest.raises(StoreError, match="already exists"):
        store.migrate()
    assert link.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    assert "gate_unfiled" not in tables(url)
    link.execute("DROP TABLE publication")
    store.migrate()
    link.close()


def test_projections_of_another_version_are_made_anew_and_read_again_from_the_start(postgres: Postgres) -> None:
    store = PgStore(postgres.database())
    link = store.connect()
    link.execute("INSERT INTO agent_bin (key, bin_ms) VALUES ('default/a', 1)")
    link.executemany("INSERT INTO watermark VALUES (?, 0, 't', 5, 5, 5)", [("agent.actions",), ("deal.risk",)])
    link.execute("UPDATE meta SET value = '0' WHERE name = 'projections_version'")
    store.migrate()
    assert link.execute("SELECT count(*) FROM agent_bin").fetchall() == [(0,)]
    assert link.execute("SELECT topic FROM watermark").fetchall() == [("deal.risk",)]
    link.close()


def test_a_store_that_is_up_to_date_opens_without_alembic(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "config", lambda: pytest.fail("Alembic was loaded"))
    PgStore(database).migrate()


# --- who may ----------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_told_with_what_to_do_and_never_shown(postgres: Postgres, database: str) -> None:
    guarded = postgres.guarded(database)
    with pytest.raises(StoreError, match="TRIPLINE_STORE_PASSWORD") as told:
        PgStore(guarded, "wrong secret").connect()
    assert "wrong secret" not in str(told.value)
    assert not isinstance(told.value, StoreUnavailable)
    with pytest.raises(StoreError, match="set TRIPLINE_STORE_PASSWORD"):
        PgStore(guarded).connect()
    PgStore(guarded, PASSWORD).connect().close()


def test_a_user_who_may_not_make_tables_is_told_how_to_be_allowed(postgres: Postgres, empty: str) -> None:
    store = PgStore(postgres.guarded(empty), PASSWORD)
    with pytest.raises(StoreError, match="GRANT CREATE ON SCHEMA public"):
        store.migrate()


def test_a_database_that_is_not_there_is_told_with_what_to_do(postgres: Postgres) -> None:
    with pytest.raises(StoreError, match=r"createdb .* nowhere"):
        PgStore(postgres.url("nowhere")).connect()
    with pytest.raises(StoreError, match="createuser nobody-known"):
        PgStore(postgres.url("postgres", "nobody-known")).connect()


def test_a_server_that_is_not_there_can_be_waited_for() -> None:
    with pytest.raises(StoreUnavailable, match=r"127.0.0.1:1, database x can't be reached"):
        PgStore("postgresql://u:secret@127.0.0.1:1/x").connect()


def test_a_database_that_cannot_hold_every_character_is_refused(postgres: Postgres) -> None:
    url = postgres.empty("ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'")
    with pytest.raises(StoreError, match="ENCODING 'UTF8'"):
        PgStore(url).connect()


def test_the_settings_name_the_store(database: str) -> None:
    environ = {"TRIPLINE_STORE_URL": database, "TRIPLINE_STORE_PASSWORD": "p"}
    assert isinstance(open_store(parse_settings(None, environ)), PgStore)
    for url in ("mysql://u@h/d", "postgresql://u@h", "127.0.0.1:5432/d"):
        with pytest.raises(SettingsError, match="postgresql://user@host:port/database"):
            parse_settings(None, {"TRIPLINE_STORE_URL": url})


# --- the connection ---------------------------------------------------------------------------------------------


def test_values_come_back_as_they_went_in(link: PgLink) -> None:
    link.execute("CREATE TEMP TABLE v (a bigint, b text, c bytea, d boolean, e double precision)")
    rows = [(2**62, "ü 🙂 ?%s", b"\0\xff", True, 0.1), (-1, "", b"", False, 1.0), (None, None, None, None, None)]
    link.executemany("INSERT INTO v VALUES (?, ?, ?, ?, ?)", iter(rows))
    assert link.execute("SELECT * FROM v ORDER BY a DESC NULLS LAST").fetchall() == rows


def test_a_text_with_nul_is_kept_with_a_sign_in_its_place(link: PgLink, database: str) -> None:
    link.execute("INSERT INTO meta VALUES (?, ?)", ("x\0y", "v"))
    assert link.execute("SELECT name FROM meta WHERE name = ?", ("x\0y",)).fetchall() == [("x␀y",)]
    with PgStore(database) as store, store.read_engine().connect() as reader:
        assert reader.execute(text("SELECT value FROM meta WHERE name = :n"), {"n": "x\0y"}).scalar() == "v"


@pytest.mark.parametrize("value", [2**63, "x"])
def test_a_value_that_does_not_fit_is_the_datas_fault(link: PgLink, value: object) -> None:
    with pytest.raises(StoreRefused):
        link.execute("INSERT INTO gate_agent VALUES ('a', ?)", (value,))
    assert link.execute("SELECT 1").fetchone() == (1,)


def test_a_transaction_is_open_until_it_ends_also_when_it_is_spoilt(link: PgLink) -> None:
    assert not link.in_transaction
    link.execute("BEGIN IMMEDIATE")
    link.execute("INSERT INTO gate_agent VALUES ('a', 1)")
    with pytest.raises(StoreRefused, match="duplicate"):
        link.execute("INSERT INTO gate_agent VALUES ('a', 1)")
    assert link.in_transaction
    link.execute("ROLLBACK")
    assert not link.in_transaction
    assert link.execute("SELECT count(*) FROM gate_agent").fetchone() == (0,)


def test_locks_of_keys_exclude_each_other_and_shared_ones_do_not(link: PgLink, database: str) -> None:
    other = PgStore(database).connect()
    other.execute("SET lock_timeout = '50ms'")
    link.execute("BEGIN IMMEDIATE")
    lock_keys(link, ["default/a", "default/b"], shared=["default/*"])
    other.execute("BEGIN IMMEDIATE")
    lock_keys(other, ["default/c"], shared=["default/*"])
    with pytest.raises(StoreUnavailable, match="lock timeout"):
        lock_keys(other, ["default/b"])
    other.execute("ROLLBACK")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="lock timeout"):
        lock_keys(other, ["default/*"])
    other.execute("ROLLBACK")
    link.execute("COMMIT")
    other.execute("BEGIN IMMEDIATE")
    lock_keys(other, ["default/b", "default/*"])
    other.close()


def test_those_who_lock_many_keys_in_any_order_never_deadlock(database: str) -> None:
    keys = [f"default/{n}" for n in range(12)]
    start = threading.Barrier(3)

    def work(turn: int) -> None:
        link = PgStore(database).connect()
        start.wait(WAIT_SECS)
        for n in range(40):
            link.execute("BEGIN IMMEDIATE")
            some = keys[(n + turn) % 12 :] + keys[: (n + turn) % 12]
            lock_keys(link, some[::-1] if turn % 2 else some, shared=["default/*"])
            link.execute("COMMIT")
        link.close()

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work, turn) for turn in range(3)]:
            done.result(WAIT_SECS)


def test_a_process_that_hangs_in_a_transaction_loses_it_and_its_locks(link: PgLink, database: str) -> None:
    assert link.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("10s",)
    link.execute("SET idle_in_transaction_session_timeout = '20ms'")
    link.execute("BEGIN IMMEDIATE")
    lock_keys(link, ["default/a"])
    other = PgStore(database).connect()
    other.execute("BEGIN IMMEDIATE")
    lock_keys(other, ["default/a"])
    other.close()
    with pytest.raises(StoreUnavailable):
        link.execute("SELECT 1")
    assert link.is_lost


def test_a_commit_is_on_disk_when_it_returns(link: PgLink) -> None:
    assert link.execute("SHOW synchronous_commit").fetchone() == ("on",)


# --- the server goes away ---------------------------------------------------------------------------------------


def test_after_a_crash_of_the_server_what_was_committed_is_there_and_new_connections_work() -> None:
    server = Postgres(fsync=True)
    try:
        server.start()
        store = PgStore(server.empty())
        store.migrate()
        link, engine = store.connect(), store.read_engine()
        link.execute("INSERT INTO gate_agent VALUES ('a', 1)")
        with engine.connect() as reader:
            assert reader.execute(text("SELECT seq FROM gate_agent")).scalar() == 1
        link.execute("BEGIN IMMEDIATE")
        link.execute("INSERT INTO gate_agent VALUES ('b', 1)")
        server.kill()
        with pytest.raises(StoreUnavailable):
            link.execute("COMMIT")
        assert link.is_lost
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="can't be reached"):
            store.connect()
        with pytest.raises(StoreUnavailable), engine.connect():
            pass
        assert time.monotonic() - began < 5
        server.start()
        link = store.connect()
        assert link.execute("SELECT key FROM gate_agent").fetchall() == [("a",)]
        with engine.connect() as reader:
            assert reader.execute(text("SELECT seq FROM gate_agent")).scalar() == 1
        link.close()
        store.close()
    finally:
        server.close()


def test_the_tests_own_server_sorts_texts_as_a_language_does(database: str) -> None:
    with psycopg.connect(database) as raw:
        assert raw.execute("SELECT 'a' < 'B'").fetchone() == (True,)
