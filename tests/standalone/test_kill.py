"""kill -9 at any instant: nothing lost, nothing counted twice, a suspended agent stays suspended."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from governance.settings import parse_settings
from storage.store import Store
from streams.records import Partition
from streams.routing import ACTIONS
from streams.standalone.runtime import Runtime
from tests.standalone.fakes import CountingStage, tiny_stages
from tests.standalone.killed_child import ROGUE, SETTINGS, events
from tests.standalone.killing import Told, kill_many, logged_ids, projected_ids, replayed

KILLS = 6
pytestmark = [pytest.mark.timeout(600), pytest.mark.faults]
"""Each life is a process that loads everything; on a busy machine that takes long."""


@pytest.fixture(scope="module", params=["thread", "process"])
def killed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, Told]:
    folder = tmp_path_factory.mktemp("killed")
    return folder, kill_many(folder, KILLS, seed=7, projector=request.param)


@pytest.mark.slow
def test_no_acknowledged_event_is_lost_and_none_is_there_twice(killed: tuple[Path, Told]) -> None:
    folder, told = killed
    found = logged_ids(folder)
    assert told.acknowledged > 0
    promised = {event.id for _, event in events(0, told.acknowledged)}
    assert promised <= found.keys()
    assert set(found.values()) == {1}


@pytest.mark.slow
def test_a_suspended_agent_is_refused_before_the_first_admission_after_each_restart(killed: tuple[Path, Told]) -> None:
    _, told = killed
    life = told.suspended_from_life
    assert life is not None, "the rogue agent was never stopped; the test proves nothing"
    assert all(answer == "deny suspended" for answers in told.answers[life:] for answer in answers)
    assert len(told.first_answers) == KILLS


@pytest.mark.slow
def test_the_recovered_state_is_that_of_the_whole_log_read_afresh(killed: tuple[Path, Told]) -> None:
    folder, _ = killed
    make = partial(tiny_stages, limit=40, only=f"default/{ROGUE}")
    with Runtime(parse_settings(SETTINGS, {}), store=Store(folder), make_stages=make) as runtime:
        assert runtime.projector is not None
        assert runtime.projector.wait_until_idle(30)
        core = runtime._writer.core
        assert core is not None
        live = core.lanes[ACTIONS].stage
        assert isinstance(live, CountingStage)
        fresh = replayed(folder, lambda topic_id: CountingStage(Partition("main", ACTIONS, topic_id), 40))
        assert isinstance(fresh, CountingStage)
        assert live.counts == fresh.counts
    assert projected_ids(folder) == logged_ids(folder)
