"""Sinks on a real broker and a real PostgreSQL: the read models are those of the standalone runtime, and of the topics
themselves, whatever dies meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.codec import decode
from governance.settings import Kafka, Settings, parse_settings
from scoring.alerts import RankedEvent
from storage.actions import ActionRows
from storage.link import Link
from storage.postgres import PgStore
from storage.store import Store
from streams.kafka.admin import create
from streams.kafka.produce import produce
from streams.kafka.sinks import Sinks
from streams.kafka.spec import ALERTS, DEAD_LETTERS, RISK
from streams.routing import ACTIONS, PORTFOLIO
from streams.standalone.runtime import Runtime
from tests.kafka.broker import Broker
from tests.kafka.conftest import settings_of
from tests.kafka.test_worker import an_action, put
from tests.kafka.working import Cluster, Running, environ, until
from tests.postgres import Postgres

TOPICS = (ACTIONS, RISK, PORTFOLIO, ALERTS, DEAD_LETTERS)
ACTED = ("action", "action_record", "agent", "agent_bin")
LINES = 4_000
STEADY = "agent_id, actions, records, errors, external, admitted, denied, changes"


def settings_with(kafka: Kafka, url: str) -> Settings:
    return parse_settings(None, {**environ(kafka), "TRIPLINE_STORE_URL": url})


def stored(url: str) -> dict[tuple[str, int], int]:
    with PgStore(url) as store:
        link = store.connect()
        found = link.execute("SELECT topic, partition, next_offset FROM watermark").fetchall()
        link.close()
    return {(topic, partition): offset for topic, partition, offset in found}


def wait_until_stored(kafka: Kafka, url: str) -> None:
    ends = {(topic, index): end for topic in TOPICS for index, end in enumerate(Cluster(kafka).ends(topic)) if end}
    until(lambda: all(stored(url).get(place, 0) >= end for place, end in ends.items()), "all is stored")


def rows_of(link: Link, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    return sorted(link.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr)  # noqa: S608 - names are ours


@pytest.fixture(scope="module")
def short(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hours of the log."""
    path = tmp_path_factory.mktemp("short") / "short.jsonl"
    path.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:LINES]))
    return path


