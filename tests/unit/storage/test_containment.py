"""What was seen outside the gate, in the store, on both databases: each event once, counted, and what waits."""

from __future__ import annotations

from typing import Any

from governance.containment import Admitted, SeenWrite
from governance.gate import GateDecision, GateRequest, Rule, operation_of
from governance.holding import Pending
from storage import cancellations, containment, gate
from storage.cancellations import Cancellation, Try
from storage.gate import decision_row
from storage.link import Link
from storage.read import Reader
from storage.read.containment import of_agent
from storage.read.store import reading
from storage.sql import insert_many
from storage.tables import action as action_table
from storage.tables import control as control_table

NOW, KEY = 1_772_443_200_000, "default/bot"


def a_write(number: int, **more: Any) -> SeenWrite:
    fields: dict[str, Any] = {
        "key": KEY, "agent_id": "bot", "event_id": f"/crm c{number}", "identity": "agent bot",
        "effect_ms": NOW + number, "object": "Lead", "ids": (f"r{number}",), "op": "update",
    }  # fmt: skip
    return SeenWrite(**{**fields, **more})


def test_each_write_is_kept_and_counted_once_since_its_stop(link: Link, reader: Reader) -> None:
    assert containment.keep(link, "leaked", NOW, [a_write(1), a_write(2)], NOW + 50) == (2, 2)
    assert containment.keep(link, "leaked", NOW, [a_write(2), a_write(3)], NOW + 60) == (1, 3)
    assert containment.keep(link, "leaked", NOW - 9_000, [a_write(9, effect_ms=NOW - 8_000)], NOW) == (1, 1)
    assert containment.keep(link, "shadow", NOW - 600_000, [a_write(5)], NOW + 70) == (1, 1)
    with reading(reader.engine) as connection:
        now = of_agent(connection, "default", KEY, NOW, NOW + 100)
        free = of_agent(connection, "default", KEY, None, NOW + 100)
        other = of_agent(connection, "default", "default/other", NOW, NOW + 100)
    assert (now.leaked, now.in_flight, now.last_leaked_ms, now.shadow_48h) == (3, 0, NOW + 3, 1)
    assert [row.record_id for row in now.writes] == ["r5", "r3", "r2", "r1", "r9"]
    assert (free.leaked, free.shadow_48h) == (0, 1)
    assert (other.leaked, other.shadow_48h, other.writes) == (0, 0, [])
    containment.drop_before(link, NOW + 60)
    assert link.execute("SELECT event_id FROM outside_write ORDER BY at_ms").fetchall() == [("/crm c3",), ("/crm c5",)]


def test_what_waits_is_taken_out_when_it_is_due(link: Link) -> None:
    containment.wait(link, KEY, NOW + 10, [a_write(1), a_write(2)])
    containment.wait(link, "default/other", NOW + 20, [a_write(3, key="default/other")])
    assert containment.due_keys(link, NOW + 9) == []
    assert containment.due_keys(link, NOW + 10) == [KEY]
    assert containment.take_due(link, KEY, NOW + 10) == [a_write(1), a_write(2)]
    assert containment.take_due(link, KEY, NOW + 10) == []
    assert containment.due_keys(link, NOW + 30) == ["default/other"]


def test_a_feeds_life_only_goes_forward_and_a_gap_stays(link: Link, reader: Reader) -> None:
    containment.heard(link, "default", "sf", NOW, NOW + 5)
    containment.heard(link, "default", "sf", NOW - 7, NOW + 6)
    containment.heard(link, "default", "sf", NOW + 2, NOW + 7, gap_ms=NOW + 7)
    containment.heard(link, "default", "sf", NOW + 3, NOW + 8)
    containment.heard(link, "else", "sf", NOW + 99, NOW + 99)
    with reading(reader.engine) as connection:
        (feed,) = of_agent(connection, "default", KEY, None, NOW).feeds
    assert (feed.system, feed.alive_ms, feed.heard_ms, feed.lost_ms) == ("sf", NOW + 3, NOW + 8, NOW + 7)


