"""Filing, on a real PostgreSQL: each record once, whoever files it, and what can't be stored holds nothing up."""

from __future__ import annotations

import base64
import queue
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace

from events.codec import encode
from events.times import format_ms
from events.types import (
    ActionEvent,
    Admission,
    AdmissionEvent,
    AgentAction,
    Alert,
    AlertEvent,
    DeadLetter,
    DeadLetterEvent,
    DealRisk,
    Event,
    ModelInfo,
    PortfolioScore,
    Reason,
    RiskEvent,
    ScoreEvent,
)
from governance.settings import parse_settings
from scoring.alerts import RankedDeals, RankedEvent
from storage.errors import StoreMismatch
from storage.postgres import PgLink, PgStore, Told, Wire, tell
from streams.kafka.partition import partition_of
from streams.kafka.sinks.acted import KEEP_MS, Acted
from streams.kafka.sinks.filing import Apart, Filing
from streams.kafka.sinks.records import Taken, read
from streams.kafka.sinks.told import Alerts, Letters, Names, Risks
from streams.kafka.spec import ALERTS, DEAD_LETTERS, RISK
from streams.routing import ACTIONS, PORTFOLIO
from streams.standalone.types import Changes
from tests.kafka.working import until

PARTITIONS = 3
NOW_MS = 1_772_442_600_000
TOPIC_ID = "t1"
AGENTS = [name for name in (f"bot-{n}" for n in range(40)) if partition_of(f"default/{name}", PARTITIONS) == 1][:4]
SETTINGS = parse_settings(None, {})


class Record:
    """As a consumer gives it."""

    def __init__(self, offset: int, value: bytes | None, partition: int = 1) -> None:
        self.offset, self.value, self.partition, self.timestamp = offset, value, partition, NOW_MS + offset
        self.headers: list[tuple[str, bytes]] = []


class Desk:
    """A console's filing, and what it told the pages."""

    def __init__(self, database: str) -> None:
        self.told: list[Changes] = []
        models = (Acted(PARTITIONS), Risks(), Names(), Alerts(SETTINGS, lambda: NOW_MS), Letters())
        self.store = PgStore(database)
        self.filing = Filing(self.store, models, self.told.append)

    def open(self, *topics: str) -> Desk:
        for topic in topics or (ACTIONS,):
            self.filing.position((topic, 1), TOPIC_ID)
        return self

    def file(self, topic: str, *values: bytes | Event | None, start: int = 0, since: int | None = None) -> None:
        self.filing.file(taken(topic, values, start), {(topic, 1): start if since is None else since})

    def count(self, *what: str) -> int:
        return sum(changes.counts.get(what, 0) for changes in self.told)


def taken(topic: str, values: Sequence[bytes | Event | None], start: int = 0) -> list[Taken]:
    raws = [encode(value) if isinstance(value, Event) else value for value in values]
    return read(topic, [Record(offset, raw) for offset, raw in enumerate(raws, start)])


@pytest.fixture
def link(database: str) -> PgLink:
    return PgStore(database).connect()


def report(number: int, agent: str = AGENTS[0], **fields: Any) -> ActionEvent:
    data = {"agent_id": agent, "action": "record.update", "outcome": "ok", "object": "Lead", "record_ids": ["r1"]}
    action = AgentAction(**{**data, **fields})
    return ActionEvent(specversion="1.0", id=f"a{number}", source="/crm", time=format_ms(NOW_MS), data=action)


def admission(decision_id: str, event_id: str = "adm") -> AdmissionEvent:
    data = Admission(
        agent_id=AGENTS[0], decision_id=decision_id, seq=1, action="record.update", object="Lead", record_ids=["r1"],
        records=1,
    )  # fmt: skip
    return AdmissionEvent(specversion="1.0", id=event_id, source="/t", time=format_ms(NOW_MS), data=data)


def risk(offset: int, p_lost: float = 0.4) -> RiskEvent:
    data = DealRisk(
        deal_id="d1", manager_id="eva", owner_id="tom", at=format_ms(NOW_MS), offset=offset, p_lost=p_lost,
        p_lost_14d=0.1, p_slip=0.2, p_won_by={"30": 0.3}, band="watch", base=-1.0,
        reasons=[Reason("silence", 0.5, "silent for 9 days")], model=ModelInfo(kind="hand", version=1, proven=False),
        cause="a tick",
    )  # fmt: skip
    return RiskEvent(specversion="1.0", id=f"r{offset}", source="/t", time=format_ms(NOW_MS), data=data)


