"""Events accepted lately: all at once when all are new, else one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streams.routing import ACTIONS
from streams.standalone.recent import RecentEvents
from streams.standalone.runtime import Runtime, prepare
from tests.standalone.conftest import NOW_MS
from tests.standalone.fakes import action_event, batch

Start = Callable[..., Runtime]


def test_new_events_are_remembered_together() -> None:
    recent = RecentEvents()
    items = prepare(batch("a", 0, 3, NOW_MS))
    assert recent.add_all(items)
    assert recent.known == {item.id_hash: item.content_hash for item in items}


@pytest.mark.parametrize("known", [[0], [2], [0, 1, 2]])
def test_one_known_event_leaves_the_others_to_be_looked_at(known: list[int]) -> None:
    recent = RecentEvents()
    items = prepare(batch("a", 0, 3, NOW_MS))
    before = {items[place].id_hash: 7 for place in known}
    recent.known.update(before)
    assert not recent.add_all(items)
    assert recent.known == before


def test_an_event_twice_in_one_batch_is_looked_at() -> None:
    recent = RecentEvents()
    assert not recent.add_all(prepare(batch("a", 0, 2, NOW_MS) + batch("a", 1, 2, NOW_MS)))
    assert not recent.known


def test_the_oldest_are_forgotten_first() -> None:
    recent = RecentEvents(capacity=4)
    items = prepare(batch("a", 0, 6, NOW_MS))
    assert recent.add_all(items[:3])
    assert recent.add_all(items[3:])
    assert list(recent.known) == [item.id_hash for item in items[2:]]


def test_a_batch_with_old_and_new_events_stores_the_new_ones_once(start: Start) -> None:
    runtime = start(limit=10**9)
    runtime.ingest(batch("a", 0, 5, NOW_MS)).result(10)
    mixed = [*batch("a", 3, 4, NOW_MS), (b"", action_event("a", 6, NOW_MS)), (b"", action_event("b", 1, NOW_MS))]
    answers = [answer.status for answer in runtime.ingest(mixed).result(10)]
    assert answers == ["duplicate", "duplicate", "accepted", "accepted", "duplicate", "accepted"]
    assert runtime.status().offsets[ACTIONS] == 1 + 8