def test_what_was_let_pass_is_found_by_time_filed_or_not(link: Link) -> None:
    def row(number: int, at_ms: int, decision: Any = "allow") -> gate.Row:
        request = GateRequest(
            agent_id="bot", action="email.send", object="Lead", record_ids=["003A0000012abcDIAA"],
            recipient_ids=["Ann@Example.com"],
        )  # fmt: skip
        made = GateDecision(decision=decision, reason="", rule=Rule.ALLOWED, epoch=0, decision_id=f"d{number}")
        return decision_row(request, KEY, operation_of(request), made, at_ms)

    gate.file_decisions(link, [row(1, NOW), row(2, NOW + 5), row(3, NOW + 5, "deny"), row(4, NOW + 9)])
    ids = frozenset({"003A0000012abcDIAA", "ann@example.com"})
    assert list(containment.admitted(link, KEY, NOW + 1, NOW + 8)) == [Admitted(NOW + 5, ids, "Lead")]
    assert list(containment.admitted_in([row(5, NOW + 6), row(6, NOW, "deny")], KEY)) == [
        Admitted(NOW + 6, ids, "Lead")
    ]
    assert list(containment.admitted_in([row(5, NOW + 6)], "default/other")) == []


def test_what_an_agent_set_up_before_its_stop_is_listed(link: Link, projected: Link, reader: Reader) -> None:
    def did(number: int, action: str, what: str, outcome: str = "ok", at_ms: int = NOW - 60_000) -> tuple[Any, ...]:
        values = {
            "key": KEY, "at_ms": at_ms, "offset": number, "effect_ms": at_ms, "agent_id": "bot", "kind": "report",
            "action": action, "object": what, "record_ids": f'["r{number}"]', "outcome": outcome, "records": 1,
            "recipients": 0, "is_external": False, "source": "/a", "event_id": f"e{number}",
        }  # fmt: skip
        return tuple(values.get(column.name) for column in action_table.columns)

    rows = [
        did(1, "sequence.enroll", "Contact"), did(2, "record.create", "Flow"), did(3, "record.create", "Lead"),
        did(4, "sequence.enroll", "Contact", "denied"), did(5, "meeting.schedule", "Event", at_ms=NOW - 49 * 3_600_000),
    ]  # fmt: skip
    insert_many(projected, action_table, rows)
    containment.beat(link, "one", NOW, "")
    with reading(reader.engine) as connection:
        stop = of_agent(connection, "default", KEY, NOW, NOW + 100, NOW + 3).stop
    assert stop is not None
    assert [(one.action, one.object, one.record_id) for one in stop.pending] == [
        ("record.create", "Flow", "r2"), ("sequence.enroll", "Contact", "r1"),
    ]  # fmt: skip
    assert asked_for(link, stop.pending[1]) == "asked"
    with reading(reader.engine) as connection:
        stop = of_agent(connection, "default", KEY, NOW, NOW + 100, NOW + 3).stop
    assert stop is not None
    assert [one.state for one in stop.pending] == ["", "asked"]
    assert stop.cancellations == {"asked": 1}
    assert (stop.stop_ms, stop.decided_ms, [gate.gate for gate in stop.gates]) == (NOW, NOW + 3, ["one"])


def a_cancellation(**more: Any) -> Cancellation:
    fields: dict[str, Any] = {
        "id": "one", "key": KEY, "since_ms": NOW, "action": "sequence.enroll", "object": "Contact", "record_id": "r1",
        "effect_ms": NOW - 9, "reviewed_by": "", "state": "asked", "attempts": 0, "asked_ms": NOW, "due_ms": NOW,
        "done_ms": None, "by_kind": "detector", "by_id": "gate", "reason": "stopped", "result": "",
    }  # fmt: skip
    return Cancellation(**{**fields, **more})