def an_alert(deal_id: str, rank: int = 1) -> Alert:
    return Alert(
        alert_id=f"al-{deal_id}", kind="deal_risk", manager_id="eva", deal_id=deal_id, deal="Deal", account="Acme",
        amount="1.00", currency="EUR", close_date=None, link=None, at=format_ms(NOW_MS), rank=rank, p_lost=0.5,
        p_slip=0.5, reasons=[], recommended_action="call", open_deals=3,
    )  # fmt: skip


def alert(id_: str, at_ms: int = NOW_MS) -> AlertEvent:
    return AlertEvent(specversion="1.0", id=id_, source="/t", time=format_ms(at_ms), data=an_alert("d1"))


def ranked(id_: str, at_ms: int, *deals: str) -> RankedEvent:
    rows = [an_alert(deal_id, rank) for rank, deal_id in enumerate(deals, 1)]
    data = RankedDeals(manager_id="eva", at=format_ms(at_ms), open_deals=3, rows=rows, close_out=[], close_out_deals=0)
    return RankedEvent(specversion="1.0", id=id_, source="/t", time=format_ms(at_ms), data=data)


def score(deal_id: str) -> ScoreEvent:
    data = PortfolioScore(
        deal_id=deal_id, manager_id="eva", owner_id="tom", deal="Deal", account="Acme", amount_minor=100,
        currency="EUR", stage="Proposal", close_date="2026-03-31", link="", is_open=True,
        p_lost=0.4, p_lost_14d=0.1, p_slip=0.2, recommended_action="call",
    )  # fmt: skip
    return ScoreEvent(specversion="1.0", id=f"s-{deal_id}", source="/t", time=format_ms(NOW_MS), data=data)


def totals(link: PgLink) -> dict[str, int]:
    return dict(link.execute("SELECT agent_id, actions FROM agent ORDER BY key").fetchall())


def test_consoles_that_both_think_a_partition_is_theirs_count_each_record_once(database: str, link: PgLink) -> None:
    values = [report(n, AGENTS[n % 4]) for n in range(600)]

    def work(seed: int) -> None:
        rng, desk, at = random.Random(seed), Desk(database).open(), 0
        while at < len(values):
            step = rng.randint(1, 40)
            desk.file(ACTIONS, *values[at : at + step], start=at)
            at += step
        desk.filing.close()

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work, seed) for seed in range(3)]:
            done.result(60)
    assert totals(link) == dict.fromkeys(sorted(AGENTS), 150)
    assert link.execute("SELECT count(*), count(DISTINCT event_id) FROM action").fetchone() == (600, 600)
    assert link.execute("SELECT sum(actions) FROM agent_bin").fetchone() == (600,)
    assert link.execute("SELECT next_offset FROM watermark").fetchall() == [(600,)]


def test_an_event_that_is_sent_again_counts_once_also_after_a_restart(database: str, link: PgLink) -> None:
    Desk(database).open().file(ACTIONS, report(1), report(2), report(1))
    Desk(database).open().file(ACTIONS, report(2), report(3), report(1), start=3)
    assert totals(link) == {AGENTS[0]: 3}
    assert link.execute('SELECT event_id, "offset" FROM action ORDER BY 2').fetchall() == [
        ("a1", 1), ("a2", 1_001), ("a3", 4_001),
    ]  # fmt: skip


def test_an_event_that_is_sent_again_much_later_counts_once(database: str, link: PgLink) -> None:
    desk = Desk(database).open()
    desk.file(ACTIONS, *[report(n) for n in range(1_500)])
    desk.file(ACTIONS, report(0), report(1_500), start=1_500)
    assert totals(link) == {AGENTS[0]: 1_501}
    assert desk.count("duplicate") == 1


def test_an_event_that_another_console_stored_meanwhile_counts_once(database: str, link: PgLink) -> None:
    first, second = Desk(database).open(), Desk(database).open()
    first.file(ACTIONS, report(1))
    second.file(ACTIONS, report(1), report(2))
    first.file(ACTIONS, report(1), report(2), report(2), report(3))  # a zombie: it has read further already
    assert totals(link) == {AGENTS[0]: 3}


def test_an_admission_that_comes_again_after_its_report_is_not_counted_again(database: str, link: PgLink) -> None:
    Desk(database).open().file(ACTIONS, admission("d1"))
    assert link.execute("SELECT kind FROM action").fetchall() == [("admission",)]
    Desk(database).open().file(ACTIONS, report(1, decision_id="d1"), admission("d1", "again"), start=1)
    Desk(database).open().file(ACTIONS, admission("d1"), start=3)
    assert link.execute("SELECT kind FROM action").fetchall() == [("report",)]
    assert link.execute("SELECT actions, admitted FROM agent").fetchall() == [(1, 1)]


