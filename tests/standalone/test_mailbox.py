"""Answers of the gate that come together: once a round, with the token of each check, whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from governance.gate import GateDecision, GateRequest, Rule
from streams.standalone.runtime import Runtime
from tests.standalone.test_time import wait_for

Start = Callable[..., Runtime]
Answers = list[tuple[Any, GateDecision]]


def request(number: int, **more: Any) -> GateRequest:
    asked = {"agent_id": "bot", "action": "record.update", "object": "Lead", "record_ids": [f"r{number}"], **more}
    return GateRequest(**asked)


def test_checks_that_wait_together_are_answered_together(start: Start) -> None:
    runtime = start(limit=1000)
    told: list[Answers] = []
    box = runtime.mailbox(told.append)
    waits, go = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        waits.set()
        go.wait(10)

    held = runtime.call(hold)
    assert waits.wait(10)
    for number in range(20):
        runtime.ask(request(number), box, number)
    go.set()
    held.result(10)
    wait_for(lambda: sum(map(len, told)) == 20)
    assert len(told) == 1
    assert [token for token, _ in told[0]] == list(range(20))
    assert {decision.decision for _, decision in told[0]} == {"allow"}


def test_an_answer_is_handed_over_after_its_admission_is_durable(start: Start) -> None:
    runtime = start(limit=1000)
    seen: list[int] = []
    store = runtime.store

    def look(answers: Answers) -> None:
        link = store.connect()
        found = link.execute("SELECT count(*) FROM gate_decision WHERE decision_id = ?", (answers[0][1].decision_id,))
        seen.append(found.fetchone()[0])
        link.close()

    runtime.ask(request(1), runtime.mailbox(look), None)
    wait_for(lambda: bool(seen))
    assert seen == [1]


def test_a_mailbox_that_fails_stops_nobody(start: Start) -> None:
    runtime = start(limit=1000)

    def fail(_: Answers) -> None:
        raise RuntimeError("nobody at home")

    runtime.ask(request(1), runtime.mailbox(fail), None)
    assert runtime.check(request(2)).result(10).decision == "allow"


def test_a_runtime_that_has_ended_denies_at_once(start: Start) -> None:
    runtime = start(limit=1000)
    told: list[Answers] = []
    box = runtime.mailbox(told.append)
    runtime.close()
    runtime.ask(request(1), box, "late")
    assert [(token, decision.decision, decision.rule) for token, decision in told[0]] == [
        ("late", "deny", Rule.CONTROL_UNKNOWN)
    ]