@pytest.fixture(scope="module")
def twice(short: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A log, and some of it that its producer sends again at once."""
    again = tmp_path_factory.mktemp("again") / "again.jsonl"
    again.write_bytes(b"".join(short.read_bytes().splitlines(keepends=True)[-400:]))
    return [short, again]


@pytest.fixture(scope="module")
def judged(broker: Broker, twice: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Kafka:
    """Topics with the log, some of it twice, poison and a stray; a worker has judged it."""
    kafka = settings_of(broker.address)
    create(kafka)
    stray = an_action(twice[0])
    put(kafka, ACTIONS, (1, b"k", b"not json"), *((index, b"wrong", stray) for index in range(kafka.partitions)))
    put(kafka, RISK, (0, b"k", b"alien"))
    produce(twice, kafka)
    worker = Running(kafka, tmp_path_factory.mktemp("worker"), "one")
    Cluster(kafka).wait_until_judged()
    Cluster(kafka).wait_until_judged()  # and what that fed
    assert worker.stop() == 0
    return kafka


@pytest.fixture(scope="module")
def filled(judged: Kafka, postgres: Postgres) -> Iterator[Link]:
    """A store that two consoles' sinks have filled together."""
    url = postgres.database()
    settings = settings_with(judged, url)
    both = [Sinks(settings, PgStore(url), lambda changes: None) for _ in range(2)]
    for one in both:
        one.start()
    wait_until_stored(judged, url)
    until(lambda: not any(one.trouble() or sum(one.lag().values()) for one in both), "the sinks are content")
    for one in both:
        one.stop()
    link = PgStore(url).connect()
    yield link
    link.close()


def test_rows_of_what_agents_did_are_those_that_sqlite_holds_of_the_same_records(
    judged: Kafka, filled: Link, tmp_path: Path
) -> None:
    out = Store(tmp_path).connect_projections()
    rows, known, cluster = ActionRows(), set(), Cluster(judged)
    records = cluster.read(ACTIONS)
    for index in range(judged.partitions):
        for offset, at_ms, event in cluster.entries(records, ACTIONS, index, sys.maxsize):
            if (event.source, event.id) not in known:
                known.add((event.source, event.id))
                rows.take(offset * 1_000 + index, at_ms, event)
    rows.write(out, ACTIONS, "t")
    for table in ACTED:
        assert rows_of(filled, table) == [_as_pg(filled, table, row) for row in rows_of(out, table)], table
    assert len(rows_of(filled, "action")) > 3_000
    out.close()


def _as_pg(link: Link, table: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row of SQLite, which has no booleans."""
    place = {"action": 14}.get(table)
    return row if place is None else (*row[:place], bool(row[place]), *row[place + 1 :])


def test_totals_of_agents_are_those_of_the_standalone_runtime(filled: Link, twice: list[Path], tmp_path: Path) -> None:
    runtime = Runtime(parse_settings(None, {"TRIPLINE_SERVER_DATA_DIR": str(tmp_path)}), with_ticker=False)
    runtime.start()
    lines = [line for path in twice for line in path.read_bytes().splitlines()]
    runtime.ingest([(line, decode(line)) for line in lines], may_wait=True).result(60)
    assert runtime.projector is not None
    assert runtime.projector.wait_until_idle(60)
    runtime.close()
    link = Store(tmp_path).connect_projections()
    assert rows_of(filled, "agent", STEADY) == rows_of(link, "agent", STEADY)
    told = "source, event_id, agent_id, kind, action, record_ids, changes, outcome, records, recipients"
    assert rows_of(filled, "action", told) == rows_of(link, "action", told)
    link.close()


def test_deals_have_the_last_risk_that_was_said_and_all_of_their_history(judged: Kafka, filled: Link) -> None:
    risks = defaultdict(list)
    for record in Cluster(judged).read(RISK):
        if record.value != b"alien":
            risks[record.key.decode()].append(decode(record.value))
    last = {key: max(events, key=lambda event: event.data.offset).data for key, events in risks.items()}
    found = filled.execute("SELECT key, p_lost, p_slip, band FROM deal WHERE p_lost IS NOT NULL").fetchall()
    assert {row[0]: row[1:] for row in found} == {key: (d.p_lost, d.p_slip, d.band) for key, d in last.items()}
    scores = {event.id for events in risks.values() for event in events}
    assert len(scores) > 20
    assert {row[0] for row in filled.execute("SELECT id FROM deal_score").fetchall()} == scores
    names = {}
    for record in Cluster(judged).read(PORTFOLIO):
        event = decode(record.value)
        if hasattr(event.data, "deal_id"):
            names[f"default/{event.data.deal_id}"] = (event.data.deal, event.data.amount_minor, event.data.is_open)
    shown = filled.execute("SELECT key, coalesce(name, ''), amount_minor, is_open FROM deal WHERE is_open IS NOT NULL")
    assert {row[0]: row[1:] for row in shown.fetchall()} == names


def test_alerts_and_lists_are_those_that_were_said_and_people_hear_of_each(judged: Kafka, filled: Link) -> None:
    alerts, lists = set(), {}
    for record in Cluster(judged).read(ALERTS):
        if msgspec.json.decode(record.value)["type"] == "tripline.alert.v1":
            alerts.add(decode(record.value).id)
        else:
            data = msgspec.json.decode(record.value, type=RankedEvent).data
            lists[f"default/{data.manager_id}"] = [(place, row.deal_id) for place, row in enumerate(data.rows, 1)]
    assert lists
    assert {row[0] for row in filled.execute("SELECT id FROM alert").fetchall()} == alerts
    assert {row[0] for row in filled.execute("SELECT id FROM outbox WHERE kind = 'notification'")} == alerts
    shown = defaultdict(list)
    for key, rank, deal_id in filled.execute("SELECT key, rank, deal_id FROM top ORDER BY key, rank").fetchall():
        shown[key].append((rank, deal_id))
    assert shown == {key: rows for key, rows in lists.items() if rows}


def test_poison_lies_in_the_store_once_with_its_place(filled: Link) -> None:
    found = filled.execute("SELECT origin, raw FROM dead_letter").fetchall()
    assert sorted((msgspec.json.decode(origin)["topic"], raw) for origin, raw in found) == [
        (ACTIONS, b"not json"),
        (RISK, b"alien"),
    ]


@pytest.mark.faults
def test_whatever_dies_each_action_is_counted_once(kafka: Kafka, short: Path, tmp_path: Path) -> None:
    create(kafka)
    first, second, third = _parts(short, tmp_path)
    server = Postgres()
    try:
        server.start()
        url = server.empty()
        with PgStore(url) as store:
            store.migrate()
        run = [sys.executable, "-m", "tests.kafka.sinking"]
        variables = {**os.environ, **environ(kafka), "TRIPLINE_STORE_URL": url}
        killed = subprocess.Popen(run, env=variables)
        try:
            produce([first], kafka)
            until(lambda: sum(stored(url).values()), "some of it is stored")
        finally:
            killed.kill()
            killed.wait()
        at = sum(stored(url).values())
        produce([second], kafka)
        lasting = subprocess.Popen(run, env=variables)
        try:
            until(lambda: sum(stored(url).values()) > at, "it goes on")
            server.kill()
            produce([third], kafka)
            server.start()
            wait_until_stored(kafka, url)
        finally:
            lasting.kill()
            lasting.wait()
        with PgStore(url) as store:
            link = store.connect()
            counted = link.execute("SELECT sum(actions + changes) FROM agent").fetchone()
            listed = link.execute("SELECT count(*), count(DISTINCT (source, event_id)) FROM action").fetchone()
            link.close()
    finally:
        server.close()
    events = [decode(record.value) for record in Cluster(kafka).read(ACTIONS)]
    distinct = len({(event.source, event.id) for event in events})
    assert len(events) > distinct > 3_000
    assert (listed, int(counted[0])) == ((distinct, distinct), distinct)


def _parts(log: Path, folder: Path) -> list[Path]:
    """The log in three; each part ends with some of what the next one begins with, so that it is sent again."""
    lines = log.read_bytes().splitlines(keepends=True)
    size = len(lines) // 3 + 1
    parts = [folder / f"part-{number}.jsonl" for number in range(3)]
    for number, part in enumerate(parts):
        part.write_bytes(b"".join(lines[number * size : (number + 1) * size + 300]))
    return parts


def test_more_consoles_than_partitions_are_all_content_and_one_that_ends_is_followed_by_another(
    kafka: Kafka, short: Path, database: str, tmp_path: Path
) -> None:
    create(kafka)
    few = tmp_path / "few.jsonl"
    few.write_bytes(b"".join(short.read_bytes().splitlines(keepends=True)[:300]))
    settings = settings_with(kafka, database)
    consoles = [Sinks(settings, PgStore(database), lambda changes: None) for _ in range(kafka.partitions + 1)]
    try:
        for one in consoles:
            one.start()
        until(lambda: not any(one.trouble() for one in consoles), "all are content")
        for one in consoles[:-1]:
            one.stop()
        produce([few], kafka)
        wait_until_stored(kafka, database)
    finally:
        for one in consoles:
            one.stop()
    link = PgStore(database).connect()
    assert link.execute("SELECT count(DISTINCT event_id) FROM action").fetchone()[0] > 200
    link.close()
