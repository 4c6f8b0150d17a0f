"""Windows of behaviour, and those that are unlike the peers' windows."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from detectors.base import Action
from detectors.batch.mix_forest import Result, Window, strangest, windows_of
from events.catalogue import kind_of
from events.times import HOUR_MS
from events.types import AgentAction

START_MS = 1_767_571_200_000
ROLES = {"d": "notes", "e": "notes"}


def act(agent_id: str, at_ms: int, name: str, outcome: str = "ok") -> Action:
    data = AgentAction(agent_id=agent_id, action=name, outcome=outcome, object="Lead", record_ids=[f"r{at_ms % 7}"])  # type: ignore[arg-type]
    return Action(at_ms, at_ms, "/crm", f"{agent_id}{at_ms}", kind_of(name), data)


def work(agent_id: str, hours: int, names: tuple[str, ...], strange_hour: int = -1) -> Iterator[Action]:
    rng = random.Random(agent_id)
    for hour in range(hours):
        for step in range(rng.randrange(12, 30)):
            name = "record.delete" if hour == strange_hour and step % 2 else rng.choice(names)
            yield act(agent_id, START_MS + hour * HOUR_MS + step * 60_000, name)


def log() -> list[Action]:
    """Three agents that read and update, one of which deletes in its 17th hour; two that write notes."""
    found: list[Action] = []
    for agent_id in "abc":
        found += work(agent_id, 40, ("record.read", "record.update"), 17 if agent_id == "b" else -1)
    for agent_id in "de":
        found += work(agent_id, 40, ("note.create",))
    return sorted(found, key=lambda one: one.at_ms)


@pytest.fixture(scope="module")
def windows() -> list[Window]:
    return windows_of(log())


@pytest.fixture(scope="module")
def result(windows: list[Window]) -> Result:
    return strangest(windows, ROLES, most=2)


def test_the_hour_with_deletes_is_the_strangest_and_says_why(result: Result) -> None:
    first = result.windows[0]
    assert (first.agent_id, first.at_ms) == ("b", START_MS + 17 * HOUR_MS)
    (deletes,) = [one for one in first.features if one.name == "share of record.delete"]
    assert deletes.here == pytest.approx(0.5, abs=0.05)
    assert deletes.peers == 0
    assert [one.part for one in first.features] == sorted((one.part for one in first.features), reverse=True)
    assert first.score > result.windows[1].score + 0.05
    assert first.rank == 0


def test_agents_of_another_role_are_no_peers(result: Result) -> None:
    assert {one.agent_id for one in result.windows} == {"a", "b", "c"}
    assert result.alone == ["d", "e"]
    assert result.seen == 200


def test_the_same_windows_in_another_order_give_the_same_result(windows: list[Window], result: Result) -> None:
    again = sorted(windows, key=lambda one: (one.agent_id, one.at_ms))
    assert strangest(again, ROLES, most=2) == result


def test_a_window_holds_shares_and_counts_and_leaves_out_what_was_denied() -> None:
    names = ["record.read"] * 6 + ["record.update"] * 3 + ["email.send"]
    actions = [act("a", START_MS + n * 1_000, name) for n, name in enumerate(names)]
    actions.insert(3, act("a", START_MS + 2_500, "record.delete", "denied"))
    (window,) = windows_of([*actions, act("a", START_MS + HOUR_MS, "record.read")])
    assert window.actions == 10
    assert window.features["share of writes"] == pytest.approx(0.4)
    assert window.features["share of messages to people outside"] == pytest.approx(0.1)
    assert window.features["share of the same as the one before"] == pytest.approx(0.7)
    assert window.features["share of record.read"] == pytest.approx(0.6)
    assert "share of record.delete" not in window.features
    assert (window.features["kinds of action"], window.features["different records"]) == (3, 7)


def test_without_enough_windows_of_peers_nobody_is_judged() -> None:
    few = [action for action in log() if action.at_ms < START_MS + 20 * HOUR_MS]
    result = strangest(windows_of(few), ROLES)
    assert result.windows == []
    assert result.alone == list("abcde")
