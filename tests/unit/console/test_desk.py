"""Answers of the gate reach the event loop: each once, those of a round by one wake-up, none too late."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from console.desk import Desk
from governance.gate import GateDecision, GateRequest
from tests.unit.console.fakes import FakeRuntime, gate_decision

ASKED = GateRequest(agent_id="dealbot", action="record.update", record_ids=["006A1"])


class Round(FakeRuntime):
    """A runtime that answers everything it was asked at once, in a thread, as after a commit."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[Any] = []
        self.boxes: list[Any] = []

    def ask(self, request: Any, box: Any, token: Any) -> None:
        self.tokens.append(token)
        if box not in self.boxes:
            self.boxes.append(box)

    def commit(self) -> None:
        def answer() -> None:
            for at, token in enumerate(self.tokens):
                self.boxes[-1].put(token, gate_decision(None, at))
            self.boxes[-1].deliver()

        thread = threading.Thread(target=answer)
        thread.start()
        thread.join()


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0)


def test_the_answers_of_a_round_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> tuple[int, list[str]]:
        loop, wakes, heard = asyncio.get_running_loop(), list[Any](), list[str]()
        wake = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *call: (wakes.append(call), wake(*call)))
        runtime = Round()
        desk = Desk(runtime, 5.0)
        for _ in range(50):
            desk.ask(ASKED, lambda decision: heard.append(decision.decision_id if decision is not None else "-"))
        runtime.commit()
        await until(lambda: len(heard) == 50)
        return len(wakes), heard

    wakes, heard = asyncio.run(run())
    assert wakes == 1
    assert heard == [f"d-{at}" for at in range(50)]


def test_one_who_fails_to_listen_keeps_nothing_from_the_others() -> None:
    async def run() -> list[str]:
        heard: list[str] = []
        runtime = Round()
        desk = Desk(runtime, 5.0)
        desk.ask(ASKED, lambda _: heard.append(str(1 / 0)))
        desk.ask(ASKED, lambda decision: heard.append(decision.decision_id if decision is not None else "-"))
        runtime.commit()
        await until(lambda: heard)
        return heard

    assert asyncio.run(run()) == ["d-1"]


def test_who_waited_too_long_hears_none_and_nothing_after_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.desk.SWEEP_SECS", 0.0)

    async def run() -> list[GateDecision | None]:
        heard: list[GateDecision | None] = []
        runtime = Round()
        desk = Desk(runtime, 0.0)
        desk.ask(ASKED, heard.append)
        await until(lambda: heard)
        runtime.commit()
        for _ in range(5):
            await asyncio.sleep(0)
        return heard

    assert asyncio.run(run()) == [None]


def test_what_the_runtime_raises_is_the_callers_and_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.desk.SWEEP_SECS", 0.0)

    async def run() -> list[GateDecision | None]:
        heard: list[GateDecision | None] = []
        runtime = FakeRuntime()
        runtime.is_broken = True
        with pytest.raises(RuntimeError, match="the store is gone"):
            Desk(runtime, 0.0).ask(ASKED, heard.append)
        for _ in range(5):
            await asyncio.sleep(0)
        return heard

    assert asyncio.run(run()) == []


def test_an_application_that_is_started_again_gets_its_answers_on_the_new_loop() -> None:
    runtime = Round()
    desk = Desk(runtime, 5.0)

    async def run(is_answered: bool) -> list[GateDecision | None]:
        heard: list[GateDecision | None] = []
        desk.ask(ASKED, heard.append)
        if is_answered:
            runtime.commit()
            await until(lambda: heard)
        return heard

    assert asyncio.run(run(False)) == []
    runtime.boxes[0].put(runtime.tokens.pop(), gate_decision(None, 0))
    runtime.boxes[0].deliver()  # too late: that loop is closed
    assert len(asyncio.run(run(True))) == 1
