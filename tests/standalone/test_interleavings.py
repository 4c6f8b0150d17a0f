"""Whatever order things come in and however they are cut: each event counts once, and a stop is a stop."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import decode
from governance.gate import GateRequest
from governance.settings import parse_settings
from storage import log
from storage.store import Store
from streams.routing import ACTIONS
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.standalone.conftest import NOW_MS, SETTINGS
from tests.standalone.fakes import CountingStage, action_event, tiny_stages

LIMIT = 8
pytestmark = pytest.mark.timeout(300)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("events"), st.lists(st.integers(0, 30), min_size=1, max_size=12)),
        st.tuples(st.just("check"), st.just(0)),
        st.tuples(st.just("release"), st.integers(-1, 0)),
        st.tuples(st.just("suspend"), st.just(0)),
        st.tuples(st.just("tick"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    min_size=1,
    max_size=14,
)


class World:
    """What must be true, kept by simpler means: a set of ids, and the last state that was answered."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.clock = ManualClock(NOW_MS)
        self.sent: set[int] = set()
        self.admitted = 0
        self.epoch = 0
        self.runtime = self.start()

    def start(self) -> Runtime:
        runtime = Runtime(
            parse_settings(SETTINGS, {}),
            clock=self.clock,
            store=Store(self.folder),
            make_stages=partial(tiny_stages, limit=LIMIT),
            with_ticker=False,
        )
        runtime.start()
        return runtime

    @property
    def is_stopped(self) -> bool:
        core = self.runtime._writer.core
        assert core is not None
        row = core.control.get("default/bot")
        return row is not None and row.state != "active"

    def do(self, what: str, detail: Any) -> None:
        self.clock.move(1_000)
        getattr(self, f"do_{what}")(detail)

    def do_events(self, numbers: Sequence[int]) -> None:
        answers = self.runtime.ingest([(b"", action_event("bot", n, NOW_MS)) for n in numbers]).result(10)
        for number, answer in zip(numbers, answers, strict=True):
            assert answer.is_duplicate == (number in self.sent)
            self.sent.add(number)

    def do_check(self, _: int) -> None:
        stopped = self.is_stopped
        request = GateRequest(agent_id="bot", action="record.update", object="Lead", record_ids=["r"])
        decision = self.runtime.check(request).result(10)
        assert (decision.decision == "deny") == stopped
        self.admitted += decision.decision == "allow"

    def do_release(self, back: int) -> None:
        core = self.runtime._writer.core
        assert core is not None
        row = core.control.get("default/bot")
        epoch = row.epoch if row is not None else 0
        decision = self.runtime.release("bot", epoch + back, "eva", "because").result(10)
        assert decision.changed == (self.epoch_was(row) and back == 0)
        assert decision.row.epoch >= epoch

    def epoch_was(self, row: Any) -> bool:
        return row is not None and row.state == "suspended"

    def do_suspend(self, _: int) -> None:
        self.runtime.suspend("bot", "eva", "because").result(10)
        assert self.is_stopped

    def do_tick(self, _: int) -> None:
        self.runtime.tick().result(10)

    def do_restart(self, _: int) -> None:
        stopped = self.is_stopped
        self.runtime.close()
        self.runtime = self.start()
        assert self.is_stopped == stopped

    def check_log(self) -> None:
        self.runtime.close()
        link = Store(self.folder).connect()
        events = [decode(record.raw) for record in log.read(link, ACTIONS)]
        ids = [event.id for event in events if type(event).__name__ == "ActionEvent"]
        assert sorted(ids) == sorted(f"bot-{number}" for number in self.sent)
        epochs = [event.data.epoch for event in events if type(event).__name__ == "ControlEvent"]
        assert epochs == sorted(set(epochs))
        seqs = [event.data.seq for event in events if type(event).__name__ == "AdmissionEvent"]
        assert seqs == list(range(1, self.admitted + 1))
        link.close()


@settings(max_examples=12, deadline=None)
@given(steps=STEPS)
def test_any_order_of_events_checks_stops_releases_and_restarts(steps: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        try:
            for what, detail in steps:
                world.do(what, detail)
            world.check_log()
        finally:
            world.runtime.close()


@settings(max_examples=12, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 40), min_size=1, max_size=60),
    cuts=st.lists(st.integers(1, 20), min_size=60, max_size=60),
)
def test_the_cut_into_batches_changes_nothing(numbers: list[int], cuts: list[int]) -> None:
    def counted(pieces: list[list[int]]) -> tuple[dict[str, int], int]:
        with tempfile.TemporaryDirectory() as folder:
            world = World(folder)
            for piece in pieces:
                world.runtime.ingest([(b"", action_event("bot", n, NOW_MS)) for n in piece]).result(10)
            core = world.runtime._writer.core
            assert core is not None
            stage = core.lanes[ACTIONS].stage
            assert isinstance(stage, CountingStage)
            found = dict(stage.counts), core.control["default/bot"].epoch if "default/bot" in core.control else 0
            world.runtime.close()
            return found

    pieces, at = [], 0
    for cut in cuts:
        if at < len(numbers):
            pieces.append(numbers[at : at + cut])
            at += cut
    if at < len(numbers):
        pieces.append(numbers[at:])
    assert counted(pieces) == counted([numbers])
