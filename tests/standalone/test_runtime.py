"""What a caller of the runtime can rely on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from events import codec
from events.times import DAY_MS, HOUR_MS, MINUTE_MS
from events.types import By
from governance.control import ControlRequest, Why
from governance.gate import GateRequest, Rule
from streams.routing import ACTIONS
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from streams.standalone.types import Changes
from tests.standalone.conftest import NOW_MS, SETTINGS
from tests.standalone.fakes import CountingStage, action_event, batch, tiny_stages
from tests.standalone.test_live_is_replay import mail

Start = Callable[..., Runtime]


def ask(runtime: Runtime, number: int, agent_id: str = "bot", **fields: Any) -> Any:
    request = {"action": "record.update", "object": "Lead", "record_ids": [f"r{number}"], **fields}
    return runtime.check(GateRequest(agent_id=agent_id, **request)).result(10)


def rows(runtime: Runtime, query: str) -> list[tuple[Any, ...]]:
    link = runtime.store.connect()
    try:
        return link.execute(query).fetchall()
    finally:
        link.close()


def test_a_retry_is_answered_as_a_duplicate_and_stored_once(start: Start) -> None:
    runtime = start()
    runtime.ingest(batch("a", 0, 10, NOW_MS)).result(10)
    answers = runtime.ingest(batch("a", 5, 10, NOW_MS)).result(10)
    assert [answer.status for answer in answers] == ["duplicate"] * 5 + ["accepted"] * 5
    assert runtime.status().counts["action"] == 15


def test_a_retry_is_known_after_a_restart(start: Start) -> None:
    runtime = start()
    runtime.ingest(batch("a", 0, 10, NOW_MS)).result(10)
    runtime.close()
    answers = start().ingest(batch("a", 0, 11, NOW_MS)).result(10)
    assert [answer.is_duplicate for answer in answers] == [True] * 10 + [False]


def test_the_same_event_written_otherwise_is_a_duplicate(start: Start) -> None:
    runtime = start()
    event = action_event("a", 1, NOW_MS)
    written = codec.encode(event)
    runtime.ingest([(written, event)]).result(10)
    assert runtime.ingest([(written.replace(b":", b": "), event)]).result(10)[0].is_duplicate


def test_an_id_used_again_with_another_content_goes_to_the_stage_which_tells(start: Start) -> None:
    runtime = start()
    runtime.ingest([(b"", action_event("a", 1, NOW_MS))]).result(10)
    answer = runtime.ingest([(b"", action_event("a", 1, NOW_MS, outcome="error"))]).result(10)
    assert answer[0].status == "accepted"
    assert runtime.status().counts["action"] == 2


def test_an_event_a_year_ahead_is_a_dead_letter(start: Start) -> None:
    runtime = start()
    events = [(b"", action_event("a", 1, NOW_MS)), (b"{1}", action_event("a", 2, NOW_MS + 365 * DAY_MS))]
    answers = runtime.ingest(events).result(10)
    assert [(answer.status, answer.reason) for answer in answers] == [("accepted", ""), ("refused", "time_ahead")]
    assert rows(runtime, "SELECT reason, raw, agent_id, state FROM dead_letter") == [("time_ahead", b"{1}", "a", "new")]


def test_a_dead_letter_is_kept_and_can_be_settled(start: Start) -> None:
    runtime = start()
    number = runtime.dead_letter(b"\xff", "not_json", "not JSON", {"file": "x", "line": 3}, "a").result(10)
    runtime.settle_dead_letters([number]).result(10)
    assert rows(runtime, "SELECT raw, state, redriven_ms FROM dead_letter") == [(b"\xff", "redriven", NOW_MS)]


def test_the_gate_refuses_after_the_admission_that_tripped(start: Start) -> None:
    runtime = start(limit=61)
    decisions = [ask(runtime, number).decision for number in range(65)]
    assert decisions == ["allow"] * 61 + ["deny"] * 4
    assert rows(runtime, "SELECT count(*), min(seq), max(seq) FROM gate_decision WHERE decision = 'allow'") == [
        (61, 1, 61)
    ]


def test_checks_that_wait_together_stop_at_the_same_count(start: Start) -> None:
    runtime = start(limit=10)
    requests = [
        GateRequest(agent_id="bot", action="record.update", object="Lead", record_ids=[f"r{number}"])
        for number in range(50)
    ]
    futures = [runtime.check(request) for request in requests]
    decisions = [future.result(10).decision for future in futures]
    assert decisions == ["allow"] * 10 + ["deny"] * 40


def test_a_report_after_a_trip_finds_the_gate_closed(start: Start) -> None:
    runtime = start(limit=61)
    runtime.ingest(batch("bot", 0, 61, NOW_MS)).result(10)
    assert ask(runtime, 1).rule == Rule.SUSPENDED


def test_admissions_are_numbered_without_a_gap_over_a_restart(start: Start) -> None:
    runtime = start(limit=1000)
    for number in range(5):
        ask(runtime, number)
    runtime.close()
    runtime = start(limit=1000)
    for number in range(5):
        ask(runtime, number)
    assert [row[0] for row in rows(runtime, "SELECT seq FROM gate_decision ORDER BY seq")] == list(range(1, 11))


def test_budgets_hold_over_a_restart(start: Start, clock: ManualClock) -> None:
    toml = '[agents.bot]\nactions = ["record.*"]\nrecords_per_10_min = 3\n'
    runtime = start(toml=toml)
    for number in range(3):
        assert ask(runtime, number).decision == "allow"
    runtime.close()
    clock.move(MINUTE_MS)
    runtime = start(toml=toml)
    assert ask(runtime, 7).rule == Rule.BUDGET
    assert ask(runtime, 1).decision == "allow"
    clock.move(10 * MINUTE_MS)
    assert ask(runtime, 7).decision == "allow"


def test_a_repeated_request_gets_the_same_admission(start: Start) -> None:
    runtime = start()
    first, again = (ask(runtime, 1, request_id="q") for _ in range(2))
    assert first.decision == again.decision == "allow"
    assert first.decision_id == again.decision_id
    assert rows(runtime, "SELECT count(*) FROM gate_decision") == [(1,)]


def test_a_request_id_with_another_content_is_denied_and_a_finding(start: Start) -> None:
    runtime = start()
    ask(runtime, 1, request_id="q")
    assert ask(runtime, 2, request_id="q").rule == Rule.REQUEST_ID
    assert rows(runtime, "SELECT detector, action_taken FROM finding") == [("gate", "notify")]
    assert rows(runtime, "SELECT kind, state FROM outbox") == [("notification", "new")]


def test_a_contact_is_new_until_a_person_of_ours_was_in_touch(start: Start) -> None:
    toml = '[agents.bot]\nactions = ["email.send"]\n'
    runtime = start(toml=toml)
    asked = {"action": "email.send", "record_ids": [], "recipient_ids": ["003C9"]}
    assert ask(runtime, 1, **asked).rule == Rule.FIRST_CONTACT
    runtime.ingest([(b"", mail(1, NOW_MS, 9))]).result(10)
    assert ask(runtime, 1, **asked).decision == "allow"


def test_refusals_beyond_a_number_a_minute_are_only_counted(start: Start) -> None:
    runtime = start()
    for number in range(130):
        ask(runtime, number, agent_id="nobody")
    assert rows(runtime, "SELECT count(*) FROM gate_decision") == [(120,)]
    assert runtime.status().counts["denied"] == 130


def test_who_is_below_a_stopped_agent_is_refused_until_that_one_is_released(start: Start) -> None:
    runtime = start(toml=SETTINGS + '[agents.sub]\nactions = ["record.*"]\nparent = "bot"\n')
    assert ask(runtime, 1, agent_id="sub").decision == "allow"
    runtime.suspend("bot", "eva", "looks wrong").result(10)
    assert ask(runtime, 2, agent_id="sub").rule == "suspended"
    runtime.release("bot", 1, "eva", "fixed").result(10)
    assert ask(runtime, 3, agent_id="sub").decision == "allow"


def test_a_person_stops_and_releases_and_an_old_epoch_is_a_conflict(start: Start) -> None:
    runtime = start()
    stopped = runtime.suspend("bot", "eva", "looks wrong").result(10)
    assert (stopped.row.state, stopped.row.epoch) == ("suspended", 1)
    assert runtime.release("bot", 0, "eva", "fixed").result(10).why == Why.CONFLICT
    released = runtime.release("bot", 1, "eva", "fixed").result(10)
    assert (released.row.state, released.row.epoch, released.row.last_release_epoch) == ("active", 3, 2)
    assert ask(runtime, 1).decision == "allow"
    history = rows(runtime, "SELECT epoch, state, why FROM control_history ORDER BY seq")
    assert history == [
        (1, "suspended", "tightened"),
        (1, "suspended", "conflict"),
        (2, "releasing", "releasing"),
        (3, "active", "released"),
    ]


def test_one_person_stops_all_and_two_end_it(start: Start) -> None:
    runtime = start()
    assert runtime.stop_all("eva", "unclear").result(10).changed
    assert (runtime.status().stop_all, runtime.status().suspended_by) == (True, {})
    assert ask(runtime, 1).rule == Rule.STOP_ALL
    runtime.close()
    runtime = start()
    assert ask(runtime, 1).rule == Rule.STOP_ALL
    assert runtime.end_stop_all(1, "eva", "eva", "clear").result(10).why == Why.NEEDS_TWO
    assert runtime.end_stop_all(1, "eva", "tom", "clear").result(10).changed
    assert ask(runtime, 1).decision == "allow"


def test_a_throttle_ends_at_a_tick_and_a_suspension_does_not(start: Start, clock: ManualClock) -> None:
    runtime = start()
    for agent_id, wanted in (("slow", "throttled"), ("off", "suspended")):
        request = ControlRequest(
            key=f"default/{agent_id}", agent_id=agent_id, wanted=wanted, basis_epoch=0,  # type: ignore[arg-type]
            by=By("detector", "test"), reason="test", at_ms=NOW_MS,
        )  # fmt: skip
        runtime.control(request).result(10)
    clock.move(31 * MINUTE_MS)
    runtime.tick().result(10)
    assert rows(runtime, "SELECT agent_id, state FROM control ORDER BY agent_id") == [
        ("off", "suspended"),
        ("slow", "active"),
    ]


def test_a_persons_stop_does_not_wait_behind_events(start: Start) -> None:
    runtime = start(limit=10**9)
    gate = threading.Event()
    runtime.call(lambda _: gate.wait(10))
    events = runtime.ingest(batch("a", 0, 5_000, NOW_MS), may_wait=True)
    stopped = runtime.suspend("a", "eva", "now")
    events_were_done: list[bool] = []
    stopped.add_done_callback(lambda _: events_were_done.append(events.done()))
    gate.set()
    stopped.result(10)
    events.result(30)
    assert events_were_done == [False]


def test_subscribers_hear_what_changed(start: Start) -> None:
    runtime = start(limit=3)
    heard: list[Changes] = []
    end = runtime.subscribe(heard.append)
    runtime.ingest(batch("bot", 0, 3, NOW_MS)).result(10)
    end()
    runtime.ingest(batch("bot", 3, 3, NOW_MS)).result(10)
    heard = [changes for changes in heard if changes.kinds != {"rows"}]
    assert len(heard) == 1
    assert heard[0].agents == {"bot"}
    assert {"finding", "control"} <= heard[0].kinds
    assert heard[0].counts["action",] == 3
    assert heard[0].counts["finding", "count", "enforce"] == 1
    assert heard[0].wrong_records == [("count", 3)]


def test_subscribers_hear_again_when_the_rows_are_there(start: Start) -> None:
    runtime = start(limit=100)
    heard: list[Changes] = []
    runtime.subscribe(heard.append)
    runtime.ingest(batch("bot", 0, 3, NOW_MS)).result(10)
    assert runtime.projector is not None
    assert runtime.projector.wait_until_idle(10)
    assert [changes.agents for changes in heard if "rows" in changes.kinds] == [{"bot"}]


def test_a_finding_older_than_a_day_stops_nobody_and_tells_nobody(start: Start, clock: ManualClock) -> None:
    class Late(CountingStage):
        """Says today what it saw two days ago, as a stage does whose states were lost."""

        def process(self, entries: Any) -> Any:
            return super().process([(o, at - 48 * HOUR_MS, e) for o, at, e in entries])

    def stages(settings: Any, engine_id: str, ids: Any) -> Any:
        made = dict(tiny_stages(settings, engine_id, ids, 3))
        made[ACTIONS] = Late(made[ACTIONS].partition, 3)
        return made

    runtime = start(stages=stages)
    runtime.ingest(batch("bot", 0, 3, NOW_MS)).result(10)
    assert rows(runtime, "SELECT status FROM finding") == [("recorded",)]
    assert rows(runtime, "SELECT why, changed FROM control_history") == [("too_old", 0)]
    assert rows(runtime, "SELECT * FROM outbox") == []
    assert ask(runtime, 1).decision == "allow"


@pytest.mark.parametrize("size", [1, 499, 500, 501, 1200])
def test_batches_of_any_size_are_answered_in_order(start: Start, size: int) -> None:
    runtime = start(limit=10**9)
    events = batch("a", 0, size, NOW_MS)
    events[size // 2] = (b"", action_event("a", size // 2, NOW_MS + 3 * DAY_MS))
    answers = runtime.ingest(events).result(30)
    assert [answer.status for answer in answers] == [
        "refused" if number == size // 2 else "accepted" for number in range(size)
    ]


def test_numbers_beyond_the_databases_range_are_kept_and_stop_nothing(start: Start) -> None:
    runtime = start(limit=10**9)
    changes = {"r": {"amount": (1, 10**40)}}
    event = action_event("a", 1, NOW_MS, records=2**53, recipients=2**53, changes=changes)
    assert runtime.ingest([(b"", event)]).result(10)[0].status == "accepted"
    assert runtime.projector is not None
    assert runtime.projector.wait_until_idle(10)
    assert runtime.status().degraded_reasons == []
    assert runtime.ingest([(b"", event)]).result(10)[0].is_duplicate
    link = runtime.store.connect_projections()
    assert link.execute("SELECT records, recipients FROM action").fetchall() == [(10**9, 10**9)]
    link.close()


def test_an_event_larger_than_the_default_is_read_again_after_a_restart(start: Start) -> None:
    runtime = start(limit=10**9)
    event = action_event("a", 1, NOW_MS, changes={"r": {"text": ("", "x" * 3_000_000)}})
    runtime.ingest([(b"", event)]).result(10)
    runtime.store.connect().execute("DELETE FROM snapshot")
    runtime.close()
    runtime.store.connect().execute("DELETE FROM snapshot")
    assert start(limit=10**9).status().offsets[ACTIONS] == 2
