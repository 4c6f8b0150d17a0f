"""The filter of request ids: it may ask the store in vain, and never forgets an id too early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from governance.gate import GateDecision, GateRequest
from streams.standalone.asked import Asked
from streams.standalone.runtime import Runtime

HOUR_MS = 3_600_000
Start = Callable[..., Runtime]


def test_an_id_that_was_used_may_be_held_and_another_is_not() -> None:
    asked = Asked(HOUR_MS)
    asked.add("default/bot", "q", 5)
    assert asked.may_hold("default/bot", "q")
    assert not asked.may_hold("default/bot", "r")
    assert not asked.may_hold("default/bo", "tq")


def test_an_id_is_held_as_long_as_it_is_remembered_however_others_come() -> None:
    asked = Asked(HOUR_MS)
    asked.add("a", "old", 10 * HOUR_MS)
    asked.add("a", "young", 11 * HOUR_MS)
    asked.add("a", "next", 11 * HOUR_MS + 1)  # the first span ends here
    assert asked.may_hold("a", "old")
    asked.add("a", "late", 12 * HOUR_MS)
    assert asked.may_hold("a", "young")
    asked.add("a", "end", 12 * HOUR_MS + 2)
    assert not asked.may_hold("a", "old")
    assert asked.may_hold("a", "next")


def test_almost_no_new_id_is_looked_up_in_vain() -> None:
    asked = Asked(HOUR_MS)
    for number in range(20_000):
        asked.add("a", f"used-{number}", 1)
    assert sum(asked.may_hold("a", f"new-{number}") for number in range(20_000)) < 20


def ask(runtime: Runtime, **more: Any) -> GateDecision:
    asked = {"agent_id": "bot", "action": "record.update", "object": "Lead", "record_ids": ["r1"], **more}
    return runtime.check(GateRequest(**asked)).result(10)


def test_a_request_id_is_known_after_a_restart(start: Start) -> None:
    runtime = start()
    first = ask(runtime, request_id="q")
    runtime.close()
    runtime = start()
    assert ask(runtime, request_id="q").decision_id == first.decision_id


def test_a_store_is_not_asked_about_a_new_request_id(start: Start) -> None:
    runtime = start()
    ask(runtime, request_id="first")
    statements: list[str] = []
    runtime.call(lambda round_: round_.core.link.set_trace_callback(statements.append)).result(10)
    ask(runtime, request_id="second")
    ask(runtime, request_id="second")
    runtime.call(lambda round_: round_.core.link.set_trace_callback(None)).result(10)
    assert sum("request_id = " in text for text in statements) == 1