def asked_for(link: Link, one: Pending) -> str:
    """Have it cancelled; the state that is kept."""
    wanted = a_cancellation(since_ms=NOW + 3, action=one.action, object=one.object, record_id=one.record_id)
    assert cancellations.ask(link, wanted)
    return cancellations.of_stop(link, KEY, NOW + 3)[0].state


def test_what_a_person_asks_for_while_it_waits_is_the_persons(link: Link) -> None:
    by_itself = a_cancellation()
    assert cancellations.ask(link, by_itself)
    assert cancellations.ask(link, a_cancellation(by_kind="human", by_id="maya", reason="all of it", asked_ms=NOW + 5))
    assert not cancellations.ask(link, a_cancellation(by_kind="human", by_id="jo"))
    (hers,) = cancellations.due(link, NOW)
    assert (hers.by_kind, hers.by_id, hers.reason, hers.asked_ms) == ("human", "maya", "all of it", NOW)
    assert cancellations.note(link, by_itself, Try(NOW + 1, "impossible", "maya approved it"), NOW + 1) is None
    assert cancellations.note(link, by_itself, Try(NOW + 1, "cancelled", "deleted"), NOW + 1) is not None
    assert cancellations.done(link, KEY) == {("sequence.enroll", "Contact", "r1", NOW - 9)}


def test_all_that_is_stopped_is_found_and_whether_it_lasts(link: Link) -> None:
    values = {"epoch": 1, "last_release_epoch": 0, "by_kind": "human", "by_id": "maya", "reason": "look"}
    rows = [
        {**values, "key": f"default/{name}", "agent_id": name, "state": state, "at_ms": NOW + at}
        for at, (name, state) in enumerate(
            [("*", "suspended"), ("a", "suspended"), ("b", "active"), ("c", "suspended")]
        )
    ]
    insert_many(link, control_table, [tuple(row.get(column.name) for column in control_table.columns) for row in rows])
    assert cancellations.stopped(link) == [("default/*", NOW), ("default/c", NOW + 3), ("default/a", NOW + 1)]
    assert cancellations.holds(link, ["default/b", "default/*"], NOW)
    assert not cancellations.holds(link, ["default/b", "default/*"], NOW + 2)
    assert not cancellations.holds(link, ["default/a"], NOW)


def test_a_cancellation_is_asked_once_and_keeps_each_of_its_attempts(link: Link) -> None:
    one = a_cancellation()
    assert [cancellations.ask(link, one) for _ in range(2)] == [True, False]
    assert not cancellations.ask(link, a_cancellation(asked_ms=NOW + 5))  # it is under way
    assert cancellations.due(link, NOW - 1) == []
    assert cancellations.due(link, NOW) == [one]
    later = cancellations.note(link, one, Try(NOW + 1, "later", "503"), NOW + 2_001)
    assert later is not None
    assert cancellations.note(link, one, Try(NOW + 1, "cancelled", "twice"), 0) is None  # another process was faster
    assert cancellations.due(link, NOW + 2_000) == []
    assert cancellations.due(link, NOW + 2_001) == [later]
    refused = cancellations.note(link, later, Try(NOW + 2_002, "refused", "403"), NOW + 2_002)
    assert refused is not None
    assert (refused.state, refused.result, [each.state for each in refused.tries]) == (
        "refused", "403", ["later", "refused"],
    )  # fmt: skip
    assert not cancellations.ask(link, a_cancellation(asked_ms=NOW + 3_000))  # nothing asks again by itself
    assert cancellations.ask(link, a_cancellation(asked_ms=NOW + 3_000, due_ms=NOW + 3_000, by_kind="human"))
    (again,) = cancellations.due(link, NOW + 3_000)
    assert (again.attempts, len(again.tries), again.by_kind) == (0, 2, "human")
    assert cancellations.note(link, again, Try(NOW + 3_001, "cancelled", "gone"), NOW + 3_001) is not None
    assert not cancellations.ask(link, a_cancellation(asked_ms=NOW + 4_000, by_kind="human"))
    containment.drop_before(link, NOW + 4_000)
    assert cancellations.of_stop(link, KEY, NOW) == []
