"""The read-only queries, on a store whose every figure is known."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from events.times import DAY_MS, HOUR_MS, MINUTE_MS
from storage import tables as t
from storage.postgres import PgStore
from storage.read import BadCursor, Reader, ReadTookTooLong
from storage.read.agents import BIN_MS, fill
from storage.read.store import open_engine, reading
from storage.read.types import ActionRow, Bin
from tests.browser.seed import CHANGED_BEFORE, NOW_MS, REFUSED_AFTER, STOP_MS, Seed, seed_morning
from tests.postgres import Postgres, copy_store

MONDAY_MS = NOW_MS - 2 * DAY_MS


class Place:
    """Where stores are read: in SQLite's files, or in databases on PostgreSQL."""

    def __init__(self, server: Postgres | None) -> None:
        self.server = server
        self._lent: list[str] = []

    def engine(self, path: Path) -> Engine:
        """An engine that reads what the store at ``path`` holds."""
        if self.server is None:
            return open_engine(path)
        self._lent.append(self.server.database())
        copy_store(path, self._lent[-1])
        return PgStore(self._lent[-1]).read_engine()

    def close(self) -> None:
        while self.server is not None and self._lent:
            self.server.give_back(self._lent.pop())


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    found = Place(request.getfixturevalue("postgres") if request.param == "postgres" else None)
    yield found
    found.close()


