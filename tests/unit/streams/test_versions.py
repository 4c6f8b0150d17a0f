"""A declared version of an agent begins afresh at its first record, once; nothing else does."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from detectors.base import Shared
from events.times import HOUR_MS
from streams.agents import AgentsStage
from streams.records import Entry
from tests.unit.streams.toys import PARTITION, START_MS, EveryThird, action_event, entry


class Renewed(EveryThird):
    """Counts actions since the last new version."""

    name: ClassVar[str] = "renewed"

    def renew(self, state: list[int], at_ms: int) -> None:
        state[0] = 100


def fresh(*versions: str) -> AgentsStage:
    return AgentsStage(PARTITION, (Renewed(),), {}, Shared(), None, None, {"bot": versions})


def log(*versions: str | None) -> list[Entry]:
    """An agent's actions, each with the version that it says."""
    return [
        entry(n, action_event(n, agent_version=version) if version else action_event(n))
        for n, version in enumerate(versions)
    ]


def count(judged: AgentsStage) -> int:
    states: Any = judged.keys["default/bot"].body.states
    return int(states[0][0])


@pytest.mark.parametrize(
    ("declared", "said", "counted"),
    [
        (("1", "2"), ("1", "1", "2", "2", "2"), 103),  # its first action as 2, and two more
        (("1", "2"), ("1", "2", "1", "2", "2"), 104),  # once, however often it goes back
        (("1", "2", "3"), ("1", "2", "1", "3", "3"), 104),  # the third comes within the grace of the second: no other
        (("1", "2", "3"), ("3", "2", "1", "2"), 104),  # what is older than what it is comes too late
        (("1", "2"), ("1", None, "9", "1.2"), 4),  # not declared
        (("2",), ("1", "2", "2"), 3),  # the first is the one that it has
        ((), ("1", "2", "3"), 3),
    ],
)
def test_an_agent_begins_afresh_at_its_first_action_as_a_declared_version(
    declared: tuple[str, ...], said: tuple[str | None, ...], counted: int
) -> None:
    records = log(*said)
    judged = fresh(*declared)
    judged.process(records)
    assert count(judged) == counted
    cut = fresh(*declared)
    for at in range(len(records)):
        cut.process([records[at], records[at]])  # delivered twice
        again = fresh(*declared)
        again.restore(cut.snapshot(), lazily=at % 2 == 0)
        cut = again
    cut.wake(9)
    assert count(cut) == counted
    assert cut.dump_body(cut.keys["default/bot"].body) == judged.dump_body(judged.keys["default/bot"].body)


def test_an_agent_that_changes_its_declared_version_every_hour_is_in_grace_a_quarter_of_the_time_at_most() -> None:
    hours = 2_000  # some twelve weeks
    judged = fresh(*map(str, range(hours)))
    graces = 0
    for hour in range(hours):
        event = action_event(hour, agent_version=str(hour))
        before = count(judged) if hour else 0
        judged.process([(hour, START_MS + hour * HOUR_MS, event)])
        graces += count(judged) != before + 1
        if hour % 500 == 0:
            again = fresh(*map(str, range(hours)))
            again.restore(judged.snapshot())
            judged = again
    assert graces == 3
    assert 7 * graces * 24 <= hours / 4 + 7 * 24


def test_who_has_no_version_to_come_is_judged_the_short_way() -> None:
    judged = fresh("1", "2")
    judged.process(log("1"))
    assert "bot" not in judged._default_tenant
    judged.process(log("1", "2", "2"))
    assert "bot" in judged._default_tenant