def test_what_lies_in_the_wrong_partition_waits_for_the_worker_to_move_it(database: str, link: PgLink) -> None:
    stranger = next(n for n in map(str, range(99)) if partition_of(f"default/{n}", PARTITIONS) != 1)
    Desk(database).open().file(ACTIONS, report(1, stranger), report(2))
    assert totals(link) == {AGENTS[0]: 1}


def test_a_record_that_cannot_be_read_or_stored_becomes_a_dead_letter_and_the_others_go_on(
    database: str, link: PgLink
) -> None:
    desk = Desk(database).open(RISK, ACTIONS)
    good, impossible = risk(1), encode(risk(2)).replace(b'"offset":2', b'"offset":9223372036854775808')
    desk.file(RISK, good, b"not json", impossible, report(1), risk(3), None)
    assert [row[0] for row in link.execute("SELECT id FROM deal_score ORDER BY 1")] == ["r1", "r3"]
    letters = link.execute("SELECT reason, raw, letter_id FROM dead_letter ORDER BY letter_id").fetchall()
    assert letters == [
        ("not_json", b"not json", "deal.risk:1:1"),
        ("bad_value", impossible, "deal.risk:1:2"),
        ("type_not_allowed", encode(report(1)), "deal.risk:1:3"),
        ("empty", b"", "deal.risk:1:5"),
    ]
    assert link.execute("SELECT next_offset FROM watermark WHERE topic = 'deal.risk'").fetchall() == [(6,)]
    assert desk.count("dead_letter", "not_json") == 1
    desk.file(ACTIONS, b"not json", report(7))  # a worker reports it
    assert link.execute("SELECT count(*) FROM dead_letter").fetchall() == [(4,)]
    assert totals(link) == {AGENTS[0]: 1}


def test_a_letter_that_comes_again_is_kept_once(database: str, link: PgLink) -> None:
    data = DeadLetter(
        reason="not_json", message="m", origin={"topic": ACTIONS, "offset": 7},
        raw=base64.b64encode(b"\0raw").decode(), at=format_ms(NOW_MS),
    )  # fmt: skip
    letter = DeadLetterEvent(specversion="1.0", id="l1", source="/t", time=format_ms(NOW_MS), data=data)
    desk = Desk(database).open(DEAD_LETTERS)
    desk.file(DEAD_LETTERS, letter, letter, replace(letter, id="l2"))
    found = link.execute("SELECT letter_id, raw, origin FROM dead_letter ORDER BY id").fetchall()
    assert found == [(id_, b"\0raw", '{"topic":"agent.actions","offset":7}') for id_ in ("l1", "l2")]
    assert desk.count("dead_letter", "not_json") == 2


def test_people_hear_of_an_alert_once_and_not_of_a_stale_one(database: str, link: PgLink) -> None:
    old = NOW_MS - SETTINGS.engine.stale_request_hours * 3_600_000 - 1
    desk = Desk(database).open(ALERTS)
    desk.file(ALERTS, alert("al-1"), alert("al-1"), alert("al-old", old))
    assert link.execute("SELECT id FROM alert ORDER BY id").fetchall() == [("al-1",), ("al-old",)]
    assert link.execute("SELECT id, kind, key FROM outbox").fetchall() == [("al-1", "notification", "default/eva")]
    assert desk.count("alert", "deal_risk") == 2


def test_an_older_list_that_comes_again_does_not_replace_a_newer_one(database: str, link: PgLink) -> None:
    desk = Desk(database).open(ALERTS)
    desk.file(
        ALERTS, ranked("t1", NOW_MS, "d1", "d2"), ranked("t2", NOW_MS + 5, "d3"), ranked("t1", NOW_MS, "d1", "d2")
    )
    assert link.execute("SELECT rank, deal_id FROM top").fetchall() == [(1, "d3")]


def test_a_topic_that_was_made_anew_is_refused_with_what_to_do(database: str) -> None:
    desk = Desk(database).open()
    with pytest.raises(StoreMismatch, match=r"made anew.*take the rows of agent\.actions out of the table watermark"):
        desk.filing.position((ACTIONS, 1), "t2")


def test_a_store_that_went_back_to_a_backup_is_read_again_from_there(database: str, link: PgLink) -> None:
    desk = Desk(database).open()
    desk.file(ACTIONS, report(1), report(2))
    link.execute("DELETE FROM action")
    link.execute("DELETE FROM agent")
    link.execute("UPDATE watermark SET next_offset = 0")
    with pytest.raises(Apart):
        desk.file(ACTIONS, report(3), start=2)
    assert desk.filing.position((ACTIONS, 1), TOPIC_ID) == 0
    desk.file(ACTIONS, report(1), report(2), report(3))
    assert totals(link) == {AGENTS[0]: 3}


