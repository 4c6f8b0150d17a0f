"""Runs of writes to records that the agent never looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from detectors.base import Action, Evidence
from detectors.statistics import longest_expected_run
from detectors.write_without_read import Config, ReadState, WriteWithoutRead
from events.catalogue import kind_of
from events.types import AgentAction

START_MS = 1_767_571_200_000


def act(number: int, name: str, record: str | None, **said: Any) -> Action:
    at_ms = START_MS + number * 60_000
    fields = {"agent_id": "a", "action": name, "outcome": "ok", "object": "Lead", **said}
    if record is not None:
        fields.setdefault("record_ids", [record])
    return Action(at_ms, at_ms, "/crm", f"e{number}", kind_of(name), AgentAction(**fields))


def careful(count: int, start: int = 0) -> Iterator[Action]:
    """Each record is read and then written."""
    for number in range(start, start + count):
        yield act(number, "record.update" if number % 2 else "record.read", f"r{number // 2}")


def blind(count: int, start: int = 10_000, **said: Any) -> Iterator[Action]:
    for number in range(start, start + count):
        yield act(number, "record.update", f"x{number}", **said)


def heard(*parts: Iterable[Action], **options: Any) -> list[tuple[str, Evidence]]:
    detector = WriteWithoutRead(Config(**options))
    state = detector.new_state("a")
    return [(a.event_id, e) for part in parts for a in part if (e := detector.observe(a, state)) is not None]


def after(*parts: Iterable[Action]) -> ReadState:
    detector = WriteWithoutRead()
    state = detector.new_state("a")
    for part in parts:
        for action in part:
            detector.observe(action, state)
    return state


def test_a_careful_agent_is_never_told_of() -> None:
    assert heard(careful(2_000)) == []


def test_it_is_told_at_the_run_that_chance_does_not_make_and_when_it_has_doubled() -> None:
    said = heard(careful(400), blind(60))
    # 200 sighted writes: (0 + 20·.2) / (200 + 20 + 1) a start, then one after another with (3 + 8·.5) / (3 + 8)
    limit = longest_expected_run((1 + 4) / (201 + 20), (3 + 4) / (3 + 8), 20_000, 0.01)
    numbers = [int(event[1:]) - 10_000 + 1 for event, _ in said]
    assert numbers[0] == limit == said[0][1].observed == said[0][1].limit
    assert numbers[1] == 2 * limit
    assert {e.wanted for _, e in said} == {"notify"}
    assert f"{limit} writes in a row to Lead that it never looked at" in said[0][1].summary


def test_a_look_in_between_ends_the_run() -> None:
    mixed = []
    for number in range(10_000, 10_200):
        mixed += [act(number, "record.update", f"x{number}")]
        if number % 5 == 0:
            mixed += [act(number, "record.read", f"y{number}"), act(number, "record.update", f"y{number}")]
    assert heard(careful(400), mixed[:40]) == []


def test_an_agent_that_never_looks_or_is_new_is_not_judged() -> None:
    assert heard(blind(500)) == []
    assert heard(careful(60), blind(60)) == []


def test_records_it_created_or_wrote_before_are_known() -> None:
    made = (act(n, "record.create", f"x{n}") for n in range(10_000, 10_060))
    assert heard(careful(400), made, blind(60)) == []
    assert after(careful(400), blind(5)).run == 5
    assert after(careful(400), blind(5), blind(5)).run == 0


def test_a_search_covers_its_object_for_a_while() -> None:
    near = [act(9_990 + n, "record.read", None) for n in range(5)]
    assert heard(careful(400), near, blind(20, 10_000)) == []
    assert heard(careful(400), near, blind(60, 10_000), search_minutes=1) != []
    elsewhere = [act(9_999, "record.read", None, object="Contact")]
    assert heard(careful(400), elsewhere, blind(60)) != []


def test_failures_and_what_was_denied_do_not_count() -> None:
    assert heard(careful(400), blind(60, outcome="error"), blind(60, 20_000, outcome="denied")) == []


def test_one_known_record_among_many_is_a_look() -> None:
    several = (
        act(n, "record.update", None, record_ids=["r1", *(f"x{n}-{i}" for i in range(100))])
        for n in range(10_000, 10_040)
    )
    assert heard(careful(400), several) == []


def test_a_habit_of_many_blind_writes_is_no_habit_of_looking() -> None:
    half = [action for n in range(400) for action in (*careful(2, 2 * n), *blind(1, 10_000 + n))]
    assert heard(half, blind(60, 90_000)) == []


def test_old_records_are_forgotten_and_counts_halved() -> None:
    state = after(careful(10_000))
    assert len(state.known) == 1_024
    assert state.starts[0] < 2_000


def test_only_its_own_version_of_a_state_is_read() -> None:
    with pytest.raises(ValueError, match="state version 1, not 7"):
        WriteWithoutRead().load("a", b"", 7)