@pytest.fixture(scope="module")
def morning(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    reader = Reader(place.engine(seed_morning(tmp_path_factory.mktemp("read"))))
    yield reader
    reader.close()


Seeded = Callable[[Callable[[Seed], None]], Reader]


@pytest.fixture
def seeded(place: Place, tmp_path: Path) -> Seeded:
    """Makes a store of a test's own, read from either kind."""

    def make(add: Callable[[Seed], None]) -> Reader:
        seed = Seed(tmp_path)
        add(seed)
        return Reader(place.engine(seed.write()))

    return make


def _all(reader: Reader, limit: int, **filters: Any) -> list[ActionRow]:
    found, cursor = [], None
    while True:
        page = reader.actions("enrich-bot", NOW_MS - 2 * DAY_MS, NOW_MS, limit=limit, cursor=cursor, **filters)
        found += page.rows
        cursor = page.next_cursor
        if cursor is None:
            return found


def test_a_stop_is_counted_in_records_before_and_operations_after(morning: Reader) -> None:
    stop = morning.agent("enrich-bot", NOW_MS).stop
    assert stop is not None
    assert stop.records_before == CHANGED_BEFORE  # 61 updates of 58 records
    assert stop.burst_from_ms == STOP_MS - 5 * MINUTE_MS
    assert (stop.admitted_after, stop.refused_after, stop.bypassed_after) == (0, REFUSED_AFTER, 0)


def test_what_was_reported_after_a_stop_without_the_gate_is_counted_as_bypassed(seeded: Seeded) -> None:
    def seed(of: Seed) -> None:
        of.agent("enrich-bot", 20.0, 2, 100)
        of.stop("enrich-bot")
        of.action("enrich-bot", STOP_MS + 1_000, "001Z", "Industry", "a", "b", decision_id=None)
        of.action("enrich-bot", STOP_MS + 2_000, "001Y", "Industry", "a", "b", decision_id=None, outcome="error")

    stop = seeded(seed).agent("enrich-bot", NOW_MS).stop
    assert stop is not None
    assert stop.bypassed_after == 1


def test_a_stopped_agents_row_carries_the_finding_that_stopped_it(morning: Reader) -> None:
    row = morning.agent("enrich-bot", NOW_MS)
    assert row.state == "suspended"
    assert row.finding is not None
    assert row.finding.finding.evidence.observed == 61
    assert row.records_48h == 1_318 + CHANGED_BEFORE


def test_an_agent_that_nobody_saw_is_none(morning: Reader) -> None:
    assert morning.agent("nobody", NOW_MS) is None
    assert morning.agent_page("nobody", NOW_MS) is None
    declared = morning.agent_page("nobody", NOW_MS, is_declared=True)
    assert declared is not None
    assert declared.row.last_seen_ms is None


def test_bins_have_no_gap_and_keep_the_last_limit_for_an_hour() -> None:
    known = {0: Bin(0, 5, 0, 38.0, 61.0), 2 * BIN_MS: Bin(2 * BIN_MS, 3)}
    filled = fill(known, 0, 14 * BIN_MS)
    assert [b.actions for b in filled[:4]] == [5, 0, 3, 0]
    assert [b.limit for b in filled] == [61.0] * 13 + [None, None]


@pytest.mark.parametrize("limit", [1, 7, 100, 5_000])
def test_pages_of_any_size_give_every_action_once_newest_first(morning: Reader, limit: int) -> None:
    found = _all(morning, limit)
    assert len(found) == 61 + 12 + REFUSED_AFTER
    assert [row.at_ms for row in found] == sorted((row.at_ms for row in found), reverse=True)
    assert len({row.event_id for row in found}) == len(found)


def test_actions_are_found_by_object_action_and_record(morning: Reader) -> None:
    assert {row.record_ids[0] for row in _all(morning, 50, record="001A7")} == {"001A7"}
    assert len(_all(morning, 50, record="001A1")) == 2  # not 001A10 to 001A19
    assert _all(morning, 50, object="Contact") == []
    assert len(_all(morning, 50, action="record.*")) == len(_all(morning, 50, action="record.update"))
    assert _all(morning, 50, action="rec%") == []


def test_names_and_ids_that_differ_by_case_are_others(morning: Reader) -> None:
    assert _all(morning, 50, record="001a7") == []
    assert _all(morning, 50, action="Record.*") == []


def test_a_refusal_that_the_agent_reported_is_listed_once(seeded: Seeded) -> None:
    def seed(of: Seed) -> None:
        of.refusal("enrich-bot", STOP_MS, 1)
        of.action("enrich-bot", STOP_MS + 5, "001B1", "X", 1, 2, outcome="denied", decision_id="g-0001")

    found = seeded(seed).actions("enrich-bot", 0, NOW_MS)
    assert [(row.kind, row.outcome) for row in found.rows] == [("report", "denied")]


@pytest.mark.parametrize("cursor", ["x", "1", "1.2", "a.b.c", "1.1.x", "99999999999999999999999.1.1", "'; drop--"])
def test_a_made_up_cursor_is_refused_by_name(morning: Reader, cursor: str) -> None:
    with pytest.raises(BadCursor):
        morning.actions("enrich-bot", 0, NOW_MS, cursor=cursor)


def test_tenants_never_meet(seeded: Seeded) -> None:
    def seed(of: Seed) -> None:
        of.agent("enrich-bot", 20.0, 2, 100)
        of.add(t.agent, key="default0/spy", tenant="default0", agent_id="spy", first_seen_ms=1, last_seen_ms=1)
        of.add(t.agent, key="other/enrich-bot", tenant="other", agent_id="enrich-bot", first_seen_ms=1, last_seen_ms=1)

    reader = seeded(seed)
    assert [row.agent_id for row in reader.agents(NOW_MS)] == ["enrich-bot"]


def test_the_five_come_in_the_order_of_the_portfolio_with_their_change(morning: Reader) -> None:
    top = morning.top_deals("m-berger", MONDAY_MS)
    assert [row.deal_id for row in top.rows] == ["006A1", "006A2", "006A3", "006A4", "006A5"]
    assert top.rows[0].p_lost_before == 0.47
    assert top.open_deals == 7
    assert top.sum_top == {"EUR": 65_480_000}
    assert top.managers == ["m-berger"]
    assert morning.top_deals("nobody", MONDAY_MS).rows == []


def test_a_deals_scores_come_oldest_first_with_what_moved_them(morning: Reader) -> None:
    points = morning.deal_scores("006A1")
    assert [point.p_lost for point in points][:3] == [0.22, 0.18, 0.24]
    assert points[1].cause == "The CFO joined the demo"
    assert morning.deal("006A9") is None


def test_what_agents_did_to_a_deal_is_found_by_its_record(morning: Reader) -> None:
    found = morning.touches("006A1", NOW_MS - 2 * DAY_MS, NOW_MS)
    assert [row.agent_id for row in found] == ["stage-sync"]


def test_findings_can_be_paged_and_filtered(morning: Reader) -> None:
    first = morning.findings(limit=1)
    assert [row.finding.agent_id for row in first.rows] == ["enrich-bot"]
    second = morning.findings(limit=1, cursor=first.next_cursor)
    assert [row.finding.agent_id for row in second.rows] == ["stage-sync"]
    assert second.next_cursor is None
    assert [row.status for row in morning.findings(mode="shadow").rows] == ["shadow"]


def test_history_is_newest_first_and_only_what_changed(morning: Reader) -> None:
    assert [(e.state, e.epoch, e.by_id) for e in morning.control_history("enrich-bot")] == [
        ("suspended", 7, "action_rate"),
        ("active", 6, "maya"),
        ("suspended", 5, "jo"),
    ]


def test_the_overview_is_one_picture(morning: Reader) -> None:
    data = morning.overview(NOW_MS, MONDAY_MS)
    assert len(data.agents) == 6
    assert all(len(row.bins) == 49 for row in data.agents)
    assert data.stop_all is None
    assert data.warnings_24h == 2
    assert data.dead_letters_24h == 0


def test_json_in_a_row_that_does_not_parse_is_taken_as_absent(seeded: Seeded) -> None:
    def seed(of: Seed) -> None:
        of.action("bot", NOW_MS - HOUR_MS, "001", "X", 1, 2, changes="{", trigger="[]", record_ids="nonsense")

    row = seeded(seed).actions("bot", 0, NOW_MS).rows[0]
    assert (row.changes, row.trigger, row.record_ids) == ({}, None, [])


def test_a_reader_cannot_write(place: Place, tmp_path: Path) -> None:
    engine = place.engine(seed_morning(tmp_path))
    read_only = pytest.raises(DBAPIError, match=r"readonly|attempt to write|read-only transaction")
    with read_only, reading(engine) as connection:
        connection.execute(text("DELETE FROM control"))
    engine.dispose()


def test_a_query_that_runs_too_long_is_cut_off(place: Place, tmp_path: Path) -> None:
    engine = place.engine(seed_morning(tmp_path))
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with pytest.raises(ReadTookTooLong), reading(engine, max_secs=0.05) as connection:
        connection.execute(text(endless))
    with reading(engine) as connection:  # the connection is as good as new
        assert connection.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()


def test_reading_does_not_hold_back_the_writer(tmp_path: Path) -> None:
    path = seed_morning(tmp_path)
    engine = open_engine(path)
    with reading(engine) as connection:
        connection.execute(text("SELECT count(*) FROM control")).scalar()
        writer = sqlite3.connect(path, timeout=0.2)
        writer.execute("UPDATE control SET reason = 'changed meanwhile'")
        writer.commit()
        writer.close()
    engine.dispose()


def test_on_postgresql_a_read_sees_one_moment_and_holds_no_writer_back(database: str) -> None:
    store = PgStore(database)
    writer, engine = store.connect(), store.read_engine()
    count = text("SELECT count(*) FROM meta WHERE name LIKE 'n%'")
    with reading(engine) as connection:
        assert connection.execute(count).scalar() == 0
        writer.execute("INSERT INTO meta VALUES ('n1', 'meanwhile')")
        assert connection.execute(count).scalar() == 0
    with reading(engine) as connection:
        assert connection.execute(count).scalar() == 1
    writer.close()
    store.close()