def test_records_that_do_not_join_what_is_stored_are_not_stored_and_nothing_is_passed_over(
    database: str, link: PgLink
) -> None:
    desk = Desk(database).open()
    desk.file(ACTIONS, report(1))
    with pytest.raises(Apart, match="1 records are stored, the next in hand is 3"):
        desk.file(ACTIONS, report(4), report(5), start=3)
    assert link.execute("SELECT next_offset FROM watermark").fetchall() == [(1,)]
    desk.file(ACTIONS, report(4), report(5), start=3, since=1)  # compaction took two: all that there is since 1
    assert link.execute("SELECT next_offset FROM watermark").fetchall() == [(5,)]
    assert totals(link) == {AGENTS[0]: 3}


def test_what_retention_has_dropped_is_passed_over_knowingly(database: str, link: PgLink) -> None:
    desk = Desk(database).open()
    desk.file(ACTIONS, report(1))
    assert desk.filing.position((ACTIONS, 1), TOPIC_ID, 7) == 7
    assert desk.filing.position((ACTIONS, 1), TOPIC_ID, 3) == 7
    desk.file(ACTIONS, report(8), start=7)
    assert totals(link) == {AGENTS[0]: 2}


def test_two_topics_that_write_the_same_deals_in_any_order_never_deadlock(database: str, link: PgLink) -> None:
    deals = [f"d{n}" for n in range(30)]
    start = threading.Barrier(2)

    def work(topic: str, events: list[Event]) -> None:
        desk = Desk(database).open(topic)
        for n in range(20):
            start.wait(30)
            desk.file(topic, *events, start=n * len(events))
        desk.filing.close()

    risks = [replace(risk(1), data=replace(risk(1).data, deal_id=deal)) for deal in deals]
    with ThreadPoolExecutor(2) as pool:
        for done in [
            pool.submit(work, RISK, risks),
            pool.submit(work, PORTFOLIO, [score(deal) for deal in reversed(deals)]),
        ]:
            done.result(60)
    assert link.execute("SELECT count(p_lost), count(name) FROM deal").fetchone() == (30, 30)


def test_pages_hear_of_which_agents_and_deals_there_is_news(database: str) -> None:
    desk = Desk(database).open(ACTIONS, RISK)
    desk.file(ACTIONS, report(1))
    desk.file(RISK, risk(1))
    assert [(set(c.agents), set(c.deals)) for c in desk.told] == [({AGENTS[0]}, set()), (set(), {"d1"})]
    assert [set(c.kinds) for c in desk.told] == [{"agent", "rows"}, {"deal"}]


def test_rows_that_are_too_old_go_with_the_logs_time(database: str, link: PgLink) -> None:
    desk = Desk(database).open()
    late = Record(1, encode(report(2)))
    late.timestamp = NOW_MS + KEEP_MS + 1
    desk.file(ACTIONS, report(1))
    desk.filing.file(read(ACTIONS, [late]), {(ACTIONS, 1): 1})
    assert desk.filing.clean()
    assert not desk.filing.clean()
    assert link.execute("SELECT event_id FROM action").fetchall() == [("a2",)]
    assert link.execute("SELECT count(*) FROM action_record").fetchall() == [(1,)]
    assert totals(link) == {AGENTS[0]: 2}


def test_other_consoles_hear_what_was_written_once_it_is_committed(database: str) -> None:
    heard: queue.Queue[Told] = queue.Queue()
    wire = Wire(PgStore(database), heard.put, own=("ours",))
    wire.start()
    until(lambda: wire.is_listening, "it listens")
    link = PgStore(database).connect()
    tell(link, Told("ours", ["me"], [], ["agent"]))
    link.execute("BEGIN IMMEDIATE")
    tell(link, Told("theirs", ["undone"], [], ["agent"]))
    link.execute("ROLLBACK")
    many = [f"agent-{n}-{'x' * 200}" for n in range(100)]
    tell(link, Told("theirs", many, ["d1"], ["agent"]))
    found: set[str] = set()
    while len(found) < 101:
        told = heard.get(timeout=20)
        found |= {*told.agents, *told.deals}
        assert (told.origin, told.kinds) == ("theirs", ["agent"])
    assert found == {*many, "d1"}
    link.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    until(lambda: not wire.is_listening, "it noticed")
    until(lambda: wire.is_listening, "it listens again")
    tell(link, Told("theirs", [], [], ["tick"]))
    assert heard.get(timeout=20).kinds == ["tick"]
    wire.stop()
