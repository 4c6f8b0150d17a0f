"""Rows of what agents did: each record once, counted as attempts, by record and by five minutes."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from events.times import format_ms
from events.types import ActionEvent, Actor, Admission, AdmissionEvent, AgentAction, ChangeEvent, CrmChange
from storage import actions
from storage.actions import ActionRows
from storage.errors import StoreError
from storage.link import Link

NOW_MS = 1_772_442_600_000  # a start of five minutes
TOPIC = "agent.actions"


@pytest.fixture
def link(projected: Link) -> Link:
    return projected


def report(number: int, **fields: Any) -> ActionEvent:
    data = {"agent_id": "bot", "action": "record.update", "outcome": "ok", "object": "Lead", "record_ids": ["r1"]}
    action = AgentAction(**{**data, **fields})
    return ActionEvent(specversion="1.0", id=f"a{number}", source="/crm", time=format_ms(NOW_MS), data=action)


def admission(number: int, decision_id: str, **fields: Any) -> AdmissionEvent:
    data = Admission(
        agent_id="bot", decision_id=decision_id, seq=number, action="record.update", object="Lead", record_ids=["r1"],
        records=1, **fields,
    )  # fmt: skip
    return AdmissionEvent(specversion="1.0", id=f"adm{number}", source="/t", time=format_ms(NOW_MS), data=data)


def put(link: Link, *events: Any, start: int = 0, at_ms: int = NOW_MS) -> None:
    rows = ActionRows()
    rows.load_open(link, 0)
    for offset, event in enumerate(events, start):
        rows.take(offset, at_ms, event)
    rows.write(link, TOPIC, "t1")


def test_a_report_becomes_a_row_a_total_a_bin_and_an_index_entry(link: Link) -> None:
    put(link, report(1, changes={"r1": {"Stage": ("A", "B")}}, records=3, deal_id="r1"))
    assert link.execute(
        'SELECT key, at_ms, "offset", kind, action, record_ids, changes, outcome, records, deal_id, event_id '
        "FROM action"
    ).fetchall() == [
        (
            "default/bot", NOW_MS, 0, "report", "record.update", '["r1"]', '{"r1":{"Stage":["A","B"]}}', "ok", 3, "r1",
            "a1",
        )
    ]  # fmt: skip
    assert link.execute("SELECT actions, records, errors, last_write_ms FROM agent").fetchall() == [(1, 3, 0, NOW_MS)]
    assert link.execute("SELECT bin_ms, actions, records FROM agent_bin").fetchall() == [(NOW_MS, 1, 3)]
    assert link.execute("SELECT object, record_id, key FROM action_record").fetchall() == [
        ("Lead", "r1", "default/bot")
    ]


def test_the_report_of_an_admitted_operation_replaces_its_admission_and_counts_once(link: Link) -> None:
    put(link, admission(1, "d1"))
    assert link.execute("SELECT kind, outcome FROM action").fetchall() == [("admission", "admitted")]
    put(link, report(1, decision_id="d1"), start=1, at_ms=NOW_MS + 1000)
    assert link.execute("SELECT kind, outcome FROM action").fetchall() == [("report", "ok")]
    assert link.execute("SELECT actions, records, admitted FROM agent").fetchall() == [(1, 1, 1)]
    assert link.execute("SELECT actions, admitted FROM agent_bin").fetchall() == [(1, 1)]


def test_totals_and_bins_add_up_over_writes(link: Link) -> None:
    put(link, report(1), report(2, outcome="error"))
    put(link, report(3), start=2, at_ms=NOW_MS + 300_000)
    assert link.execute("SELECT actions, errors, first_seen_ms, last_seen_ms FROM agent").fetchall() == [
        (3, 1, NOW_MS, NOW_MS + 300_000)
    ]
    assert link.execute("SELECT bin_ms, actions, errors FROM agent_bin ORDER BY bin_ms").fetchall() == [
        (NOW_MS, 2, 1),
        (NOW_MS + 300_000, 1, 0),
    ]


def test_refusals_and_bands_are_added_to_their_five_minutes(link: Link) -> None:
    rows = ActionRows()
    rows.denied("default/bot", NOW_MS + 5)
    rows.denied("default/bot", NOW_MS + 6)
    rows.band("default/bot", NOW_MS, 38.0, 61.0)
    rows.write(link, TOPIC, "t1")
    put(link, report(1))
    assert link.execute('SELECT denied, actions, expected, "limit" FROM agent_bin').fetchall() == [(2, 1, 38.0, 61.0)]
    assert link.execute("SELECT denied FROM agent").fetchall() == [(2,)]


def test_a_change_that_the_crm_saw_is_a_row_but_no_attempt(link: Link) -> None:
    data = CrmChange(object="Lead", record_id="r9", op="update", changes={"x": (1, 2)}, actor=Actor("agent", "bot"))
    put(link, ChangeEvent(specversion="1.0", id="c", source="/crm", time=format_ms(NOW_MS), data=data))
    assert link.execute("SELECT kind, action, record_ids FROM action").fetchall() == [
        ("change", "record.update", '["r9"]')
    ]
    assert link.execute("SELECT actions, changes FROM agent").fetchall() == [(0, 1)]


def test_the_position_is_stored_with_the_rows(link: Link) -> None:
    assert actions.position(link, TOPIC, "t1") == 0
    put(link, report(1), report(2))
    assert actions.position(link, TOPIC, "t1") == 2


def test_rows_of_another_log_are_dropped(link: Link) -> None:
    put(link, report(1))
    assert actions.position(link, TOPIC, "t2") == 0
    assert link.execute("SELECT count(*) FROM action").fetchone() == (0,)


def test_a_write_that_fails_changes_nothing(link: Link) -> None:
    rows = ActionRows()
    rows.take(0, NOW_MS, report(1))
    link.execute("DROP TABLE agent_bin")
    with pytest.raises((sqlite3.OperationalError, StoreError)):
        rows.write(link, TOPIC, "t1")
    assert link.execute("SELECT count(*) FROM action").fetchone() == (0,)
    assert not link.in_transaction


def test_old_rows_go_a_piece_at_a_time(link: Link) -> None:
    put(link, *[report(n) for n in range(10)])
    put(link, report(11), start=10, at_ms=NOW_MS + 1000)
    assert actions.drop_before(link, NOW_MS + 1, most=6) == 6
    assert actions.drop_before(link, NOW_MS + 1, most=6) == 4
    assert link.execute("SELECT event_id FROM action").fetchall() == [("a11",)]
    assert link.execute("SELECT at_ms FROM action_record").fetchall() == [(NOW_MS + 1000,)]


def test_two_tenants_never_meet(link: Link) -> None:
    other = ActionEvent(
        specversion="1.0", id="a1", source="/crm", time=format_ms(NOW_MS), tenant="acme",
        data=AgentAction(agent_id="bot", action="record.update", outcome="ok", object="Lead", record_ids=["r1"]),
    )  # fmt: skip
    put(link, report(1), other)
    assert link.execute("SELECT key, tenant, actions FROM agent ORDER BY key").fetchall() == [
        ("acme/bot", "acme", 1),
        ("default/bot", "default", 1),
    ]
    assert link.execute("SELECT tenant, record_id FROM action_record ORDER BY tenant").fetchall() == [
        ("acme", "r1"),
        ("default", "r1"),
    ]
